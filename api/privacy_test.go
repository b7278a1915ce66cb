package api_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// from is what a person writes.
func from(number, sid, body string) url.Values {
	form := said(sid, body)
	form.Set("From", "whatsapp:"+number)
	form.Set("WaId", number[1:])
	return form
}

func TestConsentHistoryAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const one = "/api/v1/users/+94771234567"
	e.call(t, 404, "GET", one+"/consent/history", "")
	e.call(t, 201, "POST", "/api/v1/users", `{"phone_number": "+94771234567"}`)
	e.call(t, 200, "PUT", one+"/consent", `{"consent_state": "OPT_IN", "evidence": "form 7", "wording": "Yes, write to me"}`)
	require.Equal(t, []string{"wording"}, fields(e.call(t, 422, "PUT", one+"/consent", `{"consent_state": "OPT_IN", "evidence": "form 7", "wording": ""}`)))
	require.Equal(t, http.StatusOK, e.do(webhook(token, "/webhooks/inbound", from("+94771234567", "SM1", "STOP"))).Code)
	e.call(t, 409, "PUT", one+"/consent", `{"consent_state": "OPT_IN", "evidence": "form 8"}`)
	e.call(t, 200, "PUT", one+"/consent", `{"consent_state": "OPT_IN", "evidence": "they called", "source": "operator"}`)

	page := e.call(t, 200, "GET", one+"/consent/history?limit=3", "")
	require.Equal(t, 4.0, page["total"])
	require.Equal(t, []any{
		map[string]any{"consent_state": "OPT_IN", "previous_state": "STOP", "source": "operator", "evidence": "they called", "wording": nil,
			"caller_ip": "127.0.0.1", "invitation_message_id": nil, "actor": "local", "created_at": "2026-03-02T12:00:00Z"},
		map[string]any{"consent_state": "STOP", "previous_state": "OPT_IN", "source": "keyword", "evidence": "SM1", "wording": "stop",
			"caller_ip": nil, "invitation_message_id": nil, "actor": "user", "created_at": "2026-03-02T12:00:00Z"},
		map[string]any{"consent_state": "OPT_IN", "previous_state": "PENDING", "source": "api", "evidence": "form 7", "wording": "Yes, write to me",
			"caller_ip": "127.0.0.1", "invitation_message_id": nil, "actor": "local", "created_at": "2026-03-02T12:00:00Z"},
	}, page["events"])
	page = e.call(t, 200, "GET", one+"/consent/history?limit=3&cursor="+page["next_cursor"].(string), "")
	require.Nil(t, page["next_cursor"])
	first := page["events"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"PENDING", nil, "api"}, []any{first["consent_state"], first["previous_state"], first["source"]})
}

func TestExportAndErasureAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	run := e.run(t, e.campaign(t))
	e.accepted(t, run, 1, "SM1")
	const one = "/api/v1/users/+94770000001"
	require.Equal(t, http.StatusOK, e.do(webhook(token, "/webhooks/inbound", from("+94770000001", "SM2", "thank you"))).Code)
	e.exec(t, `INSERT INTO enrolments (run_id, user_id, dedupe_key, variables, next_step, next_at, state, created_at)
		SELECT $1, id, 'event/1', '{"order": "A7"}', 2, $2, 'active', $2 FROM users WHERE phone_number = '+94770000001'`, run, noon)
	record := e.call(t, 200, "GET", one+"/export", "")
	enrolled := record["enrolments"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"active", 2.0, map[string]any{"order": "A7"}}, []any{enrolled["state"], enrolled["next_step"], enrolled["variables"]})
	require.Equal(t, "+94770000001", record["user"].(map[string]any)["phone_number"])
	message := record["messages"].([]any)[0].(map[string]any)
	require.Equal(t, "accepted", message["message"].(map[string]any)["state"])
	require.Equal(t, "SM1", message["attempts"].([]any)[0].(map[string]any)["attempt"].(map[string]any)["provider_sid"])
	wrote := record["inbound_messages"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"thank you", "text"}, []any{wrote["body"], wrote["message_classification"]})
	require.Contains(t, wrote["payload"].(map[string]any)["From"], "whatsapp:+94770000001")
	for _, list := range []string{"consent_events", "subscriptions", "subscription_events", "segments", "suppressions"} {
		require.Equal(t, []any{}, record[list], list)
	}
	e.call(t, 404, "GET", "/api/v1/users/+94770000099/export", "")

	w := e.send("DELETE", one, "", "")
	require.Equal(t, 204, w.Code)
	require.Empty(t, w.Body.String())
	erasure := e.call(t, 200, "GET", w.Header().Get("Location"), "")
	require.Equal(t, []any{"RUNNING", 2.0, 0.0, nil}, []any{erasure["status"], erasure["copies"], erasure["copies_removed"], erasure["completed_at"]})
	require.NotContains(t, e.send("GET", w.Header().Get("Location"), "", "").Body.String(), "94770000001")
	e.exec(t, `UPDATE erasure_copies SET removed_at = $1`, noon)
	e.exec(t, `UPDATE erasures SET phone_number = NULL, completed_at = $1`, noon)
	erasure = e.call(t, 200, "GET", w.Header().Get("Location"), "")
	require.Equal(t, []any{"COMPLETED", 2.0, "2026-03-02T12:00:00Z"}, []any{erasure["status"], erasure["copies_removed"], erasure["completed_at"]})
	e.call(t, 404, "GET", "/api/v1/erasures/01938c5e-7a3b-7c52-b9f0-0f5f7c1f7f55", "")
	e.call(t, 400, "GET", "/api/v1/erasures/1", "")
	require.Equal(t, []any{"global"}, e.call(t, 201, "POST", "/api/v1/users", `{"phone_number": "+94770000001", "consent_state": "OPT_IN"}`)["suppressed"])
}
