package db

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
)

// CampaignSummary counts the campaign's run of that number; 0 stands for the newest.
func (s *Store) CampaignSummary(ctx context.Context, campaignID int64, run int, now time.Time) (report.Summary, error) {
	sum, err := s.CampaignProgress(ctx, campaignID, run, now)
	if err != nil {
		return report.Summary{}, err
	}
	return sum, s.AddDetails(ctx, &sum)
}

// CampaignProgress is CampaignSummary without what AddDetails adds: it takes one pass over the run's messages.
func (s *Store) CampaignProgress(ctx context.Context, campaignID int64, run int, now time.Time) (report.Summary, error) {
	c, err := s.CampaignRun(ctx, campaignID, run)
	if err != nil || c.Run == nil {
		return report.Summarise(c, nil, now), err
	}
	rows, err := s.q(ctx).RunTally(ctx, c.Run.ID)
	if err != nil {
		return report.Summary{}, translate(err, "messages of the run")
	}
	tallies := make([]report.Tally, len(rows))
	for i, r := range rows {
		tallies[i] = report.Tally{
			State: message.State(r.State), Reason: r.Reason, ErrorCode: int(deref(r.ErrorCode)), Count: int(r.Messages),
			Timed: int(r.Timed), DeliverySecs: r.DeliverySeconds,
		}
		if !r.WaitsUntil.IsZero() {
			tallies[i].WaitsUntil = &r.WaitsUntil
		}
	}
	return report.Summarise(c, tallies, now), nil
}

// AddDetails adds to a summary what takes longer to count: places, past waits, opt-outs and replies.
func (s *Store) AddDetails(ctx context.Context, sum *report.Summary) error {
	run := sum.Campaign.Run
	if run == nil {
		return nil
	}
	places, err := s.q(ctx).RunPlaces(ctx, dbsqlc.RunPlacesParams{RunID: run.ID, AtMost: report.MaxPlaces})
	if err != nil {
		return translate(err, "places of the run")
	}
	for _, p := range places {
		sum.Places = append(sum.Places, report.Place{
			Region: p.Region, City: p.City, Count: int(p.Messages), Delivered: int(p.Delivered),
			Percentage: report.Percent(int(p.Messages), sum.States.Total()),
		})
	}
	regions, err := s.q(ctx).RunRegions(ctx, dbsqlc.RunRegionsParams{RunID: run.ID, AtMost: report.MaxPlaces})
	if err != nil {
		return translate(err, "regions of the run")
	}
	for _, p := range regions {
		sum.Regions = append(sum.Regions, report.Place{
			Region: p.Region, Count: int(p.Messages), Delivered: int(p.Delivered), Percentage: report.Percent(int(p.Messages), sum.States.Total()),
		})
	}
	waits, err := s.q(ctx).RunWaits(ctx, run.ID)
	if err != nil {
		return translate(err, "waits of the run")
	}
	for _, w := range waits {
		switch w.Reason {
		case string(compliance.InQuietHours):
			sum.QuietHoursDeferred = int(w.Messages)
		case string(compliance.LegalWindow):
			sum.LegalDeferred = int(w.Messages)
		case message.ReasonRateLimit:
			sum.RateLimitWaits = int(w.Waits)
		}
	}
	if sum.Replies, err = s.runReplies(ctx, *run, sum.At); err != nil || sum.Began == nil {
		return err
	}
	until := sum.At
	if sum.Ended != nil {
		until = *sum.Ended
	}
	optOuts, err := s.q(ctx).RunOptOuts(ctx, dbsqlc.RunOptOutsParams{RunID: run.ID, Since: *sum.Began, Until: until})
	sum.OptOuts = int(optOuts)
	return translate(err, "opt-outs during the run")
}
