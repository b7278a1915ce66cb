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
	"github.com/event-stream-engine/ese/internal/user"
)

// Consents counts the users by their consent.
func (s *Store) Consents(ctx context.Context) (report.Consents, error) {
	rows, err := s.q(ctx).UserConsentCounts(ctx)
	if err != nil {
		return nil, translate(err, "users by consent")
	}
	counts := report.Consents{}
	for _, r := range rows {
		counts[user.ConsentState(r.ConsentState)] = int(r.Users)
	}
	return counts, nil
}

const recentErrors = 10

// Dashboard counts the state of the whole.
func (s *Store) Dashboard(ctx context.Context, now time.Time) (report.Dashboard, error) {
	d := report.Dashboard{At: now}
	var err error
	if d.Users, err = s.Consents(ctx); err != nil {
		return report.Dashboard{}, err
	}
	campaigns, err := s.q(ctx).CampaignStatusCounts(ctx)
	if err != nil {
		return report.Dashboard{}, translate(err, "campaigns by status")
	}
	for _, c := range campaigns {
		if campaign.Status(c.Status).Active() {
			d.ActiveCampaigns += int(c.Campaigns)
		}
	}
	since := now.Add(-report.Window)
	recent, err := s.q(ctx).MessagesRecent(ctx, since)
	if err != nil {
		return report.Dashboard{}, translate(err, "recent messages")
	}
	received, err := s.q(ctx).InboundCount(ctx, since)
	if err != nil {
		return report.Dashboard{}, translate(err, "recent inbound messages")
	}
	d.Recent = report.Recent{Sent: int(recent.Sent), Delivered: int(recent.Delivered), Failed: int(recent.Failed), Inbound: int(received)}

	rows, err := s.q(ctx).MessageStatesEver(ctx)
	if err != nil {
		return report.Dashboard{}, translate(err, "messages by state")
	}
	ever := report.States{}
	for _, r := range rows {
		ever[message.State(r.State)] = int(r.Messages)
	}
	d.DeliveryRate = report.Percent(ever.Delivered(), ever.Sent())
	d.ReadRate = report.Percent(ever[message.Read], ever.Delivered())

	errors, err := s.q(ctx).MessageErrorsRecent(ctx, recentErrors)
	if err != nil {
		return report.Dashboard{}, translate(err, "recent errors")
	}
	for _, e := range errors {
		d.Errors = append(d.Errors, report.Error{
			MessageID: e.ID, CampaignID: int64(e.CampaignID), Phone: phone.Number(deref(e.PhoneNumber)), Code: int(deref(e.ErrorCode)), At: e.UpdatedAt,
		})
	}
	seconds, err := s.q(ctx).RunAverageSeconds(ctx)
	switch {
	case err == nil:
		average := time.Duration(seconds * float64(time.Second))
		d.AverageExecution = &average
	case !isNoRows(err):
		return report.Dashboard{}, translate(err, "duration of campaigns")
	}
	return d, nil
}

// InboundMessages returns up to limit messages received since then with ids below before (nil: from the newest),
// newest first, and how many there are at all.
func (s *Store) InboundMessages(ctx context.Context, since time.Time, before *int64, limit int) ([]report.Inbound, int, error) {
	rows, err := s.q(ctx).InboundList(ctx, dbsqlc.InboundListParams{Since: since, Before: before, AtMost: int32(limit)})
	if err != nil {
		return nil, 0, translate(err, "inbound messages")
	}
	found := make([]report.Inbound, len(rows))
	for i, r := range rows {
		found[i] = report.Inbound{
			ID: r.ID, Phone: phone.Number(deref(r.PhoneNumber)), Channel: message.Channel(r.Channel),
			Kind: inbound.KindOf(toAction(r.Intent), r.Body, int(r.MediaCount)), Body: r.Body, MediaCount: int(r.MediaCount),
			Repeats: int(r.Repeats), ReceivedAt: r.ReceivedAt,
		}
	}
	total, err := s.q(ctx).InboundCount(ctx, since)
	return found, int(total), translate(err, "inbound messages")
}

// noIntent is stored for a message that holds no keyword.
const noIntent = "none"

func toAction(intent string) user.Action {
	if intent == noIntent {
		return user.ActionNone
	}
	return user.Action(intent)
}
