package ledger_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	unknown := func(tries int) []ledger.Attempt {
		attempts := slices.Repeat([]ledger.Attempt{{State: ledger.Absent}}, tries-1)
		attempts = append(attempts, ledger.Attempt{State: ledger.Unknown})
		for i := range attempts {
			attempts[i].ID, attempts[i].Number = uuid.New(), i+1
		}
		return attempts
	}
	for _, tt := range []struct {
		name     string
		decision ledger.Decision
		tries    int
		status   campaign.Status
		erased   bool
		state    message.State
		reason   string
	}{
		{"sent", ledger.DecidedSent, 1, campaign.Running, false, message.Sent, "decided_sent"},
		{"sent, of a cancelled campaign", ledger.DecidedSent, 1, campaign.Cancelled, false, message.Sent, "decided_sent"},
		{"sent, of a person who is gone", ledger.DecidedSent, 1, campaign.Completed, true, message.Sent, "decided_sent"},
		{"not sent", ledger.DecidedNotSent, 1, campaign.Running, false, message.Pending, "provider_retry"},
		{"not sent, paused", ledger.DecidedNotSent, 4, campaign.Paused, false, message.Pending, "provider_retry"},
		{"not sent, completed", ledger.DecidedNotSent, 1, campaign.Completed, false, message.Pending, "provider_retry"},
		{"not sent, cancelled", ledger.DecidedNotSent, 1, campaign.Cancelled, false, message.Cancelled, "campaign_cancelled"},
		{"not sent, failed", ledger.DecidedNotSent, 1, campaign.Failed, false, message.Cancelled, "campaign_cancelled"},
		{"not sent, erased", ledger.DecidedNotSent, 1, campaign.Running, true, message.Cancelled, "user_erased"},
		{"not sent, often enough", ledger.DecidedNotSent, 5, campaign.Running, false, message.Failed, "attempts_spent"},
	} {
		m, attempts := ledger.Message{State: message.Unknown, Reason: "unresolved", EndedAt: &at}, unknown(tt.tries)
		require.NoError(t, m.Decide(attempts, tt.decision, tt.status, tt.erased, at), tt.name)
		require.Equal(t, []any{tt.state, tt.reason}, []any{m.State, m.Reason}, tt.name)
		require.Equal(t, tt.state == message.Cancelled || tt.state == message.Failed, m.EndedAt != nil, tt.name)
		require.Equal(t, tt.state == message.Pending, m.WaitsUntil != nil, tt.name)
		last := attempts[tt.tries-1].State
		if tt.decision == ledger.DecidedSent {
			require.Equal(t, ledger.Unknown, last, tt.name)
			require.NotNil(t, m.AcceptedAt, tt.name)
			require.NotNil(t, m.SentAt, tt.name)
		} else {
			require.Equal(t, ledger.Absent, last, tt.name)
		}
	}
	for _, state := range message.States() {
		m := ledger.Message{State: state}
		if state != message.Unknown {
			require.True(t, fault.Is(m.Decide(unknown(1), ledger.DecidedSent, campaign.Running, false, at), fault.Conflict), state)
			require.Equal(t, state, m.State)
		}
	}
	m := ledger.Message{State: message.Unknown}
	require.True(t, fault.Is(m.Decide(unknown(1), "perhaps", campaign.Running, false, at), fault.Invalid))
}

// TestReceiptAfterADecision: what the provider says later outweighs what a person decided.
func TestReceiptAfterADecision(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		decision ledger.Decision
		report   message.State
		want     message.State
		reason   string
	}{
		{ledger.DecidedSent, message.Accepted, message.Sent, "decided_sent"},
		{ledger.DecidedSent, message.Sent, message.Sent, "decided_sent"},
		{ledger.DecidedSent, message.Delivered, message.Delivered, ""},
		{ledger.DecidedSent, message.Undelivered, message.Undelivered, "provider_error"},
		{ledger.DecidedNotSent, message.Accepted, message.Accepted, ""},
		{ledger.DecidedNotSent, message.Read, message.Read, ""},
	} {
		m := ledger.Message{State: message.Unknown, Reason: "unresolved"}
		attempts := []ledger.Attempt{{ID: uuid.New(), Number: 1, State: ledger.Unknown}}
		require.NoError(t, m.Decide(attempts, tt.decision, campaign.Running, false, at))
		m.Apply(attempts, 0, message.Report{SID: "SM1", State: tt.report}, at)
		require.Equal(t, []any{tt.want, tt.reason, ledger.Accepted}, []any{m.State, m.Reason, attempts[0].State}, "%s, then %s", tt.decision, tt.report)
	}
}
