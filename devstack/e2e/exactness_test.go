package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// A thousand people get one message each: first without faults, then while every third request is turned away, every
// tenth is answered with an error after it was accepted, some hang, break off or end half-way, and receipts are lost,
// doubled and reordered.
func TestThousandRecipients(t *testing.T) {
	w := newWorld(t, nil)
	const n = 1000
	plain := w.people("+9477", "Plainville", n)
	c := w.campaign("Plainville", nil)
	w.trigger(c)
	w.awaitDelivered(c, n)
	w.judge(plain)
	w.sumsUp(c, n)

	w.sim("POST", "/sim/reset", nil, nil)
	w.sim("PUT", "/sim/faults", object{
		"seed": 7,
		"requests": []object{
			{"fault": "hang_after", "every": 113, "hang_ms": 15000},
			{"fault": "reset_after", "every": 57},
			{"fault": "truncate", "every": 71},
			{"fault": "throttle", "every": 3},
			{"fault": "error_after", "every": 10},
		},
		"receipts": object{"drop": 0.1, "double": 0.1, "reorder": 0.1},
	}, nil)
	faulty := w.people("+9476", "Faultville", n)
	c = w.campaign("Faultville", nil)
	w.trigger(c)
	w.awaitDelivered(c, n)
	w.judge(faulty)
	w.sumsUp(c, n)

	// The faults did happen: requests were turned away, and outcomes had to be found out.
	require.Positive(t, w.count(`SELECT count(*) FROM attempts WHERE state = 'refused' AND http_status = 429`))
	require.Positive(t, w.count(`SELECT count(*) FROM attempts WHERE state = 'accepted' AND http_status = 500`))
	require.Positive(t, w.count(`SELECT coalesce(sum(repeats), 0) FROM receipts`))
}

// Whatever is killed in the middle of a campaign, after a restart it completes by itself, one message each.
func TestKill(t *testing.T) {
	const n = 300
	kills := map[string]func(*world){
		"worker": func(w *world) {
			require.NoError(t, w.Kill(stack.Worker))
			require.NoError(t, w.Start(t.Context(), stack.Worker))
		},
		"api": func(w *world) {
			require.NoError(t, w.Kill(stack.API))
			require.NoError(t, w.Start(t.Context(), stack.API))
		},
		"temporal": func(w *world) {
			require.NoError(t, w.Kill(stack.Temporal))
			require.NoError(t, w.Start(t.Context(), stack.Temporal))
		},
		"everything": func(w *world) {
			require.NoError(t, w.KillAll())
			require.NoError(t, w.StartAll(t.Context()))
		},
	}
	for name, kill := range kills {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			persons := w.people("+9477", "Killville", n)
			c := w.campaign("Killville", object{"rate_limit_per_second": 50})
			w.trigger(c)
			for _, at := range []int{n / 4, n / 2} {
				w.until("the campaign to be in the middle", func() bool { return w.accepted() >= at })
				require.Less(t, w.accepted(), n, "the kill came too late to prove anything")
				kill(w)
			}
			w.awaitDelivered(c, n)
			w.judge(persons)
			w.sumsUp(c, n)
		})
	}
}

// Workflows that someone terminated by hand are taken up again: recipients, a batch and the campaign itself.
func TestTerminatedByHand(t *testing.T) {
	w := newWorld(t, map[stack.Role]map[string]string{stack.Worker: {"STUCK_AFTER": "5s"}})
	const n = 60
	persons := w.people("+9477", "Handville", n)
	c := w.campaign("Handville", object{"rate_limit_per_second": 4})
	w.trigger(c)
	temporal := w.temporal()
	w.until("some to be sent", func() bool { return w.accepted() >= 5 })
	terminated := 0
	for seq := 1; seq <= n; seq++ {
		if temporal.TerminateWorkflow(t.Context(), recipientID(c, seq), "", "by hand") == nil {
			terminated++
		}
	}
	require.Positive(t, terminated)
	require.NoError(t, temporal.TerminateWorkflow(t.Context(), campaignID(c), "", "by hand"))
	w.awaitDelivered(c, n)
	w.judge(persons)
}

// A trigger is answered, and kept, while Temporal is down.
func TestTriggerWithoutTemporal(t *testing.T) {
	w := newWorld(t, nil)
	persons := w.people("+9477", "Darkville", 10)
	c := w.campaign("Darkville", nil)
	require.NoError(t, w.Kill(stack.Temporal))
	w.trigger(c)
	require.Equal(t, "RUNNING", w.status(c))
	require.NoError(t, w.Start(t.Context(), stack.Temporal))
	w.awaitDelivered(c, 10)
	w.judge(persons)
}

// Every status callback is lost. Twilio is asked for the overdue receipts, and the ledger ends right.
func TestReceiptsNeverCome(t *testing.T) {
	w := newWorld(t, map[stack.Role]map[string]string{stack.Worker: {"RECEIPT_DEADLINE": "5s"}})
	const n = 300
	w.sim("PUT", "/sim/faults", object{"receipts": object{"drop": 1.0}}, nil)
	persons := w.people("+9477", "Silentville", n)
	c := w.campaign("Silentville", nil)
	w.trigger(c)
	w.awaitDelivered(c, n)
	w.judge(persons)
	w.sumsUp(c, n)
	require.Zero(t, w.count(`SELECT count(*) FROM receipts WHERE payload <> '{"fetched": true}'`), "nobody called back")
	w.until("the run to be settled", func() bool { return w.count(`SELECT count(*) FROM campaign_runs WHERE settled_at IS NULL`) == 0 })
}
