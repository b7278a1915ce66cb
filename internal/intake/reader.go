package intake

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

// Row is one record of an upload.
type Row struct {
	Line    int             // in the file, from 1; for JSON the number of the record
	Data    json.RawMessage // an object that the database can store; nil when the row could not be read
	Problem fault.Field     // why it could not; with nil Data
}

// maxRowBytes bounds how much of a file is looked at to find the end of one row.
const maxRowBytes = 1 << 20

// Reader splits an upload into rows.
type Reader struct {
	next func() (Row, error)
	in   *bounded
}

// NewReader prepares to read r. It fails, like Next, with a fault when the file as a whole cannot be read.
func NewReader(format Format, r io.Reader) (*Reader, error) {
	in := &bounded{r: r, left: maxRowBytes}
	buffered := bufio.NewReader(in)
	if err := skipMark(buffered); err != nil {
		return nil, err
	}
	reader := &Reader{in: in}
	var err error
	switch format {
	case CSV:
		reader.next, err = readCSV(buffered)
	case JSON:
		reader.next, err = readJSON(buffered)
	default:
		reader.next = readLines(buffered)
	}
	return reader, err
}

// Next returns the next row, and io.EOF after the last. A row that cannot be read is a Row with a Problem, not an error.
func (r *Reader) Next() (Row, error) {
	r.in.left = maxRowBytes
	return r.next()
}

// bounded fails when one row makes it read too much.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, unreadable("a row is longer than %d bytes; perhaps a quotation mark is never closed", maxRowBytes)
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}

func unreadable(format string, args ...any) error { return fault.Refuse("file", format, args...) }

// skipMark skips the mark that some programs put before UTF-8 text.
func skipMark(r *bufio.Reader) error {
	start, _ := r.Peek(3)
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, _ = r.Discard(3)
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		return unreadable("must be UTF-8, not UTF-16")
	}
	return nil
}

// object checks a record and makes a row of it.
func object(line int, record []byte) Row {
	record = bytes.TrimSpace(record)
	if len(record) == 0 || record[0] != '{' {
		return refused(line, "", "must be an object with a phone_number")
	}
	if _, err := user.ParseAttributes("", record); err != nil {
		if f, ok := errors.AsType[*fault.Fault](err); ok && len(f.Fields) > 0 {
			return refused(line, f.Fields[0].Name, f.Fields[0].Detail)
		}
		return refused(line, "", "cannot be read")
	}
	return Row{Line: line, Data: bytes.Clone(record)}
}

func refused(line int, field, detail string) Row {
	return Row{Line: line, Problem: fault.Field{Name: strings.TrimPrefix(field, "."), Detail: detail}}
}

func readLines(r *bufio.Reader) func() (Row, error) {
	line := 0
	return func() (Row, error) {
		for {
			record, err := r.ReadBytes('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return Row{}, err
			}
			line++
			if len(bytes.TrimSpace(record)) > 0 {
				return object(line, record), nil
			}
			if err != nil {
				return Row{}, io.EOF
			}
		}
	}
}

func readJSON(r *bufio.Reader) (func() (Row, error), error) {
	start, err := firstByte(r)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(r)
	decoder.UseNumber()
	array := start == '['
	if array {
		_, _ = decoder.Token()
	} else if start != '{' {
		return nil, unreadable("must be a JSON array of objects")
	}
	number := 0
	return func() (Row, error) {
		if array && !decoder.More() {
			if _, err := decoder.Token(); err != nil {
				return Row{}, broken(err, number+1)
			}
			return Row{}, io.EOF
		}
		var record json.RawMessage
		err := decoder.Decode(&record)
		if errors.Is(err, io.EOF) && !array {
			return Row{}, io.EOF
		} else if err != nil {
			return Row{}, broken(err, number+1)
		}
		number++
		return object(number, record), nil
	}, nil
}

// firstByte returns the first byte that is no white space, unread.
func firstByte(r *bufio.Reader) (byte, error) {
	for {
		b, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return 0, unreadable("is empty")
		} else if err != nil {
			return 0, err
		}
		if !bytes.ContainsRune([]byte(" \t\r\n"), rune(b)) {
			return b, r.UnreadByte()
		}
	}
}

// broken says where a JSON file ends to be readable; other errors are not the file's fault.
func broken(err error, record int) error {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	if syntax || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return unreadable("is not valid JSON at record %d", record)
	}
	return err
}

func readCSV(r *bufio.Reader) (func() (Row, error), error) {
	reader := csv.NewReader(r)
	reader.Comma = delimiter(r)
	reader.FieldsPerRecord = -1
	reader.ReuseRecord = true
	first, err := reader.Read()
	if err != nil {
		return nil, headerProblem(err)
	}
	header := make([]string, len(first))
	seen, phone := map[string]bool{}, -1
	for i, name := range first {
		header[i] = strings.TrimSpace(name)
		switch {
		case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
			return nil, unreadable("must be UTF-8 text: its header is not")
		case header[i] != "" && seen[header[i]]:
			return nil, unreadable("names column %d like an earlier one", i+1)
		}
		seen[header[i]] = true
		if lower := strings.ToLower(header[i]); lower == "phone_number" || lower == "phone" {
			phone = i
		}
	}
	if phone < 0 {
		return nil, unreadable("needs a header with a column phone_number")
	}
	return func() (Row, error) {
		record, err := reader.Read()
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			return refused(parse.StartLine, "", "is not valid CSV: "+parse.Err.Error()), nil
		} else if err != nil {
			return Row{}, err
		}
		line, _ := reader.FieldPos(0)
		return cells(line, header, record), nil
	}, nil
}

func headerProblem(err error) error {
	if errors.Is(err, io.EOF) {
		return unreadable("is empty")
	}
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return unreadable("has a header that is not valid CSV: %v", parse.Err)
	}
	return err
}

// cells makes an object of a CSV record. Empty cells are left out.
func cells(line int, header, record []string) Row {
	if len(record) > len(header) {
		return refused(line, "", fmt.Sprintf("has %d cells, but the header has %d", len(record), len(header)))
	}
	values := make(map[string]any, len(record))
	for i, cell := range record {
		name := header[i]
		cell = strings.TrimSpace(cell)
		switch {
		case name == "" || cell == "":
			continue
		case !utf8.ValidString(cell):
			return refused(line, name, "is not UTF-8 text")
		}
		values[name] = cellValue(name, cell)
	}
	data, err := json.Marshal(values)
	if err != nil {
		return refused(line, "", "cannot be read")
	}
	return object(line, data)
}

var canonicalNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

const maxNumberChars = 15 // every reader of JSON holds such a number exactly

// cellValue gives a cell the JSON type that it is written as, so that conditions on numbers and booleans work: a
// number in its plain form (no leading zeros or plus sign, 15 characters at most) and true or false. Phone numbers and
// everything else stay text.
func cellValue(name, cell string) any {
	lower := strings.ToLower(name)
	if lower == "phone" || lower == "phone_number" {
		return cell
	}
	switch {
	case strings.EqualFold(cell, "true"):
		return true
	case strings.EqualFold(cell, "false"):
		return false
	case len(cell) <= maxNumberChars && canonicalNumber.MatchString(cell):
		return json.Number(cell)
	default:
		return cell
	}
}

// delimiter guesses what separates the cells: whichever of the usual is most frequent in the header.
func delimiter(r *bufio.Reader) rune {
	start, _ := r.Peek(r.Size())
	header, _, _ := bytes.Cut(start, []byte("\n"))
	best, most := ',', 0
	for _, candidate := range ",;\t|" {
		if n := bytes.Count(header, []byte(string(candidate))); n > most {
			best, most = candidate, n
		}
	}
	return best
}

// Records gives the elements of a JSON array as rows, like Reader.Next.
func Records(records []json.RawMessage) func() (Row, error) {
	number := 0
	return func() (Row, error) {
		if number == len(records) {
			return Row{}, io.EOF
		}
		number++
		return object(number, records[number-1]), nil
	}
}
