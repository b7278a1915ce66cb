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

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
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
		_, secret, err := e.store.CreateKey(t.Context(), name, []string{"write"}, "operator", noon)
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

// faulty panics where a person is made.
type faulty struct{ api.Store }

func (faulty) CreateUser(context.Context, phone.Number, user.Attributes, user.Change, string, time.Time) (user.User, error) {
	panic("out of order")
}

func TestPanicWithinARepeatablePost(t *testing.T) {
	t.Parallel()
	e := start(t, func(d *api.Deps) {
		local(d)
		d.Store = faulty{d.Store}
	})
	w := e.do(keyed("a", "/api/v1/users", "application/json", `{"phone_number": "+94771234567"}`))
	require.Equal(t, 500, w.Code)
	require.Contains(t, w.Body.String(), "an internal error")
	require.Zero(t, get[int64](t, e, `SELECT count(*) FROM idempotency_keys`))
}
