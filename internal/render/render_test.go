package render_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

func template(t *testing.T, content string) render.Template {
	t.Helper()
	parsed, err := render.Parse(content)
	require.NoError(t, err, content)
	return parsed
}

func TestRender(t *testing.T) {
	t.Parallel()
	attributes, err := user.ParseAttributes("attributes", json.RawMessage(`{
		"name":"Ann {city}", "city":"Colombo", "age":40, "zero":0, "off":false, "price":1.50, "big":12345678901234567890.5,
		"exp":4e1, "small":1.5E-3, "empty":"", "null":null, "list":[1], "address":{"city":"Kandy","geo":{}}, "නම":"අමල්", "_x1":"ok"}`))
	require.NoError(t, err)
	tests := []struct {
		content, want string
		missing       []string
	}{
		{"Hi {name}! Welcome from {city}.", "Hi Ann {city}! Welcome from Colombo.", nil},
		{"no placeholders", "no placeholders", nil},
		{"{age}|{zero}|{off}|{price}|{big}|{exp}|{small}", "40|0|false|1.50|12345678901234567890.5|40|0.0015", nil},
		{"{{name}} {{{city}}} }}{{", "{name} {Colombo} }{", nil},
		{"{address.city}", "Kandy", nil},
		{"{නම} {_x1}", "අමල් ok", nil},
		{"a{empty}b", "ab", []string{"empty"}},
		{"{nobody} {null} {list} {address} {address.geo} {city.length} {list.0} {nobody}", "       ",
			[]string{"nobody", "null", "list", "address", "address.geo", "city.length", "list.0"}},
		{"{Name}", "", []string{"Name"}},
		{"{name.__class__}", "", []string{"name.__class__"}},
	}
	for _, tt := range tests {
		got, missing := template(t, tt.content).Render(attributes)
		require.Equal(t, tt.want, got, tt.content)
		require.Equal(t, tt.missing, missing, tt.content)
	}

	got, missing := template(t, "{a} {b} {c}").Render(user.Attributes{"a": 40.0, "b": 7, "c": 0.25})
	require.Equal(t, "40 7 0.25", got, "numbers of other decoders")
	require.Empty(t, missing)
	_, missing = template(t, "{a}").Render(nil)
	require.Equal(t, []string{"a"}, missing)
	got, missing = render.Template{}.Render(attributes)
	require.Empty(t, got)
	require.Empty(t, missing)
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"":                                   "empty",
		" \n":                                "empty",
		"Hi {name":                           "character 4",
		"Hi name}":                           "character 8",
		"é😀 {name":                           "character 4",
		"{a{b}}":                             "character 1",
		"{}":                                 "character 1",
		"{ name }":                           "character 1",
		"x{a b}":                             "character 2",
		"{first-name}":                       "character 1",
		"{name!r}":                           "character 1",
		"{name:>10}":                         "character 1",
		"{a..b}":                             "character 1",
		"{.a}":                               "character 1",
		"{a.}":                               "character 1",
		"{a[0]}":                             "character 1",
		"{{a}":                               "character 4",
		"{phone_number}":                     "not an attribute",
		"{consent_state}":                    "not an attribute",
		"a\x00":                              "NUL",
		"\xff":                               "UTF-8",
		strings.Repeat("x", 20000):           "too long",
		"{" + strings.Repeat("x", 300) + "}": "character 1",
	} {
		_, err := render.Parse(content)
		require.True(t, fault.Is(err, fault.Invalid), content)
		require.ErrorContains(t, err, want, content)
	}
}

func TestVariablesAndDeclarations(t *testing.T) {
	t.Parallel()
	parsed := template(t, "{b} {a} {b} {{c}} {d.e}")
	require.Equal(t, []string{"b", "a", "d.e"}, parsed.Variables())
	require.Equal(t, []string{}, template(t, "x").Variables())

	require.NoError(t, parsed.CheckDeclared(nil))
	require.NoError(t, parsed.CheckDeclared([]string{"a", "b", "d.e"}))
	require.ErrorContains(t, parsed.CheckDeclared([]string{"a", "b"}), "d.e")
	require.ErrorContains(t, parsed.CheckDeclared([]string{"a", "b", "d.e", "x"}), "variables[3]")
	require.ErrorContains(t, parsed.CheckDeclared([]string{"a", "b", "d.e", "a"}), "twice")
	require.Error(t, parsed.CheckDeclared([]string{}))
	require.NoError(t, template(t, "x").CheckDeclared([]string{}))
}

func TestLength(t *testing.T) {
	t.Parallel()
	require.Equal(t, 0, render.Length(""))
	require.Equal(t, 5, render.Length("héllo"))
	require.Equal(t, 2, render.Length("😀"))
	require.Zero(t, render.MaxLength("pigeon"))

	for _, channel := range []message.Channel{message.WhatsApp, message.SMS} {
		limit := render.MaxLength(channel)
		require.Equal(t, 1600, limit)
		require.NoError(t, template(t, strings.Repeat("x", limit)).CheckLength(channel))
		require.NoError(t, template(t, strings.Repeat("x", limit-1)+"{long_name}").CheckLength(channel))
		require.Error(t, template(t, strings.Repeat("x", limit)+"{a}").CheckLength(channel))
		require.Error(t, template(t, strings.Repeat("😀", limit/2+1)).CheckLength(channel))
	}
}

// Text without braces survives as it is, and escaping makes any text survive.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"Hi {name}", "{{}}", "}{", "{a.b}", "{", "😀{x}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		if parsed, err := render.Parse(content); err == nil {
			attributes := user.Attributes{}
			for _, name := range parsed.Variables() {
				attributes[name] = "{v}"
			}
			_, missing := parsed.Render(attributes)
			for _, name := range missing {
				require.Contains(t, name, ".")
			}
		}
		escaped := strings.NewReplacer("{", "{{", "}", "}}").Replace(content)
		if parsed, err := render.Parse(escaped); err == nil {
			text, missing := parsed.Render(nil)
			require.Equal(t, content, text)
			require.Empty(t, missing)
		}
	})
}
