package db_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
)

// running is a run of a new campaign to everybody, frozen, that sends from the newest sender.
func (b books) running(t *testing.T) ledger.Run {
	t.Helper()
	started, err := b.StartRun(t.Context(), b.campaign(t), "tester", noon)
	require.NoError(t, err)
	require.NoError(t, b.Freeze(t.Context(), b.load(t, started.ID), noon))
	return b.load(t, started.ID)
}

// neighbours are runs of three campaigns to n people: the first two send from one address, the third from another.
func (b books) neighbours(t *testing.T, n int) [3]ledger.Run {
	t.Helper()
	b.exec(t, `UPDATE account_limits SET pair_interval_seconds = 0`) // they send to the same people at the same moment
	b.people(t, n, "OPT_IN", "LK", "Asia/Colombo")
	b.sender(t)
	one, two := b.running(t), b.running(t)
	require.NoError(t, b.EnsureSender(t.Context(), message.WhatsApp, "+14155550000", noon))
	return [3]ledger.Run{one, two, b.running(t)}
}

// sent has the provider accept the run's message seq under a SID of its own, begun at at.
func (b books) sent(t *testing.T, run ledger.Run, seq int, at time.Time) (sid string) {
	t.Helper()
	_, a, begun := b.begin(t, run, seq, at, 10*time.Second)
	require.Equal(t, ledger.BegunNow, begun)
	sid = fmt.Sprintf("SM%d-%d", run.ID, seq)
	require.NoError(t, b.Accept(t.Context(), a.ID, sid, 201, at))
	return sid
}

func fails(sid string, scope message.Scope) message.Report {
	return message.Report{
		SID: sid, Status: "failed", State: message.Failed, Code: 63000, Payload: []byte(`{}`),
		Policy: message.Policy{Class: message.Stop, Scope: scope, Meaning: "It is broken"},
	}
}

// statuses lists the campaigns' statuses in the order of their ids.
func (b books) statuses(t *testing.T) string {
	t.Helper()
	return get[string](t, b, `SELECT string_agg(status, ' ' ORDER BY id) FROM campaigns`)
}

func TestFaultStopsItsScope(t *testing.T) {
	t.Parallel()
	for scope, want := range map[message.Scope]string{
		"":                    "PAUSED RUNNING RUNNING SCHEDULED DRAFT",
		message.ScopeCampaign: "PAUSED RUNNING RUNNING SCHEDULED DRAFT",
		message.ScopeSender:   "PAUSED PAUSED RUNNING SCHEDULED DRAFT",
		message.ScopeAccount:  "PAUSED PAUSED PAUSED SCHEDULED DRAFT",
	} {
		for way, meet := range map[string]func(b books, run ledger.Run){
			"refusal": func(b books, run ledger.Run) {
				require.NoError(t, b.PauseForFault(t.Context(), run.CampaignID, scope, "provider error 63000: It is broken", noon))
			},
			"receipt": func(b books, run ledger.Run) { b.report(t, fails(b.sent(t, run, 1, noon), scope)) },
		} {
			b := open(t)
			runs := b.neighbours(t, 1)
			later := b.campaign(t)
			b.exec(t, `UPDATE campaigns SET schedule_time = $2 WHERE id = $1`, later, noon.Add(time.Hour))
			_, err := b.StartRun(t.Context(), later, "tester", noon)
			require.NoError(t, err)
			b.campaign(t)
			b.outbox(t)

			meet(b, runs[0])
			require.Equal(t, want, b.statuses(t), "%s, %q", way, scope)
			paused := int64(strings.Count(want, "PAUSED"))
			require.Equal(t, paused, get[int64](t, b, `SELECT count(*) FROM campaigns WHERE status_reason = 'provider error 63000: It is broken'`))
			require.Equal(t, paused, get[int64](t, b, `SELECT count(*) FROM outbox WHERE kind = 'campaign.wake'`), "their workflows hear of it")
			require.Equal(t, paused, get[int64](t, b, `SELECT count(*) FROM audit_events WHERE action = 'campaign.PAUSED' AND principal = 'engine'`))
		}
	}
}

// TestFaultOfTheOtherSender: the sender that a report blames is the one its message was sent from.
func TestFaultOfTheOtherSender(t *testing.T) {
	t.Parallel()
	b := open(t)
	runs := b.neighbours(t, 1)
	b.report(t, fails(b.sent(t, runs[2], 1, noon), message.ScopeSender))
	require.Equal(t, "RUNNING RUNNING PAUSED", b.statuses(t))
}

// TestFaultBeforeTheResume: what was sent before an operator mended the fault does not stop the campaign again; what is
// sent after that does.
func TestFaultBeforeTheResume(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	runs := b.neighbours(t, 2)
	before := b.sent(t, runs[0], 1, noon)
	require.NoError(t, b.PauseForFault(ctx, runs[0].CampaignID, message.ScopeAccount, "broken", noon.Add(time.Second)))
	_, err := b.Steer(ctx, runs[0].CampaignID, campaign.Running, "tester", "", noon.Add(time.Minute))
	require.NoError(t, err)
	b.report(t, fails(before, message.ScopeAccount))
	require.Equal(t, "RUNNING PAUSED PAUSED", b.statuses(t))
	b.report(t, fails(b.sent(t, runs[0], 2, noon.Add(2*time.Minute)), message.ScopeAccount))
	require.Equal(t, "PAUSED PAUSED PAUSED", b.statuses(t))
}

// TestFaultsAtOnce: faults, receipts, sends and resumes of campaigns that concern one another all get through.
func TestFaultsAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const rounds = 12
	runs := b.neighbours(t, 3*rounds)
	var wg sync.WaitGroup
	errs := make(chan error, 1000)
	try := func(f func() error) { wg.Go(func() { errs <- f() }) }
	scopes := []message.Scope{message.ScopeAccount, message.ScopeSender, message.ScopeCampaign}
	for round := range rounds {
		var reports []message.Report
		for i := range runs { // newest campaign first: against the order of locking
			run := runs[len(runs)-1-i]
			reports = append(reports, fails(b.sent(t, run, 3*round+1, noon), scopes[(round+i)%3]))
		}
		for _, run := range runs {
			try(func() error { return b.PauseForFault(ctx, run.CampaignID, scopes[round%3], "broken", noon) })
			d := b.delivery(t, run, 3*round+2)
			try(func() error {
				_, err := b.Begin(ctx, d, ledger.Attempt{ID: uuid.Must(uuid.NewV7()), StartedAt: noon, LeaseUntil: noon.Add(time.Second)}, nil)
				return err
			})
		}
		for _, batch := range [][]message.Report{reports, {reports[1]}, {reports[2], reports[0]}} {
			try(func() error {
				_, err := b.RecordReceipts(ctx, batch, noon)
				return err
			})
		}
		wg.Wait()
		for _, run := range runs { // the next round starts with all of them running
			if b.status(t, run.CampaignID) == campaign.Paused {
				_, err := b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", noon)
				require.NoError(t, err)
			}
		}
	}
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	for _, run := range runs {
		b.addsUp(t, run)
	}
}

// outcome ends the run's messages from…to as of a moment.
func (b books) outcome(t *testing.T, run ledger.Run, from, to int, state message.State, reason string, code int, at time.Time) {
	t.Helper()
	b.exec(t, `UPDATE messages SET state = $4, reason = $5, error_code = nullif($6::integer, 0), accepted_at = $7, updated_at = $7,
			ended_at = CASE WHEN $4 IN ('failed', 'undelivered') THEN $7::timestamptz END,
			delivered_at = CASE WHEN $4 IN ('delivered', 'read') THEN $7::timestamptz END
		WHERE run_id = $1 AND seq BETWEEN $2 AND $3`, run.ID, from, to, string(state), reason, code, at)
}

func TestNewestOutcomes(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 400)
	failed := func(from, to int, at time.Time) {
		b.outcome(t, run, from, to, message.Undelivered, message.ReasonProvider, 30007, at)
	}
	delivered := func(from, to int, at time.Time) { b.outcome(t, run, from, to, message.Read, "", 0, at) }
	first, second := noon, noon.Add(time.Minute)
	of := func(failed, decided int) ledger.Outcomes {
		return ledger.Outcomes{Decided: decided, Failed: failed, Code: 30007}
	}
	for _, tt := range []struct {
		name  string
		write func()
		since time.Time
		want  ledger.Outcomes // zero: certainly healthy, without counting
		trips bool
	}{
		{name: "nothing yet", write: func() {}},
		{name: "few failures", write: func() { failed(1, 10, first) }},
		{name: "too few to judge", write: func() { failed(1, 49, first) }, want: of(49, 49)},
		{name: "all of the first", write: func() { failed(1, 50, first) }, want: of(50, 50), trips: true},
		{name: "just above", write: func() { failed(1, 11, first); delivered(12, 50, first) }, want: of(11, 50), trips: true},
		{name: "just not above", write: func() { failed(1, 20, first); delivered(21, 100, first) }, want: of(20, 100)},
		{name: "long ago", write: func() { failed(1, 60, first); delivered(61, 300, second) }},
		{name: "a bad spell", write: func() { delivered(1, 300, first); failed(301, 341, second) }, want: of(41, 200), trips: true},
		{name: "all of late", write: func() { delivered(1, 200, first); failed(201, 400, second) }, want: of(200, 200), trips: true},
		{name: "a spell that is over", write: func() { failed(1, 41, first); delivered(42, 201, second) }},
		{name: "a spell not quite over", write: func() { failed(1, 41, first); delivered(42, 200, second) }, want: of(41, 200), trips: true},
		{name: "as many as tolerated", write: func() {
			for i := range 60 {
				at := first.Add(time.Duration(i) * time.Second)
				failed(5*i+1, 5*i+1, at)
				delivered(5*i+2, 5*i+5, at.Add(time.Millisecond))
			}
		}},
		{name: "before the resume", write: func() { failed(1, 100, first); delivered(101, 150, second) }, since: first},
		{name: "after the resume", write: func() { delivered(1, 300, first); failed(301, 360, second) }, since: first, want: of(60, 60), trips: true},
		{name: "people who opted out", write: func() {
			b.outcome(t, run, 1, 60, message.Failed, message.ReasonOptedOut, 21610, first)
			b.outcome(t, run, 61, 120, message.Suppressed, "no_consent", 0, first)
		}},
		{name: "the commonest code", write: func() {
			b.outcome(t, run, 1, 20, message.Failed, message.ReasonProvider, 21211, first)
			failed(21, 60, first)
		}, want: of(60, 60), trips: true},
	} {
		b.exec(t, `UPDATE messages SET state = 'pending', reason = '', error_code = NULL, ended_at = NULL, delivered_at = NULL, accepted_at = NULL`)
		tt.write()
		breaker, err := b.Breaker(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, ledger.Breaker{Threshold: 20}, breaker)
		breaker.Since = tt.since
		got, ok, err := b.NewestOutcomes(t.Context(), run.ID, breaker)
		require.NoError(t, err)
		require.Equal(t, tt.want, got, tt.name)
		require.Equal(t, tt.trips, ok && breaker.Trips(got), tt.name)
		_, ok, err = b.NewestOutcomes(t.Context(), run.ID, ledger.Breaker{})
		require.NoError(t, err)
		require.False(t, ok, "the breaker is off")
	}
}

func TestResumeIsTheOperatorsWord(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 3)
	b.exec(t, `UPDATE campaigns SET canary_percent = 10`)
	pauseAndResume := func(reason string, at time.Time) ledger.Breaker {
		require.NoError(t, b.PauseForFault(ctx, run.CampaignID, message.ScopeCampaign, reason, at))
		_, err := b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", at)
		require.NoError(t, err)
		breaker, err := b.Breaker(ctx, run.ID)
		require.NoError(t, err)
		return breaker
	}
	breaker := pauseAndResume("63 of the last 200 outcomes failed", noon.Add(time.Minute))
	require.True(t, breaker.Since.Equal(noon.Add(time.Minute)))
	require.True(t, breaker.CanaryPending(), "the canary was not judged yet")
	breaker = pauseAndResume(ledger.CanaryReason+"1 of 1 outcomes failed", noon.Add(time.Hour))
	require.True(t, breaker.Since.Equal(noon.Add(time.Hour)))
	require.False(t, breaker.CanaryPending(), "overruled")
}

// TestResumeDuringTheFreeze: the freeze holds the run's row and asks for the campaign's; a resume holds the campaign's.
func TestResumeDuringTheFreeze(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.people(t, 1, "OPT_IN", "LK", "Asia/Colombo")
	run := b.triggered(t)
	_, err := b.Steer(t.Context(), run.CampaignID, campaign.Paused, "tester", "", noon)
	require.NoError(t, err)
	freeze, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = freeze.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = freeze.Exec(t.Context(), `SELECT FROM campaign_runs WHERE id = $1 FOR UPDATE`, run.ID)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", noon)
	require.NoError(t, err, "it waits for the freeze")
	require.Equal(t, campaign.Running, b.status(t, run.CampaignID))
}

func TestCanaryInTheLedger(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 20)
	b.exec(t, `UPDATE campaigns SET canary_percent = 30`)
	breaker, err := b.Breaker(ctx, run.ID)
	require.NoError(t, err)
	look := func() ledger.Canary {
		c, err := b.Canary(ctx, run.ID, breaker, noon.Add(-time.Hour), noon)
		require.NoError(t, err)
		c.LastMoved, c.FirstDue = c.LastMoved.UTC(), c.FirstDue.UTC()
		return c
	}
	cut := func(number, size int) {
		cohorts, err := b.RemainingCohorts(ctx, run.ID)
		require.NoError(t, err)
		_, err = b.CutBatch(ctx, run.ID, number, cohorts[0], size, noon)
		require.NoError(t, err)
	}
	require.Equal(t, ledger.Canary{Sendable: 20}, look())
	cut(1, 5)
	require.Equal(t, ledger.Canary{Sendable: 20, Dispatched: 5}, look(), "one of six is missing")
	cut(2, 1)
	require.Equal(t, ledger.Canary{Sendable: 20, Dispatched: 6, Waiting: 6, LastMoved: noon, FirstDue: noon}, look())

	b.outcome(t, run, 1, 1, message.Failed, message.ReasonProvider, 21211, noon)
	b.outcome(t, run, 2, 2, message.Failed, message.ReasonOptedOut, 21610, noon)
	b.outcome(t, run, 3, 3, message.Delivered, "", 0, noon)
	b.outcome(t, run, 4, 4, message.Sent, "", 0, noon.Add(-time.Hour))
	b.outcome(t, run, 5, 5, message.Sent, "receipt_overdue", 0, noon)
	require.Equal(t, ledger.Canary{
		Sendable: 20, Dispatched: 6, Waiting: 1, LastMoved: noon, FirstDue: noon, Outcomes: ledger.Outcomes{Decided: 2, Failed: 1, Code: 21211},
	}, look())
	b.exec(t, `UPDATE messages SET waits_until = $1 WHERE seq = 6`, noon.Add(time.Hour))
	require.Equal(t, noon.Add(time.Hour), look().FirstDue)
	b.outcome(t, run, 6, 6, message.Suppressed, "no_consent", 0, noon)
	require.Zero(t, look().Waiting)
	breaker.Since = noon
	require.Zero(t, look().Outcomes, "decided before the resume")

	require.NoError(t, b.PassCanary(ctx, run.ID, noon.Add(time.Minute)))
	require.NoError(t, b.PassCanary(ctx, run.ID, noon.Add(time.Hour)))
	breaker, err = b.Breaker(ctx, run.ID)
	require.NoError(t, err)
	require.True(t, breaker.CanaryPassedAt.Equal(noon.Add(time.Minute)), "once")
}
