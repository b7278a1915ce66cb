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
	"github.com/event-stream-engine/ese/internal/report"
)

// ended is a run that is over, of which messages 1 to 6 stand as: failed 30008, failed 63016, undelivered 30003, delivered,
// unknown and suppressed.
func (b books) ended(t *testing.T) ledger.Run {
	t.Helper()
	run := b.frozen(t, 6)
	for seq, set := range map[int]string{
		1: `state = 'failed', reason = 'provider_error', error_code = 30008, ended_at = now()`,
		2: `state = 'failed', reason = 'provider_error', error_code = 63016, ended_at = now()`,
		3: `state = 'undelivered', reason = 'provider_error', error_code = 30003, accepted_at = now(), ended_at = now()`,
		4: `state = 'delivered', accepted_at = now(), delivered_at = now()`,
		5: `state = 'unknown', reason = 'unresolved', ended_at = now()`,
		6: `state = 'suppressed', reason = 'stopped', ended_at = now()`,
	} {
		b.exec(t, `UPDATE messages SET `+set+` WHERE run_id = $1 AND seq = $2`, run.ID, seq)
	}
	require.NoError(t, b.FinishRun(t.Context(), run, noon))
	b.outbox(t)
	return b.load(t, run.ID)
}

// sentTo lists the people of a run by the number of their message in another run, with the state of their message in this.
func (b books) sentTo(t *testing.T, run, other int64) string {
	t.Helper()
	return get[string](t, b, `SELECT coalesce(string_agg(o.seq || ' ' || m.state, ', ' ORDER BY o.seq), '')
		FROM messages m JOIN messages o ON o.user_id = m.user_id AND o.run_id = $2 WHERE m.run_id = $1`, run, other)
}

func TestRetryRun(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	first := b.ended(t)
	retry := campaign.Retry{States: []message.State{message.Failed, message.Undelivered}, ErrorCodes: []int{30003, 30008}}
	b.exec(t, `INSERT INTO template_versions SELECT template_id, 2, 'Hello', variables, created_at FROM template_versions`)
	b.exec(t, `UPDATE templates SET version = 2`)

	started, err := b.RetryRun(ctx, first.CampaignID, retry, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, 2, started.AudienceSize)
	require.Equal(t, campaign.Running, b.status(t, first.CampaignID))
	require.Equal(t, []string{"campaign.start"}, b.outbox(t))
	require.Equal(t, "tester campaign.retry", get[string](t, b, `SELECT principal || ' ' || action FROM audit_events ORDER BY id DESC LIMIT 1`))
	second := b.load(t, started.ID)
	require.Equal(t, []any{2, campaign.ByRetry, retry, 2}, []any{second.Number, second.Kind, second.Retry, second.TemplateVersion})

	b.exec(t, `UPDATE users SET consent_state = 'STOP' WHERE id = (SELECT user_id FROM messages WHERE run_id = $1 AND seq = 3)`, first.ID)
	b.people(t, 3, "OPT_IN", "LK", "Asia/Colombo") // of the segment, but not of the retry
	require.NoError(t, b.Freeze(ctx, second, noon))
	second = b.load(t, second.ID)
	require.Equal(t, "1 pending, 3 suppressed", b.sentTo(t, second.ID, first.ID))
	require.Equal(t, 2, second.AudienceSize)
	cohorts, err := b.RemainingCohorts(ctx, second.ID)
	require.NoError(t, err)
	require.Len(t, cohorts, 1)
	require.Equal(t, 1, cohorts[0].LastSeq, "who may be sent to comes first")
	b.addsUp(t, second)

	_, err = b.RetryRun(ctx, first.CampaignID, retry, "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict), "it runs")
	b.accepted(t, second, 1)
	require.NoError(t, b.FinishRun(ctx, second, noon))
	require.Equal(t, campaign.Completed, b.status(t, first.CampaignID))
	require.NotNil(t, b.load(t, second.ID).FinishedAt)

	// The newest message of each decides: the first has it now, the third was suppressed.
	_, err = b.RetryRun(ctx, first.CampaignID, retry, "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict))
	require.ErrorContains(t, err, "nothing to retry")
	require.Equal(t, campaign.Completed, b.status(t, first.CampaignID))
	third, err := b.RetryRun(ctx, first.CampaignID, campaign.Retry{States: []message.State{message.Failed, message.Suppressed}}, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, 3, third.AudienceSize)
	require.NoError(t, b.Freeze(ctx, b.load(t, third.ID), noon))
	require.Equal(t, "2 pending, 3 suppressed, 6 pending", b.sentTo(t, third.ID, first.ID))

	runs, total, err := b.Runs(ctx, first.CampaignID, nil, 2)
	require.NoError(t, err)
	require.Equal(t, 3, total)
	require.Equal(t, []int{3, 2}, []int{runs[0].Number, runs[1].Number}, "newest first")
	require.Equal(t, report.States{message.Accepted: 1, message.Suppressed: 1}, runs[1].States)
	before := int64(2)
	runs, _, err = b.Runs(ctx, first.CampaignID, &before, 2)
	require.NoError(t, err)
	require.Len(t, runs, 1)
	require.Equal(t, campaign.ByTrigger, runs[0].Kind)
	_, _, err = b.Runs(ctx, 99, nil, 2)
	require.True(t, fault.Is(err, fault.NotFound))

	_, total, err = b.Recipients(ctx, first.CampaignID, report.RecipientFilter{}, 0, 10)
	require.NoError(t, err)
	require.Equal(t, 3, total, "of the newest run")
	found, total, err := b.Recipients(ctx, first.CampaignID, report.RecipientFilter{Run: 1, ErrorCode: 63016}, 0, 10)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, []int{total, found[0].Seq})
	_, _, err = b.Recipients(ctx, first.CampaignID, report.RecipientFilter{Run: 4}, 0, 10)
	require.True(t, fault.Is(err, fault.NotFound))
	sum, err := b.CampaignSummary(ctx, first.CampaignID, 1, noon)
	require.NoError(t, err)
	require.Equal(t, 6, sum.States.Total())
}

func TestRetryRunWaitsForTheEndOfTheRun(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 2)
	retry := campaign.Retry{States: []message.State{message.Cancelled}}
	for _, s := range []campaign.Status{campaign.Scheduled, campaign.Running, campaign.Paused} {
		b.exec(t, `UPDATE campaigns SET status = $1`, string(s))
		_, err := b.RetryRun(ctx, run.CampaignID, retry, "tester", noon)
		require.True(t, fault.Is(err, fault.Conflict), s)
	}
	_, err := b.Steer(ctx, run.CampaignID, campaign.Cancelled, "tester", "", noon)
	require.NoError(t, err)
	_, err = b.RetryRun(ctx, run.CampaignID, retry, "tester", noon)
	require.ErrorContains(t, err, "run 1 is not over yet")
	require.NoError(t, b.FinishRun(ctx, b.load(t, run.ID), noon))
	started, err := b.RetryRun(ctx, run.CampaignID, retry, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, 2, started.AudienceSize)

	_, err = b.RetryRun(ctx, 99, retry, "tester", noon)
	require.True(t, fault.Is(err, fault.NotFound))
	_, err = b.RetryRun(ctx, run.CampaignID, campaign.Retry{States: []message.State{message.Unknown}}, "tester", noon)
	require.True(t, fault.Is(err, fault.Invalid))
	_, err = b.RetryRun(ctx, b.campaign(t), retry, "tester", noon)
	require.ErrorContains(t, err, "trigger it")
}

func TestRetryRunAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.ended(t)
	errs := make([]error, 10)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = b.RetryRun(ctx, run.CampaignID, campaign.Retry{States: []message.State{message.Failed}}, "tester", noon)
		})
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
	require.EqualValues(t, 2, get[int64](t, b, `SELECT count(*) FROM campaign_runs`))
}

// TestOverBeforeItBegan: a run that was cancelled before its audience was taken does not take it when a later run of its
// campaign runs.
func TestOverBeforeItBegan(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	first := b.ended(t)
	second, err := b.RetryRun(ctx, first.CampaignID, campaign.Retry{States: []message.State{message.Failed}}, "tester", noon)
	require.NoError(t, err)
	_, err = b.Steer(ctx, first.CampaignID, campaign.Cancelled, "tester", "", noon)
	require.NoError(t, err)
	require.NoError(t, b.FinishRun(ctx, b.load(t, second.ID), noon))
	third, err := b.RetryRun(ctx, first.CampaignID, campaign.Retry{States: []message.State{message.Failed}}, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, 2, third.AudienceSize)

	require.NoError(t, b.Freeze(ctx, b.load(t, second.ID), noon))
	require.NotNil(t, b.load(t, second.ID).FrozenAt)
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM messages WHERE run_id = $1`, second.ID))
	require.NoError(t, b.Freeze(ctx, b.load(t, third.ID), noon))
	require.Equal(t, "1 pending, 2 pending", b.sentTo(t, third.ID, first.ID))
}

// TestSteerReachesEarlierRuns: in a run that is over something may be sent again while a retry runs.
func TestSteerReachesEarlierRuns(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	first := b.ended(t)
	_, err := b.RetryRun(ctx, first.CampaignID, campaign.Retry{States: []message.State{message.Failed}}, "tester", noon)
	require.NoError(t, err)
	b.exec(t, `UPDATE messages SET state = 'pending', reason = 'provider_retry', ended_at = NULL WHERE run_id = $1 AND seq = 3`, first.ID)
	_, a, begun := b.begin(t, first, 3, noon, time.Hour)
	require.Equal(t, ledger.BegunNow, begun)
	paused := make(chan error, 1)
	go func() {
		_, err := b.Steer(ctx, first.CampaignID, campaign.Paused, "tester", "", noon)
		paused <- err
	}()
	require.Eventually(t, func() bool { return b.status(t, first.CampaignID) == campaign.Paused }, 10*time.Second, time.Millisecond)
	select {
	case err := <-paused:
		require.NoError(t, err)
		t.Fatal("a request was under way")
	default:
	}
	require.NoError(t, b.Accept(ctx, a.ID, "SM3", 201, noon))
	require.NoError(t, <-paused)

	b.exec(t, `UPDATE messages SET state = 'pending', reason = 'provider_retry' WHERE run_id = $1 AND seq = 3`, first.ID)
	_, err = b.Steer(ctx, first.CampaignID, campaign.Cancelled, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, "cancelled campaign_cancelled", b.stands(t, first, 3), "a cancel is for all that waits")
}
