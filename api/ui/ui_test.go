package ui_test

import (
	"context"
	"errors"
	"html"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api/ui"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
)

// noon is the time on the pages' clock. By the database's clock it is long ago, which nobody must notice.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// site is the pages on a database of their own.
type site struct {
	*db.Store
	pool    *pgxpool.Pool
	handler http.Handler
	pages   *ui.UI
	refused access.Scope // requests that need this scope are turned away; while pages are live, refuse sets it
	mu      sync.Mutex   // guards refused
	down    bool         // a dependency is

	scopes   []access.Scope // of the visitor
	stopping chan struct{}
	looks    atomic.Int64 // at the dependencies, which the dashboard shows
}

// refuse has requests turned away that need the scope.
func (s *site) refuse(scope access.Scope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = scope
}

func open(t *testing.T) *site {
	t.Helper()
	return openWith(t, func(*ui.Deps) {})
}

// openWith is open with other surroundings.
func openWith(t *testing.T, change func(*ui.Deps)) *site {
	t.Helper()
	address := dbtest.URL(t)
	store, err := db.Open(t.Context(), address, db.SuppressionKeys(dbtest.Keys))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	pool, err := pgxpool.New(t.Context(), address)
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	s := &site{Store: store, pool: pool, scopes: []access.Scope{access.Admin}, stopping: make(chan struct{})}
	deps := ui.Deps{
		Store: store, Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler),
		Authorize: func(_ *gin.Context, scope access.Scope) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if scope == s.refused {
				return errNoKey
			}
			return nil
		},
		Stopping:   s.stopping,
		Visitor:    func(*http.Request) access.Principal { return access.Principal{Name: "tester", Scopes: s.scopes} },
		Explain:    explain,
		SameOrigin: http.NewCrossOriginProtection().Check,
		Cookie:     func(*http.Request, string) string { return "" },
		SetCookie:  func(*gin.Context, string, string, time.Duration) {},
		Import:     s.importFile,
		ImportSuppressions: func(context.Context, *multipart.Reader) (ui.SuppressionImport, error) {
			return ui.SuppressionImport{Total: 3, Added: 1, Known: 1, Failed: 1, Errors: []intake.RowError{{Line: 4, Field: "scope", Detail: "is odd"}}}, nil
		},
		PublicURL: "https://campaigns.example.com",
		Health: func(context.Context) []ui.Check {
			s.looks.Add(1)
			return []ui.Check{{Name: "PostgreSQL", Up: true}, {Name: "Temporal", Up: !s.down, Detail: map[bool]string{true: "no answer"}[s.down]}}
		},
		Queues: func(context.Context) ([]report.Queue, error) {
			return []report.Queue{{Kind: "workflows", Workers: 2, Backlog: 7}, {Kind: "activities", Workers: 2, Added: 1.5}}, nil
		},
		ErrorMeaning:   func(code int) string { return "meaning of " + strconv.Itoa(code) },
		ErrorAdvice:    func(code int) string { return "advice on " + strconv.Itoa(code) },
		MaxUploadBytes: 1 << 20, TemporalUIURL: "http://temporal.test", Namespace: "default", Version: "1.2.3",
	}
	change(&deps)
	pages, err := ui.New(deps)
	require.NoError(t, err)
	pages.NeverWaitInVain()
	s.pages = pages
	gin.SetMode(gin.TestMode)
	r := gin.New()
	pages.Register(r)
	s.handler = r
	return s
}

var errNoKey = errors.New("a key is needed")

func explain(_ context.Context, err error) (status int, detail string, fields []fault.Field) {
	if errors.Is(err, errNoKey) {
		return http.StatusUnauthorized, err.Error(), nil
	}
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return http.StatusInternalServerError, "an internal error", nil
	}
	return map[fault.Kind]int{fault.Invalid: 422, fault.NotFound: 404, fault.Conflict: 409, fault.Forbidden: 403}[f.Kind], f.Detail, f.Fields
}

func (s *site) importFile(ctx context.Context, upload ui.Upload) (uuid.UUID, error) {
	imp := intake.Import{
		ID: uuid.Must(uuid.NewV7()), FileName: upload.FileName, Format: intake.FormatOf(upload.FileName, upload.Type), CreatedBy: "tester",
		DryRun: upload.DryRun, Policy: upload.Policy, DefaultRegion: upload.DefaultRegion,
	}
	if imp.Format == "" {
		return uuid.Nil, fault.Refuse("file", "must be named .csv, .json or .jsonl")
	}
	var err error
	if imp.Mapping, err = intake.ParseMapping(upload.Mapping); err != nil {
		return uuid.Nil, err
	}
	rows, err := intake.Open(&imp, upload.File)
	if err != nil {
		return uuid.Nil, err
	}
	_, err = s.CreateImport(ctx, imp, rows.Next, noon)
	return imp.ID, err
}

func (s *site) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (s *site) count(t *testing.T, sql string) (n int) {
	t.Helper()
	require.NoError(t, s.pool.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

func (s *site) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// get returns a page that must be fine.
func (s *site) get(t *testing.T, path string) string {
	t.Helper()
	w := s.do(httptest.NewRequest(http.MethodGet, path, http.NoBody))
	require.Equal(t, http.StatusOK, w.Code, "%s: %s", path, text(w.Body.String()))
	requireSound(t, w)
	return w.Body.String()
}

// submit fills in the form of a page that posts to action, and sends it.
func (s *site) submit(t *testing.T, page, action string, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	return s.do(post(action, filled(t, s.get(t, page), fields...)))
}

var tokenInput = regexp.MustCompile(`name="form_token" value="([^"]+)"`)

func filled(t *testing.T, page string, fields ...string) url.Values {
	t.Helper()
	values := url.Values{}
	if token := tokenInput.FindStringSubmatch(page); token != nil {
		values.Set("form_token", token[1])
	}
	for i := 0; i < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return values
}

func post(action string, values url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, action, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

var (
	inlineScript  = regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>[^<]`)
	inlineHandler = regexp.MustCompile(`(?i)<[a-z][^>]*\s(on[a-z]+|style|hx-on[^=]*)=`)
	quoted        = regexp.MustCompile(`"[^"]*"`)
	tags          = regexp.MustCompile(`<[^>]*>`)
	spaces        = regexp.MustCompile(`\s+`)
)

// requireSound holds every page to what all of them promise.
func requireSound(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	csp := w.Header().Get("Content-Security-Policy")
	require.Contains(t, csp, "default-src 'none'")
	require.NotContains(t, csp, "unsafe")
	body := w.Body.String()
	require.NotRegexp(t, inlineScript, body)
	require.NotRegexp(t, inlineHandler, quoted.ReplaceAllString(body, `""`))
	require.NotContains(t, body, "<no value>")
	require.NotContains(t, body, "ZgotmplZ")
	require.NotContains(t, body, "%!")
}

// text is what a page says to a reader.
func text(page string) string {
	return strings.TrimSpace(spaces.ReplaceAllString(html.UnescapeString(tags.ReplaceAllString(page, " ")), " "))
}

const numbers = "+9477123"

// person adds somebody and returns their number.
func (s *site) person(t *testing.T, n int, consent user.ConsentState, attributes user.Attributes) phone.Number {
	t.Helper()
	number := phone.Number(numbers + strconv.Itoa(1000+n))
	_, err := s.CreateUser(t.Context(), number, attributes, user.Change{State: consent, Source: user.SourceAPI}, "tester", noon)
	require.NoError(t, err)
	return number
}

// plan makes a campaign for everyone with a city, whose topic is given.
func (s *site) plan(t *testing.T, topic string) int64 {
	t.Helper()
	saved, err := s.CreateTemplate(t.Context(), render.Saved{
		Name: "Welcome " + topic, Content: "Hi {name}", Variables: []string{"name"}, Channel: message.WhatsApp, Locale: "en",
	}, noon)
	require.NoError(t, err)
	segment, err := s.CreateSegment(t.Context(), "Cities "+topic, []byte(`{"attribute":"city","operator":"exists","value":true}`), noon)
	require.NoError(t, err)
	c, err := s.CreateCampaign(t.Context(), campaign.Campaign{
		Topic: topic, TemplateID: saved.ID, SegmentID: &segment.ID, RatePerSecond: 10, Timezone: "UTC",
	}, noon)
	require.NoError(t, err)
	return c.ID
}

func (s *site) sender(t *testing.T) {
	t.Helper()
	require.NoError(t, s.EnsureSender(t.Context(), message.WhatsApp, "+14155238886", noon))
}

func TestEmptyPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	for path, says := range map[string]string{
		"/":              "No campaigns yet",
		"/users":         "No users found Import a file, or add",
		"/segments":      "No segments found",
		"/templates":     "No templates found",
		"/campaigns":     "No campaigns found Plan one",
		"/campaigns/new": "A campaign needs a template and a segment first.",
		"/monitoring":    "Nobody wrote in this time",
		"/unknown":       "No message waits for a decision",
	} {
		require.Contains(t, text(s.get(t, path)), says, path)
	}
	require.Contains(t, text(s.get(t, "/users?consent_state=stop")), "Nobody fits this filter.")
	require.Contains(t, text(s.get(t, "/campaigns?status=FAILED")), "None is FAILED.")
	require.Contains(t, text(s.get(t, "/")), "Active campaigns 0", "zero is said, not left out")
}

func TestHostileTexts(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sender(t)
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`
	s.person(t, 1, user.OptIn, user.Attributes{"city": evil, "name": evil, evil: evil})
	id := s.plan(t, evil)
	_, err := s.StartRun(t.Context(), id, "tester", noon)
	require.NoError(t, err)
	s.exec(t, `INSERT INTO inbound_messages (provider_sid, user_id, channel, intent, body, payload, received_at)
		VALUES ('SM1', 1, 'whatsapp', 'none', $1, '{}', $2)`, evil, noon)
	for _, path := range []string{
		"/", "/users", "/users/1", "/users/1/erase", "/segments", "/segments/new", "/segments/1", "/segments/1/edit", "/segments/1/delete",
		"/templates", "/templates/new", "/templates/1", "/templates/1/edit", "/templates/1/delete", "/campaigns", "/campaigns/new", "/monitoring",
		"/campaign/1/summary", "/campaign/1/recipients", "/campaign/1/trigger", "/campaign/1/pause", "/campaign/1/recipients?reason=" + url.QueryEscape(evil),
	} {
		page := s.get(t, path)
		require.NotContains(t, page, "<script>alert", path)
		require.NotContains(t, page, "<img src=x", path)
	}
	require.Contains(t, s.get(t, "/monitoring"), "&lt;script&gt;alert(1)")
	w := s.submit(t, "/segments/new", "/segments", "name", evil, "definition_json", evil)
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	requireSound(t, w)
	require.NotContains(t, w.Body.String(), "<img src=x")
}

func TestTurnedAway(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := s.plan(t, "Spring")
	path := "/campaign/" + strconv.FormatInt(id, 10)
	s.refused = access.Read
	for _, page := range []string{"/", "/users", "/campaigns", "/monitoring", path + "/summary"} {
		w := s.do(httptest.NewRequest(http.MethodGet, page, http.NoBody))
		require.Equal(t, http.StatusUnauthorized, w.Code, page)
		requireSound(t, w)
		require.Contains(t, text(w.Body.String()), "Sign in")
		require.NotContains(t, w.Body.String(), "Spring")
	}
	s.refused = access.Write
	for _, action := range []string{"/users", "/imports", "/segments", "/templates", "/campaigns"} {
		require.Equal(t, http.StatusUnauthorized, s.do(post(action, nil)).Code, action)
	}
	s.refused = access.Send
	for _, question := range []string{path + "/trigger", path + "/pause", "/unknown/" + uuid.NewString()} {
		require.Equal(t, http.StatusUnauthorized, s.do(httptest.NewRequest(http.MethodGet, question, http.NoBody)).Code, question)
	}
	for _, action := range []string{path + "/trigger", path + "/pause", path + "/resume", path + "/cancel", "/unknown/" + uuid.NewString()} {
		require.Equal(t, http.StatusUnauthorized, s.do(post(action, nil)).Code, action)
	}
	c, err := s.Campaign(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, campaign.Draft, c.Status)
}

func TestErrorPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	for path, status := range map[string]int{
		"/campaign/7/summary": 404, "/campaign/7/trigger": 404, "/campaign/7/pause": 404, "/campaign/x/summary": 404, "/campaign/-1/summary": 404,
		"/segments/7": 404, "/monitoring?hours=2": 422, "/campaigns?status=ODD": 422, "/campaign/1/recipients?state=odd": 422,
	} {
		w := s.do(httptest.NewRequest(http.MethodGet, path, http.NoBody))
		require.Equal(t, status, w.Code, path)
		requireSound(t, w)
	}
	require.Equal(t, http.StatusUnprocessableEntity, s.do(post("/users", url.Values{"phone_number": {"1"}})).Code, "no token, no effect")
	s.pool.Close()
	s.Close()
	w := s.do(httptest.NewRequest(http.MethodGet, "/users", http.NoBody))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Contains(t, text(w.Body.String()), "an internal error")
	require.NotContains(t, w.Body.String(), "closed pool")
}

func TestStatic(t *testing.T) {
	t.Parallel()
	s := open(t)
	page := s.get(t, "/")
	links := regexp.MustCompile(`(?:src|href)="(/ui/static/[^"#]+)`).FindAllStringSubmatch(page, -1)
	require.GreaterOrEqual(t, len(links), 3)
	for _, link := range links {
		w := s.do(httptest.NewRequest(http.MethodGet, link[1], http.NoBody))
		require.Equal(t, http.StatusOK, w.Code, link[1])
		require.Contains(t, w.Header().Get("Cache-Control"), "immutable")
		require.NotEmpty(t, w.Body.Bytes())
	}
	for _, gone := range []string{"/ui/static/none.js", "/ui/static/../ui.go", "/ui/static/"} {
		require.Equal(t, http.StatusNotFound, s.do(httptest.NewRequest(http.MethodGet, gone, http.NoBody)).Code, gone)
	}
}

func TestIncompleteDeps(t *testing.T) {
	t.Parallel()
	_, err := ui.New(ui.Deps{})
	require.Error(t, err)
}
