package db

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
)

// blame is a fault that must stop campaigns: its own, its sender's, or all.
type blame struct {
	scope    message.Scope
	runID    int64
	senderID int32
	met      time.Time // when the attempt that met it began
	reason   string
}

// concerns reports whether a running campaign is to be stopped. One that was resumed since is not: its operator knew.
func (b blame) concerns(c dbsqlc.CampaignsAtFaultLockRow) bool {
	if c.BreakerSince != nil && b.met.Before(*c.BreakerSince) {
		return false
	}
	switch b.scope {
	case message.ScopeAccount:
		return true
	case message.ScopeSender:
		return c.SenderID == b.senderID
	default:
		return c.RunID == b.runID
	}
}

// PauseForFault pauses the campaign on the engine's own account, and with it every running campaign in the fault's scope
// (one without scope is the campaign's alone). Campaigns that are not running are left alone; a scheduled one meets the
// fault, should it last, with its first message. It waits for no request under way.
func (s *Store) PauseForFault(ctx context.Context, campaignID int64, scope message.Scope, reason string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		run, err := s.q(ctx).RunAtFault(ctx, int32(campaignID))
		if isNoRows(err) {
			return nil
		} else if err != nil {
			return translate(err, "run at fault")
		}
		blames := []blame{{scope: scope, runID: run.ID, senderID: run.SenderID, met: now, reason: reason}}
		locked, err := s.lockAtFault(ctx, blames)
		if err != nil {
			return err
		}
		return s.pauseAtFault(ctx, locked, blames, now)
	})
}

// blamesOf tells which of reports[i] for each i in apply name a fault that may concern campaigns, by i.
func (s *Store) blamesOf(ctx context.Context, reports []message.Report, owner []uuid.UUID, apply []int) (map[int]blame, error) {
	blames := map[int]blame{}
	var attempts []uuid.UUID
	for _, i := range apply {
		if p := reports[i].Policy; p.Class == message.Stop {
			blames[i] = blame{scope: p.Scope, reason: fmt.Sprintf("provider error %d: %s", reports[i].Code, p.Meaning)}
			attempts = append(attempts, owner[i])
		}
	}
	if len(attempts) == 0 {
		return nil, nil
	}
	rows, err := s.q(ctx).AttemptsAtFault(ctx, attempts)
	if err != nil {
		return nil, translate(err, "attempts at fault")
	}
	for i, b := range blames {
		for _, r := range rows {
			if r.ID == owner[i] {
				b.runID, b.senderID, b.met = r.RunID, r.SenderID, r.StartedAt
				blames[i] = b
			}
		}
	}
	return blames, nil
}

// lockAtFault locks the running campaigns that blames may concern: all gates, then all rows, each in the order of their
// ids, so that neither two faults nor a fault and an operator wait for each other. One that starts meanwhile will meet the
// fault itself.
func (s *Store) lockAtFault(ctx context.Context, blames []blame) ([]dbsqlc.CampaignsAtFaultLockRow, error) {
	if len(blames) == 0 {
		return nil, nil
	}
	var p dbsqlc.CampaignsAtFaultParams
	for _, b := range blames {
		switch b.scope {
		case message.ScopeAccount:
			p.Account = true
		case message.ScopeSender:
			p.SenderIds = append(p.SenderIds, b.senderID)
		default:
			p.RunIds = append(p.RunIds, b.runID)
		}
	}
	ids, err := s.q(ctx).CampaignsAtFault(ctx, p)
	if err != nil {
		return nil, translate(err, "campaigns at fault")
	}
	if err := s.q(ctx).CampaignGatesClose(ctx, ids); err != nil {
		return nil, translate(err, "gates of campaigns")
	}
	rows, err := s.q(ctx).CampaignsAtFaultLock(ctx, ids)
	return rows, translate(err, "campaigns at fault")
}

// pauseAtFault pauses each of the locked campaigns that one of the blames concerns, with that one's reason.
func (s *Store) pauseAtFault(ctx context.Context, locked []dbsqlc.CampaignsAtFaultLockRow, blames []blame, now time.Time) error {
	for _, c := range locked {
		for _, b := range blames {
			if !b.concerns(c) {
				continue
			}
			_, _, err := s.steer(ctx, int64(c.ID), campaign.Paused, "engine", b.reason, now)
			if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
				return err
			}
			break
		}
	}
	return nil
}

// Breaker returns what failures stop a run.
func (s *Store) Breaker(ctx context.Context, runID int64) (ledger.Breaker, error) {
	r, err := s.q(ctx).RunBreaker(ctx, runID)
	if err != nil {
		return ledger.Breaker{}, translate(err, fmt.Sprintf("run %d", runID))
	}
	b := ledger.Breaker{Threshold: int(r.FailureThresholdPercent), CanaryPercent: int(r.CanaryPercent), CanaryPassedAt: r.CanaryPassedAt}
	if r.BreakerSince != nil {
		b.Since = *r.BreakerSince
	}
	return b, nil
}

// NewestOutcomes counts the run's newest outcomes when they may trip the breaker; ok is false when they certainly do not.
// That costs one look at the newest failures while these are few or long ago.
func (s *Store) NewestOutcomes(ctx context.Context, runID int64, b ledger.Breaker) (o ledger.Outcomes, ok bool, err error) {
	if b.Threshold == 0 {
		return o, false, nil
	}
	fatal := b.Tolerated(ledger.BreakerWindow) + 1 // so many within a full window trip the breaker
	failures, err := s.q(ctx).RunFailures(ctx, dbsqlc.RunFailuresParams{
		RunID: runID, Since: &b.Since, OptedOut: message.ReasonOptedOut, AtMost: int32(fatal),
	})
	if err != nil {
		return o, false, translate(err, "newest failures")
	}
	if len(failures) <= b.Tolerated(ledger.BreakerMinimum) {
		return o, false, nil
	}
	since := b.Since // fewer failures than that trip it only while there are few outcomes at all
	if len(failures) == fatal {
		since = failures[fatal-1]
	}
	room := ledger.BreakerWindow - len(failures)
	deliveries, err := s.q(ctx).RunDeliveries(ctx, dbsqlc.RunDeliveriesParams{RunID: runID, Since: since, AtMost: int32(room + 1)})
	if err != nil || int(deliveries) > room {
		return o, false, translate(err, "newest deliveries")
	}
	row, err := s.q(ctx).RunOutcomes(ctx, dbsqlc.RunOutcomesParams{
		RunID: runID, Since: &b.Since, OptedOut: message.ReasonOptedOut, AtMost: ledger.BreakerWindow,
	})
	return ledger.Outcomes{Decided: int(row.Decided), Failed: int(row.Failed), Code: int(row.ErrorCode)}, err == nil, translate(err, "newest outcomes")
}

// Canary tells how far the first part of a run is. A message that was accepted up to the given moment waits for its receipt no
// more. Only once all of the canary is dispatched does it look at how it fares.
func (s *Store) Canary(ctx context.Context, runID int64, b ledger.Breaker, acceptedAfter, now time.Time) (ledger.Canary, error) {
	d, err := s.q(ctx).RunDispatched(ctx, runID)
	if err != nil {
		return ledger.Canary{}, translate(err, "dispatched messages")
	}
	c := ledger.Canary{Sendable: int(d.Sendable), Dispatched: int(d.Dispatched)}
	if c.Dispatched < b.CanarySize(c.Sendable) {
		return c, nil
	}
	r, err := s.q(ctx).RunCanary(ctx, dbsqlc.RunCanaryParams{
		RunID: runID, Since: &b.Since, AcceptedAfter: &acceptedAfter, OptedOut: message.ReasonOptedOut, Now: now,
	})
	if err != nil {
		return ledger.Canary{}, translate(err, "canary")
	}
	c.Waiting, c.LastMoved, c.FirstDue = int(r.Waiting), r.LastMoved, r.FirstDue
	c.Outcomes = ledger.Outcomes{Decided: int(r.Decided), Failed: int(r.Failed), Code: int(r.ErrorCode)}
	return c, nil
}

// PassCanary lets the run go on beyond its canary.
func (s *Store) PassCanary(ctx context.Context, runID int64, now time.Time) error {
	return translate(s.q(ctx).RunCanaryPassed(ctx, dbsqlc.RunCanaryPassedParams{ID: runID, Now: &now}), "canary")
}
