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
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// onEvent is a plan of a campaign that events of that name trigger.
func (b books) onEvent(t *testing.T, name string) campaign.Campaign {
	t.Helper()
	plan := b.plan(t)
	plan.SegmentID, plan.SegmentQuery, plan.Trigger, plan.TriggerName = nil, nil, campaign.OnEvent, name
	return plan
}

// started is the run of a campaign with that plan.
func (b books) started(t *testing.T, plan campaign.Campaign) ledger.Run {
	t.Helper()
	b.sender(t)
	c, err := b.CreateCampaign(t.Context(), plan, noon)
	require.NoError(t, err)
	run, err := b.StartRun(t.Context(), c.ID, "tester", noon)
	require.NoError(t, err)
	return b.load(t, run.ID)
}

// listening is an open run of a new campaign that events named order.shipped trigger.
func (b books) listening(t *testing.T) ledger.Run {
	t.Helper()
	return b.started(t, b.onEvent(t, "order.shipped"))
}

// userIDs lists everybody, in the order of their ids.
func (b books) userIDs(t *testing.T) []int64 {
	t.Helper()
	return get[[]int64](t, b, `SELECT array_agg(id ORDER BY id) FROM users`)
}

func (b books) enlist(t *testing.T, run ledger.Run, now time.Time, list ...ledger.Enlistment) []ledger.Enlisted {
	t.Helper()
	enlisted, err := b.Enlist(t.Context(), run.ID, list, now)
	require.NoError(t, err)
	require.Len(t, enlisted, len(list))
	return enlisted
}

func TestEnlist(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.listening(t)
	require.Equal(t, campaign.ByEvent, run.Kind)
	require.True(t, run.Open())
	require.Equal(t, campaign.Running, b.status(t, run.CampaignID))
	require.Equal(t, []string{"campaign.start"}, b.outbox(t))

	b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
	b.people(t, 1, "PENDING", "LK", "Asia/Colombo")
	b.people(t, 1, "STOP", "LK", "Asia/Colombo")
	ids := b.userIDs(t)
	first := ledger.Enlistment{UserID: ids[0], DedupeKey: "a", Variables: user.Attributes{"order": "7", "city": "Galle"}}
	got := b.enlist(t, run, noon, first, ledger.Enlistment{UserID: ids[2], DedupeKey: "b"}, first,
		ledger.Enlistment{UserID: 999, DedupeKey: "c"}, ledger.Enlistment{UserID: ids[3], DedupeKey: "d"}, ledger.Enlistment{UserID: ids[1], DedupeKey: "a"})
	require.Equal(t, []string{
		"1 pending ", "2 suppressed no_consent", "1 pending  again", "0  ", "3 suppressed stopped", "4 pending rate_limit",
	}, shown(got))
	require.Equal(t, got[0].MessageID, got[2].MessageID)
	require.Equal(t, []string{"recipient.start 1", "recipient.start 4"}, b.outbox(t))
	run = b.load(t, run.ID)
	require.Equal(t, 4, run.AudienceSize)
	b.addsUp(t, run)
	require.Equal(t, "suppress no_consent; suppress stopped",
		get[string](t, b, `SELECT string_agg(action || ' ' || reason, '; ' ORDER BY id) FROM compliance_checks WHERE steps @> '[{"step":"consent","result":"failed"}]'`))

	d := b.delivery(t, run, 1)
	require.Equal(t, user.Attributes{"order": "7", "city": "Galle"}, d.Attributes, "what the event says goes before what is known")
	require.Equal(t, user.Attributes{"city": "Kandy"}, b.delivery(t, run, 4).Attributes)
	require.Equal(t, noon.Add(100*time.Millisecond), b.delivery(t, run, 4).WaitsUntil.UTC(), "started at the campaign's rate")

	again := b.enlist(t, run, noon.Add(time.Hour), ledger.Enlistment{UserID: ids[1], DedupeKey: "a"}, ledger.Enlistment{UserID: ids[1], DedupeKey: "e"})
	require.Equal(t, []string{"4 pending rate_limit again", "5 pending "}, shown(again))
	require.Equal(t, []string{"recipient.start 5"}, b.outbox(t))

	b.erase(t, d.Phone)
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM messages WHERE variables IS NOT NULL`), "what the event said of the person goes with them")
}

// Whoever is in a segment that the campaign leaves out when their message is made gets none, unless they were named to try
// the campaign out, and whoever may not be written to anyway keeps that reason.
func TestEnlistExcludes(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.people(t, 3, "OPT_IN", "LK", "Asia/Colombo") // +94771000001 to 3
	b.people(t, 1, "STOP", "LK", "Asia/Colombo")   // 4
	guests := b.static(t, "Guests", "+94771000001", "+94771000004")
	galle := b.saved(t, "Galle", `{"attribute":"city","operator":"equals","value":"Galle"}`)
	b.exec(t, `UPDATE users SET attributes = '{"city":"Galle"}' WHERE phone_number = '+94771000002'`)
	plan := b.onEvent(t, "order.shipped")
	plan.ExcludeSegmentIDs = []int64{guests, galle}
	run := b.started(t, plan)
	ids := b.userIDs(t)

	everyone := func(key string) (list []ledger.Enlistment) {
		for _, id := range ids {
			list = append(list, ledger.Enlistment{UserID: id, DedupeKey: key})
		}
		return list
	}
	require.Equal(t, []string{"1 suppressed excluded", "2 suppressed excluded", "3 pending ", "4 suppressed stopped"}, shown(b.enlist(t, run, noon, everyone("a")...)))
	require.EqualValues(t, 2, get[int64](t, b, `SELECT count(*) FROM compliance_checks WHERE action = 'suppress' AND reason = 'excluded'`))
	b.addsUp(t, b.load(t, run.ID))

	b.exec(t, `UPDATE users SET attributes = '{}' WHERE phone_number = '+94771000002'`)
	got := b.enlist(t, run, noon.Add(time.Hour), everyone("b")...)
	require.Equal(t, []string{"5 suppressed excluded", "6 pending ", "7 pending rate_limit", "8 suppressed stopped"}, shown(got))

	_, tried, err := b.StartTest(t.Context(), run.CampaignID, []phone.Number{"+94771000001", "+94771000004"}, nil, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, []string{"1 pending ", "2 suppressed stopped"}, shown(tried))
}

// shown is what became of enlistments: number, state and reason.
func shown(list []ledger.Enlisted) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = fmt.Sprintf("%d %s %s", e.Seq, e.State, e.Reason)
		if e.Repeated {
			out[i] += " again"
		}
	}
	return out
}

// TestEnlistAtOnce has a hundred callers tell of events of a few people at the same time, each of most events several
// times: there is one message for each, and no number is left out.
func TestEnlistAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.listening(t)
	b.people(t, 5, "OPT_IN", "LK", "Asia/Colombo")
	ids := b.userIDs(t)
	const callers = 100
	results, errs := make([][]ledger.Enlisted, callers), make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			list := []ledger.Enlistment{{UserID: ids[0], DedupeKey: "same"}}
			for k := range ids { // in another order each
				list = append(list, ledger.Enlistment{UserID: ids[(i+k)%len(ids)], DedupeKey: fmt.Sprint("shared ", i%10)})
			}
			results[i], errs[i] = b.Enlist(ctx, run.ID, list, noon)
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	fresh := 0
	for _, list := range results {
		require.Equal(t, results[0][0].MessageID, list[0].MessageID)
		for _, e := range list {
			require.NotZero(t, e.Seq)
			if !e.Repeated {
				fresh++
			}
		}
	}
	want := 1 + 10*len(ids)
	require.Equal(t, want, fresh)
	run = b.load(t, run.ID)
	require.Equal(t, want, run.AudienceSize)
	b.addsUp(t, run)
	require.EqualValues(t, want, get[int64](t, b, `SELECT max(seq) FROM messages`))
	require.EqualValues(t, want, get[int64](t, b, `SELECT count(DISTINCT payload->>'seq') FROM outbox WHERE kind = 'recipient.start'`))
	require.EqualValues(t, want, get[int64](t, b, `SELECT count(*) FROM outbox WHERE kind = 'recipient.start'`))
}

// TestEnlistWithItsCause has the message come and go with the transaction that it is part of.
func TestEnlistWithItsCause(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.listening(t)
	b.people(t, 1, "OPT_IN", "LK", "Asia/Colombo")
	_ = b.outbox(t)
	killed := errors.New("killed")
	err := b.InTx(ctx, func(ctx context.Context) error {
		list, err := b.Enlist(ctx, run.ID, []ledger.Enlistment{{UserID: 1, DedupeKey: "a"}}, noon)
		require.NoError(t, err)
		require.Equal(t, 1, list[0].Seq)
		return killed
	})
	require.ErrorIs(t, err, killed)
	require.Empty(t, b.outbox(t))
	require.Zero(t, b.load(t, run.ID).AudienceSize)
	require.Equal(t, []string{"1 pending "}, shown(b.enlist(t, run, noon, ledger.Enlistment{UserID: 1, DedupeKey: "a"})))
}

// TestEnlistAgainstStop has people say STOP while they are enlisted: whoever is pending afterwards is refused by their own
// check, and nobody waits for anybody in a circle.
func TestEnlistAgainstStop(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.listening(t)
	b.people(t, 10, "OPT_IN", "LK", "Asia/Colombo")
	ids := b.userIDs(t)
	var wg sync.WaitGroup
	errs := make([]error, 2*len(ids))
	for i, id := range ids {
		wg.Go(func() {
			var list []ledger.Enlistment
			for k := range ids {
				list = append(list, ledger.Enlistment{UserID: ids[(i+k)%len(ids)], DedupeKey: fmt.Sprint(i)})
			}
			_, errs[i] = b.Enlist(ctx, run.ID, list, noon)
		})
		wg.Go(func() {
			number := get[string](t, b, `SELECT phone_number FROM users WHERE id = $1`, id)
			_, errs[len(ids)+i] = b.Receive(ctx, said(fmt.Sprint("SMstop", i), phone.Number(number), "stop"), noon)
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM messages WHERE state = 'pending'`), "the one that came later saw the other")
	b.addsUp(t, b.load(t, run.ID))
}

func TestEventRunIsSteered(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.listening(t)
	b.people(t, 4, "OPT_IN", "LK", "Asia/Colombo")
	ids := b.userIDs(t)
	asked := func(i int) ledger.Enlistment { return ledger.Enlistment{UserID: ids[i], DedupeKey: "a"} }
	b.enlist(t, run, noon, asked(0), asked(1))

	_, err := b.Steer(ctx, run.CampaignID, campaign.Paused, "tester", "", noon)
	require.NoError(t, err)
	run = b.load(t, run.ID)
	require.True(t, run.Open())
	b.enlist(t, run, noon, asked(2)) // it is sent once the campaign goes on
	b.waits(t, run, 1, message.ReasonPaused, noon.Add(time.Hour))
	_ = b.outbox(t)
	_, err = b.Steer(ctx, run.CampaignID, campaign.Running, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, []string{"recipient.signal 1", "campaign.wake"}, b.outbox(t), "whoever waits learns that it goes on")

	due, err := b.CutDue(ctx, b.load(t, run.ID), 1, 10, noon.Add(time.Minute), noon.Add(time.Hour))
	require.NoError(t, err)
	require.True(t, due, "what nobody drives is driven anew")
	seqs, cut, err := b.Batch(ctx, run.ID, 1)
	require.NoError(t, err)
	require.True(t, cut)
	require.Equal(t, []int{1, 2, 3}, seqs)
	remaining, err := b.RemainingCohorts(ctx, run.ID)
	require.NoError(t, err)
	require.Empty(t, remaining)

	s, err := b.Steer(ctx, run.CampaignID, campaign.Cancelled, "tester", "", noon)
	require.NoError(t, err)
	require.Zero(t, s.Remaining)
	require.Equal(t, "cancelled campaign_cancelled", b.stands(t, run, 3))
	_, err = b.Enlist(ctx, run.ID, []ledger.Enlistment{asked(3)}, noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	require.NoError(t, b.FinishRun(ctx, b.load(t, run.ID), noon))
	require.Equal(t, campaign.Cancelled, b.status(t, run.CampaignID))

	_, err = b.RetryRun(ctx, run.CampaignID, campaign.Retry{States: []message.State{message.Cancelled}}, "tester", noon)
	require.ErrorContains(t, err, "under a new id")
}

// TestEnlistAtAnotherRate changes the rate while a hundred people are to be started: the rest starts at the new one.
func TestEnlistAtAnotherRate(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.listening(t)
	b.people(t, 101, "OPT_IN", "LK", "Asia/Colombo")
	var list []ledger.Enlistment
	for _, id := range b.userIDs(t)[:100] {
		list = append(list, ledger.Enlistment{UserID: id})
	}
	b.enlist(t, run, noon, list...)
	ends := func() []time.Duration {
		t.Helper()
		const last = `SELECT extract(epoch FROM max(%s) - $1)::float8 FROM %s`
		var out []time.Duration
		for _, at := range [][]any{{"next_attempt_at", "outbox"}, {"waits_until", "messages"}, {"next_start_at", "campaign_runs"}} {
			seconds := get[float64](t, b, fmt.Sprintf(last, at...), noon)
			out = append(out, time.Duration(seconds*float64(time.Second)).Round(time.Millisecond))
		}
		return out
	}
	require.Equal(t, []time.Duration{9900 * time.Millisecond, 9900 * time.Millisecond, 10 * time.Second}, ends(), "ten a second")
	_, err := b.UpdateCampaign(ctx, run.CampaignID, "tester", func(c campaign.Campaign) (campaign.Campaign, error) {
		to := c
		to.RatePerSecond = 20
		return c.Edit(to, noon)
	}, noon.Add(5*time.Second))
	require.NoError(t, err)
	require.Equal(t, []time.Duration{7450 * time.Millisecond, 7450 * time.Millisecond, 7500 * time.Millisecond}, ends())
	b.enlist(t, run, noon.Add(5*time.Second), ledger.Enlistment{UserID: 101})
	require.Equal(t, []time.Duration{7500 * time.Millisecond, 7500 * time.Millisecond, 7550 * time.Millisecond}, ends())
}

func TestCloseRun(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.listening(t)
	b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
	b.enlist(t, run, noon, ledger.Enlistment{UserID: 1, DedupeKey: "a"})
	_ = b.outbox(t)
	for range 2 {
		require.NoError(t, b.CloseRun(ctx, run.CampaignID, "tester", noon))
	}
	require.Equal(t, []string{"campaign.wake"}, b.outbox(t))
	run = b.load(t, run.ID)
	require.False(t, run.Open())
	require.Equal(t, campaign.Running, b.status(t, run.CampaignID), "what it took is still to be sent")
	_, err := b.Enlist(ctx, run.ID, []ledger.Enlistment{{UserID: 2, DedupeKey: "a"}}, noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	b.accepted(t, run, 1)
	require.NoError(t, b.FinishRun(ctx, run, noon))
	require.Equal(t, campaign.Completed, b.status(t, run.CampaignID))
	require.True(t, fault.Is(b.CloseRun(ctx, run.CampaignID, "tester", noon), fault.Conflict))

	other := b.triggered(t)
	require.ErrorContains(t, b.CloseRun(ctx, other.CampaignID, "tester", noon), "by itself")
	_, err = b.Enlist(ctx, other.ID, []ledger.Enlistment{{UserID: 1}}, noon)
	require.True(t, fault.Is(err, fault.Conflict), "an audience that is frozen takes nobody")
}

// became is what became of events: the message's number in each campaign, or the field that is to blame.
func became(taken []ledger.Taken) []string {
	out := make([]string, len(taken))
	for i, t := range taken {
		var f *fault.Fault
		if errors.As(t.Refused, &f) {
			out[i] = string(f.Kind) + " " + f.Fields[0].Name
			continue
		}
		for _, m := range t.Messages {
			out[i] += fmt.Sprintf("%d: %s;", m.CampaignID, shown([]ledger.Enlisted{m.Enlisted})[0])
		}
	}
	return out
}

func TestTakeEvents(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	shipped := b.listening(t)
	other := b.listening(t)
	_ = b.started(t, b.onEvent(t, "order.lost"))
	draft, err := b.CreateCampaign(ctx, b.onEvent(t, "order.planned"), noon)
	require.NoError(t, err)
	b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
	const ann, bob, nobody = phone.Number("+94771000001"), phone.Number("+94771000002"), phone.Number("+94771999999")
	event := func(id, name string, to phone.Number, campaignID int64) ledger.Event {
		return ledger.Event{ID: id, Name: name, Phone: to, CampaignID: campaignID}
	}
	take := func(events ...ledger.Event) []string {
		t.Helper()
		taken, err := b.TakeEvents(ctx, events, noon)
		require.NoError(t, err)
		return became(taken)
	}
	require.Equal(t, []string{
		"1: 1 pending ;2: 1 pending ;", "not_found phone_number", "1: 2 pending rate_limit;", "1: 1 pending  again;2: 1 pending  again;",
		"not_found event", "not_found event", "not_found campaign_id", "3: 1 pending ;",
	}, take(
		event("a", "order.shipped", ann, 0), event("b", "order.shipped", nobody, 0), event("c", "order.shipped", ann, shipped.CampaignID),
		event("a", "order.shipped", bob, 0), // the first one counts, whatever the repetition says
		event("d", "order.planned", ann, 0), event("e", "order.eaten", ann, 0), event("f", "order.shipped", ann, draft.ID), event("a", "order.lost", ann, 0),
	))
	require.Equal(t, []string{"1: 1 pending  again;2: 1 pending  again;"}, take(event("a", "order.shipped", nobody, 0)))

	b.erase(t, ann)
	require.Equal(t, []string{"1: 1 cancelled user_erased again;2: 1 cancelled user_erased again;"}, take(event("a", "order.shipped", bob, 0)))

	require.NoError(t, b.CloseRun(ctx, other.CampaignID, "tester", noon))
	require.Equal(t, []string{"1: 3 pending rate_limit;"}, take(event("g", "order.shipped", bob, 0)))
	b.addsUp(t, b.load(t, shipped.ID))
}

// TestOneEventAtOnce has a hundred callers tell of one event at the same time, half of them of another person: there is one
// message.
func TestOneEventAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.listening(t)
	b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
	const callers = 100
	taken, errs := make([][]ledger.Taken, callers), make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			number := phone.Number(fmt.Sprintf("+9477100000%d", 1+i%2))
			taken[i], errs[i] = b.TakeEvents(ctx, []ledger.Event{{ID: "same", Name: "order.shipped", Phone: number}}, noon)
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	fresh := 0
	for _, list := range taken {
		require.Equal(t, taken[0][0].Messages[0].MessageID, list[0].Messages[0].MessageID)
		if !list[0].Messages[0].Repeated {
			fresh++
		}
	}
	require.Equal(t, 1, fresh)
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM messages`))
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM outbox WHERE kind = 'recipient.start'`))
	b.addsUp(t, b.load(t, run.ID))
}

func TestKeywordTriggers(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	plan := b.onEvent(t, "summer sale")
	plan.Trigger = campaign.OnKeyword
	run := b.started(t, plan)
	b.user(t, "+94771000001", "LK", `{}`, "OPT_IN")
	for range 2 { // the provider delivers twice
		_, err := b.Receive(ctx, said("SM1", "+94771000001", "Summer-SALE!"), noon)
		require.NoError(t, err)
	}
	require.Equal(t, "pending", b.stands(t, run, 1))
	require.Equal(t, 1, b.load(t, run.ID).AudienceSize)
	_, err := b.Receive(ctx, said("SM2", "+94771000001", "summer sale"), noon)
	require.NoError(t, err)
	_, err = b.Receive(ctx, said("SM3", "+94771000009", "summer sale"), noon)
	require.NoError(t, err)
	for i, text := range []string{"summer", "the summer sale", "", "stop", "start"} {
		_, err = b.Receive(ctx, said(fmt.Sprint("SMx", i), "+94771000001", text), noon)
		require.NoError(t, err)
	}
	require.Equal(t, 3, b.load(t, run.ID).AudienceSize)
	require.Equal(t, "suppressed stopped", b.stands(t, run, 2), "they said so before it was sent")
	require.Equal(t, "suppressed no_consent", b.stands(t, run, 3), "whoever writes first has agreed to nothing")
	b.addsUp(t, b.load(t, run.ID))
}

func TestUserCreatedTriggers(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 1, "OPT_IN", "LK", "Asia/Colombo")
	plan := b.onEvent(t, "")
	plan.Trigger = campaign.OnUserCreated
	runs := []ledger.Run{b.started(t, plan), b.started(t, plan)}
	_, err := b.CreateUser(ctx, frank, nil, user.Change{State: user.OptIn, Source: user.SourceAPI}, "key:1", noon)
	require.NoError(t, err)
	id := b.upload(t, intake.CSV, "phone_number,consent_state\n+94771000001,OPT_IN\n+94772000001,OPT_IN\n+94772000002,\n+94772000001,OPT_IN\nx,\n", nil)
	imp := b.process(t, id, 2)
	require.Equal(t, 1, imp.Failed)
	for _, run := range runs {
		run = b.load(t, run.ID)
		require.Equal(t, 3, run.AudienceSize, "who was known before is nobody new")
		require.Equal(t, []string{"pending", "pending", "suppressed no_consent"}, []string{b.stands(t, run, 1), b.stands(t, run, 2)[:7], b.stands(t, run, 3)})
		b.addsUp(t, run)
	}
}

func TestTriggeredCampaignHasNoAudience(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.listening(t)
	require.Empty(t, b.verdicts(t, run.CampaignID, noon))
	c, err := b.Campaign(ctx, run.CampaignID)
	require.NoError(t, err)
	require.Equal(t, campaign.OnEvent, c.Trigger)
	require.Equal(t, "order.shipped", c.TriggerName)

	draft, err := b.CreateCampaign(ctx, b.onEvent(t, "order.shipped"), noon)
	require.NoError(t, err)
	draft, err = b.UpdateCampaign(ctx, draft.ID, "tester", func(c campaign.Campaign) (campaign.Campaign, error) {
		to := b.plan(t)
		return c.Edit(to, noon)
	}, noon)
	require.NoError(t, err)
	require.Equal(t, campaign.ByOperator, draft.Trigger)
	require.NotNil(t, draft.SegmentID)
}
