package user

import (
	"strings"
	"time"

	"github.com/google/uuid"

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
	SourceAPI      Source = "api"      // a person's record was made or edited
	SourceKeyword  Source = "keyword"  // the person wrote to us: STOP, START, or for the first time
	SourceButton   Source = "button"   // the person tapped a button of ours
	SourceOperator Source = "operator" // a decision about consent itself
	SourceCarrier  Source = "carrier"  // the provider or carrier reported a block
	SourceUnknown  Source = "unknown"  // not recorded at the time
)

// Change is a wish to change somebody's consent.
type Change struct {
	State    ConsentState // the zero value says nothing about consent
	Source   Source
	Evidence string // how it is known: a message's SID, an import and its line, what the person said, where and when
	Wording  string // the text that the person was shown, or sent; "" when it is not known
	CallerIP string // of a change over the API; "" for others

	Invitation *uuid.UUID // the message that asked for it; nil for none
	Invite     bool       // somebody new: they are asked to confirm it by themselves
}

// Event is one entry of a person's history of consent. The history begins with the state they were added in.
type Event struct {
	ID         int64
	State      ConsentState
	Previous   ConsentState // "" in the first event
	Source     Source
	Evidence   string
	Wording    string
	CallerIP   string
	Invitation *uuid.UUID // the message that asked for it; nil for none
	Actor      string     // who made it
	At         time.Time
}

// After returns the state that follows from a change; it equals c when the change changes nothing.
//
// Somebody new without a stated consent becomes PENDING; somebody known keeps what they have. STOP outlasts everything
// but the person's own START and an operator's decision with evidence: an edit or an operator without evidence gets a
// Conflict fault, an import or a provider's report leaves STOP in place and goes on. "Not known" in an import does not
// undo what is known, and a provider's report never opts anybody in.
func (c ConsentState) After(change Change) (ConsentState, error) {
	wanted := change.State
	unattended := change.Source == SourceImport || change.Source == SourceCarrier
	switch {
	case c == "" && (wanted == "" || wanted == OptIn && change.Source == SourceCarrier):
		return Pending, nil
	case wanted == "" || wanted == c:
		return c, nil
	case c == "":
		return wanted, nil
	case wanted == Pending && unattended, wanted == OptIn && change.Source == SourceCarrier:
		return c, nil
	case c != Stop:
		return wanted, nil
	case (change.Source == SourceKeyword || change.Source == SourceButton) && wanted == OptIn:
		return OptIn, nil
	case change.Source == SourceOperator && strings.TrimSpace(change.Evidence) != "":
		return wanted, nil
	case change.Source == SourceOperator:
		return c, fault.New(fault.Conflict, "this person said STOP: lifting it needs evidence of their consent")
	case change.Source == SourceAPI:
		return c, fault.New(fault.Conflict, "this person said STOP: an edit cannot lift it; they can write START, or an operator can record evidence of their consent")
	default:
		return c, nil
	}
}

// Sendable tells whether this person may be written to.
func (c ConsentState) Sendable() bool { return c == OptIn }

// OptedOut tells whether this person asked, in whatever way, not to be written to.
func (c ConsentState) OptedOut() bool { return c == OptOut || c == Stop }
