package db

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Receive takes in a message from a person, all at once: the raw message, the sender (made PENDING when unknown) and
// what a keyword does to their consent and to messages that wait for them. A message that came before changes
// nothing but the count of its repeats, and gives the same result again.
func (s *Store) Receive(ctx context.Context, m inbound.Message, now time.Time) (r inbound.Reception, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		r, err = s.receive(ctx, m, now)
		return err
	})
	return r, err
}

func (s *Store) receive(ctx context.Context, m inbound.Message, now time.Time) (inbound.Reception, error) {
	var sender dbsqlc.InboundSenderLockRow // stays empty when the sender is not a phone number
	if m.From != "" {
		var err error
		if sender, err = s.lockSender(ctx, m); isNoRows(err) {
			// Somebody new, or the repeated message of somebody who was erased since: they stay erased.
			if known, err := s.q(ctx).InboundRepeat(ctx, m.SID); err == nil {
				return s.received(ctx, m.SID, known.UserID, known.Intent)
			} else if !isNoRows(err) {
				return inbound.Reception{}, translate(err, "inbound message")
			}
			sender, err = s.addSender(ctx, m, now)
			if err != nil {
				return inbound.Reception{}, err
			}
		} else if err != nil {
			return inbound.Reception{}, translate(err, "sender")
		}
	}
	consent := user.ConsentState(sender.ConsentState)
	intent, err := s.classify(ctx, m.Body, m.ButtonText, m.OptOutType, consent.OptedOut())
	if err != nil {
		return inbound.Reception{}, err
	}
	var invitation uuid.UUID // that the message confirms
	var invited string
	if consent == user.Pending {
		if intent, invitation, invited, err = s.confirmation(ctx, m, sender.ID, sender.Language, intent, now); err != nil {
			return inbound.Reception{}, err
		}
	}
	topic, err := s.topicOf(ctx, intent)
	if err != nil {
		return inbound.Reception{}, err
	}
	change := user.Change{Source: sourceOf(m), Evidence: m.SID, Wording: intent.Keyword}
	if invitation != uuid.Nil {
		change.Wording, change.Invitation = invited, &invitation
	}
	switch intent.Action {
	case user.ActionStop:
		change.State = user.Stop
	case user.ActionStart:
		change.State = user.OptIn
	case user.ActionSubscribe:
		if topic.ID != 0 && consent != user.Stop { // only START takes back a STOP
			change.State = user.OptIn
		}
	case user.ActionUnsubscribe, user.ActionHelp, user.ActionNone:
	}
	next, err := consent.After(change)
	if err != nil {
		return inbound.Reception{}, err
	}
	row, err := s.q(ctx).InboundTake(ctx, dbsqlc.InboundTakeParams{
		ProviderSid: m.SID, UserID: none(sender.ID), Channel: string(m.Channel), Intent: cmp.Or(string(intent.Action), noIntent),
		Keyword: intent.Keyword, KeywordLocale: intent.Locale, Body: m.Body, MediaCount: int32(m.MediaCount), Payload: m.Payload, ConsentState: string(next), Now: now,
	})
	if err != nil {
		return inbound.Reception{}, translate(err, "inbound message")
	}
	if !row.Inserted {
		return s.received(ctx, m.SID, row.UserID, row.Intent)
	}
	r := inbound.Reception{Action: intent.Action}
	if sender.ID == 0 {
		return r, nil
	}
	if intent.Action != user.ActionStop { // which ends every enrolment, as a STOP
		if err := s.exitByReply(ctx, sender.ID, now); err != nil {
			return inbound.Reception{}, err
		}
	}
	if intent.Action == user.ActionNone {
		return r, s.enlistByKeyword(ctx, sender.ID, user.Keyword(cmp.Or(m.Body, m.ButtonText)), m.SID, now)
	}
	if next != consent {
		r.Changed = true
		if err := s.changeConsent(ctx, sender.ID, next, change, now); err != nil {
			return inbound.Reception{}, err
		}
	}
	if topic.ID != 0 {
		subscribed, err := s.subscribe(ctx, sender.ID, topic.ID, intent.Action == user.ActionSubscribe, change, senderActor, now)
		if err != nil {
			return inbound.Reception{}, err
		}
		r.Changed = r.Changed || subscribed
	}
	kind := inbound.ReplyTo(m, intent.Action, consent, r.Changed, topic.ID != 0)
	if invitation != uuid.Nil {
		if err := s.q(ctx).InvitationConfirm(ctx, dbsqlc.InvitationConfirmParams{MessageID: invitation, Now: &now}); err != nil {
			return inbound.Reception{}, translate(err, "invitation")
		}
		if kind == inbound.ReplyStart {
			kind = inbound.ReplyConfirmed
		}
	}
	return r, s.reply(ctx, m, kind, sender.ID, []string{sender.Language, intent.Locale}, topic, now)
}

// changeConsent records what a sender's message, named by change.Evidence, made of their consent, and what follows from it.
func (s *Store) changeConsent(ctx context.Context, userID int64, next user.ConsentState, change user.Change, now time.Time) error {
	if err := s.recordConsent(ctx, userID, next, change, senderActor, now); err != nil {
		return err
	}
	switch next {
	case user.Stop:
		return s.Withdraw(ctx, userID, string(compliance.Stopped), now)
	case user.OptIn:
		return s.welcomeBack(ctx, userID, change.Evidence, now)
	default:
		return nil
	}
}

// topicOf finds the topic that a message subscribes to, or ends; its ID is 0 when there is none, or the message is about
// something else.
func (s *Store) topicOf(ctx context.Context, intent user.Intent) (user.Topic, error) {
	if intent.Topic == "" {
		return user.Topic{}, nil
	}
	row, err := s.q(ctx).TopicByKeyword(ctx, intent.Topic)
	if isNoRows(err) {
		return user.Topic{}, nil
	}
	return toTopic(row), translate(err, "topic")
}

// sourceOf tells a tapped button from what was written.
func sourceOf(m inbound.Message) user.Source {
	if m.ButtonText != "" {
		return user.SourceButton
	}
	return user.SourceKeyword
}

// lockSender finds the person by number, else by their WhatsApp id. Their row stays locked.
func (s *Store) lockSender(ctx context.Context, m inbound.Message) (dbsqlc.InboundSenderLockRow, error) {
	return s.q(ctx).InboundSenderLock(ctx, dbsqlc.InboundSenderLockParams{
		PhoneNumber: m.From.String(), OtherNumber: cmp.Or(m.WhatsAppID, m.From).String(),
	})
}

// addSender makes the person known, whatever else does so at the same time. Their row stays locked.
func (s *Store) addSender(ctx context.Context, m inbound.Message, now time.Time) (dbsqlc.InboundSenderLockRow, error) {
	if err := s.shareSuppressions(ctx); err != nil {
		return dbsqlc.InboundSenderLockRow{}, err
	}
	zones, source := user.ResolveZones(nil, m.From)
	if err := s.q(ctx).InboundSenderInsert(ctx, dbsqlc.InboundSenderInsertParams{
		PhoneNumber: m.From.String(), Region: phone.Region(m.From), Zones: notNil(zones), ZoneSource: string(source), Now: now,
		Source: string(sourceOf(m)), Evidence: m.SID, Actor: senderActor,
	}); err != nil {
		return dbsqlc.InboundSenderLockRow{}, translate(err, "sender")
	}
	if err := s.suppressAdded(ctx, []phone.Number{m.From}); err != nil {
		return dbsqlc.InboundSenderLockRow{}, err
	}
	row, err := s.lockSender(ctx, m)
	return row, translate(err, "sender")
}

// senderActor is who changes their consent by a keyword, in the history of consent.
const senderActor = "user"

// received is what taking in a message came to when it first came.
func (s *Store) received(ctx context.Context, sid string, sender *int64, intent string) (inbound.Reception, error) {
	r := inbound.Reception{Action: toAction(intent)}
	if sender == nil || r.Action == user.ActionNone {
		return r, nil
	}
	var err error
	r.Changed, err = s.q(ctx).InboundChangedSender(ctx, dbsqlc.InboundChangedSenderParams{UserID: *sender, Evidence: sid})
	return r, translate(err, "consent event")
}
