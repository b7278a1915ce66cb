package db

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/report"
)

// CampaignHistory tells when the messages of the campaign's run of that number were accepted, delivered, read and failed,
// from the run's begin until its receipts were complete, or now; 0 stands for the newest run. Before the first run, and
// before the run's time, nothing happened.
func (s *Store) CampaignHistory(ctx context.Context, campaignID int64, run int, now time.Time) (report.History, error) {
	c, err := s.CampaignRun(ctx, campaignID, run)
	if err != nil || c.Run == nil {
		return report.History{}, err
	}
	return s.runHistory(ctx, *c.Run, now)
}

func (s *Store) runHistory(ctx context.Context, run campaign.Run, now time.Time) (report.History, error) {
	began := run.Began(now)
	if began == nil {
		return report.History{}, nil
	}
	until := now
	if run.SettledAt != nil {
		until = run.SettledAt.Add(time.Second)
	}
	h := report.NewHistory(*began, until)
	rows, err := s.q(ctx).RunHistory(ctx, dbsqlc.RunHistoryParams{
		RunID: run.ID, StepSeconds: int32(h.Step / time.Second), Since: h.Since, Until: h.Until(),
	})
	for _, r := range rows {
		note(h, r.What, r.At, int(r.Messages))
	}
	return h, translate(err, "history of the run")
}

// History tells when messages of all campaigns were accepted, delivered, read and failed since then, and when people wrote.
func (s *Store) History(ctx context.Context, since, now time.Time) (report.History, error) {
	h := report.NewHistory(since, now)
	rows, err := s.q(ctx).MessagesHistory(ctx, dbsqlc.MessagesHistoryParams{StepSeconds: int32(h.Step / time.Second), Since: h.Since, Until: h.Until()})
	if err != nil {
		return h, translate(err, "history of messages")
	}
	for _, r := range rows {
		note(h, r.What, r.At, int(r.Messages))
	}
	received, err := s.q(ctx).InboundHistory(ctx, dbsqlc.InboundHistoryParams{StepSeconds: int32(h.Step / time.Second), Since: h.Since, Until: h.Until()})
	for _, r := range received {
		if step := h.At(r.At); step != nil {
			step.Inbound = int(r.Messages)
		}
	}
	return h, translate(err, "history of inbound messages")
}

// note writes into a history how often something happened within the step that begins at that moment.
func note(h report.History, what string, at time.Time, n int) {
	step := h.At(at)
	if step == nil {
		return
	}
	switch what {
	case "accepted":
		step.Accepted = n
	case "delivered":
		step.Delivered = n
	case "read":
		step.Read = n
	case "failed":
		step.Failed = n
	}
}

// repliesSpan is the span of time in which people of a run may have replied.
func repliesSpan(run campaign.Run, now time.Time) (since, until time.Time) {
	until = now
	if run.FinishedAt != nil && run.FinishedAt.Add(report.ReplyWindow).Before(now) {
		until = run.FinishedAt.Add(report.ReplyWindow)
	}
	return run.StartedAt, until.Add(time.Microsecond)
}

func (s *Store) runReplies(ctx context.Context, run campaign.Run, now time.Time) (replies report.Replies, err error) {
	since, until := repliesSpan(run, now)
	within := int32(report.ReplyWindow / time.Second)
	rows, err := s.q(ctx).RunReplies(ctx, dbsqlc.RunRepliesParams{RunID: run.ID, WithinSeconds: within, Since: since, Until: until})
	if err != nil {
		return replies, translate(err, "replies")
	}
	for _, r := range rows {
		replies.Messages += int(r.Messages)
		if toAction(r.Intent) == "stop" {
			replies.Stops += int(r.Messages)
		}
	}
	people, err := s.q(ctx).RunRepliesPeople(ctx, dbsqlc.RunRepliesPeopleParams{RunID: run.ID, WithinSeconds: within, Since: since, Until: until})
	replies.People = int(people)
	return replies, translate(err, "replies")
}

// CampaignReplies returns up to limit of what people wrote within report.ReplyWindow after the run of that number sent to
// them, with ids below before (nil: from the newest), newest first, and counts all; 0 stands for the newest run.
func (s *Store) CampaignReplies(ctx context.Context, campaignID int64, run int, before *int64, limit int, now time.Time) ([]report.Inbound, int, error) {
	c, err := s.CampaignRun(ctx, campaignID, run)
	if err != nil || c.Run == nil {
		return nil, 0, err
	}
	since, until := repliesSpan(*c.Run, now)
	rows, err := s.q(ctx).RunRepliesList(ctx, dbsqlc.RunRepliesListParams{
		RunID: c.Run.ID, WithinSeconds: int32(report.ReplyWindow / time.Second), Since: since, Until: until, Before: before, AtMost: int32(limit),
	})
	if err != nil {
		return nil, 0, translate(err, "replies")
	}
	found := make([]report.Inbound, len(rows))
	for i, r := range rows {
		found[i] = report.Inbound{
			ID: r.ID, Phone: phone.Number(r.PhoneNumber), Channel: message.Channel(r.Channel),
			Kind: inbound.KindOf(toAction(r.Intent), r.Body, int(r.MediaCount)), Body: r.Body, MediaCount: int(r.MediaCount),
			Repeats: int(r.Repeats), ReceivedAt: r.ReceivedAt,
		}
	}
	all, err := s.runReplies(ctx, *c.Run, now)
	return found, all.Messages, err
}

// Rates tells how much happens at the moment, and how much waits.
func (s *Store) Rates(ctx context.Context, now time.Time) (report.Rates, error) {
	r := report.Rates{Span: report.RateSpan, At: now}
	since := now.Add(-report.RateSpan)
	pace, err := s.q(ctx).MessagesPace(ctx, since)
	if err != nil {
		return r, translate(err, "pace of messages")
	}
	r.Accepted, r.Trouble = int(pace.Accepted), int(pace.Trouble)
	r.DeliveryP50 = time.Duration(pace.MedianSeconds * float64(time.Second))
	r.DeliveryP95 = time.Duration(pace.P95Seconds * float64(time.Second))
	receipts, err := s.q(ctx).ReceiptsCount(ctx, since)
	if err != nil {
		return r, translate(err, "receipts")
	}
	received, err := s.q(ctx).InboundCount(ctx, since)
	if err != nil {
		return r, translate(err, "inbound messages")
	}
	unknown, err := s.q(ctx).MessageCountUnknown(ctx)
	if err != nil {
		return r, translate(err, "unknown messages")
	}
	r.Receipts, r.Inbound, r.Unknown = int(receipts), int(received), int(unknown)
	waiting, oldest, err := s.OutboxBacklog(ctx)
	if err != nil {
		return r, err
	}
	r.Outbox = int(waiting)
	if waiting > 0 {
		r.OutboxSince = &oldest
	}
	codes, err := s.q(ctx).MessageErrorCodes(ctx, dbsqlc.MessageErrorCodesParams{Since: now.Add(-report.Window), AtMost: report.MaxErrors})
	if err != nil {
		return r, translate(err, "errors")
	}
	all := 0
	for _, c := range codes {
		all += int(c.Messages)
	}
	for _, c := range codes {
		r.Errors = append(r.Errors, report.CodeCount{Code: int(deref(c.ErrorCode)), Count: int(c.Messages), Percentage: report.Percent(int(c.Messages), all)})
	}
	return r, nil
}

// RetryStates counts the people whom a retry might select, by the state of their newest message of the campaign.
func (s *Store) RetryStates(ctx context.Context, campaignID int64) (report.States, error) {
	states, _ := retryColumns(campaign.Retry{States: campaign.Retryable()})
	rows, err := s.q(ctx).RetryStates(ctx, dbsqlc.RetryStatesParams{CampaignID: int32(campaignID), States: states})
	counts := report.States{}
	for _, r := range rows {
		counts[message.State(r.State)] = int(r.People)
	}
	return counts, translate(err, "people to retry")
}

// RetryCount is how many people RetryRun would send to again.
func (s *Store) RetryCount(ctx context.Context, campaignID int64, retry campaign.Retry) (int, error) {
	if err := retry.Check(); err != nil {
		return 0, err
	}
	states, codes := retryColumns(retry)
	n, err := s.q(ctx).RetryCount(ctx, dbsqlc.RetryCountParams{CampaignID: int32(campaignID), States: states, ErrorCodes: codes})
	return int(n), translate(err, "people to retry")
}
