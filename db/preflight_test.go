package db_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/suppression"
)

// verdicts is how many people of a campaign compliance would treat alike, were it triggered then.
func (b books) verdicts(t *testing.T, campaignID int64, at time.Time) []campaign.VerdictCount {
	t.Helper()
	f, err := b.Preflight(t.Context(), campaignID, 0, at)
	require.NoError(t, err)
	return f.Verdicts
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 3, "OPT_IN", "LK", "Asia/Colombo")
	b.people(t, 2, "STOP", "LK", "Asia/Colombo")
	b.people(t, 1, "OPT_IN", "US", "America/Los_Angeles")
	id := b.campaign(t)
	f, err := b.Preflight(ctx, id, 3, noon)
	require.NoError(t, err)
	require.Equal(t, 6, f.Audience, "before there is a sender")
	b.sender(t)
	b.exec(t, `UPDATE template_versions SET category = 'utility'`) // nothing else reaches the United States
	b.exec(t, `UPDATE campaigns SET quiet_start = $1, quiet_end = $2`, 22*60, 8*60)

	f, err = b.Preflight(ctx, id, 2, noon) // 17:30 in Colombo, 4:00 in Los Angeles
	require.NoError(t, err)
	require.Equal(t, []campaign.VerdictCount{{Action: "proceed", Count: 3}, {Action: "suppress", Reason: "stopped", Count: 2}, {Action: "wait", Reason: "quiet_hours", Count: 1}}, f.Verdicts)
	require.Equal(t, 6, f.Audience)
	require.Len(t, f.Groups, 2)
	require.Len(t, f.Samples, 2)
	require.InDelta(t, 10, f.RatePerSecond, 0)
	require.InDelta(t, 80, f.SenderRate, 0)
	require.Equal(t, noon, f.StartsAt)
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM messages`))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM campaign_runs`))
	require.Empty(t, b.outbox(t))

	b.exec(t, `UPDATE senders SET messages_per_second = 4`)
	b.exec(t, `UPDATE campaigns SET schedule_time = $1`, noon.Add(6*time.Hour)) // 23:30 in Colombo, 10:00 in Los Angeles
	f, err = b.Preflight(ctx, id, 0, noon)
	require.NoError(t, err)
	require.Equal(t, []campaign.VerdictCount{{Action: "wait", Reason: "quiet_hours", Count: 3}, {Action: "suppress", Reason: "stopped", Count: 2}, {Action: "proceed", Count: 1}}, f.Verdicts, "as of when it would start")
	require.InDelta(t, 4, f.RatePerSecond, 0)
	require.Empty(t, f.Samples)

	_, err = b.Preflight(ctx, 99, 0, noon)
	require.True(t, fault.Is(err, fault.NotFound))
}

// An audience of several chunks is judged by what the freeze and the sends of the same campaign read.
func TestPreflightOfManyIsTheFreezes(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 4500, "OPT_IN", "LK", "Asia/Colombo")
	b.people(t, 300, "OPT_OUT", "LK", "Asia/Colombo")
	b.people(t, 200, "PENDING", "IN", "Asia/Kolkata")
	id := b.campaign(t)
	b.sender(t)
	b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1)`, noon)
	b.exec(t, `UPDATE campaigns SET subscription_topic_id = 1`)
	b.exec(t, `INSERT INTO subscriptions (topic_id, user_id, created_at) SELECT 1, id, $1 FROM users WHERE id % 3 = 0`, noon)
	b.exec(t, `UPDATE users SET attributes = '{"city":"Galle"}' WHERE id % 7 = 0`)
	b.exec(t, `INSERT INTO segments (name, definition, created_at, updated_at) VALUES ('Galle', '{"attribute":"city","operator":"equals","value":"Galle"}', $1, $1)`, noon)
	b.exec(t, `UPDATE campaigns SET exclude_segment_ids = '{2}'`)
	b.suppress(t, "+94771000006", suppression.Global)
	f, err := b.Preflight(ctx, id, 0, noon)
	require.NoError(t, err)

	started, err := b.StartRun(ctx, id, "tester", noon)
	require.NoError(t, err)
	require.NoError(t, b.Freeze(ctx, b.load(t, started.ID), noon))
	frozen := map[string]int{}
	rows, err := b.pool.Query(ctx, `SELECT reason, count(*) FROM messages GROUP BY reason`)
	require.NoError(t, err)
	for rows.Next() {
		var reason string
		var n int
		require.NoError(t, rows.Scan(&reason, &n))
		frozen[reason] = n
	}
	require.NoError(t, rows.Err())
	foretold := map[string]int{}
	for _, v := range f.Verdicts {
		foretold[v.Reason] = v.Count
	}
	require.Equal(t, frozen, foretold)
	require.Equal(t, 5000, f.Audience)
	require.Len(t, frozen, 6)
	require.Equal(t, 1, frozen["suppressed"])
}

// People of one country and zone whose hours different laws bound wait for different hours.
func TestPreflightByLaw(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	for i, state := range []string{"RI", "NY", "RI", "CT"} {
		b.user(t, fmt.Sprintf("+1401555%04d", i), "US", `{"city":"X","state":"`+state+`"}`, "OPT_IN")
	}
	b.exec(t, `UPDATE users SET zones = '{America/New_York}'`)
	b.sender(t)
	id := b.campaign(t)
	b.exec(t, `UPDATE template_versions SET category = 'utility'`) // nothing else reaches the United States
	f, err := b.Preflight(ctx, id, 0, noon)                        // 7:00 in New York, on a Monday
	require.NoError(t, err)
	require.Equal(t, []campaign.VerdictCount{{Action: "wait", Reason: "legal_window", Count: 4}}, f.Verdicts)
	first := map[string]string{}
	for _, g := range f.Groups {
		first[g.Law.String()] = g.FirstLocal
	}
	require.Equal(t, map[string]string{"US-RI": "2026-03-02T09:00", "US": "2026-03-02T08:00", "US-CT": "2026-03-02T09:00"}, first)

	b.exec(t, `UPDATE campaigns SET priority = 'transactional'`)
	f, err = b.Preflight(ctx, id, 0, noon)
	require.NoError(t, err)
	require.Equal(t, []campaign.VerdictCount{{Action: "proceed", Count: 4}}, f.Verdicts)
	require.Len(t, f.Groups, 1, "no law bounds what people wait for")
}

func TestMissRun(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
	run := b.triggered(t)
	missed, err := b.MissRun(ctx, run, "too late", noon.Add(time.Hour))
	require.NoError(t, err)
	require.True(t, missed)
	require.Equal(t, "FAILED too late", get[string](t, b, `SELECT status || ' ' || status_reason FROM campaigns`))
	require.Equal(t, "engine campaign.missed campaign/1", get[string](t, b, `SELECT principal || ' ' || action || ' ' || subject FROM audit_events ORDER BY id DESC LIMIT 1`))
	ended := b.load(t, run.ID)
	require.NotNil(t, ended.SettledAt)
	missed, err = b.MissRun(ctx, run, "too late", noon.Add(time.Hour))
	require.NoError(t, err)
	require.False(t, missed, "once")
	require.NoError(t, b.Freeze(ctx, ended, noon.Add(time.Hour)))
	states, err := b.RunStates(ctx, run.ID)
	require.NoError(t, err)
	require.Empty(t, states, "nobody is sent to after all")

	c := open(t)
	begun := c.frozen(t, 2)
	missed, err = c.MissRun(ctx, begun, "too late", noon)
	require.NoError(t, err)
	require.False(t, missed, "it has begun")
	states, err = c.RunStates(ctx, begun.ID)
	require.NoError(t, err)
	require.Equal(t, ledger.States{message.Pending: 2}, states)
}

func TestStartRunByLocalTime(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	plan := b.plan(t)
	plan.LocalTime, _ = campaign.ParseLocalTime(noon.Add(24 * time.Hour).Format("2006-01-02T15:04"))
	plan.StartWithin = time.Hour
	created, err := b.CreateCampaign(ctx, plan, noon)
	require.NoError(t, err)
	require.Equal(t, plan.LocalTime, created.LocalTime)
	require.Equal(t, time.Hour, created.StartWithin)
	started, err := b.StartRun(ctx, created.ID, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Scheduled, b.status(t, created.ID))
	run := b.load(t, started.ID)
	require.Equal(t, noon.Add(10*time.Hour), run.NotBefore.UTC(), "when the first clock on Earth shows it")
	require.Equal(t, plan.LocalTime, run.Schedule.Local)
	require.Equal(t, time.Hour, run.Schedule.Within)
}
