package ledger_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/ledger"
)

func TestBreakerTrips(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		threshold, decided, failed int
		trips                      bool
	}{
		{20, 200, 40, false}, {20, 200, 41, true},
		{20, 50, 10, false}, {20, 50, 11, true}, {20, 49, 49, false},
		{20, 99, 19, false}, {20, 99, 20, true},
		{1, 200, 2, false}, {1, 200, 3, true}, {1, 50, 0, false}, {1, 50, 1, true},
		{100, 200, 200, false}, {0, 200, 200, false}, {20, 0, 0, false},
	} {
		trips := ledger.Breaker{Threshold: tt.threshold}.Trips(ledger.Outcomes{Decided: tt.decided, Failed: tt.failed})
		require.Equal(t, tt.trips, trips, "%d of %d at %d %%", tt.failed, tt.decided, tt.threshold)
	}
}

func TestCanary(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ percent, sendable, size int }{{1, 100, 1}, {1, 101, 2}, {10, 5, 1}, {50, 5, 3}, {5, 0, 1}, {5, 100_000, 5_000}} {
		require.Equal(t, tt.size, ledger.Breaker{CanaryPercent: tt.percent}.CanarySize(tt.sendable), "%d %% of %d", tt.percent, tt.sendable)
	}
	for _, tt := range []struct {
		threshold, decided, failed int
		fails                      bool
	}{{0, 5, 1, false}, {0, 4, 1, true}, {30, 10, 3, false}, {30, 10, 4, true}, {20, 0, 0, false}, {20, 1, 1, true}} {
		fails := ledger.Breaker{Threshold: tt.threshold}.CanaryFails(ledger.Outcomes{Decided: tt.decided, Failed: tt.failed})
		require.Equal(t, tt.fails, fails, "%d of %d at %d %%", tt.failed, tt.decided, tt.threshold)
	}
	require.False(t, ledger.Breaker{}.CanaryPending(), "there is none")
	require.True(t, ledger.Breaker{CanaryPercent: 1}.CanaryPending())
}

func TestOutcomesDescribe(t *testing.T) {
	t.Parallel()
	meaning := func(code int) string { return "meaning of " + strconv.Itoa(code) }
	require.Equal(t, "63 of the last 200 outcomes failed (threshold 20 %), most often with error 30007: meaning of 30007",
		ledger.Outcomes{Decided: 200, Failed: 63, Code: 30007}.Describe("the last 200", 20, meaning))
	require.Equal(t, "3 of 5 outcomes failed (threshold 20 %)", ledger.Outcomes{Decided: 5, Failed: 3}.Describe("5", 20, meaning))
}
