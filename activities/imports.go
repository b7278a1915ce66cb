package activities

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/outbox"
)

type importStore interface {
	Import(ctx context.Context, id uuid.UUID) (intake.Import, error)
	// ImportChunk reads the next chunk that waits, with a number above after; found is false when there is none.
	ImportChunk(ctx context.Context, id uuid.UUID, after int) (chunk intake.Chunk, found bool, err error)
	// SaveImportBatch takes a chunk in, unless that is done already.
	SaveImportBatch(ctx context.Context, imp intake.Import, b *intake.Batch, now time.Time) error
	// FinishImport ends an import of which nothing waits, and reports whether that is so.
	FinishImport(ctx context.Context, id uuid.UUID, now time.Time) (finished bool, err error)
	FailImport(ctx context.Context, id uuid.UUID, reason string, now time.Time) error
}

// Imports takes uploaded users in.
type Imports struct {
	Store importStore
	Now   func() time.Time
}

// importLanes is how many chunks of an import are taken in at the same time, while the next one is being read.
const importLanes = 2

// ProcessImport takes in the rows of an import, chunk by chunk; a chunk is in or not, so that a kill loses and doubles
// nothing. Called again after any interruption, and by several at once, it goes on with what waits.
func (a *Imports) ProcessImport(ctx context.Context, in outbox.Import) error {
	imp, err := a.Store.Import(ctx, in.ImportID)
	if fault.Is(err, fault.NotFound) {
		return terminal(err)
	} else if err != nil || imp.Status.Over() {
		return err
	}
	parse, err := imp.Parser()
	if err != nil {
		return terminal(err)
	}
	defer beat(ctx)()
	for { // a chunk that changed after it was read is read anew
		g, saving := errgroup.WithContext(ctx)
		began := a.takeIn(saving, g, imp, parse)
		if err := g.Wait(); err != nil {
			return err // which has cancelled the rest
		} else if began != nil {
			return began
		}
		if finished, err := a.Store.FinishImport(ctx, imp.ID, a.Now()); err != nil || finished {
			return err
		}
		if imp, err = a.Store.Import(ctx, imp.ID); err != nil || imp.Status.Over() {
			return err
		}
	}
}

// takeIn begins chunk after chunk, each as soon as it may.
func (a *Imports) takeIn(ctx context.Context, g *errgroup.Group, imp intake.Import, parse func(string) (intake.Person, error)) error {
	var under lanes
	for after := 0; ; {
		chunk, found, err := a.Store.ImportChunk(ctx, imp.ID, after)
		if err != nil || !found {
			return err
		}
		after = chunk.Number
		b := chunk.Read(imp.Policy, parse)
		if err := under.await(ctx, b); err != nil {
			return err
		}
		done := under.enter(b)
		g.Go(func() error {
			err := a.Store.SaveImportBatch(ctx, imp, b, a.Now())
			if err == nil {
				close(done) // only then: what waits for a batch that failed must not go before it
			}
			return err
		})
	}
}

// beat tells Temporal that the activity lives until stop is called, however long one transaction takes. When its process is
// killed, another one goes on soon after.
func beat(ctx context.Context) (stop func()) {
	if !activity.IsActivity(ctx) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			activity.RecordHeartbeat(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return cancel
}

// lanes are the batches that are being taken in. Within an import the last row of a number wins. So a batch waits for every
// earlier one that names a number of its own. A batch that an interruption loses is taken in later, and has no number in
// common with those that were quicker.
type lanes []lane

type lane struct {
	batch *intake.Batch
	done  chan struct{} // closed when it is in
}

// await waits until b may be taken in.
func (l *lanes) await(ctx context.Context, b *intake.Batch) error {
	for {
		*l = slices.DeleteFunc(*l, func(other lane) bool {
			select {
			case <-other.done:
				return true
			default:
				return false
			}
		})
		at := slices.IndexFunc(*l, func(other lane) bool { return other.batch.Meets(b) })
		if at < 0 && len(*l) < importLanes {
			return nil
		}
		select {
		case <-(*l)[max(at, 0)].done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enter takes a lane for b until the channel is closed.
func (l *lanes) enter(b *intake.Batch) (done chan struct{}) {
	done = make(chan struct{})
	*l = append(*l, lane{batch: b, done: done})
	return done
}

// FailImport records that an import cannot be finished.
func (a *Imports) FailImport(ctx context.Context, in outbox.Import) error {
	return a.Store.FailImport(ctx, in.ImportID, "the rows could not be taken in", a.Now())
}
