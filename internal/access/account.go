package access

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Role is what an account may do, as a set of scopes.
type Role string

// The roles.
const (
	Viewer        Role = "viewer"   // looks
	Editor        Role = "editor"   // and prepares: people, segments, templates, drafts
	Operator      Role = "operator" // and sends
	Administrator Role = "admin"    // everything, accounts and keys among it
)

// Roles lists every role, the one that may do least first.
func Roles() []Role { return []Role{Viewer, Editor, Operator, Administrator} }

// Scopes is what the role may do; nothing for an unknown one. It is the only place that says so.
func (r Role) Scopes() []Scope {
	switch r {
	case Viewer:
		return []Scope{Read}
	case Editor:
		return []Scope{Read, Write}
	case Operator:
		return []Scope{Read, Write, Send}
	case Administrator:
		return []Scope{Admin}
	default:
		return nil
	}
}

// ParseRole reads the name of a role.
func ParseRole(name string) (Role, error) {
	role := Role(strings.ToLower(strings.TrimSpace(name)))
	if !slices.Contains(Roles(), role) {
		return "", fault.Refuse("role", "must be one of viewer, editor, operator, admin")
	}
	return role, nil
}

// Account is a person who signs in. Its name and e-mail address are personal data: they are shown on pages and to admins,
// and are never logged or audited.
type Account struct {
	ID           int64
	Email        string // as NormalizeEmail writes it
	Name         string // "" until its invitation is taken up
	Role         Role
	PasswordHash string // as HashPassword writes it; "" while it has none
	TOTPSecret   string // base32; "" without a second factor
	TOTPStep     int64  // the latest time step whose code was used
	CreatedAt    time.Time
	SignedInAt   *time.Time // nil before the first time
	DisabledAt   *time.Time // nil while it may sign in
}

// Principal is the account's name in ledgers, logs and the audit log.
func (a Account) Principal() string { return AccountPrincipal(a.ID) }

// AccountPrincipal is the principal name of the account with that id.
func AccountPrincipal(id int64) string { return fmt.Sprintf("account:%d", id) }

const maxEmailBytes = 254

// NormalizeEmail checks an e-mail address and writes it in the one way in which addresses are compared.
func NormalizeEmail(text string) (string, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	parsed, err := mail.ParseAddress(text)
	if err != nil || parsed.Address != text || len(text) > maxEmailBytes || strings.ContainsAny(text, "\x00\r\n") {
		return "", fault.Refuse("email", "must be an e-mail address such as kamala@example.com")
	}
	return text, nil
}

// CheckName refuses a name that nobody could be told by.
func CheckName(name string) (string, error) {
	name = strings.TrimSpace(name)
	if n := utf8.RuneCountInString(name); n == 0 || n > 100 {
		return "", fault.Refuse("name", "must have 1 to 100 characters")
	}
	return name, nil
}
