package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// A campaign that outruns the approval of its template waits for it, and reaches everyone by the approved content alone.
func TestCampaignOutrunsItsTemplate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.sim("PUT", "/sim/faults", object{"approvals": object{"delay_ms": 15_000}}, nil)
	persons := w.people("+9477", "Paperville", 20)
	campaign := w.campaign("Paperville", nil)
	w.trigger(campaign)
	w.until("the run to wait for its template", func() bool {
		return w.count(`SELECT count(*) FROM messages WHERE state = 'pending' AND reason = 'template_approval'`) == len(persons)
	})
	require.Zero(t, w.accepted())
	w.awaitDelivered(campaign, len(persons))
	w.judge(persons)
	require.Zero(t, w.count(`SELECT count(*) FROM attempts WHERE content_sid IS NULL`))
	var sent []struct {
		ContentSID string `json:"content_sid"`
		Body       string
	}
	w.sim("GET", "/sim/messages?direction=outbound-api", nil, &sent)
	require.Contains(t, sent[0].Body, "xylophone news from Paperville")

	w.api("POST", "/api/v1/templates/sync", nil)
	w.until("the provider's list", func() bool { return w.api("GET", "/api/v1/templates/contents", nil)["total"] == 1.0 })
	content := w.api("GET", "/api/v1/templates/contents", nil)["contents"].([]any)[0].(object)
	require.Equal(t, []any{sent[0].ContentSID, "approved"}, []any{content["content_sid"], content["approval"]})
}

// Free text reaches those who wrote within a day, and nobody else, whatever the policy; a rejected template pauses the campaign.
func TestWindowOfWhatsApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	persons := w.people("+9477", "Chatville", 4)
	for _, p := range persons[:2] {
		w.sim("POST", "/sim/inbound", object{"from": p.number, "to": "+14155238886", "body": "good morning"}, nil)
	}
	campaign := w.campaign("Chatville", object{"window_policy": "suppress"})
	w.trigger(campaign)
	w.until("the campaign to end", func() bool { return w.status(campaign) == "COMPLETED" })
	w.judge(persons[:2])
	require.Equal(t, 2, w.count(`SELECT count(*) FROM messages WHERE state = 'suppressed' AND reason = 'outside_window'`))
	require.Zero(t, w.count(`SELECT count(*) FROM attempts WHERE content_sid IS NOT NULL`))

	w.sim("PUT", "/sim/faults", object{"approvals": object{"reject": "INVALID_FORMAT"}}, nil)
	w.people("+9476", "Formville", 2)
	refused := w.campaign("Formville", nil)
	w.trigger(refused)
	w.until("the campaign to be paused", func() bool { return w.status(refused) == "PAUSED" })
	require.Contains(t, w.api("GET", fmt.Sprintf("/api/v1/campaigns/%d", refused), nil)["status_reason"], "INVALID_FORMAT")
}

// Workers see to it that the provider's templates are looked at as often as they are told, and leave a schedule that somebody
// paused in peace.
func TestScheduledSync(t *testing.T) {
	t.Parallel()
	env := map[string]string{"TEMPLATE_SYNC_INTERVAL": "20m"}
	w := newWorld(t, map[stack.Role]map[string]string{stack.Worker: env})
	w.campaign("Clockville", nil) // its template has a content made at the provider
	schedule := w.temporal().ScheduleClient().GetHandle(t.Context(), "templates-sync")
	describe := func() (*client.ScheduleDescription, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return schedule.Describe(ctx)
	}
	every := func(want time.Duration) *client.ScheduleDescription {
		t.Helper()
		var is *client.ScheduleDescription
		w.until("the schedule to run every "+want.String(), func() bool {
			var err error
			is, err = describe()
			return err == nil && len(is.Schedule.Spec.Intervals) == 1 && is.Schedule.Spec.Intervals[0].Every == want
		})
		return is
	}
	every(20 * time.Minute)
	contents := func() any { return w.api("GET", "/api/v1/templates/contents", nil)["total"] }
	require.Equal(t, 0.0, contents())
	w.until("the template to be approved", func() bool {
		return w.count(`SELECT count(*) FROM template_variants WHERE approval = 'approved'`) == 1
	})
	require.NoError(t, schedule.Trigger(t.Context(), client.ScheduleTriggerOptions{}))
	w.until("the provider's list", func() bool { return contents() == 1.0 })

	require.NoError(t, schedule.Pause(t.Context(), client.SchedulePauseOptions{Note: "by hand"}))
	env["TEMPLATE_SYNC_INTERVAL"] = "45m"
	require.NoError(t, w.Restart(t.Context(), stack.Worker))
	require.True(t, every(45*time.Minute).Schedule.State.Paused)

	env["TEMPLATE_SYNC_INTERVAL"] = "0"
	require.NoError(t, w.Restart(t.Context(), stack.Worker))
	w.until("the schedule to be gone", func() bool {
		_, err := describe()
		_, gone := errors.AsType[*serviceerror.NotFound](err)
		return gone
	})
}
