package campaign_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
)

func local(t *testing.T, text string) campaign.LocalTime {
	t.Helper()
	l, ok := campaign.ParseLocalTime(text)
	require.True(t, ok, text)
	return l
}

func TestParseLocalTime(t *testing.T) {
	t.Parallel()
	require.Equal(t, "2026-12-01T10:00", local(t, "2026-12-01T10:00").String())
	require.True(t, local(t, "").IsZero())
	require.Empty(t, local(t, "").String())
	for _, text := range []string{"2026-12-01", "2026-12-01T10:00:00", "2026-12-01T10:00Z", "2026-02-30T10:00", "2026-12-01T24:00", "2026-12-1T10:00", "soon"} {
		_, ok := campaign.ParseLocalTime(text)
		require.False(t, ok, text)
	}
}

func TestLocalTimeIn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, zone, want string }{
		{"UTC", "2026-12-01T10:00", "UTC", "2026-12-01T10:00:00Z"},
		{"east", "2026-12-01T10:00", "Asia/Colombo", "2026-12-01T04:30:00Z"},
		{"first on Earth", "2026-12-01T10:00", "Pacific/Kiritimati", "2026-11-30T20:00:00Z"},
		{"last on Earth", "2026-12-01T10:00", "Etc/GMT+12", "2026-12-01T22:00:00Z"},
		{"before the clock goes forward", "2026-03-08T01:59", "America/New_York", "2026-03-08T06:59:00Z"},
		{"skipped by the clock", "2026-03-08T02:30", "America/New_York", "2026-03-08T07:00:00Z"},
		{"at the end of what is skipped", "2026-03-08T03:00", "America/New_York", "2026-03-08T07:00:00Z"},
		{"shown twice", "2026-11-01T01:30", "America/New_York", "2026-11-01T05:30:00Z"},
		{"after what is shown twice", "2026-11-01T02:00", "America/New_York", "2026-11-01T07:00:00Z"},
		{"half an hour skipped", "2026-10-04T02:15", "Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
		{"a day that never was", "2011-12-30T10:00", "Pacific/Apia", "2011-12-30T10:00:00Z"},
	} {
		zone, err := time.LoadLocation(tt.zone)
		require.NoError(t, err)
		l := local(t, tt.text)
		require.Equal(t, tt.want, l.In(zone).Format(time.RFC3339), tt.name)
		require.False(t, l.In(zone).Before(l.First()), tt.name)
		require.False(t, l.In(zone).After(l.Last()), tt.name)
	}
}

func TestCheckSchedule(t *testing.T) {
	t.Parallel()
	at := now.Add(time.Hour)
	for _, tt := range []struct {
		name, field string
		change      func(*campaign.Campaign)
	}{
		{"a time of everyone's own", "", func(c *campaign.Campaign) { c.LocalTime = local(t, "2026-03-01T10:00") }},
		{"over everywhere", "schedule_local_time", func(c *campaign.Campaign) { c.LocalTime = local(t, "2026-03-01T00:00") }},
		{"two times", "schedule_local_time", func(c *campaign.Campaign) { c.LocalTime, c.ScheduleTime = local(t, "2026-03-02T10:00"), &at }},
		{"a limit", "", func(c *campaign.Campaign) { c.StartWithin = time.Minute }},
		{"a limit too small", "start_within_minutes", func(c *campaign.Campaign) { c.StartWithin = time.Second }},
		{"a negative limit", "start_within_minutes", func(c *campaign.Campaign) { c.StartWithin = -time.Minute }},
		{"a limit too large", "start_within_minutes", func(c *campaign.Campaign) { c.StartWithin = campaign.MaxStartWithin + time.Minute }},
	} {
		c := plan()
		tt.change(&c)
		err := c.Check(now)
		if tt.field == "" {
			require.NoError(t, err, tt.name)
			continue
		}
		require.ErrorContains(t, err, tt.field+":", tt.name)
	}

	under := plan()
	under.Status, under.LocalTime = campaign.Running, local(t, "2026-02-28T10:00")
	faster := under
	faster.RatePerSecond = 11
	edited, err := under.Edit(faster, now)
	require.NoError(t, err, "the time is over, the run is not")
	require.Equal(t, under.LocalTime, edited.LocalTime)
	other := under
	other.LocalTime = local(t, "2026-03-02T10:00")
	_, err = under.Edit(other, now)
	require.ErrorContains(t, err, "schedule_local_time")
}
