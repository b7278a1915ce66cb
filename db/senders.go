package db

import (
	"context"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/throttle"
)

// Senders returns every sender, newest first.
func (s *Store) Senders(ctx context.Context) ([]throttle.Sender, error) { return s.senders(ctx, nil) }

// senders returns the sender with that id, or all of them for nil.
func (s *Store) senders(ctx context.Context, id *int32) ([]throttle.Sender, error) {
	rows, err := s.q(ctx).SenderList(ctx, id)
	if err != nil {
		return nil, translate(err, "senders")
	}
	found := make([]throttle.Sender, len(rows))
	for i, r := range rows {
		found[i] = throttle.Sender{
			ID: int64(r.ID), Channel: message.Channel(r.Channel), Address: phone.Number(r.Address),
			Limit: toLimit(r.MessagesPerSecond, r.SlowedAt, r.SlowedRate), CampaignsRunning: int(r.CampaignsRunning),
		}
	}
	return found, nil
}

// SetSenderRate changes how many messages a second a sender may send, from 1 to 1000. Grants obey it from the next one on.
func (s *Store) SetSenderRate(ctx context.Context, id int64, perSecond int, by string, now time.Time) (changed throttle.Sender, err error) {
	subject := fmt.Sprintf("sender %d", id)
	err = s.InTx(ctx, func(ctx context.Context) error {
		was, err := s.q(ctx).SenderRateLock(ctx, int32(id))
		if err != nil {
			return translate(err, subject)
		}
		if err := s.q(ctx).SenderSetRate(ctx, dbsqlc.SenderSetRateParams{ID: int32(id), MessagesPerSecond: int32(perSecond)}); err != nil {
			return translate(err, subject)
		}
		if err := s.audit(ctx, by, "sender.change", senderKey(id), rateChange(was, perSecond), now); err != nil {
			return err
		}
		found, err := s.senders(ctx, cast[int32](&id))
		if err != nil {
			return err
		}
		changed = found[0] // it is locked, so it is there
		return nil
	})
	return changed, err
}

// AccountRate is how many messages a second the whole account may send.
func (s *Store) AccountRate(ctx context.Context) (int, error) {
	rate, err := s.q(ctx).AccountRate(ctx)
	return int(rate), translate(err, "limits of the account")
}

// SetAccountRate changes how many messages a second the whole account may send, from 1 to 2000. Grants obey it from the
// next one on.
func (s *Store) SetAccountRate(ctx context.Context, perSecond int, by string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		was, err := s.q(ctx).AccountRateLock(ctx)
		if err != nil {
			return translate(err, "limits of the account")
		}
		if err := s.q(ctx).AccountSetRate(ctx, int32(perSecond)); err != nil {
			return translate(err, "limits of the account")
		}
		return s.audit(ctx, by, "account.change", accountKey, rateChange(was, perSecond), now)
	})
}

// rateChange is what an audit event tells of a new limit.
func rateChange(was int32, perSecond int) map[string]any {
	return map[string]any{"messages_per_second": perSecond, "was": was}
}
