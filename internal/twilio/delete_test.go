package twilio_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/twilio"
	"github.com/event-stream-engine/ese/internal/twiliosim"
)

func TestDelete(t *testing.T) {
	t.Parallel()
	now := time.Now()
	sim, err := twiliosim.New(twiliosim.Config{
		AccountSID: account, AuthToken: token, DataDir: t.TempDir(), Now: func() time.Time { return now },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	c := newContract(t, sim.Handler())
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	ours, err := twilio.New(twilio.Config{AccountSID: account, AuthToken: token, BaseURL: server.URL})
	require.NoError(t, err)
	t.Cleanup(ours.Close)
	sent := ours.Send(t.Context(), message.Outbound{
		AttemptID: uuid.New(), Channel: message.WhatsApp, From: sender, To: person, Body: "Hello", Validity: time.Hour, Lease: time.Now().Add(10 * time.Second),
	})
	require.Equal(t, message.ResultAccepted, sent.Result)

	require.True(t, fault.Is(ours.Delete(t.Context(), sent.SID), fault.Conflict), "it is still on its way")
	now = now.Add(time.Minute)
	require.NoError(t, ours.Delete(t.Context(), sent.SID))
	for _, sid := range []string{sent.SID, "../Calls/CA1", ""} {
		require.True(t, fault.Is(ours.Delete(t.Context(), sid), fault.NotFound), sid)
	}
	list, err := ours.List(t.Context(), message.WhatsApp, sender, person, time.Time{})
	require.NoError(t, err)
	require.Empty(t, list)
	c.require(t)
	require.Equal(t, 3, c.operations["DELETE "+onePath])
}
