package pace

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// every returns n moments that are apart by the spacing, the first at noon.
func every(spacing time.Duration, n int) []time.Time {
	moments := make([]time.Time, n)
	for i := range moments {
		moments[i] = noon.Add(time.Duration(i) * spacing)
	}
	return moments
}

func TestMost(t *testing.T) {
	t.Parallel()
	even := every(100*time.Millisecond, 50)
	for name, tc := range map[string]struct {
		moments []time.Time
		want    int
	}{
		"None":         {nil, 0},
		"One":          {even[:1], 1},
		"Even":         {even, 10},
		"OneTooEarly":  {append(slices.Clone(even[:30]), even[30].Add(-time.Microsecond)), 11},
		"OneTooMany":   {append(slices.Clone(even), even[7].Add(time.Millisecond)), 11},
		"AcrossSecond": {[]time.Time{noon.Add(900 * time.Millisecond), noon.Add(1100 * time.Millisecond), noon.Add(1800 * time.Millisecond)}, 3},
		"Burst":        {append(slices.Clone(even), even[20], even[20], even[20]), 13},
		"WidthApart":   {every(time.Second, 5), 1},
	} {
		require.Equal(t, tc.want, Most(tc.moments, time.Second), name)
		slices.Reverse(tc.moments)
		require.Equal(t, tc.want, Most(tc.moments, time.Second), "%s, reversed", name)
	}
}

func TestTolerated(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{1: 2, 10: 11, 19: 20, 20: 22, 80: 88} {
		require.Equal(t, want, Tolerated(limit), limit)
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	moments := every(100*time.Millisecond, 50)
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	require.Equal(t, Span{noon, at(4900)}, Busy(moments))
	require.Equal(t, Span{}, Busy(nil))
	require.Equal(t, 10, Span{at(1000), at(2000)}.Count(moments), "with its beginning, without its end")

	require.Equal(t, Span{at(1000), at(2000)}, Span{noon, at(2000)}.And(Span{at(1000), at(3000)}))
	require.Zero(t, Span{noon, at(1000)}.And(Span{at(2000), at(3000)}).Count(moments))

	require.InDelta(t, 10.0, PerSecond(moments, Span{noon, at(1000)}, Span{at(3000), at(4500)}), 1e-9)
	gap := append(slices.Clone(moments[:10]), moments[30:]...)
	require.InDelta(t, 5.0, PerSecond(gap, Span{noon, at(4000)}), 1e-9, "a gap counts")
	require.InDelta(t, 10.0, PerSecond(gap, Span{noon, at(1000)}, Span{at(3000), at(4000)}), 1e-9, "unless it is left out")
	require.Zero(t, PerSecond(moments))
}
