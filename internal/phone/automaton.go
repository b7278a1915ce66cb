package phone

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
)

// automaton matches digits against a pattern in one look at each. The patterns of numbering plans are long alternatives of
// digits, with which package regexp is slow.
type automaton struct {
	next    [][10]int32 // by state and digit; 0 where nothing can match any more
	matches []bool      // by state: what was read so far is a match
}

const (
	dead  = 0
	start = 1
)

// compile makes an automaton of a regular expression without assertions.
func compile(pattern string) (*automaton, error) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("numbering plan: %w", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("numbering plan: %w", err)
	}
	first, err := closure(program, []uint32{uint32(program.Start)})
	if err != nil {
		return nil, err
	}
	a, sets, known := &automaton{}, [][]uint32{nil}, map[string]int32{fmt.Sprint([]uint32(nil)): dead}
	a.add(program, nil)
	known[fmt.Sprint(first)] = start
	sets = append(sets, first)
	a.add(program, first)
	for state := start; state < len(sets); state++ {
		for digit := range 10 {
			var after []uint32
			for _, pc := range sets[state] {
				if inst := &program.Inst[pc]; inst.Op != syntax.InstMatch && inst.MatchRune(rune('0'+digit)) {
					after = append(after, inst.Out)
				}
			}
			if after, err = closure(program, after); err != nil {
				return nil, err
			}
			key := fmt.Sprint(after)
			to, found := known[key]
			if !found {
				to = int32(len(sets))
				known[key] = to
				sets = append(sets, after)
				a.add(program, after)
			}
			a.next[state][digit] = to
		}
	}
	return a, nil
}

func (a *automaton) add(program *syntax.Prog, set []uint32) {
	a.next = append(a.next, [10]int32{})
	a.matches = append(a.matches, slices.ContainsFunc(set, func(pc uint32) bool { return program.Inst[pc].Op == syntax.InstMatch }))
}

// closure returns the instructions that wait for a digit, or match, from some on; sorted.
func closure(program *syntax.Prog, from []uint32) ([]uint32, error) {
	seen, waiting := map[uint32]bool{}, []uint32(nil)
	for len(from) > 0 {
		pc := from[len(from)-1]
		from = from[:len(from)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch inst := &program.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			from = append(from, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			from = append(from, inst.Out)
		case syntax.InstFail:
		case syntax.InstEmptyWidth:
			return nil, errors.New("numbering plan: a pattern with an assertion")
		default:
			waiting = append(waiting, pc)
		}
	}
	slices.Sort(waiting)
	return waiting, nil
}

// whole reports whether all digits match the pattern.
func (a *automaton) whole(digits string) bool {
	state := int32(start)
	for i := 0; i < len(digits) && state != dead; i++ {
		state = a.next[state][digits[i]-'0']
	}
	return a.matches[state]
}

// begins reports whether the digits begin with a match.
func (a *automaton) begins(digits string) bool {
	state := int32(start)
	for i := 0; i < len(digits) && state != dead && !a.matches[state]; i++ {
		state = a.next[state][digits[i]-'0']
	}
	return a.matches[state]
}
