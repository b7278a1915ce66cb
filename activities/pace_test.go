package activities_test

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
)

// TestPaceLosesNoRoom has whoever waits give up at the very moment at which they are served.
func TestPaceLosesNoRoom(t *testing.T) {
	t.Parallel()
	var giveUp atomic.Pointer[context.CancelFunc]
	store := grantsThen{func() { (*giveUp.Load())() }}
	pace := activities.NewPace(store, time.Now, slog.New(slog.DiscardHandler), 1)
	for range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		giveUp.Store(&cancel)
		_, ok, err := pace.Wait(ctx, 1, 1, 80, 5*time.Second)
		if ok {
			pace.Release()
		}
		require.True(t, ok || err != nil, "there is room for one, always")
		cancel()
	}
}

// grantsThen gives everybody a moment at once, after it has called.
type grantsThen struct{ call func() }

func (g grantsThen) Grant(_ context.Context, _ int64, wanted map[int64]int, now time.Time) (map[int64][]time.Time, time.Time, error) {
	g.call()
	given := map[int64][]time.Time{}
	for campaign, n := range wanted {
		given[campaign] = slices.Repeat([]time.Time{now}, n)
	}
	return given, now.Add(time.Millisecond), nil
}

func (g grantsThen) SlowSender(context.Context, int64, time.Duration, time.Time) (float64, error) {
	return 0, nil
}
