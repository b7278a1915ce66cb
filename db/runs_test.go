package db_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
)

// sender makes our own address known.
func (b books) sender(t *testing.T) {
	t.Helper()
	require.NoError(t, b.EnsureSender(t.Context(), message.WhatsApp, "+14155238886", noon))
}

// people adds n people of the segment, with that consent and zone.
func (b books) people(t *testing.T, n int, consent, region, zone string) {
	t.Helper()
	b.exec(t, `INSERT INTO users (phone_number, region, zones, attributes, consent_state, created_at, updated_at)
		SELECT '+9477' || (1000000 + (SELECT count(*) FROM users) + i), $3, CASE WHEN $4 = '' THEN '{}' ELSE ARRAY[$4] END, '{"city":"Kandy"}', $2, $5, $5
		FROM generate_series(1, $1) i`, n, consent, region, zone, noon)
}

// triggered is a run of a new campaign, not frozen yet.
func (b books) triggered(t *testing.T) ledger.Run {
	t.Helper()
	b.sender(t)
	started, err := b.StartRun(t.Context(), b.campaign(t), "tester", noon)
	require.NoError(t, err)
	return b.load(t, started.ID)
}

func (b books) load(t *testing.T, runID int64) ledger.Run {
	t.Helper()
	run, err := b.Run(t.Context(), runID)
	require.NoError(t, err)
	return run
}

// frozen is a run of a new campaign to n people who agreed.
func (b books) frozen(t *testing.T, n int) ledger.Run {
	t.Helper()
	b.people(t, n, "OPT_IN", "LK", "Asia/Colombo")
	run := b.triggered(t)
	require.NoError(t, b.Freeze(t.Context(), run, noon))
	return b.load(t, run.ID)
}

func (b books) status(t *testing.T, campaignID int64) campaign.Status {
	t.Helper()
	return campaign.Status(get[string](t, b, `SELECT status FROM campaigns WHERE id = $1`, campaignID))
}

// outbox lists what is owed to Temporal, in order of writing, and forgets it.
func (b books) outbox(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT kind || coalesce(' ' || (payload->>'seq'), '') FROM outbox ORDER BY id`)
	require.NoError(t, err)
	kinds, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	b.exec(t, `DELETE FROM outbox`)
	return kinds
}

func TestStartRun(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.campaign(t)
	_, err := b.StartRun(ctx, id, "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict), "no sender")
	require.Equal(t, campaign.Draft, b.status(t, id))

	b.sender(t)
	run, err := b.StartRun(ctx, id, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Running, b.status(t, id))
	require.Equal(t, []string{"campaign.start"}, b.outbox(t))
	require.Equal(t, 1, run.Number)
	require.Equal(t, run, func() campaign.Run { r := b.load(t, run.ID).Run; r.StartedAt = r.StartedAt.UTC(); return r }())

	b.exec(t, `UPDATE templates SET version = 2`)
	require.Equal(t, 1, b.load(t, run.ID).TemplateVersion, "a run pins its version")

	_, err = b.StartRun(ctx, 99, "tester", noon)
	require.True(t, fault.Is(err, fault.NotFound))
	for _, s := range []campaign.Status{campaign.Running, campaign.Paused, campaign.Completed, campaign.Cancelled, campaign.Failed} {
		b.exec(t, `UPDATE campaigns SET status = $1`, string(s))
		_, err = b.StartRun(ctx, id, "tester", noon)
		require.True(t, fault.Is(err, fault.Conflict), s)
	}
	require.Empty(t, b.outbox(t))
}

func TestStartRunLater(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	plan, at := b.plan(t), noon.Add(time.Hour)
	plan.ScheduleTime = &at
	created, err := b.CreateCampaign(ctx, plan, noon)
	require.NoError(t, err)

	run, err := b.StartRun(ctx, created.ID, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Scheduled, b.status(t, created.ID))
	require.Equal(t, at, b.load(t, run.ID).NotBefore.UTC())

	s, err := b.Steer(ctx, created.ID, campaign.Paused, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Paused, s.Status)
	s, err = b.Steer(ctx, created.ID, campaign.Running, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Scheduled, s.Status, "resumed before its time, it waits on")
	require.Equal(t, campaign.Scheduled, b.status(t, created.ID))

	require.NoError(t, b.Freeze(ctx, b.load(t, run.ID), at))
	require.Equal(t, campaign.Running, b.status(t, created.ID))
}

func TestStartRunAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	id := b.campaign(t)
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.StartRun(ctx, id, "tester", noon) })
	}
	wg.Wait()
	began := 0
	for _, err := range errs {
		if err == nil {
			began++
		} else {
			require.True(t, fault.Is(err, fault.Conflict), "%v", err)
		}
	}
	require.Equal(t, 1, began)
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM campaign_runs`))
	require.Equal(t, []string{"campaign.start"}, b.outbox(t))
}

func TestStartRunRollsBackAsOne(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.sender(t)
	id := b.campaign(t)
	changedMind := errors.New("changed my mind")
	err := b.InTx(t.Context(), func(ctx context.Context) error {
		_, err := b.StartRun(ctx, id, "tester", noon)
		require.NoError(t, err)
		return changedMind
	})
	require.ErrorIs(t, err, changedMind)
	require.Equal(t, campaign.Draft, b.status(t, id))
	require.Empty(t, b.outbox(t))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM campaign_runs`))
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 1, "STOP", "LK", "Asia/Colombo")
	b.people(t, 2, "OPT_IN", "US", "America/New_York")
	b.people(t, 1, "PENDING", "LK", "Asia/Colombo")
	b.people(t, 3, "OPT_IN", "LK", "Asia/Colombo")
	b.people(t, 1, "OPT_OUT", "LK", "Asia/Colombo")
	b.people(t, 1, "OPT_IN", "IN", "Asia/Colombo")
	b.user(t, "+442071838750", "GB", `{}`, "OPT_IN") // not of the segment
	run := b.triggered(t)

	require.NoError(t, b.Freeze(ctx, run, noon))
	check := func() {
		states, err := b.RunStates(ctx, run.ID)
		require.NoError(t, err)
		require.Equal(t, ledger.States{message.Pending: 6, message.Suppressed: 3}, states)
		require.Equal(t, 9, b.load(t, run.ID).AudienceSize)
		require.Equal(t, "no_consent opted_out stopped", get[string](t, b, `SELECT string_agg(reason, ' ' ORDER BY reason) FROM messages WHERE state = 'suppressed'`))
		require.Equal(t, "{1,2,3,4,5,6,7,8,9}", get[string](t, b, `SELECT array_agg(seq ORDER BY state <> 'pending', seq)::text FROM messages`), "without gaps, who may be sent to first")
		require.EqualValues(t, 3, get[int64](t, b, `SELECT count(*) FROM cohorts`))
		require.Zero(t, get[int64](t, b, `SELECT count(*) FROM cohorts c JOIN messages m ON m.seq BETWEEN c.seq_from AND c.seq_to
			JOIN users u ON u.id = m.user_id WHERE u.zones <> c.zones OR u.region <> c.region`), "people of one cohort are neighbours")
		cohorts, err := b.RemainingCohorts(ctx, run.ID)
		require.NoError(t, err)
		next := 1
		for i, c := range cohorts {
			require.Equal(t, i+1, c.Number)
			require.Equal(t, next, c.NextSeq)
			next = c.LastSeq + 1
		}
		require.Equal(t, 7, next, "cohorts cover whom a batch may hold")
	}
	check()
	require.Equal(t, noon, b.load(t, run.ID).FrozenAt.UTC())

	b.people(t, 5, "OPT_IN", "LK", "Asia/Colombo")
	require.NoError(t, b.Freeze(ctx, run, noon.Add(time.Hour)))
	check()
	require.Equal(t, noon, b.load(t, run.ID).FrozenAt.UTC(), "an audience is frozen once")
}

func TestFreezeOfATopic(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 3, "OPT_IN", "LK", "Asia/Colombo")
	b.people(t, 1, "STOP", "LK", "Asia/Colombo")
	run := b.triggered(t)
	b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1)`, noon)
	b.exec(t, `UPDATE campaigns SET subscription_topic_id = 1`)
	b.exec(t, `INSERT INTO subscriptions (topic_id, user_id, created_at) SELECT 1, min(id), $1 FROM users`, noon)
	require.NoError(t, b.Freeze(ctx, run, noon))
	require.Equal(t, "pending: 1; suppressed not_subscribed 2; suppressed stopped 1", get[string](t, b,
		`SELECT string_agg(x, '; ' ORDER BY x) FROM (SELECT state || CASE reason WHEN '' THEN ':' ELSE ' ' || reason END || ' ' || count(*) AS x FROM messages GROUP BY state, reason) y`))
}

func TestFreezeOfNobody(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 0)
	require.NotNil(t, run.FrozenAt)
	require.Zero(t, run.AudienceSize)
}

func TestFreezeAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 50, "OPT_IN", "LK", "Asia/Colombo")
	run := b.triggered(t)
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = b.Freeze(ctx, run, noon) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.EqualValues(t, 50, get[int64](t, b, `SELECT count(*) FROM messages`))
}

func TestFreezeOfACancelledCampaign(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 3, "OPT_IN", "LK", "Asia/Colombo")
	b.people(t, 1, "STOP", "LK", "Asia/Colombo")
	run := b.triggered(t)
	s, err := b.Steer(ctx, run.CampaignID, campaign.Cancelled, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Steering{Status: campaign.Cancelled}, s)
	require.NoError(t, b.Freeze(ctx, run, noon), "it was asked for before")
	states, err := b.RunStates(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, ledger.States{message.Cancelled: 3, message.Suppressed: 1}, states, "nothing waits for what will never come")
}

func TestSteer(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 5)
	cohorts, err := b.RemainingCohorts(ctx, run.ID)
	require.NoError(t, err)
	_, err = b.CutBatch(ctx, run.ID, 1, cohorts[0], 3, noon)
	require.NoError(t, err)
	b.outbox(t)

	_, err = b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", noon)
	require.True(t, fault.Is(err, fault.Conflict), "running already")

	s, err := b.Steer(ctx, run.CampaignID, campaign.Paused, "tester", "lunch", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Steering{Status: campaign.Paused, Remaining: 5}, s)
	require.Equal(t, []string{"campaign.wake"}, b.outbox(t))
	require.Equal(t, "PAUSED lunch", get[string](t, b, `SELECT status || ' ' || status_reason FROM campaigns`))
	require.Equal(t, "tester campaign.PAUSED campaign/1", get[string](t, b, `SELECT principal || ' ' || action || ' ' || subject FROM audit_events ORDER BY id DESC LIMIT 1`))
	again, err := b.Steer(ctx, run.CampaignID, campaign.Paused, "tester", "", noon)
	require.NoError(t, err, "the answer may have been lost")
	require.Equal(t, s, again)
	require.Empty(t, b.outbox(t))
	require.Equal(t, "PAUSED lunch", get[string](t, b, `SELECT status || ' ' || status_reason FROM campaigns`))

	b.waits(t, run, 2, message.ReasonPaused, noon.Add(time.Hour))
	b.waits(t, run, 3, "quiet_hours", noon.Add(time.Hour))
	s, err = b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Running, s.Status)
	require.Equal(t, []string{"recipient.signal 2", "campaign.wake"}, b.outbox(t), "those who wait for it are told")

	b.accepted(t, run, 1)
	s, err = b.Steer(ctx, run.CampaignID, campaign.Cancelled, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Steering{Status: campaign.Cancelled, Sent: 1}, s)
	require.ElementsMatch(t, []string{"recipient.signal 2", "recipient.signal 3", "campaign.wake"}, b.outbox(t))
	states, err := b.RunStates(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, ledger.States{message.Accepted: 1, message.Cancelled: 4}, states)

	_, err = b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", noon)
	require.True(t, fault.Is(err, fault.Conflict), "cancelled for good")
	_, err = b.Steer(ctx, 99, campaign.Paused, "tester", "", noon)
	require.True(t, fault.Is(err, fault.NotFound))
}

// due lists who is to be told, and how many milliseconds after noon, in that order.
func (b books) due(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT (payload->>'seq') || ' at ' || round(extract(epoch FROM next_attempt_at - $1) * 1000)
		FROM outbox WHERE kind = 'recipient.signal' ORDER BY next_attempt_at, id`, noon)
	require.NoError(t, err)
	due, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return due
}

func TestResumeWakesAtTheRate(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 5)
	cohorts, err := b.RemainingCohorts(ctx, run.ID)
	require.NoError(t, err)
	_, err = b.CutBatch(ctx, run.ID, 1, cohorts[0], 4, noon)
	require.NoError(t, err)
	_, err = b.Steer(ctx, run.CampaignID, campaign.Paused, "tester", "", noon)
	require.NoError(t, err)
	for _, seq := range []int{4, 1, 2} {
		b.waits(t, run, seq, message.ReasonPaused, noon.Add(time.Hour))
	}
	_, err = b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, []string{"1 at 0", "2 at 100", "4 at 200"}, b.due(t), "ten a second")
}

func TestChangeQuietHoursOfARun(t *testing.T) {
	t.Parallel()
	for _, paused := range []bool{false, true} {
		b, ctx := open(t), t.Context()
		run := b.frozen(t, 6)
		cohorts, err := b.RemainingCohorts(ctx, run.ID)
		require.NoError(t, err)
		_, err = b.CutBatch(ctx, run.ID, 1, cohorts[0], 4, noon)
		require.NoError(t, err)
		opens := noon.Add(10 * time.Hour)
		for _, seq := range []int{1, 3, 4} {
			b.waits(t, run, seq, "quiet_hours", opens)
		}
		b.waits(t, run, 2, message.ReasonRetry, opens)
		cohorts, err = b.RemainingCohorts(ctx, run.ID)
		require.NoError(t, err)
		require.NoError(t, b.HoldCohort(ctx, run.ID, cohorts[0], compliance.InQuietHours, opens, nil, noon))
		if paused {
			_, err = b.Steer(ctx, run.CampaignID, campaign.Paused, "tester", "", noon)
			require.NoError(t, err)
		}
		b.outbox(t)
		change := func(f func(*campaign.Campaign)) {
			t.Helper()
			_, err := b.UpdateCampaign(ctx, run.CampaignID, "tester", func(c campaign.Campaign) (campaign.Campaign, error) {
				to := c
				f(&to)
				return c.Edit(to, noon)
			}, noon)
			require.NoError(t, err)
		}
		change(func(c *campaign.Campaign) { c.FailureThreshold = 0 })
		require.Equal(t, []string{"campaign.wake"}, b.outbox(t), "whoever waits for quiet hours goes on waiting")
		require.Equal(t, "pending quiet_hours", b.stands(t, run, 1))

		start, end := 60, 120
		change(func(c *campaign.Campaign) { c.QuietStart, c.QuietEnd, c.RatePerSecond = &start, &end, 4 })
		require.Equal(t, "pending provider_retry", b.stands(t, run, 2))
		require.Equal(t, opens, b.delivery(t, run, 2).WaitsUntil.UTC())
		for _, seq := range []int{5, 6} {
			require.Equal(t, "pending", b.stands(t, run, seq), "in no batch yet")
			require.Nil(t, b.delivery(t, run, seq).WaitsUntil)
		}
		cohorts, err = b.RemainingCohorts(ctx, run.ID)
		require.NoError(t, err)
		require.Nil(t, cohorts[0].WaitsUntil)
		if paused {
			require.Equal(t, "pending paused", b.stands(t, run, 3), "left asleep until it is resumed")
			require.Equal(t, []string{"campaign.wake"}, b.outbox(t))
		} else {
			require.Equal(t, []string{"1 at 0", "3 at 250", "4 at 500"}, b.due(t), "four a second")
			require.Equal(t, "pending rate_limit", b.stands(t, run, 3))
			require.Equal(t, noon.Add(250*time.Millisecond), b.delivery(t, run, 3).WaitsUntil.UTC())
			require.Contains(t, b.outbox(t), "campaign.wake")
		}
		require.Equal(t, []string{"quiet_hours_end", "quiet_hours_start", "rate_limit_per_second"},
			get[[]string](t, b, `SELECT array(SELECT jsonb_object_keys(detail->'was') ORDER BY 1) FROM audit_events WHERE principal = 'tester' AND action = 'campaign.change' ORDER BY id DESC LIMIT 1`))
		b.addsUp(t, run)
	}
}

func TestSteerWaitsForRequestsUnderWay(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 3)
	const lease = 300 * time.Millisecond
	_, recorded, begun := b.begin(t, run, 1, noon, time.Hour)
	require.Equal(t, ledger.BegunNow, begun)
	_, _, begun = b.begin(t, run, 2, noon, lease)
	require.Equal(t, ledger.BegunNow, begun)

	steered := make(chan campaign.Steering, 1)
	started := time.Now()
	go func() {
		s, err := b.Steer(ctx, run.CampaignID, campaign.Paused, "tester", "", noon)
		if err == nil {
			steered <- s
		}
		close(steered)
	}()
	require.Eventually(t, func() bool { return b.status(t, run.CampaignID) == campaign.Paused }, 5*time.Second, time.Millisecond)
	_, _, begun = b.begin(t, run, 3, noon, lease)
	require.Equal(t, ledger.NotRunning, begun, "nothing begins any more")
	select {
	case <-steered:
		t.Fatal("a request was under way")
	default:
	}
	require.NoError(t, b.Accept(ctx, recorded.ID, "SM1", 201, noon))
	s, ok := <-steered
	require.True(t, ok)
	require.GreaterOrEqual(t, time.Since(started), lease, "the other request may have been under way until its lease ended")
	require.Equal(t, campaign.Steering{Status: campaign.Paused, Sent: 1, Remaining: 1, Unresolved: 1}, s)
}

func TestSteerGivesUpWithItsCaller(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 1)
	_, _, begun := b.begin(t, run, 1, noon, time.Hour)
	require.Equal(t, ledger.BegunNow, begun)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steered := make(chan error, 1)
	go func() {
		_, err := b.Steer(ctx, run.CampaignID, campaign.Paused, "tester", "", noon)
		steered <- err
	}()
	require.Eventually(t, func() bool { return b.status(t, run.CampaignID) == campaign.Paused }, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-steered, context.Canceled, "a request may be under way, but it is paused")
}

func TestFinishRun(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 1)
	b.accepted(t, run, 1)

	_, err := b.Steer(ctx, run.CampaignID, campaign.Paused, "tester", "", noon)
	require.NoError(t, err)
	require.NoError(t, b.FinishRun(ctx, run, noon))
	require.Nil(t, b.load(t, run.ID).FinishedAt, "paused in the meantime: it can still be resumed")
	_, err = b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", noon)
	require.NoError(t, err)

	require.NoError(t, b.FinishRun(ctx, run, noon))
	require.Equal(t, campaign.Completed, b.status(t, run.CampaignID))
	require.NoError(t, b.FinishRun(ctx, run, noon.Add(time.Hour)))
	require.Equal(t, noon, b.load(t, run.ID).FinishedAt.UTC(), "once")

	runs, err := b.UnsettledRuns(ctx, noon)
	require.NoError(t, err)
	require.Len(t, runs, 1)
	require.NoError(t, b.SettleRun(ctx, run.ID, noon))
	runs, err = b.UnsettledRuns(ctx, noon)
	require.NoError(t, err)
	require.Empty(t, runs)
	b.message(t, run.ID, 2, row{user: b.user(t, "+94771239999", "LK", `{}`, "OPT_IN"), state: message.Pending})
	runs, err = b.UnsettledRuns(ctx, noon)
	require.NoError(t, err)
	require.Len(t, runs, 1, "something is to be sent in it again")
}

func TestFailRun(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.triggered(t)
	require.NoError(t, b.FailRun(t.Context(), run, "the segment is gone", noon))
	require.Equal(t, campaign.Failed, b.status(t, run.CampaignID))
	run = b.load(t, run.ID)
	require.NotNil(t, run.FinishedAt)
	require.NotNil(t, run.SettledAt)
}

func TestBatches(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 7)
	cut := func(number, size int, at time.Time) (int, []int) {
		t.Helper()
		cohorts, err := b.RemainingCohorts(ctx, run.ID)
		require.NoError(t, err)
		n, err := b.CutBatch(ctx, run.ID, number, cohorts[0], size, at)
		require.NoError(t, err)
		seqs, found, err := b.Batch(ctx, run.ID, number)
		require.NoError(t, err)
		require.True(t, found)
		return n, seqs
	}
	_, found, err := b.Batch(ctx, run.ID, 1)
	require.NoError(t, err)
	require.False(t, found)
	n, seqs := cut(1, 3, noon)
	require.Equal(t, 3, n)
	require.Equal(t, []int{1, 2, 3}, seqs)
	require.NoError(t, b.Suppress(ctx, b.delivery(t, run, 5).MessageID, "stopped", nil, noon))
	n, seqs = cut(2, 3, noon)
	require.Equal(t, 2, n)
	require.Equal(t, []int{4, 6}, seqs, "only what is still to be sent")
	later := noon.Add(10 * time.Minute)
	_, seqs = cut(3, 3, later.Add(-time.Minute))
	require.Equal(t, []int{7}, seqs)
	cohorts, err := b.RemainingCohorts(ctx, run.ID)
	require.NoError(t, err)
	require.Empty(t, cohorts)
	last, err := b.LastBatch(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, 3, last)

	b.waits(t, run, 1, "quiet_hours", noon.Add(time.Hour))
	backlog, _, err := b.Backlog(ctx, run.ID, noon.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, 5, backlog, "who waits for long is no backlog")
	open, due, err := b.OpenMessages(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, 6, open)
	require.Equal(t, noon, due.UTC())

	stuck, err := b.CutDue(ctx, run, 4, 100, noon.Add(5*time.Minute), later)
	require.NoError(t, err)
	require.True(t, stuck)
	_, seqs, err = func() (bool, []int, error) { s, f, err := b.Batch(ctx, run.ID, 4); return f, s, err }()
	require.NoError(t, err)
	require.Equal(t, []int{2, 3, 4, 6}, seqs, "but not who waits for a reason, nor whose batch was cut a moment ago")
	stuck, err = b.CutDue(ctx, run, 5, 100, noon.Add(5*time.Minute), later)
	require.NoError(t, err)
	require.False(t, stuck, "they were taken up a moment ago")

	b.accepted(t, run, 2)
	overdue, err := b.OverdueReceipts(ctx, run.ID, noon.Add(-time.Second), 10)
	require.NoError(t, err)
	require.Empty(t, overdue)
	overdue, err = b.OverdueReceipts(ctx, run.ID, noon, 10)
	require.NoError(t, err)
	require.Len(t, overdue, 1)
	require.Equal(t, b.delivery(t, run, 2).MessageID, overdue[0].MessageID)
	require.Equal(t, "SM2", overdue[0].SID)
	undecided, oldest, err := b.UndecidedMessages(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, 1, undecided)
	require.Equal(t, noon, oldest.UTC())
	require.NoError(t, b.NoteOverdue(ctx, b.delivery(t, run, 2).MessageID, later))
	undecided, _, err = b.UndecidedMessages(ctx, run.ID)
	require.NoError(t, err)
	require.Zero(t, undecided, "the provider was asked")
	overdue, err = b.OverdueReceipts(ctx, run.ID, later, 10)
	require.NoError(t, err)
	require.Empty(t, overdue)
}

// A message that the carrier gave back is taken up when its retry is due, however lately it moved.
func TestCutDueRetries(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 2)
	_, err := b.CutBatch(ctx, run.ID, 1, ledger.Cohort{Number: 1, NextSeq: 1, LastSeq: 2}, 2, noon)
	require.NoError(t, err)
	b.accepted(t, run, 1)
	b.accepted(t, run, 2)
	b.report(t, message.Report{SID: "SM1", Status: "failed", State: message.Failed, Code: 63010, Policy: message.Policy{Class: message.Retry, Delay: 30 * time.Second, Retries: 1}})
	require.Equal(t, "pending provider_retry", b.stands(t, run, 1))
	require.Equal(t, int64(1), get[int64](t, b, `SELECT count(*) FROM outbox WHERE kind = 'campaign.wake'`), "the campaign may sleep for longer")
	due, err := b.CutDue(ctx, run, 2, 100, noon.Add(-time.Minute), noon.Add(29*time.Second))
	require.NoError(t, err)
	require.False(t, due)
	paused := run
	paused.Status = campaign.Paused
	due, err = b.CutDue(ctx, paused, 2, 100, noon.Add(time.Hour), noon.Add(time.Hour))
	require.NoError(t, err)
	require.False(t, due, "nobody is started who may not send")
	due, err = b.CutDue(ctx, run, 2, 100, noon.Add(-time.Minute), noon.Add(30*time.Second))
	require.NoError(t, err)
	require.True(t, due)
	seqs, _, err := b.Batch(ctx, run.ID, 2)
	require.NoError(t, err)
	require.Equal(t, []int{1}, seqs)
	require.Equal(t, "pending", b.stands(t, run, 1), "it waits for nothing any more")
	due, err = b.CutDue(ctx, run, 3, 100, noon.Add(-time.Minute), noon.Add(31*time.Second))
	require.NoError(t, err)
	require.False(t, due, "once")
}
