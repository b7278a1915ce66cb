package segment

import (
	"fmt"
	"slices"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Resolved is an Expr in which the definitions of the segments that it refers to stand in place of the references, those
// to static segments aside. Compile takes nothing else. The zero value selects nobody.
type Resolved struct{ expr Expr }

// Resolve puts the definitions of the segments that e refers to in place. lookup returns a saved segment, or why it
// cannot; a reference that leads back to itself is refused. field names the definition in the faults.
func Resolve(field string, e Expr, lookup func(id int64) (Saved, error)) (Resolved, error) {
	expr, err := resolver{lookup}.expr(field, e, nil)
	return Resolved{expr}, err
}

// Size counts the conditions, groups included.
func (r Resolved) Size() int { return size(r.expr) }

func size(e Expr) int {
	n := 1
	for _, condition := range e.conditions {
		n += size(condition)
	}
	return n
}

type resolver struct {
	lookup func(id int64) (Saved, error)
}

// expr resolves e; within are the segments whose definitions e is a part of, the outermost first.
func (r resolver) expr(field string, e Expr, within []int64) (Expr, error) {
	if e.subject == aSegment {
		return r.segment(field+".value", e, within)
	}
	if len(e.conditions) == 0 {
		return e, nil
	}
	conditions := make([]Expr, len(e.conditions))
	for i, condition := range e.conditions {
		var err error
		if conditions[i], err = r.expr(fmt.Sprintf("%s.conditions[%d]", field, i), condition, within); err != nil {
			return Expr{}, err
		}
	}
	e.conditions = conditions
	return e, nil
}

func (r resolver) segment(field string, e Expr, within []int64) (Expr, error) {
	if len(within) >= MaxDepth {
		return Expr{}, fault.Refuse(field, "leads through more than %d segments", MaxDepth)
	}
	saved, err := r.lookup(e.id)
	if fault.Is(err, fault.NotFound) {
		return Expr{}, fault.Refuse(field, "there is no segment %d", e.id)
	} else if err != nil {
		return Expr{}, err
	}
	if saved.Kind == Static {
		return e, nil
	}
	if slices.Contains(within, e.id) {
		return Expr{}, fault.Refuse(field, "leads back to segment %d: a segment cannot depend on itself", e.id)
	}
	definition, err := Parse(field, saved.Definition)
	if err != nil {
		return Expr{}, err
	}
	return r.expr(field, definition, append(slices.Clone(within), e.id))
}

// AnyOf selects whoever is in one of the saved segments; nobody when there are none.
func AnyOf(ids []int64) Expr {
	if len(ids) == 0 {
		return Expr{}
	}
	e := Expr{logic: Or}
	for _, id := range ids {
		e.conditions = append(e.conditions, Membership(id))
	}
	return e
}

// Membership is the definition of a static segment: whoever is in it.
func Membership(id int64) Expr { return Expr{subject: aSegment, operator: InSegment, id: id} }
