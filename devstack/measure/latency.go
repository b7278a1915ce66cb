package measure

import (
	"fmt"
	"slices"
	"time"
)

// Latencies are durations that were measured one by one.
type Latencies []time.Duration

// Percentile is the smallest duration that p percent do not exceed; 0 when none was measured.
func (l Latencies) Percentile(p int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(l))[max((len(l)*p+99)/100-1, 0)]
}

// String shows the percentiles that are reported.
func (l Latencies) String() string {
	return fmt.Sprintf("p50 %s  p95 %s  p99 %s  max %s", Millis(l.Percentile(50)), Millis(l.Percentile(95)), Millis(l.Percentile(99)), Millis(l.Percentile(100)))
}

// Millis shows a duration in milliseconds.
func Millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
