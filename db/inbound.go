package db

import (
	"cmp"
	"context"
	"time"

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
	known, err := s.q(ctx).InboundRepeat(ctx, m.SID)
	if err == nil {
		return s.received(ctx, m.SID, known.UserID, known.Intent)
	} else if !isNoRows(err) {
		return inbound.Reception{}, translate(err, "inbound message")
	}
	var sender int64 // 0: not a phone number
	var consent user.ConsentState
	if m.From != "" {
		row, err := s.inboundSender(ctx, m, now)
		if err != nil {
			return inbound.Reception{}, err
		}
		sender, consent = row.ID, user.ConsentState(row.ConsentState)
	}
	intent := user.Classify(m.Body, m.ButtonText, m.OptOutType, consent.OptedOut())
	row, err := s.q(ctx).InboundInsert(ctx, dbsqlc.InboundInsertParams{
		ProviderSid: m.SID, UserID: none(sender), Channel: string(m.Channel), Intent: cmp.Or(string(intent.Action), noIntent),
		Body: m.Body, MediaCount: int32(m.MediaCount), Payload: m.Payload, Now: now,
	})
	if err != nil {
		return inbound.Reception{}, translate(err, "inbound message")
	}
	if !row.Inserted { // the same message, delivered twice at once
		return s.received(ctx, m.SID, row.UserID, row.Intent)
	}
	reception := inbound.Reception{Action: intent.Action}
	if sender == 0 {
		return reception, nil
	}
	change := user.Change{Source: user.SourceKeyword, Evidence: m.SID}
	switch intent.Action {
	case user.ActionStop:
		change.State = user.Stop
	case user.ActionStart:
		change.State = user.OptIn
	case user.ActionHelp, user.ActionNone:
	}
	next, err := consent.After(change)
	if err != nil {
		return inbound.Reception{}, err
	}
	if err := s.q(ctx).InboundSenderSeen(ctx, dbsqlc.InboundSenderSeenParams{ID: sender, ConsentState: string(next), Now: now}); err != nil {
		return inbound.Reception{}, translate(err, "sender")
	}
	if next == consent {
		return reception, nil
	}
	reception.Changed = true
	if err := s.recordConsent(ctx, sender, next, change, senderActor, now); err != nil {
		return inbound.Reception{}, err
	}
	if next == user.Stop {
		return reception, s.Withdraw(ctx, sender, string(compliance.Stopped), now)
	}
	return reception, nil
}

// inboundSender finds the person by number, else by their WhatsApp id, else makes them. Their row stays locked.
func (s *Store) inboundSender(ctx context.Context, m inbound.Message, now time.Time) (dbsqlc.InboundSenderLockRow, error) {
	find := dbsqlc.InboundSenderLockParams{PhoneNumber: m.From.String(), OtherNumber: cmp.Or(m.WhatsAppID, m.From).String()}
	row, err := s.q(ctx).InboundSenderLock(ctx, find)
	if !isNoRows(err) {
		return row, translate(err, "sender")
	}
	zones, source := user.ResolveZones(nil, m.From)
	if err := s.q(ctx).InboundSenderInsert(ctx, dbsqlc.InboundSenderInsertParams{
		PhoneNumber: m.From.String(), Region: phone.Region(m.From), Zones: notNil(zones), ZoneSource: string(source), Now: now,
	}); err != nil {
		return row, translate(err, "sender")
	}
	row, err = s.q(ctx).InboundSenderLock(ctx, find)
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
	r.Changed, err = s.q(ctx).InboundChangedConsent(ctx, dbsqlc.InboundChangedConsentParams{UserID: *sender, Evidence: sid})
	return r, translate(err, "consent event")
}
