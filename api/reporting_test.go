package api_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/internal/report"
)

func TestHistoryAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	path := fmt.Sprintf("/api/v1/reporting/campaigns/%d/", id)
	before := e.call(t, http.StatusOK, "GET", path+"history", "")
	require.Equal(t, map[string]any{"since": nil, "step_seconds": 0.0, "steps": []any{}}, before)

	run := e.run(t, id)
	e.accepted(t, run, 1, "SM1")
	e.exec(t, `UPDATE messages SET state = 'delivered', delivered_at = accepted_at`)
	history := e.call(t, http.StatusOK, "GET", path+"history?run=1", "")
	require.Equal(t, map[string]any{
		"at": "2026-03-02T12:00:00Z", "accepted": 1.0, "delivered": 1.0, "read": 0.0, "failed": 0.0, "inbound": 0.0,
	}, history["steps"].([]any)[0])
	e.call(t, http.StatusNotFound, "GET", "/api/v1/reporting/campaigns/99/history", "")
	e.call(t, http.StatusNotFound, "GET", path+"history?run=2", "")

	e.exec(t, `INSERT INTO inbound_messages (provider_sid, user_id, channel, intent, body, payload, received_at)
		SELECT 'SMin' || n, 1, 'whatsapp', 'none', 'Hello ' || n, '{}', $1 FROM generate_series(1, 3) n`, noon)
	replies := e.call(t, http.StatusOK, "GET", path+"replies?limit=2", "")
	require.Len(t, replies["replies"], 2)
	require.EqualValues(t, 3, replies["total"])
	require.Equal(t, "Hello 3", replies["replies"].([]any)[0].(map[string]any)["body"])
	require.Equal(t, "+94…0001", replies["replies"].([]any)[0].(map[string]any)["masked_phone"])
	replies = e.call(t, http.StatusOK, "GET", path+"replies?limit=2&cursor="+replies["next_cursor"].(string), "")
	require.Len(t, replies["replies"], 1)
	require.Nil(t, replies["next_cursor"])

	sum := e.call(t, http.StatusOK, "GET", path+"summary", "")
	require.Equal(t, map[string]any{"people": 1.0, "messages": 3.0, "stops": 0.0}, sum["replies"])
	require.Equal(t, map[string]any{"region": "LK", "city": nil, "count": 1.0, "delivered": 1.0, "percentage": 100.0}, sum["regions"].([]any)[0])

	whole := e.call(t, http.StatusOK, "GET", "/api/v1/monitoring/history?hours=1", "")
	require.EqualValues(t, 60, whole["step_seconds"])
	e.call(t, http.StatusBadRequest, "GET", "/api/v1/monitoring/history?hours=721", "")
}

func TestRatesAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	run := e.run(t, e.campaign(t))
	e.accepted(t, run, 1, "SM1")
	e.exec(t, `UPDATE messages SET state = 'undelivered', reason = 'provider_error', error_code = 30003, sent_at = $1, ended_at = $1`, noon)
	rates := e.call(t, http.StatusOK, "GET", "/api/v1/monitoring/rates", "")
	require.EqualValues(t, 300, rates["span_seconds"])
	require.EqualValues(t, 1, rates["accepted"])
	require.EqualValues(t, 1, rates["trouble"])
	require.EqualValues(t, 1, rates["outbox_waiting"], "the run's start")
	require.Nil(t, rates["delivery_seconds_median"])
	code := rates["errors"].([]any)[0].(map[string]any)
	require.EqualValues(t, 30003, code["error_code"])
	require.NotEmpty(t, code["advice"])
	require.Equal(t, map[string]any{
		"kind": "workflows", "workers": 2.0, "backlog": 7.0, "oldest_seconds": 3.0, "added_per_second": 1.5, "dispatched_per_second": 1.0,
	}, rates["queues"].([]any)[0])

	down := start(t, func(d *api.Deps) {
		local(d)
		d.Queues = func(ctx context.Context) ([]report.Queue, error) {
			<-ctx.Done() // it is bounded, or the test does not end
			return nil, ctx.Err()
		}
	})
	require.Nil(t, down.call(t, http.StatusOK, "GET", "/api/v1/monitoring/rates", "")["queues"], "the rest is told all the same")
}

func TestRetryIsCountedFirst(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	run := e.run(t, id)
	e.accepted(t, run, 1, "SM1")
	e.exec(t, `UPDATE messages SET state = 'failed', reason = 'provider_error'`)
	e.exec(t, `UPDATE campaigns SET status = 'COMPLETED'`)
	counted := e.call(t, http.StatusOK, "POST", fmt.Sprintf("/api/v1/campaigns/%d/retry", id), `{"states":["failed"],"dry_run":true}`)
	require.EqualValues(t, 1, counted["audience_size"])
	require.Equal(t, true, counted["dry_run"])
	require.Equal(t, "COMPLETED", counted["status"])
	require.Equal(t, 1, get[int](t, e, `SELECT count(*)::int FROM campaign_runs`))
}
