package worker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/report"
)

// TestDrip takes people through a sequence of two weeks: one to its end, one whom the night holds up, one who replies, one
// who says STOP and one whose workflow is ended by hand. The campaign is completed on the first day, and goes on until the last
// of them is through.
func TestDrip(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	w := newWorld(t, noon)
	w.every, w.until = 20*time.Minute, 30*day
	plan := night(campaign.Campaign{
		Topic: "Welcome", RatePerSecond: 10, Timezone: "UTC", Trigger: campaign.OnEvent, TriggerName: "signed.up", ExitOn: campaign.ExitOn{Reply: true},
	})
	for i, wait := range []time.Duration{0, 3 * day, 11 * day} {
		template, err := w.store.CreateTemplate(t.Context(), render.Saved{
			Name: fmt.Sprintf("Step %d", i+1), Content: fmt.Sprintf("Step %d", i+1), Channel: message.WhatsApp, Locale: "en", Category: render.Utility,
		}, noon)
		require.NoError(t, err)
		approve(t, w.store, template, noon)
		plan.Steps = append(plan.Steps, campaign.Step{TemplateID: template.ID, Wait: wait})
	}
	plan.TemplateID = plan.Steps[0].TemplateID
	c, err := w.store.CreateCampaign(t.Context(), plan, noon)
	require.NoError(t, err)
	w.start(c.ID)
	through, held, replies, stops, ended := colombo+"0001", london+"0002", london+"0003", london+"0004", london+"0005"
	w.add(noon, nil, through, held, replies, stops, ended)
	enrol := func(number string) {
		taken, err := w.store.TakeEvents(t.Context(), []ledger.Event{{ID: number[len(number)-4:], Name: "signed.up", Phone: phone.Number(number)}}, w.env.Now())
		require.NoError(t, err)
		require.NoError(t, taken[0].Refused)
		w.relay()
	}
	says := func(number, sid, body string) {
		_, err := w.store.Receive(t.Context(), inbound.Message{SID: sid, Channel: message.WhatsApp, From: phone.Number(number), Body: body, Payload: []byte(`{}`)}, w.env.Now())
		require.NoError(t, err)
		w.relay()
	}
	w.at(time.Minute, func() {
		for _, number := range []string{through, replies, stops, ended} {
			enrol(number)
		}
	})
	w.at(12*time.Hour, func() { enrol(held) }) // midnight
	w.at(13*time.Hour, func() { require.NoError(t, w.store.CloseRun(t.Context(), c.ID, "test", w.env.Now())) })
	w.at(day, func() { says(stops, "SM-stop", "STOP") })
	w.at(4*day, func() { says(replies, "SM-reply", "thank you") })
	// Whoever ends a workflow by hand ends no enrolment: what is overdue is started anew, as relay.Keep does.
	w.at(2*day, func() { w.terminate(fmt.Sprintf("campaign/%d/run/1/enrolment/4", c.ID)) })
	w.at(3*day+2*time.Hour, func() {
		overdue, err := w.store.OverdueEnrolments(t.Context(), w.env.Now().Add(-time.Hour), 10)
		require.NoError(t, err)
		require.Len(t, overdue, 1)
		w.exec(`INSERT INTO outbox (kind, payload, created_at, next_attempt_at) SELECT kind, payload || '{"enrolment_id": 4}', $1, $1
			FROM (SELECT 'enrolment.start' AS kind, jsonb_build_object('run_id', $2::bigint, 'campaign_id', $3::bigint, 'number', 1) AS payload) o`,
			w.env.Now(), w.run.RunID, c.ID)
		w.relay()
	})
	w.live()

	sent := map[string][]string{}
	at := map[string][]time.Time{}
	for _, r := range w.provider.accepted() {
		sent[r.To], at[r.To] = append(sent[r.To], r.Body), append(at[r.To], r.at)
	}
	all := []string{"Step 1", "Step 2", "Step 3"}
	require.Equal(t, map[string][]string{through: all, held: all, ended: all, replies: all[:2], stops: all[:1]}, sent)
	morning := time.Date(2026, 6, 11, 8, 0, 0, 0, time.UTC) // nine in London
	for i, want := range []time.Time{morning, morning.Add(3 * day), morning.Add(14 * day)} {
		require.WithinDuration(t, want, at[held][i], 2*time.Hour, "waits count from the send, step %d", i+1)
	}
	for i, want := range []time.Time{noon, noon.Add(3 * day), noon.Add(14 * day)} {
		require.WithinDuration(t, want, at[through][i], 2*time.Hour, "step %d", i+1)
	}
	overview := w.overview()
	require.Equal(t, campaign.Completed, overview.Status)
	require.NotNil(t, overview.Run.SettledAt)
	steps, counts, err := w.store.Steps(t.Context(), w.run.RunID)
	require.NoError(t, err)
	for i, n := range []int{5, 4, 3} {
		require.Equal(t, report.States{message.Delivered: n}, steps[i].States, "step %d", i+1)
	}
	require.Equal(t, []report.EnrolmentCount{
		{State: ledger.Completed, Count: 3}, {State: ledger.Exited, Reason: "reply", Count: 1}, {State: ledger.Exited, Reason: "stopped", Count: 1},
	}, counts)
}
