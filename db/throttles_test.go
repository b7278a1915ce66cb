package db_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Several processes ask at once, with clocks that differ: no second holds more moments than the narrowest limit.
func TestGrant(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ campaign, sender, account, narrowest int }{{1, 80, 1000, 1}, {7, 80, 1000, 7}, {1000, 80, 1000, 80}, {50, 80, 3, 3}} {
		b, ctx := open(t), t.Context()
		b.sender(t)
		id := b.campaign(t)
		b.exec(t, `UPDATE campaigns SET rate_limit_per_second = $1`, tt.campaign)
		b.exec(t, `UPDATE senders SET messages_per_second = $1`, tt.sender)
		b.exec(t, `UPDATE account_limits SET messages_per_second = $1`, tt.account)
		sender := get[int64](t, b, `SELECT id::bigint FROM senders WHERE channel = 'whatsapp'`)
		const workers = 6
		granted, errs := make([][]time.Time, workers), make([]error, workers)
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for ms := 0; ms < 3000; ms += 40 {
					now := noon.Add(time.Duration(ms+7*w) * time.Millisecond)
					given, _, err := b.Grant(ctx, sender, map[int64]int{id: 10}, now)
					if err != nil {
						errs[w] = err
						return
					}
					granted[w] = append(granted[w], given[id]...)
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		all := slices.SortedFunc(slices.Values(slices.Concat(granted...)), time.Time.Compare)
		require.NotEmpty(t, all)
		for i, at := range all {
			if i >= tt.narrowest {
				require.GreaterOrEqual(t, at.Sub(all[i-tt.narrowest]), time.Second, "%+v: no second holds more", tt)
			}
		}
	}
}

func TestGrantWithoutDemand(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	id := b.campaign(t)
	sender := get[int64](t, b, `SELECT id::bigint FROM senders WHERE channel = 'whatsapp'`)
	given, again, err := b.Grant(ctx, sender, map[int64]int{id: 0}, noon)
	require.NoError(t, err)
	require.Empty(t, given)
	require.True(t, again.After(noon))
	given, _, err = b.Grant(ctx, sender, map[int64]int{id + 99: 1}, noon)
	require.NoError(t, err)
	require.Empty(t, given, "a campaign that does not exist gets nothing")
}

func TestSlowSender(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	id := b.campaign(t)
	b.exec(t, `UPDATE campaigns SET rate_limit_per_second = 1000`)
	sender := get[int64](t, b, `SELECT id::bigint FROM senders WHERE channel = 'whatsapp'`)
	rate, err := b.SlowSender(ctx, sender, 2*time.Second, noon)
	require.NoError(t, err)
	require.InDelta(t, 40, rate, 0.1, "half of 80")
	given, again, err := b.Grant(ctx, sender, map[int64]int{id: 5}, noon.Add(time.Second))
	require.NoError(t, err)
	require.Empty(t, given, "the provider wished for two seconds without")
	later := again.Add(time.Millisecond)
	given, _, err = b.Grant(ctx, sender, map[int64]int{id: 5}, later)
	require.NoError(t, err)
	require.NotEmpty(t, given[id])
	require.False(t, given[id][0].Before(noon.Add(2*time.Second)))
	for i, at := range given[id][1:] {
		require.Greater(t, at.Sub(given[id][i]), time.Second/60, "slower than its limit")
	}
	given, _, err = b.Grant(ctx, sender, map[int64]int{id: 3}, noon.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, 12500*time.Microsecond, given[id][1].Sub(given[id][0]), "it has recovered")
}
