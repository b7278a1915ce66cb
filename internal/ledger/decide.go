package ledger

import (
	"time"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

// Decision is what a person found out about a message whose outcome is unknown.
type Decision string

// The decisions.
const (
	DecidedSent    Decision = "sent"     // the provider has it
	DecidedNotSent Decision = "not_sent" // the provider never had it
)

// Decide settles an unknown message by hand; status is its campaign's, and erased tells that its person is gone. Decided
// as sent, it awaits no receipt, and its attempt stays unknown: should a receipt come after all, that moves the message on.
// Decided as not sent, its unknown attempts become absent, and it is to be sent again where its campaign may still send.
// Every message that is not unknown gives a Conflict that says how it stands.
func (m *Message) Decide(attempts []Attempt, d Decision, status campaign.Status, erased bool, now time.Time) error {
	if m.State != message.Unknown {
		return fault.New(fault.Conflict, "the message is %s: only an unknown one can be decided", m.State)
	}
	switch d {
	case DecidedSent:
		m.to(message.Sent, now)
		m.Reason = message.ReasonDecided
		return nil
	case DecidedNotSent:
	default:
		return fault.Refuse("outcome", "must be %s or %s", DecidedSent, DecidedNotSent)
	}
	for i := range attempts {
		if attempts[i].State == Unknown {
			attempts[i].State = Absent
		}
	}
	m.WaitsUntil, m.EndedAt = nil, &now
	switch {
	case erased:
		m.State, m.Reason = message.Cancelled, message.ReasonErased
	case status == campaign.Cancelled || status == campaign.Failed:
		m.State, m.Reason = message.Cancelled, message.ReasonCancelled
	case Tried(attempts) >= message.MaxAttempts:
		m.State, m.Reason = message.Failed, message.ReasonAttempts
	default:
		m.State, m.Reason, m.WaitsUntil, m.EndedAt = message.Pending, message.ReasonRetry, &now, nil
	}
	return nil
}
