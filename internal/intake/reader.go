package intake

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

// Reader splits an upload into rows. It does not look into them: Import.Person does.
type Reader struct {
	next  func() (Row, error)
	close func() error // nil when there is nothing to close
}

// Open prepares to read an upload. It finds out the columns of a file that has any, and puts them into imp. It fails, like
// Next, with a fault when the file as a whole cannot be read. The reader must be closed.
func Open(imp *Import, source Source) (*Reader, error) {
	if source.Size() == 0 {
		return nil, unreadable("is empty")
	}
	if imp.Format == XLSX {
		return openSheet(imp, source)
	}
	r, err := text(source)
	if err != nil {
		return nil, err
	}
	reader := &Reader{}
	switch imp.Format {
	case CSV:
		reader.next, err = readCSV(imp, r)
	case JSON:
		reader.next, err = readJSON(r)
	default:
		reader.next = readLines(r)
	}
	return reader, err
}

// Next returns the next row, and io.EOF after the last. A row that cannot be read is a Row with a Problem, not an error.
func (r *Reader) Next() (Row, error) { return r.next() }

// Close lets go of what a reader holds besides its source.
func (r *Reader) Close() error {
	if r.close == nil {
		return nil
	}
	return r.close()
}

func unreadable(format string, args ...any) error { return fault.Refuse("file", format, args...) }

// shownRowBytes bounds what is kept of a row that cannot be read.
const shownRowBytes = 4 << 10

// refused is a row that cannot be read.
func refused(line int, record []byte, field, detail string) Row {
	return Row{Line: line, Text: shown(record), Problem: fault.Field{Name: field, Detail: detail}}
}

// shown is as much of a record as can be kept and read.
func shown(record []byte) string {
	cut := record[:min(len(record), shownRowBytes)]
	clean := strings.ReplaceAll(strings.ToValidUTF8(string(cut), "\ufffd"), "\x00", "\u2400")
	if len(cut) < len(record) {
		clean += "…"
	}
	return clean
}

const tooLong = "is longer than a row may be"

// storable says why text that PostgreSQL cannot hold is refused; "" when it can.
func storable(record []byte) string {
	switch {
	case bytes.IndexByte(record, 0) >= 0:
		return "must not hold a NUL character"
	case !utf8.Valid(record):
		return "is not UTF-8 text"
	default:
		return ""
	}
}

func readLines(r io.Reader) func() (Row, error) {
	l := newLines(r)
	return func() (Row, error) {
		for {
			number := l.number
			size, whole := l.line(0)
			record := bytes.TrimSpace(l.take(size))
			if !whole {
				row := refused(number, record, "", tooLong)
				l.skipLine()
				return row, l.failed()
			}
			if len(record) > 0 {
				return recordRow(number, record), l.failed()
			}
			if size == 0 {
				if err := l.failed(); err != nil {
					return Row{}, err
				}
				return Row{}, io.EOF
			}
		}
	}
}

// recordRow is a row of a JSON record.
func recordRow(line int, record []byte) Row {
	if why := storable(record); why != "" {
		return refused(line, record, "", why)
	}
	if len(record) > 2*user.MaxAttributesBytes {
		return refused(line, record, "", tooLong)
	}
	return Row{Line: line, Text: string(record)}
}

// longestRecord bounds what is looked at to find the end of one record of a JSON array: beyond it nothing tells where the
// next one begins.
const longestRecord = 1 << 20

func readJSON(r io.Reader) (func() (Row, error), error) {
	in := &bounded{r: r, left: longestRecord}
	start, rest, err := firstByte(in)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(rest)
	array := start == '['
	if array {
		_, _ = decoder.Token()
	} else if start != '{' {
		return nil, unreadable("must be a JSON array of objects")
	}
	number := 0
	return func() (Row, error) {
		in.left = longestRecord
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
		return recordRow(number, record), nil
	}, nil
}

// bounded fails when one record makes it read too much.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, unreadable("has a record that is longer than %d bytes", longestRecord)
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}

// firstByte returns the first byte that is no white space, and the text from there on.
func firstByte(r io.Reader) (byte, io.Reader, error) {
	block := make([]byte, 4096)
	for {
		n, err := r.Read(block)
		if rest := bytes.TrimLeft(block[:n], " \t\r\n"); len(rest) > 0 {
			return rest[0], io.MultiReader(bytes.NewReader(rest), r), nil
		}
		if errors.Is(err, io.EOF) {
			return 0, nil, unreadable("is empty")
		} else if err != nil {
			return 0, nil, err
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

func readCSV(imp *Import, r io.Reader) (func() (Row, error), error) {
	l := newLines(r)
	header, err := csvHeader(l)
	if err != nil {
		return nil, err
	}
	comma := delimiter(header)
	imp.Comma = rune(comma)
	names, err := cells(string(header), imp.Comma)
	if err != nil {
		return nil, unreadable("has a header that is not valid CSV: %v", err)
	}
	if err := imp.setHeader(names); err != nil {
		return nil, err
	}
	return func() (Row, error) {
		for {
			number := l.number
			size, whole, closed := l.record(comma)
			record := trimBreak(l.take(size))
			switch {
			case !whole:
				row := refused(number, record, "", tooLong)
				l.skipLine()
				return row, l.failed()
			case !closed:
				return refused(number, record, "", "is not valid CSV: a quotation mark is never closed"), l.failed()
			case len(record) > 0:
				return imp.csvRow(number, record), l.failed()
			case size == 0:
				if err := l.failed(); err != nil {
					return Row{}, err
				}
				return Row{}, io.EOF
			}
		}
	}, nil
}

// csvHeader takes the first record that is not empty. Which delimiter it has is not known yet, and does not matter to where
// it ends but for the strangest of names.
func csvHeader(l *lines) ([]byte, error) {
	for {
		size, whole, closed := l.record(',')
		header := bytes.Clone(trimBreak(l.take(size)))
		switch {
		case !whole:
			return nil, unreadable("has a header that is too long")
		case !closed:
			return nil, unreadable("has a header that is not valid CSV: a quotation mark is never closed")
		case storable(header) != "":
			return nil, unreadable("must be text in UTF-8, UTF-16 or Windows-1252: its header is not")
		case len(bytes.TrimSpace(header)) > 0:
			return header, nil
		case size == 0:
			if err := l.failed(); err != nil {
				return nil, err
			}
			return nil, unreadable("is empty")
		}
	}
}

func trimBreak(record []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(record, []byte("\n")), []byte("\r"))
}

// csvRow is the row of a CSV record. One that cannot be stored is taken apart here, to name the cell.
func (i *Import) csvRow(line int, record []byte) Row {
	why := storable(record)
	if why == "" {
		return Row{Line: line, Text: string(record)}
	}
	found, _ := cells(string(record), i.Comma)
	for n, cell := range found {
		if n < len(i.Header) && storable([]byte(cell)) != "" {
			return refused(line, record, i.Header[n], why)
		}
	}
	return refused(line, record, "", why)
}

// cells takes a CSV record apart.
func cells(record string, comma rune) ([]string, error) {
	if strings.IndexByte(record, '"') < 0 {
		return strings.Split(record, string(comma)), nil
	}
	reader := csv.NewReader(strings.NewReader(record))
	reader.Comma, reader.FieldsPerRecord = comma, -1
	found, err := reader.Read()
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, parse.Err
	}
	return found, err
}

// delimiter guesses what separates the cells: whichever of the usual is most frequent in the header.
func delimiter(header []byte) byte {
	best, most := byte(','), 0
	for _, candidate := range []byte(",;\t|") {
		if n := bytes.Count(header, []byte{candidate}); n > most {
			best, most = candidate, n
		}
	}
	return best
}

// setHeader takes the names of the columns over, and checks that they and the mapping make sense together.
func (i *Import) setHeader(names []string) error {
	i.Header = make([]string, len(names))
	seen := map[string]bool{}
	for n, name := range names {
		i.Header[n] = strings.TrimSpace(name)
		if i.Header[n] != "" && seen[i.Header[n]] {
			return unreadable("names column %d like an earlier one", n+1)
		}
		seen[i.Header[n]] = true
	}
	_, err := i.columns()
	return err
}

// Records gives the elements of a JSON array as rows, like Reader.Next.
func Records(records []json.RawMessage) func() (Row, error) {
	number := 0
	return func() (Row, error) {
		if number == len(records) {
			return Row{}, io.EOF
		}
		number++
		return recordRow(number, bytes.TrimSpace(records[number-1])), nil
	}
}
