package db_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
)

// unknown gives up on the run's message seq and returns its id and its attempt.
func (b books) unknown(t *testing.T, run ledger.Run, seq int) (uuid.UUID, ledger.Attempt) {
	t.Helper()
	d, a, begun := b.begin(t, run, seq, noon, time.Second)
	require.Equal(t, ledger.BegunNow, begun)
	require.NoError(t, b.GiveUp(t.Context(), a.ID, message.ReasonUnresolved, noon))
	require.Equal(t, "unknown unresolved", b.stands(t, run, seq))
	return d.MessageID, a
}

func TestDecideSent(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 1)
	id, a := b.unknown(t, run, 1)
	require.NoError(t, b.FinishRun(ctx, run, noon))
	b.outbox(t)

	m, err := b.Decide(ctx, id, ledger.DecidedSent, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, message.Sent, m.State)
	require.Equal(t, "sent decided_sent", b.stands(t, run, 1))
	undecided, _, err := b.UndecidedMessages(ctx, run.ID)
	require.NoError(t, err)
	require.Zero(t, undecided, "no receipt is awaited")
	require.Empty(t, b.outbox(t))
	require.Equal(t, "unknown", get[string](t, b, `SELECT state FROM attempts`))
	require.JSONEq(t, `{"state": "sent", "outcome": "sent"}`, get[string](t, b, `SELECT detail::text FROM audit_events WHERE action = 'message.decide' AND principal = 'tester'`))
	_, err = b.Decide(ctx, id, ledger.DecidedNotSent, "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict))
	b.addsUp(t, run)

	r := receipt(1, message.Delivered)
	r.AttemptID = &a.ID
	b.report(t, r)
	require.Equal(t, "delivered", b.stands(t, run, 1), "a late receipt outweighs it")
}

func TestDecideNotSent(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 2)
	id, _ := b.unknown(t, run, 1)
	b.accepted(t, run, 2)
	require.NoError(t, b.FinishRun(ctx, run, noon))
	require.NoError(t, b.SettleRun(ctx, run.ID, noon))
	b.outbox(t)

	_, err := b.Decide(ctx, id, ledger.DecidedNotSent, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, "pending provider_retry", b.stands(t, run, 1))
	require.Equal(t, []string{"campaign.start", "recipient.signal 1", "campaign.wake"}, b.outbox(t))
	require.Nil(t, b.load(t, run.ID).SettledAt, "its run goes on")
	require.Equal(t, "absent", get[string](t, b, `SELECT state FROM attempts WHERE message_id = $1`, id))
	b.addsUp(t, run)

	_, again, begun := b.begin(t, run, 1, noon, time.Second)
	require.Equal(t, ledger.BegunNow, begun)
	require.NoError(t, b.Accept(ctx, again.ID, "SMagain", 201, noon))
	require.Equal(t, "accepted", b.stands(t, run, 1))
	b.addsUp(t, run)
	_, err = b.Decide(ctx, uuid.New(), ledger.DecidedSent, "tester", noon)
	require.True(t, fault.Is(err, fault.NotFound))
}

func TestDecideNotSentOfWhatIsOver(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 3)
	for seq, want := range map[int]string{1: "cancelled user_erased", 2: "failed attempts_spent", 3: "cancelled campaign_cancelled"} {
		id, _ := b.unknown(t, run, seq)
		switch seq {
		case 1:
			b.erase(t, phone.Number(get[string](t, b, `SELECT u.phone_number FROM users u JOIN messages m ON m.user_id = u.id WHERE m.id = $1`, id)))
		case 2:
			b.exec(t, `INSERT INTO attempts (id, message_id, number, state, lease_until, started_at, ended_at, body_sha256)
				SELECT gen_random_uuid(), $1, n, 'absent', $2, $2, $2, '' FROM generate_series(2, $3) n`, id, noon, message.MaxAttempts)
			b.exec(t, `UPDATE messages SET attempt_count = $2 WHERE id = $1`, id, message.MaxAttempts)
		case 3:
			b.exec(t, `UPDATE campaigns SET status = $1`, string(campaign.Cancelled))
		}
		b.outbox(t)
		_, err := b.Decide(ctx, id, ledger.DecidedNotSent, "tester", noon)
		require.NoError(t, err)
		require.Equal(t, want, b.stands(t, run, seq))
		require.Empty(t, b.outbox(t))
		b.exec(t, `UPDATE campaigns SET status = 'RUNNING'`)
	}
	b.addsUp(t, run)
}

func TestUnknownMessages(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 4)
	want := map[uuid.UUID]bool{}
	for seq := 1; seq <= 3; seq++ {
		id, _ := b.unknown(t, run, seq)
		want[id] = true
	}
	page, total, err := b.UnknownMessages(ctx, nil, 2)
	require.NoError(t, err)
	require.Equal(t, 3, total)
	require.Len(t, page, 2)
	rest, _, err := b.UnknownMessages(ctx, &page[1].ID, 2)
	require.NoError(t, err)
	require.Len(t, rest, 1)
	for _, m := range append(page, rest...) {
		require.True(t, want[m.ID])
		delete(want, m.ID)
	}
	require.Empty(t, want)
}
