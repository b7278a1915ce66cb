package api_test

import (
	"bytes"
	"context"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// keyed makes a POST from this machine that may be repeated.
func keyed(key, target, contentType, body string) *http.Request {
	r := fromHere(httptest.NewRequest(http.MethodPost, target, strings.NewReader(body)))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Idempotency-Key", key)
	return r
}

func TestRepeatedPost(t *testing.T) {
	t.Parallel()
	now := noon
	e := start(t, func(d *api.Deps) {
		local(d)
		d.Now = func() time.Time { return now }
	})
	const jsonType, first, second = "application/json", `{"phone_number": "+94771234567"}`, `{"phone_number": "+94771234568"}`
	w := e.do(keyed("a", "/api/v1/users", jsonType, first))
	require.Equal(t, 201, w.Code, w.Body.String())
	require.Empty(t, w.Header().Get("Idempotent-Replayed"))
	again := e.do(keyed("a", "/api/v1/users", jsonType, first))
	require.Equal(t, 201, again.Code)
	require.Equal(t, "true", again.Header().Get("Idempotent-Replayed"))
	require.Equal(t, "application/json", again.Header().Get("Content-Type"))
	require.Equal(t, w.Body.String(), again.Body.String())

	require.Equal(t, 422, e.do(keyed("a", "/api/v1/users", jsonType, second)).Code, "another body")
	require.Equal(t, 422, e.do(keyed("a", "/api/v1/segments", jsonType, `{"name": "x", "definition_json": {"a": 1}}`)).Code, "another route")
	require.Equal(t, 409, e.do(keyed("b", "/api/v1/users", jsonType, first)).Code)
	require.Zero(t, get[int64](t, e, `SELECT count(*) FROM idempotency_keys WHERE key = 'b'`), "a refusal is not kept")
	require.Equal(t, 201, e.do(keyed("b", "/api/v1/users", jsonType, second)).Code, "so its key is free")
	require.Equal(t, 422, e.do(keyed("c", "/api/v1/users", jsonType, `{}`)).Code)
	require.Equal(t, 400, e.do(keyed("with space", "/api/v1/users", jsonType, first)).Code)

	now = noon.Add(25 * time.Hour)
	require.Equal(t, 409, e.do(keyed("a", "/api/v1/users", jsonType, first)).Code, "after a day the request is made anew")
}

func TestRepeatedPostOfAnotherPrincipal(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	for _, name := range []string{"one", "two"} {
		secret, err := e.store.CreateKey(t.Context(), name, []string{"write"}, noon)
		require.NoError(t, err)
		r := with(secret, "POST", "/api/v1/segments", `{"name": "`+name+`", "definition_json": {"a": 1}}`)
		r.Header.Set("Idempotency-Key", "same")
		w := e.do(r)
		require.Equal(t, 201, w.Code, w.Body.String())
		require.Contains(t, w.Body.String(), name)
	}
}

// slow holds a creation up until it is let go.
type slow struct {
	api.Store
	begun, release chan struct{}
}

func (s slow) CreateUser(ctx context.Context, number phone.Number, a user.Attributes, c user.Change, actor string, now time.Time) (user.User, error) {
	close(s.begun)
	<-s.release
	return s.Store.CreateUser(ctx, number, a, c, actor, now)
}

func TestRepeatedPostWhileTheFirstIsUnderWay(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	e := start(t, func(d *api.Deps) {
		local(d)
		d.Store = slow{Store: d.Store, begun: begun, release: release}
	})
	const body = `{"phone_number": "+94771234567"}`
	first := make(chan int)
	go func() { first <- e.do(keyed("a", "/api/v1/users", "application/json", body)).Code }()
	<-begun
	w := e.do(keyed("a", "/api/v1/users", "application/json", body))
	require.Equal(t, 409, w.Code)
	require.Contains(t, w.Body.String(), "still under way")
	close(release)
	require.Equal(t, 201, <-first)
	require.Equal(t, 201, e.do(keyed("a", "/api/v1/users", "application/json", body)).Code)
}

// lossy loses the answer that should be kept, as a broken connection would.
type lossy struct{ api.Store }

func (s lossy) InTx(ctx context.Context, f func(context.Context) error) error {
	return s.Store.InTx(ctx, func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			return err
		}
		return context.DeadlineExceeded
	})
}

func TestNoAnswerWithoutItsCommit(t *testing.T) {
	t.Parallel()
	e := start(t, func(d *api.Deps) {
		local(d)
		d.Store = lossy{d.Store}
	})
	w := e.do(keyed("a", "/api/v1/users", "application/json", `{"phone_number": "+94771234567"}`))
	require.Equal(t, 503, w.Code)
	require.NotContains(t, w.Body.String(), "94771234567")
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Zero(t, get[int64](t, e, `SELECT count(*) FROM users`))
}

// form makes the body of an upload.
func form(t *testing.T, boundary, field, fileName, content string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	require.NoError(t, w.SetBoundary(boundary))
	part, err := w.CreateFormFile(field, fileName)
	require.NoError(t, err)
	_, err = part.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return w.FormDataContentType(), b.String()
}

func TestRepeatedUpload(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	upload := func(boundary, name, content string) *httptest.ResponseRecorder {
		kind, body := form(t, boundary, "file", name, content)
		return e.do(keyed("u", "/api/v1/users/bulk", kind, body))
	}
	w := upload("one", "a.csv", "phone\n+94771234567\n")
	require.Equal(t, 202, w.Code, w.Body.String())
	again := upload("two", "a.csv", "phone\n+94771234567\n")
	require.Equal(t, w.Body.String(), again.Body.String(), "another boundary is the same upload")
	require.Equal(t, 422, upload("one", "b.csv", "phone\n+94771234567\n").Code)
	require.Equal(t, 422, upload("one", "a.csv", "phone\n+94771234568\n").Code)
	require.Equal(t, int64(1), get[int64](t, e, `SELECT count(*) FROM imports`))
	require.Equal(t, int64(1), get[int64](t, e, `SELECT count(*) FROM outbox`))
}

func TestImports(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	upload := func(target, field, name, content string) *httptest.ResponseRecorder {
		kind, body := form(t, "b", field, name, content)
		return e.send("POST", target, kind, body)
	}
	const bulk, ingest = "/api/v1/users/bulk", "/api/v1/ingest/users/bulk"
	w := upload(ingest+"?default_region=LK", "file", `C:\lists\people.csv`, "phone,name\n0771234567,A\nx,B\n")
	require.Equal(t, 202, w.Code, w.Body.String())
	id := uuid.MustParse(jsonAt(t, w, "task_id").(string))
	require.Equal(t, "Bulk ingestion started", jsonAt(t, w, "message"))
	require.Equal(t, map[string]any{"filename": "people.csv", "records_preview": 2.0}, jsonAt(t, w, "file_info"))

	status := e.call(t, 200, "GET", "/api/v1/ingest/status/"+id.String(), "")
	require.Equal(t, []any{"PENDING", 0.0, 2.0, []any{}}, []any{status["status"], status["processed"], status["total"], status["errors"]})
	_, err := e.store.ProcessImport(t.Context(), id, 100, noon)
	require.NoError(t, err)
	status = e.call(t, 200, "GET", "/api/v1/ingest/status/"+id.String(), "")
	require.Equal(t, []any{"COMPLETED", 2.0, 1.0, 1.0}, []any{status["status"], status["processed"], status["succeeded"], status["failed"]})
	refused := status["errors"].([]any)[0].(map[string]any)
	require.Equal(t, []any{3.0, "phone_number"}, []any{refused["line"], refused["field"]})
	list := e.call(t, 200, "GET", "/api/v1/ingest/status/"+id.String()+"/errors?limit=1", "")
	require.Equal(t, []any{1.0, nil}, []any{list["total"], list["next_cursor"]})

	body := e.send("POST", bulk, "application/json", `[{"phone_number": "+94771234568"}, {"phone_number": "nul\u0000"}]`)
	require.Equal(t, 202, body.Code, body.Body.String())
	imp, err := e.store.Import(t.Context(), uuid.MustParse(jsonAt(t, body, "task_id").(string)))
	require.NoError(t, err)
	require.Equal(t, []any{intake.JSON, 2, "local"}, []any{imp.Format, imp.Total, imp.CreatedBy})

	for name, refusal := range map[string]struct {
		w      *httptest.ResponseRecorder
		status int
		says   string
	}{
		"not a list":    {e.send("POST", bulk, "application/json", `{"phone_number": "+94771234568"}`), 422, "must be an array"},
		"empty list":    {e.send("POST", bulk, "application/json", `[]`), 422, "at least 1 elements"},
		"spreadsheet":   {upload(bulk, "file", "a.xlsx", "PK"), 422, "must be named .csv, .json or .jsonl"},
		"another field": {upload(bulk, "upload", "a.csv", "phone\n"), 422, "one part named file"},
		"no rows":       {upload(bulk, "file", "a.csv", "phone\n"), 422, "has no records"},
		"no header":     {upload(bulk, "file", "a.csv", "name\nA\n"), 422, "phone_number"},
		"broken JSON":   {upload(bulk, "file", "a.json", "[{}, {"), 422, "not valid JSON at record 2"},
		"too large":     {upload(bulk, "file", "a.jsonl", strings.Repeat("{}\n", 1<<19)), 413, "larger than 1 MiB"},
		"cut off":       {e.send("POST", bulk, "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\nphone"), 400, "must be complete"},
		"no boundary":   {e.send("POST", bulk, "multipart/form-data", "x"), 400, "cannot be read"},
		"text":          {e.send("POST", bulk, "text/csv", "phone"), 415, "multipart/form-data"},
	} {
		require.Equal(t, refusal.status, refusal.w.Code, "%s: %s", name, refusal.w.Body)
		require.Contains(t, refusal.w.Body.String(), refusal.says, name)
	}
	require.Equal(t, int64(2), get[int64](t, e, `SELECT count(*) FROM imports`))
}
