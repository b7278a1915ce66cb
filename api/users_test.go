package api_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// jsonAt returns a member of an answer's object.
func jsonAt(t *testing.T, w *httptest.ResponseRecorder, key string) any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &object), w.Body.String())
	return object[key]
}

func TestUserAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const users, one = "/api/v1/users", "/api/v1/users/+94771234567"
	u := e.call(t, 201, "POST", users, `{"phone_number": "077-123 4567", "default_region": "LK", "attributes": {"name": "Arjuna", "tags": ["a", 1, null]}}`)
	require.Equal(t, map[string]any{
		"phone_number": "+94771234567", "name": "Arjuna", "attributes": map[string]any{"name": "Arjuna", "tags": []any{"a", 1.0, nil}},
		"consent_state": "PENDING", "suppressed": []any{}, "region": "LK", "timezones": []any{"Asia/Colombo"}, "last_inbound_at": nil,
		"created_at": "2026-03-02T12:00:00Z", "updated_at": "2026-03-02T12:00:00Z",
	}, u)
	require.Equal(t, []string{"phone_number"}, fields(e.call(t, 422, "POST", users, `{"phone_number": "077-123 4567"}`)), "no region, no country code")
	require.Equal(t, []string{"phone_number"}, fields(e.call(t, 422, "POST", users, `{"phone_number": "hello"}`)))
	require.Contains(t, fields(e.call(t, 422, "POST", users, `{"phone_number": "+94771234568", "attributes": {"n": 1e999}}`)), "attributes.n")
	e.call(t, 409, "POST", users, `{"phone_number": "+94771234567"}`)

	for _, path := range []string{one, "/api/v1/users/%2B94771234567", "/api/v1/users/94771234567", "/api/v1/users/whatsapp:+94771234567", "/api/v1/users/%2B94%2077%20123%204567"} {
		require.Equal(t, "+94771234567", e.call(t, 200, "GET", path, "")["phone_number"], path)
	}
	e.call(t, 404, "GET", "/api/v1/users/94771234599", "")

	u = e.call(t, 200, "PUT", one, `{"attributes": {"timezone": "Europe/London"}}`)
	require.Equal(t, []any{[]any{"Europe/London"}, nil, "PENDING"}, []any{u["timezones"], u["name"], u["consent_state"]})
	u = e.call(t, 200, "PUT", one, `{"consent_state": "OPT_IN"}`)
	require.Equal(t, []any{[]any{"Europe/London"}, "OPT_IN"}, []any{u["timezones"], u["consent_state"]})
	e.call(t, 422, "PUT", one, `{}`)

	consent := one + "/consent"
	require.Equal(t, "STOP", e.call(t, 200, "PUT", consent, `{"consent_state": "STOP", "evidence": "they called"}`)["consent_state"])
	e.call(t, 409, "PUT", one, `{"consent_state": "OPT_IN"}`)
	e.call(t, 409, "PUT", consent, `{"consent_state": "OPT_IN", "evidence": "form"}`)
	require.Equal(t, "OPT_IN", e.call(t, 200, "PUT", consent, `{"consent_state": "OPT_IN", "evidence": "form", "source": "operator"}`)["consent_state"])
	require.Equal(t, []string{"evidence"}, fields(e.call(t, 422, "PUT", consent, `{"consent_state": "OPT_IN"}`)))
	require.Equal(t, []string{"PENDING api  local", "OPT_IN api  local", "STOP api they called local", "OPT_IN operator form local"},
		get[[]string](t, e, `SELECT array_agg(state || ' ' || source || ' ' || evidence || ' ' || actor ORDER BY id) FROM consent_events`))

	e.call(t, 204, "DELETE", one, "")
	e.call(t, 404, "DELETE", one, "")
	e.call(t, 404, "PUT", one, `{"consent_state": "OPT_IN"}`)
}

func TestUserPages(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	for i := range 5 {
		e.call(t, 201, "POST", "/api/v1/users", fmt.Sprintf(`{"phone_number": "+9477123456%d", "consent_state": "OPT_IN"}`, i))
	}
	e.call(t, 201, "POST", "/api/v1/users", `{"phone_number": "+447911123456"}`)
	var numbers []string
	target := "/api/v1/users?limit=2&q=%2B9477&consent_state=OPT_IN"
	next := target
	for range 4 {
		page := e.call(t, 200, "GET", next, "")
		require.Equal(t, 5.0, page["total"])
		for _, u := range page["users"].([]any) {
			numbers = append(numbers, u.(map[string]any)["phone_number"].(string))
		}
		if page["next_cursor"] == nil {
			break
		}
		next = target + "&cursor=" + page["next_cursor"].(string)
	}
	require.Equal(t, []string{"+94771234564", "+94771234563", "+94771234562", "+94771234561", "+94771234560"}, numbers)

	first := e.call(t, 200, "GET", "/api/v1/users?limit=2", "")
	require.Equal(t, []string{"cursor"}, fields(e.call(t, 400, "GET", "/api/v1/users?limit=2&q=94&cursor="+first["next_cursor"].(string), "")), "a cursor belongs to its list")
	require.Equal(t, []any{}, e.call(t, 200, "GET", "/api/v1/users?q=1", "")["users"])
}

func TestUserConditions(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const users = "/api/v1/users"
	e.call(t, 201, "POST", users, `{"phone_number": "+94771234561", "attributes": {"name": "Ann_O", "city": "Galle"}}`)
	e.call(t, 201, "POST", users, `{"phone_number": "+94771234562", "attributes": {"name": "Annika", "city": "Kandy"}}`)
	e.call(t, 201, "POST", users, `{"phone_number": "+447400123456"}`)
	e.call(t, 201, "POST", "/api/v1/segments", `{"name": "Kandy", "definition_json": {"city": "Kandy"}}`)
	e.call(t, 201, "POST", "/api/v1/topics", `{"name": "Offers"}`)
	e.call(t, 200, "PUT", users+"/+94771234561/topics/1", `{"subscribed": true, "evidence": "form"}`)
	for query, total := range map[string]float64{
		"name=ANN": 2, "name=ann_": 1, "name=nn": 0, "segment_id=1": 1, "topic_id=1": 1, "region=LK": 2, "region=GB": 1, "region=LK&name=ann&segment_id=1&topic_id=1": 0,
		"created_from=2026-03-02T12:00:00Z": 3, "created_before=2026-03-02T12:00:00Z": 0, "created_from=2026-03-02T12:00:01Z": 0,
	} {
		page := e.call(t, 200, "GET", users+"?"+query, "")
		require.Equal(t, total, page["total"], query)
		require.Len(t, page["users"], int(total), query)
	}
	require.Equal(t, []string{"segment_id"}, fields(e.call(t, 422, "GET", users+"?segment_id=9", "")))
	require.Equal(t, []string{"region"}, fields(e.call(t, 422, "GET", users+"?region=XX", "")))
}
