package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

type segmentStore interface {
	CreateSegment(ctx context.Context, name string, definition json.RawMessage, now time.Time) (segment.Saved, error)
	Segment(ctx context.Context, id int64) (segment.Saved, error)
	Segments(ctx context.Context, after *int64, atMost int) ([]segment.Saved, error)
	SegmentTotal(ctx context.Context) (int64, error)
	UpdateSegment(ctx context.Context, id int64, name string, definition json.RawMessage, now time.Time) (segment.Saved, error)
	DeleteSegment(ctx context.Context, id int64, now time.Time) error
	EvaluateSegment(ctx context.Context, expr segment.Expr, sampleSize int, now time.Time) (count, sendable int64, sample []user.User, err error)
	CreateStaticSegment(ctx context.Context, name string, now time.Time) (segment.Saved, error)
	// FillSegment puts the people whose numbers next gives, until io.EOF, into a static segment, instead of its members when
	// replace is set.
	FillSegment(ctx context.Context, id int64, replace bool, next func() (segment.Entry, error), now time.Time) (segment.Upload, error)
}

type useStore interface {
	Attributes(ctx context.Context) ([]user.KnownAttribute, error)
	SegmentUses(ctx context.Context, id int64) ([]report.Use, error)
	TemplateUses(ctx context.Context, id int64) ([]report.Use, error)
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
	if err := checkName(r.Body.Name); err != nil {
		return nil, err
	}
	given := len(r.Body.DefinitionJSON) > 0
	var saved segment.Saved
	var err error
	switch static := segment.Kind(value(r.Body.Kind)) == segment.Static; {
	case static && given:
		return nil, fault.Refuse("definition_json", "is not for a static segment: upload its people to its members")
	case static:
		saved, err = s.Store.CreateStaticSegment(ctx, r.Body.Name, s.Now())
	case !given:
		return nil, fault.Refuse("definition_json", "is missing")
	default:
		saved, err = s.Store.CreateSegment(ctx, r.Body.Name, r.Body.DefinitionJSON, s.Now())
	}
	return openapi.CreateSegment201JSONResponse(showSegment(saved)), err
}

func (s *server) GetSegment(ctx context.Context, r openapi.GetSegmentRequestObject) (openapi.GetSegmentResponseObject, error) {
	saved, err := s.Store.Segment(ctx, r.ID)
	return openapi.GetSegment200JSONResponse(showSegment(saved)), err
}

func (s *server) UpdateSegment(ctx context.Context, r openapi.UpdateSegmentRequestObject) (openapi.UpdateSegmentResponseObject, error) {
	if err := checkName(r.Body.Name); err != nil {
		return nil, err
	}
	was, err := s.Store.Segment(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if kind := r.Body.Kind; kind != nil && segment.Kind(*kind) != was.Kind {
		return nil, fault.Refuse("kind", "cannot be changed: this segment is %s", was.Kind)
	}
	if was.Kind == segment.Dynamic && len(r.Body.DefinitionJSON) == 0 {
		return nil, fault.Refuse("definition_json", "is missing")
	}
	saved, err := s.Store.UpdateSegment(ctx, r.ID, r.Body.Name, r.Body.DefinitionJSON, s.Now())
	return openapi.UpdateSegment200JSONResponse(showSegment(saved)), err
}

func (s *server) DeleteSegment(ctx context.Context, r openapi.DeleteSegmentRequestObject) (openapi.DeleteSegmentResponseObject, error) {
	return openapi.DeleteSegment204Response{}, s.Store.DeleteSegment(ctx, r.ID, s.Now())
}

func (s *server) GetSegmentUses(ctx context.Context, r openapi.GetSegmentUsesRequestObject) (openapi.GetSegmentUsesResponseObject, error) {
	if _, err := s.Store.Segment(ctx, r.ID); err != nil {
		return nil, err
	}
	uses, err := s.Store.SegmentUses(ctx, r.ID)
	return openapi.GetSegmentUses200JSONResponse{Uses: each(uses, showUse)}, err
}

func showUse(u report.Use) openapi.Use {
	return openapi.Use{Kind: string(u.Kind), ID: u.ID, Name: u.Name, Status: none(string(u.Status)), UsedAs: string(u.As)}
}

func (s *server) GetAttributes(ctx context.Context, _ openapi.GetAttributesRequestObject) (openapi.GetAttributesResponseObject, error) {
	known, err := s.Store.Attributes(ctx)
	return openapi.GetAttributes200JSONResponse{Attributes: each(known, func(a user.KnownAttribute) openapi.KnownAttribute {
		return openapi.KnownAttribute{
			Name: a.Name, Users: a.People, Values: append([]string{}, a.Values...),
			Types: each(a.Types, func(t string) openapi.KnownAttributeTypes { return openapi.KnownAttributeTypes(t) }),
		}
	})}, err
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
	count, sendable, users, err := s.Store.EvaluateSegment(ctx, expr, size, s.Now())
	if err != nil {
		return nil, err
	}
	sample, err := showUsers(users)
	return openapi.EvaluateSegment200JSONResponse{
		SegmentID: saved.ID, Count: count, OptedInCount: sendable, Sample: sample, EvaluatedAt: s.Now(),
	}, err
}

func (s *server) PreviewSegment(ctx context.Context, r openapi.PreviewSegmentRequestObject) (openapi.PreviewSegmentResponseObject, error) {
	expr, err := segment.Parse("definition_json", r.Body.DefinitionJSON)
	if err != nil {
		return nil, err
	}
	now, started := s.Now(), time.Now()
	count, sendable, users, err := s.Store.EvaluateSegment(ctx, expr, or(r.Body.SampleSize, defaultSample), now)
	return openapi.PreviewSegment200JSONResponse{
		Count: count, OptedInCount: sendable, Description: segment.Describe(expr), TookMs: time.Since(started).Milliseconds(), EvaluatedAt: now,
		Sample: each(users, func(u user.User) openapi.SegmentPreviewUser {
			return openapi.SegmentPreviewUser{MaskedPhone: u.Phone.Masked(), ConsentState: openapi.ConsentState(u.Consent), Region: none(u.Region)}
		}),
	}, err
}

func (s *server) AddSegmentMembers(ctx context.Context, r openapi.AddSegmentMembersRequestObject) (openapi.AddSegmentMembersResponseObject, error) {
	result, err := s.fillSegment(ctx, r.ID, false, r.Params.DefaultRegion, r.Body)
	return openapi.AddSegmentMembers200JSONResponse(result), err
}

func (s *server) ReplaceSegmentMembers(ctx context.Context, r openapi.ReplaceSegmentMembersRequestObject) (openapi.ReplaceSegmentMembersResponseObject, error) {
	result, err := s.fillSegment(ctx, r.ID, true, r.Params.DefaultRegion, r.Body)
	return openapi.ReplaceSegmentMembers200JSONResponse(result), err
}

func (s *server) fillSegment(ctx context.Context, id int64, replace bool, givenRegion *string, parts *multipart.Reader) (openapi.SegmentUploadResult, error) {
	region, err := s.region(givenRegion)
	if err != nil {
		return openapi.SegmentUploadResult{}, err
	}
	file, err := receiveNumbers(parts)
	if err != nil {
		return openapi.SegmentUploadResult{}, err
	}
	defer file.release()
	upload, err := s.Store.FillSegment(ctx, id, replace, segment.NewNumbers(file, region).Next, s.Now())
	return openapi.SegmentUploadResult{
		SegmentID: id, Rows: int64(upload.Rows), Matched: int64(upload.Matched), Unknown: int64(upload.Unknown), Invalid: int64(upload.Invalid),
		Members: upload.Members, Errors: each(upload.Errors, func(e segment.RowError) openapi.SegmentUploadError {
			return openapi.SegmentUploadError{Line: int64(e.Line), Detail: e.Detail}
		}),
	}, err
}

// receiveNumbers takes the one file of an upload. The caller releases it.
func receiveNumbers(parts *multipart.Reader) (file *upload, err error) {
	defer func() {
		if err != nil && file != nil {
			file.release()
		}
	}()
	part, err := parts.NextPart()
	if err != nil {
		return nil, broken(err)
	}
	if part.FormName() != "file" {
		return nil, fault.Refuse(part.FormName(), "is not known here; the upload is one part named file")
	}
	if file, err = spooled(part); err != nil {
		return file, err
	}
	if extra, err := parts.NextPart(); err == nil {
		return file, fault.Refuse(extra.FormName(), "is not known here; the upload is one part named file")
	} else if !errors.Is(err, io.EOF) {
		return file, broken(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return file, fmt.Errorf("upload spool: %w", err)
	}
	return file, nil
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
		ID: v.ID, Name: v.Name, Kind: openapi.SegmentKind(v.Kind), DefinitionJSON: v.Definition, CreatedAt: v.CreatedAt, UpdatedAt: v.UpdatedAt,
	}
}
