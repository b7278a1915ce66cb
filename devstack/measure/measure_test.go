package measure

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPercentile(t *testing.T) {
	t.Parallel()
	var l Latencies
	require.Zero(t, l.Percentile(99))
	for i := 200; i > 0; i-- {
		l = append(l, time.Duration(i)*time.Millisecond)
	}
	for p, want := range map[int]string{0: "1.0 ms", 1: "2.0 ms", 50: "100.0 ms", 99: "198.0 ms", 100: "200.0 ms"} {
		require.Equal(t, want, Millis(l.Percentile(p)), p)
	}
	require.Equal(t, 200*time.Millisecond, l[0], "what was measured stays in its order")
	require.Equal(t, "p50 100.0 ms  p95 190.0 ms  p99 198.0 ms  max 200.0 ms", l.String())
}
