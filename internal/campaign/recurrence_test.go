package campaign_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
)

func TestRecurrenceCheck(t *testing.T) {
	t.Parallel()
	for _, cron := range []string{"0 10 * * *", "*/15 8-18 * * 1-5", "0 9 1,15 * *", "30 6 * JAN-MAR mon", "10-50/5 * * * *", "0 0 29 2 *"} {
		require.NoError(t, campaign.Recurrence{Cron: cron, Timezone: "Asia/Colombo"}.Check(), cron)
	}
	require.NoError(t, campaign.Recurrence{}.Check())
	for _, tt := range []struct{ cron, zone, want string }{
		{"0 10 * *", "UTC", "recurrence_cron: has 4 fields; five are needed: minute, hour, day of month, month, day of week"},
		{"0 0 10 * * *", "UTC", "recurrence_cron: has 6 fields"},
		{"@daily", "UTC", "recurrence_cron: has 1 fields"},
		{"TZ=UTC 0 10 * *", "UTC", "recurrence_cron: may hold digits"},
		{"0 10 ? * *", "UTC", "recurrence_cron: may hold digits"},
		{"61 10 * * *", "UTC", "recurrence_cron: cannot be read: end of range (61) above maximum (59): 61"},
		{"0 10 * * 7", "UTC", "recurrence_cron: cannot be read: end of range (7) above maximum (6): 7"},
		{"0 10 * FOO *", "UTC", "recurrence_cron: cannot be read"},
		{"5/15 * * * *", "UTC", `recurrence_cron: minute: a step needs a range before it, such as */5 or 10-50/5; "5/15" has none`},
		{"0 10 1 * 1", "UTC", "recurrence_cron: limit either the day of month or the day of week"},
		{"0 10 30 2 *", "UTC", "recurrence_cron: names a moment that never comes"},
		{"0 10 * * *", "Mars/Olympus", "recurrence_timezone: must be an IANA time zone"},
		{"0 10 * * *", "", "recurrence_timezone: must be an IANA time zone"},
		{"", "UTC", "recurrence_timezone: belongs to a recurrence"},
	} {
		err := campaign.Recurrence{Cron: tt.cron, Timezone: tt.zone}.Check()
		require.True(t, fault.Is(err, fault.Invalid), tt.cron)
		require.ErrorContains(t, err, tt.want)
	}
}

func TestRecurrenceNext(t *testing.T) {
	t.Parallel()
	next := func(cron, zone, after string, n int) []string {
		from, err := time.Parse(time.RFC3339, after)
		require.NoError(t, err)
		var found []string
		for _, at := range (campaign.Recurrence{Cron: cron, Timezone: zone}).Next(from, n) {
			found = append(found, at.Format(time.RFC3339))
		}
		return found
	}
	require.Equal(t, []string{"2026-12-01T04:30:00Z", "2026-12-02T04:30:00Z"}, next("0 10 * * *", "Asia/Colombo", "2026-12-01T04:29:59Z", 2))
	require.Equal(t, []string{"2026-12-02T04:30:00Z"}, next("0 10 * * *", "Asia/Colombo", "2026-12-01T04:30:00Z", 1), "after, not at")
	require.Equal(t, []string{"2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z"}, next("30 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", 2), "skipped by the clock")
	require.Equal(t, []string{"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}, next("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2), "shown twice, sent once")
	require.Empty(t, next("nonsense", "UTC", "2026-12-01T00:00:00Z", 2))

	twice := campaign.Recurrence{Cron: "30 1 * * *", Timezone: "America/New_York"}
	first := time.Date(2026, 11, 1, 5, 30, 0, 0, time.UTC)
	require.False(t, twice.Repeats(first))
	require.True(t, twice.Repeats(first.Add(time.Hour)))
	require.False(t, twice.Repeats(first.Add(2*time.Hour)))
	require.False(t, campaign.Recurrence{Cron: "0 10 * * *", Timezone: "UTC"}.Repeats(first))
}

func TestCheckRecurrence(t *testing.T) {
	t.Parallel()
	at := now.Add(time.Hour)
	daily := campaign.Recurrence{Cron: "0 10 * * *", Timezone: "UTC"}
	for name, tt := range map[string]struct {
		want   string
		change func(*campaign.Campaign)
	}{
		"daily":              {"", func(c *campaign.Campaign) { c.Recurrence = daily }},
		"no cron":            {"recurrence_cron:", func(c *campaign.Campaign) { c.Recurrence = campaign.Recurrence{Cron: "often", Timezone: "UTC"} }},
		"at a time as well":  {"recurrence_cron:", func(c *campaign.Campaign) { c.Recurrence, c.ScheduleTime = daily, &at }},
		"at a local time":    {"recurrence_cron:", func(c *campaign.Campaign) { c.Recurrence, c.LocalTime = daily, local(t, "2026-03-02T10:00") }},
		"a zone and no cron": {"recurrence_timezone:", func(c *campaign.Campaign) { c.Recurrence.Timezone = "UTC" }},
	} {
		c := plan()
		tt.change(&c)
		if err := c.Check(now); tt.want == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, tt.want, name)
		}
	}

	running, other := plan(), plan()
	running.Status, running.Recurrence = campaign.Scheduled, daily
	other.Recurrence.Cron, other.Recurrence.Timezone = "0 11 * * *", "UTC"
	_, err := running.Edit(other, now)
	require.NoError(t, err, "from the next occurrence on")
	_, err = running.Edit(plan(), now)
	require.ErrorContains(t, err, "recurrence_cron", "it does not become a campaign that is sent once")
	once := plan()
	once.Status = campaign.Running
	_, err = once.Edit(other, now)
	require.ErrorContains(t, err, "recurrence_cron", "nor the other way round")
}
