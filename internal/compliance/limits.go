package compliance

import "time"

// ServiceWindow is how long after a person's last message to us they may be answered without counting towards the
// messaging limit of the portfolio.
const ServiceWindow = 24 * time.Hour

// Limits is what bounds the messages to one person beside the rates, and how near they are to it. Other messages are those
// that the person got or may yet get: accepted and not failed, being sent, or of unknown outcome. The zero value bounds
// nothing.
type Limits struct {
	// PairInterval is the least time between two messages to the person; LastMessage is when the newest other one was sent,
	// zero for none.
	PairInterval time.Duration
	LastMessage  time.Time
	// Capped says that caps on bulk messages hold for this one; CappedUntil is when the person will have had fewer than each
	// of them allows, zero when they never had as many.
	Capped      bool
	CappedUntil time.Time
	// Portfolio is the one whose MessagingLimit bounds how many people are reached in a day outside their service window; 0
	// for none. PlaceFrees is when one more may be, zero while there is a place or this person holds one. LastInbound is
	// their last message to us, zero for none.
	Portfolio      int64
	MessagingLimit int
	PlaceFrees     time.Time
	LastInbound    time.Time
}

// TakesPlace tells whether a message now counts towards the messaging limit of the portfolio.
func (l Limits) TakesPlace(now time.Time) bool {
	return l.Portfolio != 0 && !l.LastInbound.Add(ServiceWindow).After(now)
}

// check returns why the message may not be sent now; "" when it may. What it waits for is over at until.
func (l Limits) check(now time.Time) (action Action, reason Reason, until time.Time, detail string) {
	pair := l.LastMessage.Add(l.PairInterval)
	switch {
	case l.PairInterval > 0 && pair.After(now):
		return Wait, PairRate, pair, "another message was sent less than " + l.PairInterval.String() + " ago"
	case l.Capped && l.CappedUntil.After(now):
		return Suppress, FrequencyCap, time.Time{}, "has had as many messages as are allowed until " + l.CappedUntil.UTC().Format(time.RFC3339)
	case l.TakesPlace(now) && l.PlaceFrees.After(now):
		return Wait, MessagingTier, l.PlaceFrees, "the portfolio has reached as many people as it may within 24 hours"
	default:
		return Proceed, "", time.Time{}, ""
	}
}
