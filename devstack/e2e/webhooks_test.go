package e2e

import (
	"crypto/hmac"
	"crypto/sha1" // the provider signs with it
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// sign is the provider's signature of a form posted to a URL.
func sign(token, target string, form url.Values) string {
	var b strings.Builder
	b.WriteString(target)
	keys := make([]string, 0, len(form))
	for k := range form {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b.WriteString(k + form.Get(k))
	}
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(b.String()))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// A forged webhook is refused and leaves no trace; the same one rightly signed is taken.
func TestForgedWebhook(t *testing.T) {
	w := newWorld(t, nil)
	inbound := url.Values{
		"AccountSid": {stack.AccountSID}, "MessageSid": {"SM00000000000000000000000000000001"}, "From": {"whatsapp:+94771234501"},
		"To": {stack.PhoneNumber}, "Body": {"STOP"}, "WaId": {"94771234501"},
	}
	status := url.Values{
		"AccountSid": {stack.AccountSID}, "MessageSid": {"SM00000000000000000000000000000002"}, "MessageStatus": {"delivered"},
		"From": {stack.PhoneNumber}, "To": {"whatsapp:+94771234501"},
	}
	for path, form := range map[string]url.Values{"/webhooks/inbound": inbound, "/webhooks/status": status} {
		code, _ := w.form(path, sign("not the token", w.URL()+path, form), form)
		require.Equal(t, http.StatusForbidden, code, path)
	}
	stored := `SELECT (SELECT count(*) FROM receipts) + (SELECT count(*) FROM inbound_messages) + (SELECT count(*) FROM users)`
	require.Zero(t, w.count(stored))

	for path, form := range map[string]url.Values{"/webhooks/inbound": inbound, "/webhooks/status": status} {
		code, _ := w.form(path, sign(stack.AuthToken, w.URL()+path, form), form)
		require.Less(t, code, 300, path)
	}
	require.Equal(t, 3, w.count(stored))
	require.Equal(t, "STOP", w.api("GET", "/api/v1/users/%2B94771234501", nil)["consent_state"])
}

// While Temporal is down webhooks are answered and kept; once it is back, those who wait for them hear of them: what the
// carrier gave back meanwhile is sent again, and not to whoever said STOP.
func TestWebhooksWithoutTemporal(t *testing.T) {
	w := newWorld(t, map[stack.Role]map[string]string{
		stack.Simulator: {"SIMULATOR_DELAYS": "4s,1s,1s"},
		stack.Worker:    {"RECEIPT_DEADLINE": "10m"},
	})
	const n = 20
	persons := w.people("+9477", "Quietville", n)
	numbers := object{}
	for _, p := range persons {
		numbers[p.number] = object{"code": 63012, "times": 1}
	}
	w.sim("PUT", "/sim/faults", object{"numbers": numbers}, nil)
	c := w.campaign("Quietville", object{"failure_threshold_percent": 0})
	w.trigger(c)
	w.until("all to be accepted", func() bool { return w.accepted() == n })
	w.until("the acceptance to be recorded", func() bool { return w.summary(c)["messages_pending"] == 0.0 })
	require.NoError(t, w.Kill(stack.Temporal))

	const givenBack = `SELECT count(*) FROM messages WHERE state = 'pending' AND reason = 'provider_retry'`
	w.until("the receipts to be taken", func() bool { return w.count(givenBack) == n })
	var answer struct {
		Status int
		Body   string
	}
	w.sim("POST", "/sim/inbound", object{"from": persons[0].number, "to": "+14155238886", "body": "stop!"}, &answer)
	require.Equal(t, http.StatusOK, answer.Status)
	require.Contains(t, answer.Body, "<Response")
	require.Equal(t, "STOP", w.api("GET", "/api/v1/users/"+url.PathEscape(persons[0].number), nil)["consent_state"])
	var stats struct{ Callbacks struct{ Failed, Owed int } }
	w.sim("GET", "/sim/stats", nil, &stats)
	require.Zero(t, stats.Callbacks.Failed, "a webhook was not answered")
	require.GreaterOrEqual(t, w.count(`SELECT count(*) FROM outbox`), n, "what Temporal has to hear is kept")

	require.NoError(t, w.Start(t.Context(), stack.Temporal))
	w.until("all to be relayed", func() bool { return w.count(`SELECT count(*) FROM outbox`) == 0 })
	w.awaitDelivered(c, n-1)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM messages WHERE state = 'suppressed' AND reason = 'stopped' AND attempt_count = 1`))
	w.until("the STOP to be confirmed", func() bool {
		return w.count(`SELECT count(*) FROM messages WHERE reply = 'stop' AND state IN ('delivered', 'read')`) == 1
	})
	require.Equal(t, 2*n, w.accepted(), "once more to everybody else, and to who said STOP the confirmation")
}
