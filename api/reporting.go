package api

import (
	"context"
	"net/url"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
)

type reportStore interface {
	messageStore
	// CampaignSummary counts the run of that number; 0 stands for the newest.
	CampaignSummary(ctx context.Context, campaignID int64, run int, now time.Time) (report.Summary, error)
}

func (s *server) GetCampaignSummary(ctx context.Context, r openapi.GetCampaignSummaryRequestObject) (openapi.GetCampaignSummaryResponseObject, error) {
	sum, err := s.Store.CampaignSummary(ctx, r.ID, value(r.Params.Run), s.Now())
	if err != nil {
		return nil, err
	}
	count := func(states ...message.State) (n int64) {
		for _, state := range states {
			n += int64(sum.States[state])
		}
		return n
	}
	out := openapi.GetCampaignSummary200JSONResponse{
		CampaignID:                 sum.Campaign.ID,
		Topic:                      sum.Campaign.Topic,
		Status:                     openapi.CampaignStatus(sum.Campaign.Status),
		TotalRecipients:            int64(sum.States.Total()),
		MessagesPending:            count(message.Pending),
		MessagesQueued:             count(message.Sending, message.Accepted),
		MessagesSent:               int64(sum.States.Sent()),
		MessagesDelivered:          int64(sum.States.Delivered()),
		MessagesRead:               count(message.Read),
		MessagesFailed:             count(message.Failed),
		MessagesUndelivered:        count(message.Undelivered),
		MessagesSuppressed:         count(message.Suppressed),
		MessagesCancelled:          count(message.Cancelled),
		MessagesUnknown:            count(message.Unknown),
		DeliveryRatePercent:        sum.DeliveryRate,
		ReadRatePercent:            sum.ReadRate,
		SuccessRatePercent:         sum.SuccessRate,
		FailureRatePercent:         sum.FailureRate,
		MessagesPerMinute:          sum.PerMinute,
		DurationSeconds:            seconds(sum.Duration),
		OptOutsDuringCampaign:      int64(sum.OptOuts),
		QuietHoursWaiting:          int64(sum.QuietHoursWaiting),
		QuietHoursDeferred:         int64(sum.QuietHoursDeferred),
		LegalWindowWaiting:         int64(sum.LegalWaiting),
		LegalWindowDeferred:        int64(sum.LegalDeferred),
		RateLimitWaits:             int64(sum.RateLimitWaits),
		TemplateErrors:             int64(sum.TemplateErrors),
		AverageDeliveryTimeSeconds: seconds(sum.AverageDelivery),
		TopErrorCodes: each(sum.Errors, func(e report.CodeCount) openapi.ErrorCodeCount {
			return openapi.ErrorCodeCount{ErrorCode: e.Code, ErrorMessage: s.ErrorMeaning(e.Code), Count: int64(e.Count), Percentage: e.Percentage}
		}),
		SuppressedReasons: each(sum.Suppressed, func(r report.ReasonCount) openapi.ReasonCount {
			return openapi.ReasonCount{Reason: r.Reason, Count: int64(r.Count)}
		}),
		States: stateCounts(sum.States),
		GeographicDistribution: each(sum.Places, func(p report.Place) openapi.PlaceCount {
			return openapi.PlaceCount{Region: none(p.Region), City: none(p.City), Count: int64(p.Count), Delivered: int64(p.Delivered), Percentage: p.Percentage}
		}),
		CampaignStartedAt:   sum.Began,
		CampaignCompletedAt: sum.Ended,
		LastUpdated:         sum.At,
	}
	if run := sum.Campaign.Run; run != nil {
		out.RunNumber = &run.Number
		out.TemporalURL = s.workflowURL(campaign.WorkflowID(run.CampaignID, run.Number))
	}
	return out, nil
}

// workflowURL is a workflow's page in the Temporal Web UI; nil when it is not known where that is.
func (s *server) workflowURL(id string) *string {
	if s.TemporalUIURL == "" {
		return nil
	}
	return ptr(s.TemporalUIURL + "/namespaces/" + url.PathEscape(s.Namespace) + "/workflows/" + url.PathEscape(id))
}

func seconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	return ptr(d.Seconds())
}
