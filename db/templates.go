package db

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
)

// CreateTemplate saves a template as version 1. t's ID, Version and times are set here. fault.Conflict when the name is
// taken.
func (s *Store) CreateTemplate(ctx context.Context, t render.Saved, now time.Time) (render.Saved, error) {
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
		t, err = s.Template(ctx, int64(id))
		return err
	})
	return t, err
}

func (s *Store) insertVersion(ctx context.Context, id, version int32, t render.Saved, now time.Time) error {
	return translate(s.q(ctx).TemplateVersionInsert(ctx, dbsqlc.TemplateVersionInsertParams{
		TemplateID: id, Version: version, Content: t.Content, Variables: notNil(t.Variables), Now: now,
	}), "template version")
}

// Template reads a template in its newest version.
func (s *Store) Template(ctx context.Context, id int64) (render.Saved, error) {
	row, err := s.q(ctx).TemplateGet(ctx, int32(id))
	return toTemplate(row), translate(err, "this template")
}

// Templates lists templates in their newest versions, newest first, with an id below after (nil for no bound).
func (s *Store) Templates(ctx context.Context, after *int64, atMost int) ([]render.Saved, error) {
	rows, err := s.q(ctx).TemplateList(ctx, dbsqlc.TemplateListParams{After: narrow(after), AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "templates")
	}
	saved := make([]render.Saved, len(rows))
	for i, row := range rows {
		saved[i] = toTemplate(dbsqlc.TemplateGetRow(row))
	}
	return saved, nil
}

// TemplateTotal counts templates.
func (s *Store) TemplateTotal(ctx context.Context) (int64, error) {
	total, err := s.q(ctx).TemplateTotal(ctx)
	return total, translate(err, "templates")
}

// UpdateTemplate replaces the template with t's ID. Another text makes a new version; runs that pinned an earlier one
// go on sending it.
func (s *Store) UpdateTemplate(ctx context.Context, t render.Saved, now time.Time) (render.Saved, error) {
	err := s.InTx(ctx, func(ctx context.Context) error {
		id := int32(t.ID)
		old, err := s.q(ctx).TemplateLock(ctx, id)
		if err != nil {
			return translate(err, "this template")
		}
		version := old.Version
		if old.Content != t.Content {
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
		t, err = s.Template(ctx, int64(id))
		return err
	})
	return t, err
}

// DeleteTemplate deletes a template with its versions. fault.Conflict when a campaign uses it.
func (s *Store) DeleteTemplate(ctx context.Context, id int64) error {
	n, err := s.q(ctx).TemplateDelete(ctx, int32(id))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "this template does not exist")
	}
	return translate(err, "template")
}

func toTemplate(row dbsqlc.TemplateGetRow) render.Saved {
	return render.Saved{
		ID: int64(row.ID), Name: row.Name, Content: row.Content, Variables: row.Variables, Channel: message.Channel(row.Channel),
		Locale: row.Locale, Version: int(row.Version), CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
}
