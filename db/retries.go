package db

import (
	"context"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// RetryRun opens a new run of a campaign that is over, to the people of its runs whom the retry selects, and leaves its
// start to the outbox, all at once. The run's AudienceSize is how many they are now; the freeze, which comes soon after,
// selects them again and checks their consent. A campaign that cannot be retried now, or a retry that selects nobody,
// gives a Conflict.
func (s *Store) RetryRun(ctx context.Context, campaignID int64, retry campaign.Retry, by string, now time.Time) (run campaign.Run, err error) {
	if err := retry.Check(); err != nil {
		return run, err
	}
	err = s.InTx(ctx, func(ctx context.Context) error {
		c, err := s.q(ctx).CampaignLock(ctx, int32(campaignID))
		if err != nil {
			return translate(err, fmt.Sprintf("campaign %d", campaignID))
		}
		if campaign.Trigger(c.Trigger).PerPerson() {
			return fault.New(fault.Conflict, "a triggered campaign is not retried: what its events said is theirs alone; send the event again, under a new id")
		}
		status, err := campaign.Status(c.Status).Retry()
		if err != nil {
			return err
		}
		active, err := s.q(ctx).RunActive(ctx, int32(campaignID))
		if err == nil {
			return fault.New(fault.Conflict, "run %d is not over yet: what became of its last messages is being found out; try again in a moment", active.Number)
		} else if !isNoRows(err) {
			return translate(err, "active run")
		}
		states, codes := retryColumns(retry)
		n, err := s.q(ctx).RetryCount(ctx, dbsqlc.RetryCountParams{CampaignID: int32(campaignID), States: states, ErrorCodes: codes})
		if err != nil {
			return translate(err, "people to retry")
		}
		if n == 0 {
			return fault.New(fault.Conflict, "nobody's newest message of this campaign is in these states with these error codes: there is nothing to retry")
		}
		row, err := s.q(ctx).RunInsert(ctx, dbsqlc.RunInsertParams{
			CampaignID: c.ID, Kind: string(campaign.ByRetry), TemplateID: c.TemplateID, TemplateVersion: c.TemplateVersion, Channel: c.Channel,
			RetryStates: states, RetryErrorCodes: codes, StartedBy: by, Now: now,
		})
		if isNoRows(err) {
			return fault.New(fault.Conflict, "no sender is configured for channel %s", c.Channel)
		} else if err != nil {
			return translate(err, "run")
		}
		if err := s.setStatus(ctx, campaignID, status, "", now); err != nil {
			return err
		}
		run = campaign.Run{
			ID: row.ID, CampaignID: campaignID, Number: int(row.Number), Kind: campaign.ByRetry, Retry: retry, TemplateID: int64(c.TemplateID),
			TemplateVersion: int(c.TemplateVersion), AudienceSize: int(n), StartedBy: by, StartedAt: now,
		}
		detail := map[string]any{"run": run.Number, "states": states, "error_codes": codes}
		if err := s.audit(ctx, by, "campaign.retry", fmt.Sprintf("campaign/%d", campaignID), detail, now); err != nil {
			return err
		}
		return s.enqueue(ctx, outbox.StartCampaign, outbox.Run{RunID: run.ID, CampaignID: campaignID, Number: run.Number}, now)
	})
	return run, err
}

// retryColumns is a selection as a run's columns hold it.
func retryColumns(r campaign.Retry) (states []string, codes []int32) {
	for _, state := range r.States {
		states = append(states, string(state))
	}
	codes = []int32{}
	for _, code := range r.ErrorCodes {
		codes = append(codes, int32(code))
	}
	return states, codes
}

// retriedPeople is the condition on u that selects whom a run that is a retry sends to. It takes the campaign, the run, the
// states and the codes, from $5 on.
const retriedPeople = `u.id IN (
    SELECT n.user_id FROM (
        SELECT DISTINCT ON (m.user_id) m.user_id, m.state, m.error_code
        FROM messages m JOIN campaign_runs r ON r.id = m.run_id
        WHERE r.campaign_id = $5 AND r.id <> $1 AND r.kind <> 'test' AND m.user_id IS NOT NULL
        ORDER BY m.user_id, r.number DESC, m.id DESC) n
    WHERE n.state = ANY($6::text[]) AND (cardinality($7::integer[]) = 0 OR n.error_code = ANY($7)))`

func toRun(r dbsqlc.CampaignRun) campaign.Run {
	run := campaign.Run{
		ID: r.ID, CampaignID: int64(r.CampaignID), Number: int(r.Number), Kind: campaign.Kind(r.Kind), TemplateID: int64(r.TemplateID),
		TemplateVersion: int(r.TemplateVersion), NotBefore: r.NotBefore, FrozenAt: r.FrozenAt, AudienceSize: int(r.AudienceSize),
		StartedBy: r.StartedBy, StartedAt: r.StartedAt, OccurrenceAt: r.OccurrenceAt, ClosedAt: r.ClosedAt, FinishedAt: r.FinishedAt, SettledAt: r.SettledAt,
		AwaitsTemplate: r.AwaitsTemplate,
	}
	for _, state := range r.RetryStates {
		run.Retry.States = append(run.Retry.States, message.State(state))
	}
	for _, code := range r.RetryErrorCodes {
		run.Retry.ErrorCodes = append(run.Retry.ErrorCodes, int(code))
	}
	return run
}
