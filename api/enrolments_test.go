package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStepsAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	e.campaign(t)
	e.call(t, http.StatusCreated, "POST", "/api/v1/templates", `{"name":"Second","content":"And {name}","variables":["name"]}`)
	for body, want := range map[string][]string{
		`"steps":[{"template_id":2,"wait_seconds":0}]`:                                        {"template_id"},
		`"steps":[{"template_id":1,"wait_seconds":-1}]`:                                       {"steps[0].wait_seconds"},
		`"steps":[{"template_id":1}]`:                                                         {"steps[0].wait_seconds"},
		`"steps":[{"template_id":1,"wait_seconds":0},{"template_id":99,"wait_seconds":60}]`:   {"steps[1].template_id"},
		`"exit_on":{"reply":true}`:                                                            {"exit_on"},
		`"steps":[{"template_id":1,"wait_seconds":0}],"exit_on":{"segment_id":99}`:            {"exit_on.segment_id"},
		`"steps":[{"template_id":1,"wait_seconds":0,"days":1}]`:                               {"steps[0].days"},
		`"steps":[{"template_id":1,"wait_seconds":0}],"trigger":"manual","trigger_name":null`: {"segment_id", "steps"},
	} {
		refused := e.call(t, http.StatusUnprocessableEntity, "POST", "/api/v1/campaigns",
			`{"topic":"x","template_id":1,"trigger":"event","trigger_name":"signed.up",`+body+`}`)
		require.ElementsMatch(t, want, fields(refused), "%s: %v", body, refused)
	}
	made := e.call(t, http.StatusCreated, "POST", "/api/v1/campaigns", `{"topic":"x","template_id":1,"trigger":"event","trigger_name":"signed.up",
		"steps":[{"template_id":1,"wait_seconds":0},{"template_id":2,"wait_seconds":86400}],"exit_on":{"reply":true}}`)
	steps := []any{map[string]any{"template_id": 1.0, "wait_seconds": 0.0}, map[string]any{"template_id": 2.0, "wait_seconds": 86400.0}}
	require.Equal(t, steps, made["steps"])
	path := fmt.Sprintf("/api/v1/campaigns/%v", made["id"])
	patched := e.call(t, http.StatusOK, "PATCH", path, `{"exit_on":{"read":true}}`)
	require.Equal(t, map[string]any{"reply": true, "read": true}, patched["exit_on"])
	require.Equal(t, steps, patched["steps"])
	require.Empty(t, e.call(t, http.StatusOK, "GET", path+"/enrolments", "")["enrolments"])
	require.Empty(t, e.call(t, http.StatusOK, "GET", path+"/steps", "")["steps"])

	e.call(t, http.StatusOK, "POST", path+"/trigger", "")
	e.call(t, http.StatusConflict, "PATCH", path, `{"steps":[]}`)
	for i := range 3 {
		e.call(t, http.StatusCreated, "POST", "/api/v1/users", fmt.Sprintf(`{"phone_number":"+9477123456%d","consent_state":"OPT_IN"}`, i))
		told := fmt.Sprintf(`{"event_id":"e-%d","event":"signed.up","phone_number":"+9477123456%d"}`, i, i)
		result := e.call(t, http.StatusAccepted, "POST", "/api/v1/ingest/triggers", told)["results"].([]any)[0].(map[string]any)
		require.Equal(t, "accepted", result["status"])
		message := result["messages"].([]any)[0].(map[string]any)
		require.Nil(t, message["message_id"])
		require.NotNil(t, message["enrolment_id"])
		again := e.call(t, http.StatusAccepted, "POST", "/api/v1/ingest/triggers", told)["results"].([]any)[0].(map[string]any)
		require.Equal(t, "duplicate", again["status"])
		require.Equal(t, result["messages"], again["messages"])
	}
	page := e.call(t, http.StatusOK, "GET", path+"/enrolments?state=active&limit=2", "")
	require.EqualValues(t, 3, page["total"])
	require.Len(t, page["enrolments"], 2)
	first := page["enrolments"].([]any)[0].(map[string]any)
	require.Equal(t, "active", first["state"])
	require.EqualValues(t, 1, first["next_step"])
	rest := e.call(t, http.StatusOK, "GET", path+"/enrolments?state=active&limit=2&cursor="+page["next_cursor"].(string), "")
	require.Len(t, rest["enrolments"], 1)
	require.Nil(t, rest["next_cursor"])
	require.Empty(t, e.call(t, http.StatusOK, "GET", path+"/enrolments?state=exited", "")["enrolments"])
	e.call(t, http.StatusBadRequest, "GET", path+"/enrolments?state=lost", "")
	report := e.call(t, http.StatusOK, "GET", path+"/steps", "")
	require.EqualValues(t, 3, report["steps"].([]any)[0].(map[string]any)["waiting"])
	require.Equal(t, []any{map[string]any{"state": "active", "reason": nil, "count": 3.0}}, report["enrolments"])
	e.call(t, http.StatusNotFound, "GET", "/api/v1/campaigns/99/enrolments", "")
	e.call(t, http.StatusNotFound, "GET", "/api/v1/campaigns/99/steps", "")
}
