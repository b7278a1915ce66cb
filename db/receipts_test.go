package db_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
)

// report records callbacks, at noon, and tells which of them were news.
func (b books) report(t *testing.T, reports ...message.Report) []bool {
	t.Helper()
	for i := range reports {
		reports[i].Payload = []byte(`{}`)
	}
	news, err := b.RecordReceipts(t.Context(), reports, noon)
	require.NoError(t, err)
	return news
}

func receipt(seq int, state message.State) message.Report {
	return message.Report{SID: sid(seq), Status: string(state), State: state, Payload: []byte(`{}`)}
}

func failure(seq, code int, policy message.Policy) message.Report {
	r := receipt(seq, message.Undelivered)
	r.Code, r.Policy = code, policy
	return r
}

func TestRecordReceipts(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 1)
	b.accepted(t, run, 1)
	b.outbox(t)

	require.Equal(t, []bool{true}, b.report(t, receipt(1, message.Sent)))
	require.Equal(t, "sent", b.stands(t, run, 1))
	require.Empty(t, b.outbox(t), "nobody waits for that")
	require.Equal(t, []bool{false}, b.report(t, receipt(1, message.Sent)))
	require.EqualValues(t, 1, get[int32](t, b, `SELECT repeats FROM receipts`))

	require.Equal(t, []bool{true, false, true}, b.report(t, receipt(1, message.Read), receipt(1, message.Read), receipt(1, message.Delivered)))
	require.Equal(t, "read", b.stands(t, run, 1))
	require.Empty(t, b.outbox(t), "nor for that")
	b.report(t, receipt(1, message.Sent), failure(1, 30003, message.Policy{Class: message.Permanent}))
	require.Equal(t, "read", b.stands(t, run, 1), "late ones take nothing back")
	require.Empty(t, b.outbox(t))
	require.EqualValues(t, 4, get[int64](t, b, `SELECT count(*) FROM receipts`), "they are kept all the same")
	require.Equal(t, "read", get[string](t, b, `SELECT carrier FROM attempts`))
	b.addsUp(t, run)
}

func TestRecordReceiptsBeforeTheOutcome(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 2)
	_, a, _ := b.begin(t, run, 1, noon, time.Second)
	b.outbox(t)
	queued := receipt(1, message.Accepted)
	queued.AttemptID = &a.ID
	b.report(t, queued)
	require.Equal(t, "accepted", b.stands(t, run, 1))
	require.Equal(t, []string{"recipient.signal 1"}, b.outbox(t))
	require.Equal(t, "accepted SM1", get[string](t, b, `SELECT state || ' ' || provider_sid FROM attempts`))
	b.report(t, receipt(1, message.Delivered))
	require.Equal(t, "delivered", b.stands(t, run, 1), "known by its SID from then on")

	_, a, _ = b.begin(t, run, 2, noon, time.Second)
	require.NoError(t, b.GiveUp(t.Context(), a.ID, message.ReasonUnresolved, noon))
	late := receipt(2, message.Delivered)
	late.AttemptID = &a.ID
	b.report(t, late)
	require.Equal(t, "delivered", b.stands(t, run, 2), "a late receipt decides what was given up")
	b.addsUp(t, run)
}

func TestRecordReceiptsOfStrangers(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 1)
	a := b.accepted(t, run, 1)

	stranger := uuid.New()
	unknown := receipt(7, message.Delivered)
	unknown.AttemptID = &stranger
	require.Equal(t, []bool{true, true}, b.report(t, unknown, receipt(8, message.Delivered)), "kept, for whoever asks later")
	require.EqualValues(t, 2, get[int64](t, b, `SELECT count(*) FROM receipts WHERE attempt_id IS NULL`))

	other := receipt(9, message.Delivered)
	other.AttemptID = &a.ID
	b.report(t, other)
	require.Equal(t, "accepted", b.stands(t, run, 1), "an attempt that has another SID is not what it is about")
}

// TestRecordReceiptsKnownLater: a receipt that came before anyone could tell whose it was is applied when it is told again.
func TestRecordReceiptsKnownLater(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 1)
	b.report(t, receipt(1, message.Delivered))
	b.accepted(t, run, 1)
	require.Equal(t, []bool{false}, b.report(t, receipt(1, message.Delivered)))
	require.Equal(t, "delivered", b.stands(t, run, 1))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM receipts WHERE attempt_id IS NULL`))
}

func TestRecordReceiptsOptOut(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	first := b.frozen(t, 1)
	second := b.triggered(t)
	require.NoError(t, b.Freeze(ctx, second, noon))
	b.accepted(t, first, 1)
	b.outbox(t)

	optOut := failure(1, 63033, message.Policy{Class: message.OptOut})
	b.report(t, optOut)
	require.Equal(t, "undelivered carrier_opt_out", b.stands(t, first, 1))
	require.Equal(t, "OPT_OUT", b.consent(t, "+94771000001"))
	require.Equal(t, "OPT_OUT carrier SM1 provider", get[string](t, b, `SELECT state || ' ' || source || ' ' || evidence || ' ' || actor FROM consent_events`))
	require.Equal(t, "suppressed carrier_opt_out", b.stands(t, second, 1), "what waits in other campaigns is withdrawn")
	require.Equal(t, []string{"recipient.signal 1"}, b.outbox(t), "who waits learns of it at once")
	require.Equal(t, campaign.Running, b.status(t, first.CampaignID))

	b.report(t, optOut)
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM consent_events`))
	require.Empty(t, b.outbox(t))
}

func TestRecordReceiptsRetry(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 1)
	b.accepted(t, run, 1)
	require.NoError(t, b.FinishRun(ctx, run, noon))
	require.NoError(t, b.SettleRun(ctx, run.ID, noon))
	b.outbox(t)

	retry := message.Policy{Class: message.Retry, Delay: 30 * time.Second, Retries: 1}
	b.report(t, failure(1, 63010, retry))
	d := b.delivery(t, run, 1)
	require.Equal(t, "pending provider_retry", b.stands(t, run, 1))
	require.Equal(t, noon.Add(30*time.Second), d.WaitsUntil.UTC())
	require.Nil(t, b.load(t, run.ID).SettledAt, "there is something to send again")
	require.ElementsMatch(t, []string{"recipient.signal 1", "campaign.wake", "campaign.start"}, b.outbox(t))

	_, a, begun := b.begin(t, run, 1, noon.Add(30*time.Second), time.Second)
	require.Equal(t, ledger.BegunNow, begun)
	require.NoError(t, b.Accept(ctx, a.ID, "SM2", 201, noon.Add(31*time.Second)))
	b.report(t, failure(1, 63010, retry))
	require.Equal(t, "accepted", b.stands(t, run, 1), "that was told of the first attempt")
	b.report(t, failure(2, 63010, retry))
	require.Equal(t, "undelivered attempts_spent", b.stands(t, run, 1))
	b.addsUp(t, run)
}

func TestRecordReceiptsFault(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 3)
	b.accepted(t, run, 1)
	b.accepted(t, run, 2)
	paused := message.Policy{Class: message.Stop, Scope: message.ScopeCampaign, Meaning: "The template is paused"}
	b.report(t, failure(1, 63041, paused))
	require.Equal(t, "undelivered campaign_fault", b.stands(t, run, 1))
	require.Equal(t, "PAUSED provider error 63041: The template is paused", get[string](t, b, `SELECT status || ' ' || status_reason FROM campaigns`))
	b.report(t, failure(2, 63041, paused))
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM audit_events WHERE action = 'campaign.PAUSED' AND principal = 'engine'`), "once")
	require.Equal(t, "pending", b.stands(t, run, 3))
	b.addsUp(t, run)
}

// TestRecordReceiptsInAnyOrder records the callbacks of many messages shuffled, doubled and in batches: every message
// ends as if they had come in order.
func TestRecordReceiptsInAnyOrder(t *testing.T) {
	t.Parallel()
	b := open(t)
	const n = 40
	run := b.frozen(t, n)
	random := rand.New(rand.NewPCG(3, 4))
	var all []message.Report
	for seq := 1; seq <= n; seq++ {
		a := b.accepted(t, run, seq)
		for i, state := range []message.State{message.Accepted, message.Sent, message.Delivered, message.Read} {
			if i > seq%4 {
				break
			}
			r := receipt(seq, state)
			if random.IntN(2) == 0 {
				r.AttemptID = &a.ID
			}
			all = append(all, r, r)
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for len(all) > 0 {
		size := min(1+random.IntN(9), len(all))
		b.report(t, all[:size]...)
		all = all[size:]
	}
	for seq := 1; seq <= n; seq++ {
		require.Equal(t, []string{"accepted", "sent", "delivered", "read"}[seq%4], b.stands(t, run, seq))
	}
	b.addsUp(t, run)
}

// TestLedgerAtOnce lets everything happen at the same time: sends with their outcomes, callbacks that come before and
// after them, STOPs, and an operator who pauses and resumes. Nothing fails, and the account adds up.
func TestLedgerAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const n, workers = 120, 6
	run := b.frozen(t, n)
	deliveries := make([]ledger.Delivery, n)
	for i := range deliveries {
		deliveries[i] = b.delivery(t, run, i+1)
	}

	var workersDone, others sync.WaitGroup
	done := make(chan struct{})
	began := make([]bool, n)
	for w := range workers {
		workersDone.Go(func() {
			random := rand.New(rand.NewPCG(5, uint64(w)))
			for i := w; i < n; i += workers {
				a := attemptAt(noon, time.Millisecond)
				begun, err := b.Begin(ctx, deliveries[i], a, nil)
				if err != nil {
					t.Errorf("begin: %v", err)
				}
				for begun == ledger.NotRunning && err == nil {
					begun, err = b.Begin(ctx, deliveries[i], a, nil)
				}
				if begun != ledger.BegunNow {
					continue
				}
				began[i] = true
				var steps sync.WaitGroup
				steps.Go(func() {
					if err := b.Accept(ctx, a.ID, sid(i+1), 201, noon); err != nil {
						t.Errorf("accept: %v", err)
					}
				})
				for _, state := range []message.State{message.Accepted, message.Sent, message.Delivered} {
					r := receipt(i+1, state)
					r.AttemptID = &a.ID
					batch := []message.Report{r}
					if random.IntN(3) == 0 {
						batch = append(batch, receipt(i+1, message.Sent), r)
					}
					steps.Go(func() {
						if _, err := b.RecordReceipts(ctx, batch, noon); err != nil {
							t.Errorf("receipts: %v", err)
						}
					})
				}
				steps.Wait()
			}
		})
	}
	others.Go(func() {
		for to := campaign.Paused; ; {
			select {
			case <-done:
				return
			default:
			}
			if _, err := b.Steer(ctx, run.CampaignID, to, "tester", "", noon); err != nil && !fault.Is(err, fault.Conflict) {
				t.Errorf("steer: %v", err)
			}
			if to == campaign.Paused {
				to = campaign.Running
			} else {
				to = campaign.Paused
			}
		}
	})
	others.Go(func() {
		for i := 0; i < n; i += 10 {
			if _, err := b.Receive(ctx, said(fmt.Sprintf("SM-in-%d", i), deliveries[i].Phone, "STOP"), noon); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	})
	finished := make(chan struct{})
	go func() { workersDone.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(time.Minute):
		t.Error("somebody waits for ever")
	}
	close(done)
	others.Wait()

	b.addsUp(t, run)
	for i := range n {
		want := "delivered"
		if !began[i] {
			want = "suppressed stopped"
		}
		require.Equal(t, want, b.stands(t, run, i+1))
	}
}

// TestRecordReceiptsSlow: a carrier that cannot keep up slows the sender down, once for all that it says together.
func TestRecordReceiptsSlow(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 2)
	b.accepted(t, run, 1)
	b.accepted(t, run, 2)
	tooFast := message.Policy{Class: message.Retry, Delay: 30 * time.Second, Retries: 1, Slows: true}
	b.report(t, failure(1, 63018, tooFast), failure(2, 63018, tooFast))
	require.InDelta(t, 40, get[float32](t, b, `SELECT slowed_rate FROM throttles WHERE key = $1`, "sender/1"), 0.1)
	require.Equal(t, "pending provider_retry", b.stands(t, run, 1))
}
