package activities_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/twilio"
)

// fail sends the messages and has the carrier fail them.
func (d *desk) fail(t *testing.T, code int, seqs ...int) {
	t.Helper()
	d.send(t, seqs...)
	for _, seq := range seqs {
		d.report(t, seq, message.Undelivered, code, twilio.PolicyOf(code))
	}
}

func (d *desk) deliver(t *testing.T, seqs ...int) {
	t.Helper()
	d.send(t, seqs...)
	for _, seq := range seqs {
		d.report(t, seq, message.Delivered, 0, message.Policy{})
	}
}

// campaignStands is the campaign's status and the reason for it.
func (d *desk) campaignStands(t *testing.T) string {
	t.Helper()
	return d.text(t, `SELECT rtrim(status || ' ' || status_reason) FROM campaigns WHERE id = $1`, d.run.CampaignID)
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	d := frozen(t, 120, rate(30))
	require.Equal(t, 60, d.plan(t).Size)
	d.deliver(t, ints(1, 39)...)
	d.fail(t, 30007, ints(40, 49)...)
	require.Equal(t, 60, d.plan(t).Size, "10 of 49")
	d.fail(t, 30007, 50)
	d.waits(t, message.ReasonPaused, time.Second)
	require.Equal(t, "PAUSED 11 of the last 50 outcomes failed (threshold 20 %), most often with error 30007: "+twilio.PolicyOf(30007).Meaning, d.campaignStands(t))
	d.waits(t, message.ReasonPaused, 5*time.Minute)

	d.now = d.now.Add(time.Minute)
	d.steer(t, campaign.Running)
	d.now = d.now.Add(time.Second)
	d.fail(t, 30005, ints(51, 99)...)
	d.waits(t, "recipients", 30*time.Second) // what was before the resume is not judged again
	d.fail(t, 30005, ints(100, 119)...)
	d.waits(t, message.ReasonPaused, time.Second)
	require.Contains(t, d.campaignStands(t), "69 of the last 69 outcomes failed")
	d.now = d.now.Add(time.Minute)
	d.steer(t, campaign.Running)
	d.fail(t, 30005, 120)
	d.waits(t, "receipts", time.Second)
	require.Equal(t, "COMPLETED", d.campaignStands(t))
}

// TestBreakerAtTheEnd: with nothing left to be sent there is nothing to be stopped.
func TestBreakerAtTheEnd(t *testing.T) {
	t.Parallel()
	d := frozen(t, 60, nil)
	require.Equal(t, 60, d.plan(t).Size)
	d.fail(t, 30007, ints(1, 60)...)
	d.waits(t, "receipts", time.Second)
	require.Equal(t, "COMPLETED", d.campaignStands(t))
}

// TestBreakerOff: with a threshold of 0 nothing stops the run.
func TestBreakerOff(t *testing.T) {
	t.Parallel()
	d := frozen(t, 100, rate(30))
	d.exec(t, `UPDATE campaigns SET failure_threshold_percent = 0`)
	require.Equal(t, 60, d.plan(t).Size)
	d.fail(t, 30007, ints(1, 60)...)
	require.Equal(t, 40, d.plan(t).Size)
	require.Equal(t, "RUNNING", d.campaignStands(t))
}

// canary makes the campaign send to so many percent first.
func (d *desk) canary(t *testing.T, percent int) {
	t.Helper()
	d.exec(t, `UPDATE campaigns SET canary_percent = $1`, percent)
}

func TestCanaryPasses(t *testing.T) {
	t.Parallel()
	d := frozen(t, 30, nil)
	d.canary(t, 10)
	require.Equal(t, 3, d.plan(t).Size)
	d.waits(t, "canary", time.Second)
	require.Contains(t, d.plan(t).Progress, "Waiting for canary until")
	d.deliver(t, 1)
	d.send(t, 2)
	d.now = d.now.Add(10 * time.Second)
	d.waits(t, "canary", 5*time.Second) // ever more rarely
	d.report(t, 2, message.Read, 0, message.Policy{})
	require.Equal(t, "27", d.text(t, `SELECT count(*)::text FROM messages WHERE seq NOT IN (SELECT unnest(seqs) FROM batches)`), "nobody beyond")
	d.send(t, 3) // and its receipt never comes
	d.now = d.now.Add(time.Hour)
	require.Equal(t, activities.SweepReceipts, d.plan(t).Action)
	delivery, err := d.world.Delivery(t.Context(), d.run.ID, 3)
	require.NoError(t, err)
	require.NoError(t, d.NoteOverdue(t.Context(), delivery.MessageID, d.now)) // the provider was asked
	require.Equal(t, 27, d.plan(t).Size)
	require.Equal(t, d.now.Format(time.TimeOnly), d.text(t, `SELECT to_char(canary_passed_at AT TIME ZONE 'UTC', 'HH24:MI:SS') FROM campaign_runs`))
}

func TestCanaryFails(t *testing.T) {
	t.Parallel()
	d := frozen(t, 30, nil)
	d.canary(t, 10)
	require.Equal(t, 3, d.plan(t).Size)
	d.deliver(t, 1, 2)
	d.fail(t, 63013, 3)
	d.waits(t, message.ReasonPaused, time.Second)
	require.Equal(t, "PAUSED canary: 1 of 3 outcomes failed (threshold 20 %), most often with error 63013: "+twilio.PolicyOf(63013).Meaning, d.campaignStands(t))
	d.waits(t, message.ReasonPaused, 5*time.Minute)
	d.now = d.now.Add(time.Minute)
	d.steer(t, campaign.Running)
	require.Equal(t, 27, d.plan(t).Size, "the operator overruled it")
}

// TestCanaryAcrossCohorts: the canary is of the whole audience, and of one time zone where that suffices.
func TestCanaryAcrossCohorts(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 4, nil)
	d.people(t, 4, "GH", "Africa/Accra")
	d.people(t, 4, "US", "America/Los_Angeles")
	require.NoError(t, d.FreezeAudience(t.Context(), d.runName()))
	d.canary(t, 50)
	require.Equal(t, 4, d.plan(t).Size)
	require.Equal(t, 2, d.plan(t).Size, "six in all")
	d.waits(t, "canary", time.Second)
	d.steer(t, campaign.Paused)
	d.now = d.now.Add(time.Minute)
	d.steer(t, campaign.Running)
	d.waits(t, "canary", 30*time.Second) // a pause by hand overrules nothing
}
