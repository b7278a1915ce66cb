package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
)

func TestProgressAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	path := fmt.Sprintf("/api/v1/campaigns/%d/progress", id)
	require.Equal(t, map[string]any{
		"as_of": "2026-03-02T12:00:00Z", "campaign_id": float64(id), "status": "DRAFT", "status_reason": nil, "run_number": nil, "audience_size": nil, "states": map[string]any{},
		"sent": 0.0, "remaining": 0.0, "rate_limit_per_second": 10.0, "started_at": nil, "completed_at": nil, "estimated_seconds_left": nil,
	}, e.call(t, 200, "GET", path, ""))

	run := e.run(t, id)
	for seq := 1; seq <= 30; seq++ {
		e.accepted(t, run, seq, fmt.Sprintf("SM%d", seq))
	}
	e.exec(t, `UPDATE campaign_runs SET audience_size = 30`)
	e.exec(t, `UPDATE messages SET state = 'pending', accepted_at = NULL WHERE seq > 10`)
	e.exec(t, `UPDATE messages SET state = 'sending' WHERE seq = 11`)
	e.exec(t, `UPDATE messages SET state = 'suppressed', reason = 'stopped' WHERE seq = 12`)
	require.Equal(t, map[string]any{
		"as_of": "2026-03-02T12:00:00Z", "campaign_id": float64(id), "status": "RUNNING", "status_reason": nil, "run_number": 1.0, "audience_size": 30.0,
		"states": map[string]any{"accepted": 10.0, "pending": 18.0, "sending": 1.0, "suppressed": 1.0}, "sent": 10.0, "remaining": 19.0,
		"rate_limit_per_second": 10.0, "started_at": "2026-03-02T12:00:00Z", "completed_at": nil, "estimated_seconds_left": 2.0,
	}, e.call(t, 200, "GET", path, ""))
	e.exec(t, `UPDATE campaigns SET status = 'PAUSED', status_reason = 'lunch'`)
	paused := e.call(t, 200, "GET", path, "")
	require.Equal(t, []any{"PAUSED", "lunch", nil}, []any{paused["status"], paused["status_reason"], paused["estimated_seconds_left"]})
	e.call(t, 404, "GET", "/api/v1/campaigns/99/progress", "")
}

func TestRecipientsTellWhatWasTried(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	run := e.run(t, id)
	e.accepted(t, run, 1, "SM1")
	second := e.accepted(t, run, 2, "SM2")
	e.exec(t, `UPDATE attempts SET number = 2 WHERE id = $1`, second)
	e.exec(t, `INSERT INTO attempts (id, message_id, number, state, lease_until, started_at, ended_at, http_status, error_code, detail, looks, failed_looks, body_sha256)
		SELECT $1, message_id, 1, 'refused', $2, $2, $2, 429, 20429, 'too many requests', 3, 1, '' FROM attempts WHERE id = $3`, uuid.New(), noon, second)
	for i, status := range []string{"sent", "delivered"} {
		e.exec(t, `INSERT INTO receipts (provider_sid, attempt_id, status, payload, repeats, received_at) VALUES ('SM2', $1, $2, '{}', $3, $4)`,
			second, status, i, noon.Add(time.Duration(i)*time.Second))
	}

	rows := e.call(t, 200, "GET", fmt.Sprintf("/api/v1/campaigns/%d/recipients", id), "")["recipients"].([]any)
	attempts := rows[1].(map[string]any)["attempts"].([]any)
	require.Len(t, attempts, 2)
	first := attempts[0].(map[string]any)
	delete(first, "id")
	require.Equal(t, map[string]any{
		"number": 1.0, "state": "refused", "carrier": nil, "provider_sid": nil, "content_sid": nil, "http_status": 429.0, "error_code": 20429.0, "detail": "too many requests",
		"looks": 3.0, "failed_looks": 1.0, "started_at": "2026-03-02T12:00:00Z", "lease_until": "2026-03-02T12:00:00Z", "ended_at": "2026-03-02T12:00:00Z", "receipts": []any{},
	}, first)
	require.Equal(t, []any{
		map[string]any{"attempt_id": second.String(), "provider_sid": "SM2", "status": "sent", "error_code": nil, "repeats": 0.0, "received_at": "2026-03-02T12:00:00Z"},
		map[string]any{"attempt_id": second.String(), "provider_sid": "SM2", "status": "delivered", "error_code": nil, "repeats": 1.0, "received_at": "2026-03-02T12:00:01Z"},
	}, attempts[1].(map[string]any)["receipts"])
	require.Len(t, rows[0].(map[string]any)["attempts"], 1)
	require.Empty(t, rows[0].(map[string]any)["attempts"].([]any)[0].(map[string]any)["receipts"])
}

func TestUnknownMessagesAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	run := e.run(t, id)
	for seq := 1; seq <= 3; seq++ {
		e.accepted(t, run, seq, fmt.Sprintf("SM%d", seq))
	}
	e.exec(t, `UPDATE messages SET state = 'unknown', reason = 'unresolved', accepted_at = NULL, ended_at = $1 WHERE seq < 3`, noon)
	e.exec(t, `UPDATE attempts SET state = 'unknown', provider_sid = NULL, looks = 4, detail = 'unresolved' WHERE provider_sid <> 'SM3'`)

	list := e.call(t, 200, "GET", "/api/v1/messages/unknown?limit=1", "")
	require.EqualValues(t, 2, list["total"])
	first := list["messages"].([]any)[0].(map[string]any)
	require.EqualValues(t, 4, first["attempts"].([]any)[0].(map[string]any)["looks"])
	require.Equal(t, "2026-03-02T12:00:00Z", first["attempts"].([]any)[0].(map[string]any)["lease_until"])
	rest := e.call(t, 200, "GET", "/api/v1/messages/unknown?limit=1&cursor="+list["next_cursor"].(string), "")
	require.Nil(t, rest["next_cursor"])
	second := rest["messages"].([]any)[0].(map[string]any)
	name := func(row map[string]any) string { return row["message"].(map[string]any)["id"].(string) }
	require.NotEqual(t, name(first), name(second))

	decide := "/api/v1/messages/%s/decide"
	require.Equal(t, []string{"outcome"}, fields(e.call(t, 422, "POST", fmt.Sprintf(decide, name(first)), `{"outcome":"perhaps"}`)))
	sent := e.call(t, 200, "POST", fmt.Sprintf(decide, name(first)), `{"outcome":"sent"}`)
	require.Equal(t, []any{"sent", "decided_sent", nil}, []any{sent["state"], sent["reason"], sent["ended_at"]})
	require.Contains(t, e.call(t, 409, "POST", fmt.Sprintf(decide, name(first)), `{"outcome":"not_sent"}`)["detail"], "the message is sent")
	again := e.call(t, 200, "POST", fmt.Sprintf(decide, name(second)), `{"outcome":"not_sent"}`)
	require.Equal(t, []any{"pending", "provider_retry", "2026-03-02T12:00:00Z"}, []any{again["state"], again["reason"], again["waits_until"]})
	require.Zero(t, e.call(t, 200, "GET", "/api/v1/messages/unknown", "")["total"])
	require.Equal(t, "local message.decide message/"+name(second), get[string](t, e, `SELECT principal || ' ' || action || ' ' || subject FROM audit_events ORDER BY id DESC LIMIT 1`))
	e.call(t, 404, "POST", fmt.Sprintf(decide, uuid.NewString()), `{"outcome":"sent"}`)
	e.call(t, 400, "POST", fmt.Sprintf(decide, "7"), `{"outcome":"sent"}`)
}

// TestProgressOfALargeRun: a poller is answered with the newest count while the next one is made, and told as of when it is.
func TestProgressOfALargeRun(t *testing.T) {
	t.Parallel()
	now := noon
	e := start(t, func(d *api.Deps) {
		local(d)
		d.Now = func() time.Time { return now }
	})
	id := e.campaign(t)
	run := e.run(t, id)
	path := fmt.Sprintf("/api/v1/campaigns/%d/progress", id)
	e.exec(t, `UPDATE campaign_runs SET audience_size = 20000`)
	e.accepted(t, run, 1, "SM1")
	sent := func() (float64, string) {
		progress := e.call(t, http.StatusOK, "GET", path, "")
		return progress["sent"].(float64), progress["as_of"].(string)
	}
	n, at := sent()
	require.InDelta(t, 1, n, 0)
	require.Equal(t, noon.Format(time.RFC3339), at)

	e.accepted(t, run, 2, "SM2")
	now = noon.Add(time.Second)
	n, at = sent()
	require.InDelta(t, 1, n, 0, "the newest count")
	require.Equal(t, noon.Format(time.RFC3339), at)
	require.Eventually(t, func() bool { n, at = sent(); return n == 2 }, 10*time.Second, 10*time.Millisecond, "it has been counted anew")
	require.Equal(t, now.Format(time.RFC3339), at)

	e.accepted(t, run, 3, "SM3")
	now = noon.Add(time.Minute)
	n, _ = sent()
	require.InDelta(t, 3, n, 0, "an old count is no answer")
	e.accepted(t, run, 4, "SM4")
	e.exec(t, `UPDATE campaigns SET status = 'PAUSED'`)
	n, _ = sent()
	require.InDelta(t, 4, n, 0, "nor is any while nothing is sent")
}
