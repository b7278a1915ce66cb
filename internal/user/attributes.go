package user

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Attributes is what is known of a person beyond number and consent: a JSON object. Its values are those of
// encoding/json, with numbers as json.Number so that none loses digits.
type Attributes map[string]any

// Bounds of one person's attributes.
const (
	MaxAttributesBytes = 64 << 10
	maxAttributesDepth = 16
	maxNumberBytes     = 350 // of a number's text
	maxNumberExponent  = 300 // decimal, either sign: within what every JSON reader holds
)

// ParseAttributes reads a JSON object and refuses what the database could not store or a reader could not hold: NUL
// characters, deep nesting, monstrous numbers. Absent input and null give an empty object. field names the input in
// the fault.
func ParseAttributes(field string, raw json.RawMessage) (Attributes, error) {
	if len(raw) > MaxAttributesBytes {
		return nil, fault.Refuse(field, "is too large: at most %d bytes", MaxAttributesBytes)
	}
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || string(trimmed) == "null" {
		return Attributes{}, nil
	}
	if !utf8.Valid(raw) {
		return nil, fault.Refuse(field, "is not UTF-8 text")
	}
	var attributes Attributes
	if err := json.Unmarshal(raw, &attributes); err != nil {
		return nil, fault.Refuse(field, "must be one JSON object")
	}
	if err := attributes.Check(field); err != nil {
		return nil, err
	}
	return attributes, nil
}

// UnmarshalJSON keeps numbers as they are written. It checks nothing else: what was stored is read back.
func (a *Attributes) UnmarshalJSON(raw []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return decoder.Decode((*map[string]any)(a))
}

// Check refuses what ParseAttributes refuses, for attributes built in code.
func (a Attributes) Check(field string) error { return check(field, map[string]any(a), 1) }

func check(field string, value any, depth int) error {
	if depth > maxAttributesDepth {
		return fault.Refuse(field, "is nested too deeply: at most %d levels", maxAttributesDepth)
	}
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if strings.ContainsRune(key, 0) {
				return fault.Refuse(field, "has a key with a NUL character")
			}
			if err := check(field+"."+key, member, depth+1); err != nil {
				return err
			}
		}
	case []any:
		for i, element := range v {
			if err := check(field+"["+strconv.Itoa(i)+"]", element, depth+1); err != nil {
				return err
			}
		}
	case string:
		if strings.ContainsRune(v, 0) {
			return fault.Refuse(field, "must not hold a NUL character")
		}
	case json.Number:
		if !ReasonableNumber(v) {
			return fault.Refuse(field, "is too long or too large for a number: give it as text")
		}
	}
	return nil
}

// ReasonableNumber tells whether a number is short and of a magnitude that can be compared exactly at no cost.
func ReasonableNumber(n json.Number) bool {
	if len(n) > maxNumberBytes {
		return false
	}
	_, exponent, found := strings.Cut(strings.ToLower(n.String()), "e")
	if !found {
		return true
	}
	e, err := strconv.Atoi(exponent)
	return err == nil && -maxNumberExponent <= e && e <= maxNumberExponent
}

// Lookup finds the value at a path of object keys. It walks objects only: a path never enters an array. A JSON null
// is as good as absent.
func (a Attributes) Lookup(path ...string) (value any, found bool) {
	var current any = map[string]any(a)
	for _, key := range path {
		object, ok := current.(map[string]any)
		if !ok {
			return nil, false
		}
		current = object[key]
	}
	return current, current != nil && len(path) > 0
}
