// Package intake reads lists of people: CSV, spreadsheets, JSON and JSON lines. It splits an upload into records without
// holding more than one of them, and tells what a record says about a person. It is pure; nothing here stores anything.
package intake

import (
	"path"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Format is how an upload is written.
type Format string

// The formats.
const (
	CSV   Format = "csv"   // with a header; separated by comma, semicolon, tab or |
	XLSX  Format = "xlsx"  // the first sheet of a workbook, with a header
	JSON  Format = "json"  // an array of objects, or objects one after the other
	JSONL Format = "jsonl" // an object a line
)

// FormatOf tells the format of a file by its name, else by its media type; "" when neither tells.
func FormatOf(fileName, mediaType string) Format {
	switch strings.ToLower(path.Ext(fileName)) {
	case ".csv", ".tsv", ".txt":
		return CSV
	case ".xlsx":
		return XLSX
	case ".json":
		return JSON
	case ".jsonl", ".ndjson":
		return JSONL
	}
	switch mediaType {
	case "text/csv", "text/tab-separated-values":
		return CSV
	case "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":
		return XLSX
	case "application/json":
		return JSON
	case "application/jsonl", "application/x-ndjson", "application/jsonlines":
		return JSONL
	}
	return ""
}

// tabular reports whether the file has columns, named by a header.
func (f Format) tabular() bool { return f == CSV || f == XLSX }

// Policy is what an import does with people who are known already. Their consent follows its own rules under each.
type Policy string

// The policies.
const (
	Add     Policy = "add"     // leaves them as they are
	Update  Policy = "update"  // merges attributes into theirs, objects member by member
	Replace Policy = "replace" // puts attributes in place of theirs
)

// Status is where an import is in its life.
type Status string

// The states of an import.
const (
	Pending   Status = "PENDING" // stored, not begun
	Running   Status = "RUNNING"
	Completed Status = "COMPLETED" // every row was taken over, left out or refused
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
	Mapping       Mapping
	Policy        Policy // the zero value is Update
	DryRun        bool   // everything is checked and counted, and nobody is written
	Invite        bool   // whoever is PENDING after it is asked for their consent

	// What Open finds out about a file with columns.
	Comma  rune     // between its cells
	Header []string // names of its columns, trimmed

	Status       Status
	StatusReason string // why it failed
	Total        int    // rows
	Processed    int    // succeeded + failed + skipped
	Succeeded    int
	Failed       int
	Skipped      int    // rows about somebody known whom the policy left alone
	Merged       int    // rows about somebody already known, or named again in the file; part of Succeeded
	CreatedBy    string // principal
	CreatedAt    time.Time
	StartedAt    *time.Time
	CompletedAt  *time.Time
}

// Rate is how many rows were done in a second, and the time that the others will take at that rate. Both are 0 before the
// first rows are done, and left is 0 when the import is over.
func (i Import) Rate(now time.Time) (perSecond float64, left time.Duration) {
	if i.StartedAt == nil {
		return 0, 0
	}
	if i.CompletedAt != nil {
		now = *i.CompletedAt
	}
	took := now.Sub(*i.StartedAt).Seconds()
	if took <= 0 || i.Processed == 0 {
		return 0, 0
	}
	perSecond = float64(i.Processed) / took
	if i.Status.Over() {
		return perSecond, 0
	}
	return perSecond, time.Duration(float64(i.Total-i.Processed) / perSecond * float64(time.Second))
}

// Row is one record of an upload.
type Row struct {
	Line    int         // where it begins in the file, from 1; in a JSON array the number of the record
	Text    string      // as it stands there, in UTF-8; what cannot be shown and what is too much is replaced
	Problem fault.Field // why it cannot be read; the zero value when it may be
}

// Refused reports whether the row could not be read.
func (r Row) Refused() bool { return r.Problem.Detail != "" }

// RowError is a refused row.
type RowError struct {
	Line   int    // as in Row
	Field  string // "" when the row could not be read
	Detail string // never repeats the row's content
	Text   string // the row itself, for whoever is to mend it
}
