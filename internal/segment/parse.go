package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

// Bounds of a definition.
const (
	MaxBytes      = 64 << 10
	MaxDepth      = 10   // groups within groups
	MaxConditions = 200  // in the whole definition, groups included
	MaxValues     = 1000 // of one "in"
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
	refused []fault.Field
	count   int
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
		p.refuse(field, `must be a condition ("attribute", "operator", "value") or a group ("conditions", "logic")`)
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
	p.onlyKeys(field, o, "attribute", "operator", "value")
	expr := Expr{operator: Equals}

	raw, _ := o.get("attribute")
	if attribute, ok := readScalar(raw).(string); ok {
		expr.attribute = attribute
		p.path(field+".attribute", attribute)
	} else {
		p.refuse(field+".attribute", "must name an attribute")
	}

	if raw, ok := o.get("operator"); ok {
		text, _ := readScalar(raw).(string)
		expr.operator = Operator(text)
	}
	if !known(expr.operator) {
		names := make([]string, len(operators))
		for i, op := range operators {
			names[i] = string(op)
		}
		p.refuse(field+".operator", "must be one of %s", strings.Join(names, ", "))
		return Expr{}
	}

	raw, found := o.get("value")
	if expr.operator == Exists && !found {
		raw, found = json.RawMessage("true"), true
	}
	if !found {
		p.refuse(field+".value", "is missing")
		return Expr{}
	}
	expr.values = p.values(field+".value", expr.operator, raw)
	if expr.attribute == ConsentAttribute {
		p.consent(field, &expr)
	}
	return expr
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
	if op == In {
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
	case op == Contains && !isText:
		p.refuse(field, "must be text")
	case op == Contains && value == "":
		p.refuse(field, "must not be empty: every text contains it")
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
	if e.operator != Equals && e.operator != NotEquals && e.operator != In {
		p.refuse(field+".operator", "%s takes equals, not_equals or in", ConsentAttribute)
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
