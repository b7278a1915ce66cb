package db_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/suppression"
)

const ours phone.Number = "+14155238886"

// asks is said with our address on it.
func asks(sid string, from phone.Number, body string) inbound.Message {
	m := said(sid, from, body)
	m.To = ours
	return m
}

// replies lists the replies that were written, in order: kind, state, reason and text.
func (b books) replies(t *testing.T) []string {
	t.Helper()
	return get[[]string](t, b, `SELECT coalesce(array_agg(concat_ws(' ', reply, state, nullif(reason, ''), replace(dedupe_key, 'inbound/', '')) ORDER BY seq), '{}') FROM messages WHERE reply IS NOT NULL`)
}

// replyRun is the run of the built-in campaign.
func (b books) replyRun(t *testing.T) ledger.Run {
	t.Helper()
	return b.load(t, get[int64](t, b, `SELECT r.id FROM campaign_runs r JOIN campaigns c ON c.id = r.campaign_id WHERE c.reply_sender_id IS NOT NULL`))
}

func TestReplies(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	b.topic(t, "news", "The News")
	const number = "+94770000001"
	b.user(t, number, "LK", `{"language":"de"}`, "OPT_IN")
	receive := func(sid, body string, at time.Time) {
		t.Helper()
		for range 2 { // the provider delivers everything twice
			_, err := b.Receive(ctx, asks(sid, number, body), at)
			require.NoError(t, err)
		}
	}
	receive("SM1", "hello", noon)
	require.Empty(t, b.replies(t), "only keywords are answered")
	require.EqualValues(t, 0, get[int64](t, b, `SELECT count(*) FROM campaigns`))

	receive("SM2", "SUBSCRIBE news", noon)
	run := b.replyRun(t)
	require.Equal(t, []string{"campaign.start", "recipient.start 1"}, b.outbox(t))
	d := b.delivery(t, run, 1)
	verdict, text := d.Check(noon)
	require.Equal(t, "proceed", string(verdict.Action))
	require.Equal(t, "Sie haben The News abonniert. Antworten Sie STOP, um keine Nachrichten mehr von uns zu erhalten.", text)
	require.Equal(t, ours.String(), d.Sender)

	receive("SM3", "subscribe nonsense", noon)
	receive("SM4", "Hilfe", noon)
	receive("SM5", "STOP", noon.Add(time.Minute))
	require.Equal(t, []string{
		"subscribed suppressed stopped SM2", "unknown_topic suppressed stopped SM3", "help suppressed stopped SM4", "stop pending SM5",
	}, b.replies(t), "a STOP silences what waits, and is confirmed")
	for i, body := range []string{"stop", "help", "SUBSCRIBE news", "UNSUBSCRIBE news", "hello"} {
		receive(fmt.Sprintf("SM6%d", i), body, noon.Add(2*time.Minute))
	}
	require.Len(t, b.replies(t), 4, "nothing after the confirmation")
	_, _, begun := b.begin(t, run, 4, noon.Add(2*time.Minute), 10*time.Second)
	require.Equal(t, ledger.BegunNow, begun, "it goes to somebody who said STOP")

	receive("SM7", "START", noon.Add(3*time.Minute))
	receive("SM8", "stop", noon.Add(4*time.Minute))
	receive("SM9", "start", noon.Add(5*time.Minute))
	require.Equal(t, []string{"start suppressed stopped SM7", "stop pending SM8", "start pending SM9"}, b.replies(t)[4:])
	d, attempt := b.delivery(t, run, 6), attemptAt(noon.Add(5*time.Minute), time.Second)
	verdict, _ = d.Check(noon.Add(5 * time.Minute))
	require.Equal(t, "reply_outdated", string(verdict.Reason), "the STOP that it confirms is over")
	begun, err := b.Begin(ctx, d, attempt, nil)
	require.NoError(t, err)
	require.Equal(t, ledger.NotConsenting, begun)
	b.addsUp(t, b.replyRun(t))
}

// Whoever asks for HELP gets it, on the list of suppressions or not, be it somebody who was erased: the list bars what we
// send of our own accord. Nothing else is replied to them.
func TestHelpForTheSuppressed(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	b.topic(t, "news", "The News")
	const listed, erased = "+94770000001", "+94770000002"
	b.user(t, listed, "LK", `{}`, "OPT_IN")
	b.user(t, erased, "LK", `{}`, "OPT_IN")
	b.suppress(t, listed, suppression.Global)
	b.erase(t, erased)
	for i, number := range []phone.Number{listed, erased} {
		for k, body := range []string{"HELP", "UNSUBSCRIBE news"} {
			_, err := b.Receive(ctx, asks(fmt.Sprint("SM", i, k), number, body), noon)
			require.NoError(t, err)
		}
	}
	run := b.replyRun(t)
	require.EqualValues(t, 2, get[int64](t, b, `SELECT count(*) FROM users WHERE suppressed = '{global}'`))
	for seq, want := range []struct {
		reason string
		begun  ledger.Begun
	}{{"", ledger.BegunNow}, {"suppressed", ledger.NotConsenting}, {"", ledger.BegunNow}, {"suppressed", ledger.NotConsenting}} {
		d := b.delivery(t, run, seq+1)
		verdict, _ := d.Check(noon)
		require.Equal(t, want.reason, string(verdict.Reason), "%d", seq)
		begun, err := b.Begin(ctx, d, attemptAt(noon, time.Second), nil)
		require.NoError(t, err)
		require.Equal(t, want.begun, begun, "%d", seq)
	}
}

// Two campaigns are never made for one sender, and each message is answered once, however many come at once.
func TestRepliesAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	const people = 8
	errs := make([]error, 2*people)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = b.Receive(ctx, asks(fmt.Sprintf("SM%d", i%people), phone.Number(fmt.Sprintf("+9477000000%d", i%people)), "STOP"), noon)
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM campaigns`))
	require.EqualValues(t, people, get[int64](t, b, `SELECT count(*) FROM messages WHERE reply = 'stop' AND state = 'pending'`))
	run := b.replyRun(t)
	require.Equal(t, people, run.AudienceSize)
	b.addsUp(t, run)
}

func TestNoReply(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	const number = "+94770000001"
	handled, elsewhere, nobody, sms := asks("SM1", number, "STOP"), asks("SM2", number, "START"), asks("SM3", "", "HELP"), asks("SM4", number, "HELP")
	handled.OptOutType, elsewhere.To, sms.Channel = "STOP", "+14155550000", message.SMS
	for _, m := range []inbound.Message{handled, elsewhere, nobody, sms, said("SM5", number, "HELP")} {
		_, err := b.Receive(ctx, m, noon)
		require.NoError(t, err)
	}
	require.Empty(t, b.replies(t), "the provider has replied; not written to us; nobody to answer; another channel's address")

	for i := range 2 * inbound.MaxRepliesPerHour {
		_, err := b.Receive(ctx, asks(fmt.Sprintf("SMa%d", i), number, "HELP"), noon.Add(time.Duration(i)*time.Second))
		require.NoError(t, err)
	}
	require.Len(t, b.replies(t), inbound.MaxRepliesPerHour, "machines that answer each other come to an end")
	_, err := b.Receive(ctx, asks("SMb", number, "HELP"), noon.Add(time.Hour+time.Second))
	require.NoError(t, err)
	require.Len(t, b.replies(t), inbound.MaxRepliesPerHour+1)
}

func TestReplyTexts(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	set := func(texts ...inbound.ReplyText) {
		t.Helper()
		require.NoError(t, inbound.CheckReplies("replies", texts))
		require.NoError(t, b.SetReplies(ctx, texts, "tester", noon))
		stored, err := b.Replies(ctx)
		require.NoError(t, err)
		require.ElementsMatch(t, texts, stored)
	}
	help := inbound.ReplyText{Kind: inbound.ReplyHelp, Locale: "en", Text: "Call {{us}}"}
	set(inbound.ReplyText{Kind: inbound.ReplyHelp, Locale: "en", Text: "x"}, inbound.ReplyText{Kind: inbound.ReplyStart, Locale: "en", Text: "y"})
	set(help, inbound.ReplyText{Kind: inbound.ReplyStop, Locale: "en", Text: ""})
	for i, body := range []string{"help", "stop"} {
		_, err := b.Receive(ctx, asks(fmt.Sprintf("SM%d", i), "+94770000001", body), noon)
		require.NoError(t, err)
	}
	require.Equal(t, []string{"help suppressed stopped SM0"}, b.replies(t), "silence was asked for")
	_, text := b.delivery(t, b.replyRun(t), 1).Check(noon)
	require.Equal(t, "Call {us}", text)

	_, err := b.EraseUser(ctx, "+94770000001", "tester", noon)
	require.NoError(t, err)
	require.EqualValues(t, 0, get[int64](t, b, `SELECT count(*) FROM messages WHERE variables IS NOT NULL`), "the text goes with the person")
}

// A reply waits for no limit and counts towards none; only the list of suppressions holds, but
// for HELP.
func TestRepliesBesideTheLimits(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	one := b.frozen(t, 1)
	two, three := b.again(t, nil), b.again(t, nil)
	b.exec(t, `UPDATE account_limits SET person_messages_per_day = 2`)
	b.tier(t, of(1), noon)
	number := phone.Number(get[string](t, b, `SELECT phone_number FROM users`))
	asked := func(sid, body string, at time.Time) ledger.Run {
		t.Helper()
		_, err := b.Receive(ctx, asks(sid, number, body), at)
		require.NoError(t, err)
		return b.replyRun(t)
	}
	require.Equal(t, "sent", b.try(t, one, 1, noon))
	replies := asked("SM1", "HELP", noon)
	for i := range 3 {
		at := noon.Add(time.Duration(i) * time.Second)
		asked(fmt.Sprintf("SM2%d", i), "HELP", at)
		require.Equal(t, "sent", b.try(t, replies, 1+i, at), "it waits for no pair rate")
	}
	require.Equal(t, "sent", b.try(t, two, 1, noon.Add(6*time.Second)), "nor keeps it others waiting, nor counts towards their cap")
	require.Equal(t, "frequency_cap", b.try(t, three, 1, noon.Add(12*time.Second)))
	require.Equal(t, "sent", b.try(t, replies, 4, noon.Add(12*time.Second)), "whom the cap protects is answered")

	b.suppress(t, number, suppression.Global)
	asked("SM3", "SUBSCRIBE nonsense", noon.Add(time.Minute))
	require.Equal(t, "suppressed", b.try(t, replies, 5, noon.Add(time.Minute)))
	d, attempt := b.delivery(t, replies, 5), attemptAt(noon.Add(time.Minute), time.Second)
	begun, err := b.Begin(ctx, d, attempt, nil)
	require.NoError(t, err)
	require.Equal(t, ledger.NotConsenting, begun)
}

// The text of a reply is nothing that WhatsApp has to approve.
func TestTemplateOfTheReplies(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	_, err := b.Receive(ctx, asks("SM1", "+94770000001", "HELP"), noon)
	require.NoError(t, err)
	run := b.replyRun(t)
	require.Equal(t, render.NotNeeded, run.Template)
	undecided, err := b.UndecidedTemplates(ctx)
	require.NoError(t, err)
	require.Empty(t, undecided)
	d := b.delivery(t, run, 1)
	require.Equal(t, campaign.InWindow, d.WindowPolicy)
	verdict, text := d.Check(noon)
	require.False(t, verdict.Template)
	require.Contains(t, text, "Reply STOP")

	saved, err := b.Template(ctx, run.TemplateID)
	require.NoError(t, err)
	saved.Content = "Something else"
	_, err = b.UpdateTemplate(ctx, saved, noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	require.True(t, fault.Is(b.DeleteTemplate(ctx, run.TemplateID, noon), fault.Conflict))
}

// The built-in campaign is not among those that people make, and carries on.
func TestBuiltInCampaign(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	_, err := b.Receive(ctx, asks("SM1", "+94770000001", "HELP"), noon)
	require.NoError(t, err)
	id := b.replyRun(t).CampaignID
	c, err := b.Campaign(ctx, id)
	require.NoError(t, err)
	require.True(t, c.BuiltIn)
	require.Equal(t, campaign.Transactional, c.Priority)
	list, total, err := b.Campaigns(ctx, "", nil, 10)
	require.NoError(t, err)
	require.Empty(t, list)
	require.Zero(t, total)
	templates, err := b.Templates(ctx, nil, 10)
	require.NoError(t, err)
	require.Empty(t, templates)
	made, err := b.TemplateTotal(ctx)
	require.NoError(t, err)
	require.Zero(t, made)

	edit := func(change func(campaign.Campaign) (campaign.Campaign, error)) error {
		_, err := b.UpdateCampaign(ctx, id, "tester", change, noon)
		return err
	}
	_, cancelled := b.Steer(ctx, id, campaign.Cancelled, "tester", "", noon)
	_, triggered := b.StartRun(ctx, id, "tester", noon)
	for _, err := range []error{
		cancelled, triggered, b.CloseRun(ctx, id, "tester", noon), b.DeleteCampaign(ctx, id, noon),
		edit(func(c campaign.Campaign) (campaign.Campaign, error) { return c.Edit(c, noon) }),
		edit(func(c campaign.Campaign) (campaign.Campaign, error) { return c.Replace(c, noon) }),
	} {
		require.True(t, fault.Is(err, fault.Conflict), err)
	}
	s, err := b.Steer(ctx, id, campaign.Paused, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Paused, s.Status)
	_, err = b.Receive(ctx, asks("SM2", "+94770000002", "HELP"), noon)
	require.NoError(t, err)
	require.Len(t, b.replies(t), 2, "what comes in meanwhile is answered after the resume")
	s, err = b.Steer(ctx, id, campaign.Running, "tester", "", noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Running, s.Status)

	b.exec(t, `UPDATE campaigns SET status = 'FAILED'`) // whatever became of it, what comes in is kept
	_, err = b.Receive(ctx, asks("SM3", "+94770000003", "STOP"), noon)
	require.NoError(t, err)
	require.Equal(t, "STOP", b.consent(t, "+94770000003"))
}
