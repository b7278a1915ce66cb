// Package segment is the language in which an operator says whom a campaign is for: conditions on what is known of a
// person, read from JSON, evaluated by PostgreSQL (Compile) or in memory (Match) with the same result.
//
// # Forms
//
//	{"attribute": "city", "operator": "equals", "value": "Colombo"}       a condition; the operator defaults to equals
//	{"field": "created_at", "operator": "within_last", "value": "7d"}     on what the engine itself knows
//	{"campaign": 7, "operator": "was_not", "value": "read"}               on what became of a campaign; defaults to was
//	{"operator": "in_segment", "value": 3}                                on another saved segment
//	{"conditions": [ … ], "logic": "AND"}                                AND (the default) or OR of one or more
//	{"conditions": [ one ], "logic": "NOT"}
//	{"phone_verified": true, "city": "Colombo"}                           short for AND of equals; at the top only
//
// Anything else is refused: a typing error never widens an audience, and the zero Expr matches nobody.
//
// # Attributes
//
// An attribute is a path of object keys joined by dots; it never enters an array, and a key that itself holds a dot
// cannot be addressed. Absent and null are the same: the attribute is missing.
//
//   - equals, in: same JSON type and same value. 1 equals 1.0; 40 does not equal "40". False when missing.
//   - not_equals, not_in: exactly NOT equals and NOT in, so they are true when missing.
//   - equals_ignore_case, starts_with, contains: the attribute is text that is the value, begins with it or has it in it,
//     letter case ignored (Unicode simple folding); % and _ mean themselves.
//   - has: the attribute is a list with an element that equals the value.
//   - exists: the attribute is not missing; {"value": false} asks for the opposite.
//   - gt, gte, lt, lte: both numbers, or both text compared by code point. False otherwise.
//   - before, after: the attribute is text that is a date (2026-03-01, its first moment in UTC) or a time with its zone
//     (RFC 3339), and lies before or after the value, which is one as well. False otherwise.
//   - within_last, within_next: the attribute is such a date or time and lies at most that long before or after now:
//     30m, 24h, 7d (of 24 hours), 2w.
//
// The attribute consent_state is the person's consent and takes equals, not_equals, in and not_in.
//
// # Fields
//
//   - consent_state: the same as the attribute of that name.
//   - region: the country of the number, ISO 3166-1 alpha-2. equals, not_equals, in, not_in, exists.
//   - calling_code: the country calling code of the number, "94". equals, not_equals, in, not_in.
//   - phone_number: starts_with, "+9477".
//   - created_at: when the person became known. before, after, within_last.
//   - last_inbound_at: when they last wrote. The same, and exists.
//   - topics: has, the topic's id or name: they are subscribed to it.
//
// # Campaigns and segments
//
// An Outcome of a campaign is true of a person by the campaign's messages to them, whatever the run: see the constants.
// in_segment is true of whoever the other segment selects at the same moment. Resolve puts its definition in place; what
// refers to itself, however indirectly, is refused.
package segment

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Operator compares what a condition is about with a value.
type Operator string

// The operators.
const (
	Equals           Operator = "equals"
	NotEquals        Operator = "not_equals"
	EqualsIgnoreCase Operator = "equals_ignore_case"
	Contains         Operator = "contains"
	StartsWith       Operator = "starts_with"
	In               Operator = "in"
	NotIn            Operator = "not_in"
	Has              Operator = "has"
	Exists           Operator = "exists"
	GT               Operator = "gt"
	GTE              Operator = "gte"
	LT               Operator = "lt"
	LTE              Operator = "lte"
	Before           Operator = "before"
	After            Operator = "after"
	WithinLast       Operator = "within_last"
	WithinNext       Operator = "within_next"
	Was              Operator = "was"        // of campaigns
	WasNot           Operator = "was_not"    // of campaigns
	InSegment        Operator = "in_segment" // of persons as a whole
)

// attributeOperators are what an attribute takes.
var attributeOperators = []Operator{
	Equals, NotEquals, EqualsIgnoreCase, Contains, StartsWith, In, NotIn, Has, Exists, GT, GTE, LT, LTE, Before, After, WithinLast, WithinNext,
}

// The fields: what the engine itself knows of a person.
const (
	fieldRegion        = "region"
	fieldCallingCode   = "calling_code"
	fieldPhoneNumber   = "phone_number"
	fieldCreatedAt     = "created_at"
	fieldLastInboundAt = "last_inbound_at"
	fieldTopics        = "topics"
)

// fields lists them, and what each takes. ConsentAttribute is one as well.
var fields = []struct {
	name      string
	operators []Operator
}{
	{ConsentAttribute, consentOperators},
	{fieldRegion, []Operator{Equals, NotEquals, In, NotIn, Exists}},
	{fieldCallingCode, []Operator{Equals, NotEquals, In, NotIn}},
	{fieldPhoneNumber, []Operator{StartsWith}},
	{fieldCreatedAt, []Operator{Before, After, WithinLast}},
	{fieldLastInboundAt, []Operator{Before, After, WithinLast, Exists}},
	{fieldTopics, []Operator{Has}},
}

var consentOperators = []Operator{Equals, NotEquals, In, NotIn}

// Outcome is what became of a campaign for one person.
type Outcome string

// The outcomes. A message that failed and was sent again, then taken, is not failed.
const (
	WasSent      Outcome = "sent"      // the provider took a message, and it has not failed since
	WasDelivered Outcome = "delivered" // one reached the handset
	WasRead      Outcome = "read"      // one was opened
	WasFailed    Outcome = "failed"    // one failed, and none counts as sent
	WasReplied   Outcome = "replied"   // something came from the person within ReplyWindow after the provider took a message
)

// Outcomes lists every outcome.
func Outcomes() []Outcome { return []Outcome{WasSent, WasDelivered, WasRead, WasReplied, WasFailed} }

// ReplyWindow is how long after a message what comes from the person counts as a reply to it.
const ReplyWindow = 7 * 24 * time.Hour

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

	subject   subject
	attribute string // a path; of a field its name; else ""
	id        int64  // of the campaign or segment
	operator  Operator
	values    []any // string, bool or json.Number; one, but for in and not_in; the Outcome as text; none of a segment
}

// subject is what a condition is about.
type subject int

const (
	anAttribute subject = iota
	aField
	aCampaign
	aSegment
)

// IsZero tells whether e is the zero value.
func (e Expr) IsZero() bool { return e.logic == "" && e.operator == "" }

func (e Expr) path() []string { return strings.Split(e.attribute, ".") }

// several tells whether an operator takes a list.
func (op Operator) several() bool { return op == In || op == NotIn }

// Reference is something outside a definition that it names.
type Reference struct {
	Field      string // where
	SegmentID  int64  // one of these is set
	CampaignID int64
	TopicID    int64
	Topic      string // by name
}

// References lists what e names, in order of appearance. field names the whole definition.
func (e Expr) References(field string) []Reference {
	var found []Reference
	for i, condition := range e.conditions {
		found = append(found, condition.References(fmt.Sprintf("%s.conditions[%d]", field, i))...)
	}
	switch {
	case e.subject == aSegment:
		found = append(found, Reference{Field: field + ".value", SegmentID: e.id})
	case e.subject == aCampaign:
		found = append(found, Reference{Field: field + ".campaign", CampaignID: e.id})
	case e.subject == aField && e.attribute == fieldTopics:
		if name, ok := e.values[0].(string); ok {
			found = append(found, Reference{Field: field + ".value", Topic: name})
		} else {
			found = append(found, Reference{Field: field + ".value", TopicID: topicID(e.values[0])})
		}
	}
	return found
}

// Attributes lists the attributes that e names, each once, in order of appearance.
func (e Expr) Attributes() []string {
	var names []string
	if e.logic == "" && e.subject == anAttribute && e.attribute != "" {
		names = append(names, e.attribute)
	}
	for _, condition := range e.conditions {
		for _, name := range condition.Attributes() {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// topicID reads a checked whole number.
func topicID(value any) int64 {
	id, _ := value.(json.Number).Int64()
	return id
}

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
		Attribute string   `json:"attribute,omitempty"`
		Field     string   `json:"field,omitempty"`
		Campaign  int64    `json:"campaign,omitempty"`
		Operator  Operator `json:"operator"`
		Value     any      `json:"value"`
	}{Operator: e.operator, Value: e.values}
	switch e.subject {
	case anAttribute:
		condition.Attribute = e.attribute
	case aField:
		condition.Field = e.attribute
	case aCampaign:
		condition.Campaign = e.id
	case aSegment:
		condition.Value = e.id
	}
	if len(e.values) > 0 && !e.operator.several() {
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
	switch e.subject {
	case aSegment:
		return fmt.Sprintf("in segment %d", e.id)
	case aCampaign:
		return describeOutcome(e)
	}
	first := literal(e.values[0])
	if format, ok := phrases[e.operator]; ok {
		return fmt.Sprintf(format, e.attribute, first)
	}
	switch e.operator {
	case In:
		return e.attribute + " is one of " + some(e.values)
	case NotIn:
		return e.attribute + " is none of " + some(e.values)
	default: // Exists
		if e.values[0] == true {
			return e.attribute + " is known"
		}
		return e.attribute + " is missing"
	}
}

// phrases are the operators in words, with places for the attribute and the value.
var phrases = map[Operator]string{
	Equals:           "%s is %s",
	NotEquals:        "%s is not %s",
	EqualsIgnoreCase: "%s is %s in any letter case",
	Contains:         "%s contains %s",
	StartsWith:       "%s starts with %s",
	Has:              "%s has %s",
	GT:               "%s is more than %s",
	GTE:              "%s is at least %s",
	LT:               "%s is less than %s",
	LTE:              "%s is at most %s",
	Before:           "%s is before %s",
	After:            "%s is after %s",
	WithinLast:       "%s is within the last %s",
	WithinNext:       "%s is within the next %s",
}

func describeOutcome(e Expr) string {
	outcome := map[Outcome]string{
		WasSent: "was sent", WasDelivered: "was delivered", WasRead: "was read", WasFailed: "failed", WasReplied: "was replied to",
	}[Outcome(e.values[0].(string))]
	text := fmt.Sprintf("campaign %d %s", e.id, outcome)
	if e.operator == WasNot {
		return "not (" + text + ")"
	}
	return text
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

// operatorNames lists operators for an author.
func operatorNames(operators []Operator) string {
	names := make([]string, len(operators))
	for i, op := range operators {
		names[i] = string(op)
	}
	return strings.Join(names, ", ")
}

// AttributeOperators lists what an attribute takes.
func AttributeOperators() []Operator { return slices.Clone(attributeOperators) }

// Field is something that the engine itself knows of a person.
type Field struct {
	Name      string
	Operators []Operator // what it takes
}

// Fields lists them.
func Fields() []Field {
	list := make([]Field, len(fields))
	for i, f := range fields {
		list[i] = Field{f.name, slices.Clone(f.operators)}
	}
	return list
}

// fieldOperators are what a field takes; none for an unknown one.
func fieldOperators(name string) []Operator {
	for _, f := range fields {
		if f.name == name {
			return slices.Clone(f.operators)
		}
	}
	return nil
}
