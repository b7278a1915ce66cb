package segment

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Compile turns e into a condition over a table aliased u, with its arguments numbered from $argOffset+1. Names and
// values travel as arguments, never as SQL. The condition is true or false, never NULL, given that u.attributes (jsonb,
// an object) and u.consent_state are NOT NULL; equals and in are served by a GIN index on u.attributes, jsonb_path_ops
// included.
func Compile(e Expr, argOffset int) (where string, args []any) {
	c := compiler{offset: argOffset}
	where = c.expr(e)
	return where, c.args
}

type compiler struct {
	offset int
	args   []any
}

// arg binds a value and returns its placeholder.
func (c *compiler) arg(value any) string {
	c.args = append(c.args, value)
	return fmt.Sprintf("$%d", c.offset+len(c.args))
}

func (c *compiler) expr(e Expr) string {
	switch {
	case e.IsZero():
		return "false"
	case e.logic == Not:
		return "NOT " + c.expr(e.conditions[0])
	case e.logic != "":
		parts := make([]string, len(e.conditions))
		for i, condition := range e.conditions {
			parts[i] = c.expr(condition)
		}
		return "(" + strings.Join(parts, " "+string(e.logic)+" ") + ")"
	case e.attribute == ConsentAttribute:
		return c.consent(e)
	default:
		return c.condition(e)
	}
}

func (c *compiler) consent(e Expr) string {
	states := make([]string, len(e.values))
	for i, value := range e.values {
		states[i] = value.(string)
	}
	in := "(u.consent_state::text = ANY (" + c.arg(states) + "::text[]))"
	if e.operator == NotEquals {
		return "NOT " + in
	}
	return in
}

func (c *compiler) condition(e Expr) string {
	switch e.operator {
	case Equals:
		return "(u.attributes @> " + c.arg(containing(e.path(), e.values[0])) + "::text::jsonb)"
	case NotEquals:
		return "NOT (u.attributes @> " + c.arg(containing(e.path(), e.values[0])) + "::text::jsonb)"
	case In:
		documents := make([]string, len(e.values))
		for i, value := range e.values {
			documents[i] = containing(e.path(), value)
		}
		return "(u.attributes @> ANY (" + c.arg(documents) + "::text[]::jsonb[]))"
	case Exists:
		exists := "(coalesce(jsonb_typeof(" + c.attribute(e.path()) + "), 'null') <> 'null')"
		if e.values[0] == false {
			return "NOT " + exists
		}
		return exists
	case Contains:
		return c.contains(e)
	case GT:
		return c.order(e, ">")
	case GTE:
		return c.order(e, ">=")
	case LT:
		return c.order(e, "<")
	case LTE:
		return c.order(e, "<=")
	default:
		return "false" // Parse lets no other operator in
	}
}

// contains folds the letters of the sought text by the database's translate: its own lower() differs between locales.
func (c *compiler) contains(e Expr) string {
	at := c.attribute(e.path())
	folded := fold(e.values[0].(string))
	from, to := variants(folded)
	return fmt.Sprintf("(CASE jsonb_typeof(%s) WHEN 'string' THEN strpos(translate(%s #>> '{}', %s::text, %s::text), %s::text) > 0 ELSE false END)",
		at, at, c.arg(from), c.arg(to), c.arg(folded))
}

func (c *compiler) order(e Expr, operator string) string {
	at := c.attribute(e.path())
	if number, ok := e.values[0].(json.Number); ok {
		return fmt.Sprintf("(CASE jsonb_typeof(%s) WHEN 'number' THEN (%s)::numeric %s %s::text::numeric ELSE false END)",
			at, at, operator, c.arg(number.String()))
	}
	return fmt.Sprintf(`(CASE jsonb_typeof(%s) WHEN 'string' THEN (%s #>> '{}') COLLATE "C" %s %s::text ELSE false END)`,
		at, at, operator, c.arg(e.values[0]))
}

// attribute is the jsonb value at a path, NULL when there is none. Arrows with a text operand never enter an array.
func (c *compiler) attribute(path []string) string {
	var at strings.Builder
	at.WriteString("(u.attributes")
	for _, key := range path {
		at.WriteString(" -> " + c.arg(key) + "::text")
	}
	at.WriteString(")")
	return at.String()
}

// containing is the JSON document {"a":{"b":value}} that attributes with that value at the path a.b contain.
func containing(path []string, value any) string {
	for i := len(path) - 1; i >= 0; i-- {
		value = map[string]any{path[i]: value}
	}
	document, err := json.Marshal(value)
	if err != nil {
		panic("segment: a parsed value does not marshal: " + err.Error()) // text, bool and checked numbers always do
	}
	return string(document)
}
