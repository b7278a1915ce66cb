package db

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/throttle"
)

// Senders returns every sender, newest first, as of now.
func (s *Store) Senders(ctx context.Context, now time.Time) ([]throttle.Sender, error) {
	return s.senders(ctx, nil, now)
}

// senders returns the sender with that id, or all of them for nil.
func (s *Store) senders(ctx context.Context, id *int32, now time.Time) ([]throttle.Sender, error) {
	rows, err := s.q(ctx).SenderList(ctx, dbsqlc.SenderListParams{ID: id, Now: now})
	if err != nil {
		return nil, translate(err, "senders")
	}
	found := make([]throttle.Sender, len(rows))
	for i, r := range rows {
		found[i] = throttle.Sender{
			ID: int64(r.ID), Channel: message.Channel(r.Channel), Address: phone.Number(r.Address),
			Limit: toLimit(r.MessagesPerSecond, r.SlowedAt, r.SlowedRate), CampaignsRunning: int(r.CampaignsRunning),
			Portfolio: deref(r.Portfolio), MessagingLimit: cast[int](r.MessagingLimit), Reached: int(r.RecipientsReached),
		}
	}
	return found, nil
}

// ChangeSender changes a sender's rate, from 1 to 1000 messages a second, its portfolio and that portfolio's messaging limit:
// change gets the sender as it stands and returns what it becomes, or why it must not. Grants and sends obey it from the
// next one on; whoever waits for a place of the portfolio is judged anew.
func (s *Store) ChangeSender(
	ctx context.Context, id int64, by string, change func(throttle.Sender) (throttle.Sender, error), now time.Time,
) (changed throttle.Sender, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		found, err := s.senders(ctx, cast[int32](&id), now)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fault.New(fault.NotFound, "sender %d does not exist", id)
		}
		was := found[0]
		to, err := change(was)
		if err != nil {
			return err
		}
		rate, detail := int32(to.Limit.PerSecond), changes{}
		detail.note("messages_per_second", int32(was.Limit.PerSecond), rate)
		detail.note("portfolio", was.Portfolio, to.Portfolio)
		if was.Portfolio != to.Portfolio || !same(was.MessagingLimit, to.MessagingLimit) {
			detail.note("messaging_limit", was.MessagingLimit, to.MessagingLimit)
			if err := s.changePortfolio(ctx, was, to, now); err != nil {
				return err
			}
		}
		if err := s.q(ctx).SenderSetRate(ctx, dbsqlc.SenderSetRateParams{ID: int32(id), MessagesPerSecond: rate}); err != nil {
			return translate(err, senderKey(id))
		}
		if err := s.audit(ctx, by, "sender.change", senderKey(id), detail, now); err != nil {
			return err
		}
		if found, err = s.senders(ctx, cast[int32](&id), now); err != nil {
			return err
		}
		changed = found[0] // senders are never deleted
		return nil
	})
	return changed, err
}

// changePortfolio moves a sender into its portfolio, sets that one's messaging limit, counts who was reached through it
// within the last day, and has the messages judged anew that wait for a place.
func (s *Store) changePortfolio(ctx context.Context, was, to throttle.Sender, now time.Time) error {
	// Nothing of the campaigns concerned begins or goes to wait until it is done.
	concerned, err := s.q(ctx).PortfolioCampaigns(ctx, []string{was.Portfolio, to.Portfolio})
	if err != nil {
		return translate(err, "campaigns of the portfolio")
	}
	if err := s.q(ctx).CampaignGatesClose(ctx, concerned); err != nil {
		return translate(err, "gates of the campaigns")
	}
	if err := s.unbounded(ctx); err != nil {
		return err
	}
	portfolio, err := s.q(ctx).PortfolioEnsure(ctx, dbsqlc.PortfolioEnsureParams{Name: to.Portfolio, MessagingLimit: cast[int32](to.MessagingLimit), Now: now})
	if err != nil {
		return translate(err, "portfolio")
	}
	if err := s.q(ctx).SenderSetPortfolio(ctx, dbsqlc.SenderSetPortfolioParams{ID: int32(to.ID), PortfolioID: &portfolio}); err != nil {
		return translate(err, senderKey(to.ID))
	}
	if to.MessagingLimit != nil {
		if err := s.q(ctx).PortfolioCount(ctx, dbsqlc.PortfolioCountParams{ID: portfolio, Now: now}); err != nil {
			return translate(err, "people reached")
		}
	}
	runs, err := s.q(ctx).RunsPending(ctx, concerned)
	if err != nil {
		return translate(err, "runs of the portfolio")
	}
	for _, r := range runs {
		release := dbsqlc.RunReleaseWaitsParams{
			RunID: r.ID, Reasons: []string{string(compliance.MessagingTier)}, Paused: campaign.Status(r.Status) == campaign.Paused,
			SpacingSeconds: 1 / float64(r.RateLimitPerSecond), Now: now,
		}
		if err := s.q(ctx).RunReleaseWaits(ctx, release); err != nil {
			return translate(err, "waits for a place")
		}
		if err := s.enqueue(ctx, outbox.WakeCampaign, outbox.Run{RunID: r.ID, CampaignID: int64(r.CampaignID), Number: int(r.Number)}, now); err != nil {
			return err
		}
	}
	return nil
}

// PortfolioRoom tells how many more people a portfolio may reach now, and when the next place is free, zero for never; where
// it has no limit any more, ok is false.
func (s *Store) PortfolioRoom(ctx context.Context, id int64, now time.Time) (free int, frees time.Time, ok bool, err error) {
	row, err := s.q(ctx).PortfolioRoom(ctx, dbsqlc.PortfolioRoomParams{ID: int32(id), Now: now})
	if isNoRows(err) {
		return 0, time.Time{}, false, nil
	}
	return max(0, int(row.Free)), moment(row.FreesAt), true, translate(err, "places of the portfolio")
}

// Account returns what bounds all campaigns together.
func (s *Store) Account(ctx context.Context) (throttle.Account, error) {
	row, err := s.q(ctx).AccountLimits(ctx)
	return toAccount(row), translate(err, "limits of the account")
}

// ChangeAccount changes what bounds all campaigns together: change gets the limits as they stand and returns what they
// become, or why they must not. Grants and sends obey them from the next one on.
func (s *Store) ChangeAccount(
	ctx context.Context, by string, change func(throttle.Account) (throttle.Account, error), now time.Time,
) (changed throttle.Account, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).AccountLimitsLock(ctx)
		if err != nil {
			return translate(err, "limits of the account")
		}
		was := toAccount(row)
		to, err := change(was)
		if err != nil {
			return err
		}
		if err := s.q(ctx).AccountLimitsSet(ctx, dbsqlc.AccountLimitsSetParams{
			MessagesPerSecond: int32(to.PerSecond), PairIntervalSeconds: int16(to.PairInterval / time.Second),
			PersonMessagesPerDay: cast[int16](to.PersonDay), PersonMessagesPerWeek: cast[int16](to.PersonWeek),
			PersonTopicMessagesPerDay: cast[int16](to.PersonTopicDay), PersonTopicMessagesPerWeek: cast[int16](to.PersonTopicWeek),
		}); err != nil {
			return translate(err, "limits of the account")
		}
		detail := changes{}
		detail.note("messages_per_second", was.PerSecond, to.PerSecond)
		detail.note("pair_interval_seconds", was.PairInterval.Seconds(), to.PairInterval.Seconds())
		for field, limit := range map[string][2]*int{
			"person_messages_per_day": {was.PersonDay, to.PersonDay}, "person_messages_per_week": {was.PersonWeek, to.PersonWeek},
			"person_topic_messages_per_day": {was.PersonTopicDay, to.PersonTopicDay}, "person_topic_messages_per_week": {was.PersonTopicWeek, to.PersonTopicWeek},
		} {
			if !same(limit[0], limit[1]) {
				detail.note(field, limit[0], limit[1])
			}
		}
		changed = to
		return s.audit(ctx, by, "account.change", accountKey, detail, now)
	})
	return changed, err
}

func toAccount(r dbsqlc.AccountLimit) throttle.Account {
	return throttle.Account{
		PerSecond: int(r.MessagesPerSecond), PairInterval: time.Duration(r.PairIntervalSeconds) * time.Second,
		PersonDay: cast[int](r.PersonMessagesPerDay), PersonWeek: cast[int](r.PersonMessagesPerWeek),
		PersonTopicDay: cast[int](r.PersonTopicMessagesPerDay), PersonTopicWeek: cast[int](r.PersonTopicMessagesPerWeek),
	}
}

// same compares optional numbers.
func same(a, b *int) bool { return (a == nil) == (b == nil) && deref(a) == deref(b) }
