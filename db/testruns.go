package db

import (
	"context"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// StartTest sends what a campaign would send, with the newest version of its template, to a few people who are known, as a
// run of its own: whatever the campaign's status, which it leaves alone, and outside of its reports. It answers in the
// order of the numbers. Compliance holds as for any message; variables go before the people's attributes.
func (s *Store) StartTest(ctx context.Context, campaignID int64, numbers []phone.Number, variables user.Attributes, by string, now time.Time,
) (run campaign.Run, enlisted []ledger.Enlisted, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		c, err := s.q(ctx).CampaignLock(ctx, int32(campaignID))
		if err != nil {
			return translate(err, fmt.Sprintf("campaign %d", campaignID))
		}
		list, err := s.testPeople(ctx, numbers, variables)
		if err != nil {
			return err
		}
		row, err := s.q(ctx).RunInsert(ctx, dbsqlc.RunInsertParams{
			CampaignID: c.ID, Kind: string(campaign.ByTest), TemplateID: c.TemplateID, TemplateVersion: c.TemplateVersion, Channel: c.Channel,
			StartedBy: by, Now: now,
		})
		if isNoRows(err) {
			return fault.New(fault.Conflict, "no sender is configured for channel %s", c.Channel)
		} else if err != nil {
			return translate(err, "run")
		}
		run = campaign.Run{
			ID: row.ID, CampaignID: campaignID, Number: int(row.Number), Kind: campaign.ByTest, TemplateID: int64(c.TemplateID),
			TemplateVersion: int(c.TemplateVersion), FrozenAt: &now, AudienceSize: len(list), StartedBy: by, StartedAt: now,
		}
		if err := s.q(ctx).EventRunOpen(ctx, dbsqlc.EventRunOpenParams{ID: run.ID, Now: &now}); err != nil {
			return translate(err, "test run")
		}
		if enlisted, err = s.Enlist(ctx, run.ID, list, now); err != nil {
			return err
		}
		if err := s.audit(ctx, by, "campaign.test", fmt.Sprintf("campaign/%d", campaignID), map[string]any{"run": run.Number, "people": len(list)}, now); err != nil {
			return err
		}
		return s.enqueue(ctx, outbox.StartCampaign, outbox.Run{RunID: run.ID, CampaignID: campaignID, Number: run.Number}, now)
	})
	return run, enlisted, err
}

// testPeople finds the people of a test, and locks them.
func (s *Store) testPeople(ctx context.Context, numbers []phone.Number, variables user.Attributes) ([]ledger.Enlistment, error) {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = n.String()
	}
	rows, err := s.q(ctx).EventPeople(ctx, texts)
	if err != nil {
		return nil, translate(err, "people")
	}
	ids := make(map[phone.Number]int64, len(rows))
	for _, row := range rows {
		ids[phone.Number(row.PhoneNumber)] = row.ID
	}
	list := make([]ledger.Enlistment, len(numbers))
	var unknown []fault.Field
	for i, n := range numbers {
		list[i] = ledger.Enlistment{UserID: ids[n], Variables: variables}
		if ids[n] == 0 {
			unknown = append(unknown, fault.Field{Name: fmt.Sprintf("phone_numbers[%d]", i), Detail: "is nobody's whom the engine knows: create the user first"})
		}
	}
	return list, fault.Fields(unknown...)
}
