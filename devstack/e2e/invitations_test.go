package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// People from a file are asked for their consent; the reply that comes by webhook is their consent, with its evidence.
func TestDoubleOptIn(t *testing.T) {
	w := newWorld(t, nil)
	invitations := w.live("Anywhere", "invitation", "", nil)
	numbers := []string{"+94770000001", "+94770000002", "+94770000003"}
	rows := make([]object, len(numbers))
	for i, number := range numbers {
		rows[i] = object{"phone_number": number, "name": "Ann", "city": "Galle"}
	}
	w.api("POST", "/api/v1/users/bulk?invite=true", rows)
	w.until("the invitations to be delivered", func() bool {
		return w.count(fmt.Sprintf(`SELECT count(*) FROM messages m JOIN campaign_runs r ON r.id = m.run_id
			WHERE r.campaign_id = %d AND m.state = 'delivered'`, invitations)) == len(numbers)
	})
	write := func(number, sid, body string) {
		t.Helper()
		for range 2 {
			var answer struct{ Status int }
			w.sim("POST", "/sim/inbound", object{"from": number, "to": "+14155238886", "body": body, "sid": sid}, &answer)
			require.Equal(t, http.StatusOK, answer.Status)
		}
	}
	sids := []string{"SM" + strings.Repeat("1", 32), "SM" + strings.Repeat("2", 32), "SM" + strings.Repeat("3", 32)}
	write(numbers[0], sids[0], "YES")
	write(numbers[1], sids[1], "Stop")
	write(numbers[2], sids[2], "who is this?")
	for i, want := range []string{"OPT_IN", "STOP", "PENDING"} {
		require.Equal(t, want, w.api("GET", "/api/v1/users/%2B"+numbers[i][1:], nil)["consent_state"])
	}
	invitation := w.api("GET", "/api/v1/users/%2B"+numbers[0][1:]+"/consent/invitation", nil)
	require.NotNil(t, invitation["confirmed_at"])
	said := w.api("GET", "/api/v1/users/%2B"+numbers[0][1:]+"/consent/history", nil)["events"].([]any)[0].(object)
	require.Equal(t, sids[0], said["evidence"])
	require.Equal(t, invitation["message_id"], said["invitation_message_id"])
	require.Contains(t, said["wording"], "{name}", "the text that was shown")
	w.until("the confirmation to be thanked for", func() bool { return len(w.texts(numbers[0])) == 2 })
	require.Contains(t, w.texts(numbers[0])[1], "Thank you!")

	// Whoever confirmed gets campaigns, and nobody else does.
	c := w.campaign("Galle", nil)
	w.trigger(c)
	w.awaitDelivered(c, 1)
	require.Equal(t, map[string]any{"no_consent": 1.0, "stopped": 1.0}, w.reasons(c))
}
