package campaign_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
)

func TestCheckTrigger(t *testing.T) {
	t.Parallel()
	later := now.Add(time.Hour)
	for _, tt := range []struct {
		trigger campaign.Trigger
		name    string
		change  func(*campaign.Campaign)
		refused string
	}{
		{campaign.OnEvent, "order.shipped", nil, ""},
		{campaign.OnEvent, "Order:2/a_b-c", nil, ""},
		{campaign.OnEvent, "", nil, "trigger_name"},
		{campaign.OnEvent, "order shipped", nil, "trigger_name"},
		{campaign.OnEvent, ".order", nil, "trigger_name"},
		{campaign.OnEvent, strings.Repeat("a", 101), nil, "trigger_name"},
		{campaign.OnKeyword, "summer sale", nil, ""},
		{campaign.OnKeyword, "නත්තල්", nil, ""},
		{campaign.OnKeyword, "", nil, "trigger_name"},
		{campaign.OnKeyword, "!?", nil, "trigger_name"},
		{campaign.OnKeyword, "Summer", nil, "trigger_name"},
		{campaign.OnKeyword, "stop", nil, "trigger_name"},
		{campaign.OnKeyword, "unsubscribe me", nil, "trigger_name"},
		{campaign.OnKeyword, "start", nil, "trigger_name"},
		{campaign.OnKeyword, "help", nil, "trigger_name"},
		{campaign.OnKeyword, "yes", nil, "trigger_name"},
		{campaign.OnUserCreated, "", nil, ""},
		{campaign.OnUserCreated, "new", nil, "trigger_name"},
		{campaign.ByOperator, "new", nil, "trigger_name segment_id"},
		{"full_moon", "", nil, "trigger"},
		{campaign.OnUserCreated, "", func(c *campaign.Campaign) { s := int64(1); c.SegmentID = &s }, "segment_id"},
		{campaign.OnUserCreated, "", func(c *campaign.Campaign) { c.SegmentQuery = []byte(`{"a":1}`) }, "segment_query"},
		{campaign.OnUserCreated, "", func(c *campaign.Campaign) { c.Canary = 5 }, "canary_percent"},
		{campaign.OnUserCreated, "", func(c *campaign.Campaign) { c.ScheduleTime = &later }, "schedule_time"},
		{campaign.OnUserCreated, "", func(c *campaign.Campaign) { c.LocalTime, _ = campaign.ParseLocalTime("2099-12-01T10:00") }, "schedule_local_time"},
		{campaign.OnUserCreated, "", func(c *campaign.Campaign) {
			c.Recurrence = campaign.Recurrence{Cron: "0 10 * * *", Timezone: "Asia/Colombo"}
		}, "recurrence_cron"},
		{campaign.OnUserCreated, "", func(c *campaign.Campaign) { c.StartWithin = time.Hour }, "start_within_minutes"},
	} {
		c := plan()
		c.SegmentID, c.Trigger, c.TriggerName = nil, tt.trigger, tt.name
		if tt.change != nil {
			tt.change(&c)
		}
		err := c.Check(now)
		if tt.refused == "" {
			require.NoError(t, err, "%s %q", tt.trigger, tt.name)
			continue
		}
		var f *fault.Fault
		require.ErrorAs(t, err, &f, "%s %q", tt.trigger, tt.name)
		for _, field := range f.Fields {
			require.Contains(t, strings.Fields(tt.refused), field.Name, tt.name)
		}
		require.Len(t, f.Fields, len(strings.Fields(tt.refused)), "%s %q: %v", tt.trigger, tt.name, f.Fields)
	}
}

func TestTriggerIsPartOfTheRun(t *testing.T) {
	t.Parallel()
	running := plan()
	running.Status = campaign.Running
	to := running
	to.SegmentID, to.Trigger, to.TriggerName = nil, campaign.OnEvent, "order.shipped"
	_, err := running.Edit(to, now)
	require.Equal(t, []string{"segment_id", "trigger", "trigger_name"}, conflicts(t, err))
	require.Empty(t, running.Changes(func() campaign.Campaign { c := running; c.Trigger = campaign.ByOperator; return c }()))
}

func TestOpen(t *testing.T) {
	t.Parallel()
	require.False(t, campaign.Run{Kind: campaign.ByTrigger}.Open())
	require.True(t, campaign.Run{Kind: campaign.ByEvent}.Open())
	require.False(t, campaign.Run{Kind: campaign.ByEvent, ClosedAt: &now}.Open())
	require.False(t, campaign.Run{Kind: campaign.ByEvent, FinishedAt: &now}.Open())
	require.Equal(t, campaign.ByTrigger, campaign.Trigger("").RunKind())
}
