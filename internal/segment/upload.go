package segment

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
)

// Entry is one row of an upload to a static segment: a number, or why there is none.
type Entry struct {
	Line    int // in the file, from 1
	Number  phone.Number
	Problem string // never repeats the row
}

// Upload is what came of one.
type Upload struct {
	Rows    int // Matched, Unknown and Invalid together
	Matched int // rows with the number of somebody known
	Unknown int // rows with a number that nobody has
	Invalid int // rows without a number
	Members int64
	Errors  []RowError // the first rows that matched nobody
}

// RowError says why a row matched nobody.
type RowError struct {
	Line   int
	Detail string
}

// maxLineBytes bounds what is held of a file at once.
const maxLineBytes = 64 << 10

// numberColumns are the names of the column with the number, where the first line names columns.
var numberColumns = []string{"phone_number", "phone", "number", "msisdn"}

// Numbers reads an upload line by line: a number on each, or delimited columns (comma, semicolon or tab), the number in the
// one that the first line calls phone_number, else in the first. Blank lines are skipped.
type Numbers struct {
	lines     *bufio.Scanner
	region    string
	line      int
	delimiter rune
	column    int
}

// NewNumbers reads from r; numbers without a country code are of defaultRegion, "" for none.
func NewNumbers(r io.Reader, defaultRegion string) *Numbers {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLineBytes)
	return &Numbers{lines: lines, region: defaultRegion, delimiter: ','}
}

// Next returns the next row, io.EOF after the last. Any other error ends the reading.
func (n *Numbers) Next() (Entry, error) {
	for n.lines.Scan() {
		n.line++
		text := n.lines.Text()
		if n.line == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
			if n.header(text) {
				continue
			}
		}
		if strings.TrimSpace(text) != "" {
			return n.entry(text), nil
		}
	}
	switch err := n.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return Entry{}, fault.Refuse("file", "line %d is longer than %d bytes", n.line+1, maxLineBytes)
	case err != nil:
		return Entry{}, err
	default:
		return Entry{}, io.EOF
	}
}

// header learns the delimiter from the first line, and tells whether the line names columns.
func (n *Numbers) header(text string) bool {
	for _, delimiter := range ";\t" {
		if strings.ContainsRune(text, delimiter) && !strings.ContainsRune(text, ',') {
			n.delimiter = delimiter
		}
	}
	cells, err := n.cells(text)
	if err != nil {
		return false
	}
	for i, cell := range cells {
		if slices.Contains(numberColumns, strings.ToLower(strings.TrimSpace(cell))) {
			n.column = i
			return true
		}
	}
	return false
}

func (n *Numbers) cells(text string) ([]string, error) {
	reader := csv.NewReader(strings.NewReader(text))
	reader.Comma, reader.LazyQuotes = n.delimiter, true
	return reader.Read()
}

func (n *Numbers) entry(text string) Entry {
	cells, err := n.cells(text)
	if err != nil || len(cells) <= n.column {
		return Entry{Line: n.line, Problem: "has no number in its column"}
	}
	number, err := phone.Parse(cells[n.column], n.region)
	if err != nil {
		return Entry{Line: n.line, Problem: err.Error()}
	}
	return Entry{Line: n.line, Number: number}
}
