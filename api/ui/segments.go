package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

type segmentStore interface {
	CreateSegment(ctx context.Context, name string, definition json.RawMessage, now time.Time) (segment.Saved, error)
	CreateStaticSegment(ctx context.Context, name string, now time.Time) (segment.Saved, error)
	Segment(ctx context.Context, id int64) (segment.Saved, error)
	Segments(ctx context.Context, after *int64, atMost int) ([]segment.Saved, error)
	SegmentTotal(ctx context.Context) (int64, error)
	// UpdateSegment leaves the definition of a static segment, and where definition is nil.
	UpdateSegment(ctx context.Context, id int64, name string, definition json.RawMessage, now time.Time) (segment.Saved, error)
	DeleteSegment(ctx context.Context, id int64, now time.Time) error
	EvaluateSegment(ctx context.Context, expr segment.Expr, sampleSize int, now time.Time) (count, sendable int64, sample []user.User, err error)
	// FillSegment puts the people whose numbers next gives, until io.EOF, into a static segment, instead of its members when
	// replace is set.
	FillSegment(ctx context.Context, id int64, replace bool, next func() (segment.Entry, error), now time.Time) (segment.Upload, error)
	// SegmentUses lists what names a segment.
	SegmentUses(ctx context.Context, id int64) ([]report.Use, error)
	// Attributes lists what people have, the most frequent first.
	Attributes(ctx context.Context) ([]user.KnownAttribute, error)
}

// maxName bounds the names of segments and templates, in characters.
const maxName = 100

func checkName(name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > maxName {
		return fault.Refuse("name", "must have 1 to %d characters", maxName)
	}
	return nil
}

type segmentsBody struct {
	Segments []segmentRow
	Pager    pager
}

type segmentRow struct {
	segment.Saved
	Text string // the definition in words
}

func newSegmentRow(s segment.Saved) segmentRow {
	if s.Kind == segment.Static {
		return segmentRow{s, "were uploaded into it"}
	}
	return segmentRow{s, describeSegment(s.Definition)}
}

func (u *UI) segments(c *gin.Context) error {
	ctx := c.Request.Context()
	key, err := after(c)
	if err != nil {
		return err
	}
	saved, err := u.Store.Segments(ctx, key, listSize+1)
	if err != nil {
		return err
	}
	total, err := u.Store.SegmentTotal(ctx)
	if err != nil {
		return err
	}
	var body segmentsBody
	saved, body.Pager = paginate(c, saved, int(total), func(s segment.Saved) int64 { return s.ID })
	for _, s := range saved {
		body.Segments = append(body.Segments, newSegmentRow(s))
	}
	return u.render(c, http.StatusOK, "segments", view{Title: "Segments", Section: "/segments", Body: body})
}

// sampleSize is how many people are shown of those whom a definition selects.
const sampleSize = 10

// selection is whom a definition selects now.
type selection struct {
	Text     string // the definition in words
	Count    int64
	Sendable int64 // of these, those who may be written to
	Share    float64
	Sample   []user.User
	Columns  []string // the attributes that the sample shows
	Took     time.Duration
	Static   bool
	Problems []fault.Field // why there is none
}

func (u *UI) selectionOf(ctx context.Context, expr segment.Expr) (*selection, error) {
	began := time.Now()
	count, sendable, sample, err := u.Store.EvaluateSegment(ctx, expr, sampleSize, u.Now())
	if err != nil {
		return nil, err
	}
	s := &selection{
		Text: segment.Describe(expr), Count: count, Sendable: sendable, Share: report.Percent(int(sendable), int(count)), Sample: sample, Took: time.Since(began),
	}
	s.Columns = columnsOf(expr, sample)
	return s, nil
}

// maxColumns is how many attributes of the sample are shown.
const maxColumns = 4

// columnsOf chooses the attributes that show why somebody is selected: those that conditions name, then what people have.
func columnsOf(expr segment.Expr, sample []user.User) []string {
	columns := slices.DeleteFunc(expr.Attributes(), func(name string) bool { return name == segment.ConsentAttribute })
	for _, person := range sample {
		var own []string
		for name, value := range person.Attributes {
			if _, nested := value.(map[string]any); !nested && !strings.Contains(name, ".") {
				own = append(own, name)
			}
		}
		slices.Sort(own)
		columns = append(columns, own...)
		if len(columns) >= maxColumns {
			break
		}
	}
	unique := columns[:0]
	for _, name := range columns {
		if !slices.Contains(unique, name) {
			unique = append(unique, name)
		}
	}
	return unique[:min(len(unique), maxColumns)]
}

// attributeText is what a person has under a name, as it is shown.
func attributeText(attributes user.Attributes, name string) string {
	value, found := attributes.Lookup(strings.Split(name, ".")...)
	if !found || value == nil {
		return "–"
	}
	if list, ok := value.([]any); ok {
		parts := make([]string, len(list))
		for i, element := range list {
			parts[i] = fmt.Sprint(element)
		}
		return strings.Join(parts, ", ")
	}
	if text, ok := value.(string); ok {
		return text
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return "–"
	}
	return string(raw)
}

type segmentBody struct {
	segmentRow
	Selection *selection // nil: it is being counted
	Uses      []report.Use
	Named     []report.Use    // what its conditions name, in their order
	Upload    *segment.Upload // what came of the upload that was just sent
	Problem   string          // why it was refused
}

func (u *UI) showSegment(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	return u.segmentPage(c, http.StatusOK, id, nil, "")
}

func (u *UI) segmentPage(c *gin.Context, status int, id int64, upload *segment.Upload, problem string) error {
	ctx := c.Request.Context()
	saved, err := u.Store.Segment(ctx, id)
	if err != nil {
		return err
	}
	expr, err := segment.Parse("definition_json", saved.Definition)
	if err != nil {
		return err
	}
	body := segmentBody{segmentRow: newSegmentRow(saved), Upload: upload, Problem: problem}
	if body.Uses, err = u.Store.SegmentUses(ctx, id); err != nil {
		return err
	}
	if saved.Kind == segment.Dynamic {
		if body.Named, err = u.namedBy(ctx, expr); err != nil {
			return err
		}
	}
	v := view{Title: saved.Name, Section: "/segments", Scripts: []string{"upload.js"}}
	// A segment that refers to others changes with them: what is kept is young, see patience.
	key := fmt.Sprintf("%d at %d", id, saved.UpdatedAt.UnixNano())
	found, known, err := u.selections.get(ctx, u.patience, key, func(ctx context.Context) (*selection, error) {
		return u.selectionOf(ctx, expr)
	})
	switch {
	case fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Invalid): // it takes too long, or what it refers to changed
		_, detail, fields := u.Explain(ctx, err)
		body.Selection = &selection{Problems: append(fields, fault.Field{Detail: detail})}
	case err != nil:
		return err
	case known:
		shown := *found
		shown.Text = "" // it is told beside it
		shown.Static = saved.Kind == segment.Static
		body.Selection = &shown
	default:
		v.Poll = 1
	}
	v.URL = fmt.Sprintf("/segments/%d", id)
	v.Body = body
	return u.render(c, status, "segment", v)
}

// maxNamed is how much of what conditions name is told.
const maxNamed = 20

// namedBy finds the segments and campaigns that a definition names; what is gone is left out.
func (u *UI) namedBy(ctx context.Context, expr segment.Expr) ([]report.Use, error) {
	var named []report.Use
	for _, r := range expr.References("") {
		use := report.Use{Kind: report.BySegment, ID: r.SegmentID, As: report.AsDefinition}
		var err error
		switch {
		case len(named) == maxNamed:
			return named, nil
		case r.SegmentID != 0:
			var s segment.Saved
			s, err = u.Store.Segment(ctx, r.SegmentID)
			use.Name = s.Name
		case r.CampaignID != 0:
			var c campaign.Overview
			c, err = u.Store.Campaign(ctx, r.CampaignID)
			use.Kind, use.ID, use.Name = report.ByCampaign, r.CampaignID, c.Topic
		default:
			continue
		}
		if fault.Is(err, fault.NotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		if !slices.Contains(named, use) {
			named = append(named, use)
		}
	}
	return named, nil
}

type segmentFormBody struct {
	ID         int64 // 0: a new one
	Name       string
	Kind       segment.Kind
	Form       *form
	Vocabulary string     // JSON, for the builder
	Selection  *selection // that was asked for; else nil
}

func (u *UI) newSegment(c *gin.Context) error {
	body := segmentFormBody{Kind: segment.Dynamic, Form: newForm("definition_json", c.Query("definition_json"))}
	if c.Query("kind") == string(segment.Static) {
		body.Kind = segment.Static
	}
	return u.segmentForm(c, http.StatusOK, body)
}

func (u *UI) editSegment(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	saved, err := u.Store.Segment(c.Request.Context(), id)
	if err != nil {
		return err
	}
	var definition bytes.Buffer
	if err := json.Indent(&definition, saved.Definition, "", "  "); err != nil {
		return fmt.Errorf("definition of segment %d: %w", id, err)
	}
	return u.segmentForm(c, http.StatusOK, segmentFormBody{
		ID: id, Name: saved.Name, Kind: saved.Kind, Form: newForm("name", saved.Name, "definition_json", definition.String()),
	})
}

func (u *UI) segmentForm(c *gin.Context, status int, body segmentFormBody) error {
	if body.Kind == segment.Dynamic {
		words, err := u.vocabulary(c.Request.Context(), body.ID)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(words)
		if err != nil {
			return fmt.Errorf("vocabulary: %w", err)
		}
		body.Vocabulary = string(raw)
	}
	v := view{Title: "New segment", Section: "/segments", Body: body, Scripts: []string{"segments.js"}}
	if body.ID != 0 {
		v.Title = "Edit " + body.Name
	}
	return u.render(c, status, "segment_form", v)
}

func (u *UI) createSegment(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	body := segmentFormBody{Form: f, Kind: segment.Dynamic}
	if f.Get("kind") == string(segment.Static) {
		body.Kind = segment.Static
	}
	return u.saveSegment(c, body, func(ctx context.Context, definition json.RawMessage) (segment.Saved, error) {
		if body.Kind == segment.Static {
			return u.Store.CreateStaticSegment(ctx, f.Get("name"), u.Now())
		}
		return u.Store.CreateSegment(ctx, f.Get("name"), definition, u.Now())
	})
}

func (u *UI) updateSegment(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	was, err := u.Store.Segment(c.Request.Context(), id)
	if err != nil {
		return err
	}
	f, err := readForm(c)
	if err != nil {
		return err
	}
	body := segmentFormBody{ID: id, Name: was.Name, Kind: was.Kind, Form: f}
	return u.saveSegment(c, body, func(ctx context.Context, definition json.RawMessage) (segment.Saved, error) {
		return u.Store.UpdateSegment(ctx, id, f.Get("name"), definition, u.Now())
	})
}

// saveSegment checks what was sent and stores it, or shows the form again. save gets no definition for a static segment.
func (u *UI) saveSegment(c *gin.Context, body segmentFormBody, save func(ctx context.Context, definition json.RawMessage) (segment.Saved, error)) error {
	f := body.Form
	err := u.submit(c, f, func(ctx context.Context) (string, error) {
		refused := fieldsOf(checkName(f.Get("name")))
		var definition json.RawMessage
		if body.Kind == segment.Dynamic {
			definition = json.RawMessage(f.Get("definition_json"))
			_, err := segment.Parse("definition_json", definition)
			refused = append(refused, fieldsOf(err)...)
		}
		if err := fault.Fields(refused...); err != nil {
			return "", err
		}
		saved, err := save(ctx, definition)
		flash(c, "The segment is saved.")
		return fmt.Sprintf("/segments/%d", saved.ID), err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.segmentForm(c, status, body)
}

// partHeader is sent by a script that shows the answer within the page it is on.
const partHeader = "X-Part"

// previewSegment counts whom a definition selects that is being written. Scripts are given that part alone.
func (u *UI) previewSegment(c *gin.Context) error {
	ctx := c.Request.Context()
	f, err := readForm(c)
	if err != nil {
		return err
	}
	body := segmentFormBody{Form: f, Kind: segment.Dynamic}
	id, err := f.id("id")
	if err != nil {
		return err
	}
	if id != nil {
		saved, err := u.Store.Segment(ctx, *id)
		if err != nil {
			return err
		}
		body.ID, body.Name = *id, saved.Name
	}
	status := http.StatusOK
	expr, err := segment.Parse("definition_json", json.RawMessage(f.Get("definition_json")))
	if err == nil {
		body.Selection, err = u.selectionOf(ctx, expr)
	}
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.NotFound) {
		var detail string
		status, detail, f.Fields = u.Explain(ctx, err)
		if len(f.Fields) == 0 {
			f.Fields = []fault.Field{{Detail: detail}}
		}
		body.Selection = &selection{Problems: f.Fields}
	} else if err != nil {
		return err
	}
	if c.GetHeader(partHeader) != "" {
		return u.renderPart(c, "segment_form", "selection", body.Selection)
	}
	return u.segmentForm(c, status, body)
}

// fillSegment takes in the numbers of a static segment. Sent again it changes nothing, so that its form needs no token.
func (u *UI) fillSegment(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	file, replace, err := u.receiveNumbers(c)
	if err == nil {
		defer file.Close()
		var upload segment.Upload
		if upload, err = u.Store.FillSegment(c.Request.Context(), id, replace, segment.NewNumbers(file, u.DefaultRegion).Next, u.Now()); err == nil {
			return u.segmentPage(c, http.StatusOK, id, &upload, "")
		}
	}
	if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Conflict) {
		return err
	}
	status, detail, fields := u.Explain(c.Request.Context(), err)
	if len(fields) > 0 {
		detail = "the file " + fields[0].Detail
	}
	return u.segmentPage(c, status, id, nil, detail)
}

// maxUploadMemory is how much of an upload is held in memory; the rest of it is in a file while it is read.
const maxUploadMemory = 1 << 20

func (u *UI) receiveNumbers(c *gin.Context) (file multipart.File, replace bool, err error) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, u.MaxUploadBytes)
	if err := c.Request.ParseMultipartForm(maxUploadMemory); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, false, err
		}
		return nil, false, fault.Refuse("file", "must be chosen")
	}
	file, header, err := c.Request.FormFile("file")
	if err != nil || header.Size == 0 {
		return nil, false, fault.Refuse("file", "must be chosen, and must not be empty")
	}
	return file, c.Request.FormValue("mode") == "replace", nil
}

func (u *UI) confirmSegmentDelete(c *gin.Context) error {
	return u.segmentRemoval(c, http.StatusOK, newForm(), "")
}

func (u *UI) segmentRemoval(c *gin.Context, status int, f *form, problem string) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	saved, err := u.Store.Segment(c.Request.Context(), id)
	if err != nil {
		return err
	}
	uses, err := u.Store.SegmentUses(c.Request.Context(), id)
	if err != nil {
		return err
	}
	body := removal{Noun: "segment", Name: saved.Name, Title: "Segments", Path: fmt.Sprintf("/segments/%d", id), List: "/segments", Uses: uses, Problem: problem, Form: f}
	return u.render(c, status, "delete", view{Title: "Delete " + saved.Name, Section: "/segments", Body: body})
}

func (u *UI) deleteSegment(c *gin.Context) error {
	return u.remove(c, "/segments", "The segment is deleted.", u.Store.DeleteSegment, u.segmentRemoval)
}

// vocabulary is what conditions can be made of, for the builder.
type vocabulary struct {
	Attributes         []attributeWord `json:"attributes"`
	AttributeOperators []string        `json:"attribute_operators"`
	Operators          map[string]word `json:"operators"`
	Fields             []fieldWord     `json:"fields"`
	Consents           []choice        `json:"consents"`
	Outcomes           []choice        `json:"outcomes"`
	Campaigns          []choice        `json:"campaigns"`
	Segments           []choice        `json:"segments"`
	Topics             []choice        `json:"topics"`
	MaxDepth           int             `json:"max_depth"`
}

type attributeWord struct {
	Name   string   `json:"name"`
	Types  []string `json:"types"`
	Values []string `json:"values,omitempty"`
}

// word is an operator in words, and what it takes.
type word struct {
	Label string `json:"label"`
	Takes string `json:"takes"` // scalar, text, list, order, moment, span, presence, outcome
}

type fieldWord struct {
	Name      string   `json:"name"`
	Label     string   `json:"label"`
	Operators []string `json:"operators"`
}

type choice struct {
	Value string `json:"value"`
	Label string `json:"label"`
}

var operatorWords = map[segment.Operator]word{
	segment.Equals:           {"is", "scalar"},
	segment.NotEquals:        {"is not", "scalar"},
	segment.EqualsIgnoreCase: {"is, in any letter case", "text"},
	segment.Contains:         {"contains", "text"},
	segment.StartsWith:       {"starts with", "text"},
	segment.In:               {"is one of", "list"},
	segment.NotIn:            {"is none of", "list"},
	segment.Has:              {"is a list that has", "scalar"},
	segment.Exists:           {"is there", "presence"},
	segment.GT:               {"is more than", "order"},
	segment.GTE:              {"is at least", "order"},
	segment.LT:               {"is less than", "order"},
	segment.LTE:              {"is at most", "order"},
	segment.Before:           {"is before", "moment"},
	segment.After:            {"is after", "moment"},
	segment.WithinLast:       {"is within the last", "span"},
	segment.WithinNext:       {"is within the next", "span"},
	segment.Was:              {"was", "outcome"},
	segment.WasNot:           {"was not", "outcome"},
}

var fieldWords = map[string]string{
	segment.ConsentAttribute: "Consent", "region": "Country of the number", "calling_code": "Country calling code", "phone_number": "Phone number",
	"created_at": "Known since", "last_inbound_at": "Last wrote to us", "topics": "Subscribed to the topic",
}

var outcomeWords = map[segment.Outcome]string{
	segment.WasSent: "sent to them", segment.WasDelivered: "delivered", segment.WasRead: "read", segment.WasReplied: "replied to", segment.WasFailed: "not delivered: it failed",
}

// vocabulary lists what the definition of a segment can name; the segment itself is left out.
func (u *UI) vocabulary(ctx context.Context, own int64) (v vocabulary, err error) {
	known, err := u.Store.Attributes(ctx)
	if err != nil {
		return v, err
	}
	v = vocabulary{Operators: map[string]word{}, MaxDepth: segment.MaxDepth, Attributes: []attributeWord{}, Campaigns: []choice{}, Segments: []choice{}, Topics: []choice{}}
	for _, a := range known {
		v.Attributes = append(v.Attributes, attributeWord{a.Name, a.Types, a.Values})
	}
	for _, operator := range segment.AttributeOperators() {
		v.AttributeOperators = append(v.AttributeOperators, string(operator))
	}
	for operator, w := range operatorWords {
		v.Operators[string(operator)] = w
	}
	for _, f := range segment.Fields() {
		w := fieldWord{Name: f.Name, Label: fieldWords[f.Name]}
		for _, operator := range f.Operators {
			w.Operators = append(w.Operators, string(operator))
		}
		v.Fields = append(v.Fields, w)
	}
	for _, state := range consentStates {
		v.Consents = append(v.Consents, choice{string(state), string(state)})
	}
	for _, outcome := range segment.Outcomes() {
		v.Outcomes = append(v.Outcomes, choice{string(outcome), outcomeWords[outcome]})
	}
	campaigns, _, err := u.Store.Campaigns(ctx, "", nil, choices)
	if err != nil {
		return v, err
	}
	for _, c := range campaigns {
		v.Campaigns = append(v.Campaigns, choice{strconv.FormatInt(c.ID, 10), c.Topic})
	}
	segments, err := u.Store.Segments(ctx, nil, choices)
	if err != nil {
		return v, err
	}
	for _, s := range segments {
		if s.ID != own {
			v.Segments = append(v.Segments, choice{strconv.FormatInt(s.ID, 10), s.Name})
		}
	}
	topics, err := u.Store.Topics(ctx, nil, choices)
	if err != nil {
		return v, err
	}
	for _, t := range topics {
		v.Topics = append(v.Topics, choice{t.Name, t.Name})
	}
	return v, nil
}
