package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// A campaign that recurs is triggered while Temporal is down, is sent minute after minute, paused, resumed, changed and
// cancelled.
func TestRecurrence(t *testing.T) {
	w := newWorld(t, nil)
	persons := w.people("+9477", "Minuteville", 4)
	c := w.campaign("Minuteville", object{"recurrence_cron": "* * * * *", "recurrence_timezone": "Asia/Colombo"})
	path := fmt.Sprintf("/api/v1/campaigns/%d", c)
	require.NoError(t, w.Kill(stack.Temporal))
	require.Equal(t, "SCHEDULED", w.api("POST", path+"/trigger", object{})["status"])
	require.NoError(t, w.Start(t.Context(), stack.Temporal))

	schedule := w.temporal().ScheduleClient().GetHandle(t.Context(), fmt.Sprintf("campaign/%d", c))
	described := func() *client.ScheduleDescription {
		d, err := schedule.Describe(t.Context())
		if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
			return nil
		}
		require.NoError(t, err)
		return d
	}
	w.until("Temporal to know of the recurrence", func() bool { return described() != nil })
	w.until("the first occurrence to be over", func() bool {
		got := w.api("GET", path, nil)
		return got["status"] == "SCHEDULED" && got["audience_size"] == 4.0
	})
	w.judge(persons)

	w.api("POST", path+"/pause", nil)
	require.Empty(t, w.api("GET", path, nil)["next_occurrences"])
	w.until("the schedule to be paused", func() bool { return described().Schedule.State.Paused })
	sent := w.accepted()
	w.api("PATCH", path, object{"recurrence_cron": "30 2 1 * *", "recurrence_timezone": "America/New_York"})
	require.Equal(t, "SCHEDULED", w.api("POST", path+"/resume", nil)["status"])
	w.until("the schedule to be as the campaign is", func() bool {
		d := described()
		if d.Schedule.State.Paused || d.Schedule.Spec.TimeZoneName != "America/New_York" {
			return false
		}
		var ours []time.Time
		for _, at := range w.api("GET", path, nil)["next_occurrences"].([]any) {
			moment, err := time.Parse(time.RFC3339, at.(string))
			require.NoError(t, err)
			ours = append(ours, moment)
		}
		require.Len(t, ours, 5)
		for i, at := range d.Info.NextActionTimes[:5] {
			require.Equal(t, ours[i], at.UTC(), "what the API shows is what Temporal does")
		}
		return true
	})
	require.Equal(t, sent, w.accepted(), "nothing was sent meanwhile")

	require.NoError(t, schedule.Trigger(t.Context(), client.ScheduleTriggerOptions{}))
	w.until("the second occurrence to be over", func() bool { return w.accepted() == sent+len(persons) })
	runs := w.api("GET", path+"/runs", nil)["runs"].([]any)
	require.Equal(t, "recurrence", runs[0].(object)["kind"])

	require.Equal(t, "CANCELLED", w.api("POST", path+"/cancel", nil)["status"])
	w.until("the schedule to be gone", func() bool { return described() == nil })
	status, _ := w.call(http.MethodPost, w.URL()+path+"/trigger", object{})
	require.Equal(t, http.StatusConflict, status)
}
