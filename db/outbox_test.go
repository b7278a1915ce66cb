package db_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/outbox"
)

// owe puts n items into the outbox, written one second apart from noon on.
func (b books) owe(t *testing.T, n int) {
	t.Helper()
	b.exec(t, `INSERT INTO outbox (kind, payload, created_at, next_attempt_at)
		SELECT 'recipient.signal', jsonb_build_object('run_id', 1, 'campaign_id', 2, 'number', 3, 'seq', i), at, at
		FROM generate_series(1, $2) i, LATERAL (SELECT $1::timestamptz + i * interval '1 second' AS at) x`, noon, n)
}

func seqs(t *testing.T, items []outbox.Item) []int {
	t.Helper()
	list := []int{}
	for _, item := range items {
		r, err := outbox.Decode[outbox.Recipient](item)
		require.NoError(t, err)
		list = append(list, r.Seq)
	}
	return list
}

func TestRelay(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.owe(t, 4)
	at := noon.Add(time.Minute)

	var got []outbox.Item
	keep := func(items []outbox.Item) []error { got = items; return make([]error, len(items)) }
	delivered, failed, err := b.Relay(ctx, 2, at, at, keep)
	require.NoError(t, err)
	require.Equal(t, []int{2, 0}, []int{delivered, failed})
	require.Equal(t, []int{1, 2}, seqs(t, got), "the oldest first, and no more than asked for")
	require.Equal(t, outbox.SignalRecipient, got[0].Kind)

	delivered, failed, err = b.Relay(ctx, 10, at, at, func(items []outbox.Item) []error {
		require.Equal(t, []int{3, 4}, seqs(t, items), "what was delivered is gone")
		return []error{nil, errors.New("nobody there")}
	})
	require.NoError(t, err)
	require.Equal(t, []int{1, 1}, []int{delivered, failed})
	require.Equal(t, "nobody there", get[string](t, b, `SELECT last_error FROM outbox`))

	none := func([]outbox.Item) []error { t.Error("nothing was due"); return nil }
	_, _, err = b.Relay(ctx, 10, at, at, none)
	require.NoError(t, err)
	for n, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		wait := time.Duration(seconds) * time.Second
		_, _, err = b.Relay(ctx, 10, at, at.Add(wait-time.Millisecond), none)
		require.NoError(t, err)
		at = at.Add(wait)
		_, failed, err = b.Relay(ctx, 10, at, at, func(items []outbox.Item) []error {
			require.Equal(t, n+1, items[0].Attempts)
			return []error{errors.New("nobody there")}
		})
		require.NoError(t, err)
		require.Equal(t, 1, failed, "what failed comes again later, after %d times at the latest in a minute", n+1)
	}
	waiting, oldest, err := b.OutboxBacklog(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, waiting)
	require.Equal(t, noon.Add(4*time.Second), oldest.UTC())

	at = at.Add(time.Minute)
	delivered, _, err = b.Relay(ctx, 10, at, at, keep)
	require.NoError(t, err)
	require.Equal(t, 1, delivered)
	waiting, oldest, err = b.OutboxBacklog(ctx)
	require.NoError(t, err)
	require.Zero(t, waiting)
	require.True(t, oldest.IsZero())
}

func TestRelayLeavesFreshItems(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.owe(t, 3)
	at := noon.Add(time.Minute)
	_, _, err := b.Relay(ctx, 10, noon.Add(2*time.Second), at, func(items []outbox.Item) []error {
		require.Equal(t, []int{1, 2}, seqs(t, items))
		return make([]error, len(items))
	})
	require.NoError(t, err)
}

func TestRelaysShareTheWork(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.owe(t, 5)
	at := noon.Add(time.Minute)
	var first, second []int
	_, _, err := b.Relay(ctx, 3, at, at, func(items []outbox.Item) []error {
		first = seqs(t, items)
		_, _, err := b.Relay(ctx, 10, at, at, func(items []outbox.Item) []error { // another relay, at this very moment
			second = seqs(t, items)
			return make([]error, len(items))
		})
		require.NoError(t, err)
		return make([]error, len(items))
	})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, first)
	require.Equal(t, []int{4, 5}, second)
}

func TestDecode(t *testing.T) {
	t.Parallel()
	_, err := outbox.Decode[outbox.Run](outbox.Item{ID: 7, Kind: outbox.WakeCampaign, Payload: json.RawMessage(`[`)})
	require.ErrorContains(t, err, "outbox item 7 (campaign.wake)")
}
