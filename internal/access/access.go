// Package access says who may do what: principals, their scopes, and API keys.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Scope is a right that a key or a role carries.
type Scope string

// The scopes. Admin includes the others; of these none includes another.
const (
	Read  Scope = "read"  // look
	Write Scope = "write" // change people, segments, templates and drafts
	Send  Scope = "send"  // start and steer campaigns, set how fast is sent
	Admin Scope = "admin"
)

// Scopes lists every scope.
func Scopes() []Scope { return []Scope{Read, Write, Send, Admin} }

// ParseScopes reads scope names, in any order; doubles count once.
func ParseScopes(names []string) ([]Scope, error) {
	var scopes []Scope
	for _, name := range names {
		scope := Scope(strings.ToLower(strings.TrimSpace(name)))
		if !slices.Contains(Scopes(), scope) {
			return nil, fault.Refuse("scopes", "must be of read, write, send, admin")
		}
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	if len(scopes) == 0 {
		return nil, fault.Refuse("scopes", "must name one of read, write, send, admin at least")
	}
	return scopes, nil
}

// Principal is who makes a request. The zero value is nobody and may do nothing.
type Principal struct {
	Name    string // "account:<id>", "key:<id>" or "local"; never a person's name
	Scopes  []Scope
	Session *Session // by which an account signed in; nil for everyone else
}

// May reports whether the principal holds a scope.
func (p Principal) May(scope Scope) bool {
	return slices.Contains(p.Scopes, scope) || slices.Contains(p.Scopes, Admin)
}

// Key is an API key without its secret.
type Key struct {
	ID         int64
	Name       string
	Prefix     string // its readable beginning, to tell keys apart
	SHA256     []byte // of the whole key
	Scopes     []Scope
	CreatedBy  string // principal
	CreatedAt  time.Time
	LastUsedAt *time.Time // to the minute; nil before its first use
	RevokedAt  *time.Time // nil while it is valid
}

const (
	keyMark     = "ese_" // lets secret scanners know a key when they see one
	secretBytes = 32
	prefixChars = len(keyMark) + 6
)

// NewSecret makes the text of a new key and its readable beginning.
func NewSecret() (secret, prefix string) {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // never fails: it aborts the program instead
	secret = keyMark + base64.RawURLEncoding.EncodeToString(random)
	return secret, secret[:prefixChars]
}

// LooksLikeKey spares the database what cannot be a key.
func LooksLikeKey(secret string) bool {
	return strings.HasPrefix(secret, keyMark) && len(secret) == len(keyMark)+base64.RawURLEncoding.EncodedLen(secretBytes)
}

// Hash is what is stored of a key. A key is 256 random bits, so that a plain hash cannot be guessed back.
func Hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Answer is what a request with an Idempotency-Key was answered.
type Answer struct {
	RequestSHA256 []byte // identifies what was asked
	Status        int    // of HTTP
	Type          string // its Content-Type
	Body          []byte
}
