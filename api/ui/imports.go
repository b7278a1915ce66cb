package ui

import (
	"context"
	"encoding/json"
	"errors"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/report"
)

type importStore interface {
	Import(ctx context.Context, id uuid.UUID) (intake.Import, error)
	ImportErrors(ctx context.Context, id uuid.UUID, after *int64, atMost int) ([]intake.RowError, error)
	Imports(ctx context.Context, before *uuid.UUID, atMost int) ([]intake.Import, error)
	ImportTotal(ctx context.Context) (int64, error)
}

// Upload is a file of people, and how it is to be taken in.
type Upload struct {
	FileName      string
	Type          string // its media type, as the browser has it
	File          intake.Source
	Mapping       json.RawMessage // as the API takes it; empty for none
	DefaultRegion string          // "" for the engine's own
	Policy        intake.Policy   // "" for intake.Update
	DryRun        bool
}

// importRow is an import with what follows from its figures.
type importRow struct {
	intake.Import
	Percent   float64
	PerSecond int           // rows; 0 before the first
	Left      time.Duration // at that rate; 0 when nothing is left
}

func (u *UI) importRow(imp intake.Import) importRow {
	perSecond, left := imp.Rate(u.Now())
	return importRow{
		Import: imp, Percent: report.Percent(imp.Processed, imp.Total), PerSecond: int(perSecond), Left: left.Round(time.Second),
	}
}

type importsBody struct {
	Imports []importRow
	Pager   pager
}

// imports lists what was imported.
func (u *UI) imports(c *gin.Context) error {
	ctx := c.Request.Context()
	var before *uuid.UUID
	if text := c.Query("after"); text != "" {
		id, err := uuid.Parse(text)
		if err != nil {
			return fault.Refuse("after", "must be an import's id, as in the address of the next page")
		}
		before = &id
	}
	found, err := u.Store.Imports(ctx, before, listSize+1)
	if err != nil {
		return err
	}
	total, err := u.Store.ImportTotal(ctx)
	if err != nil {
		return err
	}
	found, pager := paginate(c, found, int(total), func(imp intake.Import) uuid.UUID { return imp.ID })
	body := importsBody{Pager: pager}
	v := view{Title: "Imports", Section: "/users"}
	for _, imp := range found {
		body.Imports = append(body.Imports, u.importRow(imp))
		if !imp.Status.Over() {
			v.Poll = 2
		}
	}
	v.Body = body
	return u.render(c, http.StatusOK, "imports", v)
}

type newImportBody struct {
	Form          *form
	DefaultRegion string
	Policies      []policyChoice
}

type policyChoice struct {
	Policy      intake.Policy
	Label, Note string
}

var policies = []policyChoice{
	{intake.Update, "Update", "people who are known get the file’s attributes merged into theirs"},
	{intake.Replace, "Replace", "people who are known get the file’s attributes in place of theirs"},
	{intake.Add, "Add only", "people who are known are left as they are"},
}

func (u *UI) newImport(c *gin.Context) error {
	return u.showNewImport(c, http.StatusOK, newForm("policy", string(intake.Update)))
}

func (u *UI) showNewImport(c *gin.Context, status int, f *form) error {
	body := newImportBody{Form: f, DefaultRegion: u.DefaultRegion, Policies: policies}
	return u.render(c, status, "import_new", view{Title: "Import users", Section: "/users", Scripts: []string{"imports.js"}, Body: body})
}

// maxUploadHeld is how much of an upload is kept in memory; the rest waits in a file.
const maxUploadHeld = 4 << 20

// readUpload reads a form with a file, of which the caller lets go by release, also when there is an error.
func (u *UI) readUpload(c *gin.Context) (f *form, upload Upload, release func(), err error) {
	release = func() {}
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, u.MaxUploadBytes)
	if err := c.Request.ParseMultipartForm(maxUploadHeld); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, upload, release, err
		}
		return nil, upload, release, fault.Refuse("file", "must be sent as a file, and whole")
	}
	parts := c.Request.MultipartForm
	release = func() { _ = parts.RemoveAll() }
	f = &form{Token: c.Request.PostForm.Get(tokenField), Values: c.Request.PostForm}
	files := parts.File["file"]
	if len(files) != 1 || files[0].Filename == "" {
		return f, upload, release, fault.Refuse("file", "must be chosen")
	}
	file, err := files[0].Open()
	if err != nil {
		return f, upload, release, err
	}
	release = func() {
		_ = file.Close()
		_ = parts.RemoveAll()
	}
	upload = Upload{
		FileName: files[0].Filename, Type: files[0].Header.Get("Content-Type"), File: sized{file, files[0].Size},
		DefaultRegion: strings.ToUpper(f.Get("default_region")), Policy: intake.Policy(f.Get("policy")),
	}
	if upload.Policy != "" && !slices.ContainsFunc(policies, func(p policyChoice) bool { return p.Policy == upload.Policy }) {
		return f, upload, release, fault.Refuse("policy", "must be chosen from the list")
	}
	upload.Mapping, err = readMapping(f)
	return f, upload, release, err
}

type sized struct {
	multipart.File
	size int64
}

func (s sized) Size() int64 { return s.size }

// Where a column may belong, as the form says it.
const (
	toAttribute = "attribute"
	toNothing   = "-"
)

// readMapping reads where the columns belong; empty when the form has none.
func readMapping(f *form) (json.RawMessage, error) {
	columns, to, attributes, types := f.Values["column"], f.Values["to"], f.Values["attribute"], f.Values["type"]
	if len(columns) == 0 {
		return nil, nil
	}
	if len(to) != len(columns) || len(attributes) != len(columns) || len(types) != len(columns) {
		return nil, fault.Refuse("mapping", "is incomplete: choose the file again")
	}
	type target struct {
		To   string `json:"to"`
		Type string `json:"type,omitempty"`
	}
	mapping := map[string]any{}
	for i, column := range columns {
		switch to[i] {
		case toNothing:
			mapping[column] = nil
		case toAttribute:
			name := strings.TrimSpace(attributes[i])
			if name == "" {
				return nil, fault.Refuse("mapping."+column, "needs the name of an attribute")
			}
			mapping[column] = target{To: name, Type: types[i]}
		default:
			mapping[column] = target{To: to[i]}
		}
	}
	return json.Marshal(mapping)
}

// startImport takes in a file.
func (u *UI) startImport(c *gin.Context) error {
	f, upload, release, err := u.readUpload(c)
	defer release()
	if err == nil {
		if _, err := uuid.Parse(f.Token); err != nil {
			return fault.New(fault.Invalid, "the form is incomplete: load the page anew and fill it in again")
		}
		err = u.submit(c, f, func(ctx context.Context) (string, error) {
			id, err := u.Import(ctx, upload)
			return "/imports/" + id.String(), err
		})
	}
	if err == nil {
		return nil
	}
	return u.refuseImport(c, f, err)
}

func (u *UI) refuseImport(c *gin.Context, f *form, err error) error {
	if f == nil {
		f = newForm("policy", string(intake.Update))
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.showNewImport(c, status, f)
}

// checkImport reads a file as an import would, and writes nobody. A page with scripts is given the part that shows how far it
// is, others the page of the dry run.
func (u *UI) checkImport(c *gin.Context) error {
	f, upload, release, err := u.readUpload(c)
	defer release()
	var id uuid.UUID
	if err == nil {
		upload.DryRun = true
		id, err = u.Import(c.Request.Context(), upload)
	}
	if c.GetHeader("HX-Request") != "true" {
		if err != nil {
			return u.refuseImport(c, f, err)
		}
		c.Redirect(http.StatusSeeOther, "/imports/"+id.String())
		return nil
	}
	check := checkBody{Stream: "/imports/" + id.String() + "?" + url.Values{liveParam: {"yes"}}.Encode()}
	if err != nil {
		if check.Problem, err = u.problem(c, err); err != nil {
			return err
		}
	}
	return u.renderPart(c, "import_new", "check", check)
}

type checkBody struct {
	Stream  string // the address of the dry run's events
	Problem string // why there is none
}

// problem is what is wrong with an upload, in a sentence. Errors that nobody can mend in the file or the form are returned.
func (u *UI) problem(c *gin.Context, err error) (string, error) {
	f := newForm()
	if _, err := u.refuse(c, f, err); err != nil {
		return "", err
	}
	return f.Detail, nil
}

// peekedRows is how many rows the mapping shows.
const peekedRows = 3

type columnsBody struct {
	FileName string
	Problem  string // why there are none
	Columns  []columnRow
	Types    []attributeType
}

type columnRow struct {
	intake.Column
	To        string // phone_number, consent_state or toAttribute
	Attribute string
}

// columnTypes are the types that a mapping knows.
var columnTypes = []attributeType{{"", "As written"}, {typeText, "Text"}, {typeNumber, "Number"}, {typeBoolean, "Yes or no"}}

// peekColumns shows the columns of a file, or of its beginning, and where they may belong.
func (u *UI) peekColumns(c *gin.Context) error {
	_, upload, release, err := u.readUpload(c)
	defer release()
	body := columnsBody{FileName: path.Base(strings.ReplaceAll(upload.FileName, `\`, "/")), Types: columnTypes}
	if err == nil {
		err = body.fill(upload)
	}
	if err != nil {
		if body.Problem, err = u.problem(c, err); err != nil {
			return err
		}
	}
	return u.renderPart(c, "import_new", "columns", body)
}

func (b *columnsBody) fill(upload Upload) error {
	imp := intake.Import{Format: intake.FormatOf(upload.FileName, upload.Type)}
	if imp.Format == "" {
		return fault.Refuse("file", "must be named .csv, .xlsx, .json or .jsonl")
	}
	columns, err := intake.Peek(imp, upload.File, peekedRows)
	if err != nil {
		return err
	}
	if len(columns) == 0 {
		return fault.Refuse("file", "has no columns")
	}
	for _, column := range columns {
		row := columnRow{Column: column, To: toAttribute, Attribute: column.Suggest.To}
		switch column.Suggest.To {
		case "phone_number", "consent_state":
			row.To, row.Attribute = column.Suggest.To, column.Name
		case "":
			row.To, row.Attribute = toNothing, column.Name
		}
		b.Columns = append(b.Columns, row)
	}
	return nil
}

type importBody struct {
	importRow
	Errors []intake.RowError
	Pager  pager
}

func (u *UI) showImport(c *gin.Context) error {
	ctx := c.Request.Context()
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return fault.New(fault.NotFound, "there is nothing at this address")
	}
	key, err := after(c)
	if err != nil {
		return err
	}
	imp, err := u.Store.Import(ctx, id)
	if err != nil {
		return err
	}
	refused, err := u.Store.ImportErrors(ctx, id, key, listSize+1)
	if err != nil {
		return err
	}
	body := importBody{importRow: u.importRow(imp)}
	body.Errors, body.Pager = paginate(c, refused, imp.Failed, func(e intake.RowError) int64 { return int64(e.Line) })
	v := view{Title: "Import", Section: "/users", Body: body}
	if !imp.Status.Over() {
		v.Poll = 1
	}
	return u.render(c, http.StatusOK, "import", v)
}
