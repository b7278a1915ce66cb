package user

import (
	"strings"

	"github.com/event-stream-engine/ese/internal/fault"
)

// ConsentState says whether a person agreed to be written to. The zero value stands for "nothing known": the state of
// somebody who is not stored yet, or a change that says nothing about consent.
type ConsentState string

// The consent states. Only OptIn may be written to.
const (
	Pending ConsentState = "PENDING" // never asked, or the answer is unknown
	OptIn   ConsentState = "OPT_IN"  // agreed
	OptOut  ConsentState = "OPT_OUT" // declined, as told by somebody else
	Stop    ConsentState = "STOP"    // said so themselves: only they, or an operator with evidence, take it back
)

// ConsentStates lists every state.
func ConsentStates() []ConsentState { return []ConsentState{Pending, OptIn, OptOut, Stop} }

// ParseConsent reads a consent state in any case, with '-' or a space for '_'. Empty text gives the zero value.
func ParseConsent(field, text string) (ConsentState, error) {
	state := ConsentState(strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToUpper(strings.TrimSpace(text))))
	switch state {
	case "", Pending, OptIn, OptOut, Stop:
		return state, nil
	default:
		return "", fault.Refuse(field, "must be one of PENDING, OPT_IN, OPT_OUT, STOP")
	}
}

// Source says where a change of consent comes from.
type Source string

// The sources of a change.
const (
	SourceImport   Source = "import"   // a row of a file
	SourceEdit     Source = "edit"     // a person's record was edited
	SourceKeyword  Source = "keyword"  // the person wrote STOP or START
	SourceProvider Source = "provider" // the provider or carrier reported a block
	SourceOperator Source = "operator" // a decision about consent itself
)

// Change is a wish to change somebody's consent.
type Change struct {
	State    ConsentState // the zero value says nothing about consent
	Source   Source
	Evidence string // why an operator may lift a STOP: what the person said, where and when
}

// After returns the state that follows from a change; it equals c when the change changes nothing.
//
// Somebody new without a stated consent becomes PENDING; somebody known keeps what they have. STOP outlasts everything
// but the person's own START and an operator's decision with evidence: an edit or an operator without evidence gets a
// Conflict fault, an import or a provider's report leaves STOP in place and goes on. "Not known" in an import does not
// undo what is known, and a provider's report never opts anybody in.
func (c ConsentState) After(change Change) (ConsentState, error) {
	wanted := change.State
	unattended := change.Source == SourceImport || change.Source == SourceProvider
	switch {
	case c == "" && (wanted == "" || wanted == OptIn && change.Source == SourceProvider):
		return Pending, nil
	case wanted == "" || wanted == c:
		return c, nil
	case c == "":
		return wanted, nil
	case wanted == Pending && unattended, wanted == OptIn && change.Source == SourceProvider:
		return c, nil
	case c != Stop:
		return wanted, nil
	case change.Source == SourceKeyword && wanted == OptIn:
		return OptIn, nil
	case change.Source == SourceOperator && strings.TrimSpace(change.Evidence) != "":
		return wanted, nil
	case change.Source == SourceOperator:
		return c, fault.New(fault.Conflict, "this person said STOP: lifting it needs evidence of their consent")
	case change.Source == SourceEdit:
		return c, fault.New(fault.Conflict, "this person said STOP: an edit cannot lift it; they can write START, or an operator can record evidence of their consent")
	default:
		return c, nil
	}
}

// Sendable tells whether this person may be written to.
func (c ConsentState) Sendable() bool { return c == OptIn }

// OptedOut tells whether this person asked, in whatever way, not to be written to.
func (c ConsentState) OptedOut() bool { return c == OptOut || c == Stop }
