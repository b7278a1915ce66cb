package segment_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

func parse(t *testing.T, definition string) segment.Expr {
	t.Helper()
	e, err := segment.Parse("definition_json", json.RawMessage(definition))
	require.NoError(t, err, definition)
	return e
}

func TestParseCanonicalForm(t *testing.T) {
	t.Parallel()
	tests := []struct{ definition, canonical, words string }{
		{
			`{"attribute":"city","operator":"equals","value":"Colombo"}`,
			`{"attribute":"city","operator":"equals","value":"Colombo"}`,
			`city is "Colombo"`,
		},
		{
			`{"attribute":"age","value":40}`,
			`{"attribute":"age","operator":"equals","value":40}`,
			`age is 40`,
		},
		{
			`{"conditions":[{"attribute":"city","value":"Colombo"},{"attribute":"city","operator":"not_equals","value":"Matara"}],"logic":"OR"}`,
			`{"conditions":[{"attribute":"city","operator":"equals","value":"Colombo"},{"attribute":"city","operator":"not_equals","value":"Matara"}],"logic":"OR"}`,
			`city is "Colombo" or city is not "Matara"`,
		},
		{
			`{"conditions":[{"attribute":"a","operator":"exists"}]}`,
			`{"conditions":[{"attribute":"a","operator":"exists","value":true}],"logic":"AND"}`,
			`a is known`,
		},
		{
			`{"phone_verified": true, "city": "Colombo"}`,
			`{"conditions":[{"attribute":"phone_verified","operator":"equals","value":true},{"attribute":"city","operator":"equals","value":"Colombo"}],"logic":"AND"}`,
			`phone_verified is true and city is "Colombo"`,
		},
		{
			`{"phone_verified": true}`,
			`{"attribute":"phone_verified","operator":"equals","value":true}`,
			`phone_verified is true`,
		},
		{
			`{"consent_state": "opt_in"}`,
			`{"attribute":"consent_state","operator":"equals","value":"OPT_IN"}`,
			`consent_state is "OPT_IN"`,
		},
		{
			`{"logic":"NOT","conditions":[{"logic":"AND","conditions":[{"attribute":"a.b","operator":"gte","value":1.50},{"logic":"OR","conditions":[{"attribute":"t","operator":"contains","value":"x"},{"attribute":"t","operator":"exists","value":false}]}]}]}`,
			`{"conditions":[{"conditions":[{"attribute":"a.b","operator":"gte","value":1.50},{"conditions":[{"attribute":"t","operator":"contains","value":"x"},{"attribute":"t","operator":"exists","value":false}],"logic":"OR"}],"logic":"AND"}],"logic":"NOT"}`,
			`not (a.b is at least 1.50 and (t contains "x" or t is missing))`,
		},
		{
			`{"attribute":"n","operator":"in","value":[1,"1",true,2,3,4,5]}`,
			`{"attribute":"n","operator":"in","value":[1,"1",true,2,3,4,5]}`,
			`n is one of 1, "1", true, 2, 3, 2 more`,
		},
	}
	for _, tt := range tests {
		e := parse(t, tt.definition)
		canonical, err := json.Marshal(e)
		require.NoError(t, err)
		require.Equal(t, tt.canonical, string(canonical))
		require.Equal(t, e, parse(t, string(canonical)))
		require.Equal(t, tt.words, segment.Describe(e))
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"conditions":[`, 11) + `{"attribute":"a","value":1}` + strings.Repeat(`]}`, 11)
	many := `{"conditions":[` + strings.Repeat(`{"attribute":"a","value":1},`, 250) + `{"attribute":"a","value":1}]}`
	tests := []struct{ definition, field string }{
		{``, "definition_json"},
		{`null`, "definition_json"},
		{`{}`, "definition_json"},
		{`[]`, "definition_json"},
		{`"everyone"`, "definition_json"},
		{`true`, "definition_json"},
		{`{"a":1} {"a":2}`, "definition_json"},
		{`{"a":1`, "definition_json"},
		{`{"a":1,"a":2}`, "definition_json"},
		{"{\"a\":\"\xff\"}", "definition_json"},
		{`{"attribute":"city","operator":"resembles","value":"x"}`, "definition_json.operator"},
		{`{"attribute":"city","operator":"EQUALS","value":"x"}`, "definition_json.operator"},
		{`{"attribute":"city","operator":null,"value":"x"}`, "definition_json.operator"},
		{`{"attribute":"city","operator":7,"value":"x"}`, "definition_json.operator"},
		{`{"attribute":"city"}`, "definition_json.value"},
		{`{"attribute":"city","operator":"equals"}`, "definition_json.value"},
		{`{"attribute":"city","value":null}`, "definition_json.value"},
		{`{"attribute":"city","value":["x"]}`, "definition_json.value"},
		{`{"attribute":"city","value":{"x":1}}`, "definition_json.value"},
		{`{"attribute":"city","value":"x\u0000"}`, "definition_json.value"},
		{`{"attribute":"city","value":1e400}`, "definition_json.value"},
		{`{"attribute":"city","value":"` + strings.Repeat("x", 1025) + `"}`, "definition_json.value"},
		{`{"value":"x"}`, "definition_json.attribute"},
		{`{"operator":"equals","value":"x"}`, "definition_json.attribute"},
		{`{"attribute":5,"value":"x"}`, "definition_json.attribute"},
		{`{"attribute":"","value":"x"}`, "definition_json.attribute"},
		{`{"attribute":".a","value":"x"}`, "definition_json.attribute"},
		{`{"attribute":"a..b","value":"x"}`, "definition_json.attribute"},
		{`{"attribute":"a\u0000","value":"x"}`, "definition_json.attribute"},
		{`{"attribute":"a.b.c.d.e.f.g.h.i.j.k","value":"x"}`, "definition_json.attribute"},
		{`{"attribute":"a","value":1,"vlaue":2}`, "definition_json.vlaue"},
		{`{"attr":"city","value":"x"}`, "definition_json.attr"},
		{`{"attribute":"a","value":1,"conditions":[{"attribute":"a","value":1}]}`, "definition_json.attribute"},
		{`{"attribute":"a","operator":"contains","value":5}`, "definition_json.value"},
		{`{"attribute":"a","operator":"contains","value":""}`, "definition_json.value"},
		{`{"attribute":"a","operator":"gt","value":true}`, "definition_json.value"},
		{`{"attribute":"a","operator":"in","value":[]}`, "definition_json.value"},
		{`{"attribute":"a","operator":"in","value":"x"}`, "definition_json.value"},
		{`{"attribute":"a","operator":"in","value":null}`, "definition_json.value"},
		{`{"attribute":"a","operator":"in","value":["x",null]}`, "definition_json.value[1]"},
		{`{"attribute":"a","operator":"exists","value":"yes"}`, "definition_json.value"},
		{`{"attribute":"a","operator":"exists","value":null}`, "definition_json.value"},
		{`{"conditions":[]}`, "definition_json.conditions"},
		{`{"conditions":{}}`, "definition_json.conditions"},
		{`{"conditions":null,"logic":"AND"}`, "definition_json.conditions"},
		{`{"logic":"AND"}`, "definition_json.conditions"},
		{`{"logic":"or","conditions":[{"attribute":"a","value":1}]}`, "definition_json.logic"},
		{`{"logic":null,"conditions":[{"attribute":"a","value":1}]}`, "definition_json.logic"},
		{`{"logic":"XOR","conditions":[{"attribute":"a","value":1}]}`, "definition_json.logic"},
		{`{"operator":"AND","conditions":[{"attribute":"a","value":1}]}`, "definition_json.operator"},
		{`{"logic":"NOT","conditions":[{"attribute":"a","value":1},{"attribute":"b","value":1}]}`, "definition_json.conditions"},
		{`{"conditions":[{"attribute":"a","value":1},{"attribute":"b","operator":"after","value":1}]}`, "definition_json.conditions[1].operator"},
		{`{"conditions":[{"city":"Colombo"}]}`, "definition_json.conditions[0]"},
		{`{"conditions":[{}]}`, "definition_json.conditions[0]"},
		{`{"conditions":["x"]}`, "definition_json.conditions[0]"},
		{`{"filter_criteria":{"city":"x"}}`, "definition_json.filter_criteria"},
		{`{"city":["x"]}`, "definition_json.city"},
		{`{"city":null}`, "definition_json.city"},
		{`{"consent_state":"YES"}`, "definition_json.consent_state.value"},
		{`{"attribute":"consent_state","value":true}`, "definition_json.value"},
		{`{"attribute":"consent_state","value":""}`, "definition_json.value"},
		{`{"attribute":"consent_state","operator":"contains","value":"OPT"}`, "definition_json.operator"},
		{`{"attribute":"consent_state","operator":"exists"}`, "definition_json.operator"},
		{`{"attribute":"consent_state","operator":"in","value":["STOP","STOPPED"]}`, "definition_json.value"},
		{deep, "definition_json" + strings.Repeat(".conditions[0]", 10)},
		{many, "definition_json.conditions[199]"},
		{`{"a":"` + strings.Repeat("x", segment.MaxBytes) + `"}`, "definition_json"},
	}
	for _, tt := range tests {
		e, err := segment.Parse("definition_json", json.RawMessage(tt.definition))
		require.Error(t, err, "%.100s", tt.definition)
		refused, ok := errors.AsType[*fault.Fault](err)
		require.True(t, ok)
		require.Equal(t, fault.Invalid, refused.Kind)
		names := make([]string, len(refused.Fields))
		for i, f := range refused.Fields {
			names[i] = f.Name
		}
		require.Contains(t, names, tt.field, "%.100s: %v", tt.definition, err)
		require.True(t, e.IsZero())
	}
}

func TestParseNamesEveryMistake(t *testing.T) {
	t.Parallel()
	_, err := segment.Parse("q", json.RawMessage(`{"logic":"and","conditions":[{"attribute":"a"},{"operator":"is","attribute":"b","value":1}]}`))
	refused, ok := errors.AsType[*fault.Fault](err)
	require.True(t, ok)
	require.Len(t, refused.Fields, 3)
}

func TestZeroMatchesNobody(t *testing.T) {
	t.Parallel()
	var e segment.Expr
	require.True(t, e.IsZero())
	require.False(t, segment.Match(e, user.Attributes{"a": true}, user.OptIn))
	where, args := segment.Compile(e, 0)
	require.Equal(t, "false", where)
	require.Empty(t, args)
	require.Equal(t, "nobody", segment.Describe(e))
	canonical, err := json.Marshal(e)
	require.NoError(t, err)
	_, err = segment.Parse("definition_json", canonical)
	require.Error(t, err)
}

func TestMatch(t *testing.T) {
	t.Parallel()
	attributes, err := user.ParseAttributes("attributes", json.RawMessage(`{
		"city":"Colombo", "age":40, "age_text":"40", "score":1.0, "big":12345678901234567890123456789, "vip":false, "none":null,
		"empty":"", "address":{"zip":"00100","geo":{"lat":6.9}}, "tags":["a","b"], "greek":"ΣΟΦΟΣ", "odd":"50%_\\x", "a.b":"flat"}`))
	require.NoError(t, err)
	tests := []struct {
		definition string
		want       bool
	}{
		{`{"city":"Colombo"}`, true},
		{`{"city":"colombo"}`, false},
		{`{"age":40}`, true},
		{`{"age":40.00}`, true},
		{`{"age":4e1}`, true},
		{`{"age":"40"}`, false},
		{`{"age_text":40}`, false},
		{`{"big":12345678901234567890123456789}`, true},
		{`{"big":12345678901234567890123456788}`, false},
		{`{"vip":false}`, true},
		{`{"vip":"false"}`, false},
		{`{"vip":0}`, false},
		{`{"empty":""}`, true},
		{`{"missing":""}`, false},
		{`{"none":""}`, false},
		{`{"address.zip":"00100"}`, true},
		{`{"address.geo.lat":6.90}`, true},
		{`{"address":"00100"}`, false},
		{`{"tags":"a"}`, false},
		{`{"tags.0":"a"}`, false},
		{`{"a.b":"flat"}`, false},
		{`{"attribute":"city","operator":"not_equals","value":"Kandy"}`, true},
		{`{"attribute":"city","operator":"not_equals","value":"Colombo"}`, false},
		{`{"attribute":"missing","operator":"not_equals","value":"x"}`, true},
		{`{"logic":"NOT","conditions":[{"attribute":"missing","value":"x"}]}`, true},
		{`{"attribute":"none","operator":"not_equals","value":"x"}`, true},
		{`{"attribute":"city","operator":"contains","value":"LOMB"}`, true},
		{`{"attribute":"greek","operator":"contains","value":"σοφός"}`, false},
		{`{"attribute":"greek","operator":"contains","value":"σοφος"}`, true},
		{`{"attribute":"odd","operator":"contains","value":"%_\\X"}`, true},
		{`{"attribute":"city","operator":"contains","value":"%"}`, false},
		{`{"attribute":"city","operator":"contains","value":"_"}`, false},
		{`{"attribute":"age","operator":"contains","value":"4"}`, false},
		{`{"attribute":"tags","operator":"contains","value":"a"}`, false},
		{`{"attribute":"city","operator":"in","value":["Kandy","Colombo"]}`, true},
		{`{"attribute":"age","operator":"in","value":["40",41]}`, false},
		{`{"attribute":"missing","operator":"in","value":["x"]}`, false},
		{`{"attribute":"vip","operator":"exists"}`, true},
		{`{"attribute":"tags","operator":"exists"}`, true},
		{`{"attribute":"empty","operator":"exists"}`, true},
		{`{"attribute":"none","operator":"exists"}`, false},
		{`{"attribute":"none","operator":"exists","value":false}`, true},
		{`{"attribute":"address.zip.x","operator":"exists"}`, false},
		{`{"attribute":"age","operator":"gt","value":39.99}`, true},
		{`{"attribute":"age","operator":"gt","value":40}`, false},
		{`{"attribute":"age","operator":"gte","value":40}`, true},
		{`{"attribute":"age","operator":"lt","value":40}`, false},
		{`{"attribute":"age","operator":"lte","value":40.0}`, true},
		{`{"attribute":"age","operator":"gt","value":"39"}`, false},
		{`{"attribute":"age_text","operator":"gt","value":"4"}`, true},
		{`{"attribute":"age_text","operator":"lt","value":"5"}`, true},
		{`{"attribute":"city","operator":"lt","value":"a"}`, true},
		{`{"attribute":"missing","operator":"lt","value":5}`, false},
		{`{"attribute":"vip","operator":"lt","value":5}`, false},
		{`{"consent_state":"OPT_IN"}`, true},
		{`{"attribute":"consent_state","operator":"not_equals","value":"STOP"}`, true},
		{`{"attribute":"consent_state","operator":"in","value":["STOP","opt_out"]}`, false},
		{`{"logic":"AND","conditions":[{"attribute":"city","value":"Colombo"},{"attribute":"consent_state","value":"OPT_IN"}]}`, true},
		{`{"logic":"AND","conditions":[{"attribute":"city","value":"Colombo"},{"attribute":"vip","value":true}]}`, false},
		{`{"logic":"OR","conditions":[{"attribute":"city","value":"Kandy"},{"attribute":"vip","value":true}]}`, false},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, segment.Match(parse(t, tt.definition), attributes, user.OptIn), tt.definition)
	}
}

func TestCompileBindsNamesAndValues(t *testing.T) {
	t.Parallel()
	const hostile = `x'); DROP TABLE users; --`
	for _, operator := range []string{"equals", "not_equals", "contains", "gt", "lte", "exists", "in"} {
		var value any = hostile
		switch operator {
		case "exists":
			value = true
		case "in":
			value = []string{hostile, "$1"}
		}
		definition, err := json.Marshal(map[string]any{"attribute": hostile, "operator": operator, "value": value})
		require.NoError(t, err)
		where, args := segment.Compile(parse(t, string(definition)), 3)
		require.NotContains(t, where, "DROP")
		require.NotEmpty(t, args)
		require.Contains(t, where, "$4")
		require.NotContains(t, where, "$3")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"a":1}`, `{"conditions":[{"attribute":"a","operator":"in","value":[1]}],"logic":"NOT"}`, `{`, `{"a":{}}`,
		`{"attribute":"consent_state","value":"stop"}`, `{"attribute":"a","operator":"exists"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := segment.Parse("definition_json", raw)
		if err != nil {
			require.True(t, fault.Is(err, fault.Invalid))
			return
		}
		canonical, err := json.Marshal(e)
		require.NoError(t, err)
		again, err := segment.Parse("definition_json", canonical)
		require.NoError(t, err)
		require.Equal(t, segment.Describe(e), segment.Describe(again))
		where, args := segment.Compile(e, 0)
		whereAgain, argsAgain := segment.Compile(again, 0)
		require.Equal(t, where, whereAgain)
		require.Equal(t, args, argsAgain)
		_ = segment.Match(e, user.Attributes{"a": json.Number("1")}, user.OptIn)
	})
}
