package preflight_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/preflight"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

var (
	noon  = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	night = compliance.QuietHours{Start: 22 * 60, End: 8 * 60}
)

// tally is that of a run with these quiet hours that is triggered at noon, and the deliveries of its people.
func tally(quiet compliance.QuietHours, rate int) (*preflight.Tally, func(region, zone, name string) ledger.Delivery) {
	run := ledger.Run{Run: campaign.Run{StartedAt: noon}, RatePerSecond: rate, Quiet: quiet, Timezone: "UTC"}
	return preflight.New(run, message.WhatsApp, preflight.Rates{Campaign: rate, Sender: 80, Account: 1000}, 2, noon),
		func(region, zone, name string) ledger.Delivery {
			d := ledger.Delivery{
				Phone: "+94771234567", Consent: user.OptIn, Zones: []string{zone}, Quiet: quiet, Timezone: "UTC", Channel: message.WhatsApp,
				Variants:   []render.Variant{{Content: "Hi {name}", Approval: render.Approved}},
				Attributes: user.Attributes{}, Region: region,
			}
			if name != "" {
				d.Attributes["name"] = name
			}
			return d
		}
}

func TestForecast(t *testing.T) {
	t.Parallel()
	day, person := tally(night, 10)
	for range 20 {
		day.Judge(person("LK", "Asia/Colombo", "Ann")) // 17:30 there
	}
	for range 10 {
		day.Judge(person("US", "America/Los_Angeles", "Bob")) // 4:00
	}
	day.Judge(person("US", "America/Los_Angeles", "")) // shows only when the night is over
	day.Exclude("LK", []string{"Asia/Colombo"}, compliance.Week{}, "stopped")
	day.Exclude("", nil, compliance.Week{}, "no_consent")

	f := day.Forecast()
	require.Equal(t, 33, f.Audience)
	require.Equal(t, 30, f.ToSend)
	require.Equal(t, []campaign.VerdictCount{
		{Action: "proceed", Count: 20}, {Action: "wait", Reason: "quiet_hours", Count: 10}, {Action: "suppress", Reason: "missing_variable", Count: 1},
		{Action: "suppress", Reason: "no_consent", Count: 1}, {Action: "suppress", Reason: "stopped", Count: 1},
	}, f.Verdicts)
	require.Equal(t, map[string]int{"LK": 20, "US": 10}, f.Units)
	require.Equal(t, 3*time.Second, f.Sending)
	require.InDelta(t, 10, f.RatePerSecond, 0)

	opens := time.Date(2026, 3, 2, 16, 0, 0, 0, time.UTC)
	require.Equal(t, []preflight.Group{
		{Region: "LK", Zones: []string{"Asia/Colombo"}, Proceed: 20, Suppress: 1, FirstSend: noon, LastSend: noon.Add(1900 * time.Millisecond), FirstLocal: "2026-03-02T17:30", LastLocal: "2026-03-02T17:30"},
		{Region: "US", Zones: []string{"America/Los_Angeles"}, Wait: 10, Suppress: 1, FirstSend: opens, LastSend: opens.Add(900 * time.Millisecond), FirstLocal: "2026-03-02T08:00", LastLocal: "2026-03-02T08:00"},
		{Region: "", Zones: []string{"UTC"}, Suppress: 1},
	}, f.Groups)
	require.Equal(t, noon, f.FirstSend)
	require.Equal(t, opens.Add(900*time.Millisecond), f.LastSend)
	require.Equal(t, "2026-03-02T08:00", f.FirstLocal)
	require.Equal(t, "2026-03-02T17:30", f.LastLocal)
	require.Len(t, f.Samples, 2)
	require.Equal(t, preflight.Sample{Phone: "+94…4567", Region: "LK", Action: compliance.Proceed, Body: "Hi Ann"}, f.Samples[0])
}

// Whoever is not sent to before the night begins is sent to after it.
func TestForecastOverNight(t *testing.T) {
	t.Parallel()
	slow, person := tally(night, 1)
	for range 17_000 { // 16,200 seconds are left of the day in Colombo
		slow.Judge(person("LK", "Asia/Colombo", "Ann"))
	}
	f := slow.Forecast()
	morning := time.Date(2026, 3, 3, 2, 30, 0, 0, time.UTC)
	require.Equal(t, morning.Add(799*time.Second), f.LastSend)
	require.Equal(t, "2026-03-02T17:30", f.FirstLocal)
	require.Equal(t, "2026-03-03T08:13", f.LastLocal)
}

// With a time of everyone's own clock each group is sent to at its own moment.
func TestForecastOfLocalTime(t *testing.T) {
	t.Parallel()
	at, ok := campaign.ParseLocalTime("2026-03-03T10:00")
	require.True(t, ok)
	first := at.First()
	run := ledger.Run{Run: campaign.Run{StartedAt: noon, NotBefore: &first}, RatePerSecond: 10, Timezone: "UTC", Schedule: ledger.Schedule{Local: at, Began: first}}
	own := preflight.New(run, message.SMS, preflight.Rates{Campaign: 10, Sender: 10, Account: 1000}, 0, noon)
	for _, zone := range []string{"Asia/Colombo", "America/New_York"} {
		own.Judge(ledger.Delivery{Phone: "+94771234567", Consent: user.OptIn, Zones: []string{zone}, Timezone: "UTC", Channel: message.SMS, Content: "Hi", Schedule: run.Schedule})
	}
	f := own.Forecast()
	require.Equal(t, []campaign.VerdictCount{{Action: "wait", Reason: "schedule", Count: 2}}, f.Verdicts)
	require.Equal(t, time.Date(2026, 3, 3, 4, 30, 0, 0, time.UTC), f.FirstSend)
	require.Equal(t, time.Date(2026, 3, 3, 15, 0, 0, 0, time.UTC), f.LastSend)
	require.Equal(t, "2026-03-03T10:00", f.FirstLocal)
	require.Equal(t, "2026-03-03T10:00", f.LastLocal)
	require.Empty(t, f.Samples)
}

func TestForecastOfNobody(t *testing.T) {
	t.Parallel()
	empty, _ := tally(night, 10)
	f := empty.Forecast()
	require.Zero(t, f.Audience)
	require.Zero(t, f.FirstSend)
	require.Empty(t, f.FirstLocal)
}
