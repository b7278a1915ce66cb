package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/privacy"
	"github.com/event-stream-engine/ese/internal/user"
)

type privacyStore interface {
	// ConsentHistory lists the changes of a person's consent, newest first, with ids below before, and counts all.
	ConsentHistory(ctx context.Context, number phone.Number, before *int64, atMost int) ([]user.Event, int64, error)
	// EraseUser forgets a person here, and has the provider forget them.
	EraseUser(ctx context.Context, number phone.Number, actor string, now time.Time) (privacy.Erasure, error)
	Erasure(ctx context.Context, id uuid.UUID) (privacy.Erasure, error)
	// UserRecord gathers everything that is held about a person.
	UserRecord(ctx context.Context, number phone.Number, actor string, now time.Time) (privacy.Record, error)
}

func (s *server) ListConsentHistory(ctx context.Context, r openapi.ListConsentHistoryRequestObject) (openapi.ListConsentHistoryResponseObject, error) {
	number, err := s.pathNumber(r.PhoneNumber)
	if err != nil {
		return nil, err
	}
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "consent history", number.String())
	if err != nil {
		return nil, err
	}
	before, err := p.afterID()
	if err != nil {
		return nil, err
	}
	events, total, err := s.Store.ConsentHistory(ctx, number, before, p.fetch())
	if err != nil {
		return nil, err
	}
	events, next := cut(p, events, func(e user.Event) int64 { return e.ID })
	return openapi.ListConsentHistory200JSONResponse{Events: each(events, showEvent), NextCursor: next, Total: total}, nil
}

func showEvent(e user.Event) openapi.ConsentEvent {
	return openapi.ConsentEvent{
		ConsentState: openapi.ConsentState(e.State), PreviousState: none(string(e.Previous)), Source: openapi.ConsentEventSource(e.Source),
		Evidence: none(e.Evidence), Wording: none(e.Wording), CallerIP: none(e.CallerIP), InvitationMessageID: e.Invitation, Actor: e.Actor, CreatedAt: e.At,
	}
}

// callerIP is where a request comes from; "" when ctx is not one's.
func callerIP(ctx context.Context) string {
	if c, ok := ctx.(*gin.Context); ok {
		return c.RemoteIP()
	}
	return ""
}

func (s *server) DeleteUser(ctx context.Context, r openapi.DeleteUserRequestObject) (openapi.DeleteUserResponseObject, error) {
	number, err := s.pathNumber(r.PhoneNumber)
	if err != nil {
		return nil, err
	}
	erasure, err := s.Store.EraseUser(ctx, number, principalOf(ctx).Name, s.Now())
	if err != nil {
		return nil, err
	}
	return openapi.DeleteUser204Response{Headers: openapi.DeleteUser204ResponseHeaders{Location: "/api/v1/erasures/" + erasure.ID.String()}}, nil
}

func (s *server) GetErasure(ctx context.Context, r openapi.GetErasureRequestObject) (openapi.GetErasureResponseObject, error) {
	e, err := s.Store.Erasure(ctx, r.ErasureID)
	if err != nil {
		return nil, err
	}
	status := openapi.ErasureStatusRUNNING
	if e.CompletedAt != nil {
		status = openapi.ErasureStatusCOMPLETED
	}
	return openapi.GetErasure200JSONResponse{
		ErasureID: e.ID, Status: status, Copies: int64(e.Copies), CopiesRemoved: int64(e.Removed), RequestedBy: e.RequestedBy,
		RequestedAt: e.RequestedAt, CompletedAt: e.CompletedAt,
	}, nil
}

func (s *server) ExportUser(ctx context.Context, r openapi.ExportUserRequestObject) (openapi.ExportUserResponseObject, error) {
	number, err := s.pathNumber(r.PhoneNumber)
	if err != nil {
		return nil, err
	}
	record, err := s.Store.UserRecord(ctx, number, principalOf(ctx).Name, s.Now())
	if err != nil {
		return nil, err
	}
	shown, err := showUser(record.User)
	if err != nil {
		return nil, err
	}
	return openapi.ExportUser200JSONResponse{
		User:          shown,
		ConsentEvents: each(record.Consent, showEvent),
		Invitations:   each(record.Invitations, showInvitation),
		Subscriptions: each(record.Subscriptions, func(t privacy.Subscription) openapi.UserSubscription {
			return openapi.UserSubscription{TopicID: t.TopicID, Topic: t.Topic, SubscribedAt: t.Since}
		}),
		SubscriptionEvents: each(record.Said, showSubscription),
		Segments: each(record.Segments, func(v privacy.Segment) openapi.SegmentName {
			return openapi.SegmentName{ID: v.ID, Name: v.Name}
		}),
		Enrolments: each(record.Enrolments, func(e privacy.Enrolment) openapi.UserEnrolment {
			shown := openapi.UserEnrolment{
				CampaignID: e.CampaignID, RunNumber: e.RunNumber, State: openapi.EnrolmentState(e.State), Reason: none(e.Reason),
				NextStep: e.NextStep, CreatedAt: e.CreatedAt, EndedAt: e.EndedAt,
			}
			if e.Variables != nil {
				shown.Variables = &e.Variables
			}
			return shown
		}),
		Suppressions:    each(record.Suppressions, showSuppression),
		Messages:        each(record.Messages, showUserMessage),
		InboundMessages: each(record.Inbound, showUserInbound),
		ExportedAt:      record.At,
	}, nil
}

func showUserMessage(m privacy.Message) openapi.UserMessage {
	return openapi.UserMessage{Message: toMessage(m.Message), Attempts: each(m.Attempts, func(a privacy.Attempt) openapi.UserAttempt {
		return openapi.UserAttempt{Attempt: toAttempt(a.Attempt), Receipts: each(a.Receipts, func(r privacy.Receipt) openapi.UserReceipt {
			return openapi.UserReceipt{Receipt: toReceipt(r.Receipt), Payload: payload(r.Payload)}
		})}
	})}
}

func showUserInbound(m privacy.Inbound) openapi.UserInbound {
	return openapi.UserInbound{
		ProviderSID: m.SID, ChannelType: openapi.Channel(m.Channel), MessageClassification: openapi.MessageClassification(m.Kind), Body: m.Body,
		MediaCount: m.MediaCount, Payload: payload(m.Payload), ReceivedAt: m.ReceivedAt,
	}
}

// payload is never absent.
func payload(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}
