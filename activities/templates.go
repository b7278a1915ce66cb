package activities

import (
	"context"
	"log/slog"
	"time"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/render"
)

// Contents is the provider's store of templates.
type Contents interface {
	// CreateContent makes a text at the provider; it makes another one each time. A text that the provider refuses is a
	// fault of kind Invalid.
	CreateContent(ctx context.Context, s render.Submission) (sid string, err error)
	// SubmitContent asks WhatsApp to approve a content. Faults are of kind Invalid and NotFound.
	SubmitContent(ctx context.Context, sid, name string, category render.Category) error
	// Content reads one content and where its approval stands; a fault of kind NotFound when there is none.
	Content(ctx context.Context, sid string) (render.Content, error)
	// Contents lists all of them.
	Contents(ctx context.Context) ([]render.Content, error)
}

type templateStore interface {
	Variant(ctx context.Context, in outbox.Template) (render.Variant, render.Category, error)
	NoteSubmission(ctx context.Context, in outbox.Template, sid string, now time.Time) error
	RecordApproval(ctx context.Context, in outbox.Template, approval render.Approval, reason string, now time.Time) error
	KnownContents(ctx context.Context) ([]render.Known, error)
	ReplaceContents(ctx context.Context, contents []render.Content, now time.Time) error
}

// Templates brings what our templates say to the provider, and what WhatsApp thinks of it back.
type Templates struct {
	Store    templateStore
	Provider Contents
	Now      func() time.Time
	Log      *slog.Logger
}

// The times between looks at an approval: half as long as it has taken so far, within these bounds.
const (
	shortestLook = time.Second
	longestLook  = 15 * time.Minute
)

// AdvanceApproval takes the approval of one variant a step further: the content is made, submitted, looked at. It answers
// Done once it is decided, else when to call it again. Called twice, it makes no second content: the provider's list is
// looked through first.
func (a *Templates) AdvanceApproval(ctx context.Context, in outbox.Template) (Next, error) {
	variant, category, err := a.Store.Variant(ctx, in)
	switch {
	case isNotFound(err): // deleted meanwhile
		return Next{Do: Done, Reason: "deleted"}, nil
	case err != nil:
		return Next{}, err
	case !variant.Approval.Undecided():
		return Next{Do: Done, Reason: string(variant.Approval)}, nil
	}
	if variant.ContentSID == "" {
		if variant.ContentSID, err = a.make(ctx, in, variant, category); err != nil {
			return a.refused(ctx, in, err)
		}
		if err := a.Store.NoteSubmission(ctx, in, variant.ContentSID, a.Now()); err != nil {
			return Next{}, err
		}
	}
	content, err := a.Provider.Content(ctx, variant.ContentSID)
	if err != nil {
		return a.refused(ctx, in, err)
	}
	if why := variant.Fits(content); variant.Given && why != "" {
		return a.refused(ctx, in, fault.New(fault.Invalid, "%s", why))
	}
	if content.Approval == render.Unsubmitted {
		name := submissionName(in, variant, category)
		if err := a.Provider.SubmitContent(ctx, variant.ContentSID, name, category); err != nil {
			return a.refused(ctx, in, err)
		}
		if err := a.Store.NoteSubmission(ctx, in, variant.ContentSID, a.Now()); err != nil {
			return Next{}, err
		}
		if content, err = a.Provider.Content(ctx, variant.ContentSID); err != nil {
			return a.refused(ctx, in, err)
		}
	}
	now := a.Now()
	if err := a.Store.RecordApproval(ctx, in, content.Approval, content.Reason, now); err != nil {
		return Next{}, err
	}
	if !content.Approval.Undecided() {
		a.Log.InfoContext(ctx, "template decided", "template_id", in.TemplateID, "version", in.Version, "locale", in.Locale, "approval", content.Approval)
		return Next{Do: Done, Reason: string(content.Approval)}, nil
	}
	since := now
	if variant.SubmittedAt != nil {
		since = *variant.SubmittedAt
	}
	return Next{Do: Check, At: now.Add(jitter(min(max(now.Sub(since)/2, shortestLook), longestLook))), Reason: "approval"}, nil
}

// make finds the variant's content at the provider, left by a call that did not live to tell, or makes it.
func (a *Templates) make(ctx context.Context, in outbox.Template, v render.Variant, category render.Category) (sid string, err error) {
	submission, err := v.Submission(in.TemplateID, in.Version, category)
	if err != nil {
		return "", err
	}
	all, err := a.Provider.Contents(ctx)
	if err != nil {
		return "", err
	}
	for _, c := range all {
		if c.Name == submission.Name && v.Fits(c) == "" && c.Body != "" && !c.Approval.Refused() {
			return c.SID, nil
		}
	}
	return a.Provider.CreateContent(ctx, submission)
}

// submissionName is what WhatsApp is to call the template.
func submissionName(in outbox.Template, v render.Variant, category render.Category) string {
	submission, err := v.Submission(in.TemplateID, in.Version, category)
	if err != nil {
		return "ese" // the content exists, so its text could be read
	}
	return submission.Name
}

// refused records that the provider will not have the variant. Other errors are the caller's to try again.
func (a *Templates) refused(ctx context.Context, in outbox.Template, err error) (Next, error) {
	if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotFound) {
		return Next{}, err
	}
	a.Log.WarnContext(ctx, "template cannot be approved", "template_id", in.TemplateID, "version", in.Version, "locale", in.Locale, "reason", err)
	return Next{Do: Done, Reason: string(render.Invalid)}, a.Store.RecordApproval(ctx, in, render.Invalid, err.Error(), a.Now())
}

// SyncContents looks at all that the provider has: it keeps the list, and what became of the approvals of our own.
func (a *Templates) SyncContents(ctx context.Context) error {
	all, err := a.Provider.Contents(ctx)
	if err != nil {
		return err
	}
	now := a.Now()
	if err := a.Store.ReplaceContents(ctx, all, now); err != nil {
		return err
	}
	known, err := a.Store.KnownContents(ctx)
	if err != nil {
		return err
	}
	found := make(map[string]render.Content, len(all))
	for _, c := range all {
		found[c.SID] = c
	}
	for _, k := range known {
		in := outbox.Template{TemplateID: k.TemplateID, Version: k.Version, Locale: k.Locale}
		approval, reason := render.Invalid, "the provider has no such content any more"
		if c, ok := found[k.ContentSID]; ok {
			approval, reason = c.Approval, c.Reason
			if why := k.Fits(c); k.Given && why != "" {
				approval, reason = render.Invalid, why
			}
		}
		if approval.Undecided() { // its own workflow waits for it
			continue
		}
		if err := a.Store.RecordApproval(ctx, in, approval, reason, now); err != nil {
			return err
		}
	}
	return nil
}
