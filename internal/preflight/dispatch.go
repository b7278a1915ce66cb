package preflight

import (
	"slices"
	"time"

	"github.com/event-stream-engine/ese/internal/compliance"
)

// maxSteps bounds the play of a campaign that would go on for years.
const maxSteps = 20_000

// queue is what is left of a group, and its window as of the last look.
type queue struct {
	*Group
	left   int
	window compliance.Window
	until  time.Time // the window may be another from then on; zero: never
}

// look sees to it that the window is that of now.
func (q *queue) look(window func(*Group, time.Time) compliance.Window, now time.Time) {
	if q.window == (compliance.Window{}) || !q.until.IsZero() && !now.Before(q.until) {
		q.window = window(q.Group, now)
		q.until = q.window.Opens
		if q.window.Open {
			q.until = q.window.Closes
		}
	}
}

// dispatch plays the sends as a run makes them: at the rate, to the group whose hours end soonest, and whoever is not
// sent to before they end waits for the next opening. It notes on each group when its first and its last message leave.
func dispatch(groups []*Group, window func(*Group, time.Time) compliance.Window, starts time.Time, rate float64) {
	var queues []*queue
	for _, g := range groups {
		if n := g.Proceed + g.Wait; n > 0 {
			queues = append(queues, &queue{Group: g, left: n})
		}
	}
	now := starts
	for range maxSteps {
		var next *queue
		var opens time.Time // of the first that is closed now
		for _, q := range queues {
			q.look(window, now)
			switch {
			case q.window.Open && (next == nil || sooner(q.window.Closes, next.window.Closes)):
				next = q
			case !q.window.Open && !q.window.Opens.IsZero():
				opens = earlier(opens, q.window.Opens)
			}
		}
		switch {
		case next == nil && opens.IsZero():
			return // nobody is left, or nobody will ever be sent to
		case next == nil:
			now = opens
			continue
		}
		limit := next.window.Closes
		if !opens.IsZero() {
			limit = earlier(limit, opens)
		}
		sent := next.left
		if !limit.IsZero() {
			sent = min(sent, max(1, int(limit.Sub(now).Seconds()*rate)))
		}
		next.FirstSend = earlier(next.FirstSend, now)
		next.LastSend = now.Add(seconds(float64(sent-1) / rate))
		now = now.Add(seconds(float64(sent) / rate))
		if next.left -= sent; next.left == 0 {
			queues = slices.DeleteFunc(queues, func(q *queue) bool { return q == next })
		}
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// sooner reports whether window end a comes before b; the zero time means never.
func sooner(a, b time.Time) bool { return !a.IsZero() && (b.IsZero() || a.Before(b)) }
