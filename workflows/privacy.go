package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/internal/outbox"
)

// Erasure has the provider's copies of an erased person's messages removed, and comes back until nothing is left: the
// provider does not let go of a message that it is not done with.
func Erasure(ctx workflow.Context, in outbox.Erasure) error {
	for {
		step, err := eraseCopies(ctx, in)
		if err != nil || step.Done {
			return err
		}
		if err := workflow.Sleep(ctx, step.At.Sub(workflow.Now(ctx))); err != nil {
			return err
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			return workflow.NewContinueAsNewError(ctx, Erasure, in)
		}
	}
}

// Retention empties what has been kept for long enough. A schedule starts it.
func Retention(ctx workflow.Context) error { return retire(ctx) }
