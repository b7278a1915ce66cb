package db

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/report"
)

// UnknownMessages returns up to limit messages whose outcome only a person can decide and that were made before the one
// named (nil: from the newest), newest first, and how many there are at all.
func (s *Store) UnknownMessages(ctx context.Context, before *uuid.UUID, limit int) ([]report.Message, int, error) {
	p := dbsqlc.MessageListUnknownParams{BeforeID: uuid.Max, AtMost: int32(limit)}
	if before != nil {
		p.BeforeID = *before
	}
	rows, err := s.q(ctx).MessageListUnknown(ctx, p)
	if err != nil {
		return nil, 0, translate(err, "unknown messages")
	}
	found := make([]report.Message, len(rows))
	for i, r := range rows {
		found[i] = toMessage(r.Message, r.PhoneNumber, r.CampaignID, r.RunNumber)
	}
	total, err := s.q(ctx).MessageCountUnknown(ctx)
	return found, int(total), translate(err, "unknown messages")
}

// Decide settles an unknown message by hand and returns it as it stands then. One that is to be sent again is taken up by
// its run, which is reopened if it was settled.
func (s *Store) Decide(ctx context.Context, id uuid.UUID, d ledger.Decision, by string, now time.Time) (decided report.Message, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).MessageRead(ctx, id)
		if isNoRows(err) {
			return fault.New(fault.NotFound, "message %s does not exist", id)
		} else if err != nil {
			return translate(err, "message")
		}
		status, err := s.q(ctx).CampaignGate(ctx, row.CampaignID)
		if err != nil {
			return translate(err, "campaign")
		}
		erased := row.Message.UserID == nil
		if !erased {
			if _, err := s.q(ctx).UserShare(ctx, *row.Message.UserID); isNoRows(err) {
				erased = true
			} else if err != nil {
				return translate(err, "user")
			}
		}
		locked, err := s.q(ctx).MessageLock(ctx, id)
		if err != nil {
			return translate(err, "message")
		}
		attempts, err := s.attemptsOf(ctx, []uuid.UUID{id})
		if err != nil {
			return err
		}
		m := ledger.Message{
			State: message.State(locked.State), Reason: locked.Reason, WaitsUntil: locked.WaitsUntil, ErrorCode: value(locked.ErrorCode),
			AcceptedAt: locked.AcceptedAt, SentAt: locked.SentAt, DeliveredAt: locked.DeliveredAt, ReadAt: locked.ReadAt, EndedAt: locked.EndedAt,
		}
		if err := m.Decide(attempts[id], d, campaign.Status(status), erased, now); err != nil {
			return err
		}
		if d == ledger.DecidedNotSent {
			if err := s.q(ctx).AttemptsUnknownAbsent(ctx, id); err != nil {
				return translate(err, "attempts")
			}
		}
		if err := s.saveMessages(ctx, []dbsqlc.MessageUpdateParams{messageUpdate(id, m, now)}); err != nil {
			return err
		}
		if m.State == message.Pending {
			run := outbox.Run{RunID: row.Message.RunID, CampaignID: int64(row.CampaignID), Number: int(row.RunNumber)}
			if err := s.driveAgain(ctx, outbox.Recipient{Run: run, Seq: int(row.Message.Seq)}, now); err != nil {
				return err
			}
		}
		detail := map[string]any{"outcome": d, "state": m.State}
		if err := s.audit(ctx, by, "message.decide", fmt.Sprintf("message/%s", id), detail, now); err != nil {
			return err
		}
		row, err = s.q(ctx).MessageRead(ctx, id)
		decided = toMessage(row.Message, row.PhoneNumber, row.CampaignID, row.RunNumber)
		return translate(err, "message")
	})
	return decided, err
}

// driveAgain has a message that is to be sent again taken up: by its own workflow if that lives, else by its run.
func (s *Store) driveAgain(ctx context.Context, r outbox.Recipient, now time.Time) error {
	if err := s.reopen(ctx, []int64{r.RunID}, now); err != nil {
		return err
	}
	if err := s.enqueue(ctx, outbox.SignalRecipient, r, now); err != nil {
		return err
	}
	return s.enqueue(ctx, outbox.WakeCampaign, r.Run, now)
}
