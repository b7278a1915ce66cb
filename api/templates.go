package api

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

type templateStore interface {
	// CreateTemplate sets ID, version and times itself.
	CreateTemplate(ctx context.Context, t render.Saved, now time.Time) (render.Saved, error)
	Template(ctx context.Context, id int64) (render.Saved, error)
	Templates(ctx context.Context, after *int64, atMost int) ([]render.Saved, error)
	TemplateTotal(ctx context.Context) (int64, error)
	// UpdateTemplate replaces the template with t's ID; another text is another version.
	UpdateTemplate(ctx context.Context, t render.Saved, now time.Time) (render.Saved, error)
	DeleteTemplate(ctx context.Context, id int64, now time.Time) error
	// TemplateVersions lists versions below before (nil: from the newest), newest first.
	TemplateVersions(ctx context.Context, id int64, before *int64, atMost int) ([]render.Saved, error)
	// RequestSync has the provider's templates looked at.
	RequestSync(ctx context.Context, by string, now time.Time) error
	// Contents lists the provider's templates with SIDs after the given one, as they were when last looked at, and counts all.
	Contents(ctx context.Context, after string, atMost int) ([]render.Listed, int64, error)
	Content(ctx context.Context, sid string) (render.Content, error)
}

const defaultLocale = "en_US"

func (s *server) ListTemplates(ctx context.Context, r openapi.ListTemplatesRequestObject) (openapi.ListTemplatesResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "templates")
	if err != nil {
		return nil, err
	}
	after, err := p.afterID()
	if err != nil {
		return nil, err
	}
	saved, err := s.Store.Templates(ctx, after, p.fetch())
	if err != nil {
		return nil, err
	}
	total, err := s.Store.TemplateTotal(ctx)
	saved, next := cut(p, saved, func(t render.Saved) int64 { return t.ID })
	return openapi.ListTemplates200JSONResponse{Templates: each(saved, showTemplate), NextCursor: next, Total: total}, err
}

func (s *server) CreateTemplate(ctx context.Context, r openapi.CreateTemplateRequestObject) (openapi.CreateTemplateResponseObject, error) {
	t, err := s.templateOf(*r.Body)
	if err != nil {
		return nil, err
	}
	t, err = s.Store.CreateTemplate(ctx, t, s.Now())
	return openapi.CreateTemplate201JSONResponse(showTemplate(t)), err
}

func (s *server) GetTemplate(ctx context.Context, r openapi.GetTemplateRequestObject) (openapi.GetTemplateResponseObject, error) {
	t, err := s.Store.Template(ctx, r.ID)
	return openapi.GetTemplate200JSONResponse(showTemplate(t)), err
}

func (s *server) UpdateTemplate(ctx context.Context, r openapi.UpdateTemplateRequestObject) (openapi.UpdateTemplateResponseObject, error) {
	t, err := s.templateOf(*r.Body)
	if err != nil {
		return nil, err
	}
	t.ID = r.ID
	t, err = s.Store.UpdateTemplate(ctx, t, s.Now())
	return openapi.UpdateTemplate200JSONResponse(showTemplate(t)), err
}

func (s *server) DeleteTemplate(ctx context.Context, r openapi.DeleteTemplateRequestObject) (openapi.DeleteTemplateResponseObject, error) {
	return openapi.DeleteTemplate204Response{}, s.Store.DeleteTemplate(ctx, r.ID, s.Now())
}

func (s *server) GetTemplateUses(ctx context.Context, r openapi.GetTemplateUsesRequestObject) (openapi.GetTemplateUsesResponseObject, error) {
	if _, err := s.Store.Template(ctx, r.ID); err != nil {
		return nil, err
	}
	uses, err := s.Store.TemplateUses(ctx, r.ID)
	return openapi.GetTemplateUses200JSONResponse{Uses: each(uses, showUse)}, err
}

func (s *server) ListTemplateVersions(ctx context.Context, r openapi.ListTemplateVersionsRequestObject) (openapi.ListTemplateVersionsResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "template versions", r.ID)
	if err != nil {
		return nil, err
	}
	before, err := p.afterID()
	if err != nil {
		return nil, err
	}
	newest, err := s.Store.Template(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	versions, err := s.Store.TemplateVersions(ctx, r.ID, before, p.fetch())
	versions, next := cut(p, versions, func(t render.Saved) int64 { return int64(t.Version) })
	return openapi.ListTemplateVersions200JSONResponse{Versions: each(versions, showTemplate), NextCursor: next, Total: int64(newest.Version)}, err
}

func (s *server) PreviewTemplate(ctx context.Context, r openapi.PreviewTemplateRequestObject) (openapi.PreviewTemplateResponseObject, error) {
	saved, err := s.Store.Template(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	attributes, err := s.previewAttributes(ctx, *r.Body)
	if err != nil {
		return nil, err
	}
	variant := render.Choose(saved.Variants, attributes)
	template, err := render.Parse(variant.Content)
	if err != nil {
		return nil, err
	}
	fill := template.Preview(attributes, saved.CollapseWhitespace)
	return openapi.PreviewTemplate200JSONResponse{
		Content: fill.Text, Locale: variant.Locale, MissingVariables: append([]string{}, fill.Missing...), Length: render.Length(fill.Text),
	}, nil
}

func (s *server) previewAttributes(ctx context.Context, r openapi.TemplatePreviewRequest) (user.Attributes, error) {
	if r.PhoneNumber == nil {
		return user.ParseAttributes("attributes", r.Attributes)
	}
	number, err := phone.Parse(*r.PhoneNumber, s.DefaultRegion)
	if err != nil {
		return nil, err
	}
	u, err := s.Store.UserByPhone(ctx, number)
	return u.Attributes, err
}

// SyncTemplates has a workflow look at the provider's templates.
func (s *server) SyncTemplates(ctx context.Context, _ openapi.SyncTemplatesRequestObject) (openapi.SyncTemplatesResponseObject, error) {
	if err := s.Store.RequestSync(ctx, principalOf(ctx).Name, s.Now()); err != nil {
		return nil, err
	}
	return openapi.SyncTemplates202JSONResponse{TaskID: outbox.SyncID, TemporalURL: s.workflowURL(outbox.SyncID)}, nil
}

func (s *server) ListContents(ctx context.Context, r openapi.ListContentsRequestObject) (openapi.ListContentsResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "contents")
	if err != nil {
		return nil, err
	}
	listed, total, err := s.Store.Contents(ctx, p.after, p.fetch())
	if err != nil {
		return nil, err
	}
	listed, next := cut(p, listed, func(c render.Listed) string { return c.SID })
	return openapi.ListContents200JSONResponse{Contents: each(listed, showContent), NextCursor: next, Total: total}, nil
}

func showContent(c render.Listed) openapi.Content {
	return openapi.Content{
		ContentSID: c.SID, Name: c.Name, Locale: c.Locale, Type: c.Type, Body: c.Body, Variables: notNil(c.Variables), Category: c.Category,
		Approval: openapi.TemplateApproval(c.Approval), ApprovalReason: none(c.Reason), TemplateID: none(c.TemplateID), SyncedAt: c.SyncedAt,
	}
}

// ImportTemplate makes a template of what the provider has.
func (s *server) ImportTemplate(ctx context.Context, r openapi.ImportTemplateRequestObject) (openapi.ImportTemplateResponseObject, error) {
	content, err := s.Store.Content(ctx, r.Body.ContentSID)
	if err != nil {
		return nil, err
	}
	if content.Body == "" {
		return nil, fault.Refuse("content_sid", "names a content of type %s, which has no text of its own", content.Type)
	}
	mapping := value(r.Body.ContentVariables)
	text, err := render.FromProvider(content.Body, mapping)
	if err != nil {
		return nil, err
	}
	t, err := s.templateOf(openapi.TemplateWrite{
		Name: r.Body.Name, Content: text, Channel: ptr(openapi.ChannelWhatsApp), Locale: &content.Locale, Category: r.Body.Category,
		CollapseWhitespace: r.Body.CollapseWhitespace, ContentSID: &content.SID, ContentVariables: &mapping,
	})
	if err != nil {
		return nil, err
	}
	t, err = s.Store.CreateTemplate(ctx, t, s.Now())
	return openapi.ImportTemplate201JSONResponse(showTemplate(t)), err
}

// templateOf checks what was written: name, text, declared variables, what the channel allows and, where that is configured,
// that a marketing text says how to stop.
func (s *server) templateOf(w openapi.TemplateWrite) (render.Saved, error) {
	if err := checkName(w.Name); err != nil {
		return render.Saved{}, err
	}
	parsed, err := render.Parse(w.Content)
	if err != nil {
		return render.Saved{}, err
	}
	if w.Variables != nil {
		if err := parsed.CheckDeclared(append([]string{}, *w.Variables...)); err != nil {
			return render.Saved{}, err
		}
	}
	t := render.Saved{
		Name: w.Name, Content: w.Content, Variables: parsed.Variables(), Channel: message.Channel(or(w.Channel, openapi.ChannelWhatsApp)),
		Locale: or(w.Locale, defaultLocale), Category: render.Category(value(w.Category)), CollapseWhitespace: value(w.CollapseWhitespace),
	}
	t.Variants = []render.Variant{{Locale: t.Locale, Content: w.Content, ContentSID: value(w.ContentSID), Mapping: value(w.ContentVariables)}}
	for _, v := range value(w.Variants) {
		t.Variants = append(t.Variants, render.Variant{
			Locale: v.Locale, Content: v.Content, ContentSID: value(v.ContentSID), Mapping: value(v.ContentVariables),
		})
	}
	t = t.Complete()
	if err := t.Check(); err != nil {
		return render.Saved{}, err
	}
	if s.RequireOptOut {
		return t, t.CheckOptOut()
	}
	return t, nil
}

func showTemplate(t render.Saved) openapi.Template {
	out := openapi.Template{
		ID: t.ID, Name: t.Name, Content: t.Content, Variables: append([]string{}, t.Variables...), Channel: openapi.Channel(t.Channel),
		Locale: t.Locale, Version: t.Version, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, Category: openapi.TemplateCategory(t.Category),
		CollapseWhitespace: t.CollapseWhitespace, ContentVariables: openapi.ContentVariables{}, Variants: []openapi.TemplateVariant{},
		Warnings: each(t.Warnings(), func(w render.Warning) openapi.TemplateWarning {
			return openapi.TemplateWarning{Code: w.Code, Locale: w.Locale, Detail: w.Detail}
		}),
	}
	for i, v := range t.Variants {
		if i == 0 {
			own := showVariant(v)
			out.ContentSID, out.ContentVariables, out.Approval, out.ApprovalReason = own.ContentSID, own.ContentVariables, own.Approval, own.ApprovalReason
			continue
		}
		out.Variants = append(out.Variants, showVariant(v))
	}
	return out
}

func showVariant(v render.Variant) openapi.TemplateVariant {
	return openapi.TemplateVariant{
		Locale: v.Locale, Content: v.Content, Variables: append([]string{}, v.Variables...), ContentSID: none(v.ContentSID),
		ContentVariables: notNil(v.Mapping), Approval: openapi.TemplateApproval(v.Approval), ApprovalReason: none(v.Reason),
	}
}

// notNil is an empty map for none, so that JSON shows {}.
func notNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
