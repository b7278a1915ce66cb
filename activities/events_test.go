package activities_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/twiliosim"
)

// listening is a desk of a campaign that events trigger.
func listening(t *testing.T) *desk {
	t.Helper()
	return newDesk(t, 0, func(c *campaign.Campaign) {
		c.SegmentQuery, c.Trigger, c.TriggerName = nil, campaign.OnEvent, "order.shipped"
	})
}

// enlist adds a message to each of n new people.
func (d *desk) enlist(t *testing.T, n int) {
	t.Helper()
	d.people(t, n, "LK", "Asia/Colombo")
	var list []ledger.Enlistment
	for id := range n {
		list = append(list, ledger.Enlistment{UserID: int64(id + 1), DedupeKey: fmt.Sprint(d.now.Unix())})
	}
	_, err := d.Enlist(t.Context(), d.run.ID, list, d.now)
	require.NoError(t, err)
}

func TestPlanRunOfEvents(t *testing.T) {
	t.Parallel()
	d := listening(t)
	d.waits(t, "events", 5*time.Minute)
	d.now = d.now.Add(time.Minute)
	d.enlist(t, 4)
	d.waits(t, "recipients", time.Second)
	d.send(t, 1, 2, 3)
	d.waits(t, "recipients", time.Second)
	d.now = d.now.Add(3 * time.Minute)
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, []int{4}, d.seqs(t), "what nobody drives is driven anew")
	d.send(t, 4)
	d.waits(t, "receipts", 30*time.Second)
	d.report(t, 1, message.Delivered, 0, message.Policy{})
	d.report(t, 2, message.Failed, 63010, message.Policy{Class: message.Retry, Delay: 30 * time.Second, Retries: 1})
	d.waits(t, "recipients", 30*time.Second)
	d.now = d.now.Add(30 * time.Second)
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, []int{2}, d.seqs(t), "the carrier gave it back")

	d.now = d.now.Add(time.Hour)
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, activities.SweepReceipts, d.plan(t).Action)
	require.Equal(t, campaign.Running, d.load(t, d.run.ID).Status)
	d.steer(t, campaign.Cancelled)
	for _, seq := range []int{3, 4} {
		d.report(t, seq, message.Delivered, 0, message.Policy{})
	}
	d.waits(t, "receipts", time.Second)
	require.Equal(t, activities.Finished, d.plan(t).Action)
	require.Equal(t, "CANCELLED", d.campaignStands(t))
}

func TestPlanRunOfEventsEnds(t *testing.T) {
	t.Parallel()
	d := listening(t)
	d.enlist(t, 2)
	d.deliver(t, 1)
	require.NoError(t, d.CloseRun(t.Context(), d.run.CampaignID, "tester", d.now))
	d.waits(t, "recipients", time.Second)
	require.Equal(t, "RUNNING", d.campaignStands(t))
	d.deliver(t, 2)
	d.waits(t, "receipts", time.Second)
	require.Equal(t, "COMPLETED", d.campaignStands(t))
	require.Equal(t, activities.Finished, d.plan(t).Action)
}

// TestBreakerOfEvents: though nothing waits at this moment, more will come, and would fail.
func TestBreakerOfEvents(t *testing.T) {
	t.Parallel()
	d := listening(t)
	d.enlist(t, 60)
	d.fail(t, 30007, ints(1, 60)...)
	d.waits(t, message.ReasonPaused, time.Second)
	require.Contains(t, d.campaignStands(t), "PAUSED")
	d.waits(t, message.ReasonPaused, 5*time.Minute)
	d.now = d.now.Add(time.Minute)
	d.steer(t, campaign.Running)
	d.waits(t, "events", 5*time.Minute)
}

// TestPlanRunOfATest has a test sent and settled while its campaign is paused, which it stays.
func TestPlanRunOfATest(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2, nil)
	d.steer(t, campaign.Paused)
	run, _, err := d.StartTest(t.Context(), d.run.CampaignID, []phone.Number{"+94771000001", "+94771000002"}, nil, "tester", d.now)
	require.NoError(t, err)
	d.run = d.load(t, run.ID)
	d.waits(t, "recipients", time.Second)
	d.deliver(t, 1)
	d.now = d.now.Add(3 * time.Minute)
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, []int{2}, d.seqs(t))
	d.deliver(t, 2)
	d.waits(t, "receipts", time.Second)
	require.Equal(t, activities.Finished, d.plan(t).Action)
	require.Equal(t, "PAUSED", d.campaignStands(t))
}

// TestSendOfATest sends whatever the campaign's status, and a fault that it meets stops nobody else.
func TestSendOfATest(t *testing.T) {
	t.Parallel()
	l := newLane(t, 3, twiliosim.Faults{})
	run, _, err := l.StartTest(t.Context(), l.run.CampaignID, []phone.Number{"+94771000001", "+94771000002"}, nil, "tester", time.Now())
	require.NoError(t, err)
	l.run = l.load(t, run.ID)
	l.faults(t, twiliosim.Faults{Numbers: map[string]twiliosim.NumberFault{l.number(t, 2): {Code: 20003, Sync: true}}})
	for _, status := range []campaign.Status{campaign.Draft, campaign.Cancelled} {
		l.exec(t, `UPDATE campaigns SET status = $1`, string(status))
		next, err := l.SendMessage(t.Context(), l.message(1))
		require.NoError(t, err)
		require.Equal(t, activities.Done, next.Do)
		require.Equal(t, "accepted [accepted]", l.stands(t, 1))
	}
	l.exec(t, `UPDATE campaigns SET status = 'RUNNING'`)
	_, err = l.SendMessage(t.Context(), l.message(2))
	require.NoError(t, err)
	require.Contains(t, l.stands(t, 2), "failed")
	require.Equal(t, "RUNNING", l.text(t, `SELECT status FROM campaigns`))
}
