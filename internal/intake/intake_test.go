package intake_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/user"
)

// read returns the rows of an upload as text, one a line: "2 {…}" or "3 field: detail".
func read(t *testing.T, format intake.Format, r io.Reader) (rows []string, err error) {
	t.Helper()
	reader, err := intake.NewReader(format, r)
	if err != nil {
		return nil, err
	}
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return rows, err
		}
		if row.Data != nil {
			require.True(t, json.Valid(row.Data))
			require.Empty(t, row.Problem)
			rows = append(rows, fmt.Sprintf("%d %s", row.Line, row.Data))
		} else {
			require.NotEmpty(t, row.Problem.Detail)
			rows = append(rows, fmt.Sprintf("%d %s: %s", row.Line, row.Problem.Name, row.Problem.Detail))
		}
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		format intake.Format
		text   string
		rows   []string
	}{
		{"plain CSV", intake.CSV, "phone_number,name\n+1,A\n+2,B", []string{`2 {"name":"A","phone_number":"+1"}`, `3 {"name":"B","phone_number":"+2"}`}},
		{"semicolons, byte order mark, CRLF", intake.CSV, "\ufeffphone;name\r\n+1;\"A; B\"\r\n", []string{`2 {"name":"A; B","phone":"+1"}`}},
		{"tabs", intake.CSV, "Phone\tname\n+1\tA, B\n", []string{`2 {"Phone":"+1","name":"A, B"}`}},
		{"JSON types of cells", intake.CSV, "phone,a,b,c,d,e,f,g\n0771,40,-1.5,007,TRUE,1e5,1234567890123456,+5\n",
			[]string{`2 {"a":40,"b":-1.5,"c":"007","d":true,"e":"1e5","f":"1234567890123456","g":"+5","phone":"0771"}`}},
		{"phones stay text", intake.CSV, "phone_number\n94771234567\n", []string{`2 {"phone_number":"94771234567"}`}},
		{"empty cells, blank lines, short rows", intake.CSV, "phone,a,b\n\n+1, ,x\n+2\n", []string{`3 {"b":"x","phone":"+1"}`, `4 {"phone":"+2"}`}},
		{"a column without a name is left out", intake.CSV, "phone,\n+1,x\n", []string{`2 {"phone":"+1"}`}},
		{"too many cells", intake.CSV, "phone\n+1,x\n+2\n", []string{`2 : has 2 cells, but the header has 1`, `3 {"phone":"+2"}`}},
		{"broken quotes", intake.CSV, "phone,a\n+1,x\"y\n+2,z\n", []string{"2 : is not valid CSV: bare \" in non-quoted-field", `3 {"a":"z","phone":"+2"}`}},
		{"NUL and Latin-1 cells", intake.CSV, "phone,a\n+1,\x00\n+2,\xe9\n+3,é\n", []string{"2 a: must not hold a NUL character", "3 a: is not UTF-8 text", `4 {"a":"é","phone":"+3"}`}},
		{"line numbers count lines", intake.CSV, "phone,a\n+1,\"x\ny\"\n+2,z\n", []string{`2 {"a":"x\ny","phone":"+1"}`, `4 {"a":"z","phone":"+2"}`}},

		{"JSON array", intake.JSON, "\ufeff [ {\"a\":1.50},\n {\"b\":{\"c\":null}} ] ", []string{`1 {"a":1.50}`, `2 {"b":{"c":null}}`}},
		{"empty array", intake.JSON, "[]", nil},
		{"objects one after the other", intake.JSON, "{\"a\":1}\n{\"a\":\n2}", []string{`1 {"a":1}`, "2 {\"a\":\n2}"}},
		{"elements that are no objects, or hold NUL", intake.JSON, `[3, {"a":"\u0000"}, null, {}]`,
			[]string{"1 : must be an object with a phone_number", "2 a: must not hold a NUL character", "3 : must be an object with a phone_number", "4 {}"}},

		{"JSON lines", intake.JSONL, "{\"a\":1}\n\n {\"a\":2} \r\n{\"a\":3}", []string{`1 {"a":1}`, `3 {"a":2}`, `4 {"a":3}`}},
		{"a broken line is one row", intake.JSONL, "{\"a\":1\n{\"a\":2}\nnot json\n{} {}\n", []string{
			"1 : must be one JSON object", `2 {"a":2}`, "3 : must be an object with a phone_number", "4 : must be one JSON object",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rows, err := read(t, tt.format, strings.NewReader(tt.text))
			require.NoError(t, err)
			require.Equal(t, tt.rows, rows)
		})
	}
}

func TestReaderRefusesFiles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		format intake.Format
		text   string
		detail string
	}{
		{"no header", intake.CSV, "", "is empty"},
		{"no phone column", intake.CSV, "name,city\nA,B\n", "needs a header with a column phone_number"},
		{"the same column twice", intake.CSV, "phone,a, a\n", "names column 3 like an earlier one"},
		{"UTF-16", intake.CSV, "\xff\xfep\x00", "must be UTF-8, not UTF-16"},
		{"a quotation mark that never closes", intake.CSV, "phone,a\n+1,\"" + strings.Repeat("x\n", 1<<20), "a row is longer than 1048576 bytes"},
		{"an endless line", intake.JSONL, strings.Repeat("x", 3<<20), "a row is longer than 1048576 bytes"},
		{"a broken array", intake.JSON, `[{"a":1}, {"a"]`, "is not valid JSON at record 2"},
		{"an array that ends early", intake.JSON, `[{"a":1},`, "is not valid JSON at record 2"},
		{"an array that never ends", intake.JSON, `[{"a":1}`, "is not valid JSON at record 2"},
		{"no JSON", intake.JSON, `hello`, "must be a JSON array of objects"},
		{"nothing", intake.JSON, "\n ", "is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := read(t, tt.format, strings.NewReader(tt.text))
			require.True(t, fault.Is(err, fault.Invalid), err)
			require.ErrorContains(t, err, tt.detail)
		})
	}
}

func TestReaderPassesOnErrorsOfItsSource(t *testing.T) {
	t.Parallel()
	gone := errors.New("connection reset")
	for _, format := range []intake.Format{intake.CSV, intake.JSON, intake.JSONL} {
		source := io.MultiReader(strings.NewReader(map[intake.Format]string{intake.CSV: "phone\n+1\n", intake.JSON: `[{"a":1},`, intake.JSONL: "{}\n"}[format]), failing{gone})
		_, err := read(t, format, source)
		require.ErrorIs(t, err, gone, format)
		require.False(t, fault.Is(err, fault.Invalid), format)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestParsePerson(t *testing.T) {
	t.Parallel()
	tests := []struct {
		row        string
		phone      string
		consent    user.ConsentState
		attributes user.Attributes
	}{
		{`{"phone_number": "+94 77 123 4567", "name": "A", "city": "", "x": null}`, "+94771234567", "", user.Attributes{"name": "A"}},
		{`{"Phone": "whatsapp:+94771234567", "CONSENT_STATE": "opt-in"}`, "+94771234567", user.OptIn, user.Attributes{}},
		{`{"phone": "0771234567", "consent": "stop"}`, "+94771234567", user.Stop, user.Attributes{}},
		{`{"phone": "0771234567", "consent_state": "maybe"}`, "+94771234567", "", user.Attributes{}},
		{`{"phone": 94771234567, "consent_state": true}`, "+94771234567", "", user.Attributes{}},
		{`{"phone": "+1", "phone_number": "0771234567"}`, "+94771234567", "", user.Attributes{}},
		{`{"phone": "0771234567", "age": 1, "attributes": {"age": 2, "city": "Kandy", "consent_state": "OPT_IN", "none": ""}}`, "+94771234567", "",
			user.Attributes{"age": json.Number("1"), "city": "Kandy"}},
		{`{"phone": "0771234567", "attributes": "many"}`, "+94771234567", "", user.Attributes{"attributes": "many"}},
	}
	for _, tt := range tests {
		t.Run(tt.row, func(t *testing.T) {
			t.Parallel()
			person, err := intake.ParsePerson(json.RawMessage(tt.row), "LK")
			require.NoError(t, err)
			require.Equal(t, intake.Person{Phone: person.Phone, Consent: tt.consent, Attributes: tt.attributes}, person)
			require.Equal(t, tt.phone, string(person.Phone))
		})
	}
	for _, row := range []string{`{}`, `{"phone": ""}`, `{"phone": "hello"}`, `{"phone": ["+94771234567"]}`} {
		_, err := intake.ParsePerson(json.RawMessage(row), "LK")
		require.True(t, fault.Is(err, fault.Invalid), row)
		require.ErrorContains(t, err, "phone_number", row)
	}
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	for input, want := range map[[2]string]intake.Format{
		{"a.csv", ""}: intake.CSV, {"A.JSON", "text/csv"}: intake.JSON, {"a.b.jsonl", ""}: intake.JSONL, {"a.ndjson", ""}: intake.JSONL,
		{"a", "text/csv"}: intake.CSV, {"a.xlsx", "application/octet-stream"}: "", {"", ""}: "",
	} {
		require.Equal(t, want, intake.FormatOf(input[0], input[1]), input)
	}
}

func TestSampleData(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"test_users.csv": 5, "test_users.json": 4} {
		content, err := os.ReadFile("../../data/sample/" + name)
		require.NoError(t, err)
		reader, err := intake.NewReader(intake.FormatOf(name, ""), bytes.NewReader(content))
		require.NoError(t, err)
		people := 0
		for {
			row, err := reader.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			_, err = intake.ParsePerson(row.Data, "")
			require.NoError(t, err)
			people++
		}
		require.Equal(t, want, people, name)
	}
}
