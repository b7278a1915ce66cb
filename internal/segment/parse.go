package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Bounds of a definition.
const (
	MaxBytes      = 64 << 10
	MaxDepth      = 10   // groups within groups
	MaxConditions = 200  // in the whole definition, groups included
	MaxValues     = 1000 // of one "in" or "not_in"
	MaxReferences = 10   // to other segments
	MaxResolved   = 500  // conditions of a saved definition with those of all that it refers to
	maxTextBytes  = 1024 // of one value
	maxPathBytes  = 256
	maxPathKeys   = 10
)

// Parse reads a definition. field names the input in the faults, which name every refused part by its path, such as
// definition_json.conditions[1].operator.
func Parse(field string, raw json.RawMessage) (Expr, error) {
	if len(raw) > MaxBytes {
		return Expr{}, fault.Refuse(field, "is too large: at most %d bytes", MaxBytes)
	}
	if !utf8.Valid(raw) {
		return Expr{}, fault.Refuse(field, "is not UTF-8 text")
	}
	p := parser{}
	expr := p.expr(field, raw, 1)
	if err := fault.Fields(p.refused...); err != nil {
		return Expr{}, err
	}
	return expr, nil
}

// parser collects all refusals, so that an author mends a definition once.
type parser struct {
	refused    []fault.Field
	count      int
	references int
}

func (p *parser) refuse(field, format string, args ...any) {
	p.refused = append(p.refused, fault.Field{Name: field, Detail: fmt.Sprintf(format, args...)})
}

func (p *parser) expr(field string, raw json.RawMessage, depth int) Expr {
	p.count++
	if depth > MaxDepth {
		p.refuse(field, "is nested too deeply: at most %d levels", MaxDepth)
		return Expr{}
	}
	if p.count > MaxConditions {
		if p.count == MaxConditions+1 {
			p.refuse(field, "is one condition too many: at most %d in all", MaxConditions)
		}
		return Expr{}
	}
	o, problem := readObject(raw)
	if problem != "" {
		p.refuse(field, "%s", problem)
		return Expr{}
	}
	switch {
	case len(o) == 0:
		p.refuse(field, "is empty: state at least one condition")
	case o.has("conditions"), o.has("logic"):
		return p.group(field, o, depth)
	case o.has("attribute"), o.has("operator"), o.has("value"):
		return p.condition(field, o)
	case depth > 1:
		p.refuse(field, `must be a condition ("attribute" or "field", "operator", "value") or a group ("conditions", "logic")`)
	default:
		return p.shorthand(field, o)
	}
	return Expr{}
}

func (p *parser) group(field string, o object, depth int) Expr {
	p.onlyKeys(field, o, "conditions", "logic")
	logic := And
	if raw, ok := o.get("logic"); ok {
		text, _ := readScalar(raw).(string)
		switch logic = Logic(text); logic {
		case And, Or, Not:
		default:
			p.refuse(field+".logic", "must be AND, OR or NOT, in capitals")
		}
	}
	var conditions []json.RawMessage
	if raw, ok := o.get("conditions"); !ok || json.Unmarshal(raw, &conditions) != nil || len(conditions) == 0 {
		p.refuse(field+".conditions", "must be a list of at least one condition")
		return Expr{}
	}
	if logic == Not && len(conditions) != 1 {
		p.refuse(field+".conditions", "NOT takes exactly one condition: put several in a group of their own")
	}
	expr := Expr{logic: logic}
	for i, raw := range conditions {
		if p.count > MaxConditions {
			break
		}
		expr.conditions = append(expr.conditions, p.expr(fmt.Sprintf("%s.conditions[%d]", field, i), raw, depth+1))
	}
	return expr
}

func (p *parser) condition(field string, o object) Expr {
	operator := Operator("")
	if raw, ok := o.get("operator"); ok {
		text, _ := readScalar(raw).(string)
		operator = Operator(text)
	}
	switch {
	case o.has("attribute"):
		return p.attribute(field, o, operator)
	case o.has("field"):
		return p.field(field, o, operator)
	case o.has("campaign"):
		return p.campaign(field, o, operator)
	case operator == InSegment:
		return p.segment(field, o)
	default:
		p.onlyKeys(field, o, "attribute", "operator", "value")
		p.refuse(field+".attribute", "must name an attribute")
		return Expr{}
	}
}

func (p *parser) attribute(field string, o object, operator Operator) Expr {
	p.onlyKeys(field, o, "attribute", "operator", "value")
	raw, _ := o.get("attribute")
	path, ok := readScalar(raw).(string)
	if ok {
		p.path(field+".attribute", path)
	} else {
		p.refuse(field+".attribute", "must name an attribute")
	}
	expr := Expr{attribute: path, operator: operator}
	if !o.has("operator") {
		expr.operator = Equals
	}
	if !slices.Contains(attributeOperators, expr.operator) {
		p.refuse(field+".operator", "must be one of %s", operatorNames(attributeOperators))
		return Expr{}
	}
	if expr.values, ok = p.value(field, o, expr.operator); ok && path == ConsentAttribute {
		p.consent(field, &expr)
	}
	return expr
}

// value reads the values of a condition; ok is false when it has none.
func (p *parser) value(field string, o object, operator Operator) (values []any, ok bool) {
	raw, found := o.get("value")
	if operator == Exists && !found {
		raw, found = json.RawMessage("true"), true
	}
	if !found {
		p.refuse(field+".value", "is missing")
		return nil, false
	}
	return p.values(field+".value", operator, raw), true
}

// field reads a condition on what the engine itself knows.
func (p *parser) field(field string, o object, operator Operator) Expr {
	p.onlyKeys(field, o, "field", "operator", "value")
	raw, _ := o.get("field")
	name, _ := readScalar(raw).(string)
	operators := fieldOperators(name)
	if operators == nil {
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.name
		}
		p.refuse(field+".field", "must be one of %s; what else is known of a person is an attribute", strings.Join(names, ", "))
		return Expr{}
	}
	if !o.has("operator") {
		operator = operators[0]
	}
	if !slices.Contains(operators, operator) {
		p.refuse(field+".operator", "%s takes %s", name, operatorNames(operators))
		return Expr{}
	}
	expr := Expr{subject: aField, attribute: name, operator: operator}
	var ok bool
	if expr.values, ok = p.value(field, o, operator); !ok {
		return Expr{}
	}
	if name == ConsentAttribute {
		expr.subject = anAttribute
		p.consent(field, &expr)
		return expr
	}
	for i, value := range expr.values {
		if value == nil || operator == Exists {
			continue // refused already, or checked
		}
		at := field + ".value"
		if operator.several() {
			at = fmt.Sprintf("%s[%d]", at, i)
		}
		expr.values[i] = p.fieldValue(at, name, value)
	}
	return expr
}

var (
	callingCode = regexp.MustCompile(`^\+?[1-9][0-9]{0,2}$`)
	phonePrefix = regexp.MustCompile(`^\+[1-9][0-9]{0,14}$`)
)

// fieldValue checks a value and brings it to its canonical spelling.
func (p *parser) fieldValue(field, name string, value any) any {
	text, isText := value.(string)
	switch name {
	case fieldRegion:
		if text = strings.ToUpper(text); !phone.KnownRegion(text) {
			p.refuse(field, "must be a country by its ISO 3166-1 code, such as LK")
		}
		return text
	case fieldCallingCode:
		if number, ok := value.(json.Number); ok {
			text = number.String()
		}
		if !callingCode.MatchString(text) || !phone.KnownCallingCode(strings.TrimPrefix(text, "+")) {
			p.refuse(field, "must be a country calling code, such as 94")
		}
		return strings.TrimPrefix(text, "+")
	case fieldPhoneNumber:
		if !phonePrefix.MatchString(text) {
			p.refuse(field, "must be the beginning of a number, such as +9477")
		}
	case fieldTopics:
		if isText && text != "" {
			return value
		}
		number, _ := value.(json.Number)
		if id, err := strconv.ParseInt(number.String(), 10, 32); err != nil || id <= 0 {
			p.refuse(field, "must be a topic's id or name")
			return nil
		}
	}
	return value
}

func (p *parser) campaign(field string, o object, operator Operator) Expr {
	p.onlyKeys(field, o, "campaign", "operator", "value")
	expr := Expr{subject: aCampaign, operator: operator, id: p.id(field+".campaign", o, "campaign")}
	if !o.has("operator") {
		expr.operator = Was
	}
	if expr.operator != Was && expr.operator != WasNot {
		p.refuse(field+".operator", "of a campaign must be was or was_not")
	}
	raw, _ := o.get("value")
	outcome, _ := readScalar(raw).(string)
	if !slices.Contains(Outcomes(), Outcome(outcome)) {
		p.refuse(field+".value", "must be sent, delivered, read, replied or failed")
	}
	expr.values = []any{outcome}
	return expr
}

func (p *parser) segment(field string, o object) Expr {
	p.onlyKeys(field, o, "operator", "value")
	p.references++
	if p.references > MaxReferences {
		p.refuse(field, "is one segment too many: at most %d may be referred to", MaxReferences)
	}
	return Expr{subject: aSegment, operator: InSegment, id: p.id(field+".value", o, "value")}
}

func (p *parser) id(field string, o object, key string) int64 {
	raw, _ := o.get(key)
	number, _ := readScalar(raw).(json.Number)
	id, err := strconv.ParseInt(number.String(), 10, 32)
	if err != nil || id <= 0 {
		p.refuse(field, "must be an id: a whole number from 1")
	}
	return id
}

// shorthand reads {"attribute": value, …}.
func (p *parser) shorthand(field string, o object) Expr {
	group := Expr{logic: And}
	for _, member := range o {
		at := field + "." + member.key
		p.path(at, member.key)
		expr := Expr{attribute: member.key, operator: Equals, values: p.values(at, Equals, member.value)}
		if expr.attribute == ConsentAttribute {
			p.consent(at, &expr)
		}
		group.conditions = append(group.conditions, expr)
	}
	if len(group.conditions) >= MaxConditions { // the group itself counts
		p.refuse(field, "has too many conditions: fewer than %d", MaxConditions)
	}
	if len(group.conditions) == 1 {
		return group.conditions[0]
	}
	return group
}

func (p *parser) path(field, path string) {
	switch keys := strings.Split(path, "."); {
	case slices.Contains(keys, ""):
		p.refuse(field, "must be a key, or keys joined by single dots")
	case len(path) > maxPathBytes || len(keys) > maxPathKeys:
		p.refuse(field, "is too long: at most %d keys and %d bytes", maxPathKeys, maxPathBytes)
	case strings.ContainsRune(path, 0):
		p.refuse(field, "must not hold a NUL character")
	}
}

// values reads what an operator compares with and checks that it can.
func (p *parser) values(field string, op Operator, raw json.RawMessage) []any {
	if op.several() {
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) != nil || len(elements) == 0 || len(elements) > MaxValues {
			p.refuse(field, "must be a list of 1 to %d values", MaxValues)
			return nil
		}
		values := make([]any, len(elements))
		for i, element := range elements {
			values[i] = p.scalar(fmt.Sprintf("%s[%d]", field, i), element)
		}
		return values
	}
	value := p.scalar(field, raw)
	_, isText := value.(string)
	_, isBool := value.(bool)
	switch {
	case value == nil: // refused already
	case op == Exists && !isBool:
		p.refuse(field, "must be true or false (or left out)")
	case (op == Contains || op == StartsWith || op == EqualsIgnoreCase) && !isText:
		p.refuse(field, "must be text")
	case (op == Contains || op == StartsWith) && value == "":
		p.refuse(field, "must not be empty: every text %s it", strings.ReplaceAll(string(op), "_", " "))
	case op == Before || op == After:
		if text, _ := value.(string); !isTime(text) {
			p.refuse(field, "must be a date, or a time with its zone, from the years 1000 to 2999: 2026-03-01 or 2026-03-01T09:30:00+05:30")
		}
	case op == WithinLast || op == WithinNext:
		if text, _ := value.(string); !span.MatchString(text) {
			p.refuse(field, "must be a whole number of minutes, hours, days or weeks up to 9999: 30m, 24h, 7d or 2w")
		}
	case (op == GT || op == GTE || op == LT || op == LTE) && isBool:
		p.refuse(field, "must be a number or text: true and false have no order")
	}
	return []any{value}
}

// scalar reads text, a number, true or false. It returns nil when it refused.
func (p *parser) scalar(field string, raw json.RawMessage) any {
	value := readScalar(raw)
	switch v := value.(type) {
	case nil:
		p.refuse(field, `must be text, a number, true or false (to ask whether an attribute is missing, use "exists")`)
	case string:
		if len(v) > maxTextBytes || strings.ContainsRune(v, 0) {
			p.refuse(field, "must be at most %d bytes, without NUL characters", maxTextBytes)
			return nil
		}
	case json.Number:
		if !user.ReasonableNumber(v) {
			p.refuse(field, "is too long or too large a number")
			return nil
		}
	}
	return value
}

// consent checks a condition on the person's consent and brings its values to their canonical spelling.
func (p *parser) consent(field string, e *Expr) {
	if !slices.Contains(consentOperators, e.operator) {
		p.refuse(field+".operator", "%s takes %s", ConsentAttribute, operatorNames(consentOperators))
		return
	}
	for i, value := range e.values {
		if value == nil {
			continue // refused already
		}
		text, _ := value.(string)
		state, err := user.ParseConsent(field, text)
		if err != nil || state == "" {
			p.refuse(field+".value", "must be one of PENDING, OPT_IN, OPT_OUT, STOP")
			return
		}
		e.values[i] = string(state)
	}
}

func (p *parser) onlyKeys(field string, o object, allowed ...string) {
	for _, member := range o {
		if !slices.Contains(allowed, member.key) {
			p.refuse(field+"."+member.key, "is not expected here: only %s", strings.Join(allowed, ", "))
		}
	}
}

// object is a JSON object in the order of its text, without duplicate keys.
type object []member

type member struct {
	key   string
	value json.RawMessage
}

func (o object) get(key string) (json.RawMessage, bool) {
	for _, m := range o {
		if m.key == key {
			return m.value, true
		}
	}
	return nil, false
}

func (o object) has(key string) bool { _, ok := o.get(key); return ok }

// readObject reads one JSON object; problem says why it cannot.
func readObject(raw json.RawMessage) (o object, problem string) {
	const notAnObject = "must be a JSON object"
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, notAnObject
	}
	for decoder.More() {
		token, err := decoder.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return nil, notAnObject
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, notAnObject
		}
		if o.has(key) {
			return nil, "has the same key twice: " + key
		}
		o = append(o, member{key, value})
	}
	if _, err := decoder.Token(); err != nil { // the closing brace
		return nil, notAnObject
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, "must be one JSON object, nothing after it"
	}
	return o, ""
}

// readScalar returns text, a json.Number or a bool, and nil for everything else.
func readScalar(raw json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil
	}
	switch value.(type) {
	case string, bool, json.Number:
		return value
	default:
		return nil
	}
}
