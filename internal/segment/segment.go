// Package segment is the language in which an operator says whom a campaign is for: a condition on attributes and
// consent, read from JSON, evaluated by PostgreSQL (Compile) or in memory (Match) with the same result.
//
// # Forms
//
//	{"attribute": "city", "operator": "equals", "value": "Colombo"}    a condition; the operator defaults to equals
//	{"conditions": [ … ], "logic": "AND"}                             AND (the default) or OR of one or more
//	{"conditions": [ one ], "logic": "NOT"}
//	{"phone_verified": true, "city": "Colombo"}                        short for AND of equals; at the top only
//
// Anything else is refused: a typing error never widens an audience, and the zero Expr matches nobody.
//
// # Meaning
//
// An attribute is a path of object keys joined by dots; it never enters an array, and a key that itself holds a dot
// cannot be addressed. Absent and null are the same: the attribute is missing.
//
//   - equals, in: same JSON type and same value. 1 equals 1.0; 40 does not equal "40". False when missing.
//   - not_equals: exactly NOT equals, so it is true when missing.
//   - contains: the attribute is text with the value in it, letter case ignored (Unicode simple folding); % and _
//     mean themselves.
//   - exists: the attribute is not missing; {"value": false} asks for the opposite.
//   - gt, gte, lt, lte: both numbers, or both text compared by code point. False otherwise.
//
// The attribute consent_state is the person's consent and takes equals, not_equals and in.
package segment

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Operator compares an attribute with a value.
type Operator string

// The operators.
const (
	Equals    Operator = "equals"
	NotEquals Operator = "not_equals"
	Contains  Operator = "contains"
	In        Operator = "in"
	Exists    Operator = "exists"
	GT        Operator = "gt"
	GTE       Operator = "gte"
	LT        Operator = "lt"
	LTE       Operator = "lte"
)

var operators = []Operator{Equals, NotEquals, Contains, In, Exists, GT, GTE, LT, LTE}

// Logic joins the conditions of a group.
type Logic string

// The logics.
const (
	And Logic = "AND"
	Or  Logic = "OR"
	Not Logic = "NOT"
)

// ConsentAttribute is the name under which conditions reach the person's consent.
const ConsentAttribute = "consent_state"

// Expr is a valid segment definition; make one with Parse. The zero value matches nobody.
type Expr struct {
	logic      Logic // set for a group, "" for a condition
	conditions []Expr

	attribute string
	operator  Operator
	values    []any // string, bool or json.Number; one, but for in
}

// IsZero tells whether e is the zero value.
func (e Expr) IsZero() bool { return e.logic == "" && e.operator == "" }

func (e Expr) path() []string { return strings.Split(e.attribute, ".") }

// MarshalJSON writes the canonical form: operators and logic spelled out, no shorthand. Parse reads it back.
func (e Expr) MarshalJSON() ([]byte, error) {
	switch {
	case e.IsZero():
		return []byte("null"), nil
	case e.logic != "":
		return json.Marshal(struct {
			Conditions []Expr `json:"conditions"`
			Logic      Logic  `json:"logic"`
		}{e.conditions, e.logic})
	}
	condition := struct {
		Attribute string   `json:"attribute"`
		Operator  Operator `json:"operator"`
		Value     any      `json:"value"`
	}{e.attribute, e.operator, e.values}
	if e.operator != In {
		condition.Value = e.values[0]
	}
	return json.Marshal(condition)
}

// Describe puts e in words for people: city is "Colombo" and (age is at least 40 or tier is missing).
func Describe(e Expr) string {
	if e.IsZero() {
		return "nobody"
	}
	return describe(e, false)
}

func describe(e Expr, nested bool) string {
	switch {
	case e.logic == Not:
		return "not (" + describe(e.conditions[0], false) + ")"
	case len(e.conditions) == 1:
		return describe(e.conditions[0], nested)
	case e.logic != "":
		parts := make([]string, len(e.conditions))
		for i, condition := range e.conditions {
			parts[i] = describe(condition, true)
		}
		text := strings.Join(parts, " "+strings.ToLower(string(e.logic))+" ")
		if nested {
			return "(" + text + ")"
		}
		return text
	}
	first := literal(e.values[0])
	switch e.operator {
	case Equals:
		return e.attribute + " is " + first
	case NotEquals:
		return e.attribute + " is not " + first
	case Contains:
		return e.attribute + " contains " + first
	case In:
		return e.attribute + " is one of " + some(e.values)
	case Exists:
		if e.values[0] == true {
			return e.attribute + " is known"
		}
		return e.attribute + " is missing"
	default:
		words := map[Operator]string{GT: "more than", GTE: "at least", LT: "less than", LTE: "at most"}
		return fmt.Sprintf("%s is %s %s", e.attribute, words[e.operator], first)
	}
}

// some lists the first few values.
func some(values []any) string {
	const shown = 5
	parts := make([]string, 0, shown+1)
	for _, v := range values[:min(shown, len(values))] {
		parts = append(parts, literal(v))
	}
	if more := len(values) - shown; more > 0 {
		parts = append(parts, strconv.Itoa(more)+" more")
	}
	return strings.Join(parts, ", ")
}

func literal(value any) string {
	if text, ok := value.(string); ok {
		return strconv.Quote(text)
	}
	return fmt.Sprint(value)
}

func known(op Operator) bool { return slices.Contains(operators, op) }
