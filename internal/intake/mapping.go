package intake

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

// Mapping says where the columns of a file, or the keys of its records, belong. What it does not name keeps its own name.
type Mapping map[string]Target

// Target is where a column belongs.
type Target struct {
	To   string // phone_number, consent_state, or an attribute with dots between its levels; "" leaves the column out
	Type Type   // of an attribute; the zero value takes the value as it is written
}

// Type is what the values of a column are.
type Type string

// The types. A value that is not of its column's type makes the row a refused one.
const (
	AsWritten Type = "" // a plain number is a number, true and false are booleans, all else is text; JSON stays as it is
	Text      Type = "text"
	Number    Type = "number"
	Boolean   Type = "boolean"
)

// Where a row says who it is about and what they agreed to.
const (
	toPhone   = "phone_number"
	toConsent = "consent_state"
)

// Bounds of a mapping.
const (
	maxMapped     = 500
	maxPathLevels = 8
	maxPathBytes  = 200
)

// mapped is how a target is written when it has a type.
type mapped struct {
	To   *string `json:"to"`
	Type Type    `json:"type,omitempty"`
}

// ParseMapping reads a mapping: an object of columns, each with where it belongs as text, as {"to": …, "type": …}, or null
// to leave it out. Its fault names the column.
func ParseMapping(raw json.RawMessage) (Mapping, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	var columns map[string]json.RawMessage
	if err := json.Unmarshal(raw, &columns); err != nil {
		return nil, fault.Refuse("mapping", `must be a JSON object such as {"Mobile": "phone_number", "Town": "address.city"}`)
	}
	if len(columns) > maxMapped {
		return nil, fault.Refuse("mapping", "names too many columns: at most %d", maxMapped)
	}
	m := make(Mapping, len(columns))
	for column, raw := range columns {
		target, err := parseTarget("mapping."+column, raw)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(column) == "" || strings.ContainsRune(column, 0) {
			return nil, fault.Refuse("mapping", "names a column without a name")
		}
		m[strings.TrimSpace(column)] = target
	}
	return m, m.check()
}

func parseTarget(field string, raw json.RawMessage) (Target, error) {
	var to *string
	if err := json.Unmarshal(raw, &to); err == nil {
		if to == nil {
			return Target{}, nil
		}
		return checkTarget(field, Target{To: *to})
	}
	var with mapped
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&with); err != nil || with.To == nil {
		return Target{}, fault.Refuse(field, `must be a text such as "address.city", an object such as {"to": "age", "type": "number"}, or null`)
	}
	return checkTarget(field, Target{To: *with.To, Type: with.Type})
}

func checkTarget(field string, t Target) (Target, error) {
	levels := strings.Split(t.To, ".")
	switch {
	case slices.Contains(levels, "") || strings.ContainsRune(t.To, 0):
		return Target{}, fault.Refuse(field, "must be phone_number, consent_state or an attribute such as address.city; null leaves the column out")
	case len(levels) > maxPathLevels || len(t.To) > maxPathBytes:
		return Target{}, fault.Refuse(field, "is too long: at most %d levels and %d bytes", maxPathLevels, maxPathBytes)
	case !slices.Contains([]Type{AsWritten, Text, Number, Boolean}, t.Type):
		return Target{}, fault.Refuse(field+".type", "must be one of text, number, boolean")
	case t.Type != AsWritten && (t.To == toPhone || t.To == toConsent):
		return Target{}, fault.Refuse(field+".type", "is for attributes: %s is always text", t.To)
	case reserved[t.To] && t.To != toPhone && t.To != toConsent:
		return Target{}, fault.Refuse(field, "must be phone_number, consent_state or an attribute; %s is none", t.To)
	}
	return t, nil
}

// check refuses two columns that would write the same.
func (m Mapping) check() error {
	of := map[string]string{}
	for column, target := range m {
		if target.To == "" {
			continue
		}
		if _, taken := of[target.To]; taken {
			return fault.Refuse("mapping", "has two columns for %s", target.To)
		}
		of[target.To] = column
	}
	for to, column := range of {
		for i, c := range to {
			if _, taken := of[to[:i]]; c == '.' && taken {
				return fault.Refuse("mapping."+column, "is within %s, which another column writes", to[:i])
			}
		}
	}
	return nil
}

// MarshalJSON writes what ParseMapping reads.
func (m Mapping) MarshalJSON() ([]byte, error) {
	columns := make(map[string]any, len(m))
	for column, target := range m {
		switch {
		case target.To == "":
			columns[column] = nil
		case target.Type == AsWritten:
			columns[column] = target.To
		default:
			columns[column] = mapped{To: &target.To, Type: target.Type}
		}
	}
	return json.Marshal(columns)
}

// column is what becomes of a column's cells.
type column struct {
	name string   // as in the file
	path []string // of the attribute; nil for a number, a consent, and a column that is left out
	as   Type
	to   string // toPhone, toConsent or ""
}

// columns finds out what becomes of each column of a file.
func (i *Import) columns() ([]column, error) {
	columns := make([]column, len(i.Header))
	written := map[string]bool{}
	for name, target := range i.Mapping {
		if !slices.Contains(i.Header, name) {
			return nil, fault.Refuse("mapping."+name, "is no column of the file")
		}
		written[target.To] = true
	}
	phone := written[toPhone]
	for n, name := range i.Header {
		c := &columns[n]
		c.name = name
		if target, mapped := i.Mapping[name]; mapped {
			c.as = target.Type
			switch target.To {
			case "":
			case toPhone, toConsent:
				c.to = target.To
			default:
				c.path = strings.Split(target.To, ".")
			}
			continue
		}
		switch lower := strings.ToLower(name); {
		case lower == "phone_number" || lower == "phone":
			if !written[toPhone] {
				c.to, phone = toPhone, true
			}
		case lower == "consent_state" || lower == "consent":
			if !written[toConsent] {
				c.to = toConsent
			}
		case written[name]:
			return nil, fault.Refuse("mapping", "has another column for %s, which the file has already: map it elsewhere, or to null", name)
		case name != "":
			c.path = []string{name}
		}
	}
	if !phone {
		return nil, unreadable("needs a header with a column phone_number, or a mapping that says which column it is")
	}
	return columns, nil
}

var canonicalNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)

const maxNumberChars = 15 // every reader of JSON holds such a number exactly

// value gives a cell its JSON type.
func (c *column) value(cell string) (any, error) { return typed(c.name, cell, c.as) }

// typed gives text the JSON type that its column has. Without one it is the type that it is written as, so that conditions
// on numbers and booleans work: a number in its plain form (no leading zeros or plus sign, 15 characters at most) and true
// or false.
func typed(field, cell string, as Type) (any, error) {
	switch as {
	case Text:
		return cell, nil
	case Number:
		n := json.Number(strings.TrimPrefix(cell, "+"))
		if !json.Valid([]byte(n)) || !numeric(string(n)) || !user.ReasonableNumber(n) {
			return nil, fault.Refuse(field, "must be a number such as 12.5")
		}
		return n, nil
	case Boolean:
		switch strings.ToLower(cell) {
		case "true", "yes", "1":
			return true, nil
		case "false", "no", "0":
			return false, nil
		}
		return nil, fault.Refuse(field, "must be true or false")
	}
	switch first := cell[0]; {
	case (first == 't' || first == 'T') && strings.EqualFold(cell, "true"):
		return true, nil
	case (first == 'f' || first == 'F') && strings.EqualFold(cell, "false"):
		return false, nil
	case (first == '-' || first >= '0' && first <= '9') && len(cell) <= maxNumberChars && canonicalNumber.MatchString(cell):
		return json.Number(cell), nil
	default:
		return cell, nil
	}
}

// numeric reports whether valid JSON is a number.
func numeric(text string) bool {
	return text != "" && (text[0] == '-' || text[0] >= '0' && text[0] <= '9')
}
