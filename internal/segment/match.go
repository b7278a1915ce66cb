package segment

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"unicode"

	"github.com/event-stream-engine/ese/internal/user"
)

// Match tells whether e is true of a person.
func Match(e Expr, attributes user.Attributes, consent user.ConsentState) bool {
	matches := func(condition Expr) bool { return Match(condition, attributes, consent) }
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
	value, found := attributes.Lookup(e.path()...)
	if e.attribute == ConsentAttribute {
		value, found = string(consent), true
	}
	if !found {
		return e.operator == NotEquals || e.operator == Exists && e.values[0] == false
	}
	switch e.operator {
	case Equals, In:
		return slices.ContainsFunc(e.values, func(v any) bool { return equal(value, v) })
	case NotEquals:
		return !equal(value, e.values[0])
	case Exists:
		return e.values[0] == true
	case Contains:
		text, ok := value.(string)
		return ok && strings.Contains(fold(text), fold(e.values[0].(string)))
	default:
		order, ok := compare(value, e.values[0])
		return ok && (order > 0 && (e.operator == GT || e.operator == GTE) ||
			order < 0 && (e.operator == LT || e.operator == LTE) ||
			order == 0 && (e.operator == GTE || e.operator == LTE))
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
