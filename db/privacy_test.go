package db_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/privacy"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/user"
)

func (b books) erase(t *testing.T, number phone.Number) privacy.Erasure {
	t.Helper()
	e, err := b.EraseUser(t.Context(), number, "key:1", noon)
	require.NoError(t, err)
	return e
}

func TestEraseUser(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	person := b.user(t, string(frank), "LK", `{"name": "Frank"}`, "OPT_IN")
	run := b.run(t, b.campaign(t))
	waiting := b.message(t, run, 1, row{user: person, state: message.Pending})
	sent := b.message(t, run, 2, row{state: message.Delivered})
	b.exec(t, `UPDATE messages SET user_id = $1, dedupe_key = 'second' WHERE id = $2`, person, sent)
	b.exec(t, `INSERT INTO attempts (id, message_id, number, state, lease_until, started_at, provider_sid, body_sha256)
		VALUES (gen_random_uuid(), $1, 1, 'accepted', $2, $2, 'SM1', '')`, sent, noon)
	b.exec(t, `INSERT INTO receipts (provider_sid, attempt_id, status, payload, received_at)
		SELECT 'SM1', id, 'delivered', '{"To": "+94771234576"}', $1 FROM attempts`, noon)
	b.exec(t, `INSERT INTO inbound_messages (provider_sid, user_id, channel, intent, body, payload, received_at)
		VALUES ('SM2', $1, 'whatsapp', 'none', 'it is Frank', '{"Body": "it is Frank"}', $2)`, person, noon)
	require.NoError(t, b.SaveIdempotentAnswer(ctx, "local", "k", access.Answer{RequestSHA256: []byte("x"), Status: 201, Body: []byte(`{"phone_number":"+94771234576"}`)}, noon, noon))

	b.exec(t, `INSERT INTO receipts (provider_sid, status, payload, received_at) VALUES ('SM9', 'sent', '{"To": ["whatsapp:+94771234576"]}', $1)`, noon)
	b.erase(t, frank)

	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM users`))
	require.Equal(t, "cancelled user_erased", get[string](t, b, `SELECT state || ' ' || reason FROM messages WHERE id = $1`, waiting))
	require.Equal(t, "delivered", get[string](t, b, `SELECT state FROM messages WHERE id = $1 AND user_id IS NULL`, sent), "the ledger keeps what was sent")
	require.Equal(t, "{} {}", get[string](t, b, `SELECT string_agg(payload::text, ' ') FROM receipts`), "of theirs, and of what is nobody's")
	require.Equal(t, " {}", get[string](t, b, `SELECT body || ' ' || payload::text FROM inbound_messages WHERE user_id IS NULL`))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM idempotency_keys`))
	require.Equal(t, int64(1), get[int64](t, b, `SELECT count(*) FROM outbox WHERE kind = 'recipient.signal'`))
	require.Equal(t, fmt.Sprintf("key:1 user.erase user/%d", person), get[string](t, b, `SELECT principal || ' ' || action || ' ' || subject FROM audit_events ORDER BY id DESC LIMIT 1`))
	_, err := b.EraseUser(ctx, frank, "key:1", noon)
	require.True(t, fault.Is(err, fault.NotFound), err)

	late := message.Report{SID: "SM1", Status: "read", State: message.Read, Payload: []byte(`{"To": "+94771234576"}`)}
	_, err = b.RecordReceipts(ctx, []message.Report{late}, noon)
	require.NoError(t, err)
	require.Equal(t, "{}", get[string](t, b, `SELECT payload::text FROM receipts WHERE status = 'read'`), "what comes later does not name them again")
}

// TestErasure follows the provider's copies of an erased person's messages to their end.
func TestErasure(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 1)
	const number phone.Number = "+94771000001"
	_, a, _ := b.begin(t, run, 1, noon, time.Second)
	require.NoError(t, b.Accept(ctx, a.ID, "SM1", 201, noon))
	_, err := b.Receive(ctx, said("SM2", number, "hello"), noon)
	require.NoError(t, err)

	e := b.erase(t, number)
	require.Equal(t, number, e.Phone)
	require.Equal(t, []int{2, 0}, []int{e.Copies, e.Removed})
	require.JSONEq(t, fmt.Sprintf(`{"erasure_id": %q}`, e.ID), string(get[json.RawMessage](t, b, `SELECT payload FROM outbox WHERE kind = 'erasure.start'`)))
	open, err := b.OpenErasures(ctx, noon)
	require.NoError(t, err)
	require.Equal(t, e.ID, open[0])
	addresses, err := b.OurAddresses(ctx)
	require.NoError(t, err)
	require.Equal(t, []privacy.Address{{Channel: message.WhatsApp, E164: "+14155238886"}}, addresses)

	require.NoError(t, b.AddCopies(ctx, e.ID, []string{"SM1", "SM3"}))
	left, err := b.CopiesLeft(ctx, e.ID, "SM1", 9)
	require.NoError(t, err)
	require.Equal(t, []string{"SM2", "SM3"}, left)
	for _, sid := range []string{"SM1", "SM2", "SM3"} {
		require.NoError(t, b.CopyRemoved(ctx, e.ID, sid, noon))
	}
	done, err := b.CompleteErasure(ctx, e.ID, noon)
	require.NoError(t, err)
	require.False(t, done, "the list may still show more")
	require.NoError(t, b.ForgetNumber(ctx, e.ID))
	done, err = b.CompleteErasure(ctx, e.ID, noon.Add(time.Hour))
	require.NoError(t, err)
	require.True(t, done)
	e, err = b.Erasure(ctx, e.ID)
	require.NoError(t, err)
	require.Equal(t, []int{3, 3}, []int{e.Copies, e.Removed})
	require.Empty(t, e.Phone)
	require.Equal(t, noon.Add(time.Hour), e.CompletedAt.UTC())
	open, err = b.OpenErasures(ctx, noon)
	require.NoError(t, err)
	require.Empty(t, open)
}

// Rows that wait in imports and name the person are dropped, however their number is written; others stay.
func TestErasureFindsWaitingRows(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.user(t, string(frank), "LK", `{}`, "OPT_IN")
	id := b.upload(t, intake.CSV, "phone_number,name,consent_state\n077 123-4576,Frank,OPT_IN\nwhatsapp:+94 77 1234576,Frank,OPT_IN\n+94771234577,Grace,OPT_IN\n+447771234576,Heidi,OPT_IN\n", nil)
	b.erase(t, frank)
	require.EqualValues(t, 2, get[int64](t, b, `SELECT count(*) FROM import_chunks c, unnest(c.records) record WHERE record <> ''`))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM import_chunks WHERE records::text LIKE '%Frank%'`))
	imp := b.process(t, id, 10)
	require.Equal(t, []int{2, 2}, []int{imp.Succeeded, imp.Failed})
	refused, err := b.ImportErrors(t.Context(), id, nil, 9)
	require.NoError(t, err)
	require.Equal(t, 2, refused[0].Line)
	require.Contains(t, refused[0].Detail, "erased")
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM users WHERE phone_number = $1`, string(frank)))

	imp = b.process(t, b.upload(t, intake.CSV, "phone_number,consent_state\n+94771234576,OPT_IN\n", nil), 10)
	require.Equal(t, 1, imp.Succeeded)
	require.Equal(t, []string{"global"}, b.suppressed(t, frank), "whoever imports them again does not write to them")
}

// A person who was erased comes back by their own START alone, or by an operator who lifts the suppression.
func TestErasedPersonComesBack(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.user(t, string(frank), "LK", `{}`, "OPT_IN")
	b.suppress(t, frank, suppression.OnChannel(message.SMS))
	b.erase(t, frank)
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM suppressions WHERE evidence <> ''`), "what was noted goes with them")
	_, err := b.Receive(ctx, said("SM1", frank, "hello?"), noon)
	require.NoError(t, err)
	require.Equal(t, []string{"channel:sms", "global"}, b.suppressed(t, frank))
	_, err = b.Receive(ctx, said("SM2", frank, "START"), noon)
	require.NoError(t, err)
	require.Equal(t, "OPT_IN", b.consent(t, string(frank)))
	require.Equal(t, []string{"channel:sms"}, b.suppressed(t, frank), "what others asked for stays")
	require.Equal(t, "user SM2", get[string](t, b, `SELECT lifted_by || ' ' || lifted_evidence FROM suppressions WHERE lifted_at IS NOT NULL`))
}

// Every way to a state of consent leaves an event, and nothing takes one away.
func TestConsentHistory(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const imported, wrote phone.Number = "+94771234561", "+94771234562"
	id := b.upload(t, intake.CSV, "phone_number\n"+string(imported)+"\n", nil)
	b.process(t, id, 10)
	_, err := b.UpdateUser(ctx, imported, nil, user.Change{State: user.OptIn, Source: user.SourceAPI, Evidence: "form", Wording: "Yes, write to me", CallerIP: "192.0.2.1"}, "key:1", noon)
	require.NoError(t, err)
	tapped := said("SM1", imported, "Stop promotions")
	tapped.ButtonText = "Stop promotions"
	_, err = b.Receive(ctx, tapped, noon)
	require.NoError(t, err)
	_, err = b.UpdateUser(ctx, imported, nil, user.Change{State: user.OptIn, Source: user.SourceOperator, Evidence: "they called"}, "key:2", noon)
	require.NoError(t, err)
	require.NoError(t, b.OptOutByCarrier(ctx, get[int64](t, b, `SELECT id FROM users WHERE phone_number = $1`, string(imported)), "SM9", noon))
	history := func(number phone.Number) (list []string) {
		events, total, err := b.ConsentHistory(ctx, number, nil, 100)
		require.NoError(t, err)
		require.EqualValues(t, len(events), total)
		for _, e := range events {
			list = append(list, fmt.Sprintf("%s<%s %s|%s|%s|%s|%s", e.State, e.Previous, e.Source, e.Evidence, e.Wording, e.CallerIP, e.Actor))
		}
		return list
	}
	require.Equal(t, []string{
		"OPT_OUT<OPT_IN carrier|SM9|||provider",
		"OPT_IN<STOP operator|they called|||key:2",
		"STOP<OPT_IN button|SM1|stop promotions||user",
		"OPT_IN<PENDING api|form|Yes, write to me|192.0.2.1|key:1",
		fmt.Sprintf("PENDING< import|import %s line 2|||key:7", id),
	}, history(imported))

	_, err = b.Receive(ctx, said("SM2", wrote, "stop"), noon)
	require.NoError(t, err)
	require.Equal(t, []string{"STOP<PENDING keyword|SM2|stop||user", "PENDING< keyword|SM2|||user"}, history(wrote))
	again, err := b.Receive(ctx, said("SM2", wrote, "stop"), noon)
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionStop, Changed: true}, again)
	_, err = b.Receive(ctx, said("SM3", "+94771234563", "help"), noon)
	require.NoError(t, err)
	again, err = b.Receive(ctx, said("SM3", "+94771234563", "help"), noon)
	require.NoError(t, err)
	require.False(t, again.Changed, "being added is no change of consent")

	events, _, err := b.ConsentHistory(ctx, imported, nil, 2)
	require.NoError(t, err)
	events, _, err = b.ConsentHistory(ctx, imported, &events[1].ID, 1)
	require.NoError(t, err)
	require.Equal(t, user.Stop, events[0].State)
	_, _, err = b.ConsentHistory(ctx, "+94771234599", nil, 9)
	require.True(t, fault.Is(err, fault.NotFound), err)

	for _, sql := range []string{`UPDATE consent_events SET state = 'OPT_IN'`, `DELETE FROM consent_events`, `TRUNCATE consent_events`} {
		_, err := b.pool.Exec(ctx, sql)
		require.ErrorContains(t, err, "only grows", sql)
	}
	b.erase(t, imported)
	require.EqualValues(t, 3, get[int64](t, b, `SELECT count(*) FROM consent_events`), "a person's history goes with them")
}

// Whatever ends a message that waits is on the record of its checks.
func TestWithdrawalIsOnRecord(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1)`, noon)
	b.people(t, 4, "OPT_IN", "LK", "Asia/Colombo") // +94771000001 to 4
	b.exec(t, `INSERT INTO subscriptions (topic_id, user_id, created_at) SELECT 1, id, $1 FROM users`, noon)
	topic := int64(1)
	run := b.withTopic(t, func(c *campaign.Campaign) { c.SubscriptionTopicID = &topic })
	_, err := b.Receive(ctx, said("SM1", "+94771000001", "STOP"), noon)
	require.NoError(t, err)
	b.suppress(t, "+94771000002", suppression.Global)
	_, err = b.SetSubscription(ctx, "+94771000003", topic, false, user.Change{Source: user.SourceOperator, Evidence: "they called"}, "key:1", noon)
	require.NoError(t, err)
	b.erase(t, "+94771000004")
	for seq, want := range []string{"suppressed stopped", "suppressed suppressed", "suppressed not_subscribed", "cancelled user_erased"} {
		require.Equal(t, want, b.stands(t, run, seq+1))
		d, err := b.Message(ctx, get[uuid.UUID](t, b, `SELECT id FROM messages WHERE seq = $1`, seq+1))
		require.NoError(t, err)
		if d.State == message.Cancelled {
			require.Empty(t, d.Checks)
			continue
		}
		require.Len(t, d.Checks, 1)
		require.Equal(t, []string{"suppress", d.Reason}, []string{d.Checks[0].Action, d.Checks[0].Reason})
		require.Equal(t, compliance.Finding{Step: compliance.StepConsent, Result: compliance.Failed, Detail: d.Reason}, d.Verdicts()[0])
	}
}

func TestUserRecord(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 1)
	const number phone.Number = "+94771000001"
	b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1)`, noon)
	b.exec(t, `INSERT INTO subscriptions (topic_id, user_id, created_at) SELECT 1, id, $1 FROM users`, noon)
	_, a, _ := b.begin(t, run, 1, noon, time.Second)
	require.NoError(t, b.Accept(ctx, a.ID, "SM1", 201, noon))
	_, err := b.RecordReceipts(ctx, []message.Report{{SID: "SM1", Status: "delivered", State: message.Delivered, Payload: []byte(`{"To": ["whatsapp:+94771000001"]}`)}}, noon)
	require.NoError(t, err)
	_, err = b.Receive(ctx, said("SM2", number, "thank you"), noon)
	require.NoError(t, err)
	b.suppress(t, number, suppression.OnChannel(message.SMS))

	r, err := b.UserRecord(ctx, number, "key:1", noon)
	require.NoError(t, err)
	require.Equal(t, number, r.User.Phone)
	require.Equal(t, "News", r.Subscriptions[0].Topic)
	require.Equal(t, suppression.OnChannel(message.SMS), r.Suppressions[0].Scope)
	require.Len(t, r.Messages, 1)
	require.Equal(t, message.Delivered, r.Messages[0].State)
	require.Equal(t, "SM1", r.Messages[0].Attempts[0].SID)
	require.JSONEq(t, `{"To": ["whatsapp:+94771000001"]}`, string(r.Messages[0].Attempts[0].Receipts[0].Payload))
	require.Equal(t, "thank you", r.Inbound[0].Body)
	require.JSONEq(t, `{"Body": ["…"]}`, string(r.Inbound[0].Payload))
	require.Equal(t, "key:1 user.export", get[string](t, b, `SELECT principal || ' ' || action FROM audit_events ORDER BY id DESC LIMIT 1`))
	_, err = b.UserRecord(ctx, frank, "key:1", noon)
	require.True(t, fault.Is(err, fault.NotFound), err)
}

func TestRetire(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const days = 10
	b.exec(t, `INSERT INTO receipts (provider_sid, status, payload, received_at)
		SELECT 'SM' || n, 'sent', '{"To": "x"}', $1::timestamptz - make_interval(days => $2 - n) FROM generate_series(1, $2) n`, noon, days)
	b.exec(t, `INSERT INTO inbound_messages (provider_sid, channel, intent, body, payload, received_at)
		SELECT 'SM' || n, 'sms', 'none', 'hi', '{"Body": "hi"}', $1::timestamptz - make_interval(days => $2 - n) FROM generate_series(1, $2) n`, noon, days)
	retire := func(f func() (int, bool, error)) (total int) {
		for more := true; more; {
			var n int
			var err error
			n, more, err = f()
			require.NoError(t, err)
			require.LessOrEqual(t, n, 2)
			total += n
		}
		return total
	}
	before := noon.Add(-5*24*time.Hour + time.Minute) // five of the ten are older
	require.Equal(t, 4, retire(func() (int, bool, error) { return b.Retire(ctx, privacy.ReceiptPayloads, before.Add(-time.Hour), 2) }))
	require.Equal(t, 1, retire(func() (int, bool, error) { return b.Retire(ctx, privacy.ReceiptPayloads, before, 2) }))
	require.Zero(t, retire(func() (int, bool, error) { return b.Retire(ctx, privacy.ReceiptPayloads, before, 2) }), "done is done")
	require.EqualValues(t, 5, get[int64](t, b, `SELECT count(*) FROM receipts WHERE payload = '{}'`))
	require.EqualValues(t, 5, get[int64](t, b, `SELECT max(id) FROM receipts WHERE payload = '{}'`))

	require.Equal(t, 5, retire(func() (int, bool, error) { return b.Retire(ctx, privacy.InboundPayloads, before, 2) }))
	require.EqualValues(t, 10, get[int64](t, b, `SELECT count(*) FROM inbound_messages WHERE body <> ''`))
	require.Equal(t, 10, retire(func() (int, bool, error) { return b.Retire(ctx, privacy.InboundBodies, noon.Add(time.Minute), 2) }))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM inbound_messages WHERE body <> '' OR payload <> '{}'`), "the payload holds the text too")

	b.exec(t, `INSERT INTO imports (id, file_name, format, total, status, created_by, created_at, completed_at) VALUES ($1, '', 'csv', 0, 'FAILED', 'test', $2, $2)`, uuid.New(), before)
	b.exec(t, `INSERT INTO import_errors (import_id, line, field, detail, record) SELECT id, n, '', '', CASE WHEN n > 1 THEN '+94771' ELSE '' END FROM imports, generate_series(1, 6) n`)
	records := func(moment time.Time) int {
		return retire(func() (int, bool, error) { return b.Retire(ctx, privacy.ImportRecords, moment, 2) })
	}
	require.Zero(t, records(before))
	require.Equal(t, 5, records(before.Add(time.Second)))
	require.Zero(t, records(noon), "done is done")
}

// TestEverythingAboutAPersonIsKnown: whoever adds a table that tells of people adds what of it an export shows and an erasure
// leaves, and then its name here.
func TestEverythingAboutAPersonIsKnown(t *testing.T) {
	t.Parallel()
	b := open(t)
	require.Equal(t, []string{
		"consent_events", "enrolments", "inbound_messages", "invitations", "messages", "portfolio_places", "segment_members",
		"subscription_events", "subscriptions", "suppressions",
	}, get[[]string](t, b, `SELECT array_agg(DISTINCT table_name::text ORDER BY table_name::text) FROM information_schema.columns
		WHERE table_schema = 'public' AND column_name = 'user_id'`))
}
