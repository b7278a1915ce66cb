package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

// CreateSegment saves a definition under a name. fault.Conflict when the name is taken.
func (s *Store) CreateSegment(ctx context.Context, name string, definition json.RawMessage, now time.Time) (saved segment.Saved, err error) {
	expr, err := segment.Parse("definition_json", definition)
	if err != nil {
		return segment.Saved{}, err
	}
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.lockSegments(ctx); err != nil {
			return err
		}
		row, err := s.q(ctx).SegmentInsert(ctx, dbsqlc.SegmentInsertParams{
			Name: name, Kind: string(segment.Dynamic), Definition: definition, Now: now,
		})
		if err != nil {
			return translate(err, "segment")
		}
		saved = toSegment(row)
		if err := s.checkDefinition(ctx, "definition_json", expr, segment.MaxResolved); err != nil {
			return err
		}
		if err := s.noteUses(ctx, &row.ID, nil, expr); err != nil {
			return err
		}
		return s.auditSegment(ctx, "segment.create", saved.ID, map[string]any{"name": name, "definition": elided(definition)}, now)
	})
	return saved, err
}

// auditSegment records what whoever asks does to a segment.
func (s *Store) auditSegment(ctx context.Context, action string, id int64, detail map[string]any, now time.Time) error {
	return s.audit(ctx, access.CallerOf(ctx), action, fmt.Sprintf("segment/%d", id), detail, now)
}

// CreateStaticSegment saves a segment without a member. fault.Conflict when the name is taken.
func (s *Store) CreateStaticSegment(ctx context.Context, name string, now time.Time) (saved segment.Saved, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).SegmentInsert(ctx, dbsqlc.SegmentInsertParams{Name: name, Kind: string(segment.Static), Now: now})
		if err != nil {
			return translate(err, "segment")
		}
		saved = toSegment(row)
		return s.auditSegment(ctx, "segment.create", saved.ID, map[string]any{"name": name, "kind": segment.Static}, now)
	})
	return saved, err
}

func (s *Store) lockSegments(ctx context.Context) error {
	return translate(s.q(ctx).SegmentsLock(ctx), "segments")
}

// resolve puts the definitions of the segments that expr refers to in place.
func (s *Store) resolve(ctx context.Context, field string, expr segment.Expr) (segment.Resolved, error) {
	return segment.Resolve(field, expr, func(id int64) (segment.Saved, error) { return s.Segment(ctx, id) })
}

// checkDefinition refuses a definition that names what does not exist, or has more than atMost conditions together with all
// that it refers to.
func (s *Store) checkDefinition(ctx context.Context, field string, expr segment.Expr, atMost int) error {
	resolved, err := s.resolve(ctx, field, expr)
	if err != nil {
		return err
	}
	if n := resolved.Size(); n > atMost {
		return fault.Refuse(field, "has %d conditions with those of the segments that it refers to: at most %d", n, atMost)
	}
	references := expr.References(field)
	var campaigns, topics []int32
	names := []string{}
	for _, r := range references {
		switch {
		case r.CampaignID != 0:
			campaigns = append(campaigns, int32(r.CampaignID))
		case r.TopicID != 0:
			topics = append(topics, int32(r.TopicID))
		case r.Topic != "":
			names = append(names, r.Topic)
		}
	}
	if len(campaigns)+len(topics)+len(names) == 0 {
		return nil
	}
	knownCampaigns, err := s.q(ctx).CampaignsKnown(ctx, campaigns)
	if err != nil {
		return translate(err, "campaigns")
	}
	knownTopics, err := s.q(ctx).TopicsKnown(ctx, dbsqlc.TopicsKnownParams{Ids: topics, Names: names})
	if err != nil {
		return translate(err, "topics")
	}
	var missing []fault.Field
	for _, r := range references {
		isTopic := func(t dbsqlc.TopicsKnownRow) bool {
			return int64(t.ID) == r.TopicID || r.Topic != "" && t.Name == r.Topic
		}
		switch {
		case r.CampaignID != 0 && !slices.Contains(knownCampaigns, int32(r.CampaignID)):
			missing = append(missing, fault.Field{Name: r.Field, Detail: fmt.Sprintf("there is no campaign %d", r.CampaignID)})
		case r.SegmentID == 0 && r.CampaignID == 0 && !slices.ContainsFunc(knownTopics, isTopic):
			missing = append(missing, fault.Field{Name: r.Field, Detail: "there is no such topic"})
		}
	}
	return fault.Fields(missing...)
}

// noteUses records which segments the definition of a segment or the plan of a campaign refers to, and that it refers to
// no other any more.
func (s *Store) noteUses(ctx context.Context, bySegment, byCampaign *int32, expr segment.Expr, others ...int64) error {
	ids := toInt32(others)
	for _, r := range expr.References("") {
		if r.SegmentID != 0 {
			ids = append(ids, int32(r.SegmentID))
		}
	}
	if err := s.q(ctx).SegmentUsesForget(ctx, dbsqlc.SegmentUsesForgetParams{BySegmentID: bySegment, ByCampaignID: byCampaign}); err != nil {
		return translate(err, "uses of segments")
	}
	if len(ids) == 0 {
		return nil
	}
	return translate(s.q(ctx).SegmentUsesInsert(ctx, dbsqlc.SegmentUsesInsertParams{
		SegmentIds: ids, BySegmentID: bySegment, ByCampaignID: byCampaign,
	}), "uses of segments")
}

func toInt32(ids []int64) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
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

func toInt64(ids []int32) []int64 {
	out := make([]int64, len(ids))
	for i, id := range ids {
		out[i] = int64(id)
	}
	return out
}

// UpdateSegment replaces a saved segment's name and definition; of a static one the definition stays, and nil leaves it.
// Audiences already frozen stay.
func (s *Store) UpdateSegment(ctx context.Context, id int64, name string, definition json.RawMessage, now time.Time) (saved segment.Saved, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.lockSegments(ctx); err != nil {
			return err
		}
		was, err := s.Segment(ctx, id)
		if err != nil {
			return err
		}
		var expr segment.Expr
		if definition == nil {
			definition = was.Definition
		}
		if expr, err = segment.Parse("definition_json", definition); err != nil {
			return err
		}
		if was.Kind == segment.Static && !reflect.DeepEqual(expr, segment.Membership(id)) {
			return fault.Refuse("definition_json", "of a static segment cannot be changed: leave it out")
		}
		row, err := s.q(ctx).SegmentUpdate(ctx, dbsqlc.SegmentUpdateParams{ID: int32(id), Name: name, Definition: definition, Now: now})
		if err != nil {
			return translate(err, "this segment")
		}
		saved = toSegment(row)
		detail := changes{}
		detail.note("name", was.Name, name)
		detail.noteJSON("definition", elided(was.Definition), elided(definition))
		if err := s.auditSegment(ctx, "segment.change", id, detail, now); err != nil || was.Kind == segment.Static {
			return err
		}
		if err := s.checkDefinition(ctx, "definition_json", expr, segment.MaxResolved); err != nil {
			return err
		}
		if err := s.checkUsers(ctx, row.ID); err != nil {
			return err
		}
		return s.noteUses(ctx, &row.ID, nil, expr)
	})
	return saved, err
}

// checkUsers refuses a change of a segment that others which refer to it would not survive.
func (s *Store) checkUsers(ctx context.Context, id int32) error {
	users, err := s.q(ctx).SegmentsUsing(ctx, id)
	if err != nil {
		return translate(err, "segments")
	}
	for _, row := range users {
		expr, err := segment.Parse("definition_json", row.Definition)
		if err != nil {
			return err
		}
		resolved, err := s.resolve(ctx, "definition_json", expr)
		if err != nil {
			return err
		}
		if n := resolved.Size(); n > segment.MaxResolved {
			return fault.Refuse("definition_json", "would give segment %d, which refers to this one, %d conditions: at most %d", row.ID, n, segment.MaxResolved)
		}
	}
	return nil
}

// DeleteSegment deletes a saved segment. fault.Conflict when a campaign or another segment uses it.
func (s *Store) DeleteSegment(ctx context.Context, id int64, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		was, err := s.Segment(ctx, id)
		if err != nil {
			return err
		}
		n, err := s.q(ctx).SegmentDelete(ctx, int32(id))
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "this segment does not exist")
		} else if err != nil {
			return translate(err, "segment")
		}
		return s.auditSegment(ctx, "segment.delete", id, map[string]any{"was": map[string]any{"name": was.Name, "definition": elided(was.Definition)}}, now)
	})
}

// uploadBatch is how many numbers are looked up at once, and maxUploadErrors how many refused rows are told.
const (
	uploadBatch     = 1000
	maxUploadErrors = 1000
)

// FillSegment puts the people of an upload into a static segment, in place of its members when replace is set. It is done as
// a whole or not at all. Numbers that nobody has are reported, and make nobody known.
func (s *Store) FillSegment(
	ctx context.Context, id int64, replace bool, next func() (segment.Entry, error), now time.Time,
) (upload segment.Upload, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		kind, err := s.q(ctx).SegmentFill(ctx, dbsqlc.SegmentFillParams{ID: int32(id), Now: now})
		if err != nil {
			return translate(err, "this segment")
		}
		if segment.Kind(kind) != segment.Static {
			return fault.New(fault.Conflict, "only a static segment has members of its own; this one has a definition")
		}
		if replace {
			if err := s.q(ctx).SegmentMembersClear(ctx, int32(id)); err != nil {
				return translate(err, "members")
			}
		}
		for more := true; more; {
			var batch []segment.Entry
			if batch, more, err = nextEntries(next, &upload); err != nil {
				return err
			}
			if err := s.addMembers(ctx, id, batch, &upload); err != nil {
				return err
			}
		}
		if upload.Members, err = s.q(ctx).SegmentMembersTotal(ctx, int32(id)); err != nil {
			return translate(err, "members")
		}
		return s.auditSegment(ctx, "segment.fill", id, map[string]any{"rows": upload.Rows, "members": upload.Members, "replace": replace}, now)
	})
	slices.SortStableFunc(upload.Errors, func(a, b segment.RowError) int { return a.Line - b.Line })
	return upload, err
}

// nextEntries reads up to uploadBatch numbers and counts the rows that hold none; more is false after the last.
func nextEntries(next func() (segment.Entry, error), upload *segment.Upload) (batch []segment.Entry, more bool, err error) {
	for len(batch) < uploadBatch {
		entry, err := next()
		if errors.Is(err, io.EOF) {
			return batch, false, nil
		} else if err != nil {
			return nil, false, err
		}
		upload.Rows++
		if entry.Problem == "" {
			batch = append(batch, entry)
			continue
		}
		upload.Invalid++
		refuseRow(upload, entry.Line, entry.Problem)
	}
	return batch, true, nil
}

func refuseRow(upload *segment.Upload, line int, detail string) {
	if len(upload.Errors) < maxUploadErrors {
		upload.Errors = append(upload.Errors, segment.RowError{Line: line, Detail: detail})
	}
}

func (s *Store) addMembers(ctx context.Context, id int64, batch []segment.Entry, upload *segment.Upload) error {
	numbers := make([]string, len(batch))
	for i, entry := range batch {
		numbers[i] = string(entry.Number)
	}
	unknown, err := s.q(ctx).SegmentMembersAdd(ctx, dbsqlc.SegmentMembersAddParams{SegmentID: int32(id), Numbers: numbers})
	if err != nil {
		return translate(err, "members")
	}
	upload.Unknown += len(unknown)
	upload.Matched += len(batch) - len(unknown)
	for _, place := range unknown {
		refuseRow(upload, batch[place].Line, "nobody with this number is known: import them first")
	}
	return nil
}

// EvaluateSegment counts the people that a definition selects now, and those of them who may be written to; sample holds
// some of them, newest first. fault.Unavailable when it takes longer than the database lets a statement.
func (s *Store) EvaluateSegment(
	ctx context.Context, expr segment.Expr, sampleSize int, now time.Time,
) (count, sendable int64, sample []user.User, err error) {
	resolved, err := s.resolve(ctx, "definition_json", expr)
	if err != nil {
		return 0, 0, nil, err
	}
	where, args := segment.Compile(resolved, now, 1)
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.planWithArguments(ctx); err != nil {
			return err
		}
		err = s.conn(ctx).QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE u.consent_state = $1) FROM users u WHERE "+where,
			append([]any{string(user.OptIn)}, args...)...).Scan(&count, &sendable)
		if err != nil || sampleSize == 0 || count == 0 {
			return translate(err, "segment count")
		}
		rows, err := s.conn(ctx).Query(ctx, "SELECT u.* FROM users u WHERE "+where+" ORDER BY u.id DESC LIMIT $1",
			append([]any{sampleSize}, args...)...)
		if err != nil {
			return translate(err, "segment sample")
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[dbsqlc.User])
		if err != nil {
			return translate(err, "segment sample")
		}
		sample, err = toUsers(found)
		return err
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == queryCanceled && ctx.Err() == nil {
		err = fault.New(fault.Unavailable, "the database took too long to count whom this selects: narrow it by a condition that an index serves, "+
			"such as an attribute that equals a value, or try again when there is less to do")
	}
	return count, sendable, sample, err
}

// queryCanceled is PostgreSQL's code for a statement that was ended, such as by its time limit.
const queryCanceled = "57014"

// planWithArguments has the transaction's statements planned with their arguments known, so that a condition meets its
// index.
func (s *Store) planWithArguments(ctx context.Context) error {
	_, err := s.conn(ctx).Exec(ctx, `SET LOCAL plan_cache_mode = force_custom_plan`)
	return translate(err, "plan mode")
}

func toSegment(row dbsqlc.Segment) segment.Saved {
	return segment.Saved{
		ID: int64(row.ID), Name: row.Name, Kind: segment.Kind(row.Kind), Definition: row.Definition, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
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
