package throttle_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/throttle"
)

var noon = time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)

// busiest is the most moments within any one second.
func busiest(moments []time.Time) int {
	slices.SortFunc(moments, time.Time.Compare)
	most, first := 0, 0
	for i, at := range moments {
		for at.Sub(moments[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func TestBusiest(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	require.Equal(t, 2, busiest([]time.Time{at(0), at(999), at(1000), at(2500)}))
	require.Equal(t, 3, busiest([]time.Time{at(1), at(999), at(1000)}))
}

// campaign is somebody who always wants more.
type campaign struct {
	limit  throttle.Limit
	urgent bool
	given  []time.Time
}

// play lets campaigns ask in turns for a while, several callers at once, as often as they are told to.
func play(t *testing.T, shared []*throttle.Limit, campaigns []*campaign, duration time.Duration, callers int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	next := make([]time.Time, callers)
	for i := range next {
		next[i] = noon
	}
	for {
		i := 0
		for k := range next {
			if next[k].Before(next[i]) {
				i = k
			}
		}
		now := next[i]
		if now.Sub(noon) >= duration {
			return
		}
		demands := make([]*throttle.Demand, len(campaigns))
		for k, c := range campaigns {
			demands[k] = &throttle.Demand{Limit: &c.limit, Wanted: 50, Urgent: c.urgent}
		}
		again := throttle.Allot(now, shared, demands)
		for k, d := range demands {
			for _, at := range d.Given {
				require.False(t, at.Before(now), "a moment lies ahead")
				require.LessOrEqual(t, at.Sub(now), throttle.Horizon)
			}
			campaigns[k].given = append(campaigns[k].given, d.Given...)
		}
		if again.Before(now) {
			again = now
		}
		next[i] = again.Add(time.Duration(random.IntN(5000)+1) * time.Microsecond) // the way to the database
	}
}

func TestAllotKeepsEveryLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		account, sender float64
		rates           []float64
		want            []float64 // at least, a second
	}{
		{"one campaign", 1000, 80, []float64{10}, []float64{9.5}},
		{"as fast as its sender", 1000, 80, []float64{80}, []float64{76}},
		{"faster than its sender", 1000, 80, []float64{1000}, []float64{76}},
		{"equal shares", 1000, 20, []float64{30, 30}, []float64{9.5, 9.5}},
		{"a slow one gets its rate", 1000, 20, []float64{1000, 5}, []float64{14, 4.5}},
		{"the account is the narrowest", 7, 80, []float64{80, 80}, []float64{3.2, 3.2}},
		{"many", 1000, 100, []float64{50, 50, 50, 50, 50, 50, 50, 50, 50, 50}, []float64{9, 9, 9, 9, 9, 9, 9, 9, 9, 9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const seconds = 20
			account, sender := &throttle.Limit{PerSecond: tt.account}, &throttle.Limit{PerSecond: tt.sender}
			campaigns := make([]*campaign, len(tt.rates))
			for i, rate := range tt.rates {
				campaigns[i] = &campaign{limit: throttle.Limit{PerSecond: rate}}
			}
			play(t, []*throttle.Limit{account, sender}, campaigns, seconds*time.Second, 4)
			var all []time.Time
			for i, c := range campaigns {
				require.LessOrEqual(t, busiest(c.given), int(tt.rates[i]))
				require.GreaterOrEqual(t, float64(len(c.given))/seconds, tt.want[i], "campaign %d", i)
				all = append(all, c.given...)
			}
			require.LessOrEqual(t, busiest(all), int(min(tt.account, tt.sender)))
		})
	}
}

func TestAllotUrgentFirst(t *testing.T) {
	t.Parallel()
	bulk, urgent := &campaign{limit: throttle.Limit{PerSecond: 100}}, &campaign{limit: throttle.Limit{PerSecond: 100}, urgent: true}
	play(t, []*throttle.Limit{{PerSecond: 20}}, []*campaign{bulk, urgent}, 10*time.Second, 2)
	require.GreaterOrEqual(t, len(urgent.given), 190, "all that there is")
	require.Empty(t, bulk.given)

	bulk, urgent = &campaign{limit: throttle.Limit{PerSecond: 100}}, &campaign{limit: throttle.Limit{PerSecond: 5}, urgent: true}
	play(t, []*throttle.Limit{{PerSecond: 20}}, []*campaign{bulk, urgent}, 10*time.Second, 2)
	require.GreaterOrEqual(t, len(urgent.given), 48, "all of its rate")
	require.GreaterOrEqual(t, len(bulk.given), 140, "the rest")

	bulk, urgent = &campaign{limit: throttle.Limit{PerSecond: 100}}, &campaign{limit: throttle.Limit{PerSecond: 15}, urgent: true}
	play(t, []*throttle.Limit{{PerSecond: 20}}, []*campaign{bulk, urgent}, 10*time.Second, 2)
	require.GreaterOrEqual(t, len(urgent.given), 142, "all of its rate, though it does not fit between the sender's moments")
}

func TestAllotSavesNothingUp(t *testing.T) {
	t.Parallel()
	limit := throttle.Limit{PerSecond: 10, Next: noon.Add(-time.Hour)}
	d := &throttle.Demand{Limit: &limit, Wanted: 5}
	again := throttle.Allot(noon, []*throttle.Limit{{PerSecond: 80}}, []*throttle.Demand{d})
	require.Equal(t, []time.Time{noon}, d.Given, "an idle hour gives no burst")
	require.Equal(t, noon.Add(50*time.Millisecond), again, "the sender is not kept idle for it")
}

func TestAllotNobodyWaits(t *testing.T) {
	t.Parallel()
	sender := &throttle.Limit{PerSecond: 80}
	throttle.Allot(noon, []*throttle.Limit{sender}, []*throttle.Demand{{Limit: &throttle.Limit{PerSecond: 1}}})
	require.Zero(t, sender.Next)
}

func TestSlow(t *testing.T) {
	t.Parallel()
	l := throttle.Limit{PerSecond: 80}
	require.InDelta(t, 80, l.Rate(noon), 0)
	require.False(t, l.Slowed(noon))
	l.Slow(noon, 3*time.Second)
	require.True(t, l.Slowed(noon))
	require.InDelta(t, 40, l.Rate(noon), 0)
	require.Equal(t, noon.Add(3*time.Second), l.Next, "as the provider wished")
	l.Slow(noon.Add(time.Second), 0)
	require.InDelta(t, 44, l.Rate(noon.Add(time.Second)), 0.01, "requests under way slow it down once")
	require.Equal(t, noon.Add(3*time.Second), l.Next)
	require.InDelta(t, 60, l.Rate(noon.Add(5*time.Second)), 0.01)
	l.Slow(noon.Add(5*time.Second), 0)
	require.InDelta(t, 30, l.Rate(noon.Add(5*time.Second)), 0.01)
	require.InDelta(t, 80, l.Rate(noon.Add(25*time.Second)), 0.01, "it recovers, and no further")
	require.False(t, l.Slowed(noon.Add(25*time.Second)))
	require.InDelta(t, 80, l.Rate(noon.Add(time.Hour)), 0.01)
	for i := range 100 {
		l.Slow(noon.Add(time.Duration(100+6*i)*time.Second), 0)
	}
	require.GreaterOrEqual(t, l.Rate(noon.Add(694*time.Second)), 8.0, "it never stops altogether")
	l.Slow(noon.Add(time.Hour), 12*time.Hour)
	require.Equal(t, noon.Add(time.Hour+time.Minute), l.Next, "nor for half a day because of one message")
}
