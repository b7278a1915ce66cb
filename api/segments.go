package api

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

type segmentStore interface {
	CreateSegment(ctx context.Context, name string, definition json.RawMessage, now time.Time) (segment.Saved, error)
	Segment(ctx context.Context, id int64) (segment.Saved, error)
	Segments(ctx context.Context, after *int64, atMost int) ([]segment.Saved, error)
	SegmentTotal(ctx context.Context) (int64, error)
	UpdateSegment(ctx context.Context, id int64, name string, definition json.RawMessage, now time.Time) (segment.Saved, error)
	DeleteSegment(ctx context.Context, id int64) error
	EvaluateSegment(ctx context.Context, expr segment.Expr, sampleSize int) (count, sendable int64, sample []user.User, err error)
}

const defaultSample = 10

func (s *server) ListSegments(ctx context.Context, r openapi.ListSegmentsRequestObject) (openapi.ListSegmentsResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "segments")
	if err != nil {
		return nil, err
	}
	after, err := p.afterID()
	if err != nil {
		return nil, err
	}
	saved, err := s.Store.Segments(ctx, after, p.fetch())
	if err != nil {
		return nil, err
	}
	total, err := s.Store.SegmentTotal(ctx)
	saved, next := cut(p, saved, func(v segment.Saved) int64 { return v.ID })
	return openapi.ListSegments200JSONResponse{Segments: each(saved, showSegment), NextCursor: next, Total: total}, err
}

func (s *server) CreateSegment(ctx context.Context, r openapi.CreateSegmentRequestObject) (openapi.CreateSegmentResponseObject, error) {
	if err := checkSegment(*r.Body); err != nil {
		return nil, err
	}
	saved, err := s.Store.CreateSegment(ctx, r.Body.Name, r.Body.DefinitionJSON, s.Now())
	return openapi.CreateSegment201JSONResponse(showSegment(saved)), err
}

func (s *server) GetSegment(ctx context.Context, r openapi.GetSegmentRequestObject) (openapi.GetSegmentResponseObject, error) {
	saved, err := s.Store.Segment(ctx, r.ID)
	return openapi.GetSegment200JSONResponse(showSegment(saved)), err
}

func (s *server) UpdateSegment(ctx context.Context, r openapi.UpdateSegmentRequestObject) (openapi.UpdateSegmentResponseObject, error) {
	if err := checkSegment(*r.Body); err != nil {
		return nil, err
	}
	saved, err := s.Store.UpdateSegment(ctx, r.ID, r.Body.Name, r.Body.DefinitionJSON, s.Now())
	return openapi.UpdateSegment200JSONResponse(showSegment(saved)), err
}

func (s *server) DeleteSegment(ctx context.Context, r openapi.DeleteSegmentRequestObject) (openapi.DeleteSegmentResponseObject, error) {
	return openapi.DeleteSegment204Response{}, s.Store.DeleteSegment(ctx, r.ID)
}

func (s *server) EvaluateSegment(ctx context.Context, r openapi.EvaluateSegmentRequestObject) (openapi.EvaluateSegmentResponseObject, error) {
	size := defaultSample
	if r.Body != nil && r.Body.SampleSize != nil {
		size = *r.Body.SampleSize
	}
	saved, err := s.Store.Segment(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	expr, err := segment.Parse("definition_json", saved.Definition)
	if err != nil {
		return nil, err
	}
	count, sendable, users, err := s.Store.EvaluateSegment(ctx, expr, size)
	if err != nil {
		return nil, err
	}
	sample, err := showUsers(users)
	return openapi.EvaluateSegment200JSONResponse{
		SegmentID: saved.ID, Count: count, OptedInCount: sendable, Sample: sample, EvaluatedAt: s.Now(),
	}, err
}

func checkSegment(w openapi.SegmentWrite) error {
	if err := checkName(w.Name); err != nil {
		return err
	}
	_, err := segment.Parse("definition_json", w.DefinitionJSON)
	return err
}

// checkName refuses a name that nobody could see.
func checkName(name string) error {
	if strings.TrimSpace(name) == "" {
		return fault.Refuse("name", "must not be blank")
	}
	return nil
}

func showSegment(v segment.Saved) openapi.Segment {
	return openapi.Segment{
		ID: v.ID, Name: v.Name, DefinitionJSON: v.Definition, CreatedAt: v.CreatedAt, UpdatedAt: v.UpdatedAt,
	}
}
