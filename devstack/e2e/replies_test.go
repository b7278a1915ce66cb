package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// texts is what the provider accepted for a number, oldest first.
func (w *world) texts(number string) []string {
	w.t.Helper()
	var messages []struct{ Body string }
	w.sim("GET", "/sim/messages?direction=outbound-api&to="+strings.ReplaceAll(number, "+", "%2B"), nil, &messages)
	texts := make([]string, len(messages))
	for i, m := range messages {
		texts[i] = m.Body
	}
	return texts
}

// Each keyword is answered exactly once, although every webhook is delivered twice, answers of the provider are lost, and the
// worker is killed in the middle.
func TestReplies(t *testing.T) {
	w := newWorld(t, nil)
	const n = 12
	persons := w.people("+9477", "Replyville", n)
	w.api("POST", "/api/v1/topics", object{"keyword": "news", "name": "Morning News"})
	w.sim("PUT", "/sim/faults", object{"requests": []object{{"fault": "error_after", "every": 5}, {"fault": "reset_before", "every": 7}}}, nil)
	write := func(person int, sid, body string) {
		t.Helper()
		for range 2 {
			var answer struct {
				Status  int
				Replies []string
			}
			w.sim("POST", "/sim/inbound", object{"from": persons[person].number, "to": "+14155238886", "body": body, "sid": sid}, &answer)
			require.Equal(t, http.StatusOK, answer.Status)
			require.Empty(t, answer.Replies)
		}
	}
	for i := range persons {
		body := []string{"STOP", "HELP", "SUBSCRIBE news", "subscribe nonsense"}[i%4]
		write(i, fmt.Sprintf("SM%032d", i), body)
		if i == n/2 {
			require.NoError(t, w.Kill(stack.Worker))
		}
	}
	require.NoError(t, w.Start(t.Context(), stack.Worker))
	w.until("every keyword to be answered", func() bool {
		return w.count(`SELECT count(*) FROM messages WHERE reply IS NOT NULL AND state IN ('accepted', 'sent', 'delivered', 'read')`) == n
	})
	for i, p := range persons {
		texts := w.texts(p.number)
		require.Len(t, texts, 1, "person %d", i)
		require.Contains(t, texts[0], []string{"You have been unsubscribed", "Reply STOP", "subscribed to Morning News", "no topic of that name"}[i%4])
	}
	require.Equal(t, "STOP", w.api("GET", "/api/v1/users/%2B"+persons[0].number[1:], nil)["consent_state"])
	require.Equal(t, 3.0, w.api("GET", "/api/v1/topics/1/subscribers", nil)["total"])

	// A campaign of the topic goes to its subscribers alone, and to no one after they left it.
	write(2, fmt.Sprintf("SM%032d", n), "UNSUBSCRIBE news")
	c := w.campaign("Replyville", object{"subscription_topic_id": 1})
	w.trigger(c)
	w.awaitDelivered(c, 2)
	require.Equal(t, map[string]any{"not_subscribed": 7.0, "stopped": 3.0}, w.reasons(c))
}

// reasons counts the suppressed messages of a campaign by reason.
func (w *world) reasons(campaign int) map[string]any {
	w.t.Helper()
	counts := map[string]any{}
	for _, r := range w.summary(campaign)["suppressed_reasons"].([]any) {
		counts[r.(object)["reason"].(string)] = r.(object)["count"]
	}
	return counts
}
