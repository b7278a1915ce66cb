package compliance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/compliance"
)

// TestListedLaw looks at every hour of a week in every listed place.
func TestListedLaw(t *testing.T) {
	t.Parallel()
	law := compliance.ListedLaw()
	daily := func(from, to int) [7][2]int {
		return [7][2]int{{from, to}, {from, to}, {from, to}, {from, to}, {from, to}, {from, to}, {from, to}}
	}
	want := map[string][7][2]int{ // from Sunday on
		"US": daily(8, 21), "AS": daily(8, 21), "GU": daily(8, 21), "MP": daily(8, 21), "PR": daily(8, 21), "VI": daily(8, 21),
		"US-FL": daily(8, 20), "US-MD": daily(8, 20), "US-MS": daily(8, 20), "US-NJ": daily(8, 20), "US-OK": daily(8, 20), "US-WA": daily(8, 20),
		"US-CT": daily(9, 20),
		"US-TX": {{12, 21}, {9, 21}, {9, 21}, {9, 21}, {9, 21}, {9, 21}, {9, 21}},
		"US-RI": {{10, 17}, {9, 18}, {9, 18}, {9, 18}, {9, 18}, {9, 18}, {10, 17}},
	}
	require.Len(t, law.Places(), len(want))
	for _, place := range law.Places() {
		for hour := range 7 * 24 {
			at := time.Date(2026, 11, 22, hour, 0, 0, 0, time.UTC) // a Sunday
			day := want[place][at.Weekday()]
			open := compliance.Hours{Legal: law.Of(place)}.Open(at, zones(t, "UTC")).Open
			require.Equal(t, day[0] <= at.Hour() && at.Hour() < day[1], open, "%s at %s", place, at)
		}
	}
	require.Equal(t, law.Of("US"), law.Of("US-NY"), "a state that is not listed has the hours of the country")
	require.Equal(t, "US-FL", law.Of("US-FL").String())
	for _, place := range []string{"", "LK", "CA", "CA-ON", "JM", "FL"} {
		require.True(t, law.Of(place).IsZero(), place)
		require.Equal(t, "none", law.Of(place).String())
	}
	require.True(t, compliance.Law{}.Of("US").IsZero())
}

func TestLegalWindow(t *testing.T) {
	t.Parallel()
	law := compliance.ListedLaw()
	for _, tt := range []struct {
		name, place   string
		start, end    string // of quiet hours
		now           string
		zones         []string
		open          bool
		opens, closes string
		reason        compliance.Reason
	}{
		{"Evening", "US", "", "", "2026-11-24T02:00:00Z", []string{"America/New_York"}, false, "2026-11-24T13:00:00Z", "2026-11-25T02:00:00Z", compliance.LegalWindow},
		{"Day", "US", "", "", "2026-11-24T14:00:00Z", []string{"America/New_York"}, true, "2026-11-24T14:00:00Z", "2026-11-25T02:00:00Z", compliance.LegalWindow},
		{"StricterState", "US-FL", "", "", "2026-11-25T01:30:00Z", []string{"America/New_York"}, false, "2026-11-25T13:00:00Z", "2026-11-26T01:00:00Z", compliance.LegalWindow},
		{"SundayInTexas", "US-TX", "", "", "2026-11-22T16:00:00Z", []string{"America/Chicago"}, false, "2026-11-22T18:00:00Z", "2026-11-23T03:00:00Z", compliance.LegalWindow},
		{"FridayEveningInRhodeIsland", "US-RI", "", "", "2026-11-27T23:30:00Z", []string{"America/New_York"}, false, "2026-11-28T15:00:00Z", "2026-11-28T22:00:00Z", compliance.LegalWindow},
		{"BothZonesMustBeOpen", "US", "", "", "2026-11-24T13:30:00Z", []string{"America/New_York", "America/Los_Angeles"}, false, "2026-11-24T16:00:00Z", "2026-11-25T02:00:00Z", compliance.LegalWindow},
		{"QuietHoursAreStricter", "US", "18:00", "10:00", "2026-11-24T02:00:00Z", []string{"America/New_York"}, false, "2026-11-24T15:00:00Z", "2026-11-24T23:00:00Z", compliance.InQuietHours},
		{"QuietHoursAreLaxer", "US", "23:00", "06:00", "2026-11-24T02:30:00Z", []string{"America/New_York"}, false, "2026-11-24T13:00:00Z", "2026-11-25T02:00:00Z", compliance.LegalWindow},
		{"QuietHoursEndFirst", "US-CT", "21:00", "08:00", "2026-11-24T11:00:00Z", []string{"America/New_York"}, false, "2026-11-24T14:00:00Z", "2026-11-25T01:00:00Z", compliance.LegalWindow},
		{"NoHourIsLeft", "US-RI", "09:00", "18:00", "2026-11-24T11:00:00Z", []string{"America/New_York"}, false, "", "", compliance.LegalWindow},
		// 8 March 2026: 02:00 becomes 03:00; 1 November: 02:00 becomes 01:00.
		{"ClocksForward", "US", "", "", "2026-03-08T06:00:00Z", []string{"America/New_York"}, false, "2026-03-08T12:00:00Z", "2026-03-09T01:00:00Z", compliance.LegalWindow},
		{"ClocksBack", "US", "", "", "2026-11-01T05:30:00Z", []string{"America/New_York"}, false, "2026-11-01T13:00:00Z", "2026-11-02T02:00:00Z", compliance.LegalWindow},
		{"SundayOfTheChangeInTexas", "US-TX", "", "", "2026-11-01T06:00:00Z", []string{"America/Chicago"}, false, "2026-11-01T18:00:00Z", "2026-11-02T03:00:00Z", compliance.LegalWindow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			window := compliance.Hours{Quiet: quiet(t, tt.start, tt.end), Legal: law.Of(tt.place)}.Open(instant(t, tt.now), zones(t, tt.zones...))
			show := func(at time.Time) string {
				if at.IsZero() {
					return ""
				}
				return at.UTC().Format(time.RFC3339)
			}
			require.Equal(t, tt.open, window.Open)
			require.Equal(t, tt.opens, show(window.Opens), "opens")
			require.Equal(t, tt.closes, show(window.Closes), "closes")
			if tt.opens != "" {
				require.Equal(t, tt.reason, window.Reason)
			}
		})
	}
}

func TestParseLaw(t *testing.T) {
	t.Parallel()
	law, err := compliance.ParseLaw([]byte(`{"FR": {"source": "décret 2022-1313", "hours": {"mon-fri": "10:00-20:00"}}, "US-TX": {"source": "s", "hours": {"sat-mon": "0:00-24:00"}}}`))
	require.NoError(t, err)
	open := func(law compliance.Law, place, at string) bool {
		return compliance.Hours{Legal: law.Of(place)}.Open(instant(t, at), zones(t, "UTC")).Open
	}
	require.True(t, open(law, "FR", "2026-11-20T19:59:00Z"), "a Friday")
	require.False(t, open(law, "FR", "2026-11-21T12:00:00Z"), "a day that is not named")
	require.True(t, open(law, "US-TX", "2026-11-22T23:59:59Z"), "days go round the end of the week")
	require.False(t, open(law, "US-TX", "2026-11-24T00:00:00Z"))
	both := compliance.ListedLaw().With(law)
	require.True(t, open(both, "US-TX", "2026-11-22T23:59:59Z"), "it takes the place of what is listed")
	require.False(t, open(both, "US-FL", "2026-11-22T23:59:59Z"), "the rest stays")
	require.False(t, open(both, "FR", "2026-11-21T12:00:00Z"))
	require.False(t, open(compliance.ListedLaw(), "US-TX", "2026-11-22T23:59:59Z"), "what is listed is left alone")
	require.Equal(t, []string{"FR"}, compliance.Law{}.With(mustLaw(t, `{"FR": {"source": "s", "hours": {"mon": "8:00-9:00"}}}`)).Places())

	for name, text := range map[string]string{
		"no JSON":           `{`,
		"unknown field":     `{"FR": {"source": "s", "hours": {"mon": "08:00-09:00"}, "zone": "UTC"}}`,
		"no place":          `{"France": {"source": "s", "hours": {"mon": "08:00-09:00"}}}`,
		"no source":         `{"FR": {"source": " ", "hours": {"mon": "08:00-09:00"}}}`,
		"no hours":          `{"FR": {"source": "s", "hours": {}}}`,
		"unknown day":       `{"FR": {"source": "s", "hours": {"weekday": "08:00-09:00"}}}`,
		"half a range":      `{"FR": {"source": "s", "hours": {"mon-": "08:00-09:00"}}}`,
		"a day twice":       `{"FR": {"source": "s", "hours": {"mon-wed": "08:00-09:00", "tue": "08:00-09:00"}}}`,
		"no end":            `{"FR": {"source": "s", "hours": {"mon": "08:00"}}}`,
		"ends at the start": `{"FR": {"source": "s", "hours": {"mon": "08:00-08:00"}}}`,
		"past midnight":     `{"FR": {"source": "s", "hours": {"mon": "20:00-02:00"}}}`,
		"no time":           `{"FR": {"source": "s", "hours": {"mon": "8-9"}}}`,
		"25 hours":          `{"FR": {"source": "s", "hours": {"mon": "08:00-25:00"}}}`,
	} {
		_, err := compliance.ParseLaw([]byte(text))
		require.ErrorContains(t, err, "legal windows", name)
	}
}

func mustLaw(t *testing.T, text string) compliance.Law {
	t.Helper()
	law, err := compliance.ParseLaw([]byte(text))
	require.NoError(t, err)
	return law
}
