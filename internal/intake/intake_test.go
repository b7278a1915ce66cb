package intake_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/user"
)

// read returns the rows of an upload as text, one a line: "2 {…}" or "3 field: detail".
func read(t *testing.T, imp intake.Import, source intake.Source) (rows []string, err error) {
	t.Helper()
	reader, err := intake.Open(&imp, source)
	if err != nil {
		return nil, err
	}
	defer func() { require.NoError(t, reader.Close()) }()
	parse, err := imp.Parser()
	require.NoError(t, err)
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return rows, err
		}
		require.True(t, utf8.ValidString(row.Text))
		require.NotContains(t, row.Text, "\x00")
		if row.Refused() {
			rows = append(rows, fmt.Sprintf("%d %s: %s", row.Line, row.Problem.Name, row.Problem.Detail))
			continue
		}
		rows = append(rows, fmt.Sprintf("%d %s", row.Line, said(t, parse, row.Text)))
	}
}

// said is what a row says about a person, as JSON, or "field: detail" where it is refused.
func said(t *testing.T, parse func(string) (intake.Person, error), text string) string {
	t.Helper()
	p, err := parse(text)
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f.Detail
	}
	require.NoError(t, err)
	attributes, err := json.Marshal(p.Attributes)
	require.NoError(t, err)
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Phone, attributes, p.Consent))
}

const (
	a = "+94771234561"
	b = "+94771234562"
)

func TestReader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		format intake.Format
		text   string
		rows   []string
	}{
		{"plain CSV", intake.CSV, "phone_number,name\n" + a + ",A\n" + b + ",B", []string{"2 " + a + ` {"name":"A"}`, "3 " + b + ` {"name":"B"}`}},
		{"semicolons, byte order mark, CRLF", intake.CSV, "\ufeffphone;name\r\n" + a + ";\"A; B\"\r\n", []string{"2 " + a + ` {"name":"A; B"}`}},
		{"tabs", intake.CSV, "Phone\tname\n" + a + "\tA, B\n", []string{"2 " + a + ` {"name":"A, B"}`}},
		{"pipes", intake.CSV, "phone|consent\n" + a + "|opt-in\n", []string{"2 " + a + ` {} OPT_IN`}},
		{"JSON types of cells", intake.CSV, "phone,a,b,c,d,e,f,g\n" + a + ",40,-1.5,007,TRUE,1e5,1234567890123456,+5\n",
			[]string{"2 " + a + ` {"a":40,"b":-1.5,"c":"007","d":true,"e":"1e5","f":"1234567890123456","g":"+5"}`}},
		{"empty cells, blank lines, short rows", intake.CSV, "\n\nphone,a,b\n\n" + a + ", ,x\n" + b + "\n", []string{"5 " + a + ` {"b":"x"}`, "6 " + b + " {}"}},
		{"a column without a name is left out", intake.CSV, "phone,\n" + a + ",x\n", []string{"2 " + a + " {}"}},
		{"too many cells", intake.CSV, "phone\n" + a + ",x\n" + b + "\n", []string{"2 : has 2 cells, but the header has 1", "3 " + b + " {}"}},
		{"broken quotes", intake.CSV, "phone,a\n" + a + ",x\"y\n" + b + ",z\n", []string{"2 : is not valid CSV: bare \" in non-quoted-field", "3 " + b + ` {"a":"z"}`}},
		{"text behind quotes", intake.CSV, "phone,a\n" + a + ",\"x\"y\n" + b + ",z\n", []string{"2 : is not valid CSV: extraneous or missing \" in quoted-field", "3 " + b + ` {"a":"z"}`}},
		{"a quotation mark that never closes is one row", intake.CSV, "phone,a\n" + a + ",\"x\n" + b + ",z\n",
			[]string{"2 : is not valid CSV: a quotation mark is never closed", "3 " + b + ` {"a":"z"}`}},
		{"however long the rest of the file is", intake.CSV, "phone,a\n" + a + ",\"x\n" + strings.Repeat(b+",z\n", 1<<15) + a + ",y\n",
			append([]string{"2 : is not valid CSV: a quotation mark is never closed"}, numbered(3, 1<<15, b+` {"a":"z"}`, a+` {"a":"y"}`)...)},
		{"doubled quotation marks", intake.CSV, "phone,a\n" + a + ",\"say \"\"x\"\"\"\n" + b + ",\"\"\n", []string{"2 " + a + ` {"a":"say \"x\""}`, "3 " + b + " {}"}},
		{"NUL and broken cells", intake.CSV, "phone,a\n" + a + ",\x00\n" + a + ",\xe9\n" + b + ",é\n", []string{"2 a: must not hold a NUL character", "3 a: is not UTF-8 text", "4 " + b + ` {"a":"é"}`}},
		{"line numbers count lines", intake.CSV, "phone,a\n" + a + ",\"x\ny\"\n" + b + ",z\n", []string{"2 " + a + ` {"a":"x\ny"}`, "4 " + b + ` {"a":"z"}`}},
		{"a line that is too long", intake.CSV, "phone,a\n" + a + "," + strings.Repeat("x", 3<<20) + "\n" + b + ",z\n", []string{"2 : is longer than a row may be", "3 " + b + ` {"a":"z"}`}},

		{"UTF-16 with a mark", intake.CSV, utf16text(true, "\ufeffphone;name\r\n"+a+";Zoë 🙂\r\n"), []string{"2 " + a + ` {"name":"Zoë 🙂"}`}},
		{"big-endian UTF-16 with a mark", intake.CSV, utf16text(false, "\ufeffphone,name\n"+a+",Zoë\n"), []string{"2 " + a + ` {"name":"Zoë"}`}},
		{"UTF-16 without a mark", intake.JSONL, utf16text(true, `{"phone":"`+a+`","name":"Zoë"}`), []string{"1 " + a + ` {"name":"Zoë"}`}},
		{"Windows-1252", intake.CSV, "phone;name\n" + a + ";Zo\xeb \x80\n" + b + ";Ren\xe9e\n", []string{"2 " + a + ` {"name":"Zoë €"}`, "3 " + b + ` {"name":"Renée"}`}},

		{"JSON array", intake.JSON, "\ufeff [ {\"phone\":\"" + a + "\",\"a\":1.50},\n {\"phone\":\"" + b + "\",\"b\":{\"c\":null}} ] ", []string{"1 " + a + ` {"a":1.50}`, "2 " + b + ` {"b":{"c":null}}`}},
		{"empty array", intake.JSON, "[]", nil},
		{"objects one after the other", intake.JSON, "{\"phone\":\"" + a + "\"}\n{\"phone\":\n\"" + b + "\"}", []string{"1 " + a + " {}", "2 " + b + " {}"}},
		{"elements that are no objects, or hold NUL", intake.JSON, `[3, {"a":"\u0000"}, null, {}]`,
			[]string{"1 : must be an object with a phone_number", "2 a: must not hold a NUL character", "3 : must be an object with a phone_number", "4 phone_number: is missing"}},

		{"JSON lines", intake.JSONL, "{\"phone\":\"" + a + "\"}\n\n {\"phone\":\"" + b + "\"} \r\n{}", []string{"1 " + a + " {}", "3 " + b + " {}", "4 phone_number: is missing"}},
		{"a broken line is one row", intake.JSONL, "{\"a\":1\n{\"phone\":\"" + a + "\"}\nnot json\n{} {}\n", []string{
			"1 : must be one JSON object", "2 " + a + " {}", "3 : must be an object with a phone_number", "4 : must be one JSON object",
		}},
		{"a line that is far too long is one row", intake.JSONL, strings.Repeat("x", 3<<20) + "\n{\"phone\":\"" + a + "\"}", []string{"1 : is longer than a row may be", "2 " + a + " {}"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rows, err := read(t, intake.Import{Format: tt.format}, strings.NewReader(tt.text))
			require.NoError(t, err)
			require.Equal(t, tt.rows, rows)
			for _, size := range []int{1, 7, 4093} { // however the text comes
				if len(tt.text) < 1<<12 {
					again, err := read(t, intake.Import{Format: tt.format}, dripping{strings.NewReader(tt.text), size})
					require.NoError(t, err)
					require.Equal(t, tt.rows, again, "%d bytes at a time", size)
				}
			}
		})
	}
}

// numbered puts line numbers before n times the same row and a last one.
func numbered(line, n int, row, last string) []string {
	rows := make([]string, 0, n+1)
	for i := range n {
		rows = append(rows, fmt.Sprintf("%d %s", line+i, row))
	}
	return append(rows, fmt.Sprintf("%d %s", line+n, last))
}

func utf16text(little bool, text string) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		if little {
			out = binary.LittleEndian.AppendUint16(out, unit)
		} else {
			out = binary.BigEndian.AppendUint16(out, unit)
		}
	}
	return string(out)
}

// dripping gives so many bytes at a time.
type dripping struct {
	*strings.Reader
	size int
}

func (d dripping) ReadAt(p []byte, at int64) (int, error) {
	return d.Reader.ReadAt(p[:min(d.size, len(p))], at)
}

func TestReaderRefusesFiles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		imp    intake.Import
		text   string
		detail string
	}{
		{"nothing at all", intake.Import{Format: intake.CSV}, "", "is empty"},
		{"no header", intake.Import{Format: intake.CSV}, " \n", "is empty"},
		{"no phone column", intake.Import{Format: intake.CSV}, "name,city\nA,B\n", "needs a header with a column phone_number"},
		{"the same column twice", intake.Import{Format: intake.CSV}, "phone,a, a\n", "names column 3 like an earlier one"},
		{"a header that is no text", intake.Import{Format: intake.CSV}, "ph\x00one,a\n", "its header is not"},
		{"a header that does not end", intake.Import{Format: intake.CSV}, strings.Repeat("x", 3<<20), "has a header that is too long"},
		{"a header with an open quotation mark", intake.Import{Format: intake.CSV}, "phone,\"a\n1\n", "has a header that is not valid CSV"},
		{"an element that does not end", intake.Import{Format: intake.JSON}, `[{"a":"` + strings.Repeat("x", 3<<20) + `"}]`, "has a record that is longer than 1048576 bytes"},
		{"a broken array", intake.Import{Format: intake.JSON}, `[{"a":1}, {"a"]`, "is not valid JSON at record 2"},
		{"an array that ends early", intake.Import{Format: intake.JSON}, `[{"a":1},`, "is not valid JSON at record 2"},
		{"an array that never ends", intake.Import{Format: intake.JSON}, `[{"a":1}`, "is not valid JSON at record 2"},
		{"no JSON", intake.Import{Format: intake.JSON}, `hello`, "must be a JSON array of objects"},
		{"white space", intake.Import{Format: intake.JSON}, "\n ", "is empty"},
		{"a mapping of another file", intake.Import{Format: intake.CSV, Mapping: intake.Mapping{"Mobile": {To: "phone_number"}}}, "phone,a\n", "mapping.Mobile: is no column of the file"},
		{"a mapping onto a column", intake.Import{Format: intake.CSV, Mapping: intake.Mapping{"Town": {To: "city"}}}, "phone,Town,city\n", "has another column for city"},
		{"a mapping that leaves the number out", intake.Import{Format: intake.CSV, Mapping: intake.Mapping{"phone": {}}}, "phone,a\n", "needs a header with a column phone_number"},
		{"no workbook", intake.Import{Format: intake.XLSX}, "PK", "is not a workbook"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := read(t, tt.imp, strings.NewReader(tt.text))
			require.True(t, fault.Is(err, fault.Invalid), err)
			require.ErrorContains(t, err, tt.detail)
		})
	}
}

func TestReaderPassesOnErrorsOfItsSource(t *testing.T) {
	t.Parallel()
	gone := errors.New("the disk is gone")
	for format, text := range map[intake.Format]string{intake.CSV: "phone\n+1\n", intake.JSON: `[{"a":1},`, intake.JSONL: "{}\n"} {
		_, err := read(t, intake.Import{Format: format}, failing{strings.NewReader(text), gone})
		require.ErrorIs(t, err, gone, format)
		require.False(t, fault.Is(err, fault.Invalid), format)
	}
}

// failing has an error where its text ends.
type failing struct {
	*strings.Reader
	err error
}

func (f failing) Size() int64 { return f.Reader.Size() + 1 }

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.Reader.ReadAt(p, at)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

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
			parse, err := (&intake.Import{Format: intake.JSONL, DefaultRegion: "LK"}).Parser()
			require.NoError(t, err)
			person, err := parse(tt.row)
			require.NoError(t, err)
			require.Equal(t, intake.Person{Phone: person.Phone, Consent: tt.consent, Attributes: tt.attributes}, person)
			require.Equal(t, tt.phone, string(person.Phone))
		})
	}
	for _, row := range []string{`{}`, `{"phone": ""}`, `{"phone": "hello"}`, `{"phone": ["+94771234567"]}`} {
		parse, err := (&intake.Import{Format: intake.JSONL, DefaultRegion: "LK"}).Parser()
		require.NoError(t, err)
		_, err = parse(row)
		require.True(t, fault.Is(err, fault.Invalid), row)
		require.ErrorContains(t, err, "phone_number", row)
	}
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	for input, want := range map[[2]string]intake.Format{
		{"a.csv", ""}: intake.CSV, {"A.JSON", "text/csv"}: intake.JSON, {"a.b.jsonl", ""}: intake.JSONL, {"a.ndjson", ""}: intake.JSONL,
		{"a", "text/csv"}: intake.CSV, {"a.xlsx", "application/octet-stream"}: intake.XLSX, {"a.pdf", ""}: "", {"", ""}: "",
	} {
		require.Equal(t, want, intake.FormatOf(input[0], input[1]), input)
	}
}

func TestSampleData(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"test_users.csv": 5, "test_users.json": 4} {
		content, err := os.ReadFile("../../data/sample/" + name)
		require.NoError(t, err)
		rows, err := read(t, intake.Import{Format: intake.FormatOf(name, "")}, bytes.NewReader(content))
		require.NoError(t, err)
		require.Len(t, rows, want, name)
		for _, row := range rows {
			require.Contains(t, row, " +94", name)
		}
	}
}
