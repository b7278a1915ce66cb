package db

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/report"
)

// Recipients returns up to limit messages of a run of the campaign with numbers above after, in order, and how many fit
// the filter at all. Before the first run there are none.
func (s *Store) Recipients(ctx context.Context, campaignID int64, f report.RecipientFilter, after, limit int) ([]report.Message, int, error) {
	c, err := s.CampaignRun(ctx, campaignID, f.Run)
	if err != nil || c.Run == nil {
		return nil, 0, err
	}
	found, err := s.RunRecipients(ctx, c.Run.ID, f, after, limit)
	if err != nil {
		return nil, 0, err
	}
	total, err := s.q(ctx).RecipientCount(ctx, dbsqlc.RecipientCountParams{
		RunID: c.Run.ID, State: none(string(f.State)), Reason: none(f.Reason), ErrorCode: nonZero(f.ErrorCode),
	})
	return found, int(total), translate(err, "recipients")
}

// RunRecipients is Recipients for a run by its id, whatever the filter's, without the count.
func (s *Store) RunRecipients(ctx context.Context, runID int64, f report.RecipientFilter, after, limit int) ([]report.Message, error) {
	rows, err := s.q(ctx).RecipientList(ctx, dbsqlc.RecipientListParams{
		RunID: runID, After: int32(after), State: none(string(f.State)), Reason: none(f.Reason), ErrorCode: nonZero(f.ErrorCode), AtMost: int32(limit),
	})
	if err != nil {
		return nil, translate(err, "recipients")
	}
	found := make([]report.Message, len(rows))
	for i, r := range rows {
		found[i] = toMessage(r.Message, r.PhoneNumber, r.CampaignID, r.RunNumber)
	}
	return found, nil
}

// Messages returns up to limit messages that fit the filter and were made before the one named (nil: from the
// newest), newest first, and the states of all that fit.
func (s *Store) Messages(ctx context.Context, f report.MessageFilter, before *uuid.UUID, limit int) ([]report.Message, report.States, error) {
	p := dbsqlc.MessageListSparseParams{BeforeID: uuid.Max, State: none(string(f.State)), AtMost: int32(limit)}
	if !f.Since.IsZero() {
		p.Since, p.FirstID = &f.Since, idAround(f.Since.Add(-time.Millisecond))
	}
	if !f.Until.IsZero() {
		p.Until, p.BeforeID = &f.Until, idAround(f.Until.Add(2*time.Millisecond))
	}
	if f.CampaignID != 0 {
		p.CampaignID = cast[int32](&f.CampaignID)
	}
	counts, err := s.q(ctx).MessageStates(ctx, dbsqlc.MessageStatesParams{
		FirstID: p.FirstID, BeforeID: p.BeforeID, Since: p.Since, Until: p.Until, CampaignID: p.CampaignID, State: p.State,
	})
	if err != nil {
		return nil, nil, translate(err, "states of messages")
	}
	states := report.States{}
	for _, c := range counts {
		states[message.State(c.State)] = int(c.Messages)
	}
	if before != nil {
		p.BeforeID = *before
	}
	found, err := s.messagePage(ctx, p, states.Total())
	return found, states, translate(err, "messages")
}

// fewMessages is how many are sooner sorted than come upon.
const fewMessages = 20_000

// messagePage lists the messages that fit, newest first; fitting is how many there are.
func (s *Store) messagePage(ctx context.Context, p dbsqlc.MessageListSparseParams, fitting int) ([]report.Message, error) {
	var found []report.Message
	if p.CampaignID != nil || p.State != nil && fitting <= fewMessages {
		rows, err := s.q(ctx).MessageListSparse(ctx, p)
		for _, r := range rows {
			found = append(found, toMessage(r.Message, r.PhoneNumber, r.CampaignID, r.RunNumber))
		}
		return found, err
	}
	rows, err := s.q(ctx).MessageList(ctx, dbsqlc.MessageListParams{
		FirstID: p.FirstID, BeforeID: p.BeforeID, Since: p.Since, Until: p.Until, State: p.State, AtMost: p.AtMost,
	})
	for _, r := range rows {
		found = append(found, toMessage(r.Message, r.PhoneNumber, r.CampaignID, r.RunNumber))
	}
	return found, err
}

// idAround is an id that a message made at t might have: the first of that millisecond.
func idAround(t time.Time) (id uuid.UUID) {
	binary.BigEndian.PutUint64(id[:8], uint64(max(0, t.UnixMilli()))<<16)
	return id
}

// Message returns one message with all that happened to it.
func (s *Store) Message(ctx context.Context, id uuid.UUID) (d report.MessageDetail, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).MessageRead(ctx, id)
		if isNoRows(err) {
			return fault.New(fault.NotFound, "message %s does not exist", id)
		} else if err != nil {
			return translate(err, "message")
		}
		d.Message = toMessage(row.Message, row.PhoneNumber, row.CampaignID, row.RunNumber)
		traced, err := s.AttemptsOf(ctx, []uuid.UUID{id})
		if err != nil {
			return err
		}
		for _, a := range traced[id] {
			d.Attempts = append(d.Attempts, a.Attempt)
			d.Receipts = append(d.Receipts, a.Receipts...)
		}
		slices.SortStableFunc(d.Receipts, func(a, b report.Receipt) int { return a.ReceivedAt.Compare(b.ReceivedAt) })
		checks, err := s.q(ctx).MessageChecks(ctx, id)
		if err != nil {
			return translate(err, "compliance checks")
		}
		for _, k := range checks {
			check := report.Check{Action: k.Action, Reason: k.Reason, Until: k.Until, AttemptID: k.AttemptID, CreatedAt: k.CreatedAt}
			if err := json.Unmarshal(k.Steps, &check.Steps); err != nil {
				return fmt.Errorf("steps of a compliance check: %w", err)
			}
			d.Checks = append(d.Checks, check)
		}
		return nil
	})
	if err != nil {
		return report.MessageDetail{}, fmt.Errorf("message: %w", err)
	}
	return d, nil
}

// AttemptsOf returns the attempts at each of the messages with what was heard of them, all in order, by message.
func (s *Store) AttemptsOf(ctx context.Context, messages []uuid.UUID) (map[uuid.UUID][]report.TracedAttempt, error) {
	rows, err := s.q(ctx).MessageAttempts(ctx, messages)
	if err != nil {
		return nil, translate(err, "attempts")
	}
	ids := make([]uuid.UUID, len(rows))
	for i, a := range rows {
		ids[i] = a.ID
	}
	receipts, err := s.q(ctx).AttemptReceipts(ctx, ids)
	if err != nil {
		return nil, translate(err, "receipts")
	}
	heard := map[uuid.UUID][]report.Receipt{}
	for _, r := range receipts {
		heard[*r.AttemptID] = append(heard[*r.AttemptID], report.Receipt{
			AttemptID: r.AttemptID, SID: r.ProviderSid, Status: r.Status, ErrorCode: int(r.ErrorCode), Repeats: int(r.Repeats), ReceivedAt: r.ReceivedAt,
		})
	}
	traced := make(map[uuid.UUID][]report.TracedAttempt, len(messages))
	for _, a := range rows {
		traced[a.MessageID] = append(traced[a.MessageID], report.TracedAttempt{Receipts: heard[a.ID], Attempt: report.Attempt{
			ID: a.ID, Number: int(a.Number), State: a.State, Carrier: message.State(a.Carrier), SID: deref(a.ProviderSid),
			ContentSID: deref(a.ContentSid), HTTPStatus: int(deref(a.HttpStatus)), ErrorCode: int(deref(a.ErrorCode)), Detail: a.Detail, Looks: int(a.Looks), FailedLooks: int(a.FailedLooks),
			StartedAt: a.StartedAt, LeaseUntil: a.LeaseUntil, EndedAt: a.EndedAt,
		}})
	}
	return traced, nil
}

func toMessage(m dbsqlc.Message, number *string, campaignID, runNumber int32) report.Message {
	return report.Message{
		ID: m.ID, CampaignID: int64(campaignID), RunNumber: int(runNumber), Seq: int(m.Seq), Phone: phone.Number(deref(number)),
		Channel: message.Channel(m.Channel), State: message.State(m.State), Reason: m.Reason, WaitsUntil: m.WaitsUntil,
		ErrorCode: int(deref(m.ErrorCode)), AttemptCount: int(m.AttemptCount), CreatedAt: m.CreatedAt, AcceptedAt: m.AcceptedAt,
		SentAt: m.SentAt, DeliveredAt: m.DeliveredAt, ReadAt: m.ReadAt, EndedAt: m.EndedAt, UpdatedAt: m.UpdatedAt,
	}
}

// deref is the zero value for nil.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
