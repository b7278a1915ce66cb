package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"strconv"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/suppression"
)

type suppressionStore interface {
	// AddSuppressions returns the entries made; a number that is suppressed for the scope already gets none.
	AddSuppressions(ctx context.Context, news []suppression.New, source suppression.Source, actor string, now time.Time) ([]suppression.Entry, error)
	LiftSuppression(ctx context.Context, id int64, evidence, actor string, now time.Time) (suppression.Entry, error)
	// Suppressions lists entries that fit, newest first, with ids below before, and counts all that fit.
	Suppressions(ctx context.Context, f suppression.Filter, before *int64, atMost int) ([]suppression.Entry, int64, error)
	SuppressionPage(ctx context.Context, withLifted bool, before *int64, atMost int) ([]suppression.Entry, error)
}

func (s *server) ListSuppressions(ctx context.Context, r openapi.ListSuppressionsRequestObject) (openapi.ListSuppressionsResponseObject, error) {
	filter := suppression.Filter{Scope: suppression.Scope(value(r.Params.Scope)), WithLifted: value(r.Params.Lifted)}
	if r.Params.PhoneNumber != nil {
		var err error
		if filter.Phone, err = s.pathNumber(strings.TrimPrefix(*r.Params.PhoneNumber, " ")); err != nil {
			return nil, err
		}
	}
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "suppressions", filter)
	if err != nil {
		return nil, err
	}
	before, err := p.afterID()
	if err != nil {
		return nil, err
	}
	entries, total, err := s.Store.Suppressions(ctx, filter, before, p.fetch())
	if err != nil {
		return nil, err
	}
	entries, next := cut(p, entries, func(e suppression.Entry) int64 { return e.ID })
	return openapi.ListSuppressions200JSONResponse{Suppressions: each(entries, showSuppression), NextCursor: next, Total: total}, nil
}

func (s *server) AddSuppression(ctx context.Context, r openapi.AddSuppressionRequestObject) (openapi.AddSuppressionResponseObject, error) {
	number, err := phone.Parse(r.Body.PhoneNumber, s.DefaultRegion)
	if err != nil {
		return nil, err
	}
	n, err := newSuppression(number, value(r.Body.Scope), string(value(r.Body.Reason)), value(r.Body.Evidence))
	if err != nil {
		return nil, err
	}
	added, err := s.Store.AddSuppressions(ctx, []suppression.New{n}, suppression.FromAPI, principalOf(ctx).Name, s.Now())
	if err != nil {
		return nil, err
	}
	if len(added) == 0 {
		return nil, fault.New(fault.Conflict, "this number is suppressed for this scope already")
	}
	return openapi.AddSuppression201JSONResponse(showSuppression(added[0])), nil
}

func newSuppression(number phone.Number, scope, reason, evidence string) (n suppression.New, err error) {
	n = suppression.New{Phone: number, Evidence: evidence}
	if n.Scope, err = suppression.ParseScope("scope", scope); err != nil {
		return n, err
	}
	n.Reason, err = suppression.ParseReason("reason", reason)
	return n, err
}

func (s *server) LiftSuppression(ctx context.Context, r openapi.LiftSuppressionRequestObject) (openapi.LiftSuppressionResponseObject, error) {
	if strings.TrimSpace(r.Body.Evidence) == "" {
		return nil, fault.Refuse("evidence", "must not be blank")
	}
	entry, err := s.Store.LiftSuppression(ctx, r.ID, r.Body.Evidence, principalOf(ctx).Name, s.Now())
	return openapi.LiftSuppression200JSONResponse(showSuppression(entry)), err
}

const (
	// suppressionBatch is how many rows of a file one transaction takes in.
	suppressionBatch = 500
	// shownSuppressionErrors bounds the refused rows that an answer names.
	shownSuppressionErrors = 1000
	maxEvidenceBytes       = 500
)

func (s *server) ImportSuppressions(ctx context.Context, r openapi.ImportSuppressionsRequestObject) (openapi.ImportSuppressionsResponseObject, error) {
	region, err := s.region(r.Params.DefaultRegion)
	if err != nil {
		return nil, err
	}
	result, err := s.importSuppressions(ctx, region, r.Body)
	return openapi.ImportSuppressions200JSONResponse(result), err
}

// importSuppressions takes a file in. region is of numbers without a country code.
func (s *server) importSuppressions(ctx context.Context, region string, upload *multipart.Reader) (openapi.SuppressionImport, error) {
	imp := intake.Import{DefaultRegion: region}
	file, err := receive(upload, &imp)
	if err != nil {
		return openapi.SuppressionImport{}, err
	}
	defer file.release()
	reader, err := intake.Open(&imp, file)
	if err != nil {
		return openapi.SuppressionImport{}, err
	}
	defer func() { _ = reader.Close() }()
	parse, err := imp.Parser()
	if err != nil {
		return openapi.SuppressionImport{}, err
	}
	in := suppressionImport{parse: parse, result: openapi.SuppressionImport{Errors: []openapi.ImportError{}}}
	in.save = func(batch []suppression.New) (int, error) {
		added, err := s.Store.AddSuppressions(ctx, batch, suppression.FromImport, principalOf(ctx).Name, s.Now())
		return len(added), err
	}
	return in.result, in.take(reader.Next)
}

// suppressionImport takes the rows of a file in, some hundred at a time.
type suppressionImport struct {
	parse  func(text string) (intake.Person, error)
	save   func([]suppression.New) (added int, err error)
	batch  []suppression.New
	lines  []int // of the batch
	result openapi.SuppressionImport
}

func (in *suppressionImport) take(next func() (intake.Row, error)) error {
	for {
		row, err := next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		in.result.Total++
		n, err := in.read(row)
		if err != nil {
			in.refuse(row.Line, err)
			continue
		}
		in.batch, in.lines = append(in.batch, n), append(in.lines, row.Line)
		if len(in.batch) == suppressionBatch {
			if err := in.flush(); err != nil {
				return err
			}
		}
	}
	if in.result.Total == 0 {
		return fault.Refuse("file", "has no records")
	}
	return in.flush()
}

// read tells what one row says. Its fault names the field.
func (in *suppressionImport) read(row intake.Row) (suppression.New, error) {
	if row.Refused() {
		return suppression.New{}, fault.Fields(row.Problem)
	}
	person, err := in.parse(row.Text)
	if err != nil {
		return suppression.New{}, err
	}
	cells := map[string]string{}
	for name, value := range person.Attributes {
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "scope", "reason", "evidence":
			text, err := cellText(name, value)
			if err != nil {
				return suppression.New{}, err
			}
			cells[name] = text
		}
	}
	return newSuppression(person.Phone, strings.TrimSpace(cells["scope"]), strings.TrimSpace(cells["reason"]), cells["evidence"])
}

func cellText(name string, value any) (string, error) {
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	default:
		return "", fault.Refuse(name, "must be a text")
	}
	if len(text) > maxEvidenceBytes {
		return "", fault.Refuse(name, "is too long: at most %d bytes", maxEvidenceBytes)
	}
	return text, nil
}

// flush saves the batch. Where a row of it is refused, such as for a topic that does not exist, the rows are saved one by one.
func (in *suppressionImport) flush() error {
	if len(in.batch) == 0 {
		return nil
	}
	added, err := in.save(in.batch)
	switch {
	case err == nil:
		in.count(len(in.batch), added)
	case fault.Is(err, fault.Invalid):
		if err := in.saveEach(); err != nil {
			return err
		}
	default:
		return err
	}
	in.batch, in.lines = in.batch[:0], in.lines[:0]
	return nil
}

func (in *suppressionImport) saveEach() error {
	for i := range in.batch {
		added, err := in.save(in.batch[i : i+1])
		switch {
		case err == nil:
			in.count(1, added)
		case fault.Is(err, fault.Invalid):
			in.refuse(in.lines[i], err)
		default:
			return err
		}
	}
	return nil
}

func (in *suppressionImport) count(rows, added int) {
	in.result.Added += int64(added)
	in.result.Known += int64(rows - added)
}

func (in *suppressionImport) refuse(line int, err error) {
	in.result.Failed++
	if len(in.result.Errors) == shownSuppressionErrors {
		return
	}
	e := openapi.ImportError{Line: int64(line), Detail: "cannot be read"}
	if f, ok := errors.AsType[*fault.Fault](err); ok && len(f.Fields) > 0 {
		e.Field, e.Detail = f.Fields[0].Name, f.Fields[0].Detail
	}
	in.result.Errors = append(in.result.Errors, e)
}

var suppressionColumns = []string{
	"id", "number_hmac", "key_id", "masked_phone", "scope", "reason", "evidence", "source", "actor", "created_at", "lifted_at", "lifted_by", "lifted_evidence",
}

func (s *server) ExportSuppressions(ctx context.Context, _ openapi.ExportSuppressionsRequestObject) (openapi.ExportSuppressionsResponseObject, error) {
	x := &download{}
	x.writePlainCSV(suppressionColumns...)
	var before *int64
	x.page = func() (bool, error) {
		entries, err := s.Store.SuppressionPage(ctx, true, before, exportPage)
		for _, e := range entries {
			before = &e.ID
			x.writeCSV(suppressionCells(e)...)
		}
		return len(entries) < exportPage, err
	}
	if err := x.more(); err != nil {
		return nil, err
	}
	return openapi.ExportSuppressions200TextCsvResponse{
		Body: x, Headers: openapi.ExportSuppressions200ResponseHeaders{ContentDisposition: attachment("suppressions.csv")},
	}, nil
}

func suppressionCells(e suppression.Entry) []string {
	return []string{
		strconv.FormatInt(e.ID, 10), hex.EncodeToString(e.NumberHMAC), e.KeyID, value(masked(e.Phone)), string(e.Scope), string(e.Reason),
		e.Evidence, string(e.Source), e.Actor, timeCell(&e.CreatedAt), timeCell(e.LiftedAt), e.LiftedBy, e.LiftedEvidence,
	}
}

func showSuppression(e suppression.Entry) openapi.Suppression {
	return openapi.Suppression{
		ID: e.ID, MaskedPhone: masked(e.Phone), NumberHmac: hex.EncodeToString(e.NumberHMAC), Scope: openapi.SuppressionScope(e.Scope),
		Reason: openapi.SuppressionReason(e.Reason), Evidence: none(e.Evidence), Source: openapi.SuppressionSource(e.Source), Actor: e.Actor,
		CreatedAt: e.CreatedAt, LiftedAt: e.LiftedAt, LiftedBy: none(e.LiftedBy), LiftedEvidence: none(e.LiftedEvidence),
	}
}
