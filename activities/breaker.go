package activities

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
)

type breakerStore interface {
	Breaker(ctx context.Context, runID int64) (ledger.Breaker, error)
	NewestOutcomes(ctx context.Context, runID int64, b ledger.Breaker) (o ledger.Outcomes, ok bool, err error)
	Canary(ctx context.Context, runID int64, b ledger.Breaker, acceptedAfter, now time.Time) (ledger.Canary, error)
	PassCanary(ctx context.Context, runID int64, now time.Time) error
	PauseForFault(ctx context.Context, campaignID int64, scope message.Scope, reason string, now time.Time) error
}

// brake pauses a campaign of whose newest outcomes too many are failures, while something is left to be sent, or may be
// added. It returns what it went by, and the plan to follow instead when it did.
func (a *Dispatch) brake(ctx context.Context, run ledger.Run, now time.Time) (ledger.Breaker, Plan, error) {
	b, err := a.Store.Breaker(ctx, run.ID)
	if err != nil {
		return b, Plan{}, err
	}
	outcomes, ok, err := a.Store.NewestOutcomes(ctx, run.ID, b)
	if err != nil || !ok || !b.Trips(outcomes) {
		return b, Plan{}, err
	}
	states, err := a.Store.RunStates(ctx, run.ID)
	if err != nil || states[message.Pending] == 0 && !run.Open() {
		return b, Plan{}, err
	}
	plan, err := a.stop(ctx, run, outcomes.Describe(fmt.Sprintf("the last %d", outcomes.Decided), b.Threshold, a.ErrorMeaning), now)
	return b, plan, err
}

// canary keeps a run to its first part until that has fared well. It returns how many more recipients may be dispatched, or
// the plan to follow instead.
func (a *Dispatch) canary(ctx context.Context, run ledger.Run, b ledger.Breaker, now time.Time) (room int, plan Plan, err error) {
	if !b.CanaryPending() {
		return maxBatch, Plan{}, nil
	}
	c, err := a.Store.Canary(ctx, run.ID, b, now.Add(-a.ReceiptDeadline-a.StuckAfter), now)
	if err != nil {
		return 0, Plan{}, err
	}
	if room := b.CanarySize(c.Sendable) - c.Dispatched; room > 0 {
		return room, Plan{}, nil
	}
	if c.Waiting > 0 {
		// Most receipts come within seconds; what waits for its hours, or for an overdue receipt, is looked at more rarely.
		until := now.Add(min(max(now.Sub(c.LastMoved)/2, time.Second), maxWatch))
		if c.FirstDue.After(until) {
			until = c.FirstDue
		}
		return 0, Plan{Action: Wait, Until: a.noLaterThanStuck(until, now), Reason: "canary"}, nil
	}
	if b.CanaryFails(c.Outcomes) {
		which := strconv.Itoa(c.Outcomes.Decided)
		plan, err := a.stop(ctx, run, ledger.CanaryReason+c.Outcomes.Describe(which, b.CanaryTolerates(), a.ErrorMeaning), now)
		return 0, plan, err
	}
	a.Log.InfoContext(ctx, "canary passed", "campaign_id", run.CampaignID, "run_id", run.ID, "decided", c.Outcomes.Decided, "failed", c.Outcomes.Failed)
	return maxBatch, Plan{}, a.Store.PassCanary(ctx, run.ID, now)
}

// stop pauses the campaign and looks at it again soon.
func (a *Dispatch) stop(ctx context.Context, run ledger.Run, reason string, now time.Time) (Plan, error) {
	a.Log.WarnContext(ctx, "campaign paused by the engine", "campaign_id", run.CampaignID, "run_id", run.ID, "reason", reason)
	err := a.Store.PauseForFault(ctx, run.CampaignID, message.ScopeCampaign, reason, now)
	return Plan{Action: Wait, Until: now.Add(time.Second), Reason: message.ReasonPaused}, err
}
