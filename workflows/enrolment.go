package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// EnrolmentResult tells the reader of a history how the enrolment ended.
type EnrolmentResult struct {
	Outcome string `json:"outcome"`
}

// Enrolment is one person's way through the steps of a campaign. It holds no rule: it asks for the next step, sleeps until the
// moment that it is told, and asks again. A signal has it ask at once.
func Enrolment(ctx workflow.Context, in outbox.Enrolment) (EnrolmentResult, error) {
	wake := workflow.GetSignalChannel(ctx, SignalWake)
	for {
		next, err := takeStep(ctx, in)
		if err != nil {
			return EnrolmentResult{}, err
		}
		if next.Do == activities.Done {
			return EnrolmentResult{Outcome: next.Reason}, nil
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			// No signal is lost: the next run looks at the ledger first.
			return EnrolmentResult{}, workflow.NewContinueAsNewError(ctx, Enrolment, in)
		}
		if _, err := waitFor(ctx, wake, next); err != nil {
			return EnrolmentResult{}, err
		}
	}
}
