package api_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/message"
)

// patch sends a merge patch.
func (e *engine) patch(t *testing.T, want int, target, body string) map[string]any {
	t.Helper()
	w := e.send(http.MethodPatch, target, "application/merge-patch+json", body)
	require.Equal(t, want, w.Code, w.Body.String())
	var answer map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	return answer
}

func TestSenderAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	require.Equal(t, map[string]any{"senders": []any{}}, e.call(t, 200, "GET", "/api/v1/senders", ""))
	e.run(t, e.campaign(t))
	require.NoError(t, e.store.EnsureSender(t.Context(), message.SMS, "+14155238886", noon))
	sms := map[string]any{
		"id": 2.0, "channel": "sms", "address": "+14155238886", "messages_per_second": 10.0, "rate_in_force": 10.0, "slowed_at": nil, "campaigns_running": 0.0,
		"portfolio": nil, "messaging_limit": nil, "recipients_reached": nil,
	}
	whatsapp := map[string]any{
		"id": 1.0, "channel": "whatsapp", "address": "+14155238886", "messages_per_second": 80.0, "rate_in_force": 80.0, "slowed_at": nil, "campaigns_running": 1.0,
		"portfolio": "default", "messaging_limit": nil, "recipients_reached": nil,
	}
	require.Equal(t, map[string]any{"senders": []any{sms, whatsapp}}, e.call(t, 200, "GET", "/api/v1/senders", ""))

	_, err := e.store.SlowSender(t.Context(), 1, 0, noon.Add(-5*time.Second))
	require.NoError(t, err)
	whatsapp["rate_in_force"], whatsapp["slowed_at"] = 60.0, "2026-03-02T11:59:55Z"
	require.Equal(t, map[string]any{"senders": []any{sms, whatsapp}}, e.call(t, 200, "GET", "/api/v1/senders", ""))
	changed := e.patch(t, 200, "/api/v1/senders/1", `{"messages_per_second":20}`)
	require.Equal(t, []any{20.0, 20.0, nil}, []any{changed["messages_per_second"], changed["rate_in_force"], changed["slowed_at"]}, "slowed down to more than that")
	e.exec(t, `UPDATE throttles SET slowed_at = $1 WHERE key = 'sender/1'`, noon.Add(-time.Minute))
	require.InDelta(t, 1000, e.patch(t, 200, "/api/v1/senders/1", `{"messages_per_second":1000}`)["rate_in_force"], 0)
	require.Equal(t, "local", get[string](t, e, `SELECT principal FROM audit_events WHERE subject = 'sender/1' AND detail->>'messages_per_second' = '1000'`))

	e.patch(t, 404, "/api/v1/senders/99", `{"messages_per_second":20}`)
	require.Equal(t, 200, e.send("PATCH", "/api/v1/senders/2", "application/json", `{"messages_per_second":11}`).Code)
	require.Equal(t, 415, e.send("PATCH", "/api/v1/senders/2", "application/json-patch+json", `[]`).Code)
}

func TestPortfolioAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	e.run(t, e.campaign(t))
	require.NoError(t, e.store.EnsureSender(t.Context(), message.SMS, "+14155238886", noon))
	limits := func(sender map[string]any) []any {
		return []any{sender["portfolio"], sender["messaging_limit"], sender["recipients_reached"]}
	}
	require.Equal(t, []any{"default", 2000.0, 0.0}, limits(e.patch(t, 200, "/api/v1/senders/1", `{"messaging_limit":2000}`)))
	require.Equal(t, []any{"Second Brand", 250.0, 0.0}, limits(e.patch(t, 200, "/api/v1/senders/1", `{"portfolio":"Second Brand","messaging_limit":250}`)))
	require.Equal(t, []any{"Second Brand", nil, nil}, limits(e.patch(t, 200, "/api/v1/senders/1", `{"messaging_limit":null}`)))
	require.Equal(t, []any{"default", nil, nil}, limits(e.patch(t, 200, "/api/v1/senders/1", `{"portfolio":"default","messaging_limit":null,"messages_per_second":7}`)))
	require.JSONEq(t, `{"messages_per_second": 7, "portfolio": "default", "was": {"messages_per_second": 80, "portfolio": "Second Brand"}}`,
		get[string](t, e, `SELECT detail::text FROM audit_events ORDER BY id DESC LIMIT 1`))

	for body, detail := range map[string]string{
		`{"portfolio":"Second Brand"}`:             "is missing: give the limit of the portfolio",
		`{"portfolio":""}`:                         "portfolio",
		`{"portfolio":"a/b","messaging_limit":1}`:  "portfolio",
		`{"portfolio":null,"messaging_limit":250}`: "must not be null",
		`{"messaging_limit":0}`:                    "must be from 1",
		`{"messaging_limit":"250"}`:                "must be a whole number",
		`{"messaging_limit":25.5}`:                 "must be a whole number",
		`{"messaging_limit":1e3}`:                  "without a point or an exponent",
	} {
		require.Contains(t, e.patch(t, 422, "/api/v1/senders/1", body)["detail"], detail, body)
	}
	require.Contains(t, e.patch(t, 422, "/api/v1/senders/2", `{"messaging_limit":250}`)["detail"], "is for a sender of WhatsApp")
	require.Contains(t, e.patch(t, 422, "/api/v1/senders/2", `{"portfolio":"x","messaging_limit":250}`)["detail"], "is for a sender of WhatsApp")
}

func TestAccountLimitsAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const path = "/api/v1/account/limits"
	limits := map[string]any{
		"messages_per_second": 1000.0, "pair_interval_seconds": 6.0, "person_messages_per_day": nil, "person_messages_per_week": nil,
		"person_topic_messages_per_day": nil, "person_topic_messages_per_week": nil,
	}
	require.Equal(t, limits, e.call(t, 200, "GET", path, ""))
	limits["messages_per_second"] = 2000.0
	require.Equal(t, limits, e.patch(t, 200, path, `{"messages_per_second":2000}`))
	limits["pair_interval_seconds"], limits["person_messages_per_day"], limits["person_topic_messages_per_week"] = 0.0, 1.0, 3.0
	require.Equal(t, limits, e.patch(t, 200, path, `{"pair_interval_seconds":0,"person_messages_per_day":1,"person_topic_messages_per_week":3}`))
	limits["person_messages_per_day"] = nil
	require.Equal(t, limits, e.patch(t, 200, path, `{"person_messages_per_day":null}`))
	require.Equal(t, limits, e.call(t, 200, "GET", path, ""))
	require.Equal(t, `local account.change account {"was": {"messages_per_second": 1000}, "messages_per_second": 2000}`,
		get[string](t, e, `SELECT concat_ws(' ', principal, action, subject, detail) FROM audit_events ORDER BY id LIMIT 1`))
	for body, detail := range map[string]string{
		`{"pair_interval_seconds":601}`:          "must be from 0 to 600",
		`{"pair_interval_seconds":null}`:         "must not be null",
		`{"person_messages_per_day":0}`:          "must be from 1 to 1000",
		`{"person_topic_messages_per_day":1001}`: "must be from 1 to 1000",
	} {
		require.Contains(t, e.patch(t, 422, path, body)["detail"], detail, body)
	}
}

func TestLimitsAreChecked(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	require.NoError(t, e.store.EnsureSender(t.Context(), message.WhatsApp, "+14155238886", noon))
	for path, most := range map[string]string{"/api/v1/senders/1": "1000", "/api/v1/account/limits": "2000"} {
		bounds := "must be from 1 to " + most
		for body, detail := range map[string]string{
			`{}`:                               "",
			`{"messages_per_second":null}`:     "must not be null",
			`{"messages_per_second":0}`:        bounds,
			`{"messages_per_second":2001}`:     bounds,
			`{"messages_per_second":1.5}`:      "must be a whole number",
			`{"messages_per_second":1e1}`:      "without a point or an exponent",
			`{"messages_per_second":"20"}`:     "must be a whole number",
			`{"messages_per_second":1,"id":2}`: "is not known here",
		} {
			require.Contains(t, e.patch(t, 422, path, body)["detail"], detail, "%s %s", path, body)
		}
	}
	require.Zero(t, get[int64](t, e, `SELECT count(*) FROM audit_events`))

	keys := start(t, nil)
	key := func(scope string) string {
		_, secret, err := keys.store.CreateKey(t.Context(), scope, []string{scope}, "operator", noon)
		require.NoError(t, err)
		return secret
	}
	read, write, send := key("read"), key("write"), key("send")
	for _, path := range []string{"/api/v1/senders/99", "/api/v1/account/limits"} {
		require.Equal(t, 403, keys.do(with(read, "PATCH", path, `{"messages_per_second":1}`)).Code)
		require.Equal(t, 403, keys.do(with(write, "PATCH", path, `{"messages_per_second":1}`)).Code)
	}
	require.Equal(t, 404, keys.do(with(send, "PATCH", "/api/v1/senders/99", `{"messages_per_second":1}`)).Code)
	require.Equal(t, 200, keys.do(with(send, "PATCH", "/api/v1/account/limits", `{"messages_per_second":1}`)).Code)
	require.Equal(t, 200, keys.do(with(read, "GET", "/api/v1/senders", "")).Code)
}
