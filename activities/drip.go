package activities

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/outbox"
)

type dripStore interface {
	// TakeStep does what is due for an enrolment, once, and tells what comes next.
	TakeStep(ctx context.Context, enrolmentID int64, now time.Time) (ledger.Move, error)
}

// Drip takes people through the steps of a campaign.
type Drip struct {
	Store dripStore
	Now   func() time.Time
}

// TakeStep looks at an enrolment and does what is due. It answers Step until it has ended: then Done, and why.
func (a *Drip) TakeStep(ctx context.Context, in outbox.Enrolment) (Next, error) {
	move, err := a.Store.TakeStep(ctx, in.EnrolmentID, a.Now())
	switch {
	case isNotFound(err):
		return Next{Do: Done, Reason: "gone"}, nil
	case err != nil:
		return Next{}, err
	case move.State == ledger.Exited && move.Reason != "":
		return Next{Do: Done, Reason: move.Reason}, nil
	case move.State != ledger.Enrolled:
		return Next{Do: Done, Reason: string(move.State)}, nil
	default:
		return Next{Do: Step, At: move.Until, Reason: move.Reason}, nil
	}
}
