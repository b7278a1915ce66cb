// Package throttle decides who may send when. Several limits bound one message at the same time: its campaign's, its
// sender's and the account's. Moments that one limit gives are never closer than 1/rate, so that no second holds more of
// them than its rate, whoever asks. Pure: the database keeps the limits and locks them while moments are handed out.
package throttle

import (
	"math"
	"time"
)

const (
	// Horizon is how far ahead moments are handed out: long enough for the way to the message, short enough for
	// whatever is urgent, and for a change of the rate, to be felt at once.
	Horizon = 200 * time.Millisecond
	// share is what one call takes of a shared limit, so that several callers get their turns.
	share = 100 * time.Millisecond
	// idleGap is how long a shared limit may be left idle for the sake of a moment that is a little ahead.
	idleGap = 50 * time.Millisecond
)

// The pace of slowing down and recovering: halved at once, back within twenty seconds.
const (
	slowFactor  = 0.5
	slowPause   = 5 * time.Second // requests already under way when it slowed down do not slow it down again
	slowFloor   = 0.1             // of the limit
	recoverTime = 20 * time.Second
	maxPause    = time.Minute // after that a request finds out whether the provider is ready
)

// Limit is a bound on messages a second, and the moment from which it gives the next one.
type Limit struct {
	PerSecond float64   // what was configured; above 0
	Next      time.Time // zero: now
	// SlowedAt and SlowedTo say when the provider last asked for less, and to which rate it was cut. Zero: never.
	SlowedAt time.Time
	SlowedTo float64
}

// Rate is the rate in force: the configured one, or while it recovers a lower one.
func (l Limit) Rate(now time.Time) float64 {
	if l.SlowedAt.IsZero() {
		return l.PerSecond
	}
	regained := l.PerSecond * now.Sub(l.SlowedAt).Seconds() / recoverTime.Seconds()
	return min(l.PerSecond, l.SlowedTo+max(0, regained))
}

// Slowed reports whether the rate in force is below the configured one.
func (l Limit) Slowed(now time.Time) bool { return l.Rate(now) < l.PerSecond }

// Slow cuts the rate to half because the provider asked for fewer requests, and gives no moment before its wish is
// over, but for a minute at the most.
func (l *Limit) Slow(now time.Time, retryAfter time.Duration) {
	if l.SlowedAt.IsZero() || now.Sub(l.SlowedAt) >= slowPause {
		l.SlowedTo = max(l.Rate(now)*slowFactor, l.PerSecond*slowFloor)
		l.SlowedAt = now
	}
	if until := now.Add(min(retryAfter, maxPause)); until.After(l.Next) {
		l.Next = until
	}
}

// spacing is the time between two moments, rounded up to the database's resolution.
func (l Limit) spacing(now time.Time) time.Duration {
	return time.Duration(math.Ceil(1e6/l.Rate(now))) * time.Microsecond
}

// last is when the limit gave its last moment, as far as its next one tells.
func (l Limit) last(now time.Time) time.Time { return l.Next.Add(-l.spacing(now)) }

func (l *Limit) take(at, now time.Time) { l.Next = at.Add(l.spacing(now)) }

// Demand is what one campaign asks for.
type Demand struct {
	Limit  *Limit // the campaign's own
	Wanted int    // how many messages wait
	Urgent bool   // transactional: before whatever is not
	Given  []time.Time
}

func (d *Demand) open() bool { return len(d.Given) < d.Wanted }

// Allot gives moments within the horizon to the demands, bounded by each one's own limit and by those that all of them
// share. Urgent demands come first: what is not urgent takes no moment that would put an urgent one off. Among equals the one whose turn is the longest ago, so that a slow campaign gets
// its rate beside a fast one. It returns when asking again makes sense.
func Allot(now time.Time, shared []*Limit, demands []*Demand) (again time.Time) {
	var first time.Time // the first moment of this call
	for {
		free, step := now, time.Duration(0)
		for _, l := range shared {
			free, step = later(free, l.Next), max(step, l.spacing(now))
		}
		d, at := choose(now, free, step, demands)
		switch {
		case d == nil: // nobody waits
			return now.Add(Horizon)
		case at.Sub(now) > Horizon:
			return at.Add(-Horizon)
		case at.Sub(free) > idleGap:
			return at.Add(-idleGap)
		case first.IsZero():
			first = at
		case at.Sub(first) >= share: // others first
			return now
		}
		d.Given = append(d.Given, at)
		d.Limit.take(at, now)
		for _, l := range shared {
			l.take(at, now)
		}
	}
}

// choose returns whose turn it is when the shared limits are free, and the moment it gets; step is how long they are
// taken by one moment.
func choose(now, free time.Time, step time.Duration, demands []*Demand) (next *Demand, at time.Time) {
	for _, d := range demands {
		if !d.open() {
			continue
		}
		if mine := later(free, d.Limit.Next); next == nil || before(now, step, d, mine, next, at) {
			next, at = d, mine
		}
	}
	return next, at
}

// before reports whether demand a, which could get the moment x, comes before b, which could get y.
func before(now time.Time, step time.Duration, a *Demand, x time.Time, b *Demand, y time.Time) bool {
	switch {
	case a.Urgent && !b.Urgent:
		return !x.After(y) || x.Before(y.Add(step))
	case b.Urgent && !a.Urgent:
		return x.Before(y) && !y.Before(x.Add(step))
	case !x.Equal(y):
		return x.Before(y)
	default:
		return a.Limit.last(now).Before(b.Limit.last(now))
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
