package db

import (
	"context"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// recur arms a locked campaign that recurs: from now on it awaits its occurrences.
func (s *Store) recur(ctx context.Context, c dbsqlc.CampaignLockRow, by string, now time.Time) error {
	id := int64(c.ID)
	if err := s.setStatus(ctx, id, campaign.Scheduled, "", now); err != nil {
		return err
	}
	detail := map[string]any{"cron": c.RecurrenceCron, "timezone": c.RecurrenceTimezone}
	if err := s.audit(ctx, by, "campaign.recur", fmt.Sprintf("campaign/%d", id), detail, now); err != nil {
		return err
	}
	return s.enqueue(ctx, outbox.SyncRecurrence, outbox.Recurrence{CampaignID: id}, now)
}

// StartOccurrence opens the run of a recurring campaign's occurrence at that moment, once: asked for again, it returns the
// same run. It opens none, and says why, when the campaign does not recur like that any more, is not there or is over,
// when it is paused, while the run before is under way, and when clocks were put back and the time was sent at before.
func (s *Store) StartOccurrence(ctx context.Context, campaignID int64, r campaign.Recurrence, at, now time.Time) (run campaign.Run, skipped string, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		c, err := s.q(ctx).CampaignLock(ctx, int32(campaignID))
		if isNoRows(err) {
			skipped = "the campaign does not exist"
			return nil
		} else if err != nil {
			return translate(err, "campaign")
		}
		opened, err := s.q(ctx).RunOfOccurrence(ctx, dbsqlc.RunOfOccurrenceParams{CampaignID: c.ID, OccurrenceAt: at})
		if err == nil {
			run = toRun(opened)
			return nil
		} else if !isNoRows(err) {
			return translate(err, "run of the occurrence")
		}
		recurrence := campaign.Recurrence{Cron: c.RecurrenceCron, Timezone: c.RecurrenceTimezone}
		if skipped = recurrence.Skips(r, campaign.Status(c.Status), at); skipped == "" {
			_, err := s.q(ctx).RunActive(ctx, c.ID)
			if err == nil {
				skipped = campaign.SkippedUnderWay
			} else if !isNoRows(err) {
				return translate(err, "active run")
			}
		}
		if skipped != "" {
			detail := map[string]any{"occurrence_at": at.UTC().Format(time.RFC3339), "reason": skipped}
			return s.audit(ctx, "engine", "campaign.skip", fmt.Sprintf("campaign/%d", campaignID), detail, now)
		}
		run, err = s.openRun(ctx, c, campaign.Run{
			Kind: campaign.ByRecurrence, NotBefore: &at, OccurrenceAt: &at, StartedBy: "schedule", StartedAt: now,
		}, campaign.Running)
		return err
	})
	return run, skipped, err
}

// Schedule tells what Temporal is to know of a campaign. Of one that does not exist that is nothing.
func (s *Store) Schedule(ctx context.Context, campaignID int64) (campaign.Schedule, error) {
	c, err := s.q(ctx).CampaignGet(ctx, int32(campaignID))
	if isNoRows(err) {
		return campaign.Schedule{Gone: true}, nil
	} else if err != nil {
		return campaign.Schedule{}, translate(err, "campaign")
	}
	return toCampaign(c.Campaign).Schedule(), nil
}

// RecurringCampaigns lists the campaigns whose schedules ought to be in Temporal.
func (s *Store) RecurringCampaigns(ctx context.Context) ([]int64, error) {
	ids, err := s.q(ctx).CampaignsRecurring(ctx)
	if err != nil {
		return nil, translate(err, "recurring campaigns")
	}
	found := make([]int64, len(ids))
	for i, id := range ids {
		found[i] = int64(id)
	}
	return found, nil
}
