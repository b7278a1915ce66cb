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
	require.Equal(t, []any{"not_needed", nil, []any{}}, []any{changed["approval"], changed["content_sid"], changed["variants"]})
	newest := e.call(t, 200, "GET", one+"/versions?limit=1", "")
	require.Equal(t, changed["content"], newest["versions"].([]any)[0].(map[string]any)["content"])
	older := e.call(t, 200, "GET", one+"/versions?limit=1&cursor="+newest["next_cursor"].(string), "")
	require.Equal(t, "Hi {name} from {address.city}", older["versions"].([]any)[0].(map[string]any)["content"])
	require.Nil(t, older["next_cursor"])
	require.Equal(t, []any{}, e.call(t, 200, "GET", one+"/uses", "")["uses"])
	e.call(t, 201, "POST", "/api/v1/campaigns", `{"topic": "Spring", "template_id": 1, "segment_query": {"city": "Galle"}}`)
	require.Equal(t, []any{map[string]any{"kind": "campaign", "id": 1.0, "name": "Spring", "status": "DRAFT", "used_as": "template"}}, e.call(t, 200, "GET", one+"/uses", "")["uses"])
	e.call(t, 409, "DELETE", one, "")
	e.call(t, 204, "DELETE", "/api/v1/campaigns/1", "")
	e.call(t, 204, "DELETE", one, "")
	for _, path := range []string{one, one + "/uses", one + "/versions"} {
		e.call(t, 404, "GET", path, "")
	}
}

func TestTemplatesForWhatsApp(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const templates, sid = "/api/v1/templates", "HX0123456789abcdef0123456789abcdef"
	made := e.call(t, 201, "POST", templates, `{"name": "Offer", "content": "Hi {name}, see https://example.com/{city}", "category": "utility", "collapse_whitespace": true,
		"variants": [{"locale": "si", "content": "ආයුබෝවන් {name}", "content_sid": "`+sid+`", "content_variables": {"who": "name"}}]}`)
	require.Equal(t, []any{"utility", true, nil, map[string]any{"1": "name", "2": "city"}, "unsubmitted", nil, []any{}},
		[]any{made["category"], made["collapse_whitespace"], made["content_sid"], made["content_variables"], made["approval"], made["approval_reason"], made["warnings"]})
	require.Equal(t, []any{map[string]any{
		"locale": "si", "content": "ආයුබෝවන් {name}", "variables": []any{"name"}, "content_sid": sid, "content_variables": map[string]any{"who": "name"},
		"approval": "unsubmitted", "approval_reason": nil,
	}}, made["variants"])
	require.EqualValues(t, 2, get[int64](t, e, `SELECT count(*) FROM outbox WHERE kind = 'template.approve'`))

	one := fmt.Sprintf("%s/%.0f", templates, made["id"])
	preview := e.call(t, 200, "POST", one+"/preview", `{"attributes": {"name": "Nimal", "language": "si-LK"}}`)
	require.Equal(t, []any{"ආයුබෝවන් Nimal", "si"}, []any{preview["content"], preview["locale"]})
	e.exec(t, `UPDATE template_variants SET approval = 'rejected', approval_reason = 'INVALID_FORMAT', content_sid = 'HX1123456789abcdef0123456789abcdef' WHERE position = 0`)
	read := e.call(t, 200, "GET", one, "")
	require.Equal(t, []any{"rejected", "INVALID_FORMAT", 1.0}, []any{read["approval"], read["approval_reason"], read["version"]})

	for field, body := range map[string]string{
		"content":                       `{"name": "x", "content": "See https://{host}/"}`,
		"category":                      `{"name": "x", "content": "Hi", "category": "spam"}`,
		"content_sid":                   `{"name": "x", "content": "Your code: {code}", "category": "authentication"}`,
		"content_variables":             `{"name": "x", "content": "Hi {name}", "content_variables": {"1": "city"}}`,
		"variants[0].content":           `{"name": "x", "content": "Hi", "variants": [{"locale": "si", "content": "{"}]}`,
		"variants[0].locale":            `{"name": "x", "content": "Hi", "variants": [{"locale": "en_US", "content": "Hi"}]}`,
		"variants[0].content_variables": `{"name": "x", "content": "Hi", "variants": [{"locale": "si", "content": "{a}", "content_variables": {}}]}`,
	} {
		require.Contains(t, fields(e.call(t, 422, "POST", templates, body)), field, body)
	}
	warned := e.call(t, 201, "POST", templates, `{"name": "Bare", "content": "Buy now"}`)
	require.Equal(t, "no_opt_out_line", warned["warnings"].([]any)[0].(map[string]any)["code"])
}

func TestContentsOfTheProvider(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const templates, sid = "/api/v1/templates", "HX0123456789abcdef0123456789abcdef"
	require.Equal(t, "templates/sync", e.call(t, 202, "POST", templates+"/sync", "")["task_id"])
	require.EqualValues(t, 1, get[int64](t, e, `SELECT count(*) FROM outbox WHERE kind = 'templates.sync'`))
	e.exec(t, `INSERT INTO contents (sid, friendly_name, language, content_type, body, variables, category, approval, approval_reason, synced_at)
		VALUES ($1, 'spring', 'pt_BR', 'twilio/text', 'Oi {{1}}! PARE', '{"1": "Ana"}', 'MARKETING', 'approved', '', now()),
		       ('HX1123456789abcdef0123456789abcdef', 'code', 'en', 'whatsapp/authentication', '', '{}', 'AUTHENTICATION', 'approved', '', now())`, sid)
	list := e.call(t, 200, "GET", templates+"/contents?limit=1", "")
	first := list["contents"].([]any)[0].(map[string]any)
	require.Equal(t, []any{sid, "spring", "pt_BR", "approved", nil, 2.0}, []any{first["content_sid"], first["name"], first["locale"], first["approval"], first["template_id"], list["total"]})
	list = e.call(t, 200, "GET", templates+"/contents?limit=1&cursor="+list["next_cursor"].(string), "")
	require.Equal(t, "code", list["contents"].([]any)[0].(map[string]any)["name"])
	require.Nil(t, list["next_cursor"])

	require.Equal(t, []string{"content_variables"}, fields(e.call(t, 422, "POST", templates+"/import", `{"name": "Spring", "content_sid": "`+sid+`"}`)))
	require.Equal(t, []string{"content_sid"}, fields(e.call(t, 422, "POST", templates+"/import", `{"name": "Code", "content_sid": "HX1123456789abcdef0123456789abcdef"}`)))
	e.call(t, 404, "POST", templates+"/import", `{"name": "None", "content_sid": "HX2123456789abcdef0123456789abcdef"}`)
	made := e.call(t, 201, "POST", templates+"/import", `{"name": "Spring", "content_sid": "`+sid+`", "content_variables": {"1": "name"}}`)
	require.Equal(t, []any{"Oi {name}! PARE", "pt_BR", sid, map[string]any{"1": "name"}, "unsubmitted"},
		[]any{made["content"], made["locale"], made["content_sid"], made["content_variables"], made["approval"]})
	list = e.call(t, 200, "GET", templates+"/contents", "")
	require.Equal(t, made["id"], list["contents"].([]any)[0].(map[string]any)["template_id"])
}
