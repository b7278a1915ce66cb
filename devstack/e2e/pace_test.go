package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/pace"
	"github.com/event-stream-engine/ese/devstack/stack"
)

// grants is when the throttles gave each attempt of a campaign its moment.
func (w *world) grants(campaign int) []time.Time {
	w.t.Helper()
	const attempts = ` FROM attempts a JOIN messages m ON m.id = a.message_id JOIN campaign_runs r ON r.id = m.run_id WHERE r.campaign_id = %d`
	require.Zero(w.t, w.count(fmt.Sprintf(`SELECT count(*)`+attempts+` AND a.granted_at IS NULL`, campaign)), "attempts without a grant")
	var moments []time.Time
	w.query(fmt.Sprintf(`SELECT coalesce(array_agg(a.granted_at ORDER BY a.granted_at), '{}')`+attempts, campaign), &moments)
	return moments
}

// within checks the rule of a limit: by the grants it is never exceeded, by what the provider saw hardly.
func (w *world) within(limit int, grants []time.Time) {
	w.t.Helper()
	require.LessOrEqual(w.t, pace.Most(grants, time.Second), limit, "granted within one second")
	require.LessOrEqual(w.t, pace.Most(w.accepts(), time.Second), pace.Tolerated(limit), "accepted within one second")
}

// recovery is how long after a kill the pace is not judged: what the killed worker held is taken over when its workflow
// tasks and activities have timed out, and until then its grants are unused.
const recovery = 10 * time.Second

// Four workers share a campaign's rate, three of them are killed and started again on the way, and in no second is it
// exceeded. The average is judged before the first kill, and from the recovery of that one to the second kill: a campaign
// that runs out of recipients while some wait to be taken over cannot keep its pace. PACE=80 sends at that rate instead,
// for as long; then only the windows are judged, whatever the machine reaches.
func TestPace(t *testing.T) {
	rate := 10
	if asked := os.Getenv("PACE"); asked != "" {
		var err error
		rate, err = strconv.Atoi(asked)
		require.NoError(t, err, "PACE")
	}
	n := 36 * rate
	w := startWorld(t, stack.Options{Workers: 4})
	persons := w.people("+9477", "Paceville", n)
	c := w.campaign("Paceville", object{"rate_limit_per_second": rate})
	w.trigger(c)
	kill := func(after int, roles ...stack.Role) time.Time {
		w.until("the campaign to go on", func() bool { return w.accepted() >= after })
		at := time.Now()
		for _, role := range roles {
			require.NoError(t, w.Kill(role))
		}
		for _, role := range roles {
			require.NoError(t, w.Start(t.Context(), role))
		}
		return at
	}
	first := kill(10*rate, stack.WorkerN(2))
	second := kill(28*rate, stack.WorkerN(1), stack.WorkerN(4))
	require.Less(t, w.accepted(), n, "the kill came too late to prove anything")
	w.awaitDelivered(c, n)
	w.judge(persons)
	w.sumsUp(c, n)

	grants := w.grants(c)
	average := pace.PerSecond(grants, pace.Span{From: pace.Busy(grants).From, To: first}, pace.Span{From: first.Add(recovery), To: second})
	t.Logf("%.2f/s where no kill was recovered from, %.2f/s over all", average, pace.PerSecond(grants, pace.Busy(grants)))
	w.within(rate, grants)
	if rate <= 10 {
		require.Greater(t, average, 0.95*float64(rate))
	}
}

// sender limits the one sender that all campaigns use.
func (w *world) sender(perSecond int) {
	w.t.Helper()
	w.exec(fmt.Sprintf(`UPDATE senders SET messages_per_second = %d`, perSecond))
}

// Two campaigns that both want more than their sender may send get half of it each.
func TestSharedSender(t *testing.T) {
	const limit, n = 20, 160
	w := newWorld(t, nil)
	w.sender(limit)
	persons := append(w.people("+9477", "Leftville", n), w.people("+9476", "Rightville", n)...)
	left := w.campaign("Leftville", object{"rate_limit_per_second": 30})
	right := w.campaign("Rightville", object{"rate_limit_per_second": 30})
	w.trigger(left)
	w.trigger(right)
	w.awaitDelivered(left, n)
	w.awaitDelivered(right, n)
	w.judge(persons)

	lefts, rights := w.grants(left), w.grants(right)
	both := pace.Busy(lefts).And(pace.Busy(rights))
	share := float64(both.Count(lefts)) / float64(both.Count(lefts)+both.Count(rights))
	t.Logf("%.0f %% for the first while both were busy, %.1f s", 100*share, both.To.Sub(both.From).Seconds())
	w.within(limit, slices.Concat(lefts, rights))
	require.Greater(t, both.Count(lefts)+both.Count(rights), n, "they were busy together for most of the time")
	require.InDelta(t, 0.5, share, 0.1)
}

// A transactional campaign goes ahead of a bulk one on the same sender: while it is busy, the bulk one gets what it leaves.
func TestTransactionalGoesAhead(t *testing.T) {
	const limit, rate, bulks, urgents = 20, 15, 320, 120
	w := newWorld(t, nil)
	w.sender(limit)
	persons := append(w.people("+9477", "Bulkville", bulks), w.people("+9476", "Urgentville", urgents)...)
	bulk := w.campaign("Bulkville", object{"rate_limit_per_second": 30})
	urgent := w.campaign("Urgentville", object{"rate_limit_per_second": rate})
	w.exec(fmt.Sprintf(`UPDATE campaigns SET priority = 'transactional' WHERE id = %d`, urgent))
	w.trigger(bulk)
	w.until("the bulk campaign to be under way", func() bool { return w.accepted() >= 2*limit })
	w.trigger(urgent)
	w.awaitDelivered(bulk, bulks)
	w.awaitDelivered(urgent, urgents)
	w.judge(persons)

	slow, fast := w.grants(bulk), w.grants(urgent)
	busy := pace.Busy(fast)
	require.True(t, busy.To.Before(pace.Busy(slow).To), "the bulk campaign had something to send all the time")
	// One second's worth may have been promised to the bulk campaign before the other one came.
	rest := limit + float64(limit-rate)*busy.To.Sub(busy.From).Seconds()
	t.Logf("%d of the bulk campaign while the other was busy, %.1f s", busy.Count(slow), busy.To.Sub(busy.From).Seconds())
	w.within(limit, slices.Concat(slow, fast))
	require.LessOrEqual(t, float64(busy.Count(slow)), rest)
}
