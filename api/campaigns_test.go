package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/price"
)

// campaign makes template 1 and segment 1 (people with a city) where they are missing, and a campaign of both.
func (e *engine) campaign(t *testing.T) int64 {
	t.Helper()
	e.exec(t, `INSERT INTO templates (name, channel, locale, created_at, updated_at) VALUES ('Welcome', 'whatsapp', 'en_US', $1, $1) ON CONFLICT DO NOTHING`, noon)
	e.exec(t, `INSERT INTO template_versions (template_id, version, content, variables, created_at) VALUES (1, 1, 'Hi {name}', '{name}', $1) ON CONFLICT DO NOTHING`, noon)
	e.exec(t, `INSERT INTO template_variants (template_id, version, position, locale, content, variables, mapping, content_sid, approval)
		VALUES (1, 1, 0, 'en_US', 'Hi {name}', '{name}', '{"1": "name"}', 'HX00000000000000000000000000000000', 'approved') ON CONFLICT DO NOTHING`)
	e.exec(t, `INSERT INTO segments (name, definition, created_at, updated_at) VALUES ('Towns', '{"attribute":"city","operator":"exists"}', $1, $1) ON CONFLICT DO NOTHING`, noon)
	require.NoError(t, e.store.EnsureSender(t.Context(), message.WhatsApp, "+14155238886", noon))
	return get[int64](t, e, `INSERT INTO campaigns (topic, template_id, segment_id, created_at, updated_at) VALUES ('Spring', 1, 1, $1, $1) RETURNING id::bigint`, noon)
}

// run starts a run of the campaign.
func (e *engine) run(t *testing.T, campaignID int64) int64 {
	t.Helper()
	run, err := e.store.StartRun(t.Context(), campaignID, "test", noon)
	require.NoError(t, err)
	e.exec(t, `UPDATE campaign_runs SET frozen_at = $1 WHERE id = $2`, noon, run.ID)
	return run.ID
}

// accepted writes a message that the provider accepted under the SID, and returns its attempt.
func (e *engine) accepted(t *testing.T, runID int64, seq int, sid string) uuid.UUID {
	t.Helper()
	user := get[int64](t, e, `INSERT INTO users (phone_number, region, attributes, consent_state, created_at, updated_at)
		VALUES ($1, 'LK', '{"city":"Colombo","name":"Ann"}', 'OPT_IN', $2, $2) RETURNING id`, fmt.Sprintf("+9477000%04d", seq), noon)
	id := get[uuid.UUID](t, e, `INSERT INTO messages (id, run_id, user_id, seq, channel, state, attempt_count, created_at, accepted_at, updated_at)
		VALUES (uuid_v7($1), $2, $3, $4, 'whatsapp', 'accepted', 1, $1, $1, $1) RETURNING id`, noon, runID, user, seq)
	attempt := uuid.New()
	e.exec(t, `INSERT INTO attempts (id, message_id, number, state, lease_until, started_at, ended_at, provider_sid, http_status, body_sha256)
		VALUES ($1, $2, 1, 'accepted', $3, $3, $3, $4, 201, '')`, attempt, id, noon, sid)
	return attempt
}

// call makes a JSON request from this machine, expects a status and returns the answer's object.
func (e *engine) call(t *testing.T, want int, method, target, body string) map[string]any {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := e.do(fromHere(r))
	require.Equal(t, want, w.Code, w.Body.String())
	if w.Body.Len() == 0 {
		return nil
	}
	var answer map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	return answer
}

// fields lists the refused fields of a problem.
func fields(problem map[string]any) []string {
	var names []string
	errs, _ := problem["errors"].([]any)
	for _, e := range errs {
		names = append(names, e.(map[string]any)["field"].(string))
	}
	return names
}

func TestCampaignAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	e.campaign(t)

	made := e.call(t, http.StatusCreated, "POST", "/api/v1/campaigns",
		`{"topic":"API Demo Campaign","template_id":1,"segment_id":1,"quiet_hours_start":"22:00","quiet_hours_end":"8:00","timezone":"Asia/Colombo"}`)
	require.EqualValues(t, 2, made["id"])
	require.Equal(t, "DRAFT", made["status"])
	require.Equal(t, "22:00", made["quiet_hours_start"])
	require.Equal(t, "08:00", made["quiet_hours_end"])
	require.EqualValues(t, 10, made["rate_limit_per_second"])
	require.Equal(t, "Welcome", made["template"].(map[string]any)["name"])
	require.Nil(t, made["segment_query"])
	require.Nil(t, made["audience_size"])

	query := e.call(t, http.StatusCreated, "POST", "/api/v1/campaigns", `{"topic":"Verified","template_id":1,"segment_query":{"phone_verified":true}}`)
	require.Equal(t, map[string]any{"phone_verified": true}, query["segment_query"])
	require.Nil(t, query["segment_id"])

	for body, want := range map[string][]string{
		`{"topic":"x","template_id":1}`:                                                       {"segment_id"},
		`{"topic":"x","template_id":1,"segment_id":1,"segment_query":{"a":1}}`:                {"segment_query"},
		`{"topic":"x","template_id":9,"segment_id":9}`:                                        {"template_id", "segment_id"},
		`{"topic":"x","template_id":1,"segment_query":{"attribute":"a","operator":"like"}}`:   {"segment_query.operator"},
		`{"topic":"x","template_id":1,"segment_id":1,"quiet_hours_start":"22:00"}`:            {"quiet_hours_end"},
		`{"topic":"x","template_id":1,"segment_id":1,"timezone":"Mars/Olympus"}`:              {"timezone"},
		`{"topic":"x","template_id":1,"segment_id":1,"schedule_time":"2026-03-02T12:00:00Z"}`: {"schedule_time"},
		`{"topic":"x","template_id":1,"segment_id":1,"rate_limit_per_second":0}`:              {"rate_limit_per_second"},
		`{"topic":"x","template_id":1,"segment_id":1,"target_segment_id":1}`:                  {"target_segment_id"},
	} {
		require.Equal(t, want, fields(e.call(t, http.StatusUnprocessableEntity, "POST", "/api/v1/campaigns", body)), body)
	}

	list := e.call(t, http.StatusOK, "GET", "/api/v1/campaigns?limit=2&status=DRAFT", "")
	require.Len(t, list["campaigns"], 2)
	require.EqualValues(t, 3, list["total"])
	rest := e.call(t, http.StatusOK, "GET", "/api/v1/campaigns?limit=2&status=DRAFT&cursor="+list["next_cursor"].(string), "")
	require.Len(t, rest["campaigns"], 1)
	require.Nil(t, rest["next_cursor"])

	edited := e.call(t, http.StatusOK, "PUT", "/api/v1/campaigns/2", `{"topic":"Edited","template_id":1,"segment_id":1}`)
	require.Equal(t, "Edited", edited["topic"])
	require.Nil(t, edited["quiet_hours_start"], "left out is cleared")
	e.call(t, http.StatusNoContent, "DELETE", "/api/v1/campaigns/3", "")
	e.call(t, http.StatusNotFound, "GET", "/api/v1/campaigns/3", "")
	e.call(t, http.StatusNotFound, "POST", "/api/v1/campaigns/3/trigger", "")
}

func TestPatchCampaign(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	path := fmt.Sprintf("/api/v1/campaigns/%d", e.campaign(t))
	patch := func(want int, kind, body string) map[string]any {
		t.Helper()
		w := e.send("PATCH", path, kind, body)
		require.Equal(t, want, w.Code, w.Body.String())
		var answer map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		return answer
	}
	const merge = "application/merge-patch+json"

	c := patch(200, merge, `{"topic":"Summer","quiet_hours_start":"22:00","quiet_hours_end":"08:00","canary_percent":5,"schedule_time":"2026-03-03T12:00:00Z"}`)
	require.Equal(t, []any{"Summer", "22:00", 5.0, 20.0, "bulk", 1.0}, []any{c["topic"], c["quiet_hours_start"], c["canary_percent"], c["failure_threshold_percent"], c["priority"], c["segment_id"]})
	c = patch(200, "application/json", `{"segment_id":null,"segment_query":{"city":"Galle"},"schedule_time":null,"canary_percent":0}`)
	require.Nil(t, c["segment_id"])
	require.Nil(t, c["schedule_time"])
	require.Equal(t, map[string]any{"city": "Galle"}, c["segment_query"])
	require.Equal(t, map[string]any{"age": 3.0}, patch(200, merge, `{"segment_query":{"age":3}}`)["segment_query"], "replaced, not merged")
	require.Equal(t, map[string]any{"count": 2.0, "days": 7.0}, patch(200, merge, `{"frequency_cap":{"count":2,"days":7}}`)["frequency_cap"])
	require.Nil(t, patch(200, merge, `{"frequency_cap":null}`)["frequency_cap"])
	require.Contains(t, patch(422, merge, `{"frequency_cap":{"count":2}}`)["detail"], "frequency_cap.days: is missing")
	require.Contains(t, patch(422, merge, `{"frequency_cap":{"count":0,"days":2}}`)["detail"], "frequency_cap.count: must be from 1 to 100")
	for body, want := range map[string][]string{
		`{"segment_id":1}`:                 {"segment_query"},
		`{"frequency_cap":{"count":2}}`:    {"frequency_cap.days"},
		`{"quiet_hours_end":null}`:         {"quiet_hours_end"},
		`{"rate_limit_per_second":null}`:   {"rate_limit_per_second"},
		`{"priority":"urgent"}`:            {"priority"},
		`{"failure_threshold_percent":-1}`: {"failure_threshold_percent"},
		`{"canary_percent":51}`:            {"canary_percent"},
		`{"status":"RUNNING"}`:             {"status"},
		`{}`:                               {""},
	} {
		require.Equal(t, want, fields(patch(422, merge, body)), body)
	}
	require.Equal(t, 415, e.send("PATCH", path, "application/json-patch+json", `[]`).Code)
	require.Equal(t, 404, e.send("PATCH", "/api/v1/campaigns/99", merge, `{"topic":"x"}`).Code)

	e.call(t, 200, "POST", path+"/trigger", "")
	c = patch(200, merge, `{"rate_limit_per_second":40,"quiet_hours_start":null,"quiet_hours_end":null,"failure_threshold_percent":0,"priority":"transactional","frequency_cap":{"count":1,"days":1}}`)
	require.Equal(t, []any{40.0, nil, nil, 0.0, "transactional", map[string]any{"count": 1.0, "days": 1.0}},
		[]any{c["rate_limit_per_second"], c["quiet_hours_start"], c["quiet_hours_end"], c["failure_threshold_percent"], c["priority"], c["frequency_cap"]})
	held := patch(409, merge, `{"topic":"Other","canary_percent":1,"rate_limit_per_second":1}`)
	require.Equal(t, []string{"topic", "canary_percent"}, fields(held))
	require.Contains(t, held["detail"], "only rate_limit_per_second, priority, failure_threshold_percent, frequency_cap, quiet_hours_start, quiet_hours_end, window_policy, recurrence_cron, recurrence_timezone can be changed")
	e.call(t, 200, "POST", path+"/cancel", "")
	require.Contains(t, patch(409, merge, `{"rate_limit_per_second":1}`)["detail"], "CANCELLED")
}

func TestCampaignLife(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	path := fmt.Sprintf("/api/v1/campaigns/%d", id)
	for i, consent := range []string{"OPT_IN", "STOP", "PENDING"} {
		e.exec(t, `INSERT INTO users (phone_number, attributes, consent_state, zones, created_at, updated_at) VALUES ($1, '{"city":"Galle","name":"Ann"}', $2, '{Asia/Colombo}', $3, $3)`,
			fmt.Sprintf("+9477111000%d", i), consent, noon)
	}

	dry := e.call(t, http.StatusOK, "POST", path+"/trigger", `{"dry_run":true}`)
	require.EqualValues(t, 3, dry["audience_size"])
	require.Nil(t, dry["task_id"])
	require.Len(t, dry["verdicts"], 3)
	require.Zero(t, get[int64](t, e, "SELECT count(*) FROM campaign_runs"))

	e.call(t, http.StatusConflict, "POST", path+"/pause", "")
	triggered := e.call(t, http.StatusOK, "POST", path+"/trigger", "")
	require.Equal(t, "RUNNING", triggered["status"])
	require.Equal(t, fmt.Sprintf("campaign/%d/run/1", id), triggered["task_id"])
	require.Equal(t, "campaign.start", get[string](t, e, "SELECT kind FROM outbox"))
	require.Equal(t, "local", get[string](t, e, "SELECT started_by FROM campaign_runs"))
	e.call(t, http.StatusConflict, "POST", path+"/trigger", `{}`)
	e.call(t, http.StatusConflict, "DELETE", path, "")
	e.call(t, http.StatusConflict, "PUT", path, `{"topic":"Other","template_id":1,"segment_id":1}`)
	require.EqualValues(t, 5, e.call(t, http.StatusOK, "PUT", path, `{"topic":"Spring","template_id":1,"segment_id":1,"rate_limit_per_second":5}`)["rate_limit_per_second"])

	require.Equal(t, "PAUSED", e.call(t, http.StatusOK, "POST", path+"/pause", "")["status"])
	require.Equal(t, "RUNNING", e.call(t, http.StatusOK, "POST", path+"/resume", "")["status"])
	require.Equal(t, "CANCELLED", e.call(t, http.StatusOK, "POST", path+"/cancel", "")["status"])
	e.call(t, http.StatusConflict, "POST", path+"/resume", "")

	later := e.call(t, http.StatusCreated, "POST", "/api/v1/campaigns", `{"topic":"Later","template_id":1,"segment_id":1,"schedule_time":"2026-03-03T12:00:00Z"}`)
	scheduled := e.call(t, http.StatusOK, "POST", fmt.Sprintf("/api/v1/campaigns/%v/trigger", later["id"]), "")
	require.Equal(t, "SCHEDULED", scheduled["status"])
	require.Nil(t, e.call(t, http.StatusOK, "GET", fmt.Sprintf("/api/v1/campaigns/%v", later["id"]), "")["started_at"], "not before its time")
}

func TestRetryAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	path := fmt.Sprintf("/api/v1/campaigns/%d", id)
	require.Contains(t, e.call(t, 409, "POST", path+"/retry", `{"states":["failed"]}`)["detail"], "trigger it")
	run := e.run(t, id)
	for seq := 1; seq <= 3; seq++ {
		e.accepted(t, run, seq, fmt.Sprintf("SM%d", seq))
	}
	require.Contains(t, e.call(t, 409, "POST", path+"/retry", `{"states":["failed"]}`)["detail"], "RUNNING")
	e.exec(t, `UPDATE messages SET state = 'undelivered', reason = 'provider_error', error_code = 30003 WHERE seq = 1`)
	e.exec(t, `UPDATE messages SET state = 'failed', reason = 'provider_error', error_code = 63016 WHERE seq = 2`)
	e.exec(t, `UPDATE campaigns SET status = 'COMPLETED'`)
	e.exec(t, `UPDATE campaign_runs SET finished_at = $1, audience_size = 3`, noon)

	for body, detail := range map[string]string{
		`{"states":[]}`:                             "at least 1",
		`{"states":["failed","unknown"]}`:           "decide each of them first",
		`{"states":["delivered"]}`:                  "a second one",
		`{"states":["lost"]}`:                       "must be one of",
		`{"states":["failed"],"error_codes":[0]}`:   "from 1",
		`{"states":["failed"],"error_codes":["x"]}`: "whole number",
		`{"states":["failed"],"everyone":true}`:     "everyone",
		`{"error_codes":[30003]}`:                   "states: is missing",
	} {
		require.Contains(t, e.call(t, 422, "POST", path+"/retry", body)["detail"], detail, body)
	}
	require.Contains(t, e.call(t, 409, "POST", path+"/retry", `{"states":["failed"],"error_codes":[30003]}`)["detail"], "nothing to retry")
	require.EqualValues(t, 1, e.call(t, 200, "GET", path+"/runs", "")["total"])

	retry := func(want int) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, path+"/retry", strings.NewReader(`{"states":["failed","undelivered"],"error_codes":[30003]}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "again")
		w := e.do(fromHere(r))
		require.Equal(t, want, w.Code, w.Body.String())
		return w
	}
	first, second := retry(200), retry(200)
	require.JSONEq(t, fmt.Sprintf(`{"campaign_id":%d,"status":"RUNNING","run_number":2,"task_id":"campaign/%d/run/2","dry_run":false,"audience_size":1}`, id, id), first.Body.String())
	require.Equal(t, first.Body.String(), second.Body.String())
	require.Equal(t, "true", second.Header().Get("Idempotent-Replayed"))

	runs := e.call(t, 200, "GET", path+"/runs", "")
	require.EqualValues(t, 2, runs["total"])
	got := runs["runs"].([]any)[0].(map[string]any)
	require.Equal(t, map[string]any{
		"number": 2.0, "kind": "retry", "retry": map[string]any{"states": []any{"failed", "undelivered"}, "error_codes": []any{30003.0}},
		"template_version": 1.0, "started_by": "local", "started_at": "2026-03-02T12:00:00Z", "not_before": nil, "frozen_at": nil, "audience_size": nil,
		"finished_at": nil, "settled_at": nil, "states": map[string]any{}, "task_id": fmt.Sprintf("campaign/%d/run/2", id),
		"temporal_url": fmt.Sprintf("http://127.0.0.1:8233/namespaces/default/workflows/campaign%%2F%d%%2Frun%%2F2", id),
	}, got)
	got = runs["runs"].([]any)[1].(map[string]any)
	require.Equal(t, []any{"trigger", nil, 3.0, map[string]any{"accepted": 1.0, "failed": 1.0, "undelivered": 1.0}}, []any{got["kind"], got["retry"], got["audience_size"], got["states"]})

	require.EqualValues(t, 0, e.call(t, 200, "GET", path+"/recipients", "")["total"], "the newest run is not frozen yet")
	require.EqualValues(t, 3, e.call(t, 200, "GET", path+"/recipients?run=1", "")["total"])
	require.EqualValues(t, 1, e.call(t, 200, "GET", path+"/recipients?run=1&error_code=63016", "")["total"])
	require.EqualValues(t, 1, e.call(t, 200, "GET", fmt.Sprintf("/api/v1/reporting/campaigns/%d/summary?run=1", id), "")["run_number"])
	e.call(t, 404, "GET", path+"/recipients?run=3", "")
	e.call(t, 400, "GET", path+"/recipients?run=0", "")
	e.call(t, 404, "GET", "/api/v1/campaigns/99/runs", "")
}

func TestReportingAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	run := e.run(t, id)
	for seq := 1; seq <= 3; seq++ {
		e.accepted(t, run, seq, fmt.Sprintf("SM%d", seq))
	}
	e.exec(t, `UPDATE messages SET state = 'read', sent_at = $1, delivered_at = $1, read_at = $1 WHERE seq = 1`, noon)
	e.exec(t, `UPDATE messages SET state = 'failed', reason = 'provider_error', error_code = 63016 WHERE seq = 3`)
	e.exec(t, `INSERT INTO compliance_checks (message_id, action, reason, until, steps, created_at)
		SELECT id, 'wait', 'quiet_hours', $1, '[{"step":"consent","result":"passed"},{"step":"quiet_hours","result":"deferred","detail":"until 08:00"}]', $1 FROM messages WHERE seq = 1`, noon)

	sum := e.call(t, http.StatusOK, "GET", fmt.Sprintf("/api/v1/reporting/campaigns/%d/summary", id), "")
	require.EqualValues(t, 3, sum["total_recipients"])
	require.EqualValues(t, 1, sum["messages_sent"])
	require.EqualValues(t, 1, sum["messages_delivered"])
	require.EqualValues(t, 1, sum["messages_queued"])
	require.EqualValues(t, 1, sum["messages_failed"])
	require.EqualValues(t, 1, sum["quiet_hours_deferred"])
	require.Equal(t, map[string]any{"accepted": 1.0, "read": 1.0, "failed": 1.0}, sum["states"])
	code := sum["top_error_codes"].([]any)[0].(map[string]any)
	require.EqualValues(t, 63016, code["error_code"])
	require.EqualValues(t, 100, code["percentage"])
	require.NotEmpty(t, code["error_message"])
	require.Equal(t, fmt.Sprintf("http://127.0.0.1:8233/namespaces/default/workflows/campaign%%2F%d%%2Frun%%2F1", id), sum["temporal_url"])
	require.Equal(t, map[string]any{"region": "LK", "city": "Colombo", "count": 3.0, "delivered": 1.0, "percentage": 100.0}, sum["geographic_distribution"].([]any)[0])
	empty := e.call(t, http.StatusOK, "GET", fmt.Sprintf("/api/v1/reporting/campaigns/%d/summary", e.campaign(t)), "")
	require.Nil(t, empty["run_number"])
	require.Zero(t, empty["total_recipients"])
	e.call(t, http.StatusNotFound, "GET", "/api/v1/reporting/campaigns/99/summary", "")

	recipients := e.call(t, http.StatusOK, "GET", fmt.Sprintf("/api/v1/campaigns/%d/recipients?limit=2", id), "")
	require.Len(t, recipients["recipients"], 2)
	require.Equal(t, "+94…0001", recipients["recipients"].([]any)[0].(map[string]any)["masked_phone"])
	recipients = e.call(t, http.StatusOK, "GET", fmt.Sprintf("/api/v1/campaigns/%d/recipients?limit=2&cursor=%s", id, recipients["next_cursor"]), "")
	require.EqualValues(t, 3, recipients["recipients"].([]any)[0].(map[string]any)["seq"])
	require.EqualValues(t, 1, e.call(t, http.StatusOK, "GET", fmt.Sprintf("/api/v1/campaigns/%d/recipients?state=failed", id), "")["total"])
	e.call(t, http.StatusNotFound, "GET", "/api/v1/campaigns/99/recipients", "")

	status := e.call(t, http.StatusOK, "GET", fmt.Sprintf("/api/v1/reporting/messages/status?campaign_id=%d&limit=1&since=2026-03-02T12:00:00Z", id), "")
	require.EqualValues(t, 3, status["total"])
	require.Equal(t, sum["states"], status["summary"])
	require.NotNil(t, status["next_cursor"])
	first := get[uuid.UUID](t, e, "SELECT id FROM messages WHERE seq = 1")
	detail := e.call(t, http.StatusOK, "GET", "/api/v1/messages/"+first.String(), "")
	require.Equal(t, "SM1", detail["attempts"].([]any)[0].(map[string]any)["provider_sid"])
	require.Nil(t, detail["attempts"].([]any)[0].(map[string]any)["content_sid"])
	require.Equal(t, "read", detail["message"].(map[string]any)["state"])
	check := detail["compliance_checks"].([]any)[0].(map[string]any)
	require.Equal(t, "wait", check["verdict"])
	require.Equal(t, map[string]any{"step": "quiet_hours", "result": "deferred", "detail": "until 08:00"}, check["steps"].([]any)[1])
	verdicts := detail["verdicts"].([]any)
	require.Len(t, verdicts, 6)
	require.Equal(t, map[string]any{"step": "quiet_hours", "result": "deferred", "detail": "until 08:00"}, verdicts[1])
	require.Equal(t, map[string]any{"step": "delivery", "result": "passed", "detail": "read"}, verdicts[4])
	e.call(t, http.StatusNotFound, "GET", "/api/v1/messages/"+uuid.NewString(), "")

	overview := e.call(t, http.StatusOK, "GET", "/api/v1/monitoring", "")
	require.EqualValues(t, 3, overview["opted_in_users"])
	require.Equal(t, "2026-03-02T12:00:00Z", overview["timestamp"])
	require.EqualValues(t, 0, e.call(t, http.StatusOK, "GET", "/api/v1/monitoring/dashboard", "")["recent_inbound_events"])
	e.do(webhook(token, "/webhooks/inbound", said("SMin", "Hello, World")))
	dashboard := e.call(t, http.StatusOK, "GET", "/api/v1/monitoring/dashboard", "")
	require.EqualValues(t, 1, dashboard["recent_inbound_events"])
	require.EqualValues(t, 1, dashboard["active_campaigns"])
	require.EqualValues(t, 100, dashboard["overall_delivery_rate"])
	require.Len(t, dashboard["recent_errors"], 1)

	events := e.call(t, http.StatusOK, "GET", "/api/v1/monitoring/inbound", "")
	require.Equal(t, []any{1.0, 24.0, "2026-03-02T12:00:00Z", nil},
		[]any{events["total_count"], events["time_range_hours"], events["generated_at"], events["next_cursor"]})
	require.Equal(t, map[string]any{
		"event_id": 1.0, "masked_phone": "+94…0009", "channel_type": "whatsapp", "message_classification": "text", "body": "Hello, World",
		"media_count": 0.0, "repeats": 0.0, "received_at": "2026-03-02T12:00:00Z",
	}, events["events"].([]any)[0])
	raw, err := json.Marshal([]any{events, recipients, status, detail, dashboard})
	require.NoError(t, err)
	require.NotContains(t, string(raw), "9477000", "no list shows a number in full")
}

func TestPreflightAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	path := fmt.Sprintf("/api/v1/campaigns/%d/preflight", id)
	for i, consent := range []string{"OPT_IN", "OPT_IN", "STOP"} {
		e.exec(t, `INSERT INTO users (phone_number, attributes, consent_state, region, zones, created_at, updated_at) VALUES ($1, '{"city":"Galle","name":"Ann"}', $2, 'LK', '{Asia/Colombo}', $3, $3)`,
			fmt.Sprintf("+9477111000%d", i), consent, noon)
	}
	f := e.call(t, http.StatusOK, "POST", path, "")
	require.EqualValues(t, 3, f["audience_size"])
	require.EqualValues(t, 2, f["to_send"])
	require.Equal(t, []any{map[string]any{"verdict": "proceed", "reason": nil, "count": 2.0}, map[string]any{"verdict": "suppress", "reason": "stopped", "count": 1.0}}, f["verdicts"])
	require.Equal(t, map[string]any{
		"country": "LK", "law": nil, "zones": []any{"Asia/Colombo"}, "proceed": 2.0, "wait": 0.0, "suppress": 1.0,
		"first_send_at": "2026-03-02T12:00:00Z", "last_send_at": "2026-03-02T12:00:00.1Z", "first_send_local": "2026-03-02T17:30", "last_send_local": "2026-03-02T17:30",
	}, f["groups"].([]any)[0])
	require.Equal(t, map[string]any{"in_force": 10.0, "campaign": 10.0, "sender": 80.0, "account": 1000.0}, f["rate"])
	cost := f["cost"].(map[string]any)
	require.Nil(t, cost["amount"])
	require.Equal(t, "the cost is unknown: no price table is configured (PRICE_TABLE)", cost["note"])
	require.Len(t, f["samples"], 2)
	sample := f["samples"].([]any)[0].(map[string]any)
	require.Regexp(t, `^\+94…000[01]$`, sample["masked_phone"])
	require.Contains(t, sample["body"], "Ann")
	require.Len(t, e.call(t, http.StatusOK, "POST", path, `{"samples":1}`)["samples"], 1)
	require.Equal(t, []string{"samples"}, fields(e.call(t, http.StatusUnprocessableEntity, "POST", path, `{"samples":21}`)))
	e.call(t, http.StatusNotFound, "POST", "/api/v1/campaigns/99/preflight", "")
	require.Zero(t, get[int64](t, e, "SELECT count(*) FROM campaign_runs"))
	require.Zero(t, get[int64](t, e, "SELECT count(*) FROM outbox"))
}

func TestPreflightCost(t *testing.T) {
	t.Parallel()
	prices, err := price.Parse([]byte(`{"currency":"USD","whatsapp":{"LK":"0.0455"}}`))
	require.NoError(t, err)
	e := start(t, func(d *api.Deps) { d.LocalAuth, d.Prices = true, prices })
	id := e.campaign(t)
	for i, region := range []string{"LK", "LK", "IN", ""} {
		e.exec(t, `INSERT INTO users (phone_number, attributes, consent_state, region, created_at, updated_at) VALUES ($1, '{"city":"Galle","name":"Ann"}', 'OPT_IN', $2, $3, $3)`,
			fmt.Sprintf("+9477111000%d", i), region, noon)
	}
	f := e.call(t, http.StatusOK, "POST", fmt.Sprintf("/api/v1/campaigns/%d/trigger", id), `{"dry_run":true}`)["preflight"].(map[string]any)
	require.Equal(t, map[string]any{
		"currency": "USD", "amount": "0.0910", "priced": 2.0, "unpriced": 2.0, "unpriced_countries": []any{"unknown", "IN"},
		"note": "the table has no price on whatsapp for unknown, IN",
	}, f["cost"])
}

func TestScheduleAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.campaign(t)
	path := fmt.Sprintf("/api/v1/campaigns/%d", id)
	got := e.call(t, http.StatusOK, "PATCH", path, `{"schedule_local_time":"2026-03-03T10:00","start_within_minutes":30}`)
	require.Equal(t, "2026-03-03T10:00", got["schedule_local_time"])
	require.EqualValues(t, 30, got["start_within_minutes"])
	require.Equal(t, "SCHEDULED", e.call(t, http.StatusOK, "POST", path+"/trigger", "")["status"])

	daily := e.call(t, http.StatusCreated, "POST", "/api/v1/campaigns", `{"topic":"x","template_id":1,"segment_id":1,"timezone":"Asia/Colombo","recurrence_cron":"0 10 * * 1-5"}`)
	require.Equal(t, "Asia/Colombo", daily["recurrence_timezone"], "the campaign's own zone")
	require.Equal(t, []any{"2026-03-03T04:30:00Z", "2026-03-04T04:30:00Z", "2026-03-05T04:30:00Z", "2026-03-06T04:30:00Z", "2026-03-09T04:30:00Z"}, daily["next_occurrences"])
	path = fmt.Sprintf("/api/v1/campaigns/%.0f", daily["id"])
	triggered := e.call(t, http.StatusOK, "POST", path+"/trigger", "")
	require.Equal(t, map[string]any{"campaign_id": daily["id"], "status": "SCHEDULED", "task_id": nil, "dry_run": false}, triggered)
	require.Equal(t, "PAUSED", e.call(t, http.StatusOK, "POST", path+"/pause", "")["status"])
	require.Empty(t, e.call(t, http.StatusOK, "GET", path, "")["next_occurrences"])
	require.Equal(t, "SCHEDULED", e.call(t, http.StatusOK, "POST", path+"/resume", "")["status"])
	require.Equal(t, "SCHEDULED", e.call(t, http.StatusOK, "GET", path+"/progress", "")["status"])
	require.Equal(t, "0 11 * * 1-5", e.call(t, http.StatusOK, "PATCH", path, `{"recurrence_cron":"0 11 * * 1-5"}`)["recurrence_cron"])
	require.Equal(t, "CANCELLED", e.call(t, http.StatusOK, "POST", path+"/cancel", "")["status"])

	draft := e.call(t, http.StatusCreated, "POST", "/api/v1/campaigns", `{"topic":"x","template_id":1,"segment_id":1,"recurrence_cron":"0 10 * * *","recurrence_timezone":"Asia/Colombo"}`)
	once := e.call(t, http.StatusOK, "PATCH", fmt.Sprintf("/api/v1/campaigns/%.0f", draft["id"]), `{"recurrence_cron":null}`)
	require.Nil(t, once["recurrence_timezone"])
	require.Empty(t, once["next_occurrences"])

	for body, want := range map[string][]string{
		`{"schedule_local_time":"2026-02-30T10:00"}`:                                        {"schedule_local_time"},
		`{"schedule_local_time":"2026-03-03 10:00"}`:                                        {"schedule_local_time"},
		`{"schedule_local_time":"2026-03-03T10:00","schedule_time":"2026-03-03T10:00:00Z"}`: {"schedule_local_time"},
		`{"start_within_minutes":0}`:                                                        {"start_within_minutes"},
		`{"recurrence_cron":"61 * * * *"}`:                                                  {"recurrence_cron"},
		`{"recurrence_cron":"0 10 1 * 1"}`:                                                  {"recurrence_cron"},
		`{"recurrence_cron":"0 10 * * *","recurrence_timezone":"Mars/Olympus"}`:             {"recurrence_timezone"},
		`{"recurrence_timezone":"UTC"}`:                                                     {"recurrence_timezone"},
		`{"recurrence_cron":"0 10 * * *","schedule_time":"2026-03-03T10:00:00Z"}`:           {"recurrence_cron"},
		`{"recurrence_cron":"every day at ten","schedule_local_time":"2026-03-03T10:00"}`:   {"recurrence_cron"},
	} {
		body = strings.Replace(body, "{", `{"topic":"x","template_id":1,"segment_id":1,`, 1)
		require.Equal(t, want, fields(e.call(t, http.StatusUnprocessableEntity, "POST", "/api/v1/campaigns", body)), body)
	}
}

func TestApprovalAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	e.store.ApprovalsRequired = true
	e.campaign(t)
	key := func(name string, scopes ...string) func(want int, method, target, body string) map[string]any {
		_, secret, err := e.store.CreateKey(t.Context(), name, scopes, "operator", noon)
		require.NoError(t, err)
		return func(want int, method, target, body string) map[string]any {
			t.Helper()
			r := httptest.NewRequest(method, target, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+secret)
			r.Header.Set("Content-Type", "application/json")
			w := e.do(r)
			require.Equal(t, want, w.Code, w.Body.String())
			var answer map[string]any
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
			return answer
		}
	}
	author, editor, boss := key("author", "write", "send"), key("editor", "write", "send"), key("boss", "send", "write")
	inner := get[int64](t, e, `INSERT INTO segments (name, definition, created_at, updated_at) SELECT 'Inner', definition, $1, $1 FROM segments WHERE id = 1 RETURNING id`, noon)
	outer := author(http.StatusCreated, "POST", "/api/v1/segments", fmt.Sprintf(`{"name":"Outer","definition_json":{"operator":"in_segment","value":%d}}`, inner))
	made := author(http.StatusCreated, "POST", "/api/v1/campaigns", fmt.Sprintf(`{"topic":"x","template_id":1,"segment_id":1,"exclude_segment_ids":[%.0f]}`, outer["id"]))
	require.Equal(t, "key:1", made["created_by"])
	path := fmt.Sprintf("/api/v1/campaigns/%.0f", made["id"])
	refused := author(http.StatusConflict, "POST", path+"/trigger", "{}")
	require.Contains(t, refused["detail"], "nobody approved the campaign")
	author(http.StatusForbidden, "POST", path+"/approve", "")
	approved := editor(http.StatusOK, "POST", path+"/approve", "")
	require.Equal(t, "key:2", approved["approved_by"])

	withdrawn := editor(http.StatusOK, "PATCH", path, `{"topic":"y"}`)
	require.Nil(t, withdrawn["approved_by"], "what was agreed to is no more")
	require.Nil(t, withdrawn["approved_at"])
	author(http.StatusConflict, "POST", path+"/trigger", "{}")
	editor(http.StatusForbidden, "POST", path+"/approve", "")
	boss(http.StatusOK, "POST", path+"/approve", "")
	for _, segment := range []int64{1, inner, int64(outer["id"].(float64))} { // its own, and whom it leaves out, at second hand too
		e.exec(t, `UPDATE segments SET updated_at = $1 WHERE id = $2`, noon.Add(time.Second), segment)
		require.Contains(t, author(http.StatusConflict, "POST", path+"/trigger", "{}")["detail"], "a segment or the text of a step was changed")
		e.exec(t, `UPDATE segments SET updated_at = $1`, noon)
	}
	e.exec(t, `WITH step AS (INSERT INTO campaign_steps (campaign_id, number, template_id, wait_seconds) VALUES ($1, 1, 1, 0))
		UPDATE template_versions SET created_at = $2`, made["id"], noon.Add(time.Second))
	require.Contains(t, author(http.StatusConflict, "POST", path+"/trigger", "{}")["detail"], "a segment or the text of a step was changed")
	e.exec(t, `DELETE FROM campaign_steps`)
	require.Equal(t, "RUNNING", author(http.StatusOK, "POST", path+"/trigger", "{}")["status"])
	boss(http.StatusConflict, "POST", path+"/approve", "")
	require.Equal(t, []string{"key:1 campaign.create", "key:2 campaign.approve", "key:2 campaign.change", "key:3 campaign.approve", "key:1 campaign.trigger"}, func() []string {
		rows, err := e.pool.Query(t.Context(), `SELECT principal || ' ' || action FROM audit_events WHERE replace(subject, 'campaign/', 'campaigns/') = $1 ORDER BY id`, strings.TrimPrefix(path, "/api/v1/"))
		require.NoError(t, err)
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return found
	}())
}
