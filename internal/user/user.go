// Package user is a person the engine may write to: number, attributes, consent, and the time zones they may be in.
package user

import (
	"time"

	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/suppression"
)

// User is one contact.
type User struct {
	ID            int64
	Phone         phone.Number
	Attributes    Attributes
	Consent       ConsentState
	Region        string   // ISO 3166; "" when unknown
	Zones         []string // candidate IANA zones, sorted; empty when unknown
	ZoneSource    ZoneSource
	LastInboundAt *time.Time          // nil before their first message to us
	Suppressed    []suppression.Scope // what their number is suppressed for; empty: nothing
	CreatedAt     time.Time
	UpdatedAt     time.Time
}
