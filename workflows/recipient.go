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

// RecipientInput is one message, and how its workflow begins.
type RecipientInput struct {
	activities.Message
	// SendFirst has it begin with the send, of which the check is a part. False is for recipients that were started
	// before there was this field; their histories begin with a check.
	SendFirst bool `json:"send_first,omitempty"`
}

// Recipient is the life of one message until the provider has it: it is checked, waits while it must, and is sent. When
// the outcome of a request is unknown, it is found out. A signal sends it back to the ledger at once, whatever it waits
// for.
func Recipient(ctx workflow.Context, in RecipientInput) (RecipientResult, error) {
	wake := workflow.GetSignalChannel(ctx, SignalWake)
	next := activities.Next{Do: activities.Check}
	if in.SendFirst {
		next.Do = activities.Send
	}
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
			next, err = checkCompliance(ctx, in.Message)
		case activities.Send:
			next, err = sendMessage(ctx, in.Message)
		case activities.Resolve:
			next, err = resolveAttempt(ctx, in.Message)
		case activities.Fetch:
			next, err = fetchReceipt(ctx, in.Message)
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
