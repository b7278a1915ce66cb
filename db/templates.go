package db

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/render"
)

// CreateTemplate saves a template as version 1, and leaves its approval to the outbox. t's ID, Version and times are set
// here. fault.Conflict when the name is taken.
func (s *Store) CreateTemplate(ctx context.Context, t render.Saved, now time.Time) (render.Saved, error) {
	t = t.Complete()
	err := s.InTx(ctx, func(ctx context.Context) error {
		id, err := s.q(ctx).TemplateInsert(ctx, dbsqlc.TemplateInsertParams{
			Name: t.Name, Channel: string(t.Channel), Locale: t.Locale, Now: now,
		})
		if err != nil {
			return translate(err, "template")
		}
		if err := s.insertVersion(ctx, id, 1, t, now); err != nil {
			return err
		}
		if t, err = s.Template(ctx, int64(id)); err != nil {
			return err
		}
		return s.auditTemplate(ctx, "template.create", t.ID, map[string]any{"name": t.Name, "version": t.Version, "channel": t.Channel, "category": t.Category}, now)
	})
	return t, err
}

// auditTemplate records what whoever asks does to a template. Its texts are those of its versions, which are kept.
func (s *Store) auditTemplate(ctx context.Context, action string, id int64, detail map[string]any, now time.Time) error {
	return s.audit(ctx, access.CallerOf(ctx), action, fmt.Sprintf("template/%d", id), detail, now)
}

// insertVersion writes a version with what it says in each language; what has to be approved is handed to a workflow.
func (s *Store) insertVersion(ctx context.Context, id, version int32, t render.Saved, now time.Time) error {
	if err := s.q(ctx).TemplateVersionInsert(ctx, dbsqlc.TemplateVersionInsertParams{
		TemplateID: id, Version: version, Content: t.Content, Variables: notNil(t.Variants[0].Variables), Category: string(t.Category),
		CollapseWhitespace: t.CollapseWhitespace, Now: now,
	}); err != nil {
		return translate(err, "template version")
	}
	variants := make([]dbsqlc.TemplateVariantInsertParams, len(t.Variants))
	for i, v := range t.Variants {
		mapping, err := json.Marshal(v.Mapping)
		if err != nil {
			return fmt.Errorf("mapping: %w", err)
		}
		variants[i] = dbsqlc.TemplateVariantInsertParams{
			TemplateID: id, Version: version, Position: int16(i), Locale: v.Locale, Content: v.Content, Variables: notNil(v.Variables),
			Mapping: mapping, ContentSid: none(v.ContentSID), Given: v.Given, Approval: string(v.Approval),
		}
	}
	var failed error
	s.q(ctx).TemplateVariantInsert(ctx, variants).Exec(func(_ int, err error) {
		if err != nil && failed == nil {
			failed = err
		}
	})
	if failed != nil {
		return translate(failed, "variants of the template")
	}
	for _, v := range t.Variants {
		if !v.Approval.Undecided() {
			continue
		}
		item := outbox.Template{TemplateID: int64(id), Version: int(version), Locale: v.Locale}
		if err := s.enqueue(ctx, outbox.StartApproval, item, now); err != nil {
			return err
		}
	}
	return nil
}

// Template reads a template in its newest version.
func (s *Store) Template(ctx context.Context, id int64) (render.Saved, error) {
	row, err := s.q(ctx).TemplateGet(ctx, int32(id))
	if err != nil {
		return render.Saved{}, translate(err, "this template")
	}
	return toTemplate(row)
}

// Templates lists templates in their newest versions, newest first, with an id below after (nil for no bound).
func (s *Store) Templates(ctx context.Context, after *int64, atMost int) ([]render.Saved, error) {
	rows, err := s.q(ctx).TemplateList(ctx, dbsqlc.TemplateListParams{After: narrow(after), AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "templates")
	}
	saved := make([]render.Saved, len(rows))
	for i, row := range rows {
		if saved[i], err = toTemplate(dbsqlc.TemplateGetRow(row)); err != nil {
			return nil, err
		}
	}
	return saved, nil
}

// TemplateTotal counts templates.
func (s *Store) TemplateTotal(ctx context.Context) (int64, error) {
	total, err := s.q(ctx).TemplateTotal(ctx)
	return total, translate(err, "templates")
}

// UpdateTemplate replaces the template with t's ID. Whatever changes what is sent makes a new version, which is approved
// anew; runs that pinned an earlier one go on sending it. fault.Conflict for the built-in one of the replies.
func (s *Store) UpdateTemplate(ctx context.Context, t render.Saved, now time.Time) (render.Saved, error) {
	t = t.Complete()
	err := s.InTx(ctx, func(ctx context.Context) error {
		id := int32(t.ID)
		held, err := s.q(ctx).TemplateLock(ctx, id)
		if err != nil {
			return translate(err, "this template")
		}
		if held.BuiltIn {
			return fault.New(fault.Conflict, "this template is built in and carries the automatic replies; its texts are those of /api/v1/replies")
		}
		old, err := s.Template(ctx, t.ID)
		if err != nil {
			return err
		}
		version := int32(old.Version)
		if !t.SameAs(old) {
			version++
			if err := s.insertVersion(ctx, id, version, t, now); err != nil {
				return err
			}
		}
		if err := s.q(ctx).TemplateUpdate(ctx, dbsqlc.TemplateUpdateParams{
			ID: id, Name: t.Name, Version: version, Channel: string(t.Channel), Locale: t.Locale, Now: now,
		}); err != nil {
			return translate(err, "template")
		}
		if t, err = s.Template(ctx, int64(id)); err != nil {
			return err
		}
		detail := changes{}
		detail.note("name", old.Name, t.Name)
		detail.note("version", old.Version, t.Version)
		detail.note("channel", old.Channel, t.Channel)
		detail.note("locale", old.Locale, t.Locale)
		detail.note("category", old.Category, t.Category)
		return s.auditTemplate(ctx, "template.change", t.ID, detail, now)
	})
	return t, err
}

// DeleteTemplate deletes a template with its versions. fault.Conflict when a campaign uses it.
func (s *Store) DeleteTemplate(ctx context.Context, id int64, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		was, err := s.Template(ctx, id)
		if err != nil {
			return err
		}
		n, err := s.q(ctx).TemplateDelete(ctx, int32(id))
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "this template does not exist")
		} else if err != nil {
			return translate(err, "template")
		}
		return s.auditTemplate(ctx, "template.delete", id, map[string]any{"was": map[string]any{"name": was.Name, "version": was.Version}}, now)
	})
}

func toTemplate(row dbsqlc.TemplateGetRow) (render.Saved, error) {
	variants, err := toVariants(row.Variants)
	return render.Saved{
		ID: int64(row.ID), Name: row.Name, Content: row.Content, Variables: row.Variables, Channel: message.Channel(row.Channel),
		Locale: row.Locale, Version: int(row.Version), CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		Category: render.Category(row.Category), CollapseWhitespace: row.CollapseWhitespace, Variants: variants,
	}, err
}

func toVariants(raw json.RawMessage) (variants []render.Variant, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &variants); err != nil {
		return nil, fmt.Errorf("variants of a template: %w", err)
	}
	return variants, nil
}

// Variant reads what a version of a template says in one language, and the version's category.
func (s *Store) Variant(ctx context.Context, in outbox.Template) (render.Variant, render.Category, error) {
	row, err := s.q(ctx).VariantGet(ctx, dbsqlc.VariantGetParams{TemplateID: int32(in.TemplateID), Version: int32(in.Version), Locale: in.Locale})
	if err != nil {
		return render.Variant{}, "", translate(err, "this variant of the template")
	}
	v := render.Variant{
		Locale: row.Locale, Content: row.Content, Variables: row.Variables, Given: row.Given, Approval: render.Approval(row.Approval),
		Reason: row.ApprovalReason, SubmittedAt: row.SubmittedAt, CheckedAt: row.CheckedAt,
	}
	if row.ContentSid != nil {
		v.ContentSID = *row.ContentSid
	}
	if err := json.Unmarshal(row.Mapping, &v.Mapping); err != nil {
		return v, "", fmt.Errorf("mapping: %w", err)
	}
	return v, render.Category(row.Category), nil
}

// UndecidedTemplates lists the variants whose approval ought to have a workflow.
func (s *Store) UndecidedTemplates(ctx context.Context) ([]outbox.Template, error) {
	rows, err := s.q(ctx).VariantsUndecided(ctx)
	if err != nil {
		return nil, translate(err, "undecided templates")
	}
	undecided := make([]outbox.Template, len(rows))
	for i, r := range rows {
		undecided[i] = outbox.Template{TemplateID: int64(r.TemplateID), Version: int(r.Version), Locale: r.Locale}
	}
	return undecided, nil
}

// NoteSubmission records under which SID the provider has the variant, and since when we ask for its approval.
func (s *Store) NoteSubmission(ctx context.Context, in outbox.Template, sid string, now time.Time) error {
	return translate(s.q(ctx).VariantSubmitted(ctx, dbsqlc.VariantSubmittedParams{
		TemplateID: int32(in.TemplateID), Version: int32(in.Version), Locale: in.Locale, ContentSid: &sid, Now: &now,
	}), "submitted template")
}

// RecordApproval records what WhatsApp says of the variant. When that is news, whoever waits for it learns it: the runs,
// and the messages that have a workflow, one after the other at the campaign's rate.
func (s *Store) RecordApproval(ctx context.Context, in outbox.Template, approval render.Approval, reason string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		changed, err := s.q(ctx).VariantApproval(ctx, dbsqlc.VariantApprovalParams{
			TemplateID: int32(in.TemplateID), Version: int32(in.Version), Locale: in.Locale, Approval: string(approval), ApprovalReason: reason,
		})
		if err != nil {
			return translate(err, "approval")
		}
		if err := s.q(ctx).VariantChecked(ctx, dbsqlc.VariantCheckedParams{
			TemplateID: int32(in.TemplateID), Version: int32(in.Version), Locale: in.Locale, Now: &now,
		}); err != nil {
			return translate(err, "approval")
		}
		if changed == 0 || approval.Undecided() {
			return nil
		}
		runs, err := s.q(ctx).RunsOfTemplate(ctx, dbsqlc.RunsOfTemplateParams{TemplateID: int32(in.TemplateID), Version: int32(in.Version)})
		if err != nil {
			return translate(err, "runs of the template")
		}
		for _, r := range runs {
			if err := s.signalWaiting(ctx, r.ID, int(r.RateLimitPerSecond), now); err != nil {
				return err
			}
			run := outbox.Run{RunID: r.ID, CampaignID: int64(r.CampaignID), Number: int(r.Number)}
			if err := s.enqueue(ctx, outbox.WakeCampaign, run, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// signalWaiting has the messages that wait for the template's approval, and have a workflow, judged anew at the rate of
// sending.
func (s *Store) signalWaiting(ctx context.Context, runID int64, ratePerSecond int, now time.Time) error {
	return translate(s.q(ctx).RunSignalDispatched(ctx, dbsqlc.RunSignalDispatchedParams{
		RunID: runID, Now: now, State: string(message.Pending), Reason: string(compliance.AwaitsApproval), SpacingSeconds: 1 / float64(ratePerSecond),
	}), "signals to recipients")
}

// KnownContents lists the variants that may still be sent and whose content the provider has.
func (s *Store) KnownContents(ctx context.Context) ([]render.Known, error) {
	rows, err := s.q(ctx).VariantsWithContent(ctx)
	if err != nil {
		return nil, translate(err, "variants")
	}
	known := make([]render.Known, len(rows))
	for i, r := range rows {
		known[i] = render.Known{TemplateID: int64(r.TemplateID), Version: int(r.Version), Variant: render.Variant{
			Locale: r.Locale, Content: r.Content, ContentSID: *r.ContentSid, Given: r.Given, Approval: render.Approval(r.Approval),
		}}
		if err := json.Unmarshal(r.Mapping, &known[i].Mapping); err != nil {
			return nil, fmt.Errorf("mapping: %w", err)
		}
	}
	return known, nil
}

// ReplaceContents keeps the provider's list, whole, as it was at a moment.
func (s *Store) ReplaceContents(ctx context.Context, contents []render.Content, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		rows := make([]dbsqlc.ContentPutParams, len(contents))
		for i, c := range contents {
			variables, err := json.Marshal(c.Variables)
			if err != nil {
				return fmt.Errorf("variables of a content: %w", err)
			}
			rows[i] = dbsqlc.ContentPutParams{
				Sid: c.SID, FriendlyName: c.Name, Language: c.Locale, ContentType: c.Type, Body: c.Body, Variables: variables,
				Category: c.Category, Approval: string(c.Approval), ApprovalReason: c.Reason, SyncedAt: now,
			}
		}
		var failed error
		s.q(ctx).ContentPut(ctx, rows).Exec(func(_ int, err error) {
			if err != nil && failed == nil {
				failed = err
			}
		})
		if failed != nil {
			return translate(failed, "contents")
		}
		return translate(s.q(ctx).ContentsDelete(ctx, now), "contents")
	})
}

// RequestSync leaves a look at the provider's templates to a workflow.
func (s *Store) RequestSync(ctx context.Context, by string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.audit(ctx, by, "templates.sync", "templates", map[string]any{}, now); err != nil {
			return err
		}
		return s.enqueue(ctx, outbox.SyncTemplates, outbox.Sync{}, now)
	})
}

// Contents lists what the provider has, as it was when last looked at, with SIDs after the given one ("" from the first).
func (s *Store) Contents(ctx context.Context, after string, atMost int) ([]render.Listed, int64, error) {
	rows, err := s.q(ctx).ContentList(ctx, dbsqlc.ContentListParams{After: after, AtMost: int32(atMost)})
	if err != nil {
		return nil, 0, translate(err, "contents")
	}
	listed := make([]render.Listed, len(rows))
	for i, r := range rows {
		c, err := toContent(r.Content)
		if err != nil {
			return nil, 0, err
		}
		listed[i] = render.Listed{Content: c, TemplateID: int64(r.TemplateID)}
	}
	total, err := s.q(ctx).ContentCount(ctx)
	return listed, total, translate(err, "contents")
}

// Content reads one of the provider's templates, as it was when last looked at.
func (s *Store) Content(ctx context.Context, sid string) (render.Content, error) {
	row, err := s.q(ctx).ContentGet(ctx, sid)
	if err != nil {
		return render.Content{}, translate(err, "this content")
	}
	return toContent(row)
}

func toContent(row dbsqlc.Content) (render.Content, error) {
	c := render.Content{
		SID: row.Sid, Name: row.FriendlyName, Locale: row.Language, Type: row.ContentType, Body: row.Body, Category: row.Category,
		Approval: render.Approval(row.Approval), Reason: row.ApprovalReason, SyncedAt: row.SyncedAt,
	}
	if err := json.Unmarshal(row.Variables, &c.Variables); err != nil {
		return c, fmt.Errorf("variables of a content: %w", err)
	}
	return c, nil
}
