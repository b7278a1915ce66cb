package activities

import (
	"context"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/outbox"
)

type importStore interface {
	// ProcessImport takes in the next rows of an import and reports whether it is done.
	ProcessImport(ctx context.Context, id uuid.UUID, atMost int, now time.Time) (done bool, err error)
	FailImport(ctx context.Context, id uuid.UUID, reason string, now time.Time) error
}

// Imports takes uploaded users in.
type Imports struct {
	Store importStore
	Now   func() time.Time
}

// importChunk is how many rows one transaction takes in.
const importChunk = 5000

// ProcessImport takes in the rows of an import, chunk by chunk; a chunk is in or not, so that a kill loses and doubles
// nothing.
func (a *Imports) ProcessImport(ctx context.Context, in outbox.Import) error {
	for {
		done, err := a.Store.ProcessImport(ctx, in.ImportID, importChunk, a.Now())
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) {
			return terminal(err)
		}
		if err != nil || done {
			return err
		}
		activity.RecordHeartbeat(ctx)
	}
}

// FailImport records that an import cannot be finished.
func (a *Imports) FailImport(ctx context.Context, in outbox.Import) error {
	return a.Store.FailImport(ctx, in.ImportID, "the rows could not be taken in", a.Now())
}
