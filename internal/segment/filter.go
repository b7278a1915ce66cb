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
	Name          string // how the attribute of that name begins, letter case ignored; MaxName characters at most
	SegmentID     int64
	TopicID       int64  // they are subscribed to it
	Region        string // ISO 3166-1 alpha-2
	CreatedFrom   time.Time
	CreatedBefore time.Time
}

// MaxName bounds the name that a filter looks for, in characters: an index holds no more of it.
const MaxName = indexedRunes

// Expr is what a filter says of segments and topics; ok is false when it says nothing.
func (f Filter) Expr() (e Expr, ok bool) {
	e.logic = And
	if f.SegmentID != 0 {
		e.conditions = append(e.conditions, Membership(f.SegmentID))
	}
	if f.TopicID != 0 {
		id := json.Number(strconv.FormatInt(f.TopicID, 10))
		e.conditions = append(e.conditions, Expr{subject: aField, attribute: fieldTopics, operator: Has, values: []any{id}})
	}
	return e, len(e.conditions) > 0
}
