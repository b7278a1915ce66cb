package activities_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/privacy"
)

// archive is a provider whose list comes to show messages later, and that holds some back.
type archive struct {
	messages []message.Remote
	held     map[string]int // how often a removal is refused
}

func (a *archive) List(_ context.Context, channel message.Channel, from, to string, _ time.Time) ([]message.Remote, error) {
	var found []message.Remote
	for _, m := range a.messages {
		if channel == message.WhatsApp && m.From == from && m.To == to {
			found = append(found, m)
		}
	}
	return found, nil
}

func (a *archive) Delete(_ context.Context, sid string) error {
	if a.held[sid] > 0 {
		a.held[sid]--
		return fault.New(fault.Conflict, "not yet")
	}
	before := len(a.messages)
	a.messages = slices.DeleteFunc(a.messages, func(m message.Remote) bool { return m.SID == sid })
	if len(a.messages) == before {
		return fault.New(fault.NotFound, "unknown")
	}
	return nil
}

func TestEraseCopies(t *testing.T) {
	t.Parallel()
	const person, other = "+94771000001", "+94771000002"
	w := newWorld(t, 1, noon, nil)
	erasure, err := w.EraseUser(t.Context(), person, "tester", noon)
	require.NoError(t, err)
	require.NoError(t, w.AddCopies(t.Context(), erasure.ID, []string{"SMgone"})) // known of, and gone already

	at := func(sid, from, to string, d time.Duration) message.Remote {
		return message.Remote{SID: sid, From: from, To: to, CreatedAt: noon.Add(d)}
	}
	provider := &archive{held: map[string]int{"SMheld": 2}, messages: []message.Remote{
		at("SMreply", ours, person, -time.Hour), at("SMin", person, ours, -time.Hour), at("SMheld", ours, person, -time.Minute),
		at("SMother", ours, other, -time.Hour), at("SMback", person, ours, time.Hour),
	}}
	now := noon
	a := &activities.Privacy{
		Store: w, Provider: provider, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Settled: 10 * time.Minute,
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(a)
	pass := func() (step activities.ErasureStep) {
		t.Helper()
		answer, err := env.ExecuteActivity(a.EraseCopies, outbox.Erasure{ErasureID: erasure.ID})
		require.NoError(t, err)
		require.NoError(t, answer.Get(&step))
		return step
	}
	stands := func() privacy.Erasure {
		t.Helper()
		e, err := w.Erasure(t.Context(), erasure.ID)
		require.NoError(t, err)
		return e
	}

	step := pass()
	require.False(t, step.Done)
	require.WithinRange(t, step.At, noon.Add(5*time.Second), noon.Add(7*time.Second))
	require.Equal(t, []int{4, 3}, []int{stands().Copies, stands().Removed})

	now = noon.Add(5 * time.Minute)
	provider.messages = append(provider.messages, at("SMlate", ours, person, time.Second)) // the list lagged
	step = pass()
	require.False(t, step.Done)
	require.Equal(t, noon.Add(10*time.Minute), step.At.UTC(), "the list is read once more when it has settled")
	require.EqualValues(t, person, stands().Phone)

	now = noon.Add(10 * time.Minute)
	step = pass()
	require.True(t, step.Done)
	require.Empty(t, stands().Phone)
	require.Equal(t, []int{5, 5}, []int{stands().Copies, stands().Removed})
	require.ElementsMatch(t, []string{"SMother", "SMback"}, []string{provider.messages[0].SID, provider.messages[1].SID}, "what is not of it stays")
	require.Len(t, provider.messages, 2)
	require.True(t, pass().Done)

	erasure.ID = uuid.New()
	_, err = env.ExecuteActivity(a.EraseCopies, outbox.Erasure{ErasureID: erasure.ID})
	require.ErrorContains(t, err, "does not exist")
}

func TestRetireByPeriod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, noon, nil)
	w.exec(t, `INSERT INTO receipts (provider_sid, status, payload, received_at)
		SELECT 'SM' || n, 'sent', '{"To": "x"}', $1::timestamptz - make_interval(days => n) FROM generate_series(1, 10) n`, noon)
	w.exec(t, `INSERT INTO inbound_messages (provider_sid, channel, intent, body, payload, received_at)
		SELECT 'SM' || n, 'sms', 'none', 'hi', '{"Body": "hi"}', $1::timestamptz - make_interval(days => 11 - n) FROM generate_series(1, 10) n`, noon)
	w.exec(t, `INSERT INTO imports (id, file_name, format, total, status, created_by, created_at, completed_at)
		SELECT gen_random_uuid(), '', 'csv', 0, 'FAILED', 'test', $1, CASE WHEN n <= 10 THEN $1::timestamptz - make_interval(days => n) END FROM generate_series(1, 11) n`, noon)
	w.exec(t, `INSERT INTO import_errors (import_id, line, field, detail, record) SELECT id, 2, '', '', '+94771' FROM imports`)
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	a := &activities.Privacy{Store: w, Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler)}
	env.RegisterActivity(a)
	kept := func() string {
		return w.text(t, `SELECT concat_ws(' ', (SELECT count(*) FROM receipts WHERE payload <> '{}'),
			(SELECT count(*) FROM inbound_messages WHERE payload <> '{}'), (SELECT count(*) FROM inbound_messages WHERE body <> ''),
			(SELECT count(*) FROM import_errors WHERE record <> ''))`)
	}
	_, err := env.ExecuteActivity(a.Retire)
	require.NoError(t, err)
	require.Equal(t, "10 10 10 11", kept(), "without periods all is kept")
	a.Retention = privacy.Retention{privacy.InboundBodies: 8 * 24 * time.Hour}
	_, err = env.ExecuteActivity(a.Retire)
	require.NoError(t, err)
	require.Equal(t, "10 8 8 11", kept())
	const almostADay = 24*time.Hour - time.Minute
	a.Retention = privacy.Retention{
		privacy.ReceiptPayloads: almostADay, privacy.InboundPayloads: almostADay, privacy.InboundBodies: 8 * 24 * time.Hour, privacy.ImportRecords: 8 * 24 * time.Hour,
	}
	_, err = env.ExecuteActivity(a.Retire)
	require.NoError(t, err)
	require.Equal(t, "0 0 8 9", kept(), "one that is not over keeps its rows")
}
