package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// live makes a campaign with that trigger and starts it.
func (w *world) live(city, trigger, name string, more object) int {
	w.t.Helper()
	body := object{"segment_id": nil, "trigger": trigger, "trigger_name": name, "rate_limit_per_second": 40}
	if name == "" {
		body["trigger_name"] = nil
	}
	for k, v := range more {
		body[k] = v
	}
	c := w.campaign(city, body)
	w.trigger(c)
	return c
}

// tell posts events as another system would that is told nothing when the engine dies: again and again, until there is an
// answer.
func (w *world) tell(events any) object {
	w.t.Helper()
	raw, err := json.Marshal(events)
	require.NoError(w.t, err)
	var out object
	w.until("an answer to an event", func() bool {
		req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.URL()+"/api/v1/ingest/triggers", bytes.NewReader(raw))
		require.NoError(w.t, err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		answer, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 500 {
			return false
		}
		require.Equal(w.t, http.StatusAccepted, resp.StatusCode, "%s", answer)
		out = object{}
		require.NoError(w.t, json.Unmarshal(answer, &out))
		return true
	})
	return out
}

// Events are told several times over while API, worker and Temporal are killed under them: one message each, with what the
// event says in it.
func TestEvents(t *testing.T) {
	w := newWorld(t, nil)
	const n, size = 240, 20
	persons := w.people("+9477", "Parcelville", n)
	c := w.live("Parcelville", "event", "order.shipped", nil)
	restarted := make(chan error, 1)
	kills := map[int]func(){
		60: func() { // the next event meets nobody until the API is back
			require.NoError(t, w.Kill(stack.API))
			go func() { restarted <- w.Start(t.Context(), stack.API) }()
		},
		120: func() {
			require.NoError(t, w.Kill(stack.Worker))
			require.NoError(t, w.Start(t.Context(), stack.Worker))
		},
		180: func() {
			require.NoError(t, w.Kill(stack.Temporal))
			require.NoError(t, w.Start(t.Context(), stack.Temporal))
		},
	}
	accepted, duplicates := 0.0, 0.0
	for first := 0; first < n; first += size {
		events := make([]object, size)
		for i := range events {
			p := persons[first+i]
			events[i] = object{
				"event_id": fmt.Sprint("shipment-", first+i), "event": "order.shipped", "phone_number": p.number,
				"variables": object{"name": fmt.Sprint("order ", first+i)},
			}
		}
		if kill := kills[first]; kill != nil {
			w.until("some of the messages to be sent", func() bool { return w.accepted() > first/4 })
			kill()
		}
		for range 2 {
			answer := w.tell(events)
			accepted, duplicates = accepted+answer["accepted"].(float64), duplicates+answer["duplicates"].(float64)
		}
	}
	require.NoError(t, <-restarted)
	require.EqualValues(t, 2*n, accepted+duplicates)
	require.LessOrEqual(t, accepted, float64(n), "an answer may be lost, an event not")
	require.Equal(t, "RUNNING", w.status(c), "it is live until somebody ends it")
	w.until("everybody to have their message", func() bool { return w.summary(c)["messages_delivered"] == float64(n) })
	w.api("POST", fmt.Sprintf("/api/v1/campaigns/%d/complete", c), nil)
	w.awaitDelivered(c, n)
	w.judge(persons)
	w.sumsUp(c, n)
	var messages []struct{ To, Body string }
	w.sim("GET", "/sim/messages?direction=outbound-api", nil, &messages)
	require.Len(t, messages, n)
	orders := map[string]bool{}
	for _, m := range messages {
		_, rest, _ := strings.Cut(m.Body, "order ")
		order, _, _ := strings.Cut(rest, ",")
		orders[order] = true
	}
	require.Len(t, orders, n, "each text is that of its event")
	status, raw := w.call(http.MethodPost, w.URL()+"/api/v1/ingest/triggers", object{"event_id": "late", "event": "order.shipped", "phone_number": persons[0].number})
	require.Equal(t, http.StatusNotFound, status, "%s", raw)
}

// A keyword is answered by its campaign, and somebody new by theirs; who said STOP gets neither. A draft's test goes to
// whom it names and leaves the draft alone.
func TestKeywordAndNewcomers(t *testing.T) {
	w := newWorld(t, nil)
	word := w.live("Wordville", "keyword", "Summer sale", nil)
	fresh := w.live("Newville", "user_created", "", nil)
	persons := w.people("+9477", "Newville", 30)
	w.until("the newcomers to be welcomed", func() bool { return w.summary(fresh)["messages_delivered"] == 30.0 })
	w.judge(persons)

	say := func(p person, text string) {
		w.sim("POST", "/sim/inbound", object{"from": p.number, "to": "+14155238886", "body": text}, nil)
	}
	say(persons[0], "summer SALE!")
	say(persons[1], "is there a summer sale")
	say(persons[2], "stop")
	w.until("the STOP to be known", func() bool {
		return w.count(`SELECT count(*) FROM users WHERE consent_state = 'STOP'`) == 1
	})
	say(persons[2], "summer sale")
	w.until("the keyword to be answered", func() bool { return w.summary(word)["messages_delivered"] == 1.0 })
	w.until("both to be in the ledger", func() bool { return w.summary(word)["total_recipients"] == 2.0 })
	require.EqualValues(t, 1, w.summary(word)["messages_suppressed"])
	for _, c := range []int{word, fresh} {
		w.api("POST", fmt.Sprintf("/api/v1/campaigns/%d/complete", c), nil)
		w.until("the campaign to be completed", func() bool { return w.status(c) == "COMPLETED" })
	}

	draft := w.campaign("Testville", nil)
	tested := w.api("POST", fmt.Sprintf("/api/v1/campaigns/%d/test", draft), object{
		"phone_numbers": []string{persons[0].number, persons[2].number, persons[3].number}, "variables": object{"city": "Tryville"},
	})
	require.EqualValues(t, 1, tested["run_number"])
	w.until("the test to be settled", func() bool {
		return w.count(`SELECT count(*) FROM campaign_runs WHERE kind = 'test' AND settled_at IS NOT NULL`) == 1
	})
	require.Equal(t, 2, w.count(`SELECT count(*) FROM attempts a JOIN messages m ON m.id = a.message_id JOIN campaign_runs r ON r.id = m.run_id
		WHERE r.kind = 'test' AND a.state = 'accepted' AND m.state IN ('delivered', 'read')`), "one each, and none to whoever said STOP")
	require.Equal(t, "DRAFT", w.status(draft))
	require.Nil(t, w.summary(draft)["run_number"])
}
