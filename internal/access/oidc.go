package access

import (
	"slices"
	"strings"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Identity is whom an identity provider vouches for.
type Identity struct {
	Email    string // as the provider writes it
	Verified bool   // the provider knows that the address is theirs
	Name     string // "" when it does not tell
}

// Admission says whom an identity provider's word lets in who was not invited. The zero value lets in nobody.
type Admission struct {
	Domains []string // of their e-mail addresses, in lower case
	Role    Role     // that they get
}

// RoleFor returns the role of a newcomer with that normalised address; "" when only an invitation lets them in.
func (a Admission) RoleFor(email string) Role {
	_, domain, _ := strings.Cut(email, "@")
	if slices.Contains(a.Domains, domain) {
		return a.Role
	}
	return ""
}

// VerifiedEmail returns the address by which the account is found, normalised.
func (i Identity) VerifiedEmail() (string, error) {
	if !i.Verified {
		return "", fault.New(fault.Forbidden, "the identity provider does not vouch for this e-mail address")
	}
	return NormalizeEmail(i.Email)
}
