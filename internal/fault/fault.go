// Package fault holds the few kinds of error the engine tells apart. A fault's message is written for the caller
// and may be shown to anyone; every other error is internal: logged in full, answered without detail.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says whose fault an error is, and so what the caller can do about it.
type Kind string

// The kinds, and the HTTP status that the API gives them.
const (
	Invalid     Kind = "invalid"     // 422: the request is understood, its content is refused
	NotFound    Kind = "not_found"   // 404
	Conflict    Kind = "conflict"    // 409: the state of the thing forbids it
	Forbidden   Kind = "forbidden"   // 403
	Unavailable Kind = "unavailable" // 503: try again later
	Internal    Kind = "internal"    // 500: not a Fault at all
)

// Field is one refused part of the input.
type Field struct {
	Name   string `json:"field"`  // where: a JSON path such as definition_json.conditions[1].operator
	Detail string `json:"detail"` // why, and what would be right
}

// Fault is an error that its cause may read. The zero value is not useful; make one with New or Refuse.
type Fault struct {
	Kind   Kind
	Detail string
	Fields []Field // only with Invalid, and with a Conflict about fields
}

// New makes a fault with a message for the caller.
func New(kind Kind, format string, args ...any) *Fault {
	return &Fault{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Refuse makes an Invalid fault about one field.
func Refuse(field, format string, args ...any) *Fault {
	return refused([]Field{{Name: field, Detail: fmt.Sprintf(format, args...)}})
}

// Fields makes an Invalid fault about several fields; nil when there are none.
func Fields(fields ...Field) error {
	if len(fields) == 0 {
		return nil
	}
	return refused(fields)
}

func refused(fields []Field) *Fault {
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = f.Name + ": " + f.Detail
	}
	return &Fault{Kind: Invalid, Detail: strings.Join(parts, "; "), Fields: fields}
}

// Conflicts makes a Conflict about fields that cannot be as they were asked for now; detail says why as a whole.
func Conflicts(detail string, fields ...Field) *Fault {
	f := refused(fields)
	f.Kind, f.Detail = Conflict, detail+": "+f.Detail
	return f
}

func (f *Fault) Error() string { return f.Detail }

// KindOf returns the kind of the first Fault in err's chain, and Internal for every other error.
func KindOf(err error) Kind {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f.Kind
	}
	return Internal
}

// Is reports whether err carries a fault of that kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
