package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/throttle"
)

func TestSenders(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	require.NoError(t, b.EnsureSender(ctx, message.SMS, "+14155238886", noon))
	senders, err := b.Senders(ctx)
	require.NoError(t, err)
	require.Equal(t, []throttle.Sender{
		{ID: 2, Channel: message.SMS, Address: "+14155238886", Limit: throttle.Limit{PerSecond: 10}},
		{ID: 1, Channel: message.WhatsApp, Address: "+14155238886", Limit: throttle.Limit{PerSecond: 80}},
	}, senders)

	_, err = b.SetSenderRate(ctx, 2, 25, "key:7", noon)
	require.NoError(t, err)
	require.NoError(t, b.EnsureSender(ctx, message.SMS, "+14155238886", noon))
	senders, err = b.Senders(ctx)
	require.NoError(t, err)
	require.InDelta(t, 25, senders[0].Limit.PerSecond, 0, "made known again, it keeps its limit")
	require.Equal(t, `key:7 sender.change sender/2 {"was": 10, "messages_per_second": 25}`,
		get[string](t, b, `SELECT concat_ws(' ', principal, action, subject, detail) FROM audit_events`))

	_, err = b.SetSenderRate(ctx, 99, 25, "key:7", noon)
	require.True(t, fault.Is(err, fault.NotFound), err)
	_, err = b.SetSenderRate(ctx, 2, 1001, "key:7", noon)
	require.Error(t, err)
	require.Error(t, b.SetAccountRate(ctx, 2001, "key:7", noon))
	require.Equal(t, int64(1), get[int64](t, b, `SELECT count(*) FROM audit_events`), "what was refused is no event")
}

func TestSendersCampaignsRunning(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.triggered(t)
	require.NoError(t, b.EnsureSender(ctx, message.WhatsApp, "+14155238887", noon))
	running := func() []int {
		senders, err := b.Senders(ctx)
		require.NoError(t, err)
		return []int{senders[0].CampaignsRunning, senders[1].CampaignsRunning}
	}
	require.Equal(t, []int{0, 1}, running())
	b.exec(t, `UPDATE campaigns SET status = 'PAUSED'`)
	require.Equal(t, []int{0, 0}, running())
	b.exec(t, `UPDATE campaigns SET status = 'RUNNING'`)
	b.exec(t, `UPDATE campaign_runs SET finished_at = $1 WHERE id = $2`, noon, run.ID)
	require.Equal(t, []int{0, 0}, running(), "its active run counts")
}

// Whoever asks next gets moments at the new limit.
func TestGrantObeysChangedLimits(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	id := b.campaign(t)
	b.exec(t, `UPDATE campaigns SET rate_limit_per_second = 1000`)
	now := noon
	spacing := func() time.Duration {
		t.Helper()
		now = now.Add(time.Minute)
		given, _, err := b.Grant(ctx, 1, map[int64]int{id: 2}, now)
		require.NoError(t, err)
		require.Len(t, given[id], 2)
		return given[id][1].Sub(given[id][0])
	}
	require.Equal(t, 12500*time.Microsecond, spacing(), "80 a second")
	_, err := b.SetSenderRate(ctx, 1, 40, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, 25*time.Millisecond, spacing())
	require.NoError(t, b.SetAccountRate(ctx, 20, "tester", noon))
	require.Equal(t, 50*time.Millisecond, spacing())
	rate, err := b.AccountRate(ctx)
	require.NoError(t, err)
	require.Equal(t, 20, rate)
}
