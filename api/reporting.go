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
	// CampaignHistory tells when the run's messages were accepted, delivered, read and failed.
	CampaignHistory(ctx context.Context, campaignID int64, run int, now time.Time) (report.History, error)
	// CampaignReplies lists up to limit of what people wrote after the run sent to them, with ids below before, newest first, and
	// counts all.
	CampaignReplies(ctx context.Context, campaignID int64, run int, before *int64, limit int, now time.Time) ([]report.Inbound, int, error)
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
		TopErrorCodes:              each(sum.Errors, s.errorCode),
		Waiting: each(sum.Waiting, func(w report.Waiting) openapi.WaitingCount {
			return openapi.WaitingCount{Reason: none(w.Reason), Count: int64(w.Count), Until: w.Until}
		}),
		Replies: openapi.ReplyCounts{People: int64(sum.Replies.People), Messages: int64(sum.Replies.Messages), Stops: int64(sum.Replies.Stops)},
		Regions: each(sum.Regions, func(p report.Place) openapi.PlaceCount {
			return openapi.PlaceCount{Region: none(p.Region), Count: int64(p.Count), Delivered: int64(p.Delivered), Percentage: p.Percentage}
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

func (s *server) errorCode(e report.CodeCount) openapi.ErrorCodeCount {
	return openapi.ErrorCodeCount{
		ErrorCode: e.Code, ErrorMessage: s.ErrorMeaning(e.Code), Advice: s.ErrorAdvice(e.Code), Count: int64(e.Count), Percentage: e.Percentage,
	}
}

func (s *server) GetCampaignHistory(ctx context.Context, r openapi.GetCampaignHistoryRequestObject) (openapi.GetCampaignHistoryResponseObject, error) {
	h, err := s.Store.CampaignHistory(ctx, r.ID, value(r.Params.Run), s.Now())
	return openapi.GetCampaignHistory200JSONResponse(toHistory(h)), err
}

func toHistory(h report.History) openapi.History {
	return openapi.History{
		Since: moment(h.Since), StepSeconds: h.Step.Seconds(), Steps: each(h.Steps, func(step report.HistoryStep) openapi.HistoryStep {
			return openapi.HistoryStep{
				At: step.At, Accepted: int64(step.Accepted), Delivered: int64(step.Delivered), Read: int64(step.Read), Failed: int64(step.Failed),
				Inbound: int64(step.Inbound),
			}
		}),
	}
}

func (s *server) ListCampaignReplies(ctx context.Context, r openapi.ListCampaignRepliesRequestObject) (openapi.ListCampaignRepliesResponseObject, error) {
	run := value(r.Params.Run)
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "replies", r.ID, run)
	if err != nil {
		return nil, err
	}
	before, err := p.afterID()
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.CampaignReplies(ctx, r.ID, run, before, p.fetch(), s.Now())
	if err != nil {
		return nil, err
	}
	rows, next := cut(p, rows, func(m report.Inbound) int64 { return m.ID })
	return openapi.ListCampaignReplies200JSONResponse{Replies: each(rows, toInboundEvent), NextCursor: next, Total: int64(total)}, nil
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
