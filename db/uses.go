package db

import (
	"context"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
)

// Bounds of what is suggested to who writes conditions and texts.
const (
	attributePeople = 2000 // who are looked at
	maxAttributes   = 200
	maxValues       = 12 // of one attribute; one with more is no choice
)

// Attributes lists what the newest people have, the most frequent first: a suggestion, not a whole account.
func (s *Store) Attributes(ctx context.Context) ([]user.KnownAttribute, error) {
	rows, err := s.q(ctx).AttributeNames(ctx, dbsqlc.AttributeNamesParams{People: attributePeople, AtMost: maxAttributes, AtMostValues: maxValues})
	if err != nil {
		return nil, translate(err, "attributes")
	}
	known := make([]user.KnownAttribute, len(rows))
	for i, r := range rows {
		known[i] = user.KnownAttribute{Name: r.Name, Types: r.Types, People: int(r.People)}
		// What nearly everybody has a value of their own of, such as a name, is no choice either, and nobody else's business.
		if r.Texts <= maxValues && r.Texts*3 <= r.People {
			known[i].Values = r.Values
		}
	}
	return known, nil
}

// maxUses is how many uses are told.
const maxUses = 200

// SegmentUses lists the campaigns, newest first, and then the segments that name a segment.
func (s *Store) SegmentUses(ctx context.Context, id int64) ([]report.Use, error) {
	rows, err := s.q(ctx).SegmentUses(ctx, dbsqlc.SegmentUsesParams{ID: int32(id), AtMost: maxUses})
	if err != nil {
		return nil, translate(err, "uses of the segment")
	}
	uses := make([]report.Use, len(rows))
	for i, r := range rows {
		uses[i] = report.Use{Kind: report.UseKind(r.Kind), ID: int64(r.ID), Name: r.Name, Status: campaign.Status(r.Status), As: report.UsedAs(r.UsedAs)}
	}
	return uses, nil
}

// TemplateUses lists the campaigns of a template, newest first.
func (s *Store) TemplateUses(ctx context.Context, id int64) ([]report.Use, error) {
	rows, err := s.q(ctx).TemplateUses(ctx, dbsqlc.TemplateUsesParams{ID: int32(id), AtMost: maxUses})
	if err != nil {
		return nil, translate(err, "uses of the template")
	}
	uses := make([]report.Use, len(rows))
	for i, r := range rows {
		uses[i] = report.Use{Kind: report.ByCampaign, ID: int64(r.ID), Name: r.Name, Status: campaign.Status(r.Status), As: report.UsedAs(r.UsedAs)}
	}
	return uses, nil
}

// TemplateVersions lists up to atMost versions of a template below before (nil: from the newest), newest first. UpdatedAt is
// when the version was made, as CreatedAt is.
func (s *Store) TemplateVersions(ctx context.Context, id int64, before *int64, atMost int) ([]render.Saved, error) {
	rows, err := s.q(ctx).TemplateVersions(ctx, dbsqlc.TemplateVersionsParams{ID: int32(id), Before: narrow(before), AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "versions of the template")
	}
	versions := make([]render.Saved, len(rows))
	for i, r := range rows {
		versions[i] = render.Saved{
			ID: int64(r.ID), Name: r.Name, Content: r.Content, Variables: r.Variables, Channel: message.Channel(r.Channel), Locale: r.Locale,
			Version: int(r.Version), CreatedAt: r.CreatedAt, UpdatedAt: r.CreatedAt, Category: render.Category(r.Category),
			CollapseWhitespace: r.CollapseWhitespace,
		}
		if versions[i].Variants, err = toVariants(r.Variants); err != nil {
			return nil, err
		}
	}
	return versions, nil
}
