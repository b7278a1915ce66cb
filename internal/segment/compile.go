package segment

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Compile turns r into a condition over the table users aliased u, as of now, with its arguments numbered from
// $argOffset+1. Names and values travel as arguments, never as SQL. The condition is true or false, never NULL; what can
// be served by an index of users is written the way the index is: planned with its arguments known, it is.
func Compile(r Resolved, now time.Time, argOffset int) (where string, args []any) {
	c := compiler{offset: argOffset, now: now}
	where = c.expr(r.expr)
	return where, c.args
}

type compiler struct {
	offset int
	now    time.Time
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
	}
	positive, negated := e.positive()
	var where string
	switch {
	case e.subject == aSegment:
		where = "(u.id IN (SELECT sm.user_id FROM segment_members sm WHERE sm.segment_id = " + c.arg(e.id) + "))"
	case e.subject == aCampaign:
		where = c.outcome(positive)
	case e.subject == aField:
		where = c.field(positive)
	case e.attribute == ConsentAttribute:
		where = "(u.consent_state::text = ANY (" + c.arg(texts(e.values)) + "::text[]))"
	default:
		where = c.condition(positive)
	}
	if negated {
		return "NOT " + where
	}
	return where
}

// positive returns e with the opposite of an operator that says not.
func (e Expr) positive() (opposite Expr, negated bool) {
	switch e.operator {
	case NotEquals:
		e.operator = Equals
	case NotIn:
		e.operator = In
	case WasNot:
		e.operator = Was
	case Exists:
		negated = e.values[0] == false
		return e, negated
	default:
		return e, false
	}
	return e, true
}

func texts(values []any) []string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = value.(string)
	}
	return out
}

// Of the messages of campaign %s to a person.
const (
	messagesOf = "(u.id IN (SELECT m.user_id FROM campaign_runs r JOIN messages m ON m.run_id = r.id " +
		"WHERE r.campaign_id = %s AND r.kind <> 'test' AND m.user_id IS NOT NULL AND m.state IN (%s)))"
	repliesTo = "(u.id IN (SELECT m.user_id FROM campaign_runs r JOIN messages m ON m.run_id = r.id " +
		"JOIN inbound_messages i ON i.user_id = m.user_id AND i.received_at >= m.accepted_at AND i.received_at < m.accepted_at + %s::interval " +
		"WHERE r.campaign_id = %s AND r.kind <> 'test' AND m.user_id IS NOT NULL))"
)

// The states of a message that an outcome is true of.
const (
	statesSent      = "'accepted', 'sent', 'delivered', 'read'"
	statesDelivered = "'delivered', 'read'"
	statesRead      = "'read'"
	statesFailed    = "'failed', 'undelivered'"
)

func (c *compiler) outcome(e Expr) string {
	campaign := c.arg(e.id)
	switch Outcome(e.values[0].(string)) {
	case WasSent:
		return fmt.Sprintf(messagesOf, campaign, statesSent)
	case WasDelivered:
		return fmt.Sprintf(messagesOf, campaign, statesDelivered)
	case WasRead:
		return fmt.Sprintf(messagesOf, campaign, statesRead)
	case WasFailed:
		return "(" + fmt.Sprintf(messagesOf, campaign, statesFailed) + " AND NOT " + fmt.Sprintf(messagesOf, campaign, statesSent) + ")"
	case WasReplied:
		return fmt.Sprintf(repliesTo, c.arg(fmt.Sprintf("%d seconds", int(ReplyWindow.Seconds()))), campaign)
	default:
		return "false" // Parse lets no other outcome in
	}
}

func (c *compiler) field(e Expr) string {
	switch e.attribute {
	case fieldRegion:
		if e.operator == Exists {
			return "(u.region <> '')"
		}
		return "(u.region = ANY (" + c.arg(texts(e.values)) + "::text[]))"
	case fieldCallingCode:
		parts := make([]string, len(e.values))
		for i, code := range texts(e.values) {
			parts[i] = "u.phone_number LIKE " + c.arg("+"+code+"%")
		}
		return "(" + strings.Join(parts, " OR ") + ")"
	case fieldPhoneNumber:
		return "(u.phone_number LIKE " + c.arg(e.values[0].(string)+"%") + ")"
	case fieldCreatedAt:
		return c.within("u.created_at", e)
	case fieldLastInboundAt:
		if e.operator == Exists {
			return "(u.last_inbound_at IS NOT NULL)"
		}
		return "(u.last_inbound_at IS NOT NULL AND " + c.within("u.last_inbound_at", e) + ")"
	case fieldTopics:
		if name, ok := e.values[0].(string); ok {
			return "(u.id IN (SELECT sub.user_id FROM subscriptions sub JOIN topics t ON t.id = sub.topic_id WHERE t.name = " + c.arg(name) + "))"
		}
		return "(u.id IN (SELECT sub.user_id FROM subscriptions sub WHERE sub.topic_id = " + c.arg(topicID(e.values[0])) + "))"
	default:
		return "false" // Parse lets no other field in
	}
}

// within asks whether a time lies in the period that e selects.
func (c *compiler) within(at string, e Expr) string {
	p := e.period(c.now)
	above, below := ">=", "<="
	if p.open {
		above, below = ">", "<"
	}
	var parts []string
	if p.from != nil {
		parts = append(parts, at+" "+above+" "+c.arg(*p.from)+"::timestamptz")
	}
	if p.to != nil {
		parts = append(parts, at+" "+below+" "+c.arg(*p.to)+"::timestamptz")
	}
	return "(" + strings.Join(parts, " AND ") + ")"
}

func (c *compiler) condition(e Expr) string {
	switch e.operator {
	case Equals:
		return "(u.attributes @> " + c.arg(containing(e.path(), e.values[0])) + "::text::jsonb)"
	case In:
		documents := make([]string, len(e.values))
		for i, value := range e.values {
			documents[i] = containing(e.path(), value)
		}
		return "(u.attributes @> ANY (" + c.arg(documents) + "::text[]::jsonb[]))"
	case Has:
		return "(u.attributes @> " + c.arg(containing(e.path(), []any{e.values[0]})) + "::text::jsonb)"
	case Exists:
		return "(coalesce(jsonb_typeof(" + c.attribute(e.path()) + "), 'null') <> 'null')"
	case Contains:
		return c.contains(e)
	case EqualsIgnoreCase, StartsWith:
		return c.folded(e)
	case Before, After, WithinLast, WithinNext:
		return c.moment(e)
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

// moment asks first whether the text can be of such a day at all: reading it as a time costs far more. Of a time with its
// zone the day is that of the zone, up to maxOffset away.
func (c *compiler) moment(e Expr) string {
	p, text := e.period(c.now), c.text(e.path())
	var parts []string
	if p.from != nil {
		parts = append(parts, text+` COLLATE "C" >= `+c.arg(p.from.UTC().Add(-maxOffset).Format(time.DateOnly))+"::text")
	}
	if p.to != nil {
		parts = append(parts, text+` COLLATE "C" < `+c.arg(p.to.UTC().Add(maxOffset).AddDate(0, 0, 1).Format(time.DateOnly))+"::text")
	}
	parts = append(parts, c.within("attribute_time("+c.attribute(e.path())+")", e))
	return "coalesce(" + strings.Join(parts, " AND ") + ", false)"
}

const maxOffset = 15 * time.Hour // of a zone from UTC

// contains folds the letters of the sought text by the database's translate: its own lower() differs between locales.
func (c *compiler) contains(e Expr) string {
	at := c.attribute(e.path())
	folded := fold(e.values[0].(string))
	from, to := variants(folded)
	return fmt.Sprintf("(CASE jsonb_typeof(%s) WHEN 'string' THEN strpos(translate(%s #>> '{}', %s::text, %s::text), %s::text) > 0 ELSE false END)",
		at, at, c.arg(from), c.arg(to), c.arg(folded))
}

// indexedRunes is how much of a folded text the indexes on one hold: a longer one may not fit into an index at all.
const indexedRunes = 64

// folded compares in any letter case, first what an index may hold of it, then the whole.
func (c *compiler) folded(e Expr) string {
	path, sought := e.path(), fold(e.values[0].(string))
	text := c.text(path)
	prefix := sought
	if runes := []rune(sought); len(runes) > indexedRunes {
		prefix = string(runes[:indexedRunes])
	}
	key := fmt.Sprintf("left(fold_case(%s), %d)", text, indexedRunes)
	isText := fmt.Sprintf("%s IS NOT NULL AND jsonb_typeof(%s) = 'string'", text, c.attribute(path))
	if e.operator == EqualsIgnoreCase {
		return fmt.Sprintf("(%s AND %s = %s::text AND fold_case(%s) = %s::text)", isText, key, c.arg(prefix), text, c.arg(sought))
	}
	return fmt.Sprintf("(%s AND %s LIKE %s::text AND starts_with(fold_case(%s), %s::text))", isText, key, c.arg(like.Replace(prefix)+"%"), text, c.arg(sought))
}

// like makes a text mean itself in a pattern.
var like = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

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

// text is the value at a path as text, NULL when there is none or it is null.
func (c *compiler) text(path []string) string {
	last := len(path) - 1
	at := "u.attributes"
	if last > 0 {
		at = c.attribute(path[:last])
	}
	return "(" + at + " ->> " + c.arg(path[last]) + "::text)"
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
