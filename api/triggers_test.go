package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// live makes a campaign with that trigger and starts it.
func (e *engine) live(t *testing.T, trigger, name string) int64 {
	t.Helper()
	e.campaign(t)
	made := e.call(t, http.StatusCreated, "POST", "/api/v1/campaigns", fmt.Sprintf(`{"topic":"Live","template_id":1,"trigger":%q,"trigger_name":%q}`, trigger, name))
	require.Equal(t, trigger, made["trigger"])
	id := int64(made["id"].(float64))
	started := e.call(t, http.StatusOK, "POST", fmt.Sprintf("/api/v1/campaigns/%d/trigger", id), "")
	require.Equal(t, "RUNNING", started["status"])
	return id
}

func TestTriggersAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	id := e.live(t, "event", "order.shipped")
	e.call(t, http.StatusCreated, "POST", "/api/v1/users", `{"phone_number":"+94771234567","consent_state":"OPT_IN"}`)
	const path = "/api/v1/ingest/triggers?default_region=LK"
	one := e.call(t, http.StatusAccepted, "POST", path, `{"event_id":"s-1","event":"order.shipped","phone_number":"0771234567","variables":{"name":"Ann"}}`)
	require.EqualValues(t, 1, one["accepted"])
	first := one["results"].([]any)[0].(map[string]any)
	require.Equal(t, "accepted", first["status"])
	require.Equal(t, "s-1", first["event_id"])
	sent := first["messages"].([]any)[0].(map[string]any)
	require.EqualValues(t, id, sent["campaign_id"])
	require.Equal(t, "pending", sent["state"])
	e.call(t, http.StatusOK, "GET", "/api/v1/messages/"+sent["message_id"].(string), "")

	many := e.call(t, http.StatusAccepted, "POST", path, `[
		{"event_id":"s-1","event":"order.shipped","phone_number":"+94771234567"},
		{"event_id":"s-2","event":"order.shipped","phone_number":"+94771234567","variables":{"name":"Bob"}},
		{"event_id":"s-3","event":"order.shipped","phone_number":"+94770000000"},
		{"event_id":"s-4","event":"order.shipped","phone_number":"12"},
		{"event_id":"s 5","event":"order shipped","phone":"+94771234567"},
		{"event_id":"s-6","event":"order.shipped","phone_number":"+94771234567","variables":{"a":"b\u0000"}},
		7, null, "x",
		{"event_id":"s-7","event":"order.shipped","phone_number":"+94771234567","variables":{"a":"`+strings.Repeat("a", 17<<10)+`"}},
		{"event_id":"s-8","event":"order.lost","phone_number":"+94771234567"}]`)
	require.EqualValues(t, 1, many["accepted"])
	require.EqualValues(t, 1, many["duplicates"])
	require.EqualValues(t, 9, many["refused"])
	var got []string
	for _, r := range many["results"].([]any) {
		result := r.(map[string]any)
		got = append(got, fmt.Sprint(result["status"], " ", strings.Join(fields(result), " ")))
	}
	require.Equal(t, []string{
		"duplicate ", "accepted ", "refused phone_number", "refused phone_number", "refused event event_id phone phone_number",
		"refused variables.a", "refused ", "refused ", "refused ", "refused variables", "refused event",
	}, got)

	for body, want := range map[string]int{
		`{"event_id":"s-9","event":"order.shipped","phone_number":"+94770000000"}`: http.StatusNotFound,
		`{"event_id":"s-9","event":"order.eaten","phone_number":"+94771234567"}`:   http.StatusNotFound,
		`{"event_id":"s-9","event":"order.shipped"}`:                               http.StatusUnprocessableEntity,
		`[]`:                                     http.StatusUnprocessableEntity,
		`7`:                                      http.StatusUnprocessableEntity,
		`null`:                                   http.StatusUnprocessableEntity,
		``:                                       http.StatusBadRequest,
		`{`:                                      http.StatusBadRequest,
		`[` + strings.Repeat("{},", 500) + `{}]`: http.StatusUnprocessableEntity,
	} {
		e.call(t, want, "POST", path, body)
	}

	done := e.call(t, http.StatusOK, "POST", fmt.Sprintf("/api/v1/campaigns/%d/complete", id), "")
	require.Equal(t, "RUNNING", done["status"], "what waits is still to be sent")
	e.call(t, http.StatusNotFound, "POST", path, `{"event_id":"s-10","event":"order.shipped","phone_number":"+94771234567"}`)
	e.call(t, http.StatusConflict, "POST", "/api/v1/campaigns/1/complete", "")
	e.call(t, http.StatusNotFound, "POST", "/api/v1/campaigns/99/complete", "")
}

func TestTriggerFieldsOfACampaign(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	e.campaign(t)
	for body, want := range map[string][]string{
		`{"topic":"x","template_id":1,"trigger":"event"}`:                                         {"trigger_name"},
		`{"topic":"x","template_id":1,"trigger":"keyword","trigger_name":"Stop!"}`:                {"trigger_name"},
		`{"topic":"x","template_id":1,"trigger":"user_created","segment_id":1}`:                   {"segment_id"},
		`{"topic":"x","template_id":1,"trigger":"sunrise"}`:                                       {"trigger"},
		`{"topic":"x","template_id":1,"segment_id":1,"trigger_name":"order.shipped"}`:             {"trigger_name"},
		`{"topic":"x","template_id":1,"trigger":"event","trigger_name":"a","canary_percent":5}`:   {"canary_percent"},
		`{"topic":"x","template_id":1,"trigger":"user_created","recurrence_cron":"0 10 * * 1-5"}`: {"recurrence_cron"},
	} {
		require.Equal(t, want, fields(e.call(t, http.StatusUnprocessableEntity, "POST", "/api/v1/campaigns", body)), body)
	}
	made := e.call(t, http.StatusCreated, "POST", "/api/v1/campaigns", `{"topic":"x","template_id":1,"trigger":"keyword","trigger_name":" Summer-SALE! "}`)
	require.Equal(t, "summer sale", made["trigger_name"], "as keywords are compared")
	path := fmt.Sprint("/api/v1/campaigns/", made["id"])
	forecast := e.call(t, http.StatusOK, "POST", path+"/preflight", "")
	require.Equal(t, []any{0.0, "the campaign has no audience: it is sent to whoever writes “summer sale”, one person at a time"}, []any{forecast["audience_size"], forecast["note"]})
	patched := e.call(t, http.StatusOK, "PATCH", path, `{"trigger":"user_created","trigger_name":null}`)
	require.Nil(t, patched["trigger_name"])
	patched = e.call(t, http.StatusOK, "PATCH", path, `{"trigger":"manual","segment_id":1}`)
	require.Equal(t, "manual", patched["trigger"])
	dry := e.call(t, http.StatusOK, "POST", "/api/v1/campaigns/1/trigger", `{"dry_run":true}`)
	require.Equal(t, true, dry["dry_run"])
}

func TestTestAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	path := fmt.Sprintf("/api/v1/campaigns/%d/test", e.campaign(t))
	e.call(t, http.StatusCreated, "POST", "/api/v1/users", `{"phone_number":"+94771234567","consent_state":"OPT_IN"}`)
	e.call(t, http.StatusCreated, "POST", "/api/v1/users", `{"phone_number":"+94771234568"}`)
	tested := e.call(t, http.StatusAccepted, "POST", path, `{"phone_numbers":["+94771234568","whatsapp:+94771234567"],"variables":{"name":"Ann"}}`)
	require.Equal(t, "campaign/1/run/1", tested["task_id"])
	messages := tested["messages"].([]any)
	require.Equal(t, "no_consent", messages[0].(map[string]any)["reason"])
	require.Equal(t, "pending", messages[1].(map[string]any)["state"])
	require.Equal(t, "DRAFT", e.call(t, http.StatusOK, "GET", "/api/v1/campaigns/1", "")["status"])
	runs := e.call(t, http.StatusOK, "GET", "/api/v1/campaigns/1/runs", "")["runs"].([]any)
	require.Equal(t, "test", runs[0].(map[string]any)["kind"])
	for body, want := range map[string][]string{
		`{"phone_numbers":[]}`:                               {"phone_numbers"},
		`{"phone_numbers":["1","2","3","4","5","6"]}`:        {"phone_numbers"},
		`{"phone_numbers":["+94771234567","+94770000000"]}`:  {"phone_numbers[1]"},
		`{"phone_numbers":["+94771234567","12"]}`:            {"phone_numbers[1]"},
		`{"phone_numbers":["+94771234567","94771234567"]}`:   {"phone_numbers[1]"},
		`{"phone_numbers":["+94771234567"],"variables":"a"}`: {"variables"},
	} {
		require.Equal(t, want, fields(e.call(t, http.StatusUnprocessableEntity, "POST", path, body)), body)
	}
	e.call(t, http.StatusNotFound, "POST", "/api/v1/campaigns/9/test", `{"phone_numbers":["+94771234567"]}`)
}
