package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/activities"
)

// RecipientResult tells the reader of a history how the message stood in the end.
type RecipientResult struct {
	Outcome string `json:"outcome"`
}

// Recipient is the whole life of one message: it is checked, waits while it must, is sent, and ends with the receipt
// that decides it. A signal sends it back to the ledger at once, whatever it waits for.
func Recipient(ctx workflow.Context, in activities.Message) (RecipientResult, error) {
	wake := workflow.GetSignalChannel(ctx, SignalWake)
	next := activities.Next{Do: activities.Check}
	for {
		woken, err := waitFor(ctx, wake, next)
		if err != nil {
			return RecipientResult{}, err
		}
		if woken {
			next = activities.Next{Do: activities.Check}
		}
		switch next.Do {
		case activities.Check:
			next, err = checkCompliance(ctx, in)
		case activities.Send:
			next, err = sendMessage(ctx, activities.SendInput{Message: in, Slot: next.Slot})
		case activities.Resolve:
			next, err = resolveAttempt(ctx, in)
		case activities.Fetch:
			next, err = fetchReceipt(ctx, in)
		case activities.Done:
			return RecipientResult{Outcome: next.Reason}, nil
		default:
			err = temporal.NewNonRetryableApplicationError(fmt.Sprintf("unknown step %q", next.Do), "invalid", nil)
		}
		if err != nil {
			return RecipientResult{}, err
		}
		if next.Do != activities.Done && workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			// A campaign may be paused for weeks. No signal is lost: the next run looks at the ledger first.
			return RecipientResult{}, workflow.NewContinueAsNewError(ctx, Recipient, in)
		}
	}
}

// waitFor sleeps until the next step is due. It reports whether a signal came first, and takes every signal that has
// come: one look at the ledger answers them all.
func waitFor(ctx workflow.Context, wake workflow.ReceiveChannel, next activities.Next) (woken bool, err error) {
	if wait := next.At.Sub(workflow.Now(ctx)); !next.At.IsZero() && wait > 0 {
		reason := fmt.Sprintf("waiting for %s until %s", next.Reason, next.At.UTC().Format(time.DateTime+" MST"))
		workflow.SetCurrentDetails(ctx, reason)
		_, err = workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
			Timeout: wait, TimerOptions: workflow.TimerOptions{Summary: reason},
		}, func() bool { return wake.Len() > 0 })
		workflow.SetCurrentDetails(ctx, "")
	}
	for wake.ReceiveAsync(nil) {
		woken = true
	}
	return woken, err
}
