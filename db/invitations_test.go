package db_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/user"
)

// inviting is an open run of a new campaign that invites.
func (b books) inviting(t *testing.T) ledger.Run {
	t.Helper()
	plan := b.onEvent(t, "")
	plan.Trigger = campaign.OnInvitation
	return b.started(t, plan)
}

// newestConsent is the last entry of a person's history: state, source, evidence, wording, and whether it names an invitation.
func (b books) newestConsent(t *testing.T, number string) string {
	t.Helper()
	return get[string](t, b, `SELECT concat_ws(' ', e.state, e.source, e.evidence, e.wording, e.actor, e.invitation_id IS NOT NULL)
		FROM consent_events e JOIN users u ON u.id = e.user_id WHERE u.phone_number = $1 ORDER BY e.id DESC LIMIT 1`, number)
}

func TestInvite(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const number = "+94770000001"
	b.user(t, number, "LK", `{"city":"Kandy"}`, "PENDING")
	_, err := b.Invite(ctx, number, 0, "form", "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	require.ErrorContains(t, err, "no campaign that invites is live")

	run := b.inviting(t)
	b.outbox(t)
	_, err = b.Invite(ctx, number, 99, "form", "tester", noon)
	require.ErrorContains(t, err, "campaign_id: campaign 99 is not live")
	sent, err := b.Invite(ctx, number, run.CampaignID, "form", "tester", noon)
	require.NoError(t, err)
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM audit_events WHERE action = 'user.invite'`))
	require.Equal(t, message.Pending, sent.State)
	require.Nil(t, sent.ConfirmUntil)
	require.Equal(t, []string{"recipient.start 1"}, b.outbox(t))
	d := b.delivery(t, run, 1)
	verdict, text := d.Check(noon)
	require.Equal(t, "proceed Hi", string(verdict.Action)+" "+text, "somebody PENDING may be asked")

	early, err := b.Receive(ctx, asks("SM0", number, "yes"), noon)
	require.NoError(t, err)
	require.False(t, early.Changed, "nothing was asked yet")
	b.accepted(t, run, 1)
	for range 2 {
		r, err := b.Receive(ctx, asks("SM9", number, "Yes!"), noon.Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, user.ActionStart, r.Action)
		require.True(t, r.Changed)
	}
	require.Equal(t, "OPT_IN", b.consent(t, number))
	require.Equal(t, "OPT_IN keyword SM9 Hi user t", b.newestConsent(t, number), "the reply, the text that was shown, and the invitation")
	require.Equal(t, []string{"confirmed pending SM9"}, b.replies(t))
	confirmed, err := b.Invitation(ctx, number)
	require.NoError(t, err)
	require.Equal(t, sent.MessageID, confirmed.MessageID)
	require.Equal(t, noon.Add(time.Hour), confirmed.ConfirmedAt.UTC())
	require.Equal(t, noon.Add(72*time.Hour), confirmed.ConfirmUntil.UTC())
	require.Equal(t, sent.MessageID, *func() *uuid.UUID {
		events, _, err := b.ConsentHistory(ctx, number, nil, 1)
		require.NoError(t, err)
		return events[0].Invitation
	}())
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM consent_events`))
	b.addsUp(t, b.load(t, run.ID))
	b.erase(t, number)
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM invitations`))
}

func TestInviteRefuses(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.inviting(t)
	for i, tt := range []struct{ consent, want string }{
		{"OPT_IN", "has agreed already"}, {"OPT_OUT", "declined"}, {"STOP", "said STOP"}, {"PENDING", "list of suppressions"},
	} {
		number := phone.Number(fmt.Sprintf("+9477000000%d", i))
		b.user(t, string(number), "LK", `{}`, tt.consent)
		if tt.consent == "PENDING" {
			b.suppress(t, number, suppression.Global)
		}
		_, err := b.Invite(ctx, number, 0, "", "tester", noon)
		require.True(t, fault.Is(err, fault.Conflict), err)
		require.ErrorContains(t, err, tt.want)
		_, err = b.Invitation(ctx, number)
		require.True(t, fault.Is(err, fault.NotFound), err)
	}
	const number = "+94770000009"
	b.user(t, number, "LK", `{}`, "PENDING")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.Invite(ctx, number, 0, "", "tester", noon) })
	}
	wg.Wait()
	var sent int
	for _, err := range errs {
		if err == nil {
			sent++
			continue
		}
		require.ErrorContains(t, err, "may be invited again from 2026-04-01T12:00:00Z on")
	}
	require.Equal(t, 1, sent, "once, however many ask at once")
	b.accepted(t, run, 1)
	_, err := b.Invite(ctx, number, 0, "", "tester", noon.Add(30*24*time.Hour-time.Second))
	require.True(t, fault.Is(err, fault.Conflict), err)
	_, err = b.Invite(ctx, number, 0, "", "tester", noon.Add(30*24*time.Hour))
	require.NoError(t, err)
	b.exec(t, `UPDATE messages SET state = 'suppressed', reason = 'no_sending_window' WHERE seq = 2`)
	_, err = b.Invite(ctx, number, 0, "", "tester", noon.Add(31*24*time.Hour))
	require.NoError(t, err, "what never left was no invitation")
}

func TestConfirmation(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.inviting(t)
	rules := user.InvitationRules{ConfirmWithin: 2 * time.Hour, InviteAgain: 24 * time.Hour, Words: []string{"Count me in"}}
	require.NoError(t, rules.Check())
	require.NoError(t, b.SetInvitationRules(ctx, rules, "tester", noon))
	stored, err := b.InvitationRules(ctx)
	require.NoError(t, err)
	require.Equal(t, rules, stored)
	invited := func(seq int) phone.Number {
		number := phone.Number(fmt.Sprintf("+9477000000%d", seq))
		b.user(t, string(number), "LK", `{}`, "PENDING")
		_, err := b.Invite(ctx, number, 0, "", "tester", noon)
		require.NoError(t, err)
		b.exec(t, `UPDATE messages SET waits_until = NULL, reason = ''`)
		b.accepted(t, run, seq)
		return number
	}
	for i, tt := range []struct {
		body, button string
		after        time.Duration
		channel      message.Channel
		want         string
	}{
		{"yes", "", 2*time.Hour - time.Second, message.WhatsApp, "OPT_IN keyword SM1 Hi user t"},
		{"yes", "", 2 * time.Hour, message.WhatsApp, "PENDING"},
		{"I agree.", "I agree", time.Minute, message.WhatsApp, "OPT_IN button SM3 Hi user t"},
		{"count me IN", "", time.Minute, message.WhatsApp, "OPT_IN keyword SM4 Hi user t"},
		{"START", "", time.Minute, message.WhatsApp, "OPT_IN keyword SM5 Hi user t"},
		{"START", "", 3 * time.Hour, message.WhatsApp, "OPT_IN keyword SM6 start user f"},
		{"yes, but who are you?", "", time.Minute, message.WhatsApp, "PENDING"},
		{"yes", "", time.Minute, message.SMS, "PENDING"},
		{"stop", "", time.Minute, message.WhatsApp, "STOP keyword SM9 stop user f"},
	} {
		number := invited(i + 1)
		m := said(fmt.Sprintf("SM%d", i+1), number, tt.body)
		m.ButtonText, m.Channel = tt.button, tt.channel
		_, err := b.Receive(ctx, m, noon.Add(tt.after))
		require.NoError(t, err)
		if tt.want == "PENDING" {
			require.Equal(t, tt.want, b.consent(t, string(number)), "%+v", tt)
			continue
		}
		require.Equal(t, tt.want, b.newestConsent(t, string(number)), "%+v", tt)
	}
	const stranger = "+94770000099"
	for _, body := range []string{"hello", "yes", "I agree"} {
		_, err := b.Receive(ctx, said("SM-"+body, stranger, body), noon)
		require.NoError(t, err)
	}
	require.Equal(t, "PENDING", b.consent(t, stranger), "nobody asked them")
}

// What changes while an invitation waits is judged when it is sent.
func TestInvitationOvertaken(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.inviting(t)
	for i, state := range []user.ConsentState{user.OptIn, user.OptOut} {
		number := phone.Number(fmt.Sprintf("+9477000000%d", i))
		b.user(t, string(number), "LK", `{}`, "PENDING")
		_, err := b.Invite(ctx, number, 0, "", "tester", noon)
		require.NoError(t, err)
		before, attempt := b.delivery(t, run, i+1), attemptAt(noon, time.Second)
		_, err = b.UpdateUser(ctx, number, nil, user.Change{State: state, Source: user.SourceOperator, Evidence: "call"}, "tester", noon)
		require.NoError(t, err)
		begun, err := b.Begin(ctx, before, attempt, nil)
		require.NoError(t, err)
		require.Equal(t, ledger.NotConsenting, begun)
		verdict, _ := b.delivery(t, run, i+1).Check(noon)
		require.Equal(t, []string{"already_agreed", "opted_out"}[i], string(verdict.Reason))
	}
}

func TestInvitationOfTheNew(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	change := user.Change{Source: user.SourceAPI, Invite: true}
	_, err := b.CreateUser(ctx, "+94770000001", nil, change, "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	_, err = b.UserByPhone(ctx, "+94770000001")
	require.True(t, fault.Is(err, fault.NotFound), "nobody is added who cannot be invited")

	run := b.inviting(t)
	_, err = b.CreateUser(ctx, "+94770000001", nil, change, "tester", noon)
	require.NoError(t, err)
	b.user(t, "+94770000002", "LK", `{}`, "OPT_IN")
	b.user(t, "+94770000003", "LK", `{}`, "STOP")
	b.user(t, "+94770000004", "LK", `{}`, "PENDING")
	id := b.upload(t, intake.CSV, "phone_number,consent_state\n0770000001,\n0770000002,\n0770000003,OPT_IN\n0770000004,\n0770000005,\n0770000006,OPT_IN\n0770000005,\n",
		func(imp *intake.Import) { imp.Invite = true })
	require.Equal(t, 7, b.process(t, id, 2).Succeeded)
	require.Equal(t, []string{"+94770000001 ", "+94770000004 line 5", "+94770000005 line 6"}, get[[]string](t, b, `SELECT array_agg(u.phone_number || ' ' ||
		regexp_replace(i.evidence, '^import \S+ ', '') ORDER BY u.phone_number) FROM invitations i JOIN users u ON u.id = i.user_id`))
	run = b.load(t, run.ID)
	require.Equal(t, 3, run.AudienceSize)
	b.addsUp(t, run)

	require.NoError(t, b.CloseRun(ctx, run.CampaignID, "tester", noon))
	imp := intake.Import{ID: uuid.Must(uuid.NewV7()), Format: intake.JSON, Invite: true}
	_, err = b.CreateImport(ctx, imp, func() (intake.Row, error) { return intake.Row{}, nil }, noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
}
