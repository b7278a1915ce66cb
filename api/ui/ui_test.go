package ui_test

import (
	"bytes"
	"context"
	"errors"
	"html"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/api/ui"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

// noon is the time on the pages' clock. By the database's clock it is long ago, which nobody must notice.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// site is the pages on a database of their own.
type site struct {
	*db.Store
	pool    *pgxpool.Pool
	handler http.Handler
	refused access.Scope // requests that need this scope are turned away
	down    bool         // a dependency is
}

func open(t *testing.T) *site {
	t.Helper()
	return openWith(t, func(*ui.Deps) {})
}

// openWith is open with other surroundings.
func openWith(t *testing.T, change func(*ui.Deps)) *site {
	t.Helper()
	address := dbtest.URL(t)
	store, err := db.Open(t.Context(), address)
	require.NoError(t, err)
	t.Cleanup(store.Close)
	pool, err := pgxpool.New(t.Context(), address)
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	s := &site{Store: store, pool: pool}
	deps := ui.Deps{
		Store: store, Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler),
		Authorize: func(_ *gin.Context, scope access.Scope) error {
			if scope == s.refused {
				return errNoKey
			}
			return nil
		},
		Principal: func(*http.Request) string { return "tester" },
		Explain:   explain,
		Import:    s.importFile,
		Health: func(context.Context) []ui.Check {
			return []ui.Check{{Name: "PostgreSQL", Up: true}, {Name: "Temporal", Up: !s.down, Detail: map[bool]string{true: "no answer"}[s.down]}}
		},
		ErrorMeaning:   func(code int) string { return "meaning of " + strconv.Itoa(code) },
		MaxUploadBytes: 1 << 20, TemporalUIURL: "http://temporal.test", Namespace: "default", Version: "1.2.3",
	}
	change(&deps)
	pages, err := ui.New(deps)
	require.NoError(t, err)
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
	return map[fault.Kind]int{fault.Invalid: 422, fault.NotFound: 404, fault.Conflict: 409}[f.Kind], f.Detail, f.Fields
}

func (s *site) importFile(ctx context.Context, upload *multipart.Reader) (uuid.UUID, error) {
	part, err := upload.NextPart()
	if err != nil {
		return uuid.Nil, err
	}
	imp := intake.Import{ID: uuid.New(), FileName: part.FileName(), Format: intake.FormatOf(part.FileName(), ""), CreatedBy: "tester"}
	if imp.Format == "" {
		return uuid.Nil, fault.Refuse("file", "must be named .csv, .json or .jsonl")
	}
	content, err := io.ReadAll(part)
	if err != nil {
		return uuid.Nil, err
	}
	rows, err := intake.Open(&imp, bytes.NewReader(content))
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

var tokenInput = regexp.MustCompile(`name="form" value="([^"]+)"`)

func filled(t *testing.T, page string, fields ...string) url.Values {
	t.Helper()
	values := url.Values{}
	if token := tokenInput.FindStringSubmatch(page); token != nil {
		values.Set("form", token[1])
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

func TestDashboard(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sender(t)
	s.person(t, 1, user.OptIn, user.Attributes{"city": "Colombo", "name": "Ann"})
	s.person(t, 2, user.Stop, nil)
	s.person(t, 3, user.OptOut, nil)
	id := s.plan(t, "Spring")
	run, err := s.StartRun(t.Context(), id, "tester", noon)
	require.NoError(t, err)
	s.exec(t, `INSERT INTO messages (id, run_id, user_id, seq, channel, state, reason, error_code, created_at, accepted_at, sent_at, ended_at, updated_at)
		SELECT uuid_v7($1), $2, 1, 1, 'whatsapp', 'undelivered', 'provider_error', 30003, $1, $1, $1, $1, $1`, noon, run.ID)
	s.exec(t, `UPDATE campaign_runs SET frozen_at = $1, audience_size = 1`, noon)

	page := text(s.get(t, "/"))
	for _, says := range []string{
		"Active campaigns 1", "Users 3 1 opted in", "Opted out 2", "Sent, last 24 h 1 0 of these delivered", "Failed, last 24 h 1",
		"Delivery rate 0.0 %", "Spring RUNNING", "1 of 1 done", "30003 meaning of 30003", "up PostgreSQL", "up Temporal",
	} {
		require.Contains(t, page, says)
	}
	require.NotContains(t, page, numbers, "lists about messages mask numbers")
	require.Contains(t, s.get(t, "/"), `href="http://temporal.test/namespaces/default/workflows/campaign%2F1%2Frun%2F1"`)

	s.down = true
	require.Contains(t, text(s.get(t, "/")), "down Temporal : no answer")
}

func TestSendersOnMonitoring(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Contains(t, text(s.get(t, "/monitoring")), "Senders the whole account may send 1,000/s No sender is configured")
	s.sender(t)
	page := text(s.get(t, "/monitoring"))
	require.Contains(t, page, "whatsapp +14155238886 80/s 80.0/s")
	require.NotContains(t, page, "slowed down")
	_, err := s.SlowSender(t.Context(), 1, 0, noon.Add(-time.Second))
	require.NoError(t, err)
	require.Contains(t, text(s.get(t, "/monitoring")), "80/s 44.0/s slowed down since 2026-03-02 11:59:59 UTC")
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, nil)
	r := httptest.NewRequest(http.MethodGet, "/campaigns?status=DRAFT", http.NoBody)
	r.Header.Set("HX-Request", "true")
	w := s.do(r)
	require.Equal(t, http.StatusOK, w.Code)
	fragment := strings.TrimSpace(w.Body.String())
	require.True(t, strings.HasPrefix(fragment, `<div id="live" hx-get="/campaigns?status=DRAFT" hx-trigger="every 4s" hx-swap="outerMorph">`), fragment[:100])
	require.NotContains(t, fragment, "<html")
	require.Contains(t, s.get(t, "/campaigns?status=DRAFT"), fragment, "a page holds what its refresh gives")
	require.Equal(t, "HX-Request", w.Header().Get("Vary"))

	s.sender(t)
	id := s.plan(t, "Spring")
	path := "/campaign/" + strconv.FormatInt(id, 10) + "/summary"
	require.Contains(t, s.get(t, path), `hx-trigger="every 30s"`, "a draft")
	_, err := s.StartRun(t.Context(), id, "tester", noon)
	require.NoError(t, err)
	require.Contains(t, s.get(t, path), `hx-trigger="every 4s"`, "a run under way")
	s.exec(t, `UPDATE campaigns SET status = 'COMPLETED'`)
	require.Contains(t, s.get(t, path), `hx-trigger="every 4s"`, "receipts still arrive")
	s.exec(t, `UPDATE campaign_runs SET finished_at = $1, settled_at = $1`, noon)
	require.Contains(t, s.get(t, path), `hx-trigger="every 30s"`, "all is said")
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s := open(t)
	for n := range 30 {
		s.person(t, n, user.OptIn, nil)
	}
	s.person(t, 30, user.Stop, user.Attributes{"name": "Ann", "city": "Galle"})

	first := s.get(t, "/users")
	require.Contains(t, text(first), "all 31 OPT_IN 30 PENDING 0 OPT_OUT 0 STOP 1", "counts are of all users, not of the page")
	require.Contains(t, text(first), "31 in all")
	require.Contains(t, text(first), "Ann · 2 attributes")
	require.Contains(t, text(first), numbers+"1030")
	require.Equal(t, 25, strings.Count(text(first), numbers+"10"))

	next := regexp.MustCompile(`href="(/users\?after=\d+)">Next page`).FindStringSubmatch(first)
	require.NotNil(t, next)
	second := s.get(t, next[1])
	require.Equal(t, 6, strings.Count(text(second), numbers+"10"))
	require.NotContains(t, second, "Next page")
	require.Contains(t, second, `href="/users">First page`)

	filtered := s.get(t, "/users?consent_state=STOP")
	require.Equal(t, 1, strings.Count(text(filtered), numbers+"10"))
	require.Contains(t, text(filtered), "1 in all")
	for query, found := range map[string]int{"%2B9477123100": 10, "+9477123100": 10, "94 77 123 1001": 1, "4477": 0} {
		require.Equal(t, found, strings.Count(text(s.get(t, "/users?q="+strings.ReplaceAll(query, " ", "%20"))), numbers+"10"), query)
	}
	for _, bad := range []string{"/users?consent_state=MAYBE", "/users?q=abc", "/users?after=x"} {
		require.Equal(t, http.StatusUnprocessableEntity, s.do(httptest.NewRequest(http.MethodGet, bad, http.NoBody)).Code, bad)
	}
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
		"/", "/users", "/segments", "/segments/1", "/templates", "/campaigns", "/campaigns/new", "/monitoring",
		"/campaign/1/summary", "/campaign/1/recipients", "/campaign/1/trigger", "/campaign/1/pause", "/campaign/1/recipients?reason=" + url.QueryEscape(evil),
	} {
		page := s.get(t, path)
		require.NotContains(t, page, "<script>alert", path)
		require.NotContains(t, page, "<img src=x", path)
	}
	require.Contains(t, s.get(t, "/monitoring"), "&lt;script&gt;alert(1)")
	w := s.submit(t, "/segments", "/segments", "name", evil, "definition_json", evil)
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	requireSound(t, w)
	require.NotContains(t, w.Body.String(), "<img src=x")
}

func TestAddUser(t *testing.T) {
	t.Parallel()
	s := open(t)
	w := s.submit(t, "/users", "/users", "phone_number", "12", "attributes", "[", "consent_state", "OPT_IN")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	requireSound(t, w)
	page := w.Body.String()
	require.Contains(t, text(page), "must be international")
	require.Contains(t, text(page), "must be one JSON object", "all mistakes are told at once")
	require.Contains(t, page, `value="12"`, "what was entered stays")
	require.Contains(t, page, `<option selected>OPT_IN`)
	require.Zero(t, s.count(t, `SELECT count(*) FROM users`))

	w = s.submit(t, "/users", "/users", "phone_number", "+94 77 123 4567", "consent_state", "OPT_IN", "attributes", `{"name":"Ann"}`)
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Contains(t, text(s.get(t, "/users")), "+94771234567 OPT_IN Ann")

	w = s.submit(t, "/users", "/users", "phone_number", "+94771234567")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "a user with this phone number exists")
}

func upload(t *testing.T, name, content string) *http.Request {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("file", name)
	require.NoError(t, err)
	_, err = io.WriteString(part, content)
	require.NoError(t, err)
	require.NoError(t, form.Close())
	r := httptest.NewRequest(http.MethodPost, "/users/import", &b)
	r.Header.Set("Content-Type", form.FormDataContentType())
	return r
}

func TestImport(t *testing.T) {
	t.Parallel()
	s := open(t)
	w := s.do(upload(t, "people.csv", "phone_number,name\n+94771234567,Ann\n12,Bob\n"))
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	place := w.Header().Get("Location")

	waiting := s.get(t, place)
	require.Contains(t, text(waiting), "people.csv PENDING")
	require.Contains(t, text(waiting), "0 of 2 rows")
	require.Contains(t, waiting, `hx-trigger="every 2s"`)

	id := uuid.MustParse(strings.TrimPrefix(place, "/imports/"))
	imports := &activities.Imports{Store: s.Store, Now: func() time.Time { return noon }}
	require.NoError(t, imports.ProcessImport(t.Context(), outbox.Import{ImportID: id}))
	over := s.get(t, place)
	for _, says := range []string{"people.csv COMPLETED", "2 of 2 rows, 100.0 %", "Taken over 1", "Refused 1", "3 phone_number must be"} {
		require.Contains(t, text(over), says)
	}
	require.NotContains(t, over, "hx-trigger", "what is over is not asked for again")

	w = s.do(upload(t, "people.pdf", "x"))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "must be named .csv, .json or .jsonl")
	w = s.do(post("/users/import", url.Values{}))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Equal(t, http.StatusNotFound, s.do(httptest.NewRequest(http.MethodGet, "/imports/"+uuid.NewString(), http.NoBody)).Code)
	require.Equal(t, http.StatusNotFound, s.do(httptest.NewRequest(http.MethodGet, "/imports/1", http.NoBody)).Code)
}

func TestLibrary(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, user.Attributes{"city": "Colombo"})
	s.person(t, 2, user.Stop, user.Attributes{"city": "Colombo"})

	w := s.submit(t, "/segments", "/segments", "name", "Colombo", "definition_json", `{"attribute":"city","operator":"is","value":"Colombo"}`)
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "operator", "the mistake is named, wherever in the JSON it is")
	require.Contains(t, w.Body.String(), "is-invalid")
	w = s.submit(t, "/segments", "/segments", "name", "Colombo", "definition_json", `{"attribute":"city","operator":"equals","value":"Colombo"}`)
	require.Equal(t, http.StatusSeeOther, w.Code)
	page := text(s.get(t, w.Header().Get("Location")))
	require.Contains(t, page, "Selected 2")
	require.Contains(t, page, "May be sent to 1")
	require.Contains(t, page, `city is "Colombo"`)

	w = s.submit(t, "/templates", "/templates", "name", "", "content", "Hi {", "channel", "pigeon", "locale", "?")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	for _, says := range []string{"must have 1 to 100 characters", "{ without }", "must be whatsapp or sms", "must be a language"} {
		require.Contains(t, text(w.Body.String()), says)
	}
	w = s.submit(t, "/templates", "/templates", "name", "Welcome", "content", "Hi {name}\r\nBye", "channel", "whatsapp", "locale", "en_US")
	require.Equal(t, http.StatusSeeOther, w.Code)
	saved, err := s.Template(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "Hi {name}\nBye", saved.Content)
	require.Equal(t, []string{"name"}, saved.Variables)
	require.Contains(t, text(s.get(t, "/templates")), "Welcome whatsapp en_US 1 marketing en_US: unsubmitted Hi {name} Bye name")
}

func TestCreateCampaign(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.plan(t, "First")
	good := []string{
		"topic", "Second", "template_id", "1", "segment_id", "1", "rate_limit_per_second", "20", "quiet_hours_start", "22:00", "quiet_hours_end", "08:00",
		"schedule_time", "2026-07-01T09:30", "timezone", "Asia/Colombo",
		"priority", "transactional", "failure_threshold_percent", "0", "canary_percent", "5",
	}
	with := func(name, value string) []string { return append(append([]string{}, good...), name, value) }

	for name, tc := range map[string]struct {
		fields []string
		says   string
	}{
		"no audience":    {with("segment_id", ""), "a campaign needs an audience"},
		"no template":    {with("template_id", ""), "must name a template"},
		"gone template":  {with("template_id", "99"), "there is no template 99"},
		"no rate":        {with("rate_limit_per_second", "many"), "must be a whole number"},
		"half quiet":     {with("quiet_hours_end", ""), "both ends of the quiet hours or neither"},
		"unknown zone":   {with("timezone", "Ceylon"), "must be an IANA time zone"},
		"past":           {with("schedule_time", "2026-03-02T17:29"), "must be in the future"},
		"not a time":     {with("schedule_time", "soon"), "must be a date and a time"},
		"skipped minute": {append(with("timezone", "Europe/London"), "schedule_time", "2026-03-29T01:30"), "clocks skip it"},
		"empty topic":    {with("topic", " "), "must be a text of 1 to 100 characters"},
		"odd priority":   {with("priority", "urgent"), "must be transactional or bulk"},
		"odd threshold":  {with("failure_threshold_percent", "101"), "must be from 0 to 100"},
		"odd canary":     {with("canary_percent", "half"), "must be a whole number"},
	} {
		w := s.submit(t, "/campaigns/new", "/campaigns", tc.fields...)
		require.Equal(t, http.StatusUnprocessableEntity, w.Code, name)
		requireSound(t, w)
		require.Contains(t, text(w.Body.String()), tc.says, name)
		require.Contains(t, w.Body.String(), `class="invalid-feedback`, "%s: told beside the field", name)
	}
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM campaigns`))

	page := s.get(t, "/campaigns/new?segment_id=1")
	require.Contains(t, page, `<option value="1" selected>Cities First`)
	form := filled(t, page, good...)
	for range 3 { // impatient fingers
		w := s.do(post("/campaigns", form))
		require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
		require.Equal(t, "/campaign/2/summary", w.Header().Get("Location"))
	}
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM campaigns`))
	form.Set("topic", "Third")
	w := s.do(post("/campaigns", form))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code, "a token stands for one content")

	c, err := s.Campaign(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, campaign.Draft, c.Status)
	require.Equal(t, int64(1), *c.SegmentID)
	require.Equal(t, time.Date(2026, 7, 1, 4, 0, 0, 0, time.UTC), c.ScheduleTime.UTC())
	summary := text(s.get(t, "/campaign/2/summary"))
	for _, says := range []string{
		"Second campaign 2", "DRAFT not sent yet", "22:00 until 08:00", "Planned for 2026-07-01 04:00:00 UTC", "Cities First: city is known", "20 messages a second at most",
		"Priority transactional", "never for failures", "the first 5 %",
	} {
		require.Contains(t, summary, says)
	}

	w = s.submit(t, "/campaigns/new", "/campaigns", append(with("quiet_hours_start", ""), "quiet_hours_end", "", "schedule_time", "", "topic", "Plain")...)
	require.Equal(t, http.StatusSeeOther, w.Code)
	c, err = s.Campaign(t.Context(), 3)
	require.NoError(t, err)
	require.Nil(t, c.QuietStart)
	require.Nil(t, c.ScheduleTime)
}

func TestTriggerAndSteer(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, user.Attributes{"city": "Colombo", "name": "Ann"})
	s.person(t, 2, user.OptIn, user.Attributes{"city": "Colombo"})
	s.person(t, 3, user.Stop, user.Attributes{"city": "Colombo", "name": "Bob"})
	s.person(t, 4, user.OptIn, user.Attributes{"name": "elsewhere"})
	id := s.plan(t, "Spring")
	place := "/campaign/" + strconv.FormatInt(id, 10)

	asked := text(s.get(t, place+"/trigger"))
	for _, says := range []string{"it would be sent to 1 of 3 people.", "It begins at once", "2 are not sent to.", "missing variable 1", "stopped 1", "Send to 1 people", "Hi {name}"} {
		require.Contains(t, asked, says)
	}
	require.Zero(t, s.count(t, `SELECT count(*) FROM campaign_runs`), "asking starts nothing")

	w := s.do(post(place+"/trigger", nil))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "no sender is configured")
	s.sender(t)
	w = s.do(post(place+"/trigger", nil))
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	w = s.do(post(place+"/trigger", nil))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "This campaign is RUNNING")
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM campaign_runs`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM outbox WHERE kind LIKE 'campaign.%'`))

	run, err := s.Run(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, s.Freeze(t.Context(), run, noon))
	summary := text(s.get(t, place+"/summary"))
	for _, says := range []string{"RUNNING run 1", "1 of 3 recipients done (33.3 %); 2 still to be sent.", "Recipients 3", "pending 2 66.7 %", "suppressed 1", "stopped 1", "Pause…", "Cancel campaign…", "Triggered 2026-03-02 12:00:00 UTC by tester"} {
		require.Contains(t, summary, says)
	}
	require.NotContains(t, summary, "Resume…")
	require.NotContains(t, summary, "Send…")
	recipients := text(s.get(t, place+"/recipients?state=suppressed"))
	require.Contains(t, recipients, "+94…1003 suppressed stopped")
	require.Contains(t, recipients, "1 in all")

	require.Contains(t, text(s.get(t, place+"/pause")), "2 messages are still to be sent.")
	status := func() campaign.Status {
		c, err := s.Campaign(t.Context(), id)
		require.NoError(t, err)
		return c.Status
	}
	require.Equal(t, campaign.Running, status(), "asking changes nothing")
	for _, step := range []struct {
		verb string
		code int
		then campaign.Status
	}{
		{"resume", http.StatusConflict, campaign.Running},
		{"pause", http.StatusSeeOther, campaign.Paused},
		{"pause", http.StatusSeeOther, campaign.Paused}, // the answer may have been lost
		{"resume", http.StatusSeeOther, campaign.Running},
		{"cancel", http.StatusSeeOther, campaign.Cancelled},
		{"cancel", http.StatusSeeOther, campaign.Cancelled},
		{"resume", http.StatusConflict, campaign.Cancelled},
	} {
		w := s.do(post(place+"/"+step.verb, nil))
		require.Equal(t, step.code, w.Code, step.verb)
		require.Equal(t, step.then, status())
	}
	require.Contains(t, text(s.get(t, place+"/summary")), "cancelled 2")
}

// sending starts a run of a new campaign and gives it n people, whose messages are in the state.
func (s *site) sending(t *testing.T, n int, state, reason string) {
	t.Helper()
	s.sender(t)
	run, err := s.StartRun(t.Context(), s.plan(t, "Spring"), "tester", noon)
	require.NoError(t, err)
	for i := range n {
		s.person(t, i, user.OptIn, nil)
	}
	s.exec(t, `INSERT INTO messages (id, run_id, user_id, seq, channel, state, reason, attempt_count, created_at, ended_at, updated_at)
		SELECT uuid_v7($1), $2, id, id, 'whatsapp', $3, $4, 1, $1, $1, $1 FROM users`, noon, run.ID, state, reason)
	s.exec(t, `INSERT INTO attempts (id, message_id, number, state, lease_until, started_at, ended_at, detail, looks, failed_looks, body_sha256)
		SELECT gen_random_uuid(), id, 1, 'unknown', $1, $1, $1, 'unresolved', 4, 1, '' FROM messages`, noon)
	s.exec(t, `UPDATE campaign_runs SET frozen_at = $1, audience_size = $2`, noon, n)
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sending(t, 3, "failed", "provider_error")
	s.exec(t, `UPDATE messages SET error_code = 63016 WHERE seq = 1`)
	s.exec(t, `UPDATE messages SET state = 'pending', reason = 'quiet_hours', waits_until = $1, ended_at = NULL WHERE seq = 2`, noon.Add(time.Hour))

	page := s.get(t, "/campaign/1/recipients")
	require.Contains(t, text(page), "pending quiet hours 2026-03-02 13:00:00 UTC")
	require.Contains(t, page, `href="/api/v1/campaigns/1/recipients.csv" download`)
	page = s.get(t, "/campaign/1/recipients?run=1&state=failed&error_code=63016")
	require.Contains(t, text(page), "1 in all")
	require.Contains(t, page, `href="/api/v1/campaigns/1/recipients.csv?error_code=63016&amp;run=1&amp;state=failed" download`)
	require.Contains(t, page, `href="/campaign/1/recipients?error_code=63016&amp;run=1&amp;state=pending"`, "another state, the same filter")
	require.Contains(t, text(s.get(t, "/campaign/1/recipients?state=&error_code=")), "3 in all", "an empty field is no filter")
	for query, status := range map[string]int{"error_code=x": 422, "run=-1": 422, "run=2": 404} {
		require.Equal(t, status, s.do(httptest.NewRequest(http.MethodGet, "/campaign/1/recipients?"+query, http.NoBody)).Code, query)
	}
}

func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sending(t, 27, "unknown", "unresolved")
	require.Contains(t, s.get(t, "/monitoring"), `href="/unknown"`)

	decidable := regexp.MustCompile(`href="(/unknown/[0-9a-f-]+)\?outcome=not_sent"`)
	page := s.get(t, "/unknown")
	require.Contains(t, text(page), "27 in all")
	require.NotContains(t, page, numbers)
	require.Contains(t, text(page), "4 looks at the provider’s list, 1 more failed")
	first := decidable.FindAllStringSubmatch(page, -1)
	require.Len(t, first, 25)
	next := regexp.MustCompile(`href="(/unknown\?after=[0-9a-f-]+)">Next page`).FindStringSubmatch(page)
	require.NotNil(t, next)
	require.Len(t, decidable.FindAllString(s.get(t, next[1]), -1), 2)

	for i, outcome := range []string{"sent", "not_sent"} {
		place := first[i][1]
		confirm := s.get(t, place+"?outcome="+outcome)
		require.Contains(t, confirm, `name="outcome" value="`+outcome+`"`)
		w := s.do(post(place, url.Values{"outcome": {outcome}}))
		require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
		require.Equal(t, "/unknown", w.Header().Get("Location"))
		w = s.do(post(place, url.Values{"outcome": {outcome}}))
		require.Equal(t, http.StatusConflict, w.Code)
		require.Contains(t, text(w.Body.String()), "only an unknown one can be decided")
	}
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM messages WHERE state = 'sent' AND reason = 'decided_sent'`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM messages WHERE state = 'pending'`))
	require.Contains(t, text(s.get(t, "/unknown")), "25 in all")
	for path, status := range map[string]int{
		"/unknown?after=7": 422, "/unknown/7?outcome=sent": 404, first[2][1]: 422, "/unknown/" + uuid.NewString() + "?outcome=sent": 404,
	} {
		require.Equal(t, status, s.do(httptest.NewRequest(http.MethodGet, path, http.NoBody)).Code, path)
	}
}

func TestTurnedAway(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := s.plan(t, "Spring")
	path := "/campaign/" + strconv.FormatInt(id, 10)
	s.refused = access.Read
	for _, page := range []string{"/", "/users", "/campaigns", "/monitoring", path + "/summary", path + "/trigger", path + "/pause"} {
		w := s.do(httptest.NewRequest(http.MethodGet, page, http.NoBody))
		require.Equal(t, http.StatusUnauthorized, w.Code, page)
		requireSound(t, w)
		require.Contains(t, text(w.Body.String()), "ese keys create")
		require.NotContains(t, w.Body.String(), "Spring")
	}
	s.refused = access.Write
	for _, action := range []string{"/users", "/users/import", "/segments", "/templates", "/campaigns"} {
		require.Equal(t, http.StatusUnauthorized, s.do(post(action, nil)).Code, action)
	}
	s.refused = access.Send
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

func TestPagesOfSchedules(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sender(t)
	for change, want := range map[string][2]string{
		`schedule_local_time = '2030-12-01T10:00'`:                               {"Each of them is sent to when their own clock shows 2030-12-01T10:00", "Planned for 2030-12-01T10:00 by everyone's own clock"},
		`recurrence_cron = '0 10 * * 1-5', recurrence_timezone = 'Asia/Colombo'`: {"It is sent again and again, at 0 10 * * 1-5 in Asia/Colombo", "Recurs 0 10 * * 1-5 in Asia/Colombo"},
	} {
		s.person(t, len(change), user.OptIn, user.Attributes{"name": "Ann", "city": "Galle"})
		id := s.plan(t, change[:10])
		s.exec(t, `UPDATE campaigns SET `+change+` WHERE id = $1`, id)
		page := "/campaign/" + strconv.FormatInt(id, 10)
		confirm := text(s.get(t, page+"/trigger"))
		require.Contains(t, confirm, want[0])
		require.Contains(t, confirm, "Schedule to")
		_, err := s.StartRun(t.Context(), id, "tester", noon)
		require.NoError(t, err)
		require.Contains(t, text(s.get(t, page+"/summary")), want[1])
		require.Contains(t, text(s.get(t, "/campaigns?status=SCHEDULED")), change[:10])
		require.Contains(t, text(s.get(t, page+"/pause")), "Pause")
	}
}
