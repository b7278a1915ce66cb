package access

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/google/uuid"
)

// How long a session lasts, and the links that are good once.
const (
	SessionIdle     = 12 * time.Hour     // since its latest request
	SessionLife     = 7 * 24 * time.Hour // since sign-in
	SecondFactorDue = 10 * time.Minute   // between the password and the code
	SetupLife       = 24 * time.Hour     // of the link to the first admin
	InvitationLife  = 7 * 24 * time.Hour
	ResetLife       = 24 * time.Hour
)

// SessionTouch bounds how often the use of a session is written down.
const SessionTouch = time.Minute

// Session is one browser in which an account is signed in.
type Session struct {
	ID        uuid.UUID
	Account   Account
	Half      bool // the password was right, the code is still due: it lets nobody in
	CreatedAt time.Time
	SeenAt    time.Time // its latest request, to the minute
	ExpiresAt time.Time
	Address   string // of the network, where it signed in
	Browser   string // what the browser called itself then
}

// Live reports whether the session lets its account in, as far as time goes.
func (s Session) Live(now time.Time) bool {
	return now.Before(s.ExpiresAt) && now.Before(s.SeenAt.Add(SessionIdle)) && s.Account.DisabledAt == nil
}

// LinkKind is what a one-time link is for.
type LinkKind string

// The kinds of links.
const (
	Setup      LinkKind = "setup"      // makes the account of the first admin
	Invitation LinkKind = "invitation" // gives an account its name and password
	Reset      LinkKind = "reset"      // gives an account another password
)

// Life is how long a link of the kind is good.
func (k LinkKind) Life() time.Duration {
	switch k {
	case Setup:
		return SetupLife
	case Invitation:
		return InvitationLife
	default:
		return ResetLife
	}
}

// Link is a one-time link without its secret.
type Link struct {
	Kind      LinkKind
	Account   Account // zero for Setup
	ExpiresAt time.Time
}

// NewToken makes the secret of a session or a link: 256 random bits, stored as Hash writes them.
func NewToken() string {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random) // never fails: it aborts the program instead
	return base64.RawURLEncoding.EncodeToString(random)
}
