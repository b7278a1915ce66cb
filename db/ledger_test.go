package db_test

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

func (b books) delivery(t *testing.T, run ledger.Run, seq int) ledger.Delivery {
	t.Helper()
	d, err := b.Delivery(t.Context(), run.ID, seq)
	require.NoError(t, err)
	return d
}

// waits has the run's message seq wait.
func (b books) waits(t *testing.T, run ledger.Run, seq int, reason string, until time.Time) {
	t.Helper()
	noted, err := b.Wait(t.Context(), b.delivery(t, run, seq), reason, until, nil, noon)
	require.NoError(t, err)
	require.True(t, noted)
}

func attemptAt(at time.Time, lease time.Duration) ledger.Attempt {
	return ledger.Attempt{ID: uuid.Must(uuid.NewV7()), StartedAt: at, LeaseUntil: at.Add(lease), BodySHA256: sha256.Sum256([]byte("Hi"))}
}

// begin opens an attempt at the run's message seq.
func (b books) begin(t *testing.T, run ledger.Run, seq int, at time.Time, lease time.Duration) (ledger.Delivery, ledger.Attempt, ledger.Begun) {
	t.Helper()
	d, a := b.delivery(t, run, seq), attemptAt(at, lease)
	begun, err := b.Begin(t.Context(), d, a, nil)
	require.NoError(t, err)
	return d, a, begun
}

// sid is the provider's id of the message seq's first attempt, as accepted gives it.
func sid(seq int) string { return fmt.Sprintf("SM%d", seq) }

// accepted sends the run's message seq, at noon, and returns its attempt.
func (b books) accepted(t *testing.T, run ledger.Run, seq int) ledger.Attempt {
	t.Helper()
	_, a, begun := b.begin(t, run, seq, noon, 10*time.Second)
	require.Equal(t, ledger.BegunNow, begun)
	require.NoError(t, b.Accept(t.Context(), a.ID, sid(seq), 201, noon))
	return a
}

// stands tells how the run's message seq stands: its state and its reason.
func (b books) stands(t *testing.T, run ledger.Run, seq int) string {
	t.Helper()
	d := b.delivery(t, run, seq)
	if d.Reason == "" {
		return string(d.State)
	}
	return string(d.State) + " " + d.Reason
}

// addsUp checks what holds of the ledger at every moment.
func (b books) addsUp(t *testing.T, run ledger.Run) {
	t.Helper()
	states, err := b.RunStates(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, run.AudienceSize, states.Total(), "every person of the audience has one message")
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM messages m WHERE (state = 'sending') <> EXISTS (SELECT 1 FROM attempts a WHERE a.message_id = m.id AND a.state = 'open')
		AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.message_id = m.id AND a.state = 'accepted')`), "sending means that an attempt is open")
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM messages m WHERE attempt_count <> (SELECT count(*) FROM attempts a WHERE a.message_id = m.id)`))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM messages WHERE (ended_at IS NULL) <> (state NOT IN ('failed', 'undelivered', 'suppressed', 'cancelled', 'unknown'))`), "what is over has ended")
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 1)
	d := b.delivery(t, run, 1)
	require.Equal(t, ledger.Delivery{
		MessageID: d.MessageID, State: message.Pending, RunID: run.ID, RunNumber: 1, CampaignID: run.CampaignID, SenderID: 1, CampaignStatus: campaign.Running,
		RatePerSecond: 10, Priority: campaign.Bulk, Timezone: "UTC", Limits: compliance.Limits{PairInterval: 6 * time.Second}, UserID: d.UserID, Phone: phone.Number("+94771000001"), Attributes: user.Attributes{"city": "Kandy"},
		Consent: user.OptIn, Zones: []string{"Asia/Colombo"}, Channel: message.WhatsApp, Content: "Hi", Sender: "+14155238886", Scopes: []string{"global", "channel:whatsapp"},
		Variants: []render.Variant{{Locale: "en_US", Content: "Hi", Mapping: map[string]string{}, ContentSID: "HX00000000000000000000000000000000", Approval: render.Approved}},
		Category: render.Marketing, WindowPolicy: campaign.ByTemplate, Region: "LK",
	}, d)

	b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1)`, noon)
	b.exec(t, `UPDATE campaigns SET subscription_topic_id = 1`)
	require.False(t, *b.delivery(t, run, 1).Subscribed)

	_, err := b.Delivery(ctx, run.ID, 2)
	require.True(t, fault.Is(err, fault.NotFound))

	b.erase(t, "+94771000001")
	d = b.delivery(t, run, 1)
	require.Zero(t, d.UserID)
	require.Empty(t, d.Phone)
	require.Equal(t, "cancelled user_erased", b.stands(t, run, 1))
	b.addsUp(t, run)
}

func TestWaitSuppressCancel(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 3)
	until := noon.Add(time.Hour)
	id := b.delivery(t, run, 1).MessageID
	steps := []compliance.Finding{{Step: compliance.StepConsent, Result: compliance.Passed}}

	noted, err := b.Wait(ctx, b.delivery(t, run, 1), "quiet_hours", until, steps, noon)
	require.NoError(t, err)
	require.True(t, noted)
	d := b.delivery(t, run, 1)
	require.Equal(t, "quiet_hours", d.Reason)
	require.Equal(t, until, d.WaitsUntil.UTC())
	require.NoError(t, b.Suppress(ctx, id, "stopped", steps, noon))
	require.Equal(t, "suppressed stopped", b.stands(t, run, 1))
	require.Nil(t, b.delivery(t, run, 1).WaitsUntil)
	require.Equal(t, "wait quiet_hours; suppress stopped", get[string](t, b, `SELECT string_agg(action || ' ' || reason, '; ' ORDER BY id) FROM compliance_checks WHERE steps @> '[{"step":"consent","result":"passed"}]'`))

	require.NoError(t, b.Cancel(ctx, b.delivery(t, run, 2).MessageID, message.ReasonCancelled, noon))
	require.Equal(t, "cancelled campaign_cancelled", b.stands(t, run, 2))

	b.accepted(t, run, 3)
	id = b.delivery(t, run, 3).MessageID
	noted, err = b.Wait(ctx, b.delivery(t, run, 3), "quiet_hours", until, steps, noon)
	require.NoError(t, err)
	require.False(t, noted)
	require.NoError(t, b.Suppress(ctx, id, "stopped", steps, noon))
	require.NoError(t, b.Cancel(ctx, id, message.ReasonCancelled, noon))
	require.Equal(t, "accepted", b.stands(t, run, 3), "what was sent cannot be held back")
	require.EqualValues(t, 3, get[int64](t, b, `SELECT count(*) FROM compliance_checks`), "and no check of it is recorded but the one that let it go")
	b.addsUp(t, run)
}

func TestBeginOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 1)
	d := b.delivery(t, run, 1)
	answers := make([]ledger.Begun, 50)
	errs := make([]error, len(answers))
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i], errs[i] = b.Begin(ctx, d, attemptAt(noon, time.Second), nil) })
	}
	wg.Wait()
	count := map[ledger.Begun]int{}
	for i := range answers {
		require.NoError(t, errs[i])
		count[answers[i]]++
	}
	require.Equal(t, map[ledger.Begun]int{ledger.BegunNow: 1, ledger.NotMine: 49}, count)
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM attempts`))
	b.addsUp(t, run)
}

func TestBeginAfterSteer(t *testing.T) {
	t.Parallel()
	for _, to := range []campaign.Status{campaign.Paused, campaign.Cancelled} {
		b := open(t)
		run := b.frozen(t, 1)
		d := b.delivery(t, run, 1)
		_, err := b.Steer(t.Context(), run.CampaignID, to, "tester", "", noon)
		require.NoError(t, err)
		begun, err := b.Begin(t.Context(), d, attemptAt(noon, time.Second), nil)
		require.NoError(t, err)
		require.Equal(t, ledger.NotRunning, begun, to)
		require.Zero(t, get[int64](t, b, `SELECT count(*) FROM attempts`))
	}
}

func TestBeginOfACompletedCampaign(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.frozen(t, 1)
	require.NoError(t, b.FinishRun(t.Context(), run, noon))
	require.Equal(t, campaign.Completed, b.status(t, run.CampaignID))
	_, _, begun := b.begin(t, run, 1, noon, time.Second)
	require.Equal(t, ledger.BegunNow, begun, "the carrier gave it back")
}

func TestBeginWithoutConsent(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 3)
	stopped, erased := b.delivery(t, run, 1), b.delivery(t, run, 2)
	_, err := b.Receive(ctx, said("SM1", stopped.Phone, "STOP"), noon)
	require.NoError(t, err)
	b.erase(t, erased.Phone)
	for _, d := range []ledger.Delivery{stopped, erased} {
		begun, err := b.Begin(ctx, d, attemptAt(noon, time.Second), nil)
		require.NoError(t, err)
		require.Equal(t, ledger.NotConsenting, begun)
	}
	require.Equal(t, "suppressed stopped", b.stands(t, run, 1))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM attempts`))
	b.addsUp(t, run)
}

// TestBeginAgainstStop lets attempts and STOPs race: no attempt begins after a STOP was answered.
func TestBeginAgainstStop(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const n = 30
	run := b.frozen(t, n)
	var wg sync.WaitGroup
	answered, begun := make([]bool, n), make([]ledger.Begun, n)
	errs := make([]error, 2*n)
	for i := range n {
		d := b.delivery(t, run, i+1)
		var mu sync.Mutex
		wg.Go(func() {
			_, errs[i] = b.Receive(ctx, said(fmt.Sprintf("SM%d", i), d.Phone, "STOP"), noon)
			mu.Lock()
			answered[i] = true
			mu.Unlock()
		})
		wg.Go(func() {
			mu.Lock()
			late := answered[i]
			mu.Unlock()
			begun[i], errs[n+i] = b.Begin(ctx, d, attemptAt(noon, time.Second), nil)
			if late && begun[i] == ledger.BegunNow {
				t.Error("an attempt began after the answer to a STOP")
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	for i := range n {
		want := "suppressed stopped"
		if begun[i] == ledger.BegunNow {
			want = "sending"
		}
		require.Equal(t, want, b.stands(t, run, i+1))
	}
	b.addsUp(t, run)
}

func TestAccept(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 3)
	a := b.accepted(t, run, 1)
	require.Equal(t, "accepted", b.stands(t, run, 1))
	require.Equal(t, noon, b.delivery(t, run, 1).AcceptedAt.UTC())
	id, newest, err := b.StandingSID(ctx, b.delivery(t, run, 1).MessageID)
	require.NoError(t, err)
	require.Equal(t, a.ID, id)
	require.Equal(t, "SM1", newest)

	_, open, _ := b.begin(t, run, 2, noon, time.Second)
	require.Error(t, b.Accept(ctx, open.ID, "SM1", 201, noon), "a message of the provider's belongs to one attempt")
	require.Equal(t, "sending", b.stands(t, run, 2))
	taken, err := b.TakenSIDs(ctx, open.ID, []string{"SM1", "SM9"})
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"SM1": true}, taken)
	taken, err = b.TakenSIDs(ctx, a.ID, []string{"SM1"})
	require.NoError(t, err)
	require.Empty(t, taken)

	_, adopted, _ := b.begin(t, run, 3, noon, time.Second)
	b.report(t, message.Report{AttemptID: &adopted.ID, SID: "SM3", Status: "delivered", State: message.Delivered})
	before := get[string](t, b, `SELECT m::text || a::text FROM messages m JOIN attempts a ON a.message_id = m.id WHERE seq = 3`)
	require.NoError(t, b.Accept(ctx, adopted.ID, "SM3", 201, noon.Add(time.Minute)))
	require.Equal(t, before, get[string](t, b, `SELECT m::text || a::text FROM messages m JOIN attempts a ON a.message_id = m.id WHERE seq = 3`), "a receipt told it first")
	b.addsUp(t, run)
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 2)
	until := noon.Add(time.Minute)
	d, a, _ := b.begin(t, run, 1, noon, time.Second)
	busy := message.Outcome{Result: message.ResultRefused, Code: 20429, HTTPStatus: 429, Detail: "busy"}
	require.NoError(t, b.Refuse(ctx, a.ID, ledger.Refused, busy, ledger.Then{State: message.Pending, Reason: message.ReasonConcurrency, WaitsUntil: &until}, noon))
	require.Equal(t, "pending provider_busy", b.stands(t, run, 1))
	require.Equal(t, until, b.delivery(t, run, 1).WaitsUntil.UTC())
	refusals, err := b.RefusedWith(ctx, d.MessageID, 20429)
	require.NoError(t, err)
	require.Equal(t, 1, refusals)
	refusals, err = b.RefusedWith(ctx, d.MessageID, 0)
	require.NoError(t, err)
	require.Zero(t, refusals)
	tried, err := b.Tried(ctx, d.MessageID)
	require.NoError(t, err)
	require.Zero(t, tried, "turned away at the door")

	_, a, _ = b.begin(t, run, 1, until, time.Second)
	require.NoError(t, b.Refuse(ctx, a.ID, ledger.Absent, message.Outcome{}, ledger.Then{State: message.Pending}, until))
	require.Equal(t, "pending", b.stands(t, run, 1))
	tried, err = b.Tried(ctx, d.MessageID)
	require.NoError(t, err)
	require.Equal(t, 1, tried)

	_, a, _ = b.begin(t, run, 1, until, time.Second)
	require.NoError(t, b.Refuse(ctx, a.ID, ledger.Refused, message.Outcome{Code: 21211}, ledger.Then{State: message.Failed, Reason: message.ReasonProvider}, until))
	require.Equal(t, "failed provider_error", b.stands(t, run, 1))
	require.Equal(t, "21211 21211", get[string](t, b, `SELECT m.error_code || ' ' || a.error_code FROM messages m JOIN attempts a ON a.message_id = m.id WHERE a.number = 3`))

	a = b.accepted(t, run, 2)
	require.NoError(t, b.Refuse(ctx, a.ID, ledger.Absent, message.Outcome{}, ledger.Then{State: message.Pending}, noon))
	require.Equal(t, "accepted", b.stands(t, run, 2), "the provider has it: it is not refused any more")
	b.addsUp(t, run)
}

// An attempt was taken for absent and another one is under way when the provider speaks of the first after all.
func TestAbsentAndFoundAfterAll(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 3)
	again := ledger.Then{State: message.Pending, Reason: message.ReasonConcurrency}
	for seq := 1; seq <= 3; seq++ {
		_, first, _ := b.begin(t, run, seq, noon, time.Second)
		require.NoError(t, b.Refuse(ctx, first.ID, ledger.Absent, message.Outcome{}, ledger.Then{State: message.Pending}, noon))
		d, second, _ := b.begin(t, run, seq, noon, time.Second)
		b.report(t, message.Report{AttemptID: &first.ID, SID: sid(seq), Status: "queued", State: message.Accepted, Payload: []byte(`{}`)})
		require.Equal(t, "sending", b.stands(t, run, seq), "the second attempt's outcome has to be found out")
		switch seq {
		case 1:
			require.NoError(t, b.Refuse(ctx, second.ID, ledger.Refused, message.Outcome{Code: 20429, HTTPStatus: 429}, again, noon))
		case 2:
			require.NoError(t, b.GiveUp(ctx, second.ID, message.ReasonUnresolved, noon))
		case 3:
			b.report(t, message.Report{AttemptID: &first.ID, SID: sid(seq), Status: "failed", State: message.Failed, Code: 63024, Payload: []byte(`{}`)})
			require.NoError(t, b.Refuse(ctx, second.ID, ledger.Refused, message.Outcome{Code: 20429, HTTPStatus: 429}, again, noon))
			require.Equal(t, "pending provider_busy", b.stands(t, run, seq), "neither attempt stands")
			continue
		}
		require.Equal(t, "accepted", b.stands(t, run, seq), "one is with the provider: never sent again")
		_, standing, err := b.StandingSID(ctx, d.MessageID)
		require.NoError(t, err)
		require.Equal(t, sid(seq), standing)
	}
	b.addsUp(t, run)
}

// The answer to a request may be recorded long after its attempt was taken for absent.
func TestAcceptedAfterAbsent(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 1)
	_, a, _ := b.begin(t, run, 1, noon, time.Second)
	require.NoError(t, b.Refuse(ctx, a.ID, ledger.Absent, message.Outcome{}, ledger.Then{State: message.Pending}, noon))
	require.NoError(t, b.Accept(ctx, a.ID, sid(1), 201, noon))
	require.Equal(t, "accepted", b.stands(t, run, 1))
}

func TestGiveUp(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 2)
	d, a, _ := b.begin(t, run, 1, noon, time.Second)
	require.NoError(t, b.NoteUncertain(ctx, a.ID, message.Outcome{HTTPStatus: 500, Detail: "Twilio answered 500"}))
	require.NoError(t, b.NoteLook(ctx, a.ID, true))
	require.NoError(t, b.NoteLook(ctx, a.ID, false))
	open, ok, err := b.OpenAttempt(ctx, d.MessageID)
	require.NoError(t, err)
	require.True(t, ok)
	open.StartedAt, open.LeaseUntil = open.StartedAt.UTC(), open.LeaseUntil.UTC()
	a.Number, a.State, a.Looks, a.FailedLooks = 1, ledger.Open, 1, 1
	require.Equal(t, a, open)

	require.NoError(t, b.GiveUp(ctx, a.ID, message.ReasonUnresolved, noon))
	require.Equal(t, "unknown unresolved", b.stands(t, run, 1))
	_, ok, err = b.OpenAttempt(ctx, d.MessageID)
	require.NoError(t, err)
	require.False(t, ok)
	_, _, begun := b.begin(t, run, 1, noon, time.Second)
	require.Equal(t, ledger.NotMine, begun, "never silently sent again")
	require.NoError(t, b.Accept(ctx, a.ID, "SM1", 0, noon))
	require.Equal(t, "accepted", b.stands(t, run, 1), "it was found after all")

	a = b.accepted(t, run, 2)
	require.NoError(t, b.GiveUp(ctx, a.ID, message.ReasonUnresolved, noon))
	require.Equal(t, "accepted", b.stands(t, run, 2))
	_, newest, err := b.StandingSID(ctx, uuid.New())
	require.NoError(t, err)
	require.Empty(t, newest)
	b.addsUp(t, run)
}
