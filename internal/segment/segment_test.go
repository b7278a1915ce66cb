package segment_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

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

var now = time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

// resolve is for definitions without references to dynamic segments: there are none, but number 7 is static.
func resolve(t *testing.T, e segment.Expr) segment.Resolved {
	t.Helper()
	resolved, err := segment.Resolve("definition_json", e, func(id int64) (segment.Saved, error) {
		if id != 7 {
			return segment.Saved{}, fault.New(fault.NotFound, "no such segment")
		}
		return segment.Saved{ID: 7, Kind: segment.Static}, nil
	})
	require.NoError(t, err)
	return resolved
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
		{
			`{"attribute":"n","operator":"not_in","value":[1]}`,
			`{"attribute":"n","operator":"not_in","value":[1]}`,
			`n is none of 1`,
		},
		{
			`{"field":"region","value":"lk"}`,
			`{"field":"region","operator":"equals","value":"LK"}`,
			`region is "LK"`,
		},
		{
			`{"field":"calling_code","operator":"in","value":[94,"+1"]}`,
			`{"field":"calling_code","operator":"in","value":["94","1"]}`,
			`calling_code is one of "94", "1"`,
		},
		{
			`{"field":"consent_state","operator":"in","value":["opt_in"]}`,
			`{"attribute":"consent_state","operator":"in","value":["OPT_IN"]}`,
			`consent_state is one of "OPT_IN"`,
		},
		{
			`{"field":"last_inbound_at","operator":"exists"}`,
			`{"field":"last_inbound_at","operator":"exists","value":true}`,
			`last_inbound_at is known`,
		},
		{
			`{"conditions":[{"field":"topics","value":3},{"field":"topics","operator":"has","value":"News"}]}`,
			`{"conditions":[{"field":"topics","operator":"has","value":3},{"field":"topics","operator":"has","value":"News"}],"logic":"AND"}`,
			`topics has 3 and topics has "News"`,
		},
		{
			`{"conditions":[{"campaign":7,"value":"read"},{"campaign":8,"operator":"was_not","value":"replied"}]}`,
			`{"conditions":[{"campaign":7,"operator":"was","value":"read"},{"campaign":8,"operator":"was_not","value":"replied"}],"logic":"AND"}`,
			`campaign 7 was read and not (campaign 8 was replied to)`,
		},
		{
			`{"operator":"in_segment","value":7}`,
			`{"operator":"in_segment","value":7}`,
			`in segment 7`,
		},
		{ // what names the new conditions has always been short for attributes
			`{"field":"x","campaign":7,"segment":1}`,
			`{"conditions":[{"attribute":"field","operator":"equals","value":"x"},{"attribute":"campaign","operator":"equals","value":7},{"attribute":"segment","operator":"equals","value":1}],"logic":"AND"}`,
			`field is "x" and campaign is 7 and segment is 1`,
		},
		{
			`{"attribute":"renewal","operator":"within_next","value":"2w"}`,
			`{"attribute":"renewal","operator":"within_next","value":"2w"}`,
			`renewal is within the next "2w"`,
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
		{`{"conditions":[{"attribute":"a","value":1},{"attribute":"b","operator":"after","value":1}]}`, "definition_json.conditions[1].value"},
		{`{"attribute":"a","operator":"before","value":"2026-02-29"}`, "definition_json.value"},
		{`{"attribute":"a","operator":"before","value":"01.03.2026"}`, "definition_json.value"},
		{`{"attribute":"a","operator":"within_last","value":7}`, "definition_json.value"},
		{`{"attribute":"a","operator":"within_last","value":"0d"}`, "definition_json.value"},
		{`{"attribute":"a","operator":"within_next","value":"7 days"}`, "definition_json.value"},
		{`{"attribute":"a","operator":"starts_with","value":""}`, "definition_json.value"},
		{`{"attribute":"a","operator":"equals_ignore_case","value":4}`, "definition_json.value"},
		{`{"attribute":"a","operator":"has","value":["x"]}`, "definition_json.value"},
		{`{"attribute":"a","operator":"not_in","value":"x"}`, "definition_json.value"},
		{`{"attribute":"a","operator":"was","value":"read"}`, "definition_json.operator"},
		{`{"attribute":"a","operator":"in_segment","value":7}`, "definition_json.operator"},
		{`{"attribute":"a","field":"region","value":"LK"}`, "definition_json.field"},
		{`{"field":"city","value":"x"}`, "definition_json.field"},
		{`{"field":"region","operator":"starts_with","value":"L"}`, "definition_json.operator"},
		{`{"field":"region","value":"Ceylon"}`, "definition_json.value"},
		{`{"field":"region","operator":"in","value":["LK","ZZ"]}`, "definition_json.value[1]"},
		{`{"conditions":[{"field":"region"}]}`, "definition_json.conditions[0]"},
		{`{"field":"region","operator":"equals"}`, "definition_json.value"},
		{`{"field":"calling_code","value":9}`, "definition_json.value"},
		{`{"field":"calling_code","value":"0094"}`, "definition_json.value"},
		{`{"field":"phone_number","operator":"starts_with","value":"0771"}`, "definition_json.value"},
		{`{"field":"phone_number","operator":"starts_with","value":"+94%"}`, "definition_json.value"},
		{`{"field":"created_at","operator":"exists","value":true}`, "definition_json.operator"},
		{`{"field":"created_at","operator":"within_next","value":"7d"}`, "definition_json.operator"},
		{`{"field":"created_at","operator":"after","value":"yesterday"}`, "definition_json.value"},
		{`{"field":"topics","value":0}`, "definition_json.value"},
		{`{"field":"topics","value":""}`, "definition_json.value"},
		{`{"field":"topics","value":true}`, "definition_json.value"},
		{`{"field":"topics","value":1.5}`, "definition_json.value"},
		{`{"campaign":7,"value":"opened"}`, "definition_json.value"},
		{`{"campaign":7,"operator":"was"}`, "definition_json.value"},
		{`{"campaign":7,"operator":"equals","value":"read"}`, "definition_json.operator"},
		{`{"campaign":"7","value":"read"}`, "definition_json.campaign"},
		{`{"campaign":0,"value":"read"}`, "definition_json.campaign"},
		{`{"campaign":99999999999,"value":"read"}`, "definition_json.campaign"},
		{`{"operator":"in_segment","value":"Cities"}`, "definition_json.value"},
		{`{"operator":"in_segment"}`, "definition_json.value"},
		{`{"operator":"in_segment","value":7,"campaign":7}`, "definition_json.operator"},
		{`{"conditions":[` + strings.Repeat(`{"operator":"in_segment","value":7},`, 10) + `{"operator":"in_segment","value":7}]}`, "definition_json.conditions[10]"},
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
	require.False(t, segment.Match(e, segment.Person{Attributes: user.Attributes{"a": true}, Consent: user.OptIn}, now))
	where, args := segment.Compile(segment.Resolved{}, now, 0)
	require.Equal(t, "false", where)
	require.Empty(t, args)
	where, args = segment.Compile(resolve(t, segment.AnyOf(nil)), now, 0)
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
		"empty":"", "address":{"zip":"00100","geo":{"lat":6.9}}, "tags":["a","b"], "greek":"ΣΟΦΟΣ", "odd":"50%_\\x", "a.b":"flat",
		"sizes":[40,"M",null,{"b":1}], "joined":"2026-02-24", "renewal":"2026-03-02T18:00:00+05:30"}`))
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
		{`{"attribute":"age","operator":"not_in","value":["40",41]}`, true},
		{`{"attribute":"missing","operator":"not_in","value":[1]}`, true},
		{`{"attribute":"city","operator":"equals_ignore_case","value":"COLOMBO"}`, true},
		{`{"attribute":"city","operator":"equals_ignore_case","value":"COLOMB"}`, false},
		{`{"attribute":"age","operator":"equals_ignore_case","value":"40"}`, false},
		{`{"attribute":"city","operator":"starts_with","value":"cOL"}`, true},
		{`{"attribute":"city","operator":"starts_with","value":"olo"}`, false},
		{`{"attribute":"odd","operator":"starts_with","value":"50%_\\X"}`, true},
		{`{"attribute":"tags","operator":"has","value":"a"}`, true},
		{`{"attribute":"tags","operator":"has","value":"A"}`, false},
		{`{"attribute":"sizes","operator":"has","value":40.0}`, true},
		{`{"attribute":"sizes","operator":"has","value":"40"}`, false},
		{`{"attribute":"city","operator":"has","value":"Colombo"}`, false},
		{`{"attribute":"joined","operator":"before","value":"2026-02-24"}`, false},
		{`{"attribute":"joined","operator":"before","value":"2026-02-24T00:00:00.000001Z"}`, true},
		{`{"attribute":"joined","operator":"after","value":"2026-02-24T05:29:59+05:30"}`, true},
		{`{"attribute":"joined","operator":"within_last","value":"7d"}`, true},
		{`{"attribute":"joined","operator":"within_last","value":"6d"}`, false},
		{`{"attribute":"joined","operator":"within_next","value":"1w"}`, false},
		{`{"attribute":"renewal","operator":"within_next","value":"30m"}`, true},
		{`{"attribute":"renewal","operator":"within_next","value":"29m"}`, false},
		{`{"attribute":"renewal","operator":"within_last","value":"24h"}`, false},
		{`{"attribute":"city","operator":"after","value":"1000-01-01"}`, false},
		{`{"field":"region","value":"LK"}`, true},
		{`{"field":"region","operator":"not_in","value":["LK","IN"]}`, false},
		{`{"field":"region","operator":"exists"}`, true},
		{`{"field":"calling_code","value":94}`, true},
		{`{"field":"calling_code","operator":"not_equals","value":1}`, true},
		{`{"field":"phone_number","operator":"starts_with","value":"+9477"}`, true},
		{`{"field":"phone_number","operator":"starts_with","value":"+9471"}`, false},
		{`{"field":"created_at","operator":"within_last","value":"24h"}`, true},
		{`{"field":"created_at","operator":"before","value":"2026-03-01"}`, false},
		{`{"field":"last_inbound_at","operator":"exists"}`, false},
		{`{"field":"last_inbound_at","operator":"exists","value":false}`, true},
		{`{"field":"last_inbound_at","operator":"within_last","value":"9999w"}`, false},
		{`{"logic":"NOT","conditions":[{"field":"last_inbound_at","operator":"within_last","value":"7d"}]}`, true},
		{`{"field":"topics","value":3}`, true},
		{`{"field":"topics","value":"News"}`, true},
		{`{"field":"topics","value":"news"}`, false},
		{`{"campaign":7,"value":"read"}`, true},
		{`{"campaign":7,"operator":"was_not","value":"replied"}`, true},
		{`{"campaign":8,"value":"read"}`, false},
		{`{"operator":"in_segment","value":7}`, true},
		{`{"operator":"in_segment","value":8}`, false},
		{`{"consent_state":"OPT_IN"}`, true},
		{`{"attribute":"consent_state","operator":"not_equals","value":"STOP"}`, true},
		{`{"attribute":"consent_state","operator":"in","value":["STOP","opt_out"]}`, false},
		{`{"logic":"AND","conditions":[{"attribute":"city","value":"Colombo"},{"attribute":"consent_state","value":"OPT_IN"}]}`, true},
		{`{"logic":"AND","conditions":[{"attribute":"city","value":"Colombo"},{"attribute":"vip","value":true}]}`, false},
		{`{"logic":"OR","conditions":[{"attribute":"city","value":"Kandy"},{"attribute":"vip","value":true}]}`, false},
	}
	p := segment.Person{
		Attributes: attributes, Consent: user.OptIn, Phone: "+94771234567", Region: "LK", CreatedAt: now.Add(-24 * time.Hour),
		Topics: []segment.Topic{{ID: 3, Name: "News"}}, Segments: []int64{7},
		Outcomes: map[int64][]segment.Outcome{7: {segment.WasSent, segment.WasDelivered, segment.WasRead}},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, segment.Match(parse(t, tt.definition), p, now), tt.definition)
	}
}

func TestCompileBindsNamesAndValues(t *testing.T) {
	t.Parallel()
	const hostile = `x'); DROP TABLE users; --`
	for _, operator := range []string{"equals", "not_equals", "equals_ignore_case", "starts_with", "contains", "has", "gt", "lte", "exists", "in"} {
		var value any = hostile
		switch operator {
		case "exists":
			value = true
		case "in":
			value = []string{hostile, "$1"}
		}
		definition, err := json.Marshal(map[string]any{"attribute": hostile, "operator": operator, "value": value})
		require.NoError(t, err)
		where, args := segment.Compile(resolve(t, parse(t, string(definition))), now, 3)
		require.NotContains(t, where, "DROP")
		require.NotEmpty(t, args)
		require.Contains(t, where, "$4")
		require.NotContains(t, where, "$3")
	}
}

// Every example of the manual is a definition, and each operator has one.
func TestManual(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/segments.md")
	require.NoError(t, err)
	used := map[string]bool{}
	for _, block := range strings.Split(string(manual), "```json\n")[1:] {
		examples, _, _ := strings.Cut(block, "\n```")
		for example := range strings.Lines(examples) {
			e := parse(t, example)
			canonical, err := json.Marshal(e)
			require.NoError(t, err)
			for _, part := range strings.Split(string(canonical), `"operator":"`)[1:] {
				operator, _, _ := strings.Cut(part, `"`)
				used[operator] = true
			}
		}
	}
	for _, operator := range append([]string{"was", "was_not", "in_segment"}, operators...) {
		require.True(t, used[operator], "%s has no example", operator)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	saved := map[int64]segment.Saved{
		1: {Definition: json.RawMessage(`{"city":"Colombo"}`)},
		2: {Definition: json.RawMessage(`{"conditions":[{"operator":"in_segment","value":1},{"operator":"in_segment","value":3}],"logic":"OR"}`)},
		3: {Kind: segment.Static},
		4: {Definition: json.RawMessage(`{"conditions":[{"attribute":"a","value":1},{"operator":"in_segment","value":5}]}`)},
		5: {Definition: json.RawMessage(`{"logic":"NOT","conditions":[{"operator":"in_segment","value":4}]}`)},
	}
	lookup := func(id int64) (segment.Saved, error) {
		s, ok := saved[id]
		if !ok {
			return segment.Saved{}, fault.New(fault.NotFound, "there is none")
		}
		return s, nil
	}
	resolved, err := segment.Resolve("q", parse(t, `{"conditions":[{"attribute":"vip","value":true},{"operator":"in_segment","value":2}]}`), lookup)
	require.NoError(t, err)
	require.Equal(t, 5, resolved.Size())
	where, args := segment.Compile(resolved, now, 0)
	require.Equal(t, "((u.attributes @> $1::text::jsonb) AND ((u.attributes @> $2::text::jsonb) OR "+
		"(u.id IN (SELECT sm.user_id FROM segment_members sm WHERE sm.segment_id = $3))))", where)
	require.Equal(t, []any{`{"vip":true}`, `{"city":"Colombo"}`, int64(3)}, args)

	for id, field := range map[int64]string{4: "q.conditions[1].value.conditions[1].value.conditions[0].value", 9: "q.conditions[1].value"} {
		_, err = segment.Resolve("q", parse(t, fmt.Sprintf(`{"conditions":[{"attribute":"vip","value":true},{"operator":"in_segment","value":%d}]}`, id)), lookup)
		refused, ok := errors.AsType[*fault.Fault](err)
		require.True(t, ok)
		require.Equal(t, field, refused.Fields[0].Name)
	}
	broken := errors.New("no database")
	_, err = segment.Resolve("q", segment.Membership(1), func(int64) (segment.Saved, error) { return segment.Saved{}, broken })
	require.ErrorIs(t, err, broken)
}

func TestReferences(t *testing.T) {
	t.Parallel()
	e := parse(t, `{"conditions":[{"operator":"in_segment","value":7},{"logic":"NOT","conditions":[{"campaign":8,"value":"read"}]},{"field":"topics","value":9},{"field":"topics","value":"News"},{"attribute":"a","value":1}]}`)
	require.Equal(t, []segment.Reference{
		{Field: "q.conditions[0].value", SegmentID: 7},
		{Field: "q.conditions[1].conditions[0].campaign", CampaignID: 8},
		{Field: "q.conditions[2].value", TopicID: 9},
		{Field: "q.conditions[3].value", Topic: "News"},
	}, e.References("q"))
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ file, want string }{
		"one a line":         {"+94771234561\n\n 0771234562 \r\nnobody\n+1", "1 +94771234561|3 +94771234562|4 !|5 !"},
		"a byte order mark":  {"\ufeff+94771234561", "1 +94771234561"},
		"a header":           {"name,Phone_Number\n\"Silva, A\",+94771234561\nx\n", "2 +94771234561|3 !"},
		"semicolons":         {"id;phone\n7;+94771234561", "2 +94771234561"},
		"columns, no header": {"+94771234561\tSilva\n+94771234562\tPerera", "1 +94771234561|2 +94771234562"},
		"an unclosed quote":  {"phone\n\"+94771234561\n+94771234562", "2 +94771234561|3 +94771234562"},
		"nothing":            {"\n\n", ""},
	}
	for name, tt := range tests {
		numbers := segment.NewNumbers(strings.NewReader(tt.file), "LK")
		var got []string
		for {
			entry, err := numbers.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, name)
			what := string(entry.Number)
			if entry.Problem != "" {
				require.Empty(t, what)
				what = "!"
			}
			got = append(got, fmt.Sprintf("%d %s", entry.Line, what))
		}
		require.Equal(t, tt.want, strings.Join(got, "|"), name)
	}
	_, err := segment.NewNumbers(strings.NewReader(strings.Repeat("1", 1<<17)), "").Next()
	require.True(t, fault.Is(err, fault.Invalid))
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"a":1}`, `{"conditions":[{"attribute":"a","operator":"in","value":[1]}],"logic":"NOT"}`, `{`, `{"a":{}}`,
		`{"attribute":"consent_state","value":"stop"}`, `{"attribute":"a","operator":"exists"}`, `{"field":"topics","value":1}`,
		`{"campaign":7,"operator":"was_not","value":"read"}`, `{"operator":"in_segment","value":7}`, `{"field":"calling_code","operator":"in","value":[94]}`,
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
		anySegment := func(int64) (segment.Saved, error) { return segment.Saved{Kind: segment.Static}, nil }
		resolved, err := segment.Resolve("definition_json", e, anySegment)
		require.NoError(t, err)
		resolvedAgain, err := segment.Resolve("definition_json", again, anySegment)
		require.NoError(t, err)
		where, args := segment.Compile(resolved, now, 0)
		whereAgain, argsAgain := segment.Compile(resolvedAgain, now, 0)
		require.Equal(t, where, whereAgain)
		require.Equal(t, args, argsAgain)
		_ = segment.Match(e, segment.Person{Attributes: user.Attributes{"a": json.Number("1")}, Consent: user.OptIn}, now)
	})
}
