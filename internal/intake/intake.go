// Package intake reads lists of people: CSV, JSON and JSON lines. It splits an upload into rows without holding more
// than one of them, and tells what a row says about a person. It is pure; nothing here stores anything.
package intake

import (
	"encoding/json"
	"path"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Format is how an upload is written.
type Format string

// The formats.
const (
	CSV   Format = "csv"   // with a header; separated by comma, semicolon, tab or |
	JSON  Format = "json"  // an array of objects, or objects one after the other
	JSONL Format = "jsonl" // an object a line
)

// FormatOf tells the format of a file by its name, else by its media type; "" when neither tells.
func FormatOf(fileName, mediaType string) Format {
	switch strings.ToLower(path.Ext(fileName)) {
	case ".csv":
		return CSV
	case ".json":
		return JSON
	case ".jsonl", ".ndjson":
		return JSONL
	}
	switch mediaType {
	case "text/csv":
		return CSV
	case "application/json":
		return JSON
	case "application/jsonl", "application/x-ndjson", "application/jsonlines":
		return JSONL
	}
	return ""
}

// Status is where an import is in its life.
type Status string

// The states of an import.
const (
	Pending   Status = "PENDING" // stored, not begun
	Running   Status = "RUNNING"
	Completed Status = "COMPLETED" // every row was taken over or refused
	Failed    Status = "FAILED"    // given up; rows done before stay done
)

// Over reports whether nothing more will happen.
func (s Status) Over() bool { return s == Completed || s == Failed }

// Import is one upload and how far it has come.
type Import struct {
	ID            uuid.UUID
	FileName      string // as uploaded; "" for a request body
	Format        Format
	DefaultRegion string // of numbers without a country code; "" refuses those
	Status        Status
	StatusReason  string // why it failed
	Total         int    // rows
	Processed     int    // succeeded + failed
	Succeeded     int
	Failed        int
	Merged        int    // rows about somebody already known, or named again in the file
	CreatedBy     string // principal
	CreatedAt     time.Time
	StartedAt     *time.Time
	CompletedAt   *time.Time
}

// RowError is a refused row. It never repeats the row's content.
type RowError struct {
	Line   int    // in the file, from 1; for JSON the number of the record
	Field  string // "" when the row could not be read
	Detail string
}

// Person is what one row says about somebody.
type Person struct {
	Phone      phone.Number
	Consent    user.ConsentState // the zero value when the row does not say, or says something unknown
	Attributes user.Attributes
}

// reserved are the keys that are no attributes.
var reserved = map[string]bool{"phone_number": true, "phone": true, "consent_state": true, "consent": true, "attributes": true}

// ParsePerson reads a row's object. The number is under phone_number or phone, the consent under consent_state or
// consent, in any letter case; every other key is an attribute. An object under attributes stands for its members. An
// empty value (null, "") says nothing. Its fault names the field.
func ParsePerson(row json.RawMessage, defaultRegion string) (Person, error) {
	values, err := user.ParseAttributes("", row)
	if err != nil {
		return Person{}, err
	}
	p := Person{Attributes: make(user.Attributes, len(values))}
	var number, consent string
	for key, value := range values {
		if value == nil || value == "" {
			continue
		}
		switch name := strings.ToLower(strings.TrimSpace(key)); name {
		case "phone_number", "phone":
			if number == "" || name == "phone_number" {
				number = text(value)
			}
		case "consent_state", "consent":
			if consent == "" || name == "consent_state" {
				consent = text(value)
			}
		case "attributes":
			nested, ok := value.(map[string]any)
			if !ok {
				p.Attributes[key] = value
				continue
			}
			for k, v := range nested {
				if _, stated := values[k]; !stated && v != nil && v != "" && !reserved[strings.ToLower(k)] {
					p.Attributes[k] = v
				}
			}
		default:
			p.Attributes[key] = value
		}
	}
	if number == "" {
		return Person{}, fault.Refuse("phone_number", "is missing")
	}
	if p.Phone, err = phone.Parse(number, defaultRegion); err != nil {
		return Person{}, err
	}
	p.Consent, _ = user.ParseConsent("consent_state", consent) // what is unknown is not consent
	return p, nil
}

// text returns a scalar as written; "" for anything else.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return ""
	}
}
