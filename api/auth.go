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

	"github.com/event-stream-engine/ese/internal/access"
)

type keyStore interface {
	// KeyByHash finds the key with that SHA-256, revoked or not. fault.NotFound when there is none.
	KeyByHash(ctx context.Context, sha256 []byte) (access.Key, error)
	KeyUsed(ctx context.Context, id int64, now time.Time) error
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

// authorize lets a request pass that carries a key with the scope, or may sign in locally.
func (s *server) authorize(c *gin.Context, scope access.Scope) error {
	principal, err := s.identify(c.Request)
	if err != nil {
		c.Header("WWW-Authenticate", `Bearer realm="event-stream-engine"`)
		return err
	}
	if !principal.May(scope) {
		c.Header("WWW-Authenticate", fmt.Sprintf(`Bearer realm="event-stream-engine", error="insufficient_scope", scope=%q`, scope))
		return refuse(http.StatusForbidden, fmt.Sprintf("this key lacks the scope %q", scope))
	}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), principalKey{}, principal))
	return nil
}

func (s *server) identify(r *http.Request) (access.Principal, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		if s.LocalAuth && localRequest(r) {
			return localPrincipal, nil
		}
		return access.Principal{}, refuse(http.StatusUnauthorized, "a key is needed: Authorization: Bearer <key>")
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
