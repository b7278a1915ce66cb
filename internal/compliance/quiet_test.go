package compliance_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

func zones(t *testing.T, names ...string) []*time.Location {
	t.Helper()
	var locations []*time.Location
	for _, name := range names {
		location, err := user.LoadZone(name)
		require.NoError(t, err)
		locations = append(locations, location)
	}
	return locations
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return at
}

func quiet(t *testing.T, start, end string) compliance.QuietHours {
	t.Helper()
	q, err := compliance.ParseQuietHours(start, end)
	require.NoError(t, err)
	return q
}

func TestParseQuietHours(t *testing.T) {
	t.Parallel()
	require.Equal(t, compliance.QuietHours{Start: 22 * 60, End: 8*60 + 30}, quiet(t, "22:00", "8:30"))
	require.Equal(t, compliance.QuietHours{Start: 0, End: 24*60 - 1}, quiet(t, "00:00", "23:59"))
	require.Equal(t, "22:00–08:30", quiet(t, "22:00", "08:30").String())
	none := quiet(t, "", "")
	require.True(t, none.IsZero())
	require.Equal(t, "none", none.String())

	for _, tt := range []struct{ start, end, field string }{
		{"22:00", "", "quiet_hours_end"},
		{"", "08:00", "quiet_hours_start"},
		{"24:00", "08:00", "quiet_hours_start"},
		{"22:60", "08:00", "quiet_hours_start"},
		{"22:00", "8", "quiet_hours_end"},
		{"22:00", "8:0", "quiet_hours_end"},
		{"22:00", "08:00:00", "quiet_hours_end"},
		{"22:00", "-8:00", "quiet_hours_end"},
		{"10pm", "08:00", "quiet_hours_start"},
		{"22:00", " 08:00", "quiet_hours_end"},
		{"22:00", "08:00\n", "quiet_hours_end"},
		{"22:00", "22:00", "quiet_hours_end"},
		{"00:00", "0:00", "quiet_hours_end"},
	} {
		_, err := compliance.ParseQuietHours(tt.start, tt.end)
		require.True(t, fault.Is(err, fault.Invalid), "%q %q", tt.start, tt.end)
		require.ErrorContains(t, err, tt.field)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		start, end    string
		now           string
		zones         []string
		opens, closes string // "" is zero
		zone          string
		open          bool
	}{
		{"Night", "22:00", "08:00", "2026-11-22T20:00:00Z", []string{"Asia/Colombo"}, "2026-11-23T02:30:00Z", "2026-11-23T16:30:00Z", "Asia/Colombo", false},
		{"Day", "22:00", "08:00", "2026-11-22T12:00:00Z", []string{"Asia/Colombo"}, "2026-11-22T12:00:00Z", "2026-11-22T16:30:00Z", "Asia/Colombo", true},
		{"LastQuietNanosecond", "22:00", "08:00", "2026-11-22T07:59:59.999999999Z", []string{"UTC"}, "2026-11-22T08:00:00Z", "2026-11-22T22:00:00Z", "UTC", false},
		{"EndIsOpen", "22:00", "08:00", "2026-11-22T08:00:00Z", []string{"UTC"}, "2026-11-22T08:00:00Z", "2026-11-22T22:00:00Z", "UTC", true},
		{"StartIsQuiet", "22:00", "08:00", "2026-11-22T22:00:00Z", []string{"UTC"}, "2026-11-23T08:00:00Z", "2026-11-23T22:00:00Z", "UTC", false},
		{"WithinOneDay", "12:00", "14:00", "2026-11-22T13:00:00Z", []string{"UTC"}, "2026-11-22T14:00:00Z", "2026-11-23T12:00:00Z", "UTC", false},
		{"UntilMidnight", "18:00", "00:00", "2026-11-22T19:00:00Z", []string{"UTC"}, "2026-11-23T00:00:00Z", "2026-11-23T18:00:00Z", "UTC", false},
		{"QuarterHourZone", "22:00", "08:00", "2026-11-22T00:00:00Z", []string{"Asia/Kathmandu"}, "2026-11-22T02:15:00Z", "2026-11-22T16:15:00Z", "Asia/Kathmandu", false},

		// New York, 8 March 2026: 02:00 becomes 03:00 (07:00Z).
		{"ClocksForward", "22:00", "08:00", "2026-03-08T05:00:00Z", []string{"America/New_York"}, "2026-03-08T12:00:00Z", "2026-03-09T02:00:00Z", "America/New_York", false},
		{"EndWithinTheGap", "22:00", "02:30", "2026-03-08T06:00:00Z", []string{"America/New_York"}, "2026-03-08T07:00:00Z", "2026-03-09T02:00:00Z", "America/New_York", false},
		{"StartWithinTheGap", "02:30", "09:00", "2026-03-08T06:59:00Z", []string{"America/New_York"}, "2026-03-08T06:59:00Z", "2026-03-08T07:00:00Z", "America/New_York", true},
		{"WhollyWithinTheGap", "02:00", "03:00", "2026-03-08T06:59:00Z", []string{"America/New_York"}, "2026-03-08T06:59:00Z", "2026-03-09T06:00:00Z", "America/New_York", true},
		{"WindowSwallowedByTheGap", "03:00", "02:00", "2026-03-08T06:00:00Z", []string{"America/New_York"}, "2026-03-09T06:00:00Z", "2026-03-09T07:00:00Z", "America/New_York", false},
		// New York, 1 November 2026: 02:00 becomes 01:00 (06:00Z).
		{"ClocksBack", "22:00", "08:00", "2026-11-01T05:30:00Z", []string{"America/New_York"}, "2026-11-01T13:00:00Z", "2026-11-02T03:00:00Z", "America/New_York", false},
		{"EndWithinTheOverlap", "22:00", "01:30", "2026-11-01T05:00:00Z", []string{"America/New_York"}, "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "America/New_York", false},
		{"EndWithinTheOverlapAgain", "22:00", "01:30", "2026-11-01T06:00:00Z", []string{"America/New_York"}, "2026-11-01T06:30:00Z", "2026-11-02T03:00:00Z", "America/New_York", false},
		// London, 29 March 2026: 01:00Z; 25 October 2026: 01:00Z.
		{"LondonForward", "21:00", "09:00", "2026-03-28T22:00:00Z", []string{"Europe/London"}, "2026-03-29T08:00:00Z", "2026-03-29T20:00:00Z", "Europe/London", false},
		{"LondonBack", "21:00", "09:00", "2026-10-24T21:00:00Z", []string{"Europe/London"}, "2026-10-25T09:00:00Z", "2026-10-25T21:00:00Z", "Europe/London", false},
		// Lord Howe moves by half an hour: 5 April 2026, 02:00 becomes 01:30 (4 April, 15:00Z).
		{"HalfHourChange", "22:00", "01:45", "2026-04-04T14:50:00Z", []string{"Australia/Lord_Howe"}, "2026-04-04T14:50:00Z", "2026-04-04T15:00:00Z", "Australia/Lord_Howe", true},
		{"HalfHourChangeQuietAgain", "22:00", "01:45", "2026-04-04T15:00:00Z", []string{"Australia/Lord_Howe"}, "2026-04-04T15:15:00Z", "2026-04-05T11:30:00Z", "Australia/Lord_Howe", false},

		{"AllZonesMustBeOpen", "22:00", "08:00", "2026-11-22T13:30:00Z", []string{"America/New_York", "America/Los_Angeles"}, "2026-11-22T16:00:00Z", "2026-11-23T03:00:00Z", "America/Los_Angeles", false},
		{"FirstZoneToCloseDecides", "22:00", "08:00", "2026-11-22T20:00:00Z", []string{"America/Los_Angeles", "America/New_York"}, "2026-11-22T20:00:00Z", "2026-11-23T03:00:00Z", "America/New_York", true},
		{"NeverInAllZones", "20:00", "09:00", "2026-11-22T12:00:00Z", []string{"Pacific/Auckland", "Europe/London"}, "", "", "Pacific/Auckland", false},
		{"NoQuietHours", "", "", "2026-11-22T12:00:00Z", []string{"UTC"}, "2026-11-22T12:00:00Z", "", "", true},
		{"NoZones", "22:00", "08:00", "2026-11-22T23:00:00Z", nil, "2026-11-22T23:00:00Z", "", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			window := compliance.Hours{Quiet: quiet(t, tt.start, tt.end)}.Open(instant(t, tt.now), zones(t, tt.zones...))
			show := func(at time.Time) string {
				if at.IsZero() {
					return ""
				}
				return at.UTC().Format(time.RFC3339Nano)
			}
			require.Equal(t, tt.open, window.Open)
			require.Equal(t, tt.opens, show(window.Opens), "opens")
			require.Equal(t, tt.closes, show(window.Closes), "closes")
			if tt.name != "NeverInAllZones" {
				require.Equal(t, tt.zone, window.Zone)
			}
		})
	}
}

// Open agrees with a look at every wall clock in every minute, around the clock changes of the year and away from them, for
// quiet hours, for a law whose hours differ from day to day, and for both.
func TestOpenAgreesWithEveryMinute(t *testing.T) {
	t.Parallel()
	names := []string{
		"Asia/Colombo", "Asia/Kathmandu", "Europe/London", "America/New_York", "America/Los_Angeles", "Australia/Lord_Howe",
		"America/St_Johns", "Pacific/Chatham", "Pacific/Kiritimati", "Africa/Casablanca", "America/Santiago", "Asia/Beirut",
		"Atlantic/Azores", "Asia/Kolkata", "UTC", "Africa/Cairo", "America/Havana", "Antarctica/Troll",
	}
	changes := []string{
		"2026-03-08", "2026-03-27", "2026-03-29", "2026-04-04", "2026-04-05", "2026-04-24", "2026-09-05", "2026-09-27", "2026-10-04",
		"2026-10-25", "2026-10-30", "2026-11-01", "2026-02-15", "2026-03-22",
	}
	r := rand.New(rand.NewPCG(1, 20261122))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	closed, never, reasons := 0, 0, map[compliance.Reason]int{}
	for range 600 {
		candidates := make([]*time.Location, 1+r.IntN(3))
		for i := range candidates {
			candidates[i] = zones(t, names[r.IntN(len(names))])[0]
		}
		var q compliance.QuietHours
		if r.IntN(3) > 0 {
			q = compliance.QuietHours{Start: r.IntN(1440), End: r.IntN(1440)}
			if r.IntN(2) == 0 { // ends near the hours at which clocks change
				q.End = r.IntN(240)
			}
		}
		week, law := randomWeek(t, r)
		if r.IntN(3) == 0 {
			week, law = nil, compliance.Week{}
		}
		hours := compliance.Hours{Quiet: q, Legal: law}
		now := start.Add(time.Duration(r.Int64N(int64(365 * 24 * time.Hour))))
		if r.IntN(2) == 0 {
			around, err := time.Parse(time.DateOnly, changes[r.IntN(len(changes))])
			require.NoError(t, err)
			now = around.Add(time.Duration(r.Int64N(int64(48*time.Hour))) - 24*time.Hour)
		}
		if hours.IsZero() {
			window := hours.Open(now, candidates)
			require.Equal(t, compliance.Window{Open: true, Opens: now}, window)
			continue
		}

		isOpen := func(at time.Time) bool {
			for _, zone := range candidates {
				minute := at.In(zone).Hour()*60 + at.In(zone).Minute()
				if q.Start < q.End && q.Start <= minute && minute < q.End || q.Start > q.End && (minute >= q.Start || minute < q.End) {
					return false
				}
				if week != nil {
					if day := week[at.In(zone).Weekday()]; minute < day[0] || minute >= day[1] {
						return false
					}
				}
			}
			return true
		}
		next := func(from time.Time, open bool) time.Time {
			for at := from; at.Before(from.Add(9 * 24 * time.Hour)); at = at.Truncate(time.Minute).Add(time.Minute) {
				if isOpen(at) == open {
					return at
				}
			}
			return time.Time{}
		}
		opens := next(now, true)
		window := hours.Open(now, candidates)
		require.Equal(t, isOpen(now), window.Open)
		if opens.After(now.Add(8 * 24 * time.Hour)) {
			opens = time.Time{} // beyond the horizon: never
		}
		require.True(t, opens.Equal(window.Opens), "%v %v from %v: opens %v, not %v", hours, candidates, now, opens, window.Opens)
		if opens.IsZero() {
			never++
			continue
		}
		if !window.Open {
			closed++
			reasons[window.Reason]++
		}
		closes := next(opens, false)
		if closes.After(opens.Add(8 * 24 * time.Hour)) {
			closes = time.Time{}
		}
		require.True(t, closes.Equal(window.Closes), "%v %v from %v: closes %v, not %v", hours, candidates, now, closes, window.Closes)
	}
	require.Greater(t, closed, 100)
	require.Positive(t, never)
	require.Greater(t, reasons[compliance.InQuietHours], 20)
	require.Greater(t, reasons[compliance.LegalWindow], 20)
}

// randomWeek returns the same hours as minutes by day, and as a law of them. One day in seven is closed.
func randomWeek(t *testing.T, r *rand.Rand) (*[7][2]int, compliance.Week) {
	t.Helper()
	week := [7][2]int{}
	days := map[string]string{}
	for day, name := range []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} {
		if r.IntN(7) == 0 {
			continue
		}
		from := r.IntN(1200)
		to := from + 1 + r.IntN(1440-from)
		week[day] = [2]int{from, to}
		days[name] = fmt.Sprintf("%02d:%02d-%02d:%02d", from/60, from%60, to/60, to%60)
	}
	if len(days) == 0 {
		days["mon"], week[1] = "08:00-21:00", [2]int{480, 1260}
	}
	raw, err := json.Marshal(map[string]any{"ZZ": map[string]any{"source": "test", "hours": days}})
	require.NoError(t, err)
	law, err := compliance.ParseLaw(raw)
	require.NoError(t, err)
	return &week, law.Of("ZZ")
}
