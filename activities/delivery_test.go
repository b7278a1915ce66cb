package activities_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/twiliosim"
)

// once is a fault that the first n sends meet.
func once(fault string, n int) twiliosim.RequestFault {
	return twiliosim.RequestFault{Fault: fault, Every: 1, Limit: n, HangMS: 5000}
}

func faults(requests ...twiliosim.RequestFault) twiliosim.Faults {
	return twiliosim.Faults{Requests: requests}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		faults   twiliosim.Faults
		want     string
		accepted int
	}{
		{"accepted", twiliosim.Faults{}, "read [accepted]", 1},
		{"throttled twice", faults(once("throttle", 2)), "read [refused refused accepted]", 1},
		{"error after acceptance", faults(once("error_after", 1)), "read [accepted]", 1},
		{"error before acceptance", faults(once("error_before", 1)), "read [absent accepted]", 1},
		{"hang after acceptance", faults(once("hang_after", 1)), "read [accepted]", 1},
		{"hang before acceptance", faults(once("hang_before", 1)), "read [absent accepted]", 1},
		{"reset after acceptance", faults(once("reset_after", 1)), "read [accepted]", 1},
		{"reset before acceptance", faults(once("reset_before", 1)), "read [absent accepted]", 1},
		{"half an answer", faults(once("truncate", 1)), "read [accepted]", 1},
		{"first look fails", faults(once("error_after", 1), twiliosim.RequestFault{Fault: "error_before", On: "list", Every: 1, Limit: 1}), "read [accepted]", 1},
		{"nothing gets through", faults(twiliosim.RequestFault{Fault: "reset_before", Every: 1}), "failed attempts_spent [absent absent absent absent absent]", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLane(t, 1, tt.faults).brief()
			require.Equal(t, tt.want, l.drive(t, 1))
			require.Equal(t, tt.accepted, l.accepted(t, 1))
		})
	}
}

// A reply is delivered like any other message, to people whom no campaign may write to.
func TestDeliveryOfReplies(t *testing.T) {
	t.Parallel()
	provider := faults(once("error_after", 1), once("throttle", 1))
	provider.NoWindow = true // it is not told what they wrote
	l := newLane(t, 0, provider).brief()
	for i, body := range []string{"STOP", "HELP"} {
		_, err := l.Receive(t.Context(), inbound.Message{
			SID: fmt.Sprintf("SM%d", i), Channel: message.WhatsApp, From: phone.Number(fmt.Sprintf("+9477100000%d", i)), To: ours, Body: body, Payload: []byte(`{}`),
		}, time.Now())
		require.NoError(t, err)
	}
	w := *l.world
	w.run = l.load(t, l.run.ID+1)
	l.world = &w
	for seq := 1; seq <= 2; seq++ {
		require.Contains(t, l.drive(t, seq), "accepted]")
		require.Equal(t, 1, l.accepted(t, seq))
	}
}

func TestDeliveryByNumber(t *testing.T) {
	t.Parallel()
	const to = "+94771000001"
	for _, tt := range []struct {
		name     string
		fault    twiliosim.NumberFault
		want     string
		accepted int
	}{
		{"refused for good", twiliosim.NumberFault{Code: 21211, Sync: true}, "failed provider_error [refused]", 0},
		{"refused with opt-out", twiliosim.NumberFault{Code: 21610, Sync: true}, "failed carrier_opt_out [refused]", 0},
		{"refused for a while", twiliosim.NumberFault{Code: 21611, Sync: true, Times: 2}, "read [refused refused accepted]", 1},
		{"refused for too long", twiliosim.NumberFault{Code: 21611, Sync: true}, "failed attempts_spent [refused refused refused refused refused refused]", 0},
		{"fails later, for a while", twiliosim.NumberFault{Code: 63010, Times: 1}, "read [accepted accepted]", 2},
		{"fails later, for too long", twiliosim.NumberFault{Code: 63010}, "failed attempts_spent [accepted accepted accepted accepted]", 4},
		{"fails later for good", twiliosim.NumberFault{Code: 63024, Status: "undelivered"}, "undelivered provider_error [accepted]", 1},
		{"opted out at the carrier", twiliosim.NumberFault{Code: 63033, Status: "undelivered"}, "undelivered carrier_opt_out [accepted]", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLane(t, 1, twiliosim.Faults{Numbers: map[string]twiliosim.NumberFault{to: tt.fault}})
			require.Equal(t, tt.want, l.drive(t, 1))
			require.Equal(t, tt.accepted, l.accepted(t, 1))
			if tt.want == "failed attempts_spent [accepted accepted accepted accepted]" || tt.accepted == 2 {
				require.Equal(t, "0", l.text(t, `SELECT count(*)::text FROM attempts WHERE carrier NOT IN ('failed', 'delivered', 'read')`), "what was sent again had failed")
			}
			wantConsent := "OPT_IN"
			if tt.fault.Code == 21610 || tt.fault.Code == 63033 {
				wantConsent = "OPT_OUT"
			}
			require.Equal(t, wantConsent, l.text(t, `SELECT consent_state FROM users`))
		})
	}
}

// TestDeliveryNobodyThere: a provider that cannot be reached uses up no try, however long it takes.
func TestDeliveryNobodyThere(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{})
	away := httptest.NewServer(nil)
	away.Close()
	there := l.Sender
	l.Sender = client(t, away.URL)
	for range message.MaxAttempts + 2 {
		next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
		require.Equal(t, activities.Check, next.Do)
		require.Equal(t, message.ReasonConcurrency, next.Reason)
		require.True(t, next.At.After(time.Now()))
		l.exec(t, `UPDATE messages SET waits_until = now()`)
	}
	l.Sender = there
	require.Equal(t, "read [refused refused refused refused refused refused refused accepted]", l.drive(t, 1))
	require.Equal(t, 1, l.accepted(t, 1))
}

func TestDeliveryListLags(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{Requests: []twiliosim.RequestFault{once("error_after", 1)}, ListLagMS: 2500}).brief()
	l.Looks = []time.Duration{10 * time.Millisecond, 3500 * time.Millisecond}
	require.Equal(t, "read [accepted]", l.drive(t, 1))
	require.Equal(t, 1, l.accepted(t, 1))
	require.Equal(t, "1", l.text(t, `SELECT looks::text FROM attempts`), "the first look saw nothing")
}

func TestDeliveryListFails(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, faults(once("error_after", 1), twiliosim.RequestFault{Fault: "error_before", On: "list", Every: 1})).brief()
	require.Equal(t, "unknown unresolved [unknown]", l.drive(t, 1))
	require.Equal(t, "unknown unresolved [unknown]", l.drive(t, 1), "never silently sent again")
	require.Equal(t, 1, l.accepted(t, 1))
}

func TestDeliveryTwoFit(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, faults(once("error_after", 1))).brief()
	next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
	require.Equal(t, activities.Resolve, next.Do)
	twin := l.Sender.Send(t.Context(), message.Outbound{Channel: message.WhatsApp, From: ours, To: l.number(t, 1), Body: "Hi Ann", Lease: time.Now().Add(time.Minute)})
	require.Equal(t, message.ResultAccepted, twin.Result)
	require.Equal(t, "unknown ambiguous_match [unknown]", l.drive(t, 1))
	require.Equal(t, "unknown ambiguous_match [unknown]", l.drive(t, 1), "never silently sent again")
	require.Equal(t, 2, l.accepted(t, 1))
}

// TestDeliveryOfTwinCampaigns: the same text to the same person twice, wanted so, is no ambiguity once one is known.
func TestDeliveryOfTwinCampaigns(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{}).brief()
	require.Equal(t, "read [accepted]", l.drive(t, 1))
	created, err := l.CreateCampaign(t.Context(), campaign.Campaign{Topic: "Again", TemplateID: 1, RatePerSecond: 1000, Timezone: "UTC",
		SegmentQuery: []byte(`{"attribute":"name","operator":"exists"}`)}, time.Now())
	require.NoError(t, err)
	run, err := l.StartRun(t.Context(), created.ID, "tester", time.Now())
	require.NoError(t, err)
	l.run = l.load(t, run.ID)
	require.NoError(t, l.Freeze(t.Context(), l.run, time.Now()))
	l.faults(t, faults(once("error_after", 1)))
	require.Equal(t, "read [accepted]", l.drive(t, 1))
	require.Equal(t, 2, l.accepted(t, 1), "one for each campaign")
}

// begin does what SendMessage does up to the request, and dies.
func (l *lane) begin(t *testing.T, seq int) (ledger.Delivery, ledger.Attempt) {
	t.Helper()
	d, err := l.world.Delivery(t.Context(), l.run.ID, seq)
	require.NoError(t, err)
	now := time.Now()
	a := ledger.Attempt{ID: uuid.Must(uuid.NewV7()), StartedAt: now, LeaseUntil: now.Add(l.Lease), BodySHA256: sha256.Sum256([]byte("Hi Ann"))}
	begun, err := l.Begin(t.Context(), d, a, nil)
	require.NoError(t, err)
	require.Equal(t, ledger.BegunNow, begun)
	return d, a
}

func TestDeliveryKilledBeforeTheRequest(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{}).brief()
	l.begin(t, 1)
	for _, do := range []activities.Do{activities.Check, activities.Send, activities.Resolve} { // whatever the next process does first
		next := l.step(t, l.message(1), activities.Next{Do: do})
		require.Equal(t, activities.Resolve, next.Do)
	}
	require.Zero(t, l.accepted(t, 1), "it cannot know, so it sends nothing")
	require.Equal(t, "read [absent accepted]", l.drive(t, 1))
	require.Equal(t, 1, l.accepted(t, 1))
}

func TestDeliveryKilledAfterTheRequest(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{}).brief()
	d, a := l.begin(t, 1)
	outcome := l.Sender.Send(t.Context(), message.Outbound{
		AttemptID: a.ID, Channel: d.Channel, From: d.Sender, To: d.Phone.String(), Body: "Hi Ann", ContentSID: d.Variant().ContentSID,
		ContentVariables: d.ContentVariables(d.Variant()), Lease: time.Now().Add(time.Minute),
	})
	require.Equal(t, message.ResultAccepted, outcome.Result)
	require.Equal(t, "read [accepted]", l.drive(t, 1))
	require.Equal(t, outcome.SID, l.text(t, `SELECT provider_sid FROM attempts`))
	require.Equal(t, 1, l.accepted(t, 1))
}

// TestDeliveryOutlivesItsCaller: whoever asked for the send gives up as the answer comes, but its outcome is recorded.
func TestDeliveryOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{})
	l.ReceiptDeadline = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	l.Sender = leaving{Sender: l.Sender, leave: cancel}
	next, err := l.SendMessage(ctx, l.message(1))
	require.NoError(t, err)
	require.Equal(t, activities.Done, next.Do)
	require.Equal(t, "accepted [accepted]", l.stands(t, 1))
	require.Equal(t, 1, l.accepted(t, 1))
}

// leaving is a provider whose answer finds nobody waiting.
type leaving struct {
	activities.Sender
	leave func()
}

func (s leaving) Send(ctx context.Context, m message.Outbound) message.Outcome {
	outcome := s.Sender.Send(ctx, m)
	s.leave()
	return outcome
}

// meddling is a store with something that happens at the worst moment.
type meddling struct {
	*db.Store
	beginning func() // right before an attempt opens
	waiting   func() // right before a wait is noted
}

func (m meddling) Wait(ctx context.Context, d ledger.Delivery, reason string, until time.Time, steps []compliance.Finding, now time.Time) (bool, error) {
	m.waiting()
	return m.Store.Wait(ctx, d, reason, until, steps, now)
}

func (m meddling) Begin(ctx context.Context, d ledger.Delivery, a ledger.Attempt, steps []compliance.Finding) (ledger.Begun, error) {
	m.beginning()
	return m.Store.Begin(ctx, d, a, steps)
}

func TestDeliveryStopComesBetween(t *testing.T) {
	t.Parallel()
	l := newLane(t, 2, twiliosim.Faults{})
	stop := func(seq int) {
		d, err := l.world.Delivery(t.Context(), l.run.ID, seq)
		require.NoError(t, err)
		_, err = l.Receive(t.Context(), inbound.Message{SID: fmt.Sprintf("SM%d", seq), Channel: message.WhatsApp, From: d.Phone, Body: "STOP", Payload: []byte(`{}`)}, time.Now())
		require.NoError(t, err)
	}
	next := l.step(t, l.message(1), activities.Next{Do: activities.Check})
	require.Equal(t, activities.Send, next.Do)
	stop(1)
	require.Equal(t, activities.Done, l.step(t, l.message(1), next).Do)

	l.Delivery.Store = meddling{Store: l.world.Store, beginning: func() { stop(2) }}
	require.Equal(t, activities.Done, l.step(t, l.message(2), next).Do)
	for seq := 1; seq <= 2; seq++ {
		require.Equal(t, "suppressed stopped", l.stands(t, seq))
	}
	require.Empty(t, l.judge(t))
}

func TestDeliveryPauseComesBetween(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{})
	steer := func(to campaign.Status) {
		_, err := l.Steer(t.Context(), l.run.CampaignID, to, "tester", "", time.Now())
		require.NoError(t, err)
	}
	var pause sync.Once
	l.Delivery.Store = meddling{Store: l.world.Store, beginning: func() { pause.Do(func() { steer(campaign.Paused) }) }, waiting: func() {}}
	next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
	require.Equal(t, activities.Check, next.Do)
	require.Equal(t, message.ReasonPaused, next.Reason)
	require.Equal(t, "pending paused", l.stands(t, 1))
	require.Empty(t, l.judge(t))

	steer(campaign.Running)
	require.Equal(t, "read [accepted]", l.drive(t, 1))
	require.Equal(t, 1, l.accepted(t, 1))
}

func TestDeliveryIsReleasedBeforeItWaits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	colombo, err := time.LoadLocation("Asia/Colombo")
	require.NoError(t, err)
	quietIn := func(hours int) func(campaign.Campaign) (campaign.Campaign, error) { // for six hours, beginning so many hours from now
		start := (now.In(colombo).Hour() + hours + 24) % 24 * 60
		end := (start + 6*60) % (24 * 60)
		return func(c campaign.Campaign) (campaign.Campaign, error) {
			to := c
			to.QuietStart, to.QuietEnd = &start, &end
			return c.Edit(to, now)
		}
	}
	for name, test := range map[string]struct {
		hold, release func(t *testing.T, l *lane) error
	}{
		"resumed": {
			func(t *testing.T, l *lane) error {
				t.Helper()
				_, err := l.Steer(t.Context(), l.run.CampaignID, campaign.Paused, "tester", "", now)
				return err
			},
			func(t *testing.T, l *lane) error {
				t.Helper()
				_, err := l.Steer(t.Context(), l.run.CampaignID, campaign.Running, "tester", "", now)
				return err
			},
		},
		"other quiet hours": {
			func(t *testing.T, l *lane) error {
				t.Helper()
				_, err := l.UpdateCampaign(t.Context(), l.run.CampaignID, "tester", quietIn(-2), now)
				return err
			},
			func(t *testing.T, l *lane) error {
				t.Helper()
				_, err := l.UpdateCampaign(t.Context(), l.run.CampaignID, "tester", quietIn(8), now)
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLane(t, 1, twiliosim.Faults{})
			require.NoError(t, test.hold(t, l))
			l.Delivery.Store = meddling{Store: l.world.Store, beginning: func() {}, waiting: func() { require.NoError(t, test.release(t, l)) }}
			next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
			require.Equal(t, activities.Next{Do: activities.Check}, next, "nobody would wake it")
			l.Delivery.Store = l.world.Store
			require.Equal(t, "read [accepted]", l.drive(t, 1))
		})
	}
}

func TestDeliveryCancelComesBetween(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, faults(once("throttle", 1)))
	next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
	require.Equal(t, message.ReasonConcurrency, next.Reason)
	l.exec(t, `UPDATE campaigns SET status = 'CANCELLED'`) // while the request was under way: the message was not pending
	require.Equal(t, "cancelled campaign_cancelled [refused]", l.drive(t, 1), "nothing waits for what will never come")
	require.Empty(t, l.judge(t))
}

func TestDeliveryFaultOfOurs(t *testing.T) {
	t.Parallel()
	l := newLane(t, 2, twiliosim.Faults{Numbers: map[string]twiliosim.NumberFault{"+94771000001": {Code: 21606, Sync: true, Times: 1}}})
	next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
	require.Equal(t, message.ReasonPaused, next.Reason)
	require.Equal(t, "pending paused [refused]", l.stands(t, 1), "nobody loses their message by our mistake")
	require.Contains(t, l.text(t, `SELECT status || ' ' || status_reason FROM campaigns`), "PAUSED provider error 21606")
	require.Equal(t, activities.Check, l.step(t, l.message(2), activities.Next{Do: activities.Send}).Do)
	require.Empty(t, l.judge(t))

	_, err := l.Steer(t.Context(), l.run.CampaignID, campaign.Running, "tester", "", time.Now())
	require.NoError(t, err)
	for seq := 1; seq <= 2; seq++ {
		l.drive(t, seq)
		require.Equal(t, 1, l.accepted(t, seq))
	}
}

// TestDeliveryAfterCompletion: the carrier gives back what a completed campaign had sent.
func TestDeliveryAfterCompletion(t *testing.T) {
	t.Parallel()
	l := newLane(t, 2, twiliosim.Faults{Numbers: map[string]twiliosim.NumberFault{"+94771000001": {Code: 63010, Times: 1}, "+94771000002": {Code: 63010, Times: 1}}})
	for seq := 1; seq <= 2; seq++ {
		next := l.step(t, l.message(seq), activities.Next{Do: activities.Send})
		require.Equal(t, activities.Done, next.Do)
	}
	require.NoError(t, l.FinishRun(t.Context(), l.run, time.Now()))
	require.Equal(t, "COMPLETED", l.text(t, `SELECT status FROM campaigns`))
	require.Equal(t, "read [accepted accepted]", l.drive(t, 1))
	require.Equal(t, 2, l.accepted(t, 1))

	l.faults(t, twiliosim.Faults{Numbers: map[string]twiliosim.NumberFault{"+94771000002": {Code: 21606, Sync: true}}})
	require.Equal(t, "failed campaign_fault [accepted refused]", l.drive(t, 2), "a campaign that is over cannot be paused and mended")
}

func TestDeliveryOverdueReceipt(t *testing.T) {
	t.Parallel()
	l := newLaneWith(t, 1, twiliosim.Faults{}, twiliosim.Delays{Sent: time.Hour})
	require.Equal(t, "accepted receipt_overdue [accepted]", l.drive(t, 1), "the provider knows nothing decisive")
	require.Equal(t, activities.Done, l.step(t, l.message(1), activities.Next{Do: activities.Check}).Do, "nobody asks for ever")
}

// TestDeliveryEndsWithAcceptance: what becomes of a message after that is for receipts to tell.
func TestDeliveryEndsWithAcceptance(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{})
	l.ReceiptDeadline = time.Hour
	for range 2 { // the second time finds everything done
		next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
		require.Equal(t, activities.Next{Do: activities.Done, Reason: "accepted"}, next)
	}
	require.NoError(t, l.SweepReceipts(t.Context(), l.runName()))
	require.Equal(t, "accepted [accepted]", l.stands(t, 1), "nobody asks before it is overdue")
	require.Equal(t, 1, l.accepted(t, 1))

	// A recipient that was started when they still waited for their receipts.
	next := l.step(t, l.message(1), activities.Next{Do: activities.Fetch})
	require.Equal(t, activities.Fetch, next.Do)
	require.WithinDuration(t, time.Now().Add(time.Hour), next.At, time.Minute)
	l.ReceiptDeadline = time.Microsecond
	require.Equal(t, activities.Next{Do: activities.Done, Reason: "read"}, l.step(t, l.message(1), activities.Next{Do: activities.Fetch}))
	require.Equal(t, activities.Done, l.step(t, l.message(1), activities.Next{Do: activities.Fetch}).Do)
}

// TestDeliverySweep asks for the receipts of many at once; the provider fails now and then.
func TestDeliverySweep(t *testing.T) {
	t.Parallel()
	const n = 25
	l := newLane(t, n, faults(twiliosim.RequestFault{Fault: "error_before", On: "fetch", Every: 10}))
	for seq := 1; seq <= n; seq++ {
		require.Equal(t, activities.Done, l.step(t, l.message(seq), activities.Next{Do: activities.Send}).Do)
	}
	failed := 0
	for {
		overdue, err := l.OverdueReceipts(t.Context(), l.run.ID, time.Now(), n)
		require.NoError(t, err)
		if len(overdue) == 0 {
			break
		}
		if l.SweepReceipts(t.Context(), l.runName()) != nil { // as the workflow does, it is called again
			failed++
		}
		require.Less(t, failed, n)
	}
	require.Positive(t, failed)
	states, err := l.RunStates(t.Context(), l.run.ID)
	require.NoError(t, err)
	require.Equal(t, ledger.States{message.Read: n}, states)
}

func TestDeliveryByManyAtOnce(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{})
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { _, errs[i] = l.SendMessage(t.Context(), l.message(1)) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	l.drive(t, 1)
	require.Equal(t, 1, l.accepted(t, 1))
}

func TestDeliveryWaitsForTheRate(t *testing.T) {
	t.Parallel()
	l := newLane(t, 4, twiliosim.Faults{})
	l.exec(t, `UPDATE campaigns SET rate_limit_per_second = 2`)
	l.Patience = 50 * time.Millisecond
	require.Equal(t, activities.Done, l.step(t, l.message(1), activities.Next{Do: activities.Send}).Do)
	second := l.step(t, l.message(2), activities.Next{Do: activities.Send})
	require.Equal(t, activities.Send, second.Do)
	require.Equal(t, message.ReasonRateLimit, second.Reason)
	require.WithinDuration(t, time.Now().Add(time.Second/2), second.At, 5*time.Second)
	require.Equal(t, "pending rate_limit", l.stands(t, 2), "a longer wait is the workflow's")
	require.Len(t, l.judge(t), 1)

	l.Patience = time.Minute
	var wg sync.WaitGroup
	for seq := 2; seq <= 4; seq++ {
		wg.Go(func() { _, _ = l.SendMessage(t.Context(), l.message(seq)) })
	}
	wg.Wait()
	require.Len(t, l.judge(t), 4)
	require.Equal(t, "0", l.text(t, `SELECT count(*)::text FROM (SELECT granted_at - lag(granted_at) OVER (ORDER BY granted_at) AS apart FROM attempts) a WHERE apart < '0.5 s'`))
}

// TestDeliveryWaitsForRoom sends several messages where one request may be under way: no lease runs while its request waits.
func TestDeliveryWaitsForRoom(t *testing.T) {
	t.Parallel()
	l := newLane(t, 4, twiliosim.Faults{LatencyMS: 100})
	l.Pace = activities.NewPace(l.world.Store, time.Now, slog.New(slog.DiscardHandler), 1)
	l.Patience = time.Minute
	var wg sync.WaitGroup
	for seq := 1; seq <= 3; seq++ {
		wg.Go(func() { _, _ = l.SendMessage(t.Context(), l.message(seq)) })
	}
	wg.Wait()
	require.Len(t, l.judge(t), 3)
	require.Equal(t, "0", l.text(t, `SELECT count(*)::text FROM (SELECT started_at < lag(ended_at) OVER (ORDER BY started_at) AS early FROM attempts) a WHERE early`))

	_, ok, err := l.Pace.Wait(t.Context(), 1, 1, 80, time.Minute)
	require.NoError(t, err)
	require.True(t, ok, "each has made room again")
	l.Patience = 100 * time.Millisecond
	before := time.Now()
	next := l.step(t, l.message(4), activities.Next{Do: activities.Send})
	require.Equal(t, "pending rate_limit", l.stands(t, 4))
	require.WithinDuration(t, before.Add(200*time.Millisecond), next.At, 5*time.Second)
	l.Pace.Release()
	l.drive(t, 4)
	require.Equal(t, 1, l.accepted(t, 4))
}

func TestDeliverySlowsDown(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, faults(twiliosim.RequestFault{Fault: "throttle", Every: 1, Limit: 1, RetryAfterSeconds: 3}))
	before := time.Now()
	next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
	require.Equal(t, message.ReasonConcurrency, next.Reason)
	require.Equal(t, "40", l.text(t, `SELECT slowed_rate::text FROM throttles WHERE key LIKE 'sender/%'`), "half of 80")
	require.Equal(t, "t", l.text(t, `SELECT (next_grant_at >= $1)::text FROM throttles WHERE key LIKE 'sender/%'`, before.Add(3*time.Second))[:1], "nobody sends before Retry-After is over")
}

func TestDeliveryHoldsNoMessageIntoTheNight(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{})
	colombo, err := time.LoadLocation("Asia/Colombo")
	require.NoError(t, err)
	now := time.Now().In(colombo)
	minute := now.Hour()*60 + now.Minute()
	l.exec(t, `UPDATE campaigns SET quiet_start = $1, quiet_end = $2`, (minute+30)%1440, (minute+90)%1440)
	kept := &keeping{Sender: l.Sender}
	l.Sender = kept
	l.step(t, l.message(1), activities.Next{Do: activities.Send})
	require.InDelta(t, 30*time.Minute, kept.sent.Validity, float64(2*time.Minute), "until the quiet hours begin")
	require.Equal(t, message.Outbound{
		AttemptID: kept.sent.AttemptID, Channel: message.WhatsApp, From: ours, To: "+94771000001", Body: "Hi Ann",
		ContentSID: l.text(t, `SELECT content_sid FROM template_variants`), ContentVariables: `{"1":"Ann"}`,
		Validity: kept.sent.Validity, Lease: kept.sent.Lease,
	}, kept.sent)

	l.exec(t, `UPDATE messages SET state = 'pending', accepted_at = NULL`)
	l.exec(t, `UPDATE campaigns SET quiet_start = $1, quiet_end = $2`, (minute+1439)%1440, (minute+60)%1440)
	next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
	require.Equal(t, activities.Check, next.Do)
	require.Equal(t, "quiet_hours", next.Reason)
	require.WithinDuration(t, time.Now().Add(time.Hour), next.At, 2*time.Minute)
	require.Equal(t, 1, l.accepted(t, 1))
}

// The last moment before the quiet hours is granted for the first moment of them.
func TestDeliveryQuietHoursBeginWhileItWaits(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{})
	colombo, err := time.LoadLocation("Asia/Colombo")
	require.NoError(t, err)
	l.exec(t, `UPDATE campaigns SET quiet_start = 22 * 60, quiet_end = 8 * 60`)
	now := time.Date(2026, 6, 10, 21, 59, 59, 900_000_000, colombo)
	l.Now = func() time.Time { return now }
	var late sync.Once
	l.Pace = activities.NewPace(lateGrants{l.world.Store, func() { late.Do(func() { now = now.Add(100 * time.Millisecond) }) }}, l.Now, slog.New(slog.DiscardHandler), 100)
	next := l.step(t, l.message(1), activities.Next{Do: activities.Send})
	require.Equal(t, activities.Check, next.Do)
	require.Equal(t, time.Date(2026, 6, 11, 8, 0, 0, 0, colombo).UTC(), next.At.UTC())
	require.Equal(t, "pending quiet_hours", l.stands(t, 1), "no attempt was begun")
	require.Zero(t, l.accepted(t, 1))
}

// lateGrants is a store whose rate limit takes its time.
type lateGrants struct {
	*db.Store
	pass func()
}

func (s lateGrants) Grant(ctx context.Context, senderID int64, wanted map[int64]int, now time.Time) (map[int64][]time.Time, time.Time, error) {
	defer s.pass()
	return s.Store.Grant(ctx, senderID, wanted, now)
}

// keeping is a provider that remembers what it was last asked to send.
type keeping struct {
	activities.Sender
	sent message.Outbound
}

func (k *keeping) Send(ctx context.Context, m message.Outbound) message.Outcome {
	k.sent = m
	return k.Sender.Send(ctx, m)
}

// TestDeliveryExactlyOnce sends to many over a provider where nothing can be relied on.
func TestDeliveryExactlyOnce(t *testing.T) {
	t.Parallel()
	const n = 30
	fault := func(kind string, p float64) twiliosim.RequestFault {
		return twiliosim.RequestFault{Fault: kind, Probability: p, HangMS: 5000}
	}
	chaos := faults(fault("throttle", .1), fault("error_after", .1), fault("error_before", .05), fault("reset_after", .1), fault("reset_before", .05),
		fault("hang_after", .05), fault("truncate", .05), twiliosim.RequestFault{Fault: "error_before", On: "list", Probability: .2})
	chaos.Seed = 7
	l := newLane(t, n, chaos).brief()
	t.Run("drive", func(t *testing.T) {
		for seq := 1; seq <= n; seq++ {
			t.Run(fmt.Sprint(seq), func(t *testing.T) {
				t.Parallel()
				for range 2 { // the second time finds everything done
					l.drive(t, seq)
				}
			})
		}
	})
	counts := l.judge(t)
	require.Len(t, counts, n)
	for seq := 1; seq <= n; seq++ {
		require.Equal(t, 1, counts[l.number(t, seq)], "message %d: %s", seq, l.stands(t, seq))
	}
	states, err := l.RunStates(t.Context(), l.run.ID)
	require.NoError(t, err)
	require.Equal(t, ledger.States{message.Read: n}, states)
}
