package compliance

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

const day = 24 * time.Hour

// horizon is how far ahead a window is searched: a week of days and one for a clock change that swallows an opening.
const horizon = 8 * day

// QuietHours is the part of the day, by the recipient's wall clock, in which nothing is sent: from Start up to but not
// including End, both in minutes since midnight. It wraps past midnight when Start is greater. The zero value, like
// every pair of equal ends, is no quiet hours at all.
type QuietHours struct {
	Start, End int
}

// Field names of quiet hours, as faults name them.
const (
	startField = "quiet_hours_start"
	endField   = "quiet_hours_end"
)

var clock = regexp.MustCompile(`^(\d{1,2}):(\d{2})$`)

// ParseQuietHours reads "22:00" and "8:00"; two empty texts mean none. Equal ends are refused: nobody can tell whether
// they mean never or always.
func ParseQuietHours(start, end string) (QuietHours, error) {
	if start == "" && end == "" {
		return QuietHours{}, nil
	}
	var refused []fault.Field
	read := func(field, text string) int {
		minutes, ok := parseClock(text)
		if !ok {
			detail := "must be a time of day such as 22:00"
			if text == "" {
				detail = "is missing: give both ends of the quiet hours or neither"
			}
			refused = append(refused, fault.Field{Name: field, Detail: detail})
		}
		return minutes
	}
	quiet := QuietHours{Start: read(startField, start), End: read(endField, end)}
	if len(refused) == 0 && quiet.IsZero() {
		refused = append(refused, fault.Field{Name: endField, Detail: "must differ from " + startField + "; for no quiet hours leave both out"})
	}
	if err := fault.Fields(refused...); err != nil {
		return QuietHours{}, err
	}
	return quiet, nil
}

func parseClock(text string) (minutes int, ok bool) {
	parts := clock.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	hour, _ := strconv.Atoi(parts[1]) // two digits: cannot fail
	minute, _ := strconv.Atoi(parts[2])
	return hour*60 + minute, hour < 24 && minute < 60
}

// IsZero tells whether there are no quiet hours.
func (q QuietHours) IsZero() bool { return q.Start == q.End }

// String returns 22:00–08:00, or "none".
func (q QuietHours) String() string {
	if q.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%02d:%02d–%02d:%02d", q.Start/60, q.Start%60, q.End/60, q.End%60)
}

// Hours is all that bounds when one person may be written to: the quiet hours of the campaign and the law of where they are.
// The zero value bounds nothing.
type Hours struct {
	Quiet QuietHours
	Legal Week
}

// Window is when somebody may be written to, seen from an instant.
type Window struct {
	Open   bool
	Opens  time.Time // the first instant, from then on, at which it is open: now when Open; zero when it never opens
	Closes time.Time // the first instant after Opens at which it is closed again; zero when it does not close
	// Zone and Reason say where and why it is closed: until Opens for the last one to open, while open for the first one to
	// close. "" without hours.
	Zone   string
	Reason Reason // InQuietHours or LegalWindow
}

// Open returns the window at now of somebody who may be in any of the zones: it is open while it is outside quiet
// hours, and within what the law allows, in all of them. Without hours or without zones it is always open.
//
// What counts is the wall clock. When clocks go forward over the end of the quiet hours, they end at the change; when
// clocks go back, what the clock shows twice counts twice. A window that does not open within eight days never does.
func (h Hours) Open(now time.Time, zones []*time.Location) Window {
	if h.IsZero() || len(zones) == 0 {
		return Window{Open: true, Opens: now}
	}
	end := now.Add(horizon)
	ends := h.ends()

	window := Window{}
	opens := now
	for zone, reason := h.blocking(opens, zones); zone != nil; zone, reason = h.blocking(opens, zones) {
		window.Zone, window.Reason = zone.String(), reason
		if opens = nextChange(opens, zones, ends); opens.After(end) {
			return window
		}
	}
	window.Open, window.Opens = opens.Equal(now), opens

	closes := opens
	for {
		if zone, reason := h.blocking(closes, zones); zone != nil {
			if window.Open {
				window.Zone, window.Reason = zone.String(), reason
			}
			break
		}
		if closes = nextChange(closes, zones, ends); closes.After(opens.Add(horizon)) {
			return window
		}
	}
	window.Closes = closes
	return window
}

// IsZero tells whether there are no hours to heed.
func (h Hours) IsZero() bool { return h.Quiet.IsZero() && h.Legal.IsZero() }

// String says which hours are heeded, such as "quiet hours 22:00–08:00, law of US-FL".
func (h Hours) String() string {
	switch {
	case h.IsZero():
		return "none"
	case h.Legal.IsZero():
		return "quiet hours " + h.Quiet.String()
	case h.Quiet.IsZero():
		return "law of " + h.Legal.String()
	default:
		return "quiet hours " + h.Quiet.String() + ", law of " + h.Legal.String()
	}
}

// Finding is what the audit tells of a closed window.
func (h Hours) Finding(w Window) Finding {
	detail := "quiet hours " + h.Quiet.String()
	if w.Reason == LegalWindow {
		detail = "law of " + h.Legal.String()
	}
	return Finding{Step: StepQuietHours, Result: Deferred, Detail: detail + " in " + w.Zone}
}

// blocking returns the first zone in which nobody is written to, and why; nil when there is none.
func (h Hours) blocking(at time.Time, zones []*time.Location) (*time.Location, Reason) {
	var where *time.Location
	for _, zone := range zones {
		local := at.In(zone)
		if h.Quiet.quiet(minuteOf(local)) {
			return zone, InQuietHours
		}
		if where == nil && !h.Legal.open(local) {
			where = zone
		}
	}
	return where, LegalWindow
}

func minuteOf(local time.Time) int { return local.Hour()*60 + local.Minute() }

// quiet tells whether a minute of the day lies within the quiet hours.
func (q QuietHours) quiet(minute int) bool {
	switch {
	case q.IsZero():
		return false
	case q.Start < q.End:
		return q.Start <= minute && minute < q.End
	default:
		return minute >= q.Start || minute < q.End
	}
}

// ends are the minutes of a day at which the answer may change.
func (h Hours) ends() []int {
	ends := h.Legal.ends()
	if !h.Quiet.IsZero() {
		ends = append(ends, h.Quiet.Start, h.Quiet.End)
	}
	return ends
}

// nextChange returns the first instant after at when the answer may change in any of the zones: a wall clock reaches
// one of the ends, in minutes since midnight, or is put forward or back.
func nextChange(at time.Time, zones []*time.Location, ends []int) time.Time {
	var next time.Time
	sooner := func(candidate time.Time) {
		if next.IsZero() || candidate.Before(next) {
			next = candidate
		}
	}
	for _, zone := range zones {
		local := at.In(zone)
		sinceMidnight := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute +
			time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
		for _, minute := range ends {
			wait := time.Duration(minute)*time.Minute - sinceMidnight
			if wait <= 0 {
				wait += day
			}
			sooner(at.Add(wait))
		}
		if _, change := local.ZoneBounds(); !change.IsZero() {
			sooner(change)
		}
	}
	return next
}

// load returns the zones of those names that exist; unknown ones are left out.
func load(names []string) []*time.Location {
	var zones []*time.Location
	for _, name := range names {
		if zone, err := user.LoadZone(name); err == nil {
			zones = append(zones, zone)
		}
	}
	return zones
}
