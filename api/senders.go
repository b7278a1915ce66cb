package api

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/throttle"
)

type senderStore interface {
	// Senders returns every sender, newest first, as of now.
	Senders(ctx context.Context, now time.Time) ([]throttle.Sender, error)
	// ChangeSender changes a sender's limits, for every worker at once.
	ChangeSender(ctx context.Context, id int64, by string, change func(throttle.Sender) (throttle.Sender, error), now time.Time) (throttle.Sender, error)
	// Account returns what bounds all campaigns together.
	Account(ctx context.Context) (throttle.Account, error)
	// ChangeAccount changes that, for every worker at once.
	ChangeAccount(ctx context.Context, by string, change func(throttle.Account) (throttle.Account, error), now time.Time) (throttle.Account, error)
}

func (s *server) GetSenders(ctx context.Context, _ openapi.GetSendersRequestObject) (openapi.GetSendersResponseObject, error) {
	senders, err := s.Store.Senders(ctx, s.Now())
	return openapi.GetSenders200JSONResponse{Senders: each(senders, s.sender)}, err
}

func (s *server) PatchSender(ctx context.Context, r openapi.PatchSenderRequestObject) (openapi.PatchSenderResponseObject, error) {
	patch := r.ApplicationMergePatchPlusJSONBody
	if patch == nil {
		patch = r.JSONBody
	}
	changed, err := s.Store.ChangeSender(ctx, r.ID, principalOf(ctx).Name, func(was throttle.Sender) (throttle.Sender, error) {
		return patchSender(was, *patch)
	}, s.Now())
	return openapi.PatchSender200JSONResponse(s.sender(changed)), err
}

// patchSender applies a merge patch to a sender's limits. A portfolio is named together with its messaging limit: nobody is to
// change the limit of other senders by not naming it.
func patchSender(sender throttle.Sender, patch json.RawMessage) (throttle.Sender, error) {
	w := struct {
		MessagesPerSecond int             `json:"messages_per_second"`
		Portfolio         string          `json:"portfolio"`
		MessagingLimit    json.RawMessage `json:"messaging_limit"`
	}{MessagesPerSecond: int(sender.Limit.PerSecond)}
	if err := json.Unmarshal(patch, &w); err != nil {
		return sender, unreadable(err)
	}
	sender.Limit.PerSecond = float64(w.MessagesPerSecond)
	switch {
	case w.Portfolio == "" && w.MessagingLimit == nil:
		return sender, nil
	case sender.Channel != message.WhatsApp && w.Portfolio != "":
		return sender, fault.Refuse("portfolio", "is for a sender of WhatsApp; this one sends %s", sender.Channel)
	case sender.Channel != message.WhatsApp:
		return sender, fault.Refuse("messaging_limit", "is for a sender of WhatsApp; this one sends %s", sender.Channel)
	case w.MessagingLimit == nil && w.Portfolio != sender.Portfolio:
		return sender, fault.Refuse("messaging_limit", "is missing: give the limit of the portfolio with it, null for none")
	}
	sender.Portfolio = cmp.Or(w.Portfolio, sender.Portfolio, "default")
	if w.MessagingLimit == nil {
		return sender, nil
	}
	var limit struct {
		Messaging *int `json:"messaging_limit"`
	}
	if err := json.Unmarshal(patch, &limit); err != nil {
		return sender, unreadable(err)
	}
	sender.MessagingLimit = limit.Messaging
	return sender, nil
}

func (s *server) GetAccountLimits(ctx context.Context, _ openapi.GetAccountLimitsRequestObject) (openapi.GetAccountLimitsResponseObject, error) {
	account, err := s.Store.Account(ctx)
	return openapi.GetAccountLimits200JSONResponse(accountLimits(account)), err
}

func (s *server) PatchAccountLimits(
	ctx context.Context, r openapi.PatchAccountLimitsRequestObject,
) (openapi.PatchAccountLimitsResponseObject, error) {
	patch := r.ApplicationMergePatchPlusJSONBody
	if patch == nil {
		patch = r.JSONBody
	}
	changed, err := s.Store.ChangeAccount(ctx, principalOf(ctx).Name, func(was throttle.Account) (throttle.Account, error) {
		w := accountLimits(was)
		if err := json.Unmarshal(*patch, &w); err != nil { // what it does not name keeps its value, and null becomes nil
			return was, unreadable(err)
		}
		return throttle.Account{
			PerSecond: w.MessagesPerSecond, PairInterval: time.Duration(w.PairIntervalSeconds) * time.Second,
			PersonDay: w.PersonMessagesPerDay, PersonWeek: w.PersonMessagesPerWeek,
			PersonTopicDay: w.PersonTopicMessagesPerDay, PersonTopicWeek: w.PersonTopicMessagesPerWeek,
		}, nil
	}, s.Now())
	return openapi.PatchAccountLimits200JSONResponse(accountLimits(changed)), err
}

func accountLimits(a throttle.Account) openapi.AccountLimits {
	return openapi.AccountLimits{
		MessagesPerSecond: a.PerSecond, PairIntervalSeconds: int(a.PairInterval / time.Second),
		PersonMessagesPerDay: clone(a.PersonDay), PersonMessagesPerWeek: clone(a.PersonWeek),
		PersonTopicMessagesPerDay: clone(a.PersonTopicDay), PersonTopicMessagesPerWeek: clone(a.PersonTopicWeek),
	}
}

func (s *server) sender(sender throttle.Sender) openapi.Sender {
	now := s.Now()
	out := openapi.Sender{
		ID: sender.ID, Channel: openapi.Channel(sender.Channel), Address: string(sender.Address), MessagesPerSecond: int(sender.Limit.PerSecond),
		RateInForce: sender.Limit.Rate(now), CampaignsRunning: int64(sender.CampaignsRunning),
		Portfolio: none(sender.Portfolio), MessagingLimit: sender.MessagingLimit,
	}
	if sender.MessagingLimit != nil {
		out.RecipientsReached = ptr(int64(sender.Reached))
	}
	if sender.Limit.Slowed(now) {
		out.SlowedAt = &sender.Limit.SlowedAt
	}
	return out
}
