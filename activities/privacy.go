package activities

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/privacy"
)

// Archive is what the provider keeps of messages.
type Archive interface {
	// List reads the messages between two numbers (E.164) since a moment.
	List(ctx context.Context, channel message.Channel, from, to string, since time.Time) ([]message.Remote, error)
	// Delete removes a message. One that the provider does not know is a fault of kind NotFound; one that it is not done
	// with, and will let go later, of kind Conflict.
	Delete(ctx context.Context, sid string) error
}

type privacyStore interface {
	Erasure(ctx context.Context, id uuid.UUID) (privacy.Erasure, error)
	OurAddresses(ctx context.Context) ([]privacy.Address, error)
	AddCopies(ctx context.Context, id uuid.UUID, sids []string) error
	// CopiesLeft lists messages that are still to be removed, with SIDs above after, in order.
	CopiesLeft(ctx context.Context, id uuid.UUID, after string, atMost int) ([]string, error)
	CopyRemoved(ctx context.Context, id uuid.UUID, sid string, now time.Time) error
	ForgetNumber(ctx context.Context, id uuid.UUID) error
	CompleteErasure(ctx context.Context, id uuid.UUID, now time.Time) (bool, error)
	// Retire empties up to atMost rows from before a moment, the oldest first, and reports whether there may be more.
	Retire(ctx context.Context, what privacy.Kept, before time.Time, atMost int) (emptied int, more bool, err error)
}

// Privacy removes what is not to be kept: the provider's copies of an erased person's messages, and what has come of age.
type Privacy struct {
	Store    privacyStore
	Provider Archive
	Now      func() time.Time
	Log      *slog.Logger
	// Settled is how long after an erasure the provider's list may still come to show a message from before it.
	Settled   time.Duration
	Retention privacy.Retention
}

// ErasureStep is what one pass of an erasure came to.
type ErasureStep struct {
	Done bool      `json:"done,omitempty"`
	At   time.Time `json:"at,omitzero"` // when to come back; with Done false
}

const (
	copiesAtOnce = 200 // messages of one query
	// firstReturn is how long after a pass that left something the next one comes; it doubles up to lastReturn. The
	// provider does not let go of a message that it is not done with, which may take days.
	firstReturn = 5 * time.Second
	lastReturn  = 6 * time.Hour
	// inFlight is how long after an erasure a request that was under way may still make a message, by the provider's clock.
	inFlight    = 15 * time.Second
	retireBatch = 5000 // rows of one transaction
)

// EraseCopies removes the provider's copies of an erased person's messages, as far as it lets go of them, and tells when to
// come back for the rest.
func (a *Privacy) EraseCopies(ctx context.Context, in outbox.Erasure) (ErasureStep, error) {
	e, err := a.Store.Erasure(ctx, in.ErasureID)
	if err != nil {
		return ErasureStep{}, terminal(err)
	}
	if e.CompletedAt != nil {
		return ErasureStep{Done: true}, nil
	}
	if e.Phone != "" {
		if err := a.findCopies(ctx, e); err != nil {
			return ErasureStep{}, err
		}
	}
	left, err := a.removeCopies(ctx, e.ID)
	if err != nil {
		return ErasureStep{}, err
	}
	done, err := a.Store.CompleteErasure(ctx, e.ID, a.Now())
	if err != nil || done {
		return ErasureStep{Done: done}, err
	}
	now := a.Now()
	age := now.Sub(e.RequestedAt)
	next := now.Add(jitter(min(max(age, firstReturn), lastReturn)))
	if settled := e.RequestedAt.Add(a.Settled); now.Before(settled) && (left == 0 || settled.Before(next)) {
		next = settled
	}
	a.Log.InfoContext(ctx, "the provider still has messages of an erased person, or may have", "erasure", e.ID, "left", left, "next", next)
	return ErasureStep{At: next}, nil
}

// findCopies notes the messages between the person and us that the provider's list shows, whether we know of them or not.
// Once the list has settled the number is given up. What the person writes after their erasure is not of it.
func (a *Privacy) findCopies(ctx context.Context, e privacy.Erasure) error {
	addresses, err := a.Store.OurAddresses(ctx)
	if err != nil {
		return err
	}
	settled := !a.Now().Before(e.RequestedAt.Add(a.Settled))
	var sids []string
	for _, ours := range addresses {
		for _, way := range [][2]string{{ours.E164, e.Phone.String()}, {e.Phone.String(), ours.E164}} {
			list, err := a.Provider.List(ctx, ours.Channel, way[0], way[1], time.Time{})
			if err != nil {
				return err
			}
			for _, m := range list {
				if !m.CreatedAt.After(e.RequestedAt.Add(inFlight)) {
					sids = append(sids, m.SID)
				}
			}
			activity.RecordHeartbeat(ctx)
		}
	}
	slices.Sort(sids)
	if err := a.Store.AddCopies(ctx, e.ID, slices.Compact(sids)); err != nil || !settled {
		return err
	}
	return a.Store.ForgetNumber(ctx, e.ID)
}

// removeCopies has the provider remove the messages that are left and counts those that it holds back.
func (a *Privacy) removeCopies(ctx context.Context, id uuid.UUID) (held int, err error) {
	for after := ""; ; {
		sids, err := a.Store.CopiesLeft(ctx, id, after, copiesAtOnce)
		if err != nil || len(sids) == 0 {
			return held, err
		}
		for _, sid := range sids {
			after = sid
			err := a.Provider.Delete(ctx, sid)
			switch {
			case err == nil, isNotFound(err):
				if err := a.Store.CopyRemoved(ctx, id, sid, a.Now()); err != nil {
					return held, err
				}
			case fault.Is(err, fault.Conflict):
				held++
			default:
				return held, err
			}
			activity.RecordHeartbeat(ctx)
		}
	}
}

// Retire empties what has been kept for long enough, batch by batch.
func (a *Privacy) Retire(ctx context.Context) error {
	now := a.Now()
	for _, what := range slices.Sorted(maps.Keys(a.Retention)) {
		period := a.Retention[what]
		if period == 0 {
			continue
		}
		total := 0
		for more := true; more; {
			var n int
			var err error
			if n, more, err = a.Store.Retire(ctx, what, now.Add(-period), retireBatch); err != nil {
				return err
			}
			total += n
			activity.RecordHeartbeat(ctx)
		}
		if total > 0 {
			a.Log.InfoContext(ctx, "kept for long enough: emptied", "what", what, "rows", total)
		}
	}
	return nil
}
