package api

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/api/ui"
	"github.com/event-stream-engine/ese/internal/access"
)

type keyStore interface {
	// KeyByHash finds the key with that SHA-256, revoked or not. fault.NotFound when there is none.
	KeyByHash(ctx context.Context, sha256 []byte) (access.Key, error)
	KeyUsed(ctx context.Context, id int64, now time.Time) error
}

type sessionStore interface {
	// SessionByToken finds the session with that token, live or not. fault.NotFound when there is none.
	SessionByToken(ctx context.Context, token string) (access.Session, error)
	SessionSeen(ctx context.Context, id uuid.UUID, now time.Time) error
}

// localPrincipal is who signs in without a key on their own machine.
var localPrincipal = access.Principal{Name: "local", Scopes: []access.Scope{access.Admin}}

// keyUseResolution bounds how often the use of a key is written down.
const keyUseResolution = time.Minute

type principalKey struct{}

// principalOf returns who makes the request; nobody's name is "".
func principalOf(ctx context.Context) access.Principal {
	p, _ := ctx.Value(principalKey{}).(access.Principal)
	return p
}

// authorize lets a request pass whose key, or whose signed-in account, has the scope, or that may sign in locally. It is the one
// place where pages and API are guarded.
func (s *server) authorize(c *gin.Context, scope access.Scope) error {
	principal, err := s.identify(c.Request)
	if err != nil {
		c.Header("WWW-Authenticate", `Bearer realm="event-stream-engine"`)
		return err
	}
	ctx := access.WithCaller(c.Request.Context(), principal.Name)
	c.Request = c.Request.WithContext(context.WithValue(ctx, principalKey{}, principal))
	if !principal.May(scope) && principal.Session != nil {
		return refuse(http.StatusForbidden, fmt.Sprintf("the role %s lacks the scope %q", principal.Session.Account.Role, scope))
	}
	if !principal.May(scope) {
		c.Header("WWW-Authenticate", fmt.Sprintf(`Bearer realm="event-stream-engine", error="insufficient_scope", scope=%q`, scope))
		return refuse(http.StatusForbidden, fmt.Sprintf("this key lacks the scope %q", scope))
	}
	return nil
}

func (s *server) identify(r *http.Request) (access.Principal, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		principal, err := s.signedIn(r)
		if err != nil || principal.Name != "" {
			return principal, err
		}
		if s.LocalAuth && localRequest(r) {
			return localPrincipal, nil
		}
		return access.Principal{}, refuse(http.StatusUnauthorized, "sign in, or send a key: Authorization: Bearer <key>")
	}
	wrong := refuse(http.StatusUnauthorized, "the key is not valid")
	kind, secret, _ := strings.Cut(header, " ")
	secret = strings.TrimSpace(secret)
	if !strings.EqualFold(kind, "Bearer") || !access.LooksLikeKey(secret) {
		return access.Principal{}, wrong
	}
	hash := access.Hash(secret)
	key, err := s.Store.KeyByHash(r.Context(), hash)
	if isNotFound(err) {
		return access.Principal{}, wrong
	} else if err != nil {
		return access.Principal{}, err
	}
	if subtle.ConstantTimeCompare(hash, key.SHA256) != 1 || key.RevokedAt != nil {
		return access.Principal{}, wrong
	}
	if now := s.Now(); key.LastUsedAt == nil || now.Sub(*key.LastUsedAt) >= keyUseResolution {
		if err := s.Store.KeyUsed(r.Context(), key.ID, now); err != nil {
			return access.Principal{}, err
		}
	}
	return access.Principal{Name: fmt.Sprintf("key:%d", key.ID), Scopes: key.Scopes}, nil
}

// signedIn returns the account that the request's cookie signs in; nobody without one. A browser sends the cookie whoever asked
// it to, so that a change must come from a page of ours.
func (s *server) signedIn(r *http.Request) (access.Principal, error) {
	token := readCookie(r, ui.SessionCookie)
	if token == "" {
		return access.Principal{}, nil
	}
	session, err := s.Store.SessionByToken(r.Context(), token)
	now := s.Now()
	switch {
	case isNotFound(err), err == nil && (session.Half || !session.Live(now)):
		return access.Principal{}, nil
	case err != nil:
		return access.Principal{}, err
	}
	if err := crossOrigin.Check(r); err != nil {
		return access.Principal{}, refuse(http.StatusForbidden, "this request comes from another site's page")
	}
	if now.Sub(session.SeenAt) >= access.SessionTouch && !ui.Watches(r) {
		if err := s.Store.SessionSeen(r.Context(), session.ID, now); err != nil {
			return access.Principal{}, err
		}
	}
	return access.Principal{Name: session.Account.Principal(), Scopes: session.Account.Role.Scopes(), Session: &session}, nil
}

// cookieName binds a cookie to this host and to TLS. Only a browser that speaks to its own machine gets along without TLS.
func cookieName(r *http.Request, name string) (full string, secure bool) {
	if r.TLS == nil && loopbackHost(r.Host) {
		return name, false
	}
	return "__Host-" + name, true
}

// setCookie gives the browser a cookie for that long; an empty value takes it away.
func setCookie(c *gin.Context, name, value string, life time.Duration) {
	full, secure := cookieName(c.Request, name)
	//nolint:gosec // G124: without Secure on this machine alone
	cookie := &http.Cookie{Name: full, Value: value, Path: "/", MaxAge: int(life.Seconds()), Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(c.Writer, cookie)
}

// readCookie returns what setCookie set; "" when it is not there.
func readCookie(r *http.Request, name string) string {
	full, _ := cookieName(r, name)
	cookie, err := r.Cookie(full)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// crossOrigin refuses what a browser sends on behalf of another site.
var crossOrigin = http.NewCrossOriginProtection()

// localRequest reports whether a request certainly comes from this machine, not through a proxy or tunnel and not
// from a foreign page in a browser here. Only then may local sign-in stand in for a key or a signature.
func localRequest(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() || !loopbackHost(r.Host) {
		return false
	}
	for name := range r.Header {
		switch {
		case name == "Forwarded", strings.HasPrefix(name, "X-Forwarded"), name == "Via", name == "X-Real-Ip":
			return false // a proxy's
		}
	}
	return crossOrigin.Check(r) == nil
}

// loopbackHost reports whether a host, with or without port, names this machine alone. Names other than localhost may
// resolve to anything.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
