package report

import (
	"time"

	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/phone"
)

// Step is what became of one step of a run.
type Step struct {
	Number          int
	TemplateID      int64
	TemplateVersion int
	TemplateName    string
	Wait            time.Duration
	Waiting         int    // enrolments whose next step it is
	States          States // of its messages
}

// EnrolmentCount is how many enrolments of a run are in a state, for a reason.
type EnrolmentCount struct {
	State  ledger.EnrolmentState
	Reason string // "" but with an exit
	Count  int
}

// Enrolment is one person's way through the steps, as it is shown.
type Enrolment struct {
	ID        int64
	Phone     phone.Number // "": the person was erased
	State     ledger.EnrolmentState
	Reason    string
	NextStep  int       // with an active one
	NextAt    time.Time // with an active one: when it is looked at next
	CreatedAt time.Time
	EndedAt   *time.Time
}
