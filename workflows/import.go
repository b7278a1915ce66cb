package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/internal/outbox"
)

// Import takes an uploaded file's rows into the users. What is in stays in, whatever happens on the way.
func Import(ctx workflow.Context, in outbox.Import) error {
	if err := processImport(ctx, in); err != nil {
		workflow.GetLogger(ctx).Error("import failed", "error", err)
		return failImport(ctx, in)
	}
	return nil
}
