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
	senders, err := b.Senders(ctx, noon)
	require.NoError(t, err)
	require.Equal(t, []throttle.Sender{
		{ID: 2, Channel: message.SMS, Address: "+14155238886", Limit: throttle.Limit{PerSecond: 10}},
		{ID: 1, Channel: message.WhatsApp, Address: "+14155238886", Limit: throttle.Limit{PerSecond: 80}, Portfolio: "default"},
	}, senders)

	_, err = b.ChangeSender(ctx, 2, "key:7", senderRate(25), noon)
	require.NoError(t, err)
	require.NoError(t, b.EnsureSender(ctx, message.SMS, "+14155238886", noon))
	senders, err = b.Senders(ctx, noon)
	require.NoError(t, err)
	require.InDelta(t, 25, senders[0].Limit.PerSecond, 0, "made known again, it keeps its limit")
	require.Equal(t, `key:7 sender.change sender/2 {"was": {"messages_per_second": 10}, "messages_per_second": 25}`,
		get[string](t, b, `SELECT concat_ws(' ', principal, action, subject, detail) FROM audit_events`))

	_, err = b.ChangeSender(ctx, 99, "key:7", senderRate(25), noon)
	require.True(t, fault.Is(err, fault.NotFound), err)
	_, err = b.ChangeSender(ctx, 2, "key:7", senderRate(1001), noon)
	require.Error(t, err)
	_, err = b.ChangeAccount(ctx, "key:7", accountRate(2001), noon)
	require.Error(t, err)
	require.Equal(t, int64(1), get[int64](t, b, `SELECT count(*) FROM audit_events`), "what was refused is no event")
}

func TestSendersCampaignsRunning(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.triggered(t)
	require.NoError(t, b.EnsureSender(ctx, message.WhatsApp, "+14155238887", noon))
	running := func() []int {
		senders, err := b.Senders(ctx, noon)
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
	_, err := b.ChangeSender(ctx, 1, "tester", senderRate(40), noon)
	require.NoError(t, err)
	require.Equal(t, 25*time.Millisecond, spacing())
	changed, err := b.ChangeAccount(ctx, "tester", accountRate(20), noon)
	require.NoError(t, err)
	require.Equal(t, 50*time.Millisecond, spacing())
	account, err := b.Account(ctx)
	require.NoError(t, err)
	require.Equal(t, throttle.Account{PerSecond: 20, PairInterval: 6 * time.Second}, account)
	require.Equal(t, changed, account)
}

func senderRate(perSecond float64) func(throttle.Sender) (throttle.Sender, error) {
	return func(s throttle.Sender) (throttle.Sender, error) {
		s.Limit.PerSecond = perSecond
		return s, nil
	}
}

func accountRate(perSecond int) func(throttle.Account) (throttle.Account, error) {
	return func(a throttle.Account) (throttle.Account, error) {
		a.PerSecond = perSecond
		return a, nil
	}
}

func TestChangeAccount(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	want := throttle.Account{PerSecond: 1000, PairInterval: 0, PersonDay: of(1), PersonWeek: of(4), PersonTopicDay: of(2), PersonTopicWeek: of(3)}
	changed, err := b.ChangeAccount(ctx, "tester", func(throttle.Account) (throttle.Account, error) { return want, nil }, noon)
	require.NoError(t, err)
	require.Equal(t, want, changed)
	account, err := b.Account(ctx)
	require.NoError(t, err)
	require.Equal(t, want, account)
	require.JSONEq(t, `{"pair_interval_seconds": 0, "person_messages_per_day": 1, "person_messages_per_week": 4, "person_topic_messages_per_day": 2, "person_topic_messages_per_week": 3,
		"was": {"pair_interval_seconds": 6, "person_messages_per_day": null, "person_messages_per_week": null, "person_topic_messages_per_day": null, "person_topic_messages_per_week": null}}`,
		get[string](t, b, `SELECT detail::text FROM audit_events`))
	_, err = b.ChangeAccount(ctx, "tester", func(a throttle.Account) (throttle.Account, error) { return a, fault.New(fault.Invalid, "no") }, noon)
	require.True(t, fault.Is(err, fault.Invalid))
}
