package campaign

import "time"

// LocalTime is what the clock on a wall shows, in whatever zone it hangs: a date and a time to the minute. The zero value
// is none.
type LocalTime struct {
	utc time.Time // what the clock shows, as if it hung in UTC
}

const localLayout = "2006-01-02T15:04"

// The zones that are farthest from UTC: where a wall clock shows a time first, and where last.
const (
	firstOffset = 14 * time.Hour
	lastOffset  = -12 * time.Hour
)

// ParseLocalTime reads 2026-12-01T10:00; "" is none.
func ParseLocalTime(text string) (LocalTime, bool) {
	if text == "" {
		return LocalTime{}, true
	}
	t, err := time.Parse(localLayout, text)
	return LocalTime{t}, err == nil && t.Format(localLayout) == text
}

// IsZero tells whether there is none.
func (l LocalTime) IsZero() bool { return l.utc.IsZero() }

// String returns 2026-12-01T10:00, "" for none.
func (l LocalTime) String() string {
	if l.IsZero() {
		return ""
	}
	return l.utc.Format(localLayout)
}

// In returns the first instant at which a clock in the zone shows that time or a later one: of a time that it shows twice
// the first, and for one that it skips the moment at which it is put forward.
func (l LocalTime) In(zone *time.Location) time.Time {
	// Long enough before for every clock to show less, and for no more than a few changes of the clock until then.
	for at := l.utc.Add(-2 * firstOffset).In(zone); ; {
		_, offset := at.Zone()
		_, end := at.ZoneBounds()
		shown := l.utc.Add(-time.Duration(offset) * time.Second)
		switch {
		case shown.Before(at): // the clock was put forward over it
			return at.UTC()
		case end.IsZero() || shown.Before(end):
			return shown
		}
		at = end.In(zone)
	}
}

// First returns when the first clock on Earth shows that time.
func (l LocalTime) First() time.Time { return l.utc.Add(-firstOffset) }

// Last returns when the last clock on Earth shows that time.
func (l LocalTime) Last() time.Time { return l.utc.Add(-lastOffset) }
