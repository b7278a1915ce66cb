package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// ApprovalID is the id of the workflow that has a text approved: template/<id>/version/<n>/locale/<l>.
func ApprovalID(t outbox.Template) string {
	return fmt.Sprintf("template/%d/version/%d/locale/%s", t.TemplateID, t.Version, t.Locale)
}

// ApprovalResult tells the reader of a history how it was decided.
type ApprovalResult struct {
	Approval string `json:"approval"`
}

// Approval has what a template says in one language approved: it is submitted, and looked at until it is decided. A signal
// has it look at once.
func Approval(ctx workflow.Context, in outbox.Template) (ApprovalResult, error) {
	wake := workflow.GetSignalChannel(ctx, SignalWake)
	for {
		next, err := advanceApproval(ctx, in)
		if err != nil {
			return ApprovalResult{}, err
		}
		if next.Do == activities.Done {
			return ApprovalResult{Approval: next.Reason}, nil
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			return ApprovalResult{}, workflow.NewContinueAsNewError(ctx, Approval, in)
		}
		if _, err := waitFor(ctx, wake, next); err != nil {
			return ApprovalResult{}, err
		}
	}
}

// TemplateSync looks at all of the provider's templates once.
func TemplateSync(ctx workflow.Context, _ outbox.Sync) error { return syncContents(ctx) }
