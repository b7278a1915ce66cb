package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/internal/access"
)

// password is everybody's; hashing it once is enough.
const password = "seven green kettles"

// passwordHash returns the hash of password.
func passwordHash(t *testing.T) string {
	t.Helper()
	hash, err := access.HashPassword(password)
	require.NoError(t, err)
	return hash
}

// person makes an account that can sign in.
func (e *engine) person(t *testing.T, email string, role access.Role, hash string) access.Account {
	t.Helper()
	_, link, err := e.store.InviteAccount(t.Context(), email, role, "operator", noon)
	require.NoError(t, err)
	a, err := e.store.TakeLink(t.Context(), link, "", "Kamala Perera", hash, noon)
	require.NoError(t, err)
	return a
}

// session signs an account in and returns the cookie's content.
func (e *engine) session(t *testing.T, a access.Account) string {
	t.Helper()
	token, err := e.store.StartSession(t.Context(), access.Session{Account: a}, "test", noon)
	require.NoError(t, err)
	return token
}

// browser makes requests as a browser does, over TLS, and keeps its cookies.
type browser struct {
	*engine
	cookies map[string]*http.Cookie
	address string // of the network; one of its own when empty
}

func (e *engine) browser() *browser { return &browser{engine: e, cookies: map[string]*http.Cookie{}} }

func (b *browser) request(method, target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://ese.example"+target, strings.NewReader(form.Encode()))
	r.RemoteAddr = "203.0.113.7:40000"
	if b.address != "" {
		r.RemoteAddr = b.address + ":40000"
	}
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := b.do(r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c
		}
	}
	return w
}

func (b *browser) open(t *testing.T, target string) string {
	t.Helper()
	w := b.request(http.MethodGet, target, nil)
	require.Equal(t, http.StatusOK, w.Code, "%s: %s", target, w.Body.String())
	return w.Body.String()
}

// tokenField is the hidden input that makes a form count once.
const tokenField = "form_token"

var formToken = regexp.MustCompile(`name="` + tokenField + `" value="([^"]+)"`)

// fill opens a page and sends its form to target.
func (b *browser) fill(t *testing.T, page, target string, pairs ...string) *httptest.ResponseRecorder {
	t.Helper()
	values := url.Values{tokenField: {formToken.FindStringSubmatch(b.open(t, page))[1]}}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return b.request(http.MethodPost, target, values)
}

func (b *browser) signIn(t *testing.T, email, password string) *httptest.ResponseRecorder {
	t.Helper()
	return b.fill(t, "/sign-in", "/sign-in", "email", email, "password", password)
}

// actions lists the audit log, oldest first, as "principal action subject".
func (e *engine) actions(t *testing.T) []string {
	t.Helper()
	events, err := e.store.AuditEvents(t.Context(), access.EventFilter{}, nil, 1000)
	require.NoError(t, err)
	slices.Reverse(events)
	texts := make([]string, len(events))
	for i, ev := range events {
		texts[i] = strings.TrimSpace(fmt.Sprintf("%s %s %s", ev.Principal, ev.Action, ev.Subject))
	}
	return texts
}

func TestFirstAccountAndInvitations(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	token, needed, err := e.store.SetupLink(t.Context(), noon)
	require.NoError(t, err)
	require.True(t, needed)
	other, _, err := e.store.SetupLink(t.Context(), noon) // of another process
	require.NoError(t, err)

	b := e.browser()
	w := b.fill(t, "/link/"+token, "/link/"+token, "email", "nobody", "name", " ", "password", "short", "password_again", "shorter")
	require.Equal(t, 422, w.Code)
	for _, problem := range []string{"must be an e-mail address", "must have 1 to 100 characters", "must have at least 12 characters", "must be the same as above"} {
		require.Contains(t, w.Body.String(), problem)
	}
	require.NotContains(t, w.Body.String(), `value="short"`, "a password is never in a page")
	w = b.fill(t, "/link/"+token, "/link/"+token, "email", "Root@Example.com", "name", "Root", "password", password, "password_again", password)
	require.Equal(t, 303, w.Code, w.Body.String())
	cookie := b.cookies["__Host-ese_session"]
	require.NotNil(t, cookie)
	require.True(t, cookie.Secure && cookie.HttpOnly && cookie.SameSite == http.SameSiteLaxMode && cookie.Path == "/" && cookie.Domain == "", cookie)
	require.Contains(t, b.open(t, "/"), "root@example.com")
	require.NotContains(t, get[string](t, e, `SELECT string_agg(s::text, '') || (SELECT string_agg(a::text, '') FROM accounts a) FROM sessions s`), cookie.Value)

	for _, used := range []string{token, other} {
		require.Equal(t, 404, e.browser().request("GET", "/link/"+used, nil).Code, "there is an account: nobody becomes the first again")
	}
	_, needed, err = e.store.SetupLink(t.Context(), noon)
	require.NoError(t, err)
	require.False(t, needed)

	// The admin invites somebody, once however often the form is sent.
	page := b.open(t, "/settings/accounts")
	form := url.Values{tokenField: {formToken.FindStringSubmatch(page)[1]}, "email": {"kamala@example.com"}, "role": {"editor"}}
	w = b.request("POST", "/settings/accounts", form)
	require.Equal(t, 200, w.Code, w.Body.String())
	link := regexp.MustCompile(`/link/[A-Za-z0-9_-]{43}`).FindString(w.Body.String())
	require.NotEmpty(t, link)
	require.Equal(t, 303, b.request("POST", "/settings/accounts", form).Code)
	require.EqualValues(t, 2, get[int64](t, e, `SELECT count(*) FROM accounts`))
	require.NotContains(t, get[string](t, e, `SELECT string_agg(encode(response_body, 'escape'), '') FROM idempotency_keys`), "/link/", "no secret is kept")
	require.NotContains(t, get[string](t, e, `SELECT string_agg(l::text, '') FROM account_links l`), strings.TrimPrefix(link, "/link/"))
	require.Contains(t, b.fill(t, "/settings/accounts", "/settings/accounts", "email", "kamala@example.com", "role", "viewer").Body.String(), "has an account")

	k := e.browser()
	require.Equal(t, 303, k.fill(t, link, link, "name", "Kamala", "password", password, "password_again", password).Code)
	require.Equal(t, 404, e.browser().request("GET", link, nil).Code, "it works once")
	require.Equal(t, 200, k.request("GET", "/campaigns/new", nil).Code)
	require.Equal(t, 403, k.request("GET", "/settings/accounts", nil).Code)

	// A reset ends every session and takes another password.
	w = b.fill(t, "/settings/accounts/2", "/settings/accounts/2/reset")
	reset := regexp.MustCompile(`/link/[A-Za-z0-9_-]{43}`).FindString(w.Body.String())
	require.NotEmpty(t, reset)
	require.Equal(t, 200, k.request("GET", "/", nil).Code, "until the link is used")
	require.Equal(t, 303, e.browser().fill(t, reset, reset, "password", password+"!", "password_again", password+"!").Code)
	require.Equal(t, 401, k.request("GET", "/", nil).Code)
	require.Equal(t, 401, k.signIn(t, "kamala@example.com", password).Code)
	require.Equal(t, 303, k.signIn(t, "kamala@example.com", password+"!").Code)

	// A change of the role, and disabling, sign out.
	require.Equal(t, 303, b.fill(t, "/settings/accounts/2", "/settings/accounts/2", "role", "viewer").Code)
	require.Equal(t, 401, k.request("GET", "/", nil).Code)
	k.signIn(t, "kamala@example.com", password+"!")
	require.Equal(t, 403, k.request("GET", "/campaigns/new", nil).Code)
	require.Equal(t, 303, b.fill(t, "/settings/accounts/2", "/settings/accounts/2", "disabled", "true").Code)
	require.Equal(t, 401, k.request("GET", "/", nil).Code)
	require.Equal(t, 401, k.signIn(t, "kamala@example.com", password+"!").Code)
	w = b.fill(t, "/settings/accounts/1", "/settings/accounts/1", "role", "viewer")
	require.Equal(t, 409, w.Code)
	require.Contains(t, w.Body.String(), "last admin")
	require.Equal(t, 200, b.request("GET", "/settings/accounts", nil).Code, "what was refused signs nobody out")

	require.Equal(t, []string{
		"account:1 account.setup account/1", "account:1 session.start account/1", "account:1 account.invite account/2", "account:2 account.join account/2",
		"account:2 session.start account/2", "account:1 account.reset account/2", "account:2 account.password account/2", "account:2 session.start account/2",
		"session.refuse account/2", "account:2 session.start account/2", "account:1 account.change account/2", "account:2 session.start account/2",
		"account:1 account.change account/2", "session.refuse account/2",
	}, e.actions(t))
	log := get[string](t, e, `SELECT string_agg(e::text, ' ') FROM audit_events e`)
	for _, private := range []string{"kamala", "Kamala", "root@", password} {
		require.NotContains(t, log, private)
	}
	require.Contains(t, log, "203.0.113.7")
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	now := noon
	e := start(t, func(d *api.Deps) { d.Now = func() time.Time { return now } })
	a := e.person(t, "kamala@example.com", access.Viewer, passwordHash(t))
	b := e.browser()

	w := b.request("GET", "/campaigns?status=RUNNING", nil)
	require.Equal(t, 401, w.Code)
	require.Contains(t, w.Body.String(), `value="/campaigns?status=RUNNING"`, "where to go then")

	wrong, unknown := b.signIn(t, "kamala@example.com", "not it"), b.signIn(t, "stranger@example.com", "not it")
	require.Equal(t, 401, wrong.Code)
	plain := func(w *httptest.ResponseRecorder) string {
		text := formToken.ReplaceAllString(w.Body.String(), "")
		return strings.NewReplacer("kamala", "x", "stranger", "x").Replace(text)
	}
	require.Equal(t, plain(wrong), plain(unknown), "nobody learns who has an account")
	require.NotContains(t, wrong.Body.String(), "not it")

	for given, want := range map[string]string{
		"/campaigns?status=RUNNING": "/campaigns?status=RUNNING", "": "/", "//evil.example": "/", "https://evil.example/": "/", `/\evil.example`: "/", "javascript:alert(1)": "/",
	} {
		w := e.browser().fill(t, "/sign-in", "/sign-in", "email", " KAMALA@example.com ", "password", password, "next", given)
		require.Equal(t, 303, w.Code)
		require.Equal(t, want, w.Header().Get("Location"), given)
	}

	require.Equal(t, 303, b.signIn(t, "kamala@example.com", password).Code)
	first := b.cookies["__Host-ese_session"].Value
	require.Equal(t, 303, b.signIn(t, "kamala@example.com", password).Code)
	second := b.cookies["__Host-ese_session"].Value
	require.NotEqual(t, first, second, "each sign-in has a session of its own")
	b.cookies["__Host-ese_session"].Value = first
	require.Equal(t, 401, b.request("GET", "/", nil).Code, "and the one before in this browser is over")
	b.cookies["__Host-ese_session"].Value = second
	require.Equal(t, 200, b.request("GET", "/api/v1/users", nil).Code, "the API takes the cookie")
	plainName := *b.cookies["__Host-ese_session"]
	plainName.Name = "ese_session"
	tossed := &browser{engine: e, cookies: map[string]*http.Cookie{plainName.Name: &plainName}}
	require.Equal(t, 401, tossed.request("GET", "/", nil).Code, "a neighbouring host could have set this name")

	// Idle and absolute expiry.
	for range 13 {
		now = now.Add(11 * time.Hour)
		require.Equal(t, 200, b.request("GET", "/", nil).Code, "in use it lasts")
	}
	idle := e.browser()
	idle.signIn(t, "kamala@example.com", password)
	now = now.Add(access.SessionIdle - time.Minute)
	require.Equal(t, 200, idle.request("GET", "/account?live=yes", nil).Code)
	now = now.Add(time.Minute) // a page that is left open is no use
	require.Equal(t, 401, idle.request("GET", "/", nil).Code, "unused it ends")
	now = noon.Add(access.SessionLife)
	require.Equal(t, 401, b.request("GET", "/", nil).Code, "in use it ends as well, later")

	// Signing out, here and everywhere.
	c, d := e.browser(), e.browser()
	for _, one := range []*browser{c, d} {
		require.Equal(t, 303, one.signIn(t, "kamala@example.com", password).Code)
	}
	kept := *c.cookies["__Host-ese_session"]
	require.Equal(t, 303, c.request("POST", "/sign-out", nil).Code)
	require.Empty(t, c.cookies)
	c.cookies[kept.Name] = &kept
	require.Equal(t, 401, c.request("GET", "/", nil).Code, "the server forgot it as well")
	c.signIn(t, "kamala@example.com", password)
	require.Equal(t, 303, d.request("POST", "/account/sessions/end", nil).Code)
	require.Equal(t, 401, c.request("GET", "/", nil).Code)
	require.Empty(t, d.cookies)

	c.signIn(t, "kamala@example.com", password)
	d.signIn(t, "kamala@example.com", password)
	sessions, err := e.store.Sessions(t.Context(), a.ID, now)
	require.NoError(t, err)
	require.Len(t, sessions, 2)
	for _, s := range sessions {
		require.Equal(t, 303, d.request("POST", "/account/sessions/"+s.ID.String()+"/end", nil).Code)
		if d.request("GET", "/", nil).Code == 401 {
			d.signIn(t, "kamala@example.com", password)
		}
	}
	require.Equal(t, 401, c.request("GET", "/", nil).Code)
}

func TestSignInIsBounded(t *testing.T) {
	t.Parallel()
	now := noon
	e := start(t, func(d *api.Deps) { d.Now = func() time.Time { return now } })
	e.person(t, "kamala@example.com", access.Viewer, passwordHash(t))
	try := func(address, email, password string) *httptest.ResponseRecorder {
		b := e.browser()
		b.address = address
		return b.signIn(t, email, password)
	}
	for i := range 10 {
		require.Equal(t, 401, try(fmt.Sprintf("198.51.100.%d", i), "kamala@example.com", "guess").Code)
		require.Equal(t, 401, try(fmt.Sprintf("198.51.100.%d", i), "stranger@example.com", "guess").Code)
	}
	for _, email := range []string{"kamala@example.com", "stranger@example.com"} {
		w := try("192.0.2.1", email, password)
		require.Equal(t, 429, w.Code, "the right password as well, and without an account alike")
		require.Equal(t, "901", w.Header().Get("Retry-After"))
	}
	now = now.Add(access.LimitWindow)
	require.Equal(t, 303, try("192.0.2.1", "kamala@example.com", password).Code)
	for range 9 {
		require.Equal(t, 401, try("192.0.2.1", "kamala@example.com", "guess").Code)
	}
	require.Equal(t, 303, try("192.0.2.1", "kamala@example.com", password).Code, "what succeeds forgets what failed")

	e.exec(t, `INSERT INTO sign_in_tries (subject, tries, since) VALUES ('address:192.0.2.9', 100, $1)`, now)
	require.Equal(t, 429, try("192.0.2.9", "other@example.com", "guess").Code, "whoever is asked for")
	require.Equal(t, 303, try("192.0.2.1", "kamala@example.com", password).Code)
	require.NotContains(t, get[string](t, e, `SELECT string_agg(subject, ' ') FROM sign_in_tries`), "@")
}

func TestTheCallersAddressIsThatOfATrustedProxysCaller(t *testing.T) {
	t.Parallel()
	for proxies, want := range map[string]string{"": "203.0.113.7", "203.0.113.0/24": "198.51.100.4"} {
		e := start(t, func(d *api.Deps) {
			if proxies != "" {
				d.TrustedProxies = []string{proxies}
			}
		})
		_, secret, err := e.store.CreateKey(t.Context(), "x", []string{"admin"}, "operator", noon)
		require.NoError(t, err)
		r := with(secret, "POST", "/api/v1/keys", `{"name": "y", "scopes": ["read"]}`)
		r.RemoteAddr = "203.0.113.7:1234"
		r.Header.Set("X-Forwarded-For", "198.51.100.4")
		require.Equal(t, 201, e.do(r).Code)
		require.Equal(t, want, get[string](t, e, `SELECT address FROM audit_events ORDER BY id DESC LIMIT 1`))
	}
}

// TestAnotherSitesPageChangesNothing: a browser sends the cookie along with whatever a page asks of it.
func TestAnotherSitesPageChangesNothing(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	a := e.person(t, "root@example.com", access.Administrator, passwordHash(t))
	cookie := &http.Cookie{Name: "__Host-ese_session", Value: e.session(t, a)}
	for _, target := range []string{"/users", "/api/v1/users", "/sign-out", "/sign-in", "/account/sessions/end", "/settings/keys", "/api/v1/keys"} {
		for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
			r := httptest.NewRequest(http.MethodPost, "https://ese.example"+target, strings.NewReader(`{}`))
			r.Header.Set(header, value)
			r.Header.Set("Content-Type", "application/json")
			r.AddCookie(cookie)
			w := e.do(r)
			require.Equal(t, 403, w.Code, target)
			require.Contains(t, w.Body.String(), "another site", target)
		}
	}
	require.Equal(t, 200, (&browser{engine: e, cookies: map[string]*http.Cookie{cookie.Name: cookie}}).request("GET", "/", nil).Code, "nobody was signed out")
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	now := noon
	e := start(t, func(d *api.Deps) { d.Now = func() time.Time { return now } })
	e.person(t, "kamala@example.com", access.Editor, passwordHash(t))
	b, elsewhere := e.browser(), e.browser()
	b.signIn(t, "kamala@example.com", password)
	elsewhere.signIn(t, "kamala@example.com", password)

	page := b.open(t, "/account/second-factor")
	require.Contains(t, page, `src="data:image/png;base64,`)
	secret := regexp.MustCompile(`name="secret" value="([A-Z2-7]+)"`).FindStringSubmatch(page)[1]
	set := func(code, password string) *httptest.ResponseRecorder {
		return b.request("POST", "/account/second-factor", url.Values{
			tokenField: {uuid.NewString()}, "secret": {secret}, "code": {code}, "present_password": {password},
		})
	}
	require.Contains(t, set(codeAt(t, secret, now), "wrong").Body.String(), "is not your password")
	require.Contains(t, set("000000", password).Body.String(), "compare the clocks")
	before := b.cookies["__Host-ese_session"].Value
	w := set(codeAt(t, secret, now), password)
	require.Equal(t, 200, w.Code, w.Body.String())
	recovery := regexp.MustCompile(`<code>([a-z2-7-]{19})</code>`).FindAllStringSubmatch(w.Body.String(), -1)
	require.Len(t, recovery, 10)
	require.NotEqual(t, before, b.cookies["__Host-ese_session"].Value, "what it takes to sign in has changed")
	require.Equal(t, 401, elsewhere.request("GET", "/", nil).Code)

	code := func(b *browser, code string) *httptest.ResponseRecorder {
		return b.fill(t, "/sign-in/code", "/sign-in/code", "code", code, "next", "/users")
	}
	c := e.browser()
	w = c.signIn(t, "kamala@example.com", password)
	require.Equal(t, "/sign-in/code?next=%2F", w.Header().Get("Location"))
	half := *c.cookies["__Host-ese_session"]
	for _, target := range []string{"/", "/account", "/api/v1/users"} {
		require.Equal(t, 401, c.request("GET", target, nil).Code, "half signed in is not signed in")
	}
	require.Equal(t, 401, code(c, codeAt(t, secret, now)).Code, "the code that set it up was used")
	now = now.Add(30 * time.Second)
	w = code(c, " "+codeAt(t, secret, now))
	require.Equal(t, 303, w.Code)
	require.Equal(t, "/users", w.Header().Get("Location"))
	require.NotEqual(t, half.Value, c.cookies["__Host-ese_session"].Value)
	require.Equal(t, 200, c.request("GET", "/users", nil).Code)

	d := e.browser()
	d.signIn(t, "kamala@example.com", password)
	require.Equal(t, 401, code(d, codeAt(t, secret, now)).Code, "a code counts once")
	require.Equal(t, 401, code(d, "aaaa-aaaa-aaaa-aaaa").Code)
	require.Equal(t, 303, code(d, strings.ToUpper(recovery[0][1])).Code)
	f := e.browser()
	f.signIn(t, "kamala@example.com", password)
	require.Equal(t, 401, code(f, recovery[0][1]).Code, "a recovery code as well")
	now = now.Add(access.SecondFactorDue)
	w = f.request("GET", "/sign-in/code", nil)
	require.Equal(t, "/sign-in", w.Header().Get("Location"), "the code may not take long")

	require.Contains(t, d.open(t, "/account"), "9 recovery codes are left")
	require.Contains(t, d.fill(t, "/account", "/account/second-factor/remove", "password_now", "wrong").Body.String(), "is not your password")
	require.Equal(t, 303, d.fill(t, "/account", "/account/second-factor/remove", "password_now", password).Code)
	w = e.browser().signIn(t, "kamala@example.com", password)
	require.Equal(t, "/", w.Header().Get("Location"))
}

// codeAt is what an authenticator shows then.
func codeAt(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	code, err := access.CodeAt(secret, at)
	require.NoError(t, err)
	return code
}

func TestOwnPassword(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	e.person(t, "kamala@example.com", access.Viewer, passwordHash(t))
	b, elsewhere := e.browser(), e.browser()
	b.signIn(t, "kamala@example.com", password)
	elsewhere.signIn(t, "kamala@example.com", password)
	change := func(present, password, again string) *httptest.ResponseRecorder {
		return b.fill(t, "/account", "/account/password", "present_password", present, "password", password, "password_again", again)
	}
	require.Contains(t, change("wrong", "a whole new one", "a whole new one").Body.String(), "is not your password")
	require.Contains(t, change(password, "short", "short").Body.String(), "at least 12 characters")
	require.Contains(t, change(password, "a whole new one", "another").Body.String(), "the same as above")
	require.Equal(t, 303, change(password, "a whole new one", "a whole new one").Code)
	require.Equal(t, 200, b.request("GET", "/account", nil).Code)
	require.Equal(t, 401, elsewhere.request("GET", "/account", nil).Code)
	require.Equal(t, 401, elsewhere.signIn(t, "kamala@example.com", password).Code)
	require.Equal(t, 303, elsewhere.signIn(t, "kamala@example.com", "a whole new one").Code)
}

func TestKeysOnThePages(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	w := e.call(t, 201, "POST", "/api/v1/keys", `{"name": "shop", "scopes": ["read", "send"]}`)
	require.Equal(t, 200, e.do(with(w["secret"].(string), "GET", "/api/v1/users", "")).Code)
	require.Equal(t, "local", w["key"].(map[string]any)["created_by"])
	e.call(t, 409, "POST", "/api/v1/keys", `{"name": "shop", "scopes": ["read"]}`)
	e.call(t, 422, "POST", "/api/v1/keys", `{"name": "x", "scopes": []}`)
	refused := e.do(keyed("k", "/api/v1/keys", "application/json", `{"name": "y", "scopes": ["read"]}`))
	require.Equal(t, 400, refused.Code, "a secret must not be kept")
	require.Contains(t, refused.Body.String(), "Idempotency-Key")

	list := e.call(t, 200, "GET", "/api/v1/keys", "")
	require.EqualValues(t, 1, list["total"])
	require.NotContains(t, fmt.Sprint(list), w["secret"])
	require.NotNil(t, list["keys"].([]any)[0].(map[string]any)["last_used_at"])

	here := func(method, target string, form url.Values) *httptest.ResponseRecorder {
		return e.send(method, target, "application/x-www-form-urlencoded", form.Encode())
	}
	form := url.Values{tokenField: {uuid.NewString()}, "name": {"crm"}, "scopes": {"write"}}
	page := here("POST", "/settings/keys", form)
	secret := regexp.MustCompile(`ese_[A-Za-z0-9_-]{43}`).FindString(page.Body.String())
	require.Equal(t, 403, e.do(with(secret, "GET", "/api/v1/users", "")).Code, "write does not include read")
	require.Equal(t, 303, here("POST", "/settings/keys", form).Code, "the same form makes no second key")
	require.NotContains(t, here("GET", "/settings/keys", nil).Body.String(), secret)
	require.Contains(t, here("POST", "/settings/keys", url.Values{tokenField: {uuid.NewString()}, "name": {"x"}}).Body.String(), "must name one of read, write, send, admin at least")
	require.Contains(t, here("GET", "/settings/keys/3/revoke", nil).Body.String(), "cannot be made valid again")
	require.Equal(t, 303, here("POST", "/settings/keys/3/revoke", url.Values{tokenField: {uuid.NewString()}}).Code)
	require.Equal(t, 401, e.do(with(secret, "GET", "/api/v1/users", "")).Code)
	e.call(t, 204, "DELETE", "/api/v1/keys/1", "")
	e.call(t, 404, "DELETE", "/api/v1/keys/1", "")
	require.Equal(t, []string{
		"local key.create key/1", "local key.create key/3", "local key.revoke key/3", "local key.revoke key/1",
	}, e.actions(t))
}

func TestAccountsAPI(t *testing.T) {
	t.Parallel()
	e := start(t, func(d *api.Deps) {
		local(d)
		d.PagesURL = "https://pages.example"
	})
	e.person(t, "root@example.com", access.Administrator, passwordHash(t))
	made := e.call(t, 201, "POST", "/api/v1/accounts", `{"email": "Kamala@example.com", "role": "operator"}`)
	require.True(t, strings.HasPrefix(made["url"].(string), "https://pages.example/link/"))
	require.Equal(t, "invitation", made["kind"])
	require.Nil(t, made["account"].(map[string]any)["name"])
	e.call(t, 409, "POST", "/api/v1/accounts", `{"email": "kamala@example.com", "role": "viewer"}`)
	require.Equal(t, []string{"email"}, fields(e.call(t, 422, "POST", "/api/v1/accounts", `{"email": "kamala", "role": "viewer"}`)))
	require.Equal(t, []string{"role"}, fields(e.call(t, 422, "POST", "/api/v1/accounts", `{"email": "a@b.example", "role": "owner"}`)))

	require.Equal(t, "invitation", e.call(t, 201, "POST", "/api/v1/accounts/2/reset", "")["kind"], "it has no password yet")
	require.Equal(t, "reset", e.call(t, 201, "POST", "/api/v1/accounts/1/reset", "")["kind"])
	require.Equal(t, "editor", e.call(t, 200, "PATCH", "/api/v1/accounts/2", `{"role": "editor"}`)["role"])
	require.Equal(t, true, e.call(t, 200, "PATCH", "/api/v1/accounts/2", `{"disabled": true}`)["disabled"])
	e.call(t, 409, "POST", "/api/v1/accounts/2/reset", "")
	e.call(t, 409, "PATCH", "/api/v1/accounts/1", `{"disabled": true}`)
	e.call(t, 422, "PATCH", "/api/v1/accounts/1", `{"role": null}`)
	e.call(t, 422, "PATCH", "/api/v1/accounts/1", `{}`)
	e.call(t, 409, "DELETE", "/api/v1/accounts/1/second-factor", "")
	e.call(t, 404, "GET", "/api/v1/accounts/9", "")
	require.Len(t, e.call(t, 200, "GET", "/api/v1/accounts", "")["accounts"], 2)

	log := e.call(t, 200, "GET", "/api/v1/audit?subject=account/2&action=account.change", "")
	require.EqualValues(t, 2, log["total"])
	newest := log["events"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]any{"disabled": true, "was": map[string]any{"disabled": false}}, newest["detail"])
	require.Equal(t, "local", newest["principal"])
	require.Equal(t, "127.0.0.1", newest["address"])
	page := e.call(t, 200, "GET", "/api/v1/audit?limit=2", "")
	rest := e.call(t, 200, "GET", "/api/v1/audit?limit=200&cursor="+page["next_cursor"].(string), "")
	require.EqualValues(t, page["total"], 2+len(rest["events"].([]any)))
	require.EqualValues(t, 0, e.call(t, 200, "GET", "/api/v1/audit?until=2026-03-02T12:00:00Z", "")["total"])
	require.EqualValues(t, page["total"], e.call(t, 200, "GET", "/api/v1/audit?since=2026-03-02T12:00:00Z", "")["total"])

	html := e.send("GET", "/settings/audit?principal=local&since=2026-03-02&until=2026-03-02", "", "").Body.String()
	require.Contains(t, html, "account/2")
	require.Contains(t, html, "<del")
	require.Contains(t, e.send("GET", "/settings/audit?since=2026-03-03", "", "").Body.String(), "Nothing fits this filter")
	require.Equal(t, 422, e.send("GET", "/settings/audit?since=soon", "", "").Code)
}

// public are the addresses that let everybody in.
var public = []string{
	"GET /ui/static/*file", "GET /openapi.yaml", "GET /docs", "GET /health", "GET /api/v1/health", "GET /health/ready",
	"POST /webhooks/inbound", "POST /webhooks/status", // signed by the provider
	"GET /sign-in", "POST /sign-in", "GET /sign-in/code", "POST /sign-in/code", "GET /sign-in/oidc", "GET /sign-in/oidc/callback", "POST /sign-out",
	"GET /link/:token", "POST /link/:token", // the token is the key
}

// own are the pages on which everybody changes what is theirs.
var own = regexp.MustCompile(`^/account(/|$)`)

// sends are the pages, asking or doing, for those who may send.
var sends = regexp.MustCompile(`^/campaign/:id/(trigger|test|pause|resume|cancel|complete|retry|approve|rate|quiet-hours)$|^/unknown/:id$|^POST /(phone$|templates/:id/test$|settings/(senders|account)(/|$))`)

// rules are the pages for those who may write although they only look.
var writes = regexp.MustCompile(`/(new|edit|delete|erase|lift|number)$`)

// reads are what is asked with a POST, for it is long, and changes nothing.
var reads = regexp.MustCompile(`^/(segments|templates)/preview$`)

// scopeOf says what a route needs, by the document or by what its address promises.
func scopeOf(document *openapi3.T, method, path string) access.Scope {
	if item := document.Paths.Find(regexp.MustCompile(`:(\w+)`).ReplaceAllString(path, "{$1}")); item != nil {
		if op := item.GetOperation(method); op != nil {
			scope, _ := op.Extensions["x-scope"].(string)
			return access.Scope(scope)
		}
	}
	switch {
	case own.MatchString(path), reads.MatchString(path):
		return access.Read
	case strings.HasPrefix(path, "/settings/accounts"), strings.HasPrefix(path, "/settings/keys"), strings.HasPrefix(path, "/settings/audit"):
		return access.Admin
	case sends.MatchString(path), sends.MatchString(method + " " + path):
		return access.Send
	case method != http.MethodGet, writes.MatchString(path):
		return access.Write
	default:
		return access.Read
	}
}

// TestEveryRouteAsksWhoIsThere walks every page and every operation, for every role and for nobody.
func TestEveryRouteAsksWhoIsThere(t *testing.T) {
	t.Parallel()
	var deps api.Deps
	e := start(t, func(d *api.Deps) { deps = *d })
	routes, err := api.Routes(deps)
	require.NoError(t, err)
	document, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	require.NoError(t, err)
	people := e.cast(t)

	call := func(route, person, cookie string) int {
		method, path, _ := strings.Cut(route, " ")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // pages that stay open are open by then
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, method, "https://ese.example"+fillPath(path), http.NoBody)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if cookie != "" {
			r.AddCookie(&http.Cookie{Name: "__Host-ese_session", Value: cookie})
		}
		w := e.do(r)
		require.Less(t, w.Code, 500, "%s for %s: %s", route, person, w.Body.String())
		return w.Code
	}
	walked := 0
	for _, route := range routes {
		name := route.Method + " " + route.Path
		open := slices.Contains(public, name)
		half := people["editor"]
		token, err := e.store.StartSession(t.Context(), access.Session{Account: half, Half: true}, "test", noon)
		require.NoError(t, err)
		for person, cookie := range map[string]string{"nobody": "", "somebody with a made-up cookie": access.NewToken(), "somebody who owes the code": token} {
			require.Equal(t, !open, call(name, person, cookie) == 401, "%s for %s", name, person)
		}
		if open {
			continue
		}
		walked++
		scope := scopeOf(document, route.Method, route.Path)
		for _, role := range access.Roles() {
			account := people[string(role)]
			may := access.Principal{Scopes: role.Scopes()}.May(scope)
			status := call(name, string(role), e.session(t, account))
			require.NotEqual(t, 401, status, "%s for %s", name, role)
			require.Equal(t, !may, status == 403, "%s for the role %s, which needs the scope %s: %d", name, role, scope, status)
		}
	}
	require.Greater(t, walked, 100)
}

// cast makes an account for every role, by its name.
func (e *engine) cast(t *testing.T) map[string]access.Account {
	t.Helper()
	hash, people := passwordHash(t), map[string]access.Account{}
	for _, role := range access.Roles() {
		people[string(role)] = e.person(t, string(role)+"@example.com", role, hash)
	}
	return people
}

// fillPath puts values that name nothing into a route.
func fillPath(route string) string {
	return regexp.MustCompile(`[:*]\w+`).ReplaceAllStringFunc(route, func(name string) string {
		switch {
		case strings.Contains(name, "phone"):
			return "%2B94771234567"
		case strings.HasSuffix(name, "id") && name != ":id" && name != ":topic_id", strings.Contains(name, "session"):
			return "01938c5e-7a3b-7c52-b9f0-0f5f7c1f7f55"
		default:
			return "999"
		}
	})
}

var (
	postForm = regexp.MustCompile(`<form[^>]*method="post"[^>]*>`)
	action   = regexp.MustCompile(`action="([^"]*)"`)
	link     = regexp.MustCompile(`href="(/[^"#?]*)[^"]*"`)
)

// TestPagesOfferWhatTheirVisitorMayDo: every form and every link on every page leads to something that the role may do.
func TestPagesOfferWhatTheirVisitorMayDo(t *testing.T) {
	t.Parallel()
	var deps api.Deps
	e := start(t, func(d *api.Deps) { deps = *d })
	id := e.campaign(t)
	e.accepted(t, e.run(t, id), 1, "SM1")
	e.campaign(t) // a draft
	routes, err := api.Routes(deps)
	require.NoError(t, err)
	people := e.cast(t)
	for _, role := range access.Roles() {
		t.Run(string(role), func(t *testing.T) {
			t.Parallel()
			account := people[string(role)]
			ask := func(method, target string) *httptest.ResponseRecorder {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				r := httptest.NewRequestWithContext(ctx, method, "https://ese.example"+target, http.NoBody)
				r.AddCookie(&http.Cookie{Name: "__Host-ese_session", Value: e.session(t, account)})
				return e.do(r)
			}
			seen := map[string]bool{}
			check := func(page, method, target string) {
				if seen[method+target] {
					return
				}
				seen[method+target] = true
				require.NotEqual(t, 403, ask(method, target).Code, "%s offers the role %s %s %s", page, role, method, target)
			}
			pages := 0
			for _, route := range routes {
				if route.Method != http.MethodGet || strings.HasPrefix(route.Path, "/api/") || slices.Contains(public, "GET "+route.Path) {
					continue
				}
				page := strings.ReplaceAll(route.Path, ":id", "1")
				w := ask(http.MethodGet, page)
				if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
					continue
				}
				pages++
				for _, form := range postForm.FindAllString(w.Body.String(), -1) {
					target := page
					if to := action.FindStringSubmatch(form); to != nil {
						target = to[1]
					}
					if target != "/account/sessions/end" && target != "/sign-out" {
						check(page, http.MethodPost, target)
					}
				}
				for _, to := range link.FindAllStringSubmatch(w.Body.String(), -1) {
					check(page, http.MethodGet, to[1])
				}
			}
			require.Greater(t, pages, 5)
		})
	}
}

// TestRolesAreKeptFromWhatIsNotTheirs names, for every role, something that it may not do, on a page and in the API.
func TestRolesAreKeptFromWhatIsNotTheirs(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	people := e.cast(t)
	id := e.campaign(t)
	tests := map[access.Role][][2]string{
		access.Viewer: {{"POST", "/users"}, {"POST", "/api/v1/users"}, {"GET", "/campaigns/new"}, {"DELETE", "/api/v1/segments/1"}, {"POST", fmt.Sprintf("/campaign/%d/trigger", id)}},
		access.Editor: {{"POST", fmt.Sprintf("/campaign/%d/trigger", id)}, {"POST", fmt.Sprintf("/api/v1/campaigns/%d/trigger", id)}, {"POST", fmt.Sprintf("/campaign/%d/pause", id)}, {"PATCH", "/api/v1/senders/1"}},
		access.Operator: {{"GET", "/settings/accounts"}, {"POST", "/settings/accounts"}, {"POST", "/api/v1/accounts"}, {"GET", "/settings/keys"}, {"POST", "/api/v1/keys"},
			{"GET", "/settings/audit"}, {"GET", "/api/v1/audit"}},
	}
	for role, refused := range tests {
		for _, what := range refused {
			r := httptest.NewRequest(what[0], "https://ese.example"+what[1], http.NoBody)
			r.AddCookie(&http.Cookie{Name: "__Host-ese_session", Value: e.session(t, people[string(role)])})
			w := e.do(r)
			require.Equal(t, 403, w.Code, "%s: %v", role, what)
			require.Contains(t, w.Body.String(), "the role "+string(role)+" lacks the scope", "%v", what)
			if strings.HasPrefix(what[1], "/api/") {
				var problem map[string]any
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &problem))
				require.EqualValues(t, 403, problem["status"])
			}
		}
	}
	require.Equal(t, "DRAFT", get[string](t, e, `SELECT status FROM campaigns WHERE id = $1`, id))
}

// TestPlannersDoNotSteer: whoever may plan and not send changes a draft, and nothing that is under way.
func TestPlannersDoNotSteer(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	people := e.cast(t)
	id := e.campaign(t)
	patch := func(role access.Role) int {
		r := httptest.NewRequest(http.MethodPatch, fmt.Sprintf("https://ese.example/api/v1/campaigns/%d", id), strings.NewReader(`{"rate_limit_per_second": 3}`))
		r.Header.Set("Content-Type", "application/merge-patch+json")
		r.AddCookie(&http.Cookie{Name: "__Host-ese_session", Value: e.session(t, people[string(role)])})
		return e.do(r).Code
	}
	require.Equal(t, 200, patch(access.Editor))
	e.run(t, id)
	require.Equal(t, 403, patch(access.Editor))
	require.Equal(t, 200, patch(access.Operator))
}
