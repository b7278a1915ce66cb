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
	}
	sum := report.Summarise(c, tallies, now)

	places, err := s.q(ctx).RunPlaces(ctx, dbsqlc.RunPlacesParams{RunID: c.Run.ID, AtMost: report.MaxPlaces})
	if err != nil {
		return report.Summary{}, translate(err, "places of the run")
	}
	for _, p := range places {
		sum.Places = append(sum.Places, report.Place{
			Region: p.Region, City: p.City, Count: int(p.Messages), Delivered: int(p.Delivered),
			Percentage: report.Percent(int(p.Messages), sum.States.Total()),
		})
	}
	waits, err := s.q(ctx).RunWaits(ctx, c.Run.ID)
	if err != nil {
		return report.Summary{}, translate(err, "waits of the run")
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
	if sum.Began != nil {
		until := now
		if sum.Ended != nil {
			until = *sum.Ended
		}
		optOuts, err := s.q(ctx).RunOptOuts(ctx, dbsqlc.RunOptOutsParams{RunID: c.Run.ID, Since: *sum.Began, Until: until})
		if err != nil {
			return report.Summary{}, translate(err, "opt-outs during the run")
		}
		sum.OptOuts = int(optOuts)
	}
	return sum, nil
}
