// Package activities is what workflows do to the world: they read and write the ledger and speak to the provider. Each
// activity may run twice, or be killed half-way: what is decided lies in the ledger, never in the activity.
package activities

import (
	"math/rand/v2"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// Message names the message that an activity works on. Who it goes to is in the ledger alone.
type Message = outbox.Recipient

// Do is what a recipient's workflow does next.
type Do string

// The things to do. The zero value is not one of them.
const (
	Check   Do = "check"   // CheckCompliance
	Send    Do = "send"    // SendMessage
	Resolve Do = "resolve" // ResolveAttempt
	Fetch   Do = "fetch"   // FetchReceipt; of recipients that were started before receipts were swept run by run
	Step    Do = "step"    // TakeStep, of an enrolment
	Done    Do = "done"    // nothing is left to do for this message, or enrolment
)

// Next is what comes next for a message, and when.
type Next struct {
	Do     Do        `json:"do"`
	At     time.Time `json:"at,omitzero"`      // zero: at once
	Reason string    `json:"reason,omitempty"` // what it waits for; with Done, how the message stands
}

// jitter spreads what would happen at one moment over a fifth of d, so that many waiters do not wake together.
func jitter(d time.Duration) time.Duration { return d + spread(d/5) }

// spread returns a random time from 0 to d.
func spread(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(d) + 1)) //nolint:gosec // no secret: only spreads load
}

func isNotFound(err error) bool { return fault.Is(err, fault.NotFound) }

// terminal turns what the caller is to know, and no retry mends, into an error that Temporal does not retry. Other
// errors are retried as they are.
func terminal(err error) error {
	if err == nil || fault.KindOf(err) == fault.Internal || fault.Is(err, fault.Unavailable) {
		return err
	}
	return temporal.NewNonRetryableApplicationError(err.Error(), string(fault.KindOf(err)), nil)
}
