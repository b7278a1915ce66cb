package db

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// Enlist adds messages to a run that is open, each for one person, and has their workflows started, at the campaign's
// rate. Whoever may not be sent to at all is suppressed there and then. It answers in the order of the list; asked for
// again, a message is as it stands. A run that takes no messages gives a Conflict.
//
// It takes part in the caller's transaction, which commits the messages together with what they are about. It holds the
// people, then the run, until that ends: a caller who enlists in several runs does so in the order of their ids, and locks
// the people of all of them before (LockPeople).
func (s *Store) Enlist(ctx context.Context, runID int64, list []ledger.Enlistment, now time.Time) ([]ledger.Enlisted, error) {
	p := dbsqlc.MessagesEnlistParams{
		RunID: runID, NoConsent: string(compliance.NoConsent), OptedOut: string(compliance.OptedOut), Stopped: string(compliance.Stopped),
		NotSubscribed: string(compliance.NotSubscribed), RateLimit: message.ReasonRateLimit, StartAt: now, Now: now,
	}
	for _, e := range list {
		variables := json.RawMessage(`{}`)
		if len(e.Variables) > 0 {
			var err error
			if variables, err = json.Marshal(e.Variables); err != nil {
				return nil, fmt.Errorf("variables: %w", err)
			}
		}
		p.UserIds, p.DedupeKeys, p.Variables = append(p.UserIds, e.UserID), append(p.DedupeKeys, e.DedupeKey), append(p.Variables, variables)
		p.Replies = append(p.Replies, e.Reply)
	}
	enlisted := make([]ledger.Enlisted, len(list))
	err := s.InTx(ctx, func(ctx context.Context) error {
		if err := s.LockPeople(ctx, p.UserIds); err != nil {
			return err
		}
		r, err := s.q(ctx).EnlistRun(ctx, runID)
		if err != nil {
			return translate(err, fmt.Sprintf("run %d", runID))
		}
		run := campaign.Run{Kind: campaign.Kind(r.Kind), ClosedAt: r.ClosedAt, FinishedAt: r.FinishedAt}
		if status := campaign.Status(r.Status); !status.Active() || !run.Open() {
			return fault.New(fault.Conflict, "run %d of campaign %d takes no messages", r.Number, r.CampaignID)
		}
		p.CampaignID, p.RunNumber, p.LastSeq, p.Channel, p.TopicID = r.CampaignID, r.Number, r.AudienceSize, r.Channel, r.SubscriptionTopicID
		p.SpacingSeconds = 1 / float64(r.RateLimitPerSecond)
		if r.NextStartAt != nil && r.NextStartAt.After(now) {
			p.StartAt = *r.NextStartAt
		}
		rows, err := s.q(ctx).MessagesEnlist(ctx, p)
		if err != nil {
			return translate(err, "enlisted messages")
		}
		for _, row := range rows {
			enlisted[row.Place-1] = ledger.Enlisted{
				MessageID: row.ID, Seq: int(row.Seq), State: message.State(row.State), Reason: row.Reason, Repeated: row.Repeated,
			}
		}
		return nil
	})
	return enlisted, err
}

// LockPeople holds off changes of these people's consent, and their erasure, until the caller's transaction ends.
func (s *Store) LockPeople(ctx context.Context, userIDs []int64) error {
	_, err := s.q(ctx).EnlistPeople(ctx, userIDs)
	return translate(err, "people")
}

// CloseRun ends a triggered campaign in good order: its run takes no more messages and is over, and the campaign
// COMPLETED, once what it took is sent. Asked for again it changes nothing. A campaign that ends by itself, or is over,
// gives a Conflict.
func (s *Store) CloseRun(ctx context.Context, campaignID int64, by string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		c, err := s.q(ctx).CampaignLock(ctx, int32(campaignID))
		if err != nil {
			return translate(err, fmt.Sprintf("campaign %d", campaignID))
		}
		return s.closeRun(ctx, c, by, now)
	})
}

func (s *Store) closeRun(ctx context.Context, c dbsqlc.CampaignLockRow, by string, now time.Time) error {
	if c.ReplySenderID != nil {
		return campaign.IsBuiltIn()
	}
	if !campaign.Trigger(c.Trigger).PerPerson() {
		return fault.New(fault.Conflict, "the campaign is completed by itself once its audience is sent to; cancel it to end it before")
	}
	if !campaign.Status(c.Status).Active() {
		return fault.New(fault.Conflict, "a campaign that is %s cannot be completed", c.Status)
	}
	run, err := s.q(ctx).RunActive(ctx, c.ID)
	if err != nil {
		return translate(err, "active run")
	}
	closed, err := s.q(ctx).EventRunClose(ctx, dbsqlc.EventRunCloseParams{ID: run.ID, Now: &now})
	if err != nil || closed == 0 {
		return translate(err, "event run")
	}
	if err := s.audit(ctx, by, "campaign.complete", fmt.Sprintf("campaign/%d", c.ID), nil, now); err != nil {
		return err
	}
	return s.enqueue(ctx, outbox.WakeCampaign, outbox.Run{RunID: run.ID, CampaignID: int64(c.ID), Number: int(run.Number)}, now)
}
