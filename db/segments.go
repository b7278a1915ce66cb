package db

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

// CreateSegment saves a definition under a name. fault.Conflict when the name is taken.
func (s *Store) CreateSegment(ctx context.Context, name string, definition json.RawMessage, now time.Time) (segment.Saved, error) {
	row, err := s.q(ctx).SegmentInsert(ctx, dbsqlc.SegmentInsertParams{Name: name, Definition: definition, Now: now})
	return toSegment(row), translate(err, "segment")
}

// Segment reads a saved segment.
func (s *Store) Segment(ctx context.Context, id int64) (segment.Saved, error) {
	row, err := s.q(ctx).SegmentGet(ctx, int32(id))
	return toSegment(row), translate(err, "this segment")
}

// Segments lists saved segments, newest first, with an id below after (nil for no bound).
func (s *Store) Segments(ctx context.Context, after *int64, atMost int) ([]segment.Saved, error) {
	rows, err := s.q(ctx).SegmentList(ctx, dbsqlc.SegmentListParams{After: narrow(after), AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "segments")
	}
	saved := make([]segment.Saved, len(rows))
	for i, row := range rows {
		saved[i] = toSegment(row)
	}
	return saved, nil
}

// SegmentTotal counts saved segments.
func (s *Store) SegmentTotal(ctx context.Context) (int64, error) {
	total, err := s.q(ctx).SegmentTotal(ctx)
	return total, translate(err, "segments")
}

// UpdateSegment replaces a saved segment. Audiences already frozen stay.
func (s *Store) UpdateSegment(ctx context.Context, id int64, name string, definition json.RawMessage, now time.Time) (segment.Saved, error) {
	row, err := s.q(ctx).SegmentUpdate(ctx, dbsqlc.SegmentUpdateParams{ID: int32(id), Name: name, Definition: definition, Now: now})
	return toSegment(row), translate(err, "this segment")
}

// DeleteSegment deletes a saved segment. fault.Conflict when a campaign uses it.
func (s *Store) DeleteSegment(ctx context.Context, id int64) error {
	n, err := s.q(ctx).SegmentDelete(ctx, int32(id))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "this segment does not exist")
	}
	return translate(err, "segment")
}

// EvaluateSegment counts the people that a segment selects now, and those of them who may be written to; sample holds
// some of them, newest first.
func (s *Store) EvaluateSegment(ctx context.Context, expr segment.Expr, sampleSize int) (count, sendable int64, sample []user.User, err error) {
	where, args := segment.Compile(expr, 1)
	err = s.conn(ctx).QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE u.consent_state = $1) FROM users u WHERE "+where,
		append([]any{string(user.OptIn)}, args...)...).Scan(&count, &sendable)
	if err != nil || sampleSize == 0 {
		return count, sendable, nil, translate(err, "segment count")
	}
	rows, err := s.conn(ctx).Query(ctx, "SELECT u.* FROM users u WHERE "+where+" ORDER BY u.id DESC LIMIT $1",
		append([]any{sampleSize}, args...)...)
	if err != nil {
		return 0, 0, nil, translate(err, "segment sample")
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[dbsqlc.User])
	if err != nil {
		return 0, 0, nil, translate(err, "segment sample")
	}
	sample, err = toUsers(found)
	return count, sendable, sample, err
}

func toSegment(row dbsqlc.Segment) segment.Saved {
	return segment.Saved{
		ID: int64(row.ID), Name: row.Name, Definition: row.Definition, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
}

// narrow fits the bound of a list to its column; what is beyond the column stays beyond its values.
func narrow(id *int64) *int32 {
	if id == nil {
		return nil
	}
	n := int32(max(math.MinInt32, min(*id, math.MaxInt32)))
	return &n
}
