package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/report"
)

type messageStore interface {
	// Recipients lists up to limit messages of a run with numbers above after, in order, and counts all that fit.
	Recipients(ctx context.Context, campaignID int64, filter report.RecipientFilter, after, limit int) ([]report.Message, int, error)
	// RunRecipients is Recipients for a run by its id, without the count.
	RunRecipients(ctx context.Context, runID int64, filter report.RecipientFilter, after, limit int) ([]report.Message, error)
	// AttemptsOf tells of each message what was tried and heard, in order.
	AttemptsOf(ctx context.Context, messages []uuid.UUID) (map[uuid.UUID][]report.TracedAttempt, error)
	// UnknownMessages lists up to limit of those made before the one named, newest first, and counts all.
	UnknownMessages(ctx context.Context, before *uuid.UUID, limit int) ([]report.Message, int, error)
	// Decide settles an unknown message by hand and tells how it stands then.
	Decide(ctx context.Context, id uuid.UUID, d ledger.Decision, by string, now time.Time) (report.Message, error)
	// Messages lists up to limit messages made before the one named, newest first, and the states of all that fit.
	Messages(ctx context.Context, filter report.MessageFilter, before *uuid.UUID, limit int) ([]report.Message, report.States, error)
	Message(ctx context.Context, id uuid.UUID) (report.MessageDetail, error)
}

func (s *server) ListRecipients(ctx context.Context, r openapi.ListRecipientsRequestObject) (openapi.ListRecipientsResponseObject, error) {
	filter := report.RecipientFilter{
		Run: value(r.Params.Run), State: message.State(value(r.Params.State)), Reason: value(r.Params.Reason), ErrorCode: value(r.Params.ErrorCode),
	}
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "recipients", r.ID, filter)
	if err != nil {
		return nil, err
	}
	after, err := p.afterID()
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.Recipients(ctx, r.ID, filter, int(value(after)), p.fetch())
	if err != nil {
		return nil, err
	}
	rows, next := cut(p, rows, func(m report.Message) int { return m.Seq })
	attempts, err := s.Store.AttemptsOf(ctx, each(rows, messageID))
	if err != nil {
		return nil, err
	}
	return openapi.ListRecipients200JSONResponse{
		Recipients: each(rows, func(m report.Message) openapi.Recipient {
			return openapi.Recipient{
				Seq: int64(m.Seq), MessageID: m.ID, MaskedPhone: masked(m.Phone), State: openapi.MessageState(m.State),
				Reason: none(m.Reason), WaitsUntil: m.WaitsUntil, AttemptCount: m.AttemptCount, ErrorCode: none(m.ErrorCode), UpdatedAt: m.UpdatedAt,
				Attempts: each(attempts[m.ID], toTracedAttempt),
			}
		}),
		NextCursor: next,
		Total:      int64(total),
	}, nil
}

func (s *server) ListMessageStatus(ctx context.Context, r openapi.ListMessageStatusRequestObject) (openapi.ListMessageStatusResponseObject, error) {
	filter := report.MessageFilter{
		CampaignID: value(r.Params.CampaignID), State: message.State(value(r.Params.Status)),
		Since: value(r.Params.Since), Until: value(r.Params.Until),
	}
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "messages", filter)
	if err != nil {
		return nil, err
	}
	before, err := p.afterUUID()
	if err != nil {
		return nil, err
	}
	rows, states, err := s.Store.Messages(ctx, filter, before, p.fetch())
	if err != nil {
		return nil, err
	}
	rows, next := cut(p, rows, func(m report.Message) uuid.UUID { return m.ID })
	return openapi.ListMessageStatus200JSONResponse{
		Messages: each(rows, toMessage), Summary: stateCounts(states), NextCursor: next, Total: int64(states.Total()),
	}, nil
}

func (s *server) GetMessage(ctx context.Context, r openapi.GetMessageRequestObject) (openapi.GetMessageResponseObject, error) {
	d, err := s.Store.Message(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return openapi.GetMessage200JSONResponse{
		Message:  toMessage(d.Message),
		Attempts: each(d.Attempts, toAttempt),
		Receipts: each(d.Receipts, toReceipt),
		ComplianceChecks: each(d.Checks, func(k report.Check) openapi.ComplianceCheck {
			return openapi.ComplianceCheck{
				Verdict: openapi.Verdict(k.Action), Reason: none(k.Reason), WaitsUntil: k.Until, AttemptID: k.AttemptID, CheckedAt: k.CreatedAt,
				Steps: each(k.Steps, toComplianceStep),
			}
		}),
		Verdicts: each(d.Verdicts(), toComplianceStep),
	}, nil
}

func toComplianceStep(f compliance.Finding) openapi.ComplianceStep {
	return openapi.ComplianceStep{Step: string(f.Step), Result: string(f.Result), Detail: none(f.Detail)}
}

func (s *server) ListUnknownMessages(
	ctx context.Context, r openapi.ListUnknownMessagesRequestObject,
) (openapi.ListUnknownMessagesResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "unknown")
	if err != nil {
		return nil, err
	}
	before, err := p.afterUUID()
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.UnknownMessages(ctx, before, p.fetch())
	if err != nil {
		return nil, err
	}
	rows, next := cut(p, rows, messageID)
	attempts, err := s.Store.AttemptsOf(ctx, each(rows, messageID))
	if err != nil {
		return nil, err
	}
	return openapi.ListUnknownMessages200JSONResponse{
		Messages: each(rows, func(m report.Message) openapi.UnknownMessage {
			return openapi.UnknownMessage{Message: toMessage(m), Attempts: each(attempts[m.ID], toTracedAttempt)}
		}),
		NextCursor: next, Total: int64(total),
	}, nil
}

func (s *server) DecideMessage(ctx context.Context, r openapi.DecideMessageRequestObject) (openapi.DecideMessageResponseObject, error) {
	m, err := s.Store.Decide(ctx, r.ID, ledger.Decision(r.Body.Outcome), principalOf(ctx).Name, s.Now())
	return openapi.DecideMessage200JSONResponse(toMessage(m)), err
}

func messageID(m report.Message) uuid.UUID { return m.ID }

func toAttempt(a report.Attempt) openapi.Attempt {
	return openapi.Attempt{
		ID: a.ID, Number: a.Number, State: openapi.AttemptState(a.State), Carrier: none(string(a.Carrier)), ProviderSID: none(a.SID),
		ContentSID: none(a.ContentSID), HTTPStatus: none(a.HTTPStatus), ErrorCode: none(a.ErrorCode), Detail: none(a.Detail), Looks: a.Looks, FailedLooks: a.FailedLooks,
		StartedAt: a.StartedAt, LeaseUntil: a.LeaseUntil, EndedAt: a.EndedAt,
	}
}

func toTracedAttempt(a report.TracedAttempt) openapi.TracedAttempt {
	t := toAttempt(a.Attempt)
	return openapi.TracedAttempt{
		ID: t.ID, Number: t.Number, State: t.State, Carrier: t.Carrier, ProviderSID: t.ProviderSID, ContentSID: t.ContentSID, HTTPStatus: t.HTTPStatus,
		ErrorCode: t.ErrorCode, Detail: t.Detail, Looks: t.Looks, FailedLooks: t.FailedLooks, StartedAt: t.StartedAt, LeaseUntil: t.LeaseUntil,
		EndedAt: t.EndedAt, Receipts: each(a.Receipts, toReceipt),
	}
}

func toReceipt(r report.Receipt) openapi.Receipt {
	return openapi.Receipt{
		AttemptID: r.AttemptID, ProviderSID: r.SID, Status: r.Status, ErrorCode: none(r.ErrorCode), Repeats: r.Repeats, ReceivedAt: r.ReceivedAt,
	}
}

func toMessage(m report.Message) openapi.Message {
	return openapi.Message{
		ID: m.ID, CampaignID: m.CampaignID, RunNumber: m.RunNumber, Seq: int64(m.Seq), MaskedPhone: masked(m.Phone),
		Channel: openapi.Channel(m.Channel), State: openapi.MessageState(m.State), Reason: none(m.Reason), WaitsUntil: m.WaitsUntil,
		AttemptCount: m.AttemptCount, ErrorCode: none(m.ErrorCode), CreatedAt: m.CreatedAt, AcceptedAt: m.AcceptedAt, SentAt: m.SentAt,
		DeliveredAt: m.DeliveredAt, ReadAt: m.ReadAt, EndedAt: m.EndedAt, UpdatedAt: m.UpdatedAt,
	}
}

func stateCounts(states report.States) openapi.StateCounts {
	counts := openapi.StateCounts{}
	for state, n := range states {
		counts[string(state)] = int64(n)
	}
	return counts
}

// masked is all that lists show of a number; nil when there is none.
func masked(n phone.Number) *string {
	if n == "" {
		return nil
	}
	return ptr(n.Masked())
}
