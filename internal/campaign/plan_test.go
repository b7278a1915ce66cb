package campaign_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func plan() campaign.Campaign {
	segment := int64(2)
	return campaign.Campaign{ID: 1, Topic: "Spring", TemplateID: 3, SegmentID: &segment, Status: campaign.Draft, RatePerSecond: 10, Priority: campaign.Bulk, FailureThreshold: 20, Timezone: "UTC"}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	require.NoError(t, plan().Check(now))
	for _, tt := range []struct {
		field  string
		change func(*campaign.Campaign)
	}{
		{"topic", func(c *campaign.Campaign) { c.Topic = "  " }},
		{"topic", func(c *campaign.Campaign) { c.Topic = "a\x00b" }},
		{"topic", func(c *campaign.Campaign) { c.Topic = strings.Repeat("é", 101) }},
		{"template_id", func(c *campaign.Campaign) { c.TemplateID = 0 }},
		{"segment_id", func(c *campaign.Campaign) { c.SegmentID = nil }},
		{"segment_query", func(c *campaign.Campaign) { c.SegmentQuery = json.RawMessage(`{"a":1}`) }},
		{"rate_limit_per_second", func(c *campaign.Campaign) { c.RatePerSecond = 0 }},
		{"rate_limit_per_second", func(c *campaign.Campaign) { c.RatePerSecond = 1001 }},
		{"priority", func(c *campaign.Campaign) { c.Priority = "urgent" }},
		{"failure_threshold_percent", func(c *campaign.Campaign) { c.FailureThreshold = -1 }},
		{"failure_threshold_percent", func(c *campaign.Campaign) { c.FailureThreshold = 101 }},
		{"canary_percent", func(c *campaign.Campaign) { c.Canary = -1 }},
		{"canary_percent", func(c *campaign.Campaign) { c.Canary = 51 }},
		{"frequency_cap", func(c *campaign.Campaign) { c.FrequencyCap = campaign.Cap{Count: 1} }},
		{"frequency_cap", func(c *campaign.Campaign) { c.FrequencyCap = campaign.Cap{Count: 101, Days: 1} }},
		{"frequency_cap", func(c *campaign.Campaign) { c.FrequencyCap = campaign.Cap{Count: 1, Days: 91} }},
		{"timezone", func(c *campaign.Campaign) { c.Timezone = "Local" }},
		{"timezone", func(c *campaign.Campaign) { c.Timezone = "" }},
		{"timezone", func(c *campaign.Campaign) { c.Timezone = "Mars/Olympus" }},
		{"schedule_time", func(c *campaign.Campaign) { c.ScheduleTime = &now }},
	} {
		c := plan()
		tt.change(&c)
		var f *fault.Fault
		require.ErrorAs(t, c.Check(now), &f, tt.field)
		require.Len(t, f.Fields, 1)
		require.Equal(t, tt.field, f.Fields[0].Name)
	}
}

func TestEdit(t *testing.T) {
	t.Parallel()
	later := now.Add(time.Hour)

	to := plan()
	to.Topic, to.Status, to.ID = "Summer", campaign.Running, 99
	edited, err := plan().Edit(to, later)
	require.NoError(t, err)
	require.Equal(t, "Summer", edited.Topic)
	require.Equal(t, campaign.Draft, edited.Status, "an edit is no move")
	require.EqualValues(t, 1, edited.ID)

	running := plan()
	running.Status, running.ScheduleTime = campaign.Running, &now // past by now, and still part of the plan
	same := running
	same.RatePerSecond = 5
	edited, err = running.Edit(same, later)
	require.NoError(t, err)
	require.Equal(t, 5, edited.RatePerSecond)
	same.RatePerSecond = 0
	_, err = running.Edit(same, later)
	require.True(t, fault.Is(err, fault.Invalid))

	start, end := 22*60, 8*60
	same.RatePerSecond, same.Priority, same.FailureThreshold, same.QuietStart, same.QuietEnd = 7, campaign.Transactional, 0, &start, &end
	edited, err = running.Edit(same, later)
	require.NoError(t, err)
	require.Equal(t, []string{"rate_limit_per_second", "priority", "failure_threshold_percent", "quiet_hours_start", "quiet_hours_end"}, running.Changes(edited))
	require.Equal(t, running.ScheduleTime, edited.ScheduleTime)
	_, err = running.Replace(same, later)
	require.Equal(t, []string{"priority", "failure_threshold_percent", "quiet_hours_start", "quiet_hours_end"}, conflicts(t, err))

	to = running
	to.Topic, to.TemplateID, to.SegmentID, to.SegmentQuery, to.Canary, to.Timezone, to.ScheduleTime = "Summer", 4, nil, json.RawMessage(`{"a":1}`), 5, "Asia/Colombo", nil
	_, err = running.Edit(to, later)
	require.Equal(t, []string{"topic", "template_id", "segment_id", "segment_query", "canary_percent", "timezone", "schedule_time"}, conflicts(t, err))

	over := plan()
	over.Status = campaign.Completed
	_, err = over.Edit(over, later)
	require.True(t, fault.Is(err, fault.Conflict))
}

// conflicts names the fields of a Conflict.
func conflicts(t *testing.T, err error) []string {
	t.Helper()
	var f *fault.Fault
	require.ErrorAs(t, err, &f)
	require.Equal(t, fault.Conflict, f.Kind)
	var names []string
	for _, field := range f.Fields {
		names = append(names, field.Name)
	}
	return names
}

func TestBegan(t *testing.T) {
	t.Parallel()
	schedule := now.Add(time.Hour)
	require.Equal(t, now, *campaign.Run{StartedAt: now}.Began(now))
	run := campaign.Run{StartedAt: now, NotBefore: &schedule}
	require.Nil(t, run.Began(now))
	require.Equal(t, schedule, *run.Began(schedule))
}
