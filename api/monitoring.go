package api

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
)

type monitoringStore interface {
	Consents(ctx context.Context) (report.Consents, error)
	Dashboard(ctx context.Context, now time.Time) (report.Dashboard, error)
	// History tells when messages were accepted, delivered, read and failed since then, and when people wrote.
	History(ctx context.Context, since, now time.Time) (report.History, error)
	// Rates tells how much happens at the moment, and how much waits.
	Rates(ctx context.Context, now time.Time) (report.Rates, error)
	// InboundMessages lists up to limit messages received since then with ids below before, newest first, and counts all.
	InboundMessages(ctx context.Context, since time.Time, before *int64, limit int) ([]report.Inbound, int, error)
}

func (s *server) GetMonitoring(ctx context.Context, _ openapi.GetMonitoringRequestObject) (openapi.GetMonitoringResponseObject, error) {
	users, err := s.Store.Consents(ctx)
	if err != nil {
		return nil, err
	}
	return openapi.GetMonitoring200JSONResponse{
		TotalUsers:    int64(users.Total()),
		ActiveUsers:   int64(users.Total() - users.OptedOut()),
		OptedInUsers:  int64(users[user.OptIn]),
		PendingUsers:  int64(users[user.Pending]),
		OptedOutUsers: int64(users.OptedOut()),
		Timestamp:     s.Now(),
	}, nil
}

const defaultHours = 24

func (s *server) ListInbound(ctx context.Context, r openapi.ListInboundRequestObject) (openapi.ListInboundResponseObject, error) {
	hours := defaultHours
	if r.Params.Hours != nil {
		hours = *r.Params.Hours
	}
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "inbound", hours)
	if err != nil {
		return nil, err
	}
	before, err := p.afterID()
	if err != nil {
		return nil, err
	}
	now := s.Now()
	rows, total, err := s.Store.InboundMessages(ctx, now.Add(-time.Duration(hours)*time.Hour), before, p.fetch())
	if err != nil {
		return nil, err
	}
	rows, next := cut(p, rows, func(m report.Inbound) int64 { return m.ID })
	return openapi.ListInbound200JSONResponse{
		Events:     each(rows, toInboundEvent),
		NextCursor: next, TotalCount: int64(total), TimeRangeHours: hours, GeneratedAt: now,
	}, nil
}

func toInboundEvent(m report.Inbound) openapi.InboundEvent {
	return openapi.InboundEvent{
		EventID: m.ID, MaskedPhone: masked(m.Phone), ChannelType: openapi.Channel(m.Channel),
		MessageClassification: openapi.MessageClassification(m.Kind), Body: m.Body, MediaCount: m.MediaCount, Repeats: m.Repeats, ReceivedAt: m.ReceivedAt,
	}
}

func (s *server) GetHistory(ctx context.Context, r openapi.GetHistoryRequestObject) (openapi.GetHistoryResponseObject, error) {
	now := s.Now()
	h, err := s.Store.History(ctx, now.Add(-time.Duration(or(r.Params.Hours, defaultHours))*time.Hour), now)
	return openapi.GetHistory200JSONResponse(toHistory(h)), err
}

func (s *server) GetRates(ctx context.Context, _ openapi.GetRatesRequestObject) (openapi.GetRatesResponseObject, error) {
	r, err := s.Store.Rates(ctx, s.Now())
	if err != nil {
		return nil, err
	}
	out := openapi.GetRates200JSONResponse{
		SpanSeconds: r.Span.Seconds(), Accepted: int64(r.Accepted), Receipts: int64(r.Receipts), Inbound: int64(r.Inbound), Trouble: int64(r.Trouble),
		OutboxWaiting: int64(r.Outbox), OutboxSince: r.OutboxSince, Unknown: int64(r.Unknown), Errors: each(r.Errors, s.errorCode), GeneratedAt: r.At,
	}
	if r.DeliveryP50 > 0 {
		out.DeliverySecondsMedian, out.DeliverySecondsP95 = ptr(r.DeliveryP50.Seconds()), ptr(r.DeliveryP95.Seconds())
	}
	queues, err := s.queues(ctx)
	if err != nil {
		s.Log.WarnContext(ctx, "task queue", "error", err)
		return out, nil
	}
	out.Queues = ptr(each(queues, func(q report.Queue) openapi.TaskQueue {
		return openapi.TaskQueue{
			Kind: q.Kind, Workers: q.Workers, Backlog: int64(q.Backlog), OldestSeconds: q.Oldest.Seconds(), AddedPerSecond: q.Added, DispatchedPerSecond: q.Dispatched,
		}
	}))
	return out, nil
}

func (s *server) GetDashboard(ctx context.Context, _ openapi.GetDashboardRequestObject) (openapi.GetDashboardResponseObject, error) {
	d, err := s.Store.Dashboard(ctx, s.Now())
	if err != nil {
		return nil, err
	}
	return openapi.GetDashboard200JSONResponse{
		ActiveCampaigns:      int64(d.ActiveCampaigns),
		TotalUsers:           int64(d.Users.Total()),
		OptedInUsers:         int64(d.Users[user.OptIn]),
		OptedOutUsers:        int64(d.Users.OptedOut()),
		MessagesSent24H:      int64(d.Recent.Sent),
		MessagesDelivered24H: int64(d.Recent.Delivered),
		MessagesFailed24H:    int64(d.Recent.Failed),
		RecentInboundEvents:  int64(d.Recent.Inbound),
		OverallDeliveryRate:  d.DeliveryRate,
		OverallReadRate:      d.ReadRate,
		RecentErrors: each(d.Errors, func(e report.Error) openapi.RecentError {
			return openapi.RecentError{
				MessageID: e.MessageID, CampaignID: e.CampaignID, MaskedPhone: masked(e.Phone), ErrorCode: e.Code,
				ErrorMessage: s.ErrorMeaning(e.Code), Timestamp: e.At,
			}
		}),
		AverageCampaignExecutionTime: seconds(d.AverageExecution),
		GeneratedAt:                  d.At,
	}, nil
}

// queues is Deps.Queues within checkTimeout.
func (s *server) queues(ctx context.Context) ([]report.Queue, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return s.Queues(ctx)
}
