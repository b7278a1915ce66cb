package message_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/message"
)

func TestAdvance(t *testing.T) {
	t.Parallel()
	const none = message.State("")
	for _, tt := range []struct {
		known, report, want message.State
		moved               bool
	}{
		{none, message.Sent, message.Sent, true},
		{none, message.Read, message.Read, true},
		{none, none, none, false},
		{none, message.Pending, none, false},
		{message.Accepted, message.Accepted, message.Accepted, false},
		{message.Accepted, message.Sent, message.Sent, true},
		{message.Sent, message.Accepted, message.Sent, false},
		{message.Sent, message.Failed, message.Failed, true},
		{message.Sent, message.Undelivered, message.Undelivered, true},
		{message.Failed, message.Sent, message.Failed, false},
		{message.Failed, message.Undelivered, message.Failed, false},
		{message.Undelivered, message.Failed, message.Undelivered, false},
		{message.Failed, message.Delivered, message.Delivered, true},
		{message.Undelivered, message.Read, message.Read, true},
		{message.Delivered, message.Failed, message.Delivered, false},
		{message.Delivered, message.Read, message.Read, true},
		{message.Read, message.Delivered, message.Read, false},
		{message.Suppressed, message.Delivered, message.Delivered, true},
	} {
		got, moved := message.Advance(tt.known, tt.report)
		require.Equal(t, tt.want, got, "%s, then %s", tt.known, tt.report)
		require.Equal(t, tt.moved, moved, "%s, then %s", tt.known, tt.report)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	var open, undecided []message.State
	for _, s := range message.States() {
		require.True(t, s.Valid())
		if s.Open() {
			open = append(open, s)
		}
		if s.Undecided() {
			undecided = append(undecided, s)
		}
	}
	require.Equal(t, []message.State{message.Pending, message.Sending}, open)
	require.Equal(t, []message.State{message.Accepted, message.Sent}, undecided)
	require.False(t, message.State("").Valid())
	require.False(t, message.State("queued").Valid())
}

func TestBusy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		outcome message.Outcome
		busy    bool
	}{
		{"throttled", message.Outcome{Result: message.ResultRefused, HTTPStatus: http.StatusTooManyRequests}, true},
		{"unreachable", message.Outcome{Result: message.ResultRefused}, true},
		{"refused", message.Outcome{Result: message.ResultRefused, HTTPStatus: http.StatusBadRequest}, false},
		{"timed out", message.Outcome{Result: message.ResultUnknown}, false},
		{"accepted", message.Outcome{Result: message.ResultAccepted, HTTPStatus: http.StatusCreated}, false},
	} {
		require.Equal(t, tt.busy, tt.outcome.Busy(), tt.name)
	}
}
