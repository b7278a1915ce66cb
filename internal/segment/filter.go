package segment

import (
	"encoding/json"
	"strconv"
	"time"
)

// Filter narrows a list of people. All conditions that are set must hold; the zero value leaves nobody out.
type Filter struct {
	Consent       string // a consent state
	Prefix        string // how the number begins, such as +9477
	Name          string // how the attribute of that name begins, letter case ignored
	SegmentID     int64
	TopicID       int64  // they are subscribed to it
	Region        string // ISO 3166-1 alpha-2
	CreatedFrom   time.Time
	CreatedBefore time.Time
}

// Expr is the filter as an expression; ok is false when it leaves nobody out.
func (f Filter) Expr() (e Expr, ok bool) {
	all := Expr{logic: And}
	add := func(set bool, condition Expr) {
		if set {
			all.conditions = append(all.conditions, condition)
		}
	}
	field := func(name string, operator Operator, value any) Expr {
		return Expr{subject: aField, attribute: name, operator: operator, values: []any{value}}
	}
	attribute := func(name string, operator Operator, value string) Expr {
		return Expr{subject: anAttribute, attribute: name, operator: operator, values: []any{value}}
	}
	before := func(t time.Time) Expr { return field(fieldCreatedAt, Before, t.UTC().Format(time.RFC3339Nano)) }
	add(f.Consent != "", attribute(ConsentAttribute, Equals, f.Consent))
	add(f.Prefix != "", field(fieldPhoneNumber, StartsWith, f.Prefix))
	add(f.Name != "", attribute("name", StartsWith, f.Name))
	add(f.SegmentID != 0, Membership(f.SegmentID))
	add(f.TopicID != 0, field(fieldTopics, Has, json.Number(strconv.FormatInt(f.TopicID, 10))))
	add(f.Region != "", field(fieldRegion, Equals, f.Region))
	add(!f.CreatedFrom.IsZero(), Expr{logic: Not, conditions: []Expr{before(f.CreatedFrom)}})
	add(!f.CreatedBefore.IsZero(), before(f.CreatedBefore))
	return all, len(all.conditions) > 0
}
