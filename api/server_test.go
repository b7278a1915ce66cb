package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
)

// send makes a request from this machine.
func (e *engine) send(method, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return e.do(fromHere(r))
}

func TestHeadAnswersLikeGet(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	require.Equal(t, 200, e.send("HEAD", "/health", "", "").Code)
	require.Equal(t, 200, e.send("HEAD", "/api/v1/users?limit=1", "", "").Code)
	require.Equal(t, 405, e.send("HEAD", "/webhooks/inbound", "", "").Code, "no route answers GET")
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const (
		jsonType = "application/json"
		users    = "/api/v1/users"
		segments = "/api/v1/segments"
		campaign = `{"topic": "x", "segment_id": 1, "template_id": `
	)
	tests := []struct {
		name, method, target, contentType, body string
		status                                  int
		says                                    []string
	}{
		{"unknown address", "GET", "/api/v1/nothing", "", "", 404, []string{"there is nothing at this address"}},
		{"wrong method", "PATCH", users, "", "", 405, []string{"GET", "POST"}},
		{"no body", "POST", users, jsonType, "", 400, []string{"a body is needed: application/json"}},
		{"blank body", "POST", users, jsonType, " \n", 400, []string{"a body is needed"}},
		{"wrong type", "POST", users, "text/plain", `{}`, 415, []string{"application/json"}},
		{"no type", "POST", users, "", `{}`, 415, []string{"application/json"}},
		{"wrong charset", "POST", users, jsonType + "; charset=latin1", `{}`, 415, []string{"utf-8"}},
		{"syntax", "POST", users, jsonType, "{\n  \"phone_number\": +94}", 400, []string{"line 2, column 19"}},
		{"early end", "POST", users, jsonType, `{"phone_number":`, 400, []string{"not valid JSON"}},
		{"more than one value", "POST", users, jsonType, `{"phone_number": "+94771234567"} x`, 400, []string{"line 1, column 34", "nothing may follow"}},
		{"not UTF-8", "POST", users, jsonType, "{\"phone_number\": \"\xff\"}", 400, []string{"not UTF-8"}},
		{"unknown key", "POST", users, jsonType, `{"phone_number": "+94771234567", "phone": 1}`, 422,
			[]string{`"field":"phone"`, "known are attributes, consent_state, default_region, invite, phone_number"}},
		{"keys are exact", "POST", users, jsonType, `{"Phone_Number": "+94771234567"}`, 422, []string{`"field":"Phone_Number"`, `"detail":"is missing","field":"phone_number"`}},
		{"wrong JSON type", "POST", users, jsonType, `{"phone_number": 94771234567}`, 422, []string{`{"detail":"must be a text","field":"phone_number"}`}},
		{"null", "POST", users, jsonType, `{"phone_number": null}`, 422, []string{`{"detail":"must not be null","field":"phone_number"}`}},
		{"not in the list", "POST", users, jsonType, `{"phone_number": "+94771234567", "consent_state": "YES"}`, 422, []string{"must be one of PENDING, OPT_IN, OPT_OUT, STOP"}},
		{"NUL", "POST", segments, jsonType, `{"name": "a\u0000b", "definition_json": {"a": 1}}`, 422, []string{`{"detail":"must not hold a NUL character","field":"name"}`}},
		{"a blank name", "POST", segments, jsonType, `{"name": " \t", "definition_json": {"a": 1}}`, 422, []string{`{"detail":"must not be blank","field":"name"}`}},
		{"a blank new name", "PUT", segments + "/1", jsonType, `{"name": " ", "definition_json": {"a": 1}}`, 422, []string{`{"detail":"must not be blank","field":"name"}`}},
		{"a template's blank name", "POST", "/api/v1/templates", jsonType, `{"name": "\u00a0", "content": "Hi"}`, 422, []string{`{"detail":"must not be blank","field":"name"}`}},
		{"a template's blank new name", "PUT", "/api/v1/templates/1", jsonType, `{"name": " ", "content": "Hi"}`, 422, []string{`{"detail":"must not be blank","field":"name"}`}},
		{"a whole number with a point", "POST", "/api/v1/campaigns", jsonType, campaign + `1.0}`, 422, []string{`{"detail":"must be a whole number in digits alone, without a point or an exponent","field":"template_id"}`}},
		{"a whole number with an exponent", "POST", "/api/v1/campaigns", jsonType, campaign + `1, "rate_limit_per_second": 1e1}`, 422, []string{"without a point or an exponent", `"field":"rate_limit_per_second"`}},
		{"a whole number where the body may be left out", "POST", segments + "/1/evaluate", jsonType, `{"sample_size": 1e1}`, 422, []string{"without a point or an exponent", `"field":"sample_size"`}},
		{"no whole number", "POST", "/api/v1/campaigns", jsonType, campaign + `1.5}`, 422, []string{`{"detail":"must be a whole number","field":"template_id"}`}},
		{"a whole number out of bounds", "POST", "/api/v1/campaigns", jsonType, campaign + `99999999999999999999}`, 422, []string{"must be from 1 to 2147483647", `"field":"template_id"`}},
		{"an unknown country", "POST", users, jsonType, `{"phone_number": "0771234567", "default_region": "ZZ"}`, 422, []string{"is no country with telephone numbers", `"field":"default_region"`}},
		{"an unknown country that is not needed", "POST", users, jsonType, `{"phone_number": "+94771234567", "default_region": "XX"}`, 422, []string{`"field":"default_region"`}},
		{"an unknown country of a list", "POST", users + "/bulk?default_region=ZZ", jsonType, `[{"phone_number": "0771234567"}]`, 422, []string{"is no country with telephone numbers", `"field":"default_region"`}},
		{"an unknown country of another list", "POST", "/api/v1/ingest/users/bulk?default_region=UK", jsonType, `[{"phone_number": "0771234567"}]`, 422, []string{`"field":"default_region"`}},
		{"several faults at once", "POST", segments, jsonType, `{"name": "", "definition_json": []}`, 422, []string{`{"detail":"must be an object","field":"definition_json"}`, `{"detail":"must not be empty","field":"name"}`}},
		{"a path that is no number", "GET", segments + "/x", "", "", 400, []string{`{"detail":"must be a whole number","field":"id"}`}},
		{"a path out of bounds", "GET", segments + "/0", "", "", 400, []string{"must be from 1 to 2147483647"}},
		{"an unknown parameter", "GET", users + "?consent=STOP", "", "", 400, []string{`{"detail":"is not a parameter of this operation","field":"consent"}`}},
		{"an unknown value", "GET", users + "?consent_state=stop", "", "", 400, []string{"must be one of PENDING"}},
		{"a query that cannot be read", "GET", users + "?q=%zz", "", "", 400, []string{"not properly escaped"}},
		{"another separator", "GET", users + "?limit=1;q=9", "", "", 400, []string{"not properly escaped"}},
		{"a parameter twice", "GET", users + "?limit=1&limit=2", "", "", 400, []string{"must be given once"}},
		{"a limit out of bounds", "GET", users + "?limit=201", "", "", 400, []string{"must be from 1 to 200"}},
		{"a made-up cursor", "GET", users + "?cursor=abc", "", "", 400, []string{"next_cursor"}},
		{"no phone", "GET", users + "/bulk", "", "", 400, []string{`"field":"phone_number"`}},
		{"an import that is no UUID", "GET", "/api/v1/ingest/status/1", "", "", 400, []string{`"field":"task_id"`}},
		{"an import that is not there", "GET", "/api/v1/ingest/status/01938c5e-7a3b-7c52-b9f0-0f5f7c1f7f55", "", "", 404, []string{"this import does not exist"}},
		{"a body too large", "POST", users, jsonType, `{"phone_number": "` + strings.Repeat("9", 1<<20) + `"}`, 413, []string{"larger than 1 MiB"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := e.send(tt.method, tt.target, tt.contentType, tt.body)
			require.Equal(t, tt.status, w.Code, w.Body.String())
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			require.Contains(t, w.Body.String(), `"request_id":"`+w.Header().Get("X-Request-Id")+`"`)
			for _, text := range tt.says {
				require.Contains(t, w.Body.String()+w.Header().Get("Allow"), text)
			}
		})
	}
	require.Zero(t, e.woken.Load(), "what was refused has nothing to relay")
}

// TestAnswersToMonstersStayModest: neither the answer to a wrong body nor the work on it grows out of proportion.
func TestAnswersToMonstersStayModest(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	many := func(n int, part func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = part(i)
		}
		return strings.Join(parts, ",")
	}
	const depth = 9000 // short of what the decoder itself refuses
	long := strings.Repeat("k", 100)
	for name, tt := range map[string]struct {
		target, body string
		says         string
	}{
		"unknown keys": {"/api/v1/users", "{" + many(50_000, func(i int) string { return fmt.Sprintf(`"k%d":1`, i) }) + "}", "is not known here"},
		"NULs under a long key": {"/api/v1/users", `{"phone_number": "+94771234567", "attributes": {"` + strings.Repeat("k", 200_000) + `": [` +
			many(50_000, func(int) string { return `"\u0000"` }) + `]}}`, "NUL"},
		"deep nesting": {"/api/v1/users", `{"phone_number": "+94771234567", "attributes": ` + strings.Repeat(`{"`+long+`":`, depth) + `"\u0000"` +
			strings.Repeat("}", depth) + "}", "NUL"},
		"too many records": {"/api/v1/users/bulk", "[" + many(200_000, func(int) string { return "[]" }) + "]", "at most 10000 elements"},
	} {
		t.Run(name, func(t *testing.T) {
			w := e.send("POST", tt.target, "application/json", tt.body)
			require.Equal(t, 422, w.Code)
			require.Contains(t, w.Body.String(), tt.says)
			require.Less(t, w.Body.Len(), 32<<10)
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	r := fromHere(httptest.NewRequest(http.MethodGet, "/health", http.NoBody))
	r.Header.Set("X-Request-Id", "caller-1234")
	w := e.do(r)
	require.Equal(t, "caller-1234", w.Header().Get("X-Request-Id"))
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.JSONEq(t, `{"status": "healthy", "version": "test"}`, w.Body.String())

	r.Header.Set("X-Request-Id", "spoofed\" id")
	require.NotEqual(t, "spoofed\" id", e.do(r).Header().Get("X-Request-Id"))

	require.Equal(t, 201, e.send("POST", "/api/v1/users", "Application/JSON; charset=UTF-8", `{"phone_number": "+94771234567"}`).Code)
	require.Equal(t, int32(1), e.woken.Load(), "a change has the outbox looked at")
}

func TestLogsHoldNoPersonalData(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	e := start(t, func(d *api.Deps) {
		local(d)
		d.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	require.Equal(t, 201, e.send("POST", "/api/v1/users", "application/json", `{"phone_number": "+94771234567", "attributes": {"name": "Arjuna"}}`).Code)
	require.Equal(t, 200, e.send("GET", "/api/v1/users/94771234567", "", "").Code)
	require.Equal(t, 200, e.send("GET", "/api/v1/users?q=94771234567", "", "").Code)
	require.Equal(t, 404, e.send("GET", "/94771234567", "", "").Code)
	e.store.Close()
	require.GreaterOrEqual(t, e.send("GET", "/api/v1/users/94771234567", "", "").Code, 500)
	require.Contains(t, log.String(), `route="GET /api/v1/users/:phone_number"`)
	require.NotContains(t, log.String(), "94771234567")
	require.NotContains(t, log.String(), "Arjuna")
}

// torn is a store of which a part is broken.
type torn struct {
	api.Store
	fail func() error
}

func (s torn) Migrated(context.Context) (bool, error) { return false, s.fail() }

func TestInternalErrorsStayInternal(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("password is hunter2") },
		"panic": func() error { panic("password is hunter2") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			e := start(t, func(d *api.Deps) {
				local(d)
				d.Log = slog.New(slog.NewTextHandler(&log, nil))
				d.Store = brokenKeys{Store: d.Store, fail: fail}
			})
			r := httptest.NewRequest(http.MethodGet, "/api/v1/users", http.NoBody)
			r.Header.Set("Authorization", "Bearer ese_"+strings.Repeat("A", 43))
			w := e.do(r)
			require.Equal(t, 500, w.Code)
			require.NotContains(t, w.Body.String(), "hunter2")
			require.Contains(t, log.String(), "request_id="+w.Header().Get("X-Request-Id"))
		})
	}
}

func TestDatabaseGoneInTheMiddle(t *testing.T) {
	t.Parallel()
	e := start(t, func(d *api.Deps) {
		d.Store = brokenKeys{Store: d.Store, fail: func() error { return fmt.Errorf("API key: %w", io.ErrUnexpectedEOF) }}
	})
	w := e.do(with("ese_"+strings.Repeat("A", 43), "GET", "/api/v1/users", ""))
	require.Equal(t, 503, w.Code, w.Body.String())
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	down := errors.New("no route to 10.0.0.7")
	tests := []struct {
		name   string
		change func(*api.Deps)
		status int
		body   string
	}{
		{"ready", func(*api.Deps) {}, 200, `{"status":"ready","checks":{"postgres":{"status":"up","detail":""},"migrations":{"status":"up","detail":""},"temporal":{"status":"up","detail":""}}}`},
		{"Temporal down", func(d *api.Deps) { d.TemporalHealth = func(context.Context) error { return down } }, 200,
			`{"status":"degraded","checks":{"postgres":{"status":"up","detail":""},"migrations":{"status":"up","detail":""},"temporal":{"status":"down","detail":"Temporal does not answer"}}}`},
		{"migrations missing", func(d *api.Deps) { d.Store = torn{Store: d.Store, fail: func() error { return nil }} }, 503,
			`{"status":"unavailable","checks":{"postgres":{"status":"up","detail":""},"migrations":{"status":"down","detail":"migrations are missing: run ese migrate"},"temporal":{"status":"up","detail":""}}}`},
		{"schema unreadable", func(d *api.Deps) { d.Store = torn{Store: d.Store, fail: func() error { return down }} }, 503,
			`{"status":"unavailable","checks":{"postgres":{"status":"up","detail":""},"migrations":{"status":"down","detail":"the schema cannot be read"},"temporal":{"status":"up","detail":""}}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, tt.change).do(httptest.NewRequest(http.MethodGet, "/health/ready", http.NoBody))
			require.Equal(t, tt.status, w.Code)
			require.JSONEq(t, tt.body, w.Body.String())
		})
	}
	e := start(t, nil)
	e.store.Close()
	w := e.do(httptest.NewRequest(http.MethodGet, "/health/ready", http.NoBody))
	require.Equal(t, 503, w.Code)
	require.Contains(t, w.Body.String(), `"postgres":{"detail":"PostgreSQL does not answer","status":"down"}`)
	require.Equal(t, 200, e.do(httptest.NewRequest(http.MethodGet, "/health", http.NoBody)).Code, "the process lives all the same")
}

func TestDocumentation(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	w := e.do(httptest.NewRequest(http.MethodGet, "/openapi.yaml", http.NoBody))
	require.Equal(t, 200, w.Code)
	require.Contains(t, w.Body.String(), "operationId: listUsers")

	w = e.do(httptest.NewRequest(http.MethodGet, "/docs", http.NoBody))
	require.Equal(t, 200, w.Code)
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	page := w.Body.String()
	for _, part := range []string{
		`id="triggerCampaign"`, `<code>/api/v1/users/{phone_number}</code>`, `scope send`, `no key needed`, `id="schema-Problem"`,
		`<a href="#schema-UserCreate">UserCreate</a>`, `Idempotency-Key`, `&#34;phone_number&#34;`,
	} {
		require.Contains(t, page, part)
	}
	require.NotRegexp(t, `(?:src|href)="(?:https?:)?//`, page, "nothing is loaded from elsewhere")
	require.NotContains(t, page, "**")
}

func TestPagesThatAreNotThere(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	ask := func(path, accept string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.Header.Set("Accept", accept)
		r.Header.Set("Accept-Encoding", "gzip")
		w := e.do(fromHere(r))
		require.Equal(t, http.StatusNotFound, w.Code)
		return w
	}
	page := ask("/nothing", "text/html,application/xhtml+xml")
	require.Equal(t, "gzip", page.Header().Get("Content-Encoding"), "pages travel compressed")
	unpacked, err := gzip.NewReader(page.Body)
	require.NoError(t, err)
	content, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	require.Contains(t, string(content), "there is nothing at this address")
	require.Contains(t, string(content), `aria-label="Pages"`, "with the way on")
	require.Equal(t, "application/problem+json", ask("/nothing", "*/*").Header().Get("Content-Type"))
	require.Equal(t, "application/problem+json", ask("/api/v1/nothing", "text/html").Header().Get("Content-Type"))
}
