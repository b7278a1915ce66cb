package api_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTemplateAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const templates = "/api/v1/templates"
	made := e.call(t, 201, "POST", templates, `{"name": "Welcome", "content": "Hi {name} from {address.city}", "variables": ["address.city", "name"]}`)
	require.Equal(t, []any{"whatsapp", "en_US", 1.0, []any{"name", "address.city"}}, []any{made["channel"], made["locale"], made["version"], made["variables"]})
	e.call(t, 409, "POST", templates, `{"name": "Welcome", "content": "Hi"}`)
	require.Equal(t, []string{"variables"}, fields(e.call(t, 422, "POST", templates, `{"name": "x", "content": "Hi {name}", "variables": []}`)))
	require.Equal(t, []string{"content"}, fields(e.call(t, 422, "POST", templates, `{"name": "x", "content": "Hi {name"}`)))
	require.Equal(t, []string{"channel"}, fields(e.call(t, 422, "POST", templates, `{"name": "x", "content": "Hi", "channel": "pigeon"}`)))

	one := fmt.Sprintf("%s/%.0f", templates, made["id"])
	preview := e.call(t, 200, "POST", one+"/preview", `{"attributes": {"name": "Ann", "address": {"city": "Galle"}}}`)
	require.Equal(t, []any{"Hi Ann from Galle", []any{}, 17.0}, []any{preview["content"], preview["missing_variables"], preview["length"]})
	preview = e.call(t, 200, "POST", one+"/preview", `{"attributes": {"address": {"street": "x"}}}`)
	require.Equal(t, []any{"Hi {name} from {address.city}", []any{"name", "address.city"}}, []any{preview["content"], preview["missing_variables"]})
	e.call(t, 201, "POST", "/api/v1/users", `{"phone_number": "+94771234567", "attributes": {"name": "Bob"}}`)
	preview = e.call(t, 200, "POST", one+"/preview", `{"phone_number": "+94771234567"}`)
	require.Equal(t, []any{"Hi Bob from {address.city}", []any{"address.city"}}, []any{preview["content"], preview["missing_variables"]})
	e.call(t, 404, "POST", one+"/preview", `{"phone_number": "+94771234568"}`)
	e.call(t, 422, "POST", one+"/preview", `{"phone_number": "+94771234568", "attributes": {}}`)
	e.call(t, 422, "POST", one+"/preview", `{}`)

	changed := e.call(t, 200, "PUT", one, `{"name": "Welcome", "content": "Hello", "channel": "sms", "locale": "si"}`)
	require.Equal(t, []any{2.0, "sms", "si", []any{}}, []any{changed["version"], changed["channel"], changed["locale"], changed["variables"]})
	require.Equal(t, changed, e.call(t, 200, "GET", one, ""))
	require.Equal(t, 1.0, e.call(t, 200, "GET", templates, "")["total"])
	e.call(t, 204, "DELETE", one, "")
	e.call(t, 404, "GET", one, "")
}
