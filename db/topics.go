package db

import (
	"context"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// CreateTopic stores a topic that was checked; ID and time are set here. fault.Conflict when its name or keyword is taken.
func (s *Store) CreateTopic(ctx context.Context, t user.Topic, actor string, now time.Time) (created user.Topic, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).TopicInsert(ctx, dbsqlc.TopicInsertParams{Keyword: none(t.Keyword), Name: t.Name, Description: t.Description, Now: now})
		if err != nil {
			return translate(err, "topic")
		}
		created = toTopic(row)
		return s.audit(ctx, actor, "topic.create", topicSubject(created.ID), topicDetail(created), now)
	})
	return created, err
}

// Topic reads a topic.
func (s *Store) Topic(ctx context.Context, id int64) (user.Topic, error) {
	row, err := s.q(ctx).TopicGet(ctx, int32(id))
	return toTopic(row), translate(err, "this topic")
}

// Topics lists topics, newest first, with an id below after (nil for no bound).
func (s *Store) Topics(ctx context.Context, after *int64, atMost int) ([]user.Topic, error) {
	rows, err := s.q(ctx).TopicList(ctx, dbsqlc.TopicListParams{After: narrow(after), AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "topics")
	}
	topics := make([]user.Topic, len(rows))
	for i, row := range rows {
		topics[i] = toTopic(row)
	}
	return topics, nil
}

// TopicTotal counts topics.
func (s *Store) TopicTotal(ctx context.Context) (int64, error) {
	total, err := s.q(ctx).TopicTotal(ctx)
	return total, translate(err, "topics")
}

// UpdateTopic replaces the texts of the topic with t's ID. Its subscribers stay.
func (s *Store) UpdateTopic(ctx context.Context, t user.Topic, actor string, now time.Time) (updated user.Topic, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		was, err := s.Topic(ctx, t.ID)
		if err != nil {
			return err
		}
		row, err := s.q(ctx).TopicUpdate(ctx, dbsqlc.TopicUpdateParams{ID: int32(t.ID), Keyword: none(t.Keyword), Name: t.Name, Description: t.Description})
		if err != nil {
			return translate(err, "this topic")
		}
		updated = toTopic(row)
		detail := changes{}
		detail.note("name", was.Name, updated.Name)
		detail.note("keyword", was.Keyword, updated.Keyword)
		detail.note("description", was.Description, updated.Description)
		return s.audit(ctx, actor, "topic.change", topicSubject(t.ID), detail, now)
	})
	return updated, err
}

// DeleteTopic deletes a topic and its subscriptions. fault.Conflict when a campaign names it.
func (s *Store) DeleteTopic(ctx context.Context, id int64, actor string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		was, err := s.Topic(ctx, id)
		if err != nil {
			return err
		}
		n, err := s.q(ctx).TopicDelete(ctx, int32(id))
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "this topic does not exist")
		} else if err != nil {
			return translate(err, "topic")
		}
		return s.audit(ctx, actor, "topic.delete", topicSubject(id), map[string]any{"was": topicDetail(was)}, now)
	})
}

func topicDetail(t user.Topic) map[string]any {
	return map[string]any{"name": t.Name, "keyword": t.Keyword, "description": t.Description}
}

// Subscribers lists the people of a topic, the newest people first, with an id below after (nil for no bound), and how
// many there are at all.
func (s *Store) Subscribers(ctx context.Context, topicID int64, after *int64, atMost int) ([]user.Subscriber, int64, error) {
	if _, err := s.Topic(ctx, topicID); err != nil {
		return nil, 0, err
	}
	rows, err := s.q(ctx).SubscriberList(ctx, dbsqlc.SubscriberListParams{TopicID: int32(topicID), After: after, AtMost: int32(atMost)})
	if err != nil {
		return nil, 0, translate(err, "subscribers")
	}
	found := make([]user.Subscriber, len(rows))
	for i, r := range rows {
		found[i] = user.Subscriber{
			UserID: r.ID, Phone: phone.Number(r.PhoneNumber), Consent: user.ConsentState(r.ConsentState), SubscribedAt: r.CreatedAt,
		}
	}
	total, err := s.q(ctx).SubscriberTotal(ctx, int32(topicID))
	return found, total, translate(err, "subscribers")
}

// Subscriptions returns what was last said about a person and each topic, by topic.
func (s *Store) Subscriptions(ctx context.Context, number phone.Number) ([]user.Subscription, error) {
	u, err := s.UserByPhone(ctx, number)
	if err != nil {
		return nil, err
	}
	return s.subscriptions(ctx, u.ID, nil)
}

// SetSubscription subscribes a person to a topic, or ends it, on the ground that change gives. Saying the same again
// changes nothing. What waits for the person of the topic's campaigns is suppressed with the end of the subscription.
func (s *Store) SetSubscription(
	ctx context.Context, number phone.Number, topicID int64, subscribed bool, change user.Change, actor string, now time.Time,
) (said user.Subscription, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).UserLock(ctx, string(number))
		if err != nil {
			return translate(err, "this user")
		}
		if _, err := s.Topic(ctx, topicID); err != nil {
			return err
		}
		changed, err := s.subscribe(ctx, row.ID, topicID, subscribed, change, actor, now)
		if err != nil {
			return err
		}
		if changed {
			detail := changes{"topic": topicID}
			detail.note("subscribed", !subscribed, subscribed)
			if err := s.audit(ctx, actor, "user.subscription", userSubject(row.ID), detail, now); err != nil {
				return err
			}
		}
		all, err := s.subscriptions(ctx, row.ID, &topicID)
		if err != nil {
			return err
		}
		said = all[0]
		return nil
	})
	return said, err
}

// subscribe is SetSubscription for a person whose row the transaction holds; changed tells whether they were not, or
// were, subscribed before.
func (s *Store) subscribe(
	ctx context.Context, userID, topicID int64, subscribed bool, change user.Change, actor string, now time.Time,
) (changed bool, err error) {
	var rows int64
	if subscribed {
		rows, err = s.q(ctx).SubscriptionInsert(ctx, dbsqlc.SubscriptionInsertParams{TopicID: int32(topicID), UserID: userID, Now: now})
	} else {
		rows, err = s.q(ctx).SubscriptionDelete(ctx, dbsqlc.SubscriptionDeleteParams{TopicID: int32(topicID), UserID: userID})
	}
	if err != nil {
		return false, translate(err, "subscription")
	}
	changed = rows > 0
	if !changed {
		last, err := s.subscriptions(ctx, userID, &topicID)
		if err != nil || len(last) > 0 && last[0].Evidence == change.Evidence && last[0].Source == change.Source {
			return false, err
		}
	}
	if err := s.q(ctx).SubscriptionEventInsert(ctx, dbsqlc.SubscriptionEventInsertParams{
		TopicID: int32(topicID), UserID: userID, Subscribed: subscribed, Source: string(change.Source), Evidence: change.Evidence,
		Actor: actor, Now: now,
	}); err != nil {
		return false, translate(err, "subscription event")
	}
	if !changed || subscribed {
		return changed, nil
	}
	ended, err := s.q(ctx).TopicMessagesWithdraw(ctx, dbsqlc.TopicMessagesWithdrawParams{
		UserID: userID, TopicID: int32(topicID), Reason: string(compliance.NotSubscribed), Now: &now,
	})
	if err != nil {
		return false, translate(err, "waiting messages")
	}
	for _, row := range ended {
		if err := s.signalRecipient(ctx, row.RunID, row.CampaignID, row.Number, row.Seq, now); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (s *Store) subscriptions(ctx context.Context, userID int64, topicID *int64) ([]user.Subscription, error) {
	rows, err := s.q(ctx).SubscriptionsOfUser(ctx, dbsqlc.SubscriptionsOfUserParams{UserID: userID, TopicID: cast[int32](topicID)})
	if err != nil {
		return nil, translate(err, "subscriptions")
	}
	found := make([]user.Subscription, len(rows))
	for i, r := range rows {
		found[i] = toSubscription(dbsqlc.SubscriptionEventsRow(r))
	}
	return found, nil
}

func toSubscription(r dbsqlc.SubscriptionEventsRow) user.Subscription {
	return user.Subscription{
		Topic:      user.Topic{ID: int64(r.TopicID), Keyword: deref(r.Keyword), Name: r.Name},
		Subscribed: r.Subscribed, Source: user.Source(r.Source), Evidence: r.Evidence, Actor: r.Actor, ChangedAt: r.CreatedAt,
	}
}

func topicSubject(id int64) string { return fmt.Sprintf("topic/%d", id) }

func toTopic(row dbsqlc.Topic) user.Topic {
	return user.Topic{
		ID: int64(row.ID), Keyword: deref(row.Keyword), Name: row.Name, Description: row.Description, CreatedAt: row.CreatedAt,
	}
}
