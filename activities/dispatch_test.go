package activities_test

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/twilio"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// desk is a run with the activities that decide what it does next, on a clock of its own.
type desk struct {
	*world
	*activities.Dispatch
	now   time.Time
	batch int // the newest
}

func newDesk(t *testing.T, n int, change func(*campaign.Campaign)) *desk {
	t.Helper()
	d := &desk{world: newWorld(t, n, noon, change), now: noon}
	d.Dispatch = &activities.Dispatch{
		Store: d.world.Store, Now: func() time.Time { return d.now }, Log: slog.New(slog.DiscardHandler),
		ReceiptDeadline: time.Hour, StuckAfter: 2 * time.Minute,
		ErrorMeaning: func(code int) string { return twilio.PolicyOf(code).Meaning },
	}
	return d
}

// frozen is newDesk with its audience frozen, by the run itself.
func frozen(t *testing.T, n int, change func(*campaign.Campaign)) *desk {
	t.Helper()
	d := newDesk(t, n, change)
	require.Equal(t, activities.FreezeAudience, d.plan(t).Action)
	require.NoError(t, d.FreezeAudience(t.Context(), d.runName()))
	return d
}

func rate(perSecond int) func(*campaign.Campaign) {
	return func(c *campaign.Campaign) { c.RatePerSecond = perSecond }
}

// plan asks what comes next, and takes a batch up.
func (d *desk) plan(t *testing.T) activities.Plan {
	t.Helper()
	plan, err := d.PlanRun(t.Context(), activities.PlanInput{Run: d.runName(), Batch: d.batch + 1})
	require.NoError(t, err)
	if plan.Action == activities.StartBatch {
		d.batch++
	}
	return plan
}

// seqs returns the messages of the newest batch.
func (d *desk) seqs(t *testing.T) []int {
	t.Helper()
	seqs, err := d.BatchSeqs(t.Context(), activities.PlanInput{Run: d.runName(), Batch: d.batch})
	require.NoError(t, err)
	return seqs
}

// waits asserts that the run waits for that reason, and how long.
func (d *desk) waits(t *testing.T, reason string, wait time.Duration) {
	t.Helper()
	plan := d.plan(t)
	require.Equal(t, activities.Wait, plan.Action)
	require.Equal(t, reason, plan.Reason)
	require.Equal(t, wait, plan.Until.Sub(d.now))
	require.NotEmpty(t, plan.Progress)
}

// send sends messages and has them accepted.
func (d *desk) send(t *testing.T, seqs ...int) {
	t.Helper()
	for _, seq := range seqs {
		require.NoError(t, d.Accept(t.Context(), d.begin(t, seq), sid(seq), 201, d.now))
	}
}

// begin begins to send a message, and returns the attempt.
func (d *desk) begin(t *testing.T, seq int) uuid.UUID {
	t.Helper()
	delivery, err := d.world.Delivery(t.Context(), d.run.ID, seq)
	require.NoError(t, err)
	a := ledger.Attempt{ID: uuid.Must(uuid.NewV7()), StartedAt: d.now, LeaseUntil: d.now.Add(time.Second), BodySHA256: sha256.Sum256(nil)}
	begun, err := d.Begin(t.Context(), delivery, a, nil)
	require.NoError(t, err)
	require.Equal(t, ledger.BegunNow, begun)
	return a.ID
}

func sid(seq int) string { return fmt.Sprintf("SM%d", seq) }

func (d *desk) report(t *testing.T, seq int, state message.State, code int, policy message.Policy) {
	t.Helper()
	_, err := d.RecordReceipts(t.Context(), []message.Report{{SID: sid(seq), Status: string(state), State: state, Code: code, Policy: policy, Payload: []byte(`{}`)}}, d.now)
	require.NoError(t, err)
}

func (d *desk) steer(t *testing.T, to campaign.Status) {
	t.Helper()
	_, err := d.Dispatch.Steer(t.Context(), activities.SteerInput{Run: d.runName(), To: to, By: "tester"})
	require.NoError(t, err)
}

func ints(from, to int) []int {
	list := []int{}
	for i := from; i <= to; i++ {
		list = append(list, i)
	}
	return list
}

func TestPlanRun(t *testing.T) {
	t.Parallel()
	d := frozen(t, 12, rate(1))
	plan := d.plan(t)
	require.Equal(t, activities.Plan{Action: activities.StartBatch, Size: 5, Status: campaign.Running}, plan)
	require.Equal(t, ints(1, 5), d.seqs(t))

	d.batch-- // whoever asked was killed before the answer reached it
	require.Equal(t, plan, d.plan(t), "the same batch, not another")
	require.Equal(t, ints(1, 5), d.seqs(t))
	require.Equal(t, "1", d.text(t, `SELECT count(*)::text FROM batches`))

	d.waits(t, message.ReasonRateLimit, 2*time.Second) // never further ahead than can be sent soon
	d.send(t, ints(1, 3)...)
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, ints(6, 10), d.seqs(t))
	d.waits(t, message.ReasonRateLimit, 2*time.Second)
	d.send(t, ints(4, 10)...)
	require.Equal(t, 2, d.plan(t).Size, "the rest")
	d.waits(t, "recipients", time.Second)
	d.send(t, 11, 12)

	d.waits(t, "receipts", time.Second)
	require.Equal(t, campaign.Completed, d.load(t, d.run.ID).Status)
	d.waits(t, "receipts", time.Second)
	d.now = d.now.Add(10 * time.Minute)
	d.waits(t, "receipts", 5*time.Minute) // ever more rarely
	for seq := range 12 {
		d.report(t, seq+1, message.Delivered, 0, message.Policy{})
	}
	require.Nil(t, d.load(t, d.run.ID).SettledAt)
	plan = d.plan(t)
	require.Equal(t, activities.Finished, plan.Action)
	require.Equal(t, "**COMPLETED** · audience 12 · delivered 12", plan.Progress)
	require.Equal(t, d.now, d.load(t, d.run.ID).SettledAt.UTC())
	require.Equal(t, activities.Finished, d.plan(t).Action, "and so it stays")
}

func TestPlanRunFast(t *testing.T) {
	t.Parallel()
	d := frozen(t, 600, rate(80))
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, ints(1, 160), d.seqs(t))
	d.waits(t, message.ReasonRateLimit, time.Second) // until half of two seconds' work is left
}

func TestPlanRunAtASlowProvider(t *testing.T) {
	t.Parallel()
	d := frozen(t, 60, rate(2))
	for range 4 { // what is being sent is not ahead, for as long as an answer may take
		require.Equal(t, activities.StartBatch, d.plan(t).Action)
		for _, seq := range d.seqs(t) {
			d.begin(t, seq)
		}
	}
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	for _, seq := range d.seqs(t) {
		d.begin(t, seq)
	}
	d.waits(t, message.ReasonRateLimit, 1500*time.Millisecond) // 25 are being sent, and ten seconds at 2/s are 20: it does not answer
}

func TestPlanRunOfNobody(t *testing.T) {
	t.Parallel()
	d := frozen(t, 0, nil)
	d.waits(t, "receipts", time.Second)
	require.Equal(t, activities.Finished, d.plan(t).Action)
	require.Equal(t, campaign.Completed, d.load(t, d.run.ID).Status)
}

func TestPlanRunInQuietHours(t *testing.T) {
	t.Parallel()
	start, end := 22*60, 8*60
	d := newDesk(t, 3, func(c *campaign.Campaign) { c.QuietStart, c.QuietEnd = &start, &end })
	d.people(t, 2, "US", "America/Los_Angeles")
	d.people(t, 4, "GH", "Africa/Accra")
	require.NoError(t, d.FreezeAudience(t.Context(), d.runName()))

	// Accra comes first in the ledger, Los Angeles second; it is 12:00, 4:00 and, in Colombo, 17:30.
	require.Equal(t, 3, d.plan(t).Size)
	require.Equal(t, ints(7, 9), d.seqs(t), "the hours of Colombo end soonest")
	require.Equal(t, 4, d.plan(t).Size)
	require.Equal(t, ints(1, 4), d.seqs(t))
	d.waits(t, "quiet_hours", 5*time.Minute) // a look now and then
	for _, seq := range []int{1, 2, 3, 4, 7, 8, 9} {
		d.send(t, seq)
		d.report(t, seq, message.Delivered, 0, message.Policy{})
	}
	d.now = time.Date(2026, 3, 2, 15, 58, 0, 0, time.UTC)
	d.waits(t, "quiet_hours", 2*time.Minute) // until the first of them opens
	d.now = d.now.Add(2 * time.Minute)
	require.Equal(t, 2, d.plan(t).Size)
	require.Equal(t, ints(5, 6), d.seqs(t))
}

func TestPlanRunTakesUpWhatStandsStill(t *testing.T) {
	t.Parallel()
	d := frozen(t, 5, nil)
	require.Equal(t, 5, d.plan(t).Size)
	d.send(t, 1)
	delivery, err := d.world.Delivery(t.Context(), d.run.ID, 2)
	require.NoError(t, err)
	noted, err := d.world.Wait(t.Context(), delivery, "quiet_hours", noon.Add(3*time.Hour), nil, noon)
	require.NoError(t, err)
	require.True(t, noted)
	d.waits(t, "recipients", time.Second)

	d.now = noon.Add(2 * time.Minute)
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, ints(3, 5), d.seqs(t), "neither what was sent nor what waits for its time")
	d.waits(t, "recipients", time.Second)
	d.send(t, 3, 4, 5)
	d.waits(t, "recipients", 5*time.Minute)

	d.now = noon.Add(time.Hour + 2*time.Minute)
	require.Equal(t, activities.SweepReceipts, d.plan(t).Action, "receipts are overdue")
	require.Equal(t, activities.SweepReceipts, d.plan(t).Action, "nobody asked the provider: again")
	for _, seq := range []int{1, 3, 4, 5} {
		delivery, err := d.world.Delivery(t.Context(), d.run.ID, seq)
		require.NoError(t, err)
		require.NoError(t, d.NoteOverdue(t.Context(), delivery.MessageID, d.now))
	}
	d.waits(t, "recipients", 5*time.Minute)
	d.now = noon.Add(3*time.Hour + 2*time.Minute)
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, []int{2}, d.seqs(t), "its time came, and nothing happened")
	d.send(t, 2)
	d.waits(t, "receipts", time.Second)
	d.report(t, 2, message.Delivered, 0, message.Policy{})
	require.Equal(t, activities.Finished, d.plan(t).Action, "of the others nothing more will be heard")
}

// TestPlanRunAfterSettling: the carrier gives a message back when the run is over.
func TestPlanRunAfterSettling(t *testing.T) {
	t.Parallel()
	d := frozen(t, 1, nil)
	d.plan(t)
	d.send(t, 1)
	d.waits(t, "receipts", time.Second)
	d.now = noon.Add(time.Minute)
	d.report(t, 1, message.Failed, 63010, message.Policy{Class: message.Retry, Delay: 30 * time.Second, Retries: 1})
	d.waits(t, "recipients", 30*time.Second)
	d.now = noon.Add(4 * time.Minute)
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, []int{1}, d.seqs(t))
}

func TestPlanRunPaused(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 20, rate(1))
	d.steer(t, campaign.Paused)
	d.waits(t, message.ReasonPaused, 5*time.Minute)
	d.steer(t, campaign.Running)
	require.Equal(t, activities.FreezeAudience, d.plan(t).Action)
	require.NoError(t, d.FreezeAudience(t.Context(), d.runName()))
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	d.steer(t, campaign.Paused)
	d.now = noon.Add(10 * time.Minute)
	require.Equal(t, activities.StartBatch, d.plan(t).Action)
	require.Equal(t, ints(1, 5), d.seqs(t), "whose workflow is gone is taken up again, paused or not")
	d.waits(t, message.ReasonPaused, 5*time.Minute)
	d.steer(t, campaign.Running)
	d.waits(t, message.ReasonRateLimit, 2*time.Second)
}

func TestPlanRunCancelled(t *testing.T) {
	t.Parallel()
	d := frozen(t, 20, rate(1))
	d.plan(t)
	d.send(t, 1)
	d.steer(t, campaign.Cancelled)
	d.waits(t, "receipts", time.Second)
	require.NotNil(t, d.load(t, d.run.ID).FinishedAt)
	d.report(t, 1, message.Delivered, 0, message.Policy{})
	require.Equal(t, activities.Finished, d.plan(t).Action)
	require.Equal(t, campaign.Cancelled, d.load(t, d.run.ID).Status)
}

func TestPlanRunEndsWithoutAnAudience(t *testing.T) {
	t.Parallel()
	at := noon.Add(time.Hour)
	d := newDesk(t, 1, func(c *campaign.Campaign) { c.ScheduleTime = &at })
	d.waits(t, "schedule", time.Hour)
	d.steer(t, campaign.Cancelled)
	d.waits(t, "receipts", time.Second)
	require.Equal(t, activities.Finished, d.plan(t).Action)

	d = newDesk(t, 1, nil)
	d.exec(t, `UPDATE campaigns SET segment_query = '{"operator":"no such"}'`)
	require.NoError(t, d.FreezeAudience(t.Context(), d.runName()), "trying again will not help")
	require.Equal(t, campaign.Failed, d.load(t, d.run.ID).Status)
	require.NotEmpty(t, d.text(t, `SELECT status_reason FROM campaigns`))
	require.Equal(t, activities.Finished, d.plan(t).Action)
}

func TestBatchSeqsOfNoBatch(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 0, nil)
	_, err := d.BatchSeqs(t.Context(), activities.PlanInput{Run: d.runName(), Batch: 1})
	require.ErrorContains(t, err, "never cut")
}

func TestSetRate(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 0, nil)
	require.NoError(t, d.SetRate(t.Context(), activities.SetRateInput{Run: d.runName(), PerSecond: 7, By: "tester"}))
	require.Equal(t, 7, d.load(t, d.run.ID).RatePerSecond)
	var told *temporal.ApplicationError
	require.ErrorAs(t, d.SetRate(t.Context(), activities.SetRateInput{Run: d.runName(), PerSecond: 0, By: "tester"}), &told)
	require.Equal(t, "invalid", told.Type())
}

func TestSteerTellsItsCaller(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 0, nil)
	_, err := d.Dispatch.Steer(t.Context(), activities.SteerInput{Run: d.runName(), To: campaign.Running, By: "tester"})
	var told *temporal.ApplicationError
	require.ErrorAs(t, err, &told)
	require.True(t, told.NonRetryable(), "no retry mends it")
	require.Equal(t, "conflict", told.Type())
}
