package segment

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Person is what Match judges: the facts about one person at one moment. What became of campaigns and who is in which
// segment is no attribute of a person: whoever asks about them has looked them up.
type Person struct {
	Attributes    user.Attributes
	Consent       user.ConsentState
	Phone         phone.Number
	Region        string // "" when unknown
	CreatedAt     time.Time
	LastInboundAt *time.Time          // nil: never wrote
	Topics        []Topic             // subscribed to
	Outcomes      map[int64][]Outcome // by campaign
	Segments      []int64             // in which the person is
}

// Topic names one that a person is subscribed to.
type Topic struct {
	ID   int64
	Name string
}

// Match tells whether e is true of a person as of now.
func Match(e Expr, p Person, now time.Time) bool {
	matches := func(condition Expr) bool { return Match(condition, p, now) }
	switch e.logic {
	case And:
		return !slices.ContainsFunc(e.conditions, func(c Expr) bool { return !matches(c) })
	case Or:
		return slices.ContainsFunc(e.conditions, matches)
	case Not:
		return !matches(e.conditions[0])
	}
	if e.IsZero() {
		return false
	}
	positive, negated := e.positive()
	return positive.holds(p, now) != negated
}

// holds judges a condition whose operator does not say not; exists asks whether there is something.
func (e Expr) holds(p Person, now time.Time) bool {
	switch {
	case e.subject == aSegment:
		return slices.Contains(p.Segments, e.id)
	case e.subject == aCampaign:
		return slices.Contains(p.Outcomes[e.id], Outcome(e.values[0].(string)))
	case e.subject == aField:
		return e.fieldHolds(p, now)
	case e.attribute == ConsentAttribute:
		return slices.Contains(e.values, any(string(p.Consent)))
	}
	value, found := p.Attributes.Lookup(e.path()...)
	if !found {
		return false
	}
	text, isText := value.(string)
	switch e.operator {
	case Equals, In:
		return slices.ContainsFunc(e.values, func(v any) bool { return equal(value, v) })
	case Has:
		elements, _ := value.([]any)
		return slices.ContainsFunc(elements, func(element any) bool { return equal(element, e.values[0]) })
	case Exists:
		return true
	case Contains:
		return isText && strings.Contains(fold(text), fold(e.values[0].(string)))
	case StartsWith:
		return isText && strings.HasPrefix(fold(text), fold(e.values[0].(string)))
	case EqualsIgnoreCase:
		return isText && fold(text) == fold(e.values[0].(string))
	case Before, After, WithinLast, WithinNext:
		at, isTime := readTime(text)
		return isTime && e.period(now).holds(at)
	default:
		order, ok := compare(value, e.values[0])
		return ok && (order > 0 && (e.operator == GT || e.operator == GTE) ||
			order < 0 && (e.operator == LT || e.operator == LTE) ||
			order == 0 && (e.operator == GTE || e.operator == LTE))
	}
}

func (e Expr) fieldHolds(p Person, now time.Time) bool {
	switch e.attribute {
	case fieldRegion:
		if e.operator == Exists {
			return p.Region != ""
		}
		return slices.Contains(e.values, any(p.Region))
	case fieldCallingCode:
		return slices.Contains(e.values, any(p.Phone.CallingCode()))
	case fieldPhoneNumber:
		return strings.HasPrefix(string(p.Phone), e.values[0].(string))
	case fieldCreatedAt:
		return e.period(now).holds(p.CreatedAt)
	case fieldLastInboundAt:
		return p.LastInboundAt != nil && (e.operator == Exists || e.period(now).holds(*p.LastInboundAt))
	default: // fieldTopics
		name, isName := e.values[0].(string)
		return slices.ContainsFunc(p.Topics, func(t Topic) bool {
			return isName && t.Name == name || !isName && t.ID == topicID(e.values[0])
		})
	}
}

func equal(a, b any) bool {
	if boolean, ok := a.(bool); ok {
		return boolean == b
	}
	order, ok := compare(a, b)
	return ok && order == 0
}

// compare orders two numbers by value, two texts by code point (which in UTF-8 is by byte). ok is false for all else.
func compare(a, b any) (order int, ok bool) {
	textA, isTextA := a.(string)
	textB, isTextB := b.(string)
	if isTextA && isTextB {
		return strings.Compare(textA, textB), true
	}
	numberA, isNumberA := number(a)
	numberB, isNumberB := number(b)
	if isNumberA && isNumberB {
		return numberA.Cmp(numberB), true
	}
	return 0, false
}

// number returns the exact value of a JSON number.
func number(value any) (*big.Rat, bool) {
	switch v := value.(type) {
	case json.Number:
		return new(big.Rat).SetString(v.String())
	case float64:
		rat := new(big.Rat).SetFloat64(v)
		return rat, rat != nil
	case int:
		return new(big.Rat).SetInt64(int64(v)), true
	default:
		return nil, false
	}
}

// fold maps every letter to the first of those that differ from it in case only.
func fold(text string) string { return strings.Map(foldRune, text) }

func foldRune(r rune) rune {
	first := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		first = min(first, other)
	}
	return first
}

// variants returns the letters, other than the folded ones, that fold to a letter of the folded text.
func variants(folded string) (from, to string) {
	var fromText, toText strings.Builder
	seen := map[rune]bool{}
	for _, r := range folded {
		if seen[r] {
			continue
		}
		seen[r] = true
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			fromText.WriteRune(other)
			toText.WriteRune(r)
		}
	}
	return fromText.String(), toText.String()
}
