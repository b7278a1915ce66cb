package segment

import (
	"regexp"
	"strconv"
	"time"
)

// The database reads dates and times by the same pattern: see attribute_time in db/schema.
var moment = regexp.MustCompile(`^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])` +
	`(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9]))?$`)

// readTime reads a date, which stands for its first moment in UTC, or a time with its zone.
func readTime(text string) (t time.Time, ok bool) {
	if !moment.MatchString(text) {
		return time.Time{}, false
	}
	if len(text) == len(time.DateOnly) {
		text += "T00:00:00Z"
	}
	t, err := time.Parse(time.RFC3339Nano, text) // refuses the 30th of February
	return t, err == nil
}

func isTime(text string) bool {
	_, ok := readTime(text)
	return ok
}

var span = regexp.MustCompile(`^[1-9][0-9]{0,3}[mhdw]$`)

// readSpan reads a checked length of time.
func readSpan(text string) time.Duration {
	n, _ := strconv.Atoi(text[:len(text)-1])
	unit := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[text[len(text)-1]]
	return time.Duration(n) * unit
}

// period is what before, after, within_last and within_next ask for; a nil end is open.
type period struct {
	from, to *time.Time
	open     bool // from and to themselves do not count
}

// period returns the times that e, one of the operators on time, selects as of now. Stored times, and so the ends, are
// of whole microseconds.
func (e Expr) period(now time.Time) period {
	now = now.Truncate(time.Microsecond)
	text, _ := e.values[0].(string)
	switch e.operator {
	case Before:
		t, _ := readTime(text)
		return period{to: &t, open: true}
	case After:
		t, _ := readTime(text)
		return period{from: &t, open: true}
	case WithinLast:
		from := now.Add(-readSpan(text))
		return period{from: &from, to: &now}
	default: // WithinNext
		to := now.Add(readSpan(text))
		return period{from: &now, to: &to}
	}
}

func (p period) holds(t time.Time) bool {
	if p.open {
		return (p.from == nil || t.After(*p.from)) && (p.to == nil || t.Before(*p.to))
	}
	return (p.from == nil || !t.Before(*p.from)) && (p.to == nil || !t.After(*p.to))
}
