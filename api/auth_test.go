package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/internal/access"
)

// brokenKeys cannot look keys up.
type brokenKeys struct {
	api.Store
	fail func() error
}

func (s brokenKeys) KeyByHash(context.Context, []byte) (access.Key, error) {
	return access.Key{}, s.fail()
}

// with makes a request that carries a key.
func with(key, method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+key)
	return r
}

func TestKeys(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	key := func(name string, scopes ...string) string {
		_, secret, err := e.store.CreateKey(t.Context(), name, scopes, "operator", noon)
		require.NoError(t, err)
		return secret
	}
	read, write, admin := key("reader", "read"), key("writer", "write"), key("all", "admin")
	const user = `{"phone_number": "+94771234567"}`

	require.Equal(t, 200, e.do(with(read, "GET", "/api/v1/users", "")).Code)
	require.Equal(t, 201, e.do(with(write, "POST", "/api/v1/users", user)).Code)
	require.Equal(t, 409, e.do(with(admin, "POST", "/api/v1/users", user)).Code)

	w := e.do(with(read, "POST", "/api/v1/users", user))
	require.Equal(t, 403, w.Code)
	require.Contains(t, w.Body.String(), `scope \"write\"`)
	require.Contains(t, w.Header().Get("WWW-Authenticate"), "insufficient_scope")
	require.Equal(t, 403, e.do(with(write, "GET", "/api/v1/users", "")).Code, "write does not include read")
	require.Equal(t, 403, e.do(with(write, "POST", "/api/v1/campaigns/1/trigger", "")).Code)
	require.Equal(t, 404, e.do(with(admin, "POST", "/api/v1/campaigns/1/trigger", "")).Code)

	known, err := e.store.KeyByName(t.Context(), "reader")
	require.NoError(t, err)
	_, err = e.store.RevokeKey(t.Context(), known.ID, "operator", noon)
	require.NoError(t, err)
	for name, r := range map[string]*http.Request{
		"none":      httptest.NewRequest(http.MethodGet, "/api/v1/users", http.NoBody),
		"revoked":   with(read, "GET", "/api/v1/users", ""),
		"unknown":   with("ese_"+strings.Repeat("A", 43), "GET", "/api/v1/users", ""),
		"shortened": with(admin[:20], "GET", "/api/v1/users", ""),
		"empty":     with("", "GET", "/api/v1/users", ""),
	} {
		w := e.do(r)
		require.Equal(t, 401, w.Code, name)
		require.Contains(t, w.Header().Get("WWW-Authenticate"), "Bearer", name)
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), name)
	}
	basic := with(admin, "GET", "/api/v1/users", "")
	basic.Header.Set("Authorization", "Basic "+admin)
	require.Equal(t, 401, e.do(basic).Code)
	require.Equal(t, 200, e.do(httptest.NewRequest(http.MethodGet, "/health", http.NoBody)).Code, "health needs no key")
}

func TestKeyUseIsWrittenOnceAMinute(t *testing.T) {
	t.Parallel()
	now := noon
	e := start(t, func(d *api.Deps) { d.Now = func() time.Time { return now } })
	_, secret, err := e.store.CreateKey(t.Context(), "reader", []string{"read"}, "operator", noon)
	require.NoError(t, err)
	for _, step := range []struct {
		at, want time.Duration
	}{{0, 0}, {59 * time.Second, 0}, {time.Minute, time.Minute}, {90 * time.Second, time.Minute}} {
		now = noon.Add(step.at)
		require.Equal(t, 200, e.do(with(secret, "GET", "/api/v1/users", "")).Code)
		require.Equal(t, noon.Add(step.want), get[time.Time](t, e, `SELECT last_used_at FROM api_keys`).UTC(), step.at)
	}
}

func TestLocalSignIn(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	tests := []struct {
		name   string
		change func(r *http.Request)
		status int
	}{
		{"from here", func(*http.Request) {}, 200},
		{"over IPv6", func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:50000", "[::1]:8000" }, 200},
		{"over mapped IPv4", func(r *http.Request) { r.RemoteAddr = "[::ffff:127.0.0.1]:50000" }, 200},
		{"by name", func(r *http.Request) { r.Host = "localhost:8000" }, 200},
		{"same origin", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }, 200},
		{"another machine", func(r *http.Request) { r.RemoteAddr = "192.168.1.5:50000" }, 401},
		{"no peer", func(r *http.Request) { r.RemoteAddr = "@" }, 401},
		{"another name for this machine", func(r *http.Request) { r.Host = "rebound.example:8000" }, 401},
		{"a name that begins well", func(r *http.Request) { r.Host = "localhost.example:8000" }, 401},
		{"no host", func(r *http.Request) { r.Host = "" }, 401},
		{"through a proxy", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") }, 401},
		{"through another proxy", func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "x") }, 401},
		{"through a modern proxy", func(r *http.Request) { r.Header.Set("Forwarded", "for=127.0.0.1") }, 401},
		{"through a proxy of few words", func(r *http.Request) { r.Header.Set("Via", "1.1 x") }, 401},
		{"through a proxy that tells the peer", func(r *http.Request) { r.Header.Set("X-Real-IP", "127.0.0.1") }, 401},
		{"through a proxy of its own kind", func(r *http.Request) { r.Header.Set("X-Forwarded", "for=127.0.0.1") }, 401},
		{"a foreign page", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site"); r.Method = "POST" }, 401},
		{"a foreign page in an old browser", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example"); r.Method = "POST" }, 401},
		{"a wrong key", func(r *http.Request) { r.Header.Set("Authorization", "Bearer ese_wrong") }, 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := fromHere(httptest.NewRequest(http.MethodGet, "/api/v1/users", http.NoBody))
			tt.change(r)
			require.Equal(t, tt.status, e.do(r).Code)
		})
	}
	closed := start(t, nil)
	require.Equal(t, 401, closed.do(fromHere(httptest.NewRequest(http.MethodGet, "/api/v1/users", http.NoBody))).Code, "closed by default")
}

func TestLocalSignInNeedsALoopbackListener(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"127.0.0.1:8000": true, "localhost:8000": true, "[::1]:8000": true, ":8000": false, "0.0.0.0:8000": false, "10.0.0.1:8000": false, "": false, "ese.example:8000": false,
	} {
		if _, err := api.New(api.Deps{LocalAuth: true, ListenAddr: addr}); ok {
			require.NotContains(t, err.Error(), "loopback", addr) // it misses the rest
		} else {
			require.ErrorContains(t, err, "loopback", addr)
		}
	}
}
