package api

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

type invitationStore interface {
	InvitationRules(ctx context.Context) (user.InvitationRules, error)
	SetInvitationRules(ctx context.Context, r user.InvitationRules, actor string, now time.Time) error
	// Invite takes 0 for the newest campaign that invites.
	Invite(ctx context.Context, number phone.Number, campaignID int64, evidence, actor string, now time.Time) (user.Invitation, error)
	Invitation(ctx context.Context, number phone.Number) (user.Invitation, error)
}

func (s *server) InviteUser(ctx context.Context, r openapi.InviteUserRequestObject) (openapi.InviteUserResponseObject, error) {
	number, err := s.pathNumber(r.PhoneNumber)
	if err != nil {
		return nil, err
	}
	sent, err := s.Store.Invite(ctx, number, value(r.Body.CampaignID), value(r.Body.Evidence), principalOf(ctx).Name, s.Now())
	return openapi.InviteUser202JSONResponse(showInvitation(sent)), err
}

func (s *server) GetInvitation(ctx context.Context, r openapi.GetInvitationRequestObject) (openapi.GetInvitationResponseObject, error) {
	number, err := s.pathNumber(r.PhoneNumber)
	if err != nil {
		return nil, err
	}
	newest, err := s.Store.Invitation(ctx, number)
	return openapi.GetInvitation200JSONResponse(showInvitation(newest)), err
}

func (s *server) GetInvitationRules(ctx context.Context, _ openapi.GetInvitationRulesRequestObject) (openapi.GetInvitationRulesResponseObject, error) {
	rules, err := s.Store.InvitationRules(ctx)
	return openapi.GetInvitationRules200JSONResponse(showInvitationRules(rules)), err
}

func (s *server) SetInvitationRules(ctx context.Context, r openapi.SetInvitationRulesRequestObject) (openapi.SetInvitationRulesResponseObject, error) {
	rules := user.InvitationRules{
		ConfirmWithin: time.Duration(r.Body.ConfirmWithinHours) * time.Hour, InviteAgain: time.Duration(r.Body.InviteAgainAfterDays) * 24 * time.Hour,
		Words: value(r.Body.Words),
	}
	if err := rules.Check(); err != nil {
		return nil, err
	}
	err := s.Store.SetInvitationRules(ctx, rules, principalOf(ctx).Name, s.Now())
	return openapi.SetInvitationRules200JSONResponse(showInvitationRules(rules)), err
}

func showInvitationRules(r user.InvitationRules) openapi.InvitationRules {
	words := append([]string{}, r.Words...)
	return openapi.InvitationRules{
		ConfirmWithinHours: int(r.ConfirmWithin / time.Hour), InviteAgainAfterDays: int(r.InviteAgain / (24 * time.Hour)), Words: &words,
	}
}

func showInvitation(i user.Invitation) openapi.Invitation {
	return openapi.Invitation{
		MessageID: i.MessageID, CampaignID: i.CampaignID, State: string(i.State), Reason: none(i.Reason), WaitsUntil: i.WaitsUntil,
		Evidence: none(i.Evidence), Actor: i.Actor, CreatedAt: i.CreatedAt, ConfirmUntil: i.ConfirmUntil, ConfirmedAt: i.ConfirmedAt,
	}
}
