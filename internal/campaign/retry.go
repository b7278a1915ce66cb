package campaign

import (
	"slices"
	"strings"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

// Kind says how a run came about.
type Kind string

// The kinds of runs.
const (
	ByTrigger Kind = "trigger" // to the campaign's audience
	ByRetry   Kind = "retry"   // to some of the people of the runs before it, again
	ByTest    Kind = "test"    // to a few chosen people, to see what the campaign's messages are like
	ByEvent   Kind = "event"   // to one person at a time, as events name them, until it is closed

	ByRecurrence Kind = "recurrence" // to the campaign's audience, because an occurrence came
)

// Scheduled tells whether runs of this kind heed the campaign's time: they are neither to some people again, nor a test, nor
// about what happened to one person.
func (k Kind) Scheduled() bool { return k == ByTrigger || k == ByRecurrence }

// Retry selects whom a retry sends to: the people whose newest message of the campaign is in one of the states and, when
// codes are given, ended with one of them.
type Retry struct {
	States     []message.State
	ErrorCodes []int // the provider's; none: any, and none at all
}

// Retryable lists the states that a retry may select: of messages that were not sent, or are known not to have arrived.
func Retryable() []message.State {
	return []message.State{message.Failed, message.Undelivered, message.Cancelled, message.Suppressed}
}

// MaxErrorCodes is how many codes a retry may name.
const MaxErrorCodes = 50

// Check refuses a selection that could send to somebody twice, or to nobody.
func (r Retry) Check() error {
	if len(r.States) == 0 {
		return fault.Refuse("states", "must name at least one of %s", join(Retryable()))
	}
	for _, state := range r.States {
		switch {
		case slices.Contains(Retryable(), state):
		case state == message.Unknown:
			return fault.Refuse("states", "unknown messages may have been sent: decide each of them first (POST /api/v1/messages/{id}/decide)")
		case state.Open():
			return fault.Refuse("states", "%s messages are still to be sent by their own run", state)
		case state.Valid():
			return fault.Refuse("states", "%s messages were taken by the provider: their people would get a second one", state)
		default:
			return fault.Refuse("states", "must be of %s", join(Retryable()))
		}
	}
	if len(r.ErrorCodes) > MaxErrorCodes {
		return fault.Refuse("error_codes", "must be at most %d", MaxErrorCodes)
	}
	return nil
}

func join(states []message.State) string {
	words := make([]string, len(states))
	for i, s := range states {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// Retry is the one way back from an end: to Running, for a run to some of the people again.
func (s Status) Retry() (Status, error) {
	switch s {
	case Completed, Cancelled, Failed:
		return Running, nil
	case Draft:
		return s, fault.New(fault.Conflict, "a campaign that is %s was sent to nobody yet: trigger it", s)
	default:
		return s, fault.New(fault.Conflict, "a campaign that is %s cannot be retried before its run is over", s)
	}
}
