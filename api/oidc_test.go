package api_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/oidc"
)

// issuer is an identity provider: it keeps the rules of the code flow with PKCE and signs its tokens with RS256.
type issuer struct {
	*httptest.Server
	key *rsa.PrivateKey

	mu      sync.Mutex
	asked   map[string]url.Values // by code, what the browser came with
	claims  map[string]any        // of whoever signs in next
	spoil   func(map[string]any)  // changes the claims before they are signed; may be nil
	signing *rsa.PrivateKey       // signs in place of key; may be nil
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	i := &issuer{key: key, asked: map[string]url.Values{}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, body any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(body)
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k1", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("client_id") != "ese" || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("state") == "" || q.Get("nonce") == "" {
			http.Error(w, "not as it should be", http.StatusBadRequest)
			return
		}
		code := access.NewToken()
		i.mu.Lock()
		i.asked[code] = q
		i.mu.Unlock()
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		i.mu.Lock()
		defer i.mu.Unlock()
		asked, known := i.asked[r.PostForm.Get("code")]
		delete(i.asked, r.PostForm.Get("code")) // it is good once
		challenge := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		id, secret, _ := r.BasicAuth()
		if !known || id != "ese" || secret != "secret" || asked.Get("redirect_uri") != r.PostForm.Get("redirect_uri") ||
			asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(challenge[:]) {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]any{"error": "invalid_grant"})
			return
		}
		claims := map[string]any{"iss": i.URL, "aud": "ese", "sub": "1", "exp": noon.Add(time.Hour).Unix(), "iat": noon.Unix(), "nonce": asked.Get("nonce")}
		for name, value := range i.claims {
			claims[name] = value
		}
		if i.spoil != nil {
			i.spoil(claims)
		}
		answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": i.sign(claims)})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) sign(claims map[string]any) string {
	part := func(v any) string {
		raw, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	text := part(map[string]any{"alg": "RS256", "kid": "k1", "typ": "JWT"}) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	key := i.key
	if i.signing != nil {
		key = i.signing
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// visit follows the browser to the provider and returns where that sends it back to.
func (i *issuer) visit(t *testing.T, address string) *url.URL {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get(address)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusFound, response.StatusCode)
	back, err := response.Location()
	require.NoError(t, err)
	return back
}

func TestIdentityProvider(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	now := func() time.Time { return noon }
	e := start(t, func(d *api.Deps) {
		d.OIDC = oidc.New(oidc.Config{Issuer: i.URL, ClientID: "ese", ClientSecret: "secret", RedirectURL: "https://ese.example/sign-in/oidc/callback", Now: now})
		d.OIDCName, d.Admission = "Example", access.Admission{Domains: []string{"example.com"}, Role: access.Editor}
	})
	invited, _, err := e.store.InviteAccount(t.Context(), "guest@elsewhere.example", access.Viewer, "operator", noon)
	require.NoError(t, err)
	require.Contains(t, e.browser().open(t, "/sign-in"), "Sign in with Example")

	begin := func(b *browser) *url.URL {
		w := b.request("GET", "/sign-in/oidc", nil)
		require.Equal(t, 303, w.Code, w.Body.String())
		return i.visit(t, w.Header().Get("Location"))
	}
	// signIn goes there and back as whoever the claims name.
	signIn := func(b *browser, claims map[string]any) *httptest.ResponseRecorder {
		i.mu.Lock()
		i.claims = claims
		i.mu.Unlock()
		return b.request("GET", begin(b).RequestURI(), nil)
	}
	b := e.browser()
	w := signIn(b, map[string]any{"email": "Kamala@Example.com", "email_verified": true, "name": "Kamala Perera"})
	require.Equal(t, 303, w.Code, w.Body.String())
	require.Contains(t, b.open(t, "/account"), "Kamala Perera")
	require.Equal(t, 200, b.request("GET", "/campaigns/new", nil).Code)
	require.Equal(t, 403, b.request("GET", "/settings/accounts", nil).Code)
	require.NotContains(t, b.cookies, "__Host-ese_oidc")
	require.Equal(t, 303, signIn(e.browser(), map[string]any{"email": "kamala@example.com", "email_verified": true}).Code, "the same account")
	require.EqualValues(t, 2, get[int64](t, e, `SELECT count(*) FROM accounts`))

	g := e.browser()
	require.Equal(t, 303, signIn(g, map[string]any{"email": "guest@elsewhere.example", "email_verified": true, "name": "Guest"}).Code)
	require.Equal(t, 403, g.request("GET", "/campaigns/new", nil).Code, "in the role that they were invited to")
	require.Zero(t, get[int64](t, e, `SELECT count(*) FROM account_links`), "the invitation is not needed any more")

	refused := func(name string, w *httptest.ResponseRecorder, says string) {
		t.Helper()
		require.Equal(t, 401, w.Code, name)
		require.Contains(t, w.Body.String(), says, name)
	}
	verified := map[string]any{"email": "kamala@example.com", "email_verified": true}
	refused("unverified", signIn(e.browser(), map[string]any{"email": "kamala@example.com", "email_verified": false}), "does not vouch")
	refused("a stranger", signIn(e.browser(), map[string]any{"email": "stranger@elsewhere.example", "email_verified": true}), "nobody invited")
	refused("no address", signIn(e.browser(), map[string]any{"email_verified": true}), "e-mail address")
	disabled := true
	_, err = e.store.ChangeAccess(t.Context(), invited.ID, nil, &disabled, "operator", noon)
	require.NoError(t, err)
	refused("disabled", signIn(e.browser(), map[string]any{"email": "guest@elsewhere.example", "email_verified": true}), "is disabled")

	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for name, spoil := range map[string]func(map[string]any){
		"another nonce":    func(c map[string]any) { c["nonce"] = "x" },
		"no nonce":         func(c map[string]any) { delete(c, "nonce") },
		"another audience": func(c map[string]any) { c["aud"] = "shop" },
		"another issuer":   func(c map[string]any) { c["iss"] = "https://evil.example" },
		"expired":          func(c map[string]any) { c["exp"] = noon.Add(-time.Hour).Unix() },
		"another key":      func(map[string]any) { i.signing = other },
	} {
		i.spoil = spoil
		refused(name, signIn(e.browser(), verified), "cannot be trusted")
		i.spoil, i.signing = nil, nil
	}

	attacker, victim := e.browser(), e.browser()
	back := begin(attacker)
	refused("an answer that another browser began", victim.request("GET", back.RequestURI(), nil), "was not begun here")
	begin(victim)
	refused("an answer to another beginning", victim.request("GET", back.RequestURI(), nil), "was not begun here")
	require.Equal(t, 303, attacker.request("GET", back.RequestURI(), nil).Code)
	again := e.browser()
	first := begin(again)
	cookie := *again.cookies["__Host-ese_oidc"]
	require.Equal(t, 303, again.request("GET", first.RequestURI(), nil).Code)
	again.cookies[cookie.Name] = &cookie
	refused("an answer twice", again.request("GET", first.RequestURI(), nil), "did not take its own code back")
	cancelled := e.browser()
	state := begin(cancelled).Query().Get("state")
	refused("a refusal", cancelled.request("GET", "/sign-in/oidc/callback?"+url.Values{"error": {"access_denied"}, "state": {state}}.Encode(), nil), "did not sign you in")

	i.Close()
	down := start(t, func(d *api.Deps) { d.OIDC = oidc.New(oidc.Config{Issuer: i.URL, ClientID: "ese", Now: now}) })
	require.Equal(t, 503, down.browser().request("GET", "/sign-in/oidc", nil).Code)
	require.Equal(t, 404, start(t, nil).browser().request("GET", "/sign-in/oidc", nil).Code, "without one")
}
