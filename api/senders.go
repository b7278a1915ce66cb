package api

import (
	"cmp"
	"context"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/throttle"
)

type senderStore interface {
	// Senders returns every sender, newest first.
	Senders(ctx context.Context) ([]throttle.Sender, error)
	// SetSenderRate changes a sender's limit, for every worker at once.
	SetSenderRate(ctx context.Context, id int64, perSecond int, by string, now time.Time) (throttle.Sender, error)
	// AccountRate is how many messages a second the whole account may send.
	AccountRate(ctx context.Context) (int, error)
	// SetAccountRate changes the account's limit, for every worker at once.
	SetAccountRate(ctx context.Context, perSecond int, by string, now time.Time) error
}

func (s *server) GetSenders(ctx context.Context, _ openapi.GetSendersRequestObject) (openapi.GetSendersResponseObject, error) {
	senders, err := s.Store.Senders(ctx)
	return openapi.GetSenders200JSONResponse{Senders: each(senders, s.sender)}, err
}

func (s *server) PatchSender(ctx context.Context, r openapi.PatchSenderRequestObject) (openapi.PatchSenderResponseObject, error) {
	patch := cmp.Or(r.ApplicationMergePatchPlusJSONBody, r.JSONBody)
	changed, err := s.Store.SetSenderRate(ctx, r.ID, patch.MessagesPerSecond, principalOf(ctx).Name, s.Now())
	return openapi.PatchSender200JSONResponse(s.sender(changed)), err
}

func (s *server) GetAccountLimits(ctx context.Context, _ openapi.GetAccountLimitsRequestObject) (openapi.GetAccountLimitsResponseObject, error) {
	rate, err := s.Store.AccountRate(ctx)
	return openapi.GetAccountLimits200JSONResponse{MessagesPerSecond: rate}, err
}

func (s *server) PatchAccountLimits(
	ctx context.Context, r openapi.PatchAccountLimitsRequestObject,
) (openapi.PatchAccountLimitsResponseObject, error) {
	patch := cmp.Or(r.ApplicationMergePatchPlusJSONBody, r.JSONBody)
	err := s.Store.SetAccountRate(ctx, patch.MessagesPerSecond, principalOf(ctx).Name, s.Now())
	return openapi.PatchAccountLimits200JSONResponse{MessagesPerSecond: patch.MessagesPerSecond}, err
}

func (s *server) sender(sender throttle.Sender) openapi.Sender {
	now := s.Now()
	out := openapi.Sender{
		ID: sender.ID, Channel: openapi.Channel(sender.Channel), Address: string(sender.Address), MessagesPerSecond: int(sender.Limit.PerSecond),
		RateInForce: sender.Limit.Rate(now), CampaignsRunning: int64(sender.CampaignsRunning),
	}
	if sender.Limit.Slowed(now) {
		out.SlowedAt = &sender.Limit.SlowedAt
	}
	return out
}
