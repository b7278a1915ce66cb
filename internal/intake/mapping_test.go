package intake_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
)

func TestMapping(t *testing.T) {
	t.Parallel()
	mapping, err := intake.ParseMapping(json.RawMessage(`{
		"Mobile": "phone_number", "Agreed": "consent_state", "Town": "address.city", "Postcode": {"to": "address.postcode", "type": "text"},
		"Points": {"to": "points", "type": "number"}, "VIP": {"to": "vip", "type": "boolean"}, "Notes": null
	}`))
	require.NoError(t, err)
	raw, err := json.Marshal(mapping)
	require.NoError(t, err)
	again, err := intake.ParseMapping(raw)
	require.NoError(t, err)
	require.Equal(t, mapping, again, "what is written is read")

	const header = "Mobile,Agreed,Town,Postcode,Points,VIP,Notes,Name,phone\n"
	rows, err := read(t, intake.Import{Format: intake.CSV, DefaultRegion: "LK", Mapping: mapping}, strings.NewReader(header+
		"0771234561,yes,Kandy,20000,12.50,yes,x,A,+1\n"+
		"0771234561,opt_in,,07,+7,0,,,\n"+
		"0771234561,,,,many,,,,\n"+
		"0771234561,,,,,perhaps,,,\n"))
	require.NoError(t, err)
	require.Equal(t, []string{
		"2 " + a + ` {"Name":"A","address":{"city":"Kandy","postcode":"20000"},"points":12.50,"vip":true}`,
		"3 " + a + ` {"address":{"postcode":"07"},"points":7,"vip":false} OPT_IN`,
		"4 Points: must be a number such as 12.5",
		"5 VIP: must be true or false",
	}, rows)

	rows, err = read(t, intake.Import{Format: intake.JSONL, DefaultRegion: "LK", Mapping: mapping}, strings.NewReader(
		`{"Mobile": 771234561, "Agreed": "opt_in", "Town": "Kandy", "Postcode": 20000, "Points": "12.50", "VIP": true, "Notes": {"a": 1}, "phone": "+1", "address": {"street": "x"}}`+"\n"+
			`{"Mobile": "0771234561", "Points": [1]}`+"\n"+
			`{"Mobile": "0771234561", "Town": "Kandy", "address": "Kandy"}`+"\n"+
			`{"phone_number": "0771234561"}`+"\n"))
	require.NoError(t, err)
	require.Equal(t, []string{
		"1 " + a + ` {"address":{"city":"Kandy","postcode":"20000","street":"x"},"points":12.50,"vip":true} OPT_IN`,
		"2 Points: must be a single value",
		"3 address.city: is within an attribute that is no object",
		"4 phone_number: is missing",
	}, rows)
}

func TestMappingRefuses(t *testing.T) {
	t.Parallel()
	for raw, detail := range map[string]string{
		`[]`:                                 "must be a JSON object",
		`{"A": 1}`:                           "mapping.A: must be a text",
		`{"A": {"too": "x"}}`:                "mapping.A: must be a text",
		`{"A": {"type": "text"}}`:            "mapping.A: must be a text",
		`{"A": {"to": "x", "type": "date"}}`: "mapping.A.type: must be one of text, number, boolean",
		`{"A": {"to": "phone_number", "type": "text"}}`: "mapping.A.type: is for attributes",
		`{"A": ""}`:                  "mapping.A: must be phone_number",
		`{"A": "a..b"}`:              "mapping.A: must be phone_number",
		`{"A": "phone"}`:             "phone is none",
		`{"A": "attributes"}`:        "attributes is none",
		`{"": "a"}`:                  "a column without a name",
		`{"A": "a.b.c.d.e.f.g.h.i"}`: "is too long",
		`{"A": "x", "B": "x"}`:       "has two columns for x",
		`{"A": "x.y", "B": "x"}`:     "is within x",
	} {
		_, err := intake.ParseMapping(json.RawMessage(raw))
		require.True(t, fault.Is(err, fault.Invalid), raw)
		require.ErrorContains(t, err, detail, raw)
	}
	for _, raw := range []string{``, ` `, `{}`, `null`} {
		mapping, err := intake.ParseMapping(json.RawMessage(raw))
		require.NoError(t, err, raw)
		require.Empty(t, mapping, raw)
	}
}
