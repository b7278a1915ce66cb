package api

import (
	"cmp"
	"context"
	"maps"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/message"
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
	DeleteTemplate(ctx context.Context, id int64) error
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
	t, err := templateOf(*r.Body)
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
	t, err := templateOf(*r.Body)
	if err != nil {
		return nil, err
	}
	t.ID = r.ID
	t, err = s.Store.UpdateTemplate(ctx, t, s.Now())
	return openapi.UpdateTemplate200JSONResponse(showTemplate(t)), err
}

func (s *server) DeleteTemplate(ctx context.Context, r openapi.DeleteTemplateRequestObject) (openapi.DeleteTemplateResponseObject, error) {
	return openapi.DeleteTemplate204Response{}, s.Store.DeleteTemplate(ctx, r.ID)
}

func (s *server) PreviewTemplate(ctx context.Context, r openapi.PreviewTemplateRequestObject) (openapi.PreviewTemplateResponseObject, error) {
	saved, err := s.Store.Template(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	template, err := render.Parse(saved.Content)
	if err != nil {
		return nil, err
	}
	attributes, err := s.previewAttributes(ctx, *r.Body)
	if err != nil {
		return nil, err
	}
	text, missing := template.Render(attributes)
	if len(missing) > 0 {
		for _, name := range missing {
			attributes = with(attributes, strings.Split(name, "."), "{"+name+"}")
		}
		text, _ = template.Render(attributes)
	}
	return openapi.PreviewTemplate200JSONResponse{
		Content: text, MissingVariables: append([]string{}, missing...), Length: render.Length(text),
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

// with returns attributes that have a value at a path, and leaves those it was given as they are.
func with(attributes map[string]any, path []string, value any) map[string]any {
	changed := maps.Clone(attributes)
	if changed == nil {
		changed = map[string]any{}
	}
	if len(path) > 1 {
		inner, _ := changed[path[0]].(map[string]any)
		value = with(inner, path[1:], value)
	}
	changed[path[0]] = value
	return changed
}

// templateOf checks what was written: name, text, declared variables, and the length that the channel allows.
func templateOf(w openapi.TemplateWrite) (render.Saved, error) {
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
	channel := message.Channel(cmp.Or(value(w.Channel), openapi.Channel(message.WhatsApp)))
	if err := parsed.CheckLength(channel); err != nil {
		return render.Saved{}, err
	}
	return render.Saved{
		Name: w.Name, Content: w.Content, Variables: parsed.Variables(), Channel: channel,
		Locale: cmp.Or(value(w.Locale), defaultLocale),
	}, nil
}

func showTemplate(t render.Saved) openapi.Template {
	return openapi.Template{
		ID: t.ID, Name: t.Name, Content: t.Content, Variables: append([]string{}, t.Variables...), Channel: openapi.Channel(t.Channel),
		Locale: t.Locale, Version: t.Version, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
}
