package ui_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/user"
)

func TestDashboard(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sender(t)
	s.person(t, 1, user.OptIn, user.Attributes{"city": "Colombo", "name": "Ann"})
	s.person(t, 2, user.Stop, nil)
	s.person(t, 3, user.OptOut, nil)
	id := s.plan(t, "Spring")
	run, err := s.StartRun(t.Context(), id, "tester", noon)
	require.NoError(t, err)
	s.exec(t, `INSERT INTO messages (id, run_id, user_id, seq, channel, state, reason, error_code, created_at, accepted_at, sent_at, ended_at, updated_at)
		SELECT uuid_v7($1), $2, 1, 1, 'whatsapp', 'undelivered', 'provider_error', 30003, $1, $1, $1, $1, $1`, noon, run.ID)
	s.exec(t, `UPDATE campaign_runs SET frozen_at = $1, audience_size = 1`, noon)

	page := text(s.get(t, "/"))
	for _, says := range []string{
		"Active campaigns 1", "Users 3 1 opted in", "Opted out 2", "Sent, last 24 h 1 0 of these delivered", "Failed, last 24 h 1",
		"Delivery rate 0.0 %", "Spring RUNNING", "1 of 1 done", "30003 meaning of 30003", "up PostgreSQL", "up Temporal",
	} {
		require.Contains(t, page, says)
	}
	require.NotContains(t, page, numbers, "lists about messages mask numbers")
	require.Contains(t, s.get(t, "/"), `href="http://temporal.test/namespaces/default/workflows/campaign%2F1%2Frun%2F1"`)

	s.down = true
	require.Contains(t, text(s.get(t, "/")), "down Temporal : no answer")
}

func TestSendersOnMonitoring(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Contains(t, text(s.get(t, "/monitoring")), "Senders the whole account may send 1,000/s No sender is configured")
	s.sender(t)
	page := text(s.get(t, "/monitoring"))
	require.Contains(t, page, "whatsapp +14155238886 80/s 80.0/s")
	require.NotContains(t, page, "slowed down")
	_, err := s.SlowSender(t.Context(), 1, 0, noon.Add(-time.Second))
	require.NoError(t, err)
	require.Contains(t, text(s.get(t, "/monitoring")), "80/s 44.0/s slowed down since 2026-03-02 11:59:59 UTC")
}

func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sending(t, 27, "unknown", "unresolved")
	require.Contains(t, s.get(t, "/monitoring"), `href="/unknown"`)

	decidable := regexp.MustCompile(`href="(/unknown/[0-9a-f-]+)\?outcome=not_sent"`)
	page := s.get(t, "/unknown")
	require.Contains(t, text(page), "27 in all")
	require.NotContains(t, page, numbers)
	require.Contains(t, text(page), "4 looks at the provider’s list, 1 more failed")
	first := decidable.FindAllStringSubmatch(page, -1)
	require.Len(t, first, 25)
	next := regexp.MustCompile(`href="(/unknown\?after=[0-9a-f-]+)">Next page`).FindStringSubmatch(page)
	require.NotNil(t, next)
	require.Len(t, decidable.FindAllString(s.get(t, next[1]), -1), 2)

	for i, outcome := range []string{"sent", "not_sent"} {
		place := first[i][1]
		confirm := s.get(t, place+"?outcome="+outcome)
		require.Contains(t, confirm, `name="outcome" value="`+outcome+`"`)
		w := s.do(post(place, url.Values{"outcome": {outcome}}))
		require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
		require.Equal(t, "/unknown", w.Header().Get("Location"))
		w = s.do(post(place, url.Values{"outcome": {outcome}}))
		require.Equal(t, http.StatusConflict, w.Code)
		require.Contains(t, text(w.Body.String()), "only an unknown one can be decided")
	}
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM messages WHERE state = 'sent' AND reason = 'decided_sent'`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM messages WHERE state = 'pending'`))
	require.Contains(t, text(s.get(t, "/unknown")), "25 in all")
	for path, status := range map[string]int{
		"/unknown?after=7": 422, "/unknown/7?outcome=sent": 404, first[2][1]: 422, "/unknown/" + uuid.NewString() + "?outcome=sent": 404,
	} {
		require.Equal(t, status, s.do(httptest.NewRequest(http.MethodGet, path, http.NoBody)).Code, path)
	}
}
