package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

// Bounds of request bodies that are held in memory; uploads are streamed and have a bound of their own.
const (
	maxBodyBytes       = 1 << 20
	maxImportBodyBytes = 16 << 20
)

const (
	typeJSON      = "application/json"
	typeMultipart = "multipart/form-data"
)

// operation is what the document says of one route, prepared for checking requests against it.
type operation struct {
	scope        access.Scope // "" for everyone
	parameters   []*openapi3.Parameter
	content      openapi3.Content // nil when it takes no body
	bodyRequired bool
	repeatable   bool // its answer is kept under an Idempotency-Key
}

var pathParameter = regexp.MustCompile(`\{([^}]+)\}`)

// operations indexes the document by method and Gin route.
func operations(document *openapi3.T) (map[string]*operation, error) {
	index := map[string]*operation{}
	for path, item := range document.Paths.Map() {
		for method, op := range item.Operations() {
			o := &operation{}
			if op.Security == nil || len(*op.Security) > 0 {
				scope, _ := op.Extensions["x-scope"].(string)
				if o.scope = access.Scope(scope); !slices.Contains(access.Scopes(), o.scope) {
					return nil, fmt.Errorf("%s %s needs a known x-scope", method, path)
				}
			}
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				o.parameters = append(o.parameters, p.Value)
				o.repeatable = o.repeatable || p.Value.Name == "Idempotency-Key"
			}
			if op.RequestBody != nil {
				o.content, o.bodyRequired = op.RequestBody.Value.Content, op.RequestBody.Value.Required
			}
			index[method+" "+pathParameter.ReplaceAllString(path, ":$1")] = o
		}
	}
	return index, nil
}

// admit lets a request through to its handler when its principal may make it and the document allows its content.
func (s *server) admit(c *gin.Context) {
	op := s.operations[c.Request.Method+" "+c.FullPath()]
	if op.scope != "" {
		if err := s.authorize(c, op.scope); err != nil {
			s.fail(c, err)
			return
		}
	}
	if err := op.checkParameters(c); err != nil {
		s.fail(c, err)
		return
	}
	if err := op.checkBody(c, s.MaxUploadBytes); err != nil {
		s.fail(c, err)
	}
}

// checkParameters refuses malformed, repeated and unknown ones: a misspelt filter must not show everything.
func (op *operation) checkParameters(c *gin.Context) error {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "the query cannot be read: it is not properly escaped")
	}
	var refused []fault.Field
	for _, p := range op.parameters {
		var given []string
		switch p.In {
		case openapi3.ParameterInPath:
			given = []string{c.Param(p.Name)}
		case openapi3.ParameterInQuery:
			given = query[p.Name]
			delete(query, p.Name)
		case openapi3.ParameterInHeader:
			given = c.Request.Header.Values(p.Name)
		}
		switch len(given) {
		case 0:
		case 1:
			refused = append(refused, checkParameter(p, given[0])...)
		default:
			refused = append(refused, fault.Field{Name: p.Name, Detail: "must be given once"})
		}
	}
	for name := range query {
		refused = append(refused, fault.Field{Name: name, Detail: "is not a parameter of this operation"})
	}
	return refuseFields(http.StatusBadRequest, refused)
}

func checkParameter(p *openapi3.Parameter, text string) []fault.Field {
	schema := p.Schema.Value
	var value any = text
	var err error
	switch {
	case schema.Type.Is(openapi3.TypeInteger):
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		value = float64(n)
	case schema.Type.Is(openapi3.TypeBoolean):
		value, err = strconv.ParseBool(text)
	}
	if err != nil {
		return []fault.Field{{Name: p.Name, Detail: "must be " + typeName(schema)}}
	}
	return schemaFields(schema, value, p.Name)
}

// checkBody refuses what the schema does not allow, and leaves the body to be read again.
func (op *operation) checkBody(c *gin.Context, maxUpload int64) error {
	r := c.Request
	if op.content == nil {
		r.Body = http.MaxBytesReader(c.Writer, r.Body, maxBodyBytes)
		return nil
	}
	if r.ContentLength == 0 || r.Body == http.NoBody {
		return op.checkEmpty()
	}
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	media := op.content[kind]
	if err != nil || media == nil {
		return refuse(http.StatusUnsupportedMediaType, "the Content-Type must be "+strings.Join(op.mediaTypes(), " or "))
	}
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return refuse(http.StatusUnsupportedMediaType, "the charset must be utf-8")
	}
	r.Header.Set("Content-Type", mime.FormatMediaType(kind, parameters)) // generated code compares it by letters
	if kind == typeMultipart {
		r.Body = http.MaxBytesReader(c.Writer, r.Body, maxUpload)
		return nil
	}
	limit := int64(maxBodyBytes)
	if op.content[typeMultipart] != nil {
		limit = min(maxImportBodyBytes, maxUpload)
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, r.Body, limit))
	if err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(bytes.TrimSpace(body)) == 0 {
		r.Body, r.ContentLength = http.NoBody, 0
		return op.checkEmpty()
	}
	value, err := decodeJSON(body)
	if err != nil {
		return err
	}
	schema := media.Schema.Value
	if schema.Extensions[judgedOneByOne] == true {
		return nil
	}
	fields := schemaFields(schema, value, "")
	if !schema.Type.Is(openapi3.TypeArray) { // rows of an import are judged one by one
		fields = appendNULFields(fields, value, nil)
	}
	return refuseFields(http.StatusUnprocessableEntity, fields)
}

func (op *operation) checkEmpty() error {
	if op.bodyRequired {
		return refuse(http.StatusBadRequest, "a body is needed: "+strings.Join(op.mediaTypes(), " or "))
	}
	return nil
}

func (op *operation) mediaTypes() []string {
	var kinds []string
	for kind := range op.content {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// decodeJSON reads one JSON value and says where it breaks.
func decodeJSON(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, refuse(http.StatusBadRequest, "the body is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	if err == nil {
		at := decoder.InputOffset()
		rest := bytes.TrimLeft(body[at:], " \t\r\n")
		if len(rest) == 0 {
			return value, nil
		}
		return nil, malformed(body, int64(len(body)-len(rest))+1, "nothing may follow the JSON value")
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, malformed(body, syntax.Offset, syntax.Error())
	}
	return nil, malformed(body, int64(len(body)), "it ends early")
}

// malformed tells the place of the byte before offset as line and column from 1.
func malformed(body []byte, offset int64, detail string) error {
	before := body[:max(0, min(offset-1, int64(len(body))))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return refuse(http.StatusBadRequest, fmt.Sprintf("the body is not valid JSON at line %d, column %d: %s", line, column, detail))
}

// Bounds of what an answer tells of a refused request: enough to mend it, however large and however wrong it was.
const (
	maxFields     = 20
	maxFieldRunes = 200 // of a field's name
)

func refuseFields(status int, fields []fault.Field) error {
	if len(fields) == 0 {
		return nil
	}
	slices.SortStableFunc(fields, func(a, b fault.Field) int { return strings.Compare(a.Name, b.Name) })
	fields = slices.Compact(fields)
	fields = fields[:min(len(fields), maxFields)]
	parts := make([]string, len(fields))
	for i := range fields {
		f := &fields[i]
		if name := []rune(f.Name); len(name) > maxFieldRunes {
			f.Name = string(name[:maxFieldRunes]) + "…"
		}
		parts[i] = strings.TrimPrefix(f.Name+": "+f.Detail, ": ")
	}
	return refuse(status, strings.Join(parts, "; "), fields...)
}

// appendNULFields finds text with the one character that PostgreSQL cannot store, up to maxFields in all. path leads
// to value; it is put into words for what is found only, because a body may be nested very deeply.
func appendNULFields(fields []fault.Field, value any, path []string) []fault.Field {
	if len(fields) >= maxFields {
		return fields
	}
	switch v := value.(type) {
	case string:
		if strings.ContainsRune(v, 0) {
			fields = append(fields, fault.Field{Name: pathText("", path), Detail: "must not hold a NUL character"})
		}
	case []any:
		for i, element := range v {
			fields = appendNULFields(fields, element, append(path, strconv.Itoa(i)))
		}
	case map[string]any:
		for key, member := range v {
			if strings.ContainsRune(key, 0) {
				fields = append(fields, fault.Field{Name: pathText("", path), Detail: "has a key with a NUL character"})
				continue
			}
			fields = appendNULFields(fields, member, append(path, key))
		}
	}
	return fields
}

var formats = []openapi3.SchemaValidationOption{
	openapi3.VisitAsRequest(),
	openapi3.MultiErrors(),
	openapi3.WithStringFormatValidator("date-time", openapi3.NewCallbackValidator(func(text string) error {
		_, err := time.Parse(time.RFC3339, text)
		return err
	})),
	openapi3.WithStringFormatValidator("uuid", openapi3.NewCallbackValidator(func(text string) error {
		_, err := uuid.Parse(text)
		return err
	})),
}

// schemaFields checks a value and says of each refused part, up to maxFields, what would be right; root names the value
// itself. It never repeats the value.
func schemaFields(schema *openapi3.Schema, value any, root string) []fault.Field {
	if list, ok := value.([]any); ok && schema.MaxItems != nil && uint64(len(list)) > *schema.MaxItems {
		return []fault.Field{{Name: root, Detail: explainSchema(schema, "maxItems")}} // before each of them is looked at
	}
	return appendSchemaFields(nil, schema.VisitJSON(value, formats...), root)
}

func appendSchemaFields(fields []fault.Field, err error, root string) []fault.Field {
	if err == nil || len(fields) >= maxFields {
		return fields
	}
	if several, ok := err.(openapi3.MultiError); ok { //nolint:errorlint // it is never wrapped; what it holds is taken one by one
		for _, one := range several {
			fields = appendSchemaFields(fields, one, root)
		}
		return fields
	}
	e, ok := errors.AsType[*openapi3.SchemaError](err)
	if !ok {
		return append(fields, fault.Field{Name: root, Detail: "is not allowed here"})
	}
	path := pathText(root, e.JSONPointer())
	if e.SchemaField == "properties" { // keys that the schema does not know: there is such an error for each
		object, _ := e.Value.(map[string]any)
		for key := range object {
			if len(fields) >= maxFields {
				break
			}
			if e.Schema.Properties[key] == nil {
				fields = append(fields, fault.Field{
					Name: joinPath(path, key), Detail: "is not known here; known are " + strings.Join(propertyNames(e.Schema), ", "),
				})
			}
		}
		return fields
	}
	return append(fields, fault.Field{Name: path, Detail: explainSchema(e.Schema, e.SchemaField)})
}

// pathText writes the steps from root on as a JSON path, as far as anyone would read it.
func pathText(root string, steps []string) string {
	for _, step := range steps {
		if len(root) > maxFieldRunes*utf8.UTFMax {
			break
		}
		root = joinPath(root, step)
	}
	return root
}

// joinPath adds a key or an index to a JSON path.
func joinPath(path, step string) string {
	if _, err := strconv.ParseUint(step, 10, 32); err == nil {
		return path + "[" + step + "]"
	}
	if path == "" {
		return step
	}
	return path + "." + step
}

func propertyNames(schema *openapi3.Schema) []string {
	var names []string
	for name := range schema.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// explainSchema says in words what a schema's keyword asks for.
func explainSchema(schema *openapi3.Schema, keyword string) string {
	switch keyword {
	case "required":
		return "is missing"
	case "type":
		return "must be " + typeName(schema)
	case "nullable":
		return "must not be null"
	case "enum":
		return "must be one of " + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(schema.Enum)), ", "), "[]")
	case "minLength":
		if schema.MinLength == 1 {
			return "must not be empty"
		}
		return fmt.Sprintf("must have at least %d characters", schema.MinLength)
	case "maxLength":
		return fmt.Sprintf("must have at most %d characters", *schema.MaxLength)
	case "pattern":
		return "must match " + schema.Pattern + like(schema)
	case "minimum", "maximum":
		return bounds(schema)
	case "minItems":
		return fmt.Sprintf("must have at least %d elements", schema.MinItems)
	case "maxItems":
		return fmt.Sprintf("must have at most %d elements", *schema.MaxItems)
	case "uniqueItems":
		return "must not name the same twice"
	case "minProperties":
		return fmt.Sprintf("must have at least %d of %s", schema.MinProps, keysText(schema))
	case "maxProperties":
		return fmt.Sprintf("must have at most %d of %s", *schema.MaxProps, keysText(schema))
	case "format":
		if schema.Format == "date-time" {
			return "must be a time with its zone, such as 2026-11-21T22:38:59Z"
		}
		return "must be of the format " + schema.Format
	default:
		return "is not allowed here"
	}
}

func keysText(schema *openapi3.Schema) string {
	if names := propertyNames(schema); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "its keys"
}

func like(schema *openapi3.Schema) string {
	if schema.Example == nil {
		return ""
	}
	return fmt.Sprintf(", such as %v", schema.Example)
}

func bounds(schema *openapi3.Schema) string {
	switch {
	case schema.Min != nil && schema.Max != nil:
		return fmt.Sprintf("must be from %.0f to %.0f", *schema.Min, *schema.Max)
	case schema.Min != nil:
		return fmt.Sprintf("must be at least %.0f", *schema.Min)
	default:
		return fmt.Sprintf("must be at most %.0f", *schema.Max)
	}
}

func typeName(schema *openapi3.Schema) string {
	switch {
	case schema.Type.Is(openapi3.TypeInteger):
		return "a whole number"
	case schema.Type.Is(openapi3.TypeNumber):
		return "a number"
	case schema.Type.Is(openapi3.TypeBoolean):
		return "true or false"
	case schema.Type.Is(openapi3.TypeArray):
		return "an array"
	case schema.Type.Is(openapi3.TypeObject):
		return "an object"
	default:
		return "a text"
	}
}
