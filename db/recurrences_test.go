package db_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
)

var daily = campaign.Recurrence{Cron: "0 13 * * *", Timezone: "UTC"}

// recurring is a triggered campaign that recurs daily, an hour after noon first.
func (b books) recurring(t *testing.T, change func(*campaign.Campaign)) int64 {
	t.Helper()
	b.sender(t)
	plan := b.plan(t)
	plan.Recurrence = daily
	if change != nil {
		change(&plan)
	}
	created, err := b.CreateCampaign(t.Context(), plan, noon)
	require.NoError(t, err)
	run, err := b.StartRun(t.Context(), created.ID, "tester", noon)
	require.NoError(t, err)
	require.Zero(t, run.Number, "occurrences open runs")
	require.Equal(t, campaign.Scheduled, b.status(t, created.ID))
	require.Equal(t, []string{"campaign.recur"}, b.outbox(t))
	return created.ID
}

// occurs opens the run of an occurrence that comes in time.
func (b books) occurs(t *testing.T, id int64, at time.Time) ledger.Run {
	t.Helper()
	run, skipped, err := b.StartOccurrence(t.Context(), id, daily, at, at)
	require.NoError(t, err)
	require.Empty(t, skipped)
	return b.load(t, run.ID)
}

// passes is an occurrence from its beginning to its end.
func (b books) passes(t *testing.T, id int64, at time.Time) ledger.Run {
	t.Helper()
	run := b.occurs(t, id, at)
	require.NoError(t, b.Freeze(t.Context(), run, at))
	b.exec(t, `UPDATE messages SET state = 'accepted', accepted_at = $2 WHERE run_id = $1 AND state = 'pending'`, run.ID, at)
	require.NoError(t, b.FinishRun(t.Context(), b.load(t, run.ID), at))
	return b.load(t, run.ID)
}

func TestOccurrences(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
	id := b.recurring(t, nil)
	_, err := b.StartRun(ctx, id, "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict), "it recurs already")

	first := noon.Add(time.Hour)
	run := b.occurs(t, id, first)
	require.Equal(t, campaign.ByRecurrence, run.Kind)
	require.Equal(t, first, run.OccurrenceAt.UTC())
	require.Equal(t, campaign.Running, b.status(t, id))
	require.Equal(t, []string{"campaign.start"}, b.outbox(t))
	again := b.occurs(t, id, first)
	require.Equal(t, run.ID, again.ID, "once")
	require.Empty(t, b.outbox(t))

	_, skipped, err := b.StartOccurrence(ctx, id, daily, first.Add(24*time.Hour), first.Add(24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, campaign.SkippedUnderWay, skipped)
	require.Equal(t, "engine campaign.skip campaign/1", get[string](t, b, `SELECT principal || ' ' || action || ' ' || subject FROM audit_events ORDER BY id DESC LIMIT 1`))

	require.NoError(t, b.Freeze(ctx, run, first))
	b.exec(t, `UPDATE messages SET state = 'accepted', accepted_at = $1`, first)
	require.NoError(t, b.FinishRun(ctx, b.load(t, run.ID), first))
	require.Equal(t, campaign.Scheduled, b.status(t, id), "it awaits the next one")

	b.people(t, 1, "OPT_IN", "LK", "Asia/Colombo")
	second := b.passes(t, id, first.Add(48*time.Hour))
	require.Equal(t, 2, second.Number)
	require.Equal(t, 3, second.AudienceSize, "each occurrence takes its audience anew")

	for name, tt := range map[string]struct {
		r    campaign.Recurrence
		id   int64
		want string
	}{
		"at other times":   {campaign.Recurrence{Cron: "0 14 * * *", Timezone: "UTC"}, id, "the campaign recurs at other times by now"},
		"unknown campaign": {daily, 99, "the campaign does not exist"},
	} {
		_, skipped, err := b.StartOccurrence(ctx, tt.id, tt.r, first.Add(72*time.Hour), first)
		require.NoError(t, err)
		require.Equal(t, tt.want, skipped, name)
	}
}

func TestOccurrenceAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.recurring(t, nil)
	at := noon.Add(time.Hour)
	runs := make([]campaign.Run, 10)
	errs := make([]error, len(runs))
	var wg sync.WaitGroup
	for i := range runs {
		wg.Go(func() { runs[i], _, errs[i] = b.StartOccurrence(ctx, id, daily, at, at) })
	}
	wg.Wait()
	for i, run := range runs {
		require.NoError(t, errs[i])
		require.Equal(t, runs[0].ID, run.ID)
	}
	require.Equal(t, []string{"campaign.start"}, b.outbox(t))
}

func TestSteerBetweenOccurrences(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
	id := b.recurring(t, nil)
	steer := func(to campaign.Status) campaign.Status {
		t.Helper()
		s, err := b.Steer(ctx, id, to, "tester", "", noon)
		require.NoError(t, err)
		return s.Status
	}
	schedule := func() campaign.Schedule {
		t.Helper()
		s, err := b.Schedule(ctx, id)
		require.NoError(t, err)
		return s
	}
	armed := campaign.Schedule{Recurrence: daily, Catchup: campaign.DefaultCatchup}
	paused := armed
	paused.Paused = true
	require.Equal(t, armed, schedule())

	require.Equal(t, campaign.Paused, steer(campaign.Paused))
	require.Equal(t, []string{"campaign.recur"}, b.outbox(t), "there is no run to be told")
	require.Equal(t, paused, schedule())
	_, skipped, err := b.StartOccurrence(ctx, id, daily, noon.Add(time.Hour), noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "the campaign is PAUSED", skipped)
	require.Equal(t, campaign.Scheduled, steer(campaign.Running))
	require.Equal(t, armed, schedule())

	run := b.passes(t, id, noon.Add(25*time.Hour))
	b.exec(t, `UPDATE messages SET state = 'pending', reason = 'provider_retry', accepted_at = NULL, waits_until = $1 WHERE seq = 1`, noon) // the carrier gave it back
	b.outbox(t)
	require.Equal(t, campaign.Paused, steer(campaign.Paused))
	require.Equal(t, []string{"campaign.recur", "campaign.wake"}, b.outbox(t))
	require.Equal(t, campaign.Scheduled, steer(campaign.Running), "its run is over")
	require.Equal(t, campaign.Cancelled, steer(campaign.Cancelled))
	require.True(t, schedule().Gone)
	states, err := b.RunStates(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, ledger.States{message.Accepted: 1, message.Cancelled: 1}, states)
	ids, err := b.RecurringCampaigns(ctx)
	require.NoError(t, err)
	require.Empty(t, ids)

	retried, err := b.RetryRun(ctx, id, campaign.Retry{States: []message.State{message.Cancelled}}, "tester", noon.Add(26*time.Hour))
	require.NoError(t, err)
	require.NoError(t, b.Freeze(ctx, b.load(t, retried.ID), noon.Add(26*time.Hour)))
	b.exec(t, `UPDATE messages SET state = 'accepted', accepted_at = $1 WHERE state = 'pending'`, noon)
	require.NoError(t, b.FinishRun(ctx, b.load(t, retried.ID), noon.Add(26*time.Hour)))
	require.Equal(t, campaign.Completed, b.status(t, id), "a retry does not bring the recurrence back")
}

func TestChangeRecurrence(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.recurring(t, nil)
	changed, err := b.UpdateCampaign(ctx, id, "tester", func(c campaign.Campaign) (campaign.Campaign, error) {
		to := c
		to.Recurrence.Cron, to.RatePerSecond = "0 14 * * *", 20
		return c.Edit(to, noon)
	}, noon)
	require.NoError(t, err, "before its first occurrence")
	require.Equal(t, "0 14 * * *", changed.Recurrence.Cron)
	require.Equal(t, []string{"campaign.recur"}, b.outbox(t))
	require.Equal(t, []time.Time{noon.Add(2 * time.Hour)}, changed.NextOccurrences(noon, 1))
}

func TestMissedOccurrence(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
	id := b.recurring(t, func(c *campaign.Campaign) { c.StartWithin = 10 * time.Minute })
	s, err := b.Schedule(ctx, id)
	require.NoError(t, err)
	require.Equal(t, 10*time.Minute, s.Catchup)
	at := noon.Add(time.Hour)
	run, _, err := b.StartOccurrence(ctx, id, daily, at, at.Add(20*time.Minute))
	require.NoError(t, err)
	late, tooLate := b.load(t, run.ID).Late(at.Add(20 * time.Minute))
	require.True(t, tooLate)
	require.Equal(t, 20*time.Minute, late, "counted from the occurrence, not from when it was noticed")
	missed, err := b.MissRun(ctx, b.load(t, run.ID), "too late", at.Add(20*time.Minute))
	require.NoError(t, err)
	require.True(t, missed)
	require.Equal(t, "SCHEDULED too late", get[string](t, b, `SELECT status || ' ' || status_reason FROM campaigns`))
	b.passes(t, id, at.Add(24*time.Hour))
	require.Equal(t, "SCHEDULED", get[string](t, b, `SELECT trim(status || ' ' || status_reason) FROM campaigns`))
}
