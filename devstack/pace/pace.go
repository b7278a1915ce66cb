// Package pace judges how evenly something happened, from the moments at which it did. It is pure: moments go in, figures
// come out.
package pace

import (
	"slices"
	"time"
)

// Most is the most of the moments, in any order, that lie within one window of the width, wherever it begins. A window
// holds its beginning and not its end: moments exactly a width apart are in no window together.
func Most(moments []time.Time, width time.Duration) int {
	sorted := slices.SortedFunc(slices.Values(moments), time.Time.Compare)
	most, first := 0, 0
	for last, at := range sorted {
		for at.Sub(sorted[first]) >= width {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// Tolerated is what a provider may see within one second of a limit that is kept exactly at the source: the way there
// takes now longer, now shorter. It is a tenth more, and one at least.
func Tolerated(limit int) int { return limit + max(1, limit/10) }

// Span is a stretch of time that holds its beginning and not its end.
type Span struct{ From, To time.Time }

// Busy is the span from the first of the moments to the last, which it does not hold; the zero Span for none.
func Busy(moments []time.Time) Span {
	if len(moments) == 0 {
		return Span{}
	}
	return Span{slices.MinFunc(moments, time.Time.Compare), slices.MaxFunc(moments, time.Time.Compare)}
}

// And is what two spans share; of no length when they do not meet.
func (s Span) And(o Span) Span {
	if o.From.After(s.From) {
		s.From = o.From
	}
	if o.To.Before(s.To) {
		s.To = o.To
	}
	if s.To.Before(s.From) {
		s.To = s.From
	}
	return s
}

// Count is how many of the moments lie within the span.
func (s Span) Count(moments []time.Time) int {
	n := 0
	for _, at := range moments {
		if !at.Before(s.From) && at.Before(s.To) {
			n++
		}
	}
	return n
}

// PerSecond is how many of the moments lie within the spans, for each second of them; 0 when they have no length.
func PerSecond(moments []time.Time, spans ...Span) float64 {
	count, seconds := 0, 0.0
	for _, s := range spans {
		count += s.Count(moments)
		seconds += s.To.Sub(s.From).Seconds()
	}
	if seconds == 0 {
		return 0
	}
	return float64(count) / seconds
}
