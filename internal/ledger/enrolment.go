package ledger

import (
	"time"

	"github.com/event-stream-engine/ese/internal/message"
)

// EnrolmentState is how far somebody is on their way through the steps of a campaign.
type EnrolmentState string

// The states of an enrolment. All but the first are ends.
const (
	Enrolled  EnrolmentState = "active"
	Completed EnrolmentState = "completed" // every step was taken
	Exited    EnrolmentState = "exited"    // left before that, for a reason
	Cancelled EnrolmentState = "cancelled" // together with the campaign
)

// EnrolmentStates lists every state.
func EnrolmentStates() []EnrolmentState {
	return []EnrolmentState{Enrolled, Completed, Exited, Cancelled}
}

// The reasons of an exit, besides those why somebody may not be written to at all.
const (
	ExitReply   = "reply"
	ExitRead    = "read"
	ExitSegment = "segment"
)

// Enrolment is one person's way through the steps.
type Enrolment struct {
	State  EnrolmentState
	Live   bool          // its campaign is under way
	Paused bool          // and paused
	Exit   string        // why it is to be left now; "" for not
	Step   int           // the next one; 1…
	Steps  int           // how many there are
	Wait   time.Duration // before the next one
	NextAt time.Time     // when it was to be looked at next
	Last   *StepMessage  // of the step before; nil before the first
}

// StepMessage is how the message of a step stands.
type StepMessage struct {
	State      message.State
	At         time.Time  // when the provider took it, or when it came to nothing
	WaitsUntil *time.Time // with a reason on a pending one
}

// Move is what comes next for an enrolment.
type Move struct {
	State EnrolmentState // it becomes that; Enrolled: it goes on
	Take  bool           // the step is due now
	Until time.Time      // with neither an end nor Take: look again then
	// Reason of the exit, or of the wait.
	Reason string
}

const (
	// stepLook is how long to wait before looking again at a step's message that the provider does not have yet.
	stepLook = 5 * time.Minute
	// pausedLook is that while the campaign is paused.
	pausedLook = time.Hour
)

// Next decides. Waits count from the moment that the last step's message was sent: one that quiet hours held back is not
// followed at once by the next, and no two of them wait at the same time. One that came to nothing lets the sequence go on.
func (e Enrolment) Next(now time.Time) Move {
	switch {
	case e.State != Enrolled:
		return Move{State: e.State}
	case !e.Live:
		return Move{State: Cancelled}
	case e.Exit != "":
		return Move{State: Exited, Reason: e.Exit}
	case e.Step > e.Steps:
		return Move{State: Completed}
	case e.NextAt.After(now):
		return Move{State: Enrolled, Until: e.NextAt, Reason: "the next step"}
	}
	if e.Last != nil {
		if e.Last.State.Open() {
			look := stepLook
			if e.Paused {
				look = pausedLook
			}
			until := now.Add(look)
			if w := e.Last.WaitsUntil; w != nil && w.After(now) {
				until = w.Add(stepLook)
			}
			return Move{State: Enrolled, Until: until, Reason: "the step before to be sent"}
		}
		if due := e.Last.At.Add(e.Wait); due.After(now) {
			return Move{State: Enrolled, Until: due, Reason: "the next step"}
		}
	}
	return Move{State: Enrolled, Take: true}
}
