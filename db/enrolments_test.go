package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/user"
)

const day = 24 * time.Hour

// sequence is a plan of three steps, a day apart, that events named signed.up trigger.
func (b books) sequence(t *testing.T) campaign.Campaign {
	t.Helper()
	plan := b.onEvent(t, "signed.up")
	plan.Steps = []campaign.Step{{TemplateID: plan.TemplateID}}
	for i := range 2 {
		saved, err := b.CreateTemplate(t.Context(), render.Saved{
			Name: fmt.Sprintf("Step %d", i+2), Content: fmt.Sprintf("Step %d for {order}", i+2), Channel: message.WhatsApp, Locale: "en", Category: render.Utility,
		}, noon)
		require.NoError(t, err)
		b.exec(t, `UPDATE template_variants SET approval = 'approved', content_sid = 'HX00000000000000000000000000000000' WHERE template_id = $1`, saved.ID)
		plan.Steps = append(plan.Steps, campaign.Step{TemplateID: saved.ID, Wait: day})
	}
	b.exec(t, `DELETE FROM outbox`)
	return plan
}

// signsUp has an event enrol somebody, and returns the enrolment.
func (b books) signsUp(t *testing.T, number phone.Number, at time.Time) int64 {
	t.Helper()
	taken, err := b.TakeEvents(t.Context(), []ledger.Event{
		{ID: "up-" + string(number), Name: "signed.up", Phone: number, Variables: user.Attributes{"order": "7"}},
	}, at)
	require.NoError(t, err)
	require.NoError(t, taken[0].Refused)
	require.Len(t, taken[0].Messages, 1)
	require.NotZero(t, taken[0].Messages[0].EnrolmentID)
	b.exec(t, `UPDATE campaign_runs SET next_start_at = NULL`) // the starts of enrolments are spaced, and messages start after them
	return taken[0].Messages[0].EnrolmentID
}

func (b books) step(t *testing.T, enrolment int64, at time.Time) ledger.Move {
	t.Helper()
	move, err := b.TakeStep(t.Context(), enrolment, at)
	require.NoError(t, err)
	return move
}

// enrolment tells how an enrolment stands: its state, its reason and the next step.
func (b books) enrolment(t *testing.T, id int64) string {
	t.Helper()
	return get[string](t, b, `SELECT concat_ws(' ', state, nullif(reason, ''), next_step) FROM enrolments WHERE id = $1`, id)
}

// stepsSent lists the steps that have a message, with its state.
func (b books) stepsSent(t *testing.T) []string {
	t.Helper()
	return get[[]string](t, b, `SELECT coalesce(array_agg(concat_ws(' ', step, state, nullif(reason, '')) ORDER BY seq), '{}') FROM messages WHERE step IS NOT NULL`)
}

// sends has the run's message seq accepted at that moment.
func (b books) sends(t *testing.T, run ledger.Run, seq int, at time.Time) {
	t.Helper()
	_, a, begun := b.begin(t, run, seq, at, 10*time.Second)
	require.Equal(t, ledger.BegunNow, begun)
	require.NoError(t, b.Accept(t.Context(), a.ID, sid(seq), 201, at))
}

func TestTakeStep(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const number = "+94770000001"
	b.user(t, number, "LK", `{}`, "OPT_IN")
	run := b.started(t, b.sequence(t))
	require.Equal(t, []string{"campaign.start"}, b.outbox(t))
	e := b.signsUp(t, number, noon)
	require.Equal(t, []string{"enrolment.start"}, b.outbox(t))
	require.Equal(t, e, b.signsUp(t, number, noon.Add(time.Hour)), "told of again, nobody is enrolled again")
	require.Empty(t, b.outbox(t))

	// Killed between, it is as if it had not begun.
	errKilled := errors.New("killed")
	err := b.InTx(ctx, func(ctx context.Context) error {
		_, err := b.TakeStep(ctx, e, noon)
		require.NoError(t, err)
		return errKilled
	})
	require.ErrorIs(t, err, errKilled)
	require.Equal(t, "active 1", b.enrolment(t, e))
	require.Empty(t, b.stepsSent(t))

	// Asked by many at once, it takes the step once.
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.TakeStep(ctx, e, noon) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, []string{"1 pending"}, b.stepsSent(t))
	require.Equal(t, []string{"recipient.start 1"}, b.outbox(t))
	require.Equal(t, "Hi", b.delivery(t, run, 1).Content)

	// The wait counts from the send, and the next step does not come before it.
	require.Equal(t, noon.Add(day+5*time.Minute), b.step(t, e, noon.Add(day)).Until)
	b.sends(t, run, 1, noon.Add(2*day))
	require.Equal(t, noon.Add(3*day), b.step(t, e, noon.Add(2*day)).Until.UTC())
	require.Equal(t, noon.Add(4*day), b.step(t, e, noon.Add(3*day)).Until.UTC())
	require.Equal(t, "active 3", b.enrolment(t, e))
	d := b.delivery(t, run, 2)
	verdict, text := d.Check(noon.Add(3 * day))
	require.Equal(t, "proceed Step 2 for 7", string(verdict.Action)+" "+text, "its own template, with what the event said")

	// A step that came to nothing lets the sequence go on.
	require.NoError(t, b.Suppress(ctx, d.MessageID, "missing_variable", nil, noon.Add(3*day)))
	require.Equal(t, ledger.Move{State: ledger.Completed}, b.step(t, e, noon.Add(4*day)))
	require.Equal(t, ledger.Move{State: ledger.Completed}, b.step(t, e, noon.Add(5*day)))
	require.Equal(t, "completed 4", b.enrolment(t, e))
	require.Equal(t, []string{"1 accepted", "2 suppressed missing_variable", "3 pending"}, b.stepsSent(t))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM enrolments WHERE variables IS NOT NULL`))
	b.addsUp(t, b.load(t, run.ID))

	steps, counts, err := b.Steps(ctx, run.ID)
	require.NoError(t, err)
	require.Len(t, steps, 3)
	require.Equal(t, 1, steps[2].States[message.Pending])
	require.Equal(t, "Step 3", steps[2].TemplateName)
	require.Equal(t, 1, counts[0].Count)
	require.Equal(t, ledger.Completed, counts[0].State)
	_, err = b.TakeStep(ctx, 999, noon)
	require.True(t, fault.Is(err, fault.NotFound), err)
}

func TestExits(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	plan := b.sequence(t)
	segment := b.saved(t, "Buyers", `{"attribute":"bought","operator":"equals","value":"yes"}`)
	plan.ExitOn = campaign.ExitOn{Reply: true, Read: true, SegmentID: &segment}
	run := b.started(t, plan)
	for i, tt := range []struct {
		name string
		do   func(number phone.Number, seq int)
		want string
	}{
		{"Reply", func(number phone.Number, _ int) {
			_, err := b.Receive(ctx, said("SM-r", number, "tell me more"), noon.Add(time.Hour))
			require.NoError(t, err)
		}, "exited reply 2"},
		{"Stop", func(number phone.Number, _ int) {
			_, err := b.Receive(ctx, said("SM-s", number, "STOP"), noon.Add(time.Hour))
			require.NoError(t, err)
		}, "exited stopped 2"},
		{"Read", func(_ phone.Number, seq int) {
			b.exec(t, `UPDATE messages SET state = 'read', read_at = $2 WHERE run_id = $1 AND seq = $3`, run.ID, noon.Add(time.Hour), seq)
		}, "exited read 2"},
		{"Segment", func(number phone.Number, _ int) {
			b.exec(t, `UPDATE users SET attributes = '{"bought":"yes"}' WHERE phone_number = $1`, string(number))
		}, "exited segment 2"},
		{"Suppressed", func(number phone.Number, _ int) { b.suppress(t, number, suppression.Global) }, "exited suppressed 2"},
		{"OptedOut", func(number phone.Number, _ int) {
			_, err := b.UpdateUser(ctx, number, nil, user.Change{State: user.OptOut, Source: user.SourceAPI}, "tester", noon)
			require.NoError(t, err)
		}, "exited opted_out 2"},
		{"Erased", func(number phone.Number, _ int) { b.erase(t, number) }, "exited user_erased 2"},
		{"Nothing", func(phone.Number, int) {}, "active 3"},
	} {
		number := phone.Number(fmt.Sprintf("+9477000000%d", i+1))
		b.user(t, string(number), "LK", `{}`, "OPT_IN")
		e := b.signsUp(t, number, noon)
		b.step(t, e, noon)
		b.sends(t, run, i+1, noon)
		b.outbox(t)
		tt.do(number, i+1)
		if tt.name == "Stop" || tt.name == "Reply" || tt.name == "Erased" {
			require.Equal(t, tt.want, b.enrolment(t, e), tt.name+": at once")
			require.Contains(t, b.outbox(t), "enrolment.wake")
		}
		b.step(t, e, noon.Add(day))
		require.Equal(t, tt.want, b.enrolment(t, e), tt.name)
	}
	_, counts, err := b.Steps(ctx, run.ID)
	require.NoError(t, err)
	require.Len(t, counts, 8)
	first, err := b.Enrolments(ctx, run.ID, ledger.Exited, nil, 2)
	require.NoError(t, err)
	require.Len(t, first, 2)
	require.Empty(t, first[0].Phone, "the person was erased")
	rest, err := b.Enrolments(ctx, run.ID, ledger.Exited, &first[1].ID, 10)
	require.NoError(t, err)
	require.Len(t, rest, 5)
	all, err := b.Enrolments(ctx, run.ID, "", nil, 10)
	require.NoError(t, err)
	require.Len(t, all, 8)
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM enrolments WHERE variables IS NOT NULL AND state <> 'active'`))
	b.addsUp(t, b.load(t, run.ID))
}

// A reply while a step waits ends the step as well; without exit_on it changes nothing.
func TestReplyWhileAStepWaits(t *testing.T) {
	t.Parallel()
	for _, exits := range []bool{true, false} {
		b, ctx := open(t), t.Context()
		plan := b.sequence(t)
		plan.ExitOn.Reply = exits
		run := b.started(t, plan)
		const number = "+94770000001"
		b.user(t, number, "LK", `{}`, "OPT_IN")
		e := b.signsUp(t, number, noon)
		b.step(t, e, noon)
		b.waits(t, run, 1, "quiet_hours", noon.Add(time.Hour))
		b.outbox(t)
		_, err := b.Receive(ctx, said("SM1", number, "hello"), noon.Add(time.Minute))
		require.NoError(t, err)
		if exits {
			require.Equal(t, []string{"1 suppressed replied"}, b.stepsSent(t))
			require.Equal(t, []string{"enrolment.wake", "recipient.signal 1"}, b.outbox(t))
			continue
		}
		require.Equal(t, []string{"1 pending quiet_hours"}, b.stepsSent(t))
		require.Equal(t, "active 2", b.enrolment(t, e))
	}
}

func TestSequenceIsSteered(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.started(t, b.sequence(t))
	var enrolments []int64
	for i := range 3 {
		number := phone.Number(fmt.Sprintf("+9477000000%d", i+1))
		b.user(t, string(number), "LK", `{}`, "OPT_IN")
		enrolments = append(enrolments, b.signsUp(t, number, noon))
	}
	_, err := b.Steer(ctx, run.CampaignID, campaign.Paused, "tester", "", noon)
	require.NoError(t, err)
	require.True(t, b.step(t, enrolments[0], noon).Until.Equal(noon.Add(day)))
	require.Equal(t, []string{"1 pending"}, b.stepsSent(t), "it waits, as every message of a paused campaign")
	require.Equal(t, noon.Add(day+time.Hour), b.step(t, enrolments[0], noon.Add(day)).Until, "and no other comes on top of it")
	_, err = b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", noon)
	require.NoError(t, err)

	// A complete takes nobody any more, and the run goes on until the last one is through.
	require.NoError(t, b.CloseRun(ctx, run.CampaignID, "tester", noon))
	taken, err := b.TakeEvents(ctx, []ledger.Event{{ID: "late", Name: "signed.up", Phone: "+94770000001"}}, noon)
	require.NoError(t, err)
	require.Error(t, taken[0].Refused)
	require.True(t, b.load(t, run.ID).Enrolled)
	b.step(t, enrolments[1], noon)
	require.Len(t, b.stepsSent(t), 2, "a closed run still takes steps")

	overdue, err := b.OverdueEnrolments(ctx, noon.Add(time.Hour), 10)
	require.NoError(t, err)
	require.Len(t, overdue, 1)
	require.Equal(t, enrolments[2], overdue[0].EnrolmentID)

	b.outbox(t)
	_, err = b.Steer(ctx, run.CampaignID, campaign.Cancelled, "tester", "", noon)
	require.NoError(t, err)
	for i, e := range enrolments {
		require.Equal(t, []string{"cancelled 2", "cancelled 2", "cancelled 1"}[i], b.enrolment(t, e))
		require.Equal(t, ledger.Cancelled, b.step(t, e, noon.Add(2*day)).State)
	}
	require.Len(t, b.stepsSent(t), 2)
	require.False(t, b.load(t, run.ID).Enrolled)
	require.Subset(t, b.outbox(t), []string{"enrolment.wake", "campaign.wake"})
	b.addsUp(t, b.load(t, run.ID))
}

func TestSequencePlan(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	plan := b.sequence(t)
	created, err := b.CreateCampaign(ctx, plan, noon)
	require.NoError(t, err)
	require.Equal(t, plan.Steps, created.Steps)
	require.Error(t, b.DeleteTemplate(ctx, plan.Steps[2].TemplateID, noon), "a step says it")
	missing := int64(99)
	bad := plan
	bad.Steps = append(append([]campaign.Step{}, plan.Steps...), campaign.Step{TemplateID: 99})
	bad.ExitOn.SegmentID = &missing
	_, err = b.CreateCampaign(ctx, bad, noon)
	require.ErrorContains(t, err, "steps[3].template_id: there is no template 99")
	require.ErrorContains(t, err, "exit_on.segment_id: there is no segment 99")
	b.exec(t, `INSERT INTO templates (id, name, channel, locale, created_at, updated_at) OVERRIDING SYSTEM VALUE VALUES (99, 'Text', 'sms', 'en', $1, $1)`, noon)
	bad.ExitOn.SegmentID = nil
	_, err = b.CreateCampaign(ctx, bad, noon)
	require.ErrorContains(t, err, "steps[3].template_id: is for another channel")

	updated, err := b.UpdateCampaign(ctx, created.ID, "tester", func(was campaign.Campaign) (campaign.Campaign, error) {
		require.Equal(t, plan.Steps, was.Steps)
		was.Steps = was.Steps[:2]
		return was, nil
	}, noon)
	require.NoError(t, err)
	require.Equal(t, plan.Steps[:2], updated.Steps)
	run, err := b.StartRun(ctx, created.ID, "tester", noon)
	require.NoError(t, err)
	b.exec(t, `UPDATE templates SET version = 2 WHERE id = $1`, plan.Steps[1].TemplateID)
	require.Equal(t, []string{"1 1 1", "2 2 1"}, get[[]string](t, b, `SELECT array_agg(concat_ws(' ', number, template_id, template_version) ORDER BY number)
		FROM run_steps WHERE run_id = $1`, run.ID), "the run keeps the versions")
}
