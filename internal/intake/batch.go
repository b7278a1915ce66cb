package intake

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Bounds of a chunk. They bound what a transaction takes in, and what is held in memory of an import.
const (
	maxChunkRows  = 5000
	maxChunkBytes = 2 << 20

	// MaxRefusedHeld is how many refused rows are worth holding before they are stored.
	MaxRefusedHeld = 256
)

// Chunk is some rows of an import that follow each other in the file.
type Chunk struct {
	Number  int // within the import, from 1
	Lines   []int32
	Records []string
	// Revision counts how often records were emptied since the chunk was stored.
	Revision int

	bytes int
}

// Full reports whether a chunk has as many rows as it may.
func (c *Chunk) Full() bool { return len(c.Lines) >= maxChunkRows || c.bytes >= maxChunkBytes }

// Next begins the chunk that follows.
func (c *Chunk) Next() { *c = Chunk{Number: c.Number + 1, Lines: c.Lines[:0], Records: c.Records[:0]} }

// Append adds a row that could be read.
func (c *Chunk) Append(r Row) {
	c.Lines = append(c.Lines, int32(r.Line))
	c.Records = append(c.Records, r.Text)
	c.bytes += len(r.Text)
}

// Batch is what a chunk says about people: each number once.
type Batch struct {
	Chunk    int
	Revision int // of the chunk
	Rows     int
	People   []*Entry // in the order of their numbers
	Refused  []RowError

	byNumber map[phone.Number]*Entry
	policy   Policy
}

// Entry is what all rows of one number say together.
type Entry struct {
	Phone      phone.Number
	Region     string // of the number
	Attributes user.Attributes
	Encoded    json.RawMessage // Attributes
	Rows       []EntryRow      // in the order of the file
}

// EntryRow is one of the rows about somebody.
type EntryRow struct {
	Line    int
	Consent user.ConsentState
	Text    string
}

// Read takes a chunk apart. parse comes from the import's Parser.
func (c *Chunk) Read(policy Policy, parse func(text string) (Person, error)) *Batch {
	b := &Batch{Chunk: c.Number, Revision: c.Revision, Rows: len(c.Lines), byNumber: make(map[phone.Number]*Entry, len(c.Lines)), policy: policy}
	for i, text := range c.Records {
		line := int(c.Lines[i])
		if text == "" {
			b.Refused = append(b.Refused, RowError{Line: line, Detail: "named a person who was erased before the row was taken in"})
			continue
		}
		p, err := parse(text)
		if err != nil {
			b.refuse(line, text, err)
			continue
		}
		row := EntryRow{Line: line, Consent: p.Consent, Text: text}
		e := b.byNumber[p.Phone]
		switch {
		case e == nil:
			e = &Entry{Phone: p.Phone, Region: phone.Region(p.Phone), Attributes: p.Attributes}
			b.byNumber[p.Phone] = e
			b.People = append(b.People, e)
		case policy == Replace:
			e.Attributes = p.Attributes
		default:
			Merge(e.Attributes, p.Attributes)
		}
		e.Rows = append(e.Rows, row)
	}
	b.People = slices.DeleteFunc(b.People, func(e *Entry) bool {
		var err error
		if e.Encoded, err = Encode(e.Attributes); err != nil {
			b.RefuseEntry(e, err)
		}
		return err != nil
	})
	slices.SortFunc(b.People, func(x, y *Entry) int { return strings.Compare(string(x.Phone), string(y.Phone)) })
	return b
}

// Meets reports whether two batches name the same number.
func (b *Batch) Meets(other *Batch) bool {
	for number := range b.byNumber {
		if other.byNumber[number] != nil {
			return true
		}
	}
	return false
}

// Of finds what a batch says of a number; nil for nothing.
func (b *Batch) Of(number phone.Number) *Entry { return b.byNumber[number] }

// RefuseEntry refuses all rows of a number. People keeps it; nobody else finds it.
func (b *Batch) RefuseEntry(e *Entry, err error) {
	for _, row := range e.Rows {
		b.refuse(row.Line, row.Text, err)
	}
	e.Rows = nil
}

func (b *Batch) refuse(line int, text string, err error) {
	refused := RowError{Line: line, Detail: "cannot be read", Text: shown([]byte(text))}
	if f, ok := errors.AsType[*fault.Fault](err); ok && len(f.Fields) > 0 {
		refused.Field, refused.Detail = f.Fields[0].Name, f.Fields[0].Detail
	}
	b.Refused = append(b.Refused, refused)
}

// Apply puts what an import says over what is known of somebody, by its policy, and reports whether that changed anything.
func (p Policy) Apply(known, news user.Attributes) (after user.Attributes, changed bool) {
	if p == Replace {
		return news, !reflect.DeepEqual(known, news)
	}
	return known, Merge(known, news)
}

// Merge puts news over what is known, objects member by member, and reports whether that changed anything.
func Merge(known, news map[string]any) (changed bool) {
	for key, value := range news {
		old, found := known[key]
		if inner, ok := value.(map[string]any); ok {
			if into, ok := old.(map[string]any); ok {
				changed = Merge(into, inner) || changed
				continue
			}
		}
		if !found || !reflect.DeepEqual(old, value) {
			known[key] = value
			changed = true
		}
	}
	return changed
}

// Encode writes attributes as JSON. A fault of the row when they are more than anybody may have.
func Encode(attributes user.Attributes) (json.RawMessage, error) {
	raw, err := json.Marshal(attributes)
	if err == nil && len(raw) > user.MaxAttributesBytes {
		return nil, fault.Refuse("attributes", "would become too large: at most %d bytes", user.MaxAttributesBytes)
	}
	return raw, err
}

// Consent applies the rows about somebody in their order; line is that of the last one that changed anything, 0 for none.
func (e *Entry) Consent(before user.ConsentState) (after user.ConsentState, line int, err error) {
	after = before
	for _, row := range e.Rows {
		next, err := after.After(user.Change{State: row.Consent, Source: user.SourceImport})
		if err != nil {
			return "", 0, err
		}
		if next != after {
			after, line = next, row.Line
		}
	}
	return after, line, nil
}
