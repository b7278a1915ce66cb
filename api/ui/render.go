package ui

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/report"
)

//go:embed pages static
var embedded embed.FS

// page is a template set with the page's own "content" and, when its figures refresh, "live". It is kept once for each
// set of scopes that visitors have, because functions belong to a set and not to its execution.
type page struct {
	blank *template.Template // never executed: only such a one can be cloned
	mu    sync.Mutex
	sets  map[string]*template.Template // by scopes
}

// forVisitor returns the templates in which the function may answers for the visitor.
func (p *page) forVisitor(visitor access.Principal) (*template.Template, error) {
	var key strings.Builder
	for _, scope := range access.Scopes() {
		if visitor.May(scope) {
			key.WriteString(string(scope) + " ")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if set := p.sets[key.String()]; set != nil {
		return set, nil
	}
	set, err := p.blank.Clone()
	if err != nil {
		return nil, err
	}
	p.sets[key.String()] = set.Funcs(template.FuncMap{"may": visitor.May})
	return set, nil
}

// parsePages reads every page together with the layout and the parts they share.
func (u *UI) parsePages() (map[string]*page, error) {
	shared, err := template.New("").Funcs(u.functions()).ParseFS(embedded, "pages/layout.html", "pages/parts.html", "pages/access.html")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	files, err := fs.Glob(embedded, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	pages := map[string]*page{}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" || name == "parts" || name == "access" {
			continue
		}
		set, err := shared.Clone()
		if err == nil {
			set, err = set.ParseFS(embedded, file)
		}
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", name, err)
		}
		pages[name] = &page{blank: set, sets: map[string]*template.Template{}}
	}
	return pages, nil
}

// view is what a page is made from.
type view struct {
	Title   string
	Section string // the path of the entry in the navigation
	Poll    int    // seconds between two looks at the "live" part; 0: it does not change any more
	// Scripts are the modules that this page needs beside those of all pages, as their files are called in static.
	Scripts []string
	URL     string // where the live part is refreshed from; render sets it to the address of the request
	Body    any

	// Set by render.
	Stream   string // the address of the live part's events
	Now      time.Time
	Version  string
	Flash    string // what was just done; "" for nothing to tell
	HasPhone bool   // there are simulated phones to show
	Styles   []string
	Deferred []string
	Visitor  access.Principal // nobody on the pages before sign-in
}

// render answers with a page, or with its live part alone when htmx asks. Nothing is sent before all of it is known.
func (u *UI) render(c *gin.Context, status int, name string, v view) error {
	v.URL, v.Now, v.Version = cmp.Or(v.URL, c.Request.URL.RequestURI()), u.Now(), u.Version
	v.HasPhone, v.Visitor = u.Phones != nil, u.Visitor(c.Request)
	v.Styles, v.Deferred, v.Scripts = u.assets.styles, u.assets.scripts, u.assets.known(v.Scripts)
	templates, err := u.pages[name].forVisitor(v.Visitor)
	if err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	if live, asked := c.Get(liveKey); asked {
		return renderLive(live.(*livePart), templates, v)
	}
	stream, err := url.Parse(v.URL)
	if err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	query := stream.Query()
	query.Set(liveParam, "yes")
	stream.RawQuery = query.Encode()
	v.Stream = stream.String()
	part := "layout"
	if c.GetHeader("HX-Request") == "true" {
		part = "refresh"
	} else {
		v.Flash = takeFlash(c)
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, part, v); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	c.Data(status, "text/html; charset=utf-8", b.Bytes())
	return nil
}

// renderLive makes the live part alone.
func renderLive(to *livePart, templates *template.Template, v view) error {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, "live", v); err != nil {
		return fmt.Errorf("live part of page %q: %w", v.Title, err)
	}
	to.content, to.every = b.Bytes(), time.Duration(v.Poll)*time.Second
	return nil
}

// renderPart answers with a named part of a page alone.
func (u *UI) renderPart(c *gin.Context, name, part string, body any) error {
	templates, err := u.pages[name].forVisitor(u.Visitor(c.Request))
	if err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, part, body); err != nil {
		return fmt.Errorf("part %s of page %s: %w", part, name, err)
	}
	c.Data(http.StatusOK, "text/html; charset=utf-8", b.Bytes())
	return nil
}

func (u *UI) functions() template.FuncMap {
	return template.FuncMap{
		"asset":    u.assets.link,
		"meaning":  u.ErrorMeaning,
		"advice":   u.ErrorAdvice,
		"workflow": u.workflowURL,
		"number":   number,
		"percent":  func(share float64) string { return strconv.FormatFloat(share, 'f', 1, 64) + " %" },
		"duration": duration,
		"clock":    clock,
		"words":    func(v any) string { return strings.ReplaceAll(fmt.Sprint(v), "_", " ") },
		"masked":   masked,
		"why":      reasonText,
		"recipient": func(m report.Message) string {
			return u.temporalURL(fmt.Sprintf("%s/recipient/%d", campaign.WorkflowID(m.CampaignID, m.RunNumber), m.Seq))
		},
		"indent":    indent,
		"jsonText":  jsonText,
		"tone":      func(v any) string { return cmp.Or(tones[fmt.Sprint(v)], "secondary") },
		"args":      args,
		"trail":     trail,
		"may":       func(access.Scope) bool { return false }, // forVisitor sets it
		"settings":  settingGroups,
		"attribute": attributeText,
		"add":       func(a, b int) int { return a + b },
	}
}

// workflowURL is the page of a run's workflow in the Temporal Web UI; "" when it is not known where that is.
func (u *UI) workflowURL(run *campaign.Run) string {
	if run == nil {
		return ""
	}
	return u.temporalURL(campaign.WorkflowID(run.CampaignID, run.Number))
}

// temporalURL is the page of a workflow in the Temporal Web UI; "" when it is not known where that is.
func (u *UI) temporalURL(id string) string {
	if u.TemporalUIURL == "" {
		return ""
	}
	return u.TemporalUIURL + "/namespaces/" + url.PathEscape(u.Namespace) + "/workflows/" + url.PathEscape(id)
}

// number writes an integer with its thousands apart.
func number(v any) string {
	text := fmt.Sprint(v)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// duration writes a time span for people: 820 ms, 12.3 s, 4 min 5 s, 2 h 3 min.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// clock writes minutes after midnight as 22:00.
func clock(minutes *int) string {
	if minutes == nil {
		return ""
	}
	return fmt.Sprintf("%02d:%02d", *minutes/60, *minutes%60)
}

// masked is all that lists about messages show of a number.
func masked(n phone.Number) string {
	if n == "" {
		return "unknown"
	}
	return n.Masked()
}

// indent writes a value as JSON that people can read.
func indent(v any) (string, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return string(text), err
}

// jsonText writes a value as JSON in one line.
func jsonText(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}

// args joins what a shared part needs: its values under the names before them.
func args(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("args: %d values", len(pairs))
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("args: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// crumb is a page above the one that is shown.
type crumb struct{ Name, Path string }

// trail is the way to a page, from names and paths in turn. The page itself is not part of it.
func trail(pairs ...string) ([]crumb, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("trail: %d values", len(pairs))
	}
	var crumbs []crumb
	for pair := range slices.Chunk(pairs, 2) {
		crumbs = append(crumbs, crumb{pair[0], pair[1]})
	}
	return crumbs, nil
}

// tones are the colours of words that tell a state, as the style sheet names them.
var tones = map[string]string{
	"DRAFT": "secondary", "SCHEDULED": "azure", "RUNNING": "blue", "PAUSED": "yellow", "COMPLETED": "green", "CANCELLED": "secondary", "FAILED": "red",
	"PENDING": "yellow", "OPT_IN": "green", "OPT_OUT": "orange", "STOP": "red",
	"pending": "secondary", "sending": "azure", "accepted": "azure", "sent": "blue", "delivered": "teal", "read": "green",
	"failed": "red", "undelivered": "orange", "suppressed": "yellow", "cancelled": "dark", "unknown": "purple",
	"stop": "red", "start": "green", "help": "azure", "media": "blue", "text": "secondary",
}

// listSize is how many rows a page of a list has.
const listSize = 25

// pager is the way through a list.
type pager struct {
	Total int
	About bool   // Total is an estimate
	First string // the address of the first page; "" when this is it
	Next  string // the address of the rows after these; "" when there are none
}

// after reads the key after which a list goes on; nil for its beginning.
func after(c *gin.Context) (*int64, error) {
	text := c.Query("after")
	if text == "" {
		return nil, nil
	}
	key, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fault.Refuse("after", "must be a whole number, as in the address of the next page")
	}
	return &key, nil
}

// paginate shortens rows, of which one more than listSize was asked for, to a page.
func paginate[T, K any](c *gin.Context, rows []T, total int, key func(T) K) ([]T, pager) {
	p := pager{Total: total}
	query := c.Request.URL.Query()
	if query.Has("after") {
		p.First = address(c, query, "")
	}
	if len(rows) > listSize {
		rows = rows[:listSize]
		p.Next = address(c, query, fmt.Sprint(key(rows[listSize-1])))
	}
	return rows, p
}

func address(c *gin.Context, query url.Values, after string) string {
	query.Del("after")
	if after != "" {
		query.Set("after", after)
	}
	return (&url.URL{Path: c.Request.URL.Path, RawQuery: query.Encode()}).String()
}
