package api_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSegmentAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const segments = "/api/v1/segments"
	for i, city := range []string{"Colombo", "Colombo", "Galle"} {
		e.call(t, 201, "POST", "/api/v1/users", fmt.Sprintf(`{"phone_number": "+9477123456%d", "consent_state": %q, "attributes": {"city": %q}}`,
			i, []string{"OPT_IN", "OPT_OUT"}[i%2], city))
	}
	s := e.call(t, 201, "POST", segments, `{"name": "Colombo", "definition_json": {"attribute": "city", "operator": "equals", "value": "Colombo"}}`)
	require.Equal(t, map[string]any{"attribute": "city", "operator": "equals", "value": "Colombo"}, s["definition_json"])
	e.call(t, 409, "POST", segments, `{"name": "Colombo", "definition_json": {"a": 1}}`)
	require.Equal(t, []string{"definition_json.operator"},
		fields(e.call(t, 422, "POST", segments, `{"name": "bad", "definition_json": {"attribute": "city", "operator": "resembles", "value": "x"}}`)))

	one := fmt.Sprintf("%s/%.0f", segments, s["id"])
	result := e.call(t, 200, "POST", one+"/evaluate", "")
	require.Equal(t, []any{2.0, 1.0}, []any{result["count"], result["opted_in_count"]})
	require.Len(t, result["sample"], 2)
	result = e.call(t, 200, "POST", one+"/evaluate", `{"sample_size": 0}`)
	require.Equal(t, []any{2.0, []any{}}, []any{result["count"], result["sample"]})

	require.Equal(t, "Galle", e.call(t, 200, "PUT", one, `{"name": "Galle", "definition_json": {"city": "Galle"}}`)["name"])
	require.Equal(t, 1.0, e.call(t, 200, "POST", one+"/evaluate", `{}`)["count"])
	require.Equal(t, "Galle", e.call(t, 200, "GET", one, "")["name"])
	list := e.call(t, 200, "GET", segments, "")
	require.Equal(t, 1.0, list["total"])
	e.call(t, 204, "DELETE", one, "")
	for _, call := range [][3]string{{"GET", one, ""}, {"DELETE", one, ""}, {"POST", one + "/evaluate", ""}, {"PUT", one, `{"name": "x", "definition_json": {"a": 1}}`}} {
		e.call(t, 404, call[0], call[1], call[2])
	}
}

func TestStaticSegmentAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const segments = "/api/v1/segments"
	for i := range 3 {
		e.call(t, 201, "POST", "/api/v1/users", fmt.Sprintf(`{"phone_number": "+9477123456%d", "consent_state": "OPT_IN"}`, i))
	}
	made := e.call(t, 201, "POST", segments, `{"name": "Guests", "kind": "static"}`)
	require.Equal(t, []any{"static", map[string]any{"operator": "in_segment", "value": made["id"]}}, []any{made["kind"], made["definition_json"]})
	one := fmt.Sprintf("%s/%.0f", segments, made["id"])

	upload := func(want int, method, target, content string) map[string]any {
		kind, body := form(t, "b", "file", "guests.csv", content)
		w := e.send(method, target, kind, body)
		require.Equal(t, want, w.Code, w.Body.String())
		var answer map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		return answer
	}
	got := upload(200, "POST", one+"/members?default_region=LK", "name,phone_number\nA,0771234560\nB,+94779999999\nC,none\n")
	require.Equal(t, []any{3.0, 1.0, 1.0, 1.0, 1.0}, []any{got["rows"], got["matched"], got["unknown"], got["invalid"], got["members"]})
	refused := got["errors"].([]any)
	require.Equal(t, 3.0, refused[0].(map[string]any)["line"])
	require.Equal(t, 4.0, refused[1].(map[string]any)["line"])
	require.NotContains(t, fmt.Sprint(refused), "9999999", "no number is repeated")
	require.Equal(t, 2.0, upload(200, "POST", one+"/members", "+94771234561")["members"])
	require.Equal(t, 1.0, upload(200, "PUT", one+"/members", "+94771234562")["members"])
	require.Equal(t, 1.0, e.call(t, 200, "POST", one+"/evaluate", "")["count"])
	upload(404, "PUT", segments+"/99/members", "")
	upload(422, "PUT", one+"/members?default_region=XX", "")
	require.Equal(t, 415, e.send("POST", one+"/members", "text/csv", "+94771234560").Code)
	require.Equal(t, 422, func() int {
		kind, body := form(t, "b", "numbers", "a", "x")
		return e.send("POST", one+"/members", kind, body).Code
	}())

	require.Equal(t, "Guest list", e.call(t, 200, "PUT", one, `{"name": "Guest list"}`)["name"])
	for body, want := range map[string]string{
		`{"name": "x", "kind": "static", "definition_json": {"a": 1}}`: "definition_json",
		`{"name": "x"}`:                    "definition_json",
		`{"name": "x", "kind": "dynamic"}`: "definition_json",
		`{"name": "x", "kind": "fixed"}`:   "kind",
	} {
		require.Equal(t, []string{want}, fields(e.call(t, 422, "POST", segments, body)), body)
	}
	require.Equal(t, []string{"kind"}, fields(e.call(t, 422, "PUT", one, `{"name": "x", "kind": "dynamic"}`)))
	require.Equal(t, []string{"definition_json"}, fields(e.call(t, 422, "PUT", one, `{"name": "x", "definition_json": {"a": 1}}`)))

	dynamic := e.call(t, 201, "POST", segments, fmt.Sprintf(`{"name": "Others", "definition_json": {"logic": "NOT", "conditions": [{"operator": "in_segment", "value": %.0f}]}}`, made["id"]))
	other := fmt.Sprintf("%s/%.0f", segments, dynamic["id"])
	require.Equal(t, []any{"dynamic", 2.0}, []any{dynamic["kind"], e.call(t, 200, "POST", other+"/evaluate", "")["count"]})
	upload(409, "POST", other+"/members", "+94771234560")
	e.call(t, 409, "DELETE", one, "")
	require.Equal(t, []string{"definition_json"}, fields(e.call(t, 422, "PUT", other, `{"name": "x"}`)))
	require.Equal(t, []string{"definition_json.conditions[0].value"}, fields(e.call(t, 422, "POST", segments,
		`{"name": "y", "definition_json": {"conditions": [{"operator": "in_segment", "value": 99}]}}`)))

	campaignID := e.campaign(t)
	plan := fmt.Sprintf("/api/v1/campaigns/%d", campaignID)
	require.Equal(t, []any{}, e.call(t, 200, "GET", plan, "")["exclude_segment_ids"])
	w := e.send("PATCH", plan, "application/merge-patch+json", fmt.Sprintf(`{"exclude_segment_ids": [%.0f]}`, made["id"]))
	require.Equal(t, 200, w.Code, w.Body.String())
	require.Equal(t, []any{made["id"]}, e.call(t, 200, "GET", plan, "")["exclude_segment_ids"])
	w = e.send("PATCH", plan, "application/merge-patch+json", `{"topic": "Autumn"}`)
	require.Equal(t, []any{made["id"]}, jsonAt(t, w, "exclude_segment_ids"), "what is not named stays")
	w = e.send("PATCH", plan, "application/merge-patch+json", `{"exclude_segment_ids": [99]}`)
	require.Contains(t, w.Body.String(), "exclude_segment_ids[0]")
}

func TestSegmentPreview(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const preview = "/api/v1/segments/preview"
	for i, consent := range []string{"OPT_IN", "OPT_OUT"} {
		e.call(t, 201, "POST", "/api/v1/users", fmt.Sprintf(`{"phone_number": "+9477123456%d", "consent_state": %q, "attributes": {"city": "Colombo"}}`, i, consent))
	}
	got := e.call(t, 200, "POST", preview, `{"definition_json": {"attribute": "city", "operator": "equals_ignore_case", "value": "COLOMBO"}, "sample_size": 1}`)
	require.Equal(t, []any{2.0, 1.0, `city is "COLOMBO" in any letter case`}, []any{got["count"], got["opted_in_count"], got["description"]})
	require.Equal(t, []any{map[string]any{"masked_phone": "+94…4561", "consent_state": "OPT_OUT", "region": "LK"}}, got["sample"])
	require.GreaterOrEqual(t, got["took_ms"], 0.0)
	require.Equal(t, []any{0.0, []any{}}, func() []any {
		nobody := e.call(t, 200, "POST", preview, `{"definition_json": {"field": "last_inbound_at", "operator": "within_last", "value": "7d"}}`)
		return []any{nobody["count"], nobody["sample"]}
	}())
	require.Equal(t, []string{"definition_json.conditions[1].value"}, fields(e.call(t, 422, "POST", preview,
		`{"definition_json": {"conditions": [{"attribute": "a", "value": 1}, {"attribute": "b", "operator": "within_last", "value": "a week"}]}}`)))
	require.Equal(t, []string{"definition_json"}, fields(e.call(t, 422, "POST", preview, `{}`)))
	require.Zero(t, get[int64](t, e, `SELECT count(*) FROM segments`))
}

func TestSegmentUses(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const segments = "/api/v1/segments"
	e.call(t, 201, "POST", segments, `{"name": "Galle", "definition_json": {"address.city": "Galle"}}`)
	e.call(t, 201, "POST", segments, `{"name": "Elsewhere", "definition_json": {"logic": "NOT", "conditions": [{"operator": "in_segment", "value": 1}]}}`)
	e.call(t, 201, "POST", "/api/v1/templates", `{"name": "Welcome", "content": "Hi"}`)
	e.call(t, 201, "POST", "/api/v1/campaigns", `{"topic": "To them", "template_id": 1, "segment_id": 1}`)
	e.call(t, 201, "POST", "/api/v1/campaigns", `{"topic": "Not to them", "template_id": 1, "segment_id": 2, "exclude_segment_ids": [1]}`)
	e.call(t, 201, "POST", "/api/v1/campaigns", `{"topic": "Some", "template_id": 1, "segment_query": {"conditions": [{"operator": "in_segment", "value": 1}]}}`)
	use := func(kind string, id float64, name string, status any, as string) map[string]any {
		return map[string]any{"kind": kind, "id": id, "name": name, "status": status, "used_as": as}
	}
	require.Equal(t, []any{
		use("campaign", 3, "Some", "DRAFT", "definition"), use("campaign", 2, "Not to them", "DRAFT", "exclusion"), use("campaign", 1, "To them", "DRAFT", "audience"),
		use("segment", 2, "Elsewhere", nil, "definition"),
	}, e.call(t, 200, "GET", segments+"/1/uses", "")["uses"])
	e.call(t, 409, "DELETE", segments+"/1", "")
	e.call(t, 404, "GET", segments+"/9/uses", "")

	e.call(t, 201, "POST", segments, `{"name": "Buyers", "definition_json": {"bought": true}}`)
	e.call(t, 201, "POST", "/api/v1/templates", `{"name": "Later", "content": "Hi again"}`)
	drip := e.call(t, 201, "POST", "/api/v1/campaigns", `{"topic": "Onboarding", "template_id": 1, "trigger": "user_created",
		"steps": [{"template_id": 1, "wait_seconds": 0}, {"template_id": 2, "wait_seconds": 60}], "exit_on": {"segment_id": 3}}`)
	require.Equal(t, []any{use("campaign", drip["id"].(float64), "Onboarding", "DRAFT", "exit")}, e.call(t, 200, "GET", segments+"/3/uses", "")["uses"])
	require.Equal(t, []any{use("campaign", drip["id"].(float64), "Onboarding", "DRAFT", "step")}, e.call(t, 200, "GET", "/api/v1/templates/2/uses", "")["uses"])
	e.call(t, 409, "DELETE", segments+"/3", "")
	e.call(t, 409, "DELETE", "/api/v1/templates/2", "")
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	require.Equal(t, []any{}, e.call(t, 200, "GET", "/api/v1/attributes", "")["attributes"])
	for _, number := range []string{"1", "2", "3"} {
		e.call(t, 201, "POST", "/api/v1/users", `{"phone_number": "+9477123456`+number+`", "attributes": {"name": "N`+number+`", "age": 4, "vip": true, "x.y": 1, "address": {"city": "Galle", "zip": null, "geo": {"lat": 1}}}}`)
	}
	known := func(name, kind string, values ...any) map[string]any {
		return map[string]any{"name": name, "types": []any{kind}, "users": 3.0, "values": append([]any{}, values...)}
	}
	require.Equal(t, []any{known("address.city", "string", "Galle"), known("age", "number"), known("name", "string"), known("vip", "boolean")},
		e.call(t, 200, "GET", "/api/v1/attributes", "")["attributes"], "a key with a dot cannot be named in a condition; values of their own are nobody else's business")
}
