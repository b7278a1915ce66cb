package api_test

import (
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
