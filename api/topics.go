package api

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

type topicStore interface {
	// CreateTopic sets ID and time itself.
	CreateTopic(ctx context.Context, t user.Topic, actor string, now time.Time) (user.Topic, error)
	Topic(ctx context.Context, id int64) (user.Topic, error)
	Topics(ctx context.Context, after *int64, atMost int) ([]user.Topic, error)
	TopicTotal(ctx context.Context) (int64, error)
	// UpdateTopic replaces the texts of the topic with t's ID.
	UpdateTopic(ctx context.Context, t user.Topic, actor string, now time.Time) (user.Topic, error)
	DeleteTopic(ctx context.Context, id int64, actor string, now time.Time) error
	Subscribers(ctx context.Context, topicID int64, after *int64, atMost int) (found []user.Subscriber, total int64, err error)
	Subscriptions(ctx context.Context, number phone.Number) ([]user.Subscription, error)
	// SetSubscription returns what was last said about the person and the topic, which is what it was told, or the same.
	SetSubscription(ctx context.Context, number phone.Number, topicID int64, subscribed bool, change user.Change, actor string, now time.Time) (user.Subscription, error)
}

func (s *server) ListTopics(ctx context.Context, r openapi.ListTopicsRequestObject) (openapi.ListTopicsResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "topics")
	if err != nil {
		return nil, err
	}
	after, err := p.afterID()
	if err != nil {
		return nil, err
	}
	topics, err := s.Store.Topics(ctx, after, p.fetch())
	if err != nil {
		return nil, err
	}
	total, err := s.Store.TopicTotal(ctx)
	topics, next := cut(p, topics, func(t user.Topic) int64 { return t.ID })
	return openapi.ListTopics200JSONResponse{Topics: each(topics, showTopic), NextCursor: next, Total: total}, err
}

func (s *server) CreateTopic(ctx context.Context, r openapi.CreateTopicRequestObject) (openapi.CreateTopicResponseObject, error) {
	t := topicOf(*r.Body)
	if err := t.Check(); err != nil {
		return nil, err
	}
	t, err := s.Store.CreateTopic(ctx, t, principalOf(ctx).Name, s.Now())
	return openapi.CreateTopic201JSONResponse(showTopic(t)), err
}

func (s *server) GetTopic(ctx context.Context, r openapi.GetTopicRequestObject) (openapi.GetTopicResponseObject, error) {
	t, err := s.Store.Topic(ctx, r.ID)
	return openapi.GetTopic200JSONResponse(showTopic(t)), err
}

func (s *server) UpdateTopic(ctx context.Context, r openapi.UpdateTopicRequestObject) (openapi.UpdateTopicResponseObject, error) {
	t := topicOf(*r.Body)
	if err := t.Check(); err != nil {
		return nil, err
	}
	t.ID = r.ID
	t, err := s.Store.UpdateTopic(ctx, t, principalOf(ctx).Name, s.Now())
	return openapi.UpdateTopic200JSONResponse(showTopic(t)), err
}

func (s *server) DeleteTopic(ctx context.Context, r openapi.DeleteTopicRequestObject) (openapi.DeleteTopicResponseObject, error) {
	return openapi.DeleteTopic204Response{}, s.Store.DeleteTopic(ctx, r.ID, principalOf(ctx).Name, s.Now())
}

func (s *server) ListSubscribers(ctx context.Context, r openapi.ListSubscribersRequestObject) (openapi.ListSubscribersResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "subscribers", r.ID)
	if err != nil {
		return nil, err
	}
	after, err := p.afterID()
	if err != nil {
		return nil, err
	}
	found, total, err := s.Store.Subscribers(ctx, r.ID, after, p.fetch())
	found, next := cut(p, found, func(v user.Subscriber) int64 { return v.UserID })
	return openapi.ListSubscribers200JSONResponse{Subscribers: each(found, showSubscriber), NextCursor: next, Total: total}, err
}

func (s *server) GetUserTopics(ctx context.Context, r openapi.GetUserTopicsRequestObject) (openapi.GetUserTopicsResponseObject, error) {
	number, err := s.pathNumber(r.PhoneNumber)
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Subscriptions(ctx, number)
	return openapi.GetUserTopics200JSONResponse{Subscriptions: each(found, showSubscription)}, err
}

func (s *server) SetSubscription(ctx context.Context, r openapi.SetSubscriptionRequestObject) (openapi.SetSubscriptionResponseObject, error) {
	number, err := s.pathNumber(r.PhoneNumber)
	if err != nil {
		return nil, err
	}
	change := user.Change{Source: user.SourceAPI, Evidence: r.Body.Evidence}
	if value(r.Body.Source) == openapi.ConsentSourceOperator {
		change.Source = user.SourceOperator
	}
	said, err := s.Store.SetSubscription(ctx, number, r.TopicID, r.Body.Subscribed, change, principalOf(ctx).Name, s.Now())
	return openapi.SetSubscription200JSONResponse(showSubscription(said)), err
}

func topicOf(w openapi.TopicWrite) user.Topic {
	return user.Topic{Keyword: value(w.Keyword), Name: w.Name, Description: value(w.Description)}
}

func showTopic(t user.Topic) openapi.Topic {
	return openapi.Topic{ID: t.ID, Keyword: none(t.Keyword), Name: t.Name, Description: t.Description, CreatedAt: t.CreatedAt}
}

func showSubscriber(v user.Subscriber) openapi.Subscriber {
	return openapi.Subscriber{MaskedPhone: masked(v.Phone), ConsentState: openapi.ConsentState(v.Consent), SubscribedAt: v.SubscribedAt}
}

func showSubscription(v user.Subscription) openapi.Subscription {
	return openapi.Subscription{
		TopicID: v.Topic.ID, Keyword: none(v.Topic.Keyword), Name: v.Topic.Name, Subscribed: v.Subscribed,
		Source: openapi.SubscriptionSource(v.Source), Evidence: v.Evidence, Actor: v.Actor, ChangedAt: v.ChangedAt,
	}
}
