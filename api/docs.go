package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
)

//go:embed openapi.yaml
var document []byte

//go:embed docs.html
var docsPage string

func serveDocument(c *gin.Context) {
	c.Data(http.StatusOK, "application/yaml; charset=utf-8", document)
}

// The view of the document that the page shows.
type (
	docsView struct {
		Title, Version string
		Intro          []template.HTML // paragraphs
		Groups         []docsGroup
		Schemas        []docsSchema
	}
	docsGroup struct {
		Name, About string
		Operations  []docsOperation
	}
	docsOperation struct {
		ID, Method, Path, Scope, Summary string
		About                            []template.HTML
		Parameters                       []docsField
		Bodies                           []docsBody
		Answers                          []docsAnswer
	}
	docsField struct {
		Name, Where, Type string
		Required          bool
		About             template.HTML
	}
	docsBody struct {
		Media    string
		Required bool
		Type     template.HTML
		Example  string
	}
	docsAnswer struct {
		Status, About string
		Type          template.HTML
		Example       string
	}
	docsSchema struct {
		Name    string
		About   template.HTML
		Values  []string // of an enumeration
		Fields  []docsField
		Example string
	}
)

// documentation renders the document once, as a page that loads nothing from elsewhere.
func documentation(document *openapi3.T) (http.Handler, error) {
	page, err := template.New("docs").Parse(docsPage)
	if err != nil {
		return nil, err
	}
	var html bytes.Buffer
	if err := page.Execute(&html, viewDocument(document)); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(html.Bytes()))
	}), nil
}

func viewDocument(document *openapi3.T) docsView {
	view := docsView{Title: document.Info.Title, Version: document.Info.Version, Intro: paragraphs(document.Info.Description)}
	for _, tag := range document.Tags {
		group := docsGroup{Name: tag.Name, About: tag.Description}
		for _, path := range document.Paths.InMatchingOrder() {
			item := document.Paths.Value(path)
			for method, op := range item.Operations() {
				if slices.Contains(op.Tags, tag.Name) {
					group.Operations = append(group.Operations, viewOperation(method, path, item, op))
				}
			}
		}
		slices.SortFunc(group.Operations, func(a, b docsOperation) int {
			if byPath := strings.Compare(a.Path, b.Path); byPath != 0 {
				return byPath
			}
			return methodOrder(a.Method) - methodOrder(b.Method)
		})
		view.Groups = append(view.Groups, group)
	}
	for name, schema := range document.Components.Schemas {
		view.Schemas = append(view.Schemas, viewSchema(name, schema.Value))
	}
	slices.SortFunc(view.Schemas, func(a, b docsSchema) int { return strings.Compare(a.Name, b.Name) })
	return view
}

func methodOrder(method string) int {
	return slices.Index([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}, method)
}

func viewOperation(method, path string, item *openapi3.PathItem, op *openapi3.Operation) docsOperation {
	scope, _ := op.Extensions["x-scope"].(string)
	view := docsOperation{ID: op.OperationID, Method: method, Path: path, Scope: scope, Summary: op.Summary, About: paragraphs(op.Description)}
	for _, ref := range slices.Concat(item.Parameters, op.Parameters) {
		p := ref.Value
		view.Parameters = append(view.Parameters, docsField{
			Name: p.Name, Where: p.In, Type: typeText(p.Schema), Required: p.Required, About: inline(p.Description + limits(p.Schema.Value)),
		})
	}
	if op.RequestBody != nil {
		body := op.RequestBody.Value
		for media, content := range body.Content {
			view.Bodies = append(view.Bodies, docsBody{
				Media: media, Required: body.Required, Type: typeLink(content.Schema), Example: exampleOf(content),
			})
		}
		slices.SortFunc(view.Bodies, func(a, b docsBody) int { return strings.Compare(a.Media, b.Media) })
	}
	for status, ref := range op.Responses.Map() {
		answer := docsAnswer{Status: status, About: *ref.Value.Description}
		for _, content := range ref.Value.Content {
			answer.Type, answer.Example = typeLink(content.Schema), exampleOf(content)
		}
		if status[0] != '2' {
			answer.Example = "" // every problem looks the same
		}
		view.Answers = append(view.Answers, answer)
	}
	slices.SortFunc(view.Answers, func(a, b docsAnswer) int { return strings.Compare(a.Status, b.Status) })
	return view
}

func viewSchema(name string, schema *openapi3.Schema) docsSchema {
	view := docsSchema{Name: name, About: inline(schema.Description), Example: exampleText(schema.Example)}
	for _, v := range schema.Enum {
		view.Values = append(view.Values, fmt.Sprint(v))
	}
	for property, ref := range schema.Properties {
		view.Fields = append(view.Fields, docsField{
			Name: property, Type: typeText(ref), Required: slices.Contains(schema.Required, property),
			About: inline(ref.Value.Description + limits(ref.Value)),
		})
	}
	slices.SortFunc(view.Fields, func(a, b docsField) int { return strings.Compare(a.Name, b.Name) })
	return view
}

// limits tells a schema's bounds and default, which its description leaves out.
func limits(schema *openapi3.Schema) string {
	var parts []string
	if schema.Min != nil || schema.Max != nil {
		parts = append(parts, strings.TrimPrefix(bounds(schema), "must be "))
	}
	if schema.MaxLength != nil {
		parts = append(parts, fmt.Sprintf("at most %d characters", *schema.MaxLength))
	}
	if schema.Default != nil {
		parts = append(parts, fmt.Sprintf("%v by default", schema.Default))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

func typeText(ref *openapi3.SchemaRef) string {
	if name := schemaName(ref); name != "" {
		return name
	}
	schema := ref.Value
	text := "any"
	if schema.Type != nil && len(schema.Type.Slice()) > 0 {
		text = schema.Type.Slice()[0]
	}
	switch {
	case schema.Type.Is(openapi3.TypeArray):
		text = "list of " + typeText(schema.Items)
	case schema.Format != "" && schema.Type.Is(openapi3.TypeString):
		text = schema.Format
	}
	if schema.Nullable {
		text += " or null"
	}
	return text
}

func schemaName(ref *openapi3.SchemaRef) string {
	return strings.TrimPrefix(ref.Ref, "#/components/schemas/")
}

// typeLink is typeText, with a link to the schema it names.
func typeLink(ref *openapi3.SchemaRef) template.HTML {
	if ref == nil {
		return ""
	}
	named := ref
	if ref.Ref == "" && ref.Value.Type.Is(openapi3.TypeArray) {
		named = ref.Value.Items
	}
	text := template.HTMLEscapeString(typeText(ref))
	if name := template.HTMLEscapeString(schemaName(named)); name != "" {
		text = strings.Replace(text, name, `<a href="#schema-`+name+`">`+name+`</a>`, 1)
	}
	return template.HTML(text) //nolint:gosec // escaped above; the document is our own
}

func exampleOf(content *openapi3.MediaType) string {
	if content.Example != nil {
		return exampleText(content.Example)
	}
	if content.Schema == nil {
		return ""
	}
	return exampleText(content.Schema.Value.Example)
}

func exampleText(example any) string {
	if example == nil {
		return ""
	}
	text, err := json.MarshalIndent(example, "", "  ")
	if err != nil {
		return ""
	}
	return string(text)
}

// paragraphs renders the little Markdown that the document uses: paragraphs, **strong** and `code`.
func paragraphs(text string) []template.HTML {
	var out []template.HTML
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if paragraph != "" {
			out = append(out, inline(paragraph))
		}
	}
	return out
}

func inline(text string) template.HTML {
	html := template.HTMLEscapeString(strings.TrimSpace(text))
	html = alternate(html, "**", "<strong>", "</strong>")
	html = alternate(html, "`", "<code>", "</code>")
	return template.HTML(html) //nolint:gosec // escaped above
}

// alternate replaces a mark by an opening and a closing tag in turn.
func alternate(text, mark, open, end string) string {
	parts := strings.Split(text, mark)
	if len(parts)%2 == 0 { // a mark without its twin is text
		return text
	}
	var b strings.Builder
	for i, part := range parts {
		if i > 0 {
			b.WriteString([]string{end, open}[i%2])
		}
		b.WriteString(part)
	}
	return b.String()
}
