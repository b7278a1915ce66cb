package db_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/user"
)

// suppress adds one number to the list.
func (b books) suppress(t *testing.T, number phone.Number, scope suppression.Scope) []suppression.Entry {
	t.Helper()
	added, err := b.AddSuppressions(t.Context(), []suppression.New{{Phone: number, Scope: scope, Reason: suppression.Complaint, Evidence: "ticket 7"}},
		suppression.FromAPI, "key:1", noon)
	require.NoError(t, err)
	return added
}

// suppressed is what a person's row says.
func (b books) suppressed(t *testing.T, number phone.Number) []string {
	t.Helper()
	return get[[]string](t, b, `SELECT suppressed FROM users WHERE phone_number = $1`, string(number))
}

func TestSuppressionOfSomebodyKnown(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.user(t, string(frank), "LK", `{}`, "OPT_IN")
	sms := b.suppress(t, frank, suppression.OnChannel(message.SMS))
	require.Len(t, sms, 1)
	require.Equal(t, frank, sms[0].Phone)
	require.Empty(t, b.suppress(t, frank, suppression.OnChannel(message.SMS)), "once is enough")
	all := b.suppress(t, frank, suppression.Global)
	require.Equal(t, []string{"channel:sms", "global"}, b.suppressed(t, frank))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM suppressions s WHERE s::text LIKE '%771234576%'`), "the list does not hold the number")

	entries, total, err := b.Suppressions(ctx, suppression.Filter{}, nil, 1)
	require.NoError(t, err)
	require.EqualValues(t, 2, total)
	require.Equal(t, all[0].ID, entries[0].ID)
	entries, total, err = b.Suppressions(ctx, suppression.Filter{Phone: frank, Scope: "channel:sms"}, nil, 9)
	require.NoError(t, err)
	require.EqualValues(t, 1, total)
	require.Equal(t, sms[0].ID, entries[0].ID)
	_, total, err = b.Suppressions(ctx, suppression.Filter{Phone: "+94771234599"}, nil, 9)
	require.NoError(t, err)
	require.Zero(t, total)

	lifted, err := b.LiftSuppression(ctx, all[0].ID, "a letter", "key:2", noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, []string{"key:2", "a letter"}, []string{lifted.LiftedBy, lifted.LiftedEvidence})
	require.Equal(t, []string{"channel:sms"}, b.suppressed(t, frank))
	_, err = b.LiftSuppression(ctx, all[0].ID, "again", "key:2", noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	_, err = b.LiftSuppression(ctx, 99, "nothing", "key:2", noon)
	require.True(t, fault.Is(err, fault.NotFound), err)
	_, total, err = b.Suppressions(ctx, suppression.Filter{}, nil, 9)
	require.NoError(t, err)
	require.EqualValues(t, 1, total)
	_, total, err = b.Suppressions(ctx, suppression.Filter{WithLifted: true}, nil, 9)
	require.NoError(t, err)
	require.EqualValues(t, 2, total)
	require.Len(t, b.suppress(t, frank, suppression.Global), 1, "what was lifted may come again")
}

// Whoever is added after their number was suppressed is suppressed, whichever way they are added.
func TestSuppressionOfSomebodyUnknown(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const byAPI, byImport, byWriting, free phone.Number = "+94771234561", "+94771234562", "+94771234563", "+94771234564"
	for _, number := range []phone.Number{byAPI, byImport, byWriting} {
		require.Empty(t, b.suppress(t, number, suppression.Global)[0].Phone)
	}
	u, err := b.CreateUser(ctx, byAPI, nil, user.Change{State: user.OptIn, Source: user.SourceAPI}, "key:1", noon)
	require.NoError(t, err)
	require.Equal(t, []suppression.Scope{suppression.Global}, u.Suppressed)
	imp := b.process(t, b.upload(t, intake.CSV, "phone_number,consent_state\n"+string(byImport)+",OPT_IN\n"+string(free)+",OPT_IN\n", nil), 10)
	require.Equal(t, 2, imp.Succeeded)
	_, err = b.Receive(ctx, said("SM1", byWriting, "hello"), noon)
	require.NoError(t, err)
	for _, number := range []phone.Number{byAPI, byImport, byWriting} {
		require.Equal(t, []string{"global"}, b.suppressed(t, number), number)
	}
	require.Empty(t, b.suppressed(t, free))
	entries, _, err := b.Suppressions(ctx, suppression.Filter{Phone: byImport}, nil, 9)
	require.NoError(t, err)
	require.Equal(t, byImport, entries[0].Phone, "now somebody known has it")
}

func TestSuppressionsOfTopics(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1)`, noon)
	require.Len(t, b.suppress(t, frank, suppression.OnTopic(1)), 1)
	_, err := b.AddSuppressions(ctx, []suppression.New{{Phone: frank, Scope: suppression.OnTopic(2)}}, suppression.FromAPI, "key:1", noon)
	require.True(t, fault.Is(err, fault.Invalid), err)
	require.ErrorContains(t, err, "topic 2")
}

// The freeze leaves out who is suppressed for the campaign, a send does, and what waits ends at once.
func TestSuppressionForbids(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		scope   suppression.Scope
		topic   bool // the campaign is to its subscribers
		forbids bool
	}{
		"everything":     {suppression.Global, false, true},
		"the channel":    {suppression.OnChannel(message.WhatsApp), false, true},
		"other channels": {suppression.OnChannel(message.SMS), false, false},
		"the topic":      {suppression.OnTopic(1), true, true},
		"other topics":   {suppression.OnTopic(2), true, false},
		"no topic":       {suppression.OnTopic(1), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, ctx := open(t), t.Context()
			b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1), ('Offers', $1)`, noon)
			b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
			b.exec(t, `INSERT INTO subscriptions (topic_id, user_id, created_at) SELECT 1, id, $1 FROM users`, noon)
			run := b.triggered(t)
			if tt.topic {
				b.exec(t, `UPDATE campaigns SET subscription_topic_id = 1`)
			}
			const before, after phone.Number = "+94771000001", "+94771000002"
			b.suppress(t, before, tt.scope)
			audience := b.verdicts(t, run.CampaignID, noon)
			require.NoError(t, b.Freeze(ctx, run, noon))
			if !tt.forbids {
				require.Len(t, audience, 1)
				b.suppress(t, after, tt.scope)
				require.EqualValues(t, 2, get[int64](t, b, `SELECT count(*) FROM messages WHERE state = 'pending'`))
				_, _, begun := b.begin(t, run, 1, noon, time.Second)
				require.Equal(t, ledger.BegunNow, begun)
				return
			}
			require.Len(t, audience, 2)
			require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM messages m JOIN users u ON u.id = m.user_id
				WHERE m.state = 'suppressed' AND m.reason = 'suppressed' AND u.phone_number = $1`, string(before)))
			d := b.delivery(t, run, 1)
			require.False(t, d.Suppressed)
			b.suppress(t, after, tt.scope)
			require.EqualValues(t, 2, get[int64](t, b, `SELECT count(*) FROM messages WHERE state = 'suppressed' AND reason = 'suppressed'`))
			require.Contains(t, b.outbox(t), "recipient.signal 1", "its workflow is told")

			b.exec(t, `UPDATE messages SET state = 'pending', reason = '', ended_at = NULL WHERE id = $1`, d.MessageID)
			begun, err := b.Begin(ctx, d, attemptAt(noon, time.Second), nil)
			require.NoError(t, err)
			require.Equal(t, ledger.NotConsenting, begun, "a send that was judged before does not begin")
			verdict, _ := b.delivery(t, run, 1).Check(noon)
			require.EqualValues(t, "suppressed", verdict.Reason)
		})
	}
}

// An entry under an earlier key holds, and comes under the present one when its number is met.
func TestSuppressionKeysRotate(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.suppress(t, frank, suppression.Global)
	url := b.pool.Config().ConnString()
	withKeys := func(keys suppression.Keys) books {
		store, err := db.Open(ctx, url, db.SuppressionKeys(keys))
		require.NoError(t, err)
		t.Cleanup(store.Close)
		return books{Store: store, pool: b.pool}
	}
	present := strings.Repeat("n", suppression.MinKeyBytes)
	stranger := withKeys(suppression.NewKeys(present))
	require.ErrorContains(t, stranger.CheckSuppressionKeys(ctx), dbtest.Keys.ID(), "it would miss who is suppressed")
	require.NoError(t, b.CheckSuppressionKeys(ctx))

	rotated := withKeys(append(suppression.NewKeys(present), dbtest.Keys...))
	require.NoError(t, rotated.CheckSuppressionKeys(ctx))
	u, err := rotated.CreateUser(ctx, frank, nil, user.Change{State: user.OptIn, Source: user.SourceAPI}, "key:1", noon)
	require.NoError(t, err)
	require.Equal(t, []suppression.Scope{suppression.Global}, u.Suppressed)
	require.NoError(t, stranger.CheckSuppressionKeys(ctx), "nothing is left under the earlier key")
	require.Empty(t, rotated.suppress(t, frank, suppression.Global))

	keyless := withKeys(nil)
	_, err = keyless.CreateUser(ctx, "+94771234570", nil, user.Change{}, "key:1", noon)
	require.ErrorContains(t, err, "no key", "nobody is added by who cannot tell whether they are suppressed")
}

// While one side adds people and the other numbers, nobody slips through.
func TestSuppressionAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const rounds = 20
	for i := range rounds {
		number := phone.Number("+9477123" + strings.Repeat("0", 2) + string(rune('0'+i/10)) + string(rune('0'+i%10)))
		done := make(chan error, 2)
		go func() {
			_, err := b.CreateUser(ctx, number, nil, user.Change{State: user.OptIn, Source: user.SourceAPI}, "key:1", noon)
			done <- err
		}()
		go func() {
			_, err := b.AddSuppressions(ctx, []suppression.New{{Phone: number, Scope: suppression.Global, Reason: suppression.Other}}, suppression.FromAPI, "key:1", noon)
			done <- err
		}()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.Equal(t, []string{"global"}, b.suppressed(t, number))
	}
}
