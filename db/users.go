package db

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// CreateUser adds a person, with what follows from their number. fault.Conflict when the number is known.
func (s *Store) CreateUser(ctx context.Context, number phone.Number, attributes user.Attributes, change user.Change, actor string, now time.Time) (u user.User, err error) {
	consent, err := user.ConsentState("").After(change)
	if err != nil {
		return user.User{}, err
	}
	raw, err := encodeAttributes(attributes)
	if err != nil {
		return user.User{}, err
	}
	zones, source := user.ResolveZones(attributes, number)
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.shareSuppressions(ctx); err != nil {
			return err
		}
		row, err := s.q(ctx).UserInsert(ctx, dbsqlc.UserInsertParams{
			PhoneNumber: string(number), Attributes: raw, ConsentState: string(consent), Region: phone.Region(number),
			Zones: notNil(zones), ZoneSource: string(source), Now: now,
		})
		if err != nil {
			return translate(err, "user")
		}
		if err := s.recordConsent(ctx, row.ID, consent, change, actor, now); err != nil {
			return err
		}
		if err := s.suppressAdded(ctx, []phone.Number{number}); err != nil {
			return err
		}
		if err := s.enlistCreated(ctx, []int64{row.ID}, now); err != nil {
			return err
		}
		if change.Invite {
			if err := s.inviteOne(ctx, row.ID, 0, change.Evidence, actor, now); err != nil {
				return err
			}
		}
		if u, err = s.UserByPhone(ctx, number); err != nil {
			return err
		}
		detail := map[string]any{"consent_state": consent, "attributes": attributeChanges(nil, attributes)}
		return s.audit(ctx, actor, "user.create", userSubject(u.ID), detail, now)
	})
	return u, err
}

func userSubject(id int64) string { return fmt.Sprintf("user/%d", id) }

// UserByPhone finds a person by their number.
func (s *Store) UserByPhone(ctx context.Context, number phone.Number) (user.User, error) {
	row, err := s.q(ctx).UserGet(ctx, string(number))
	if err != nil {
		return user.User{}, translate(err, "this user")
	}
	return toUser(row)
}

// Users lists people, newest first: with that consent ("" for any), a number that begins with prefix ("" for any), and
// an id below after (nil for no bound).
func (s *Store) Users(ctx context.Context, consent user.ConsentState, prefix string, after *int64, atMost int) ([]user.User, error) {
	rows, err := s.q(ctx).UserList(ctx, dbsqlc.UserListParams{
		ConsentState: none(string(consent)), Prefix: none(prefix), After: after, AtMost: int32(atMost),
	})
	if err != nil {
		return nil, translate(err, "users")
	}
	return toUsers(rows)
}

// UserTotal counts the people that Users would list without bounds.
func (s *Store) UserTotal(ctx context.Context, consent user.ConsentState, prefix string) (int64, error) {
	total, err := s.q(ctx).UserTotal(ctx, dbsqlc.UserTotalParams{ConsentState: none(string(consent)), Prefix: none(prefix)})
	return total, translate(err, "users")
}

// UpdateUser changes a person's attributes (nil leaves them) and consent. Consent that ends also ends what they still
// wait for.
func (s *Store) UpdateUser(ctx context.Context, number phone.Number, attributes user.Attributes, change user.Change, actor string, now time.Time) (u user.User, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).UserLock(ctx, string(number))
		if err != nil {
			return translate(err, "this user")
		}
		if u, err = toUser(row); err != nil {
			return err
		}
		consent, err := u.Consent.After(change)
		if err != nil {
			return err
		}
		detail := changes{}
		if attributes != nil {
			detail["attributes"] = attributeChanges(u.Attributes, attributes)
			u.Attributes = attributes
		}
		detail.note("consent_state", u.Consent, consent)
		raw, err := encodeAttributes(u.Attributes)
		if err != nil {
			return err
		}
		zones, source := user.ResolveZones(u.Attributes, number)
		row, err = s.q(ctx).UserUpdate(ctx, dbsqlc.UserUpdateParams{
			ID: u.ID, Attributes: raw, ConsentState: string(consent), Region: phone.Region(number),
			Zones: notNil(zones), ZoneSource: string(source), Now: now,
		})
		if err != nil {
			return translate(err, "user")
		}
		// A decision is recorded even when it confirms what was known: its evidence is news.
		if consent != u.Consent || change.State == consent && change.Evidence != "" {
			if err := s.recordConsent(ctx, u.ID, consent, change, actor, now); err != nil {
				return err
			}
		}
		if u.Consent.Sendable() && !consent.Sendable() {
			if err := s.Withdraw(ctx, u.ID, withdrawalReason(consent), now); err != nil {
				return err
			}
		}
		if u, err = toUser(row); err != nil {
			return err
		}
		return s.audit(ctx, actor, "user.change", userSubject(u.ID), detail, now)
	})
	return u, err
}

// Withdraw suppresses at once what waits to be sent to a person, and wakes the workflows that wait with it. The caller
// has changed the person's row in the same transaction, so that nothing is sent in between.
func (s *Store) Withdraw(ctx context.Context, userID int64, reason string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		return s.endWaiting(ctx, []int64{userID}, message.Suppressed, reason, now)
	})
}

// withdrawalReason says why nobody with this consent is written to.
func withdrawalReason(consent user.ConsentState) string {
	switch consent {
	case user.Stop:
		return string(compliance.Stopped)
	case user.OptOut:
		return string(compliance.OptedOut)
	default:
		return string(compliance.NoConsent)
	}
}

// endWaiting ends the pending messages and the enrolments of people whose rows the transaction holds.
func (s *Store) endWaiting(ctx context.Context, userIDs []int64, state message.State, reason string, now time.Time) error {
	if _, err := s.exitEnrolments(ctx, userIDs, false, reason, now); err != nil {
		return err
	}
	rows, err := s.q(ctx).MessagesWithdraw(ctx, dbsqlc.MessagesWithdrawParams{
		UserIds: userIDs, State: string(state), Reason: reason, Now: &now,
	})
	if err != nil {
		return translate(err, "waiting messages")
	}
	for _, row := range rows {
		if err := s.signalRecipient(ctx, row.RunID, row.CampaignID, row.Number, row.Seq, now); err != nil {
			return err
		}
	}
	return nil
}

// signalRecipient has the workflow of a message look at what became of it.
func (s *Store) signalRecipient(ctx context.Context, runID int64, campaignID, number, seq int32, now time.Time) error {
	return s.enqueue(ctx, outbox.SignalRecipient, outbox.Recipient{
		Run: outbox.Run{RunID: runID, CampaignID: int64(campaignID), Number: int(number)}, Seq: int(seq),
	}, now)
}

// ConsentHistory lists the changes of a person's consent, newest first, with ids below before (nil for no bound), and
// counts all.
func (s *Store) ConsentHistory(ctx context.Context, number phone.Number, before *int64, atMost int) ([]user.Event, int64, error) {
	u, err := s.UserByPhone(ctx, number)
	if err != nil {
		return nil, 0, err
	}
	events, err := s.consentEvents(ctx, u.ID, before, atMost)
	if err != nil {
		return nil, 0, err
	}
	total, err := s.q(ctx).ConsentEventCount(ctx, u.ID)
	return events, total, translate(err, "consent events")
}

func (s *Store) consentEvents(ctx context.Context, userID int64, before *int64, atMost int) ([]user.Event, error) {
	rows, err := s.q(ctx).ConsentEventList(ctx, dbsqlc.ConsentEventListParams{UserID: userID, Before: before, AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "consent events")
	}
	events := make([]user.Event, len(rows))
	for i, r := range rows {
		events[i] = user.Event{
			ID: r.ID, State: user.ConsentState(r.State), Previous: user.ConsentState(r.PreviousState), Source: user.Source(r.Source),
			Evidence: r.Evidence, Wording: r.Wording, CallerIP: r.CallerIp, Invitation: r.InvitationID, Actor: r.Actor, At: r.CreatedAt,
		}
	}
	return events, nil
}

func (s *Store) recordConsent(ctx context.Context, userID int64, state user.ConsentState, change user.Change, actor string, now time.Time) error {
	return translate(s.q(ctx).ConsentEventInsert(ctx, dbsqlc.ConsentEventInsertParams{
		UserID: userID, State: string(state), Source: string(cmp.Or(change.Source, user.SourceUnknown)), Evidence: change.Evidence, Wording: change.Wording,
		CallerIp: change.CallerIP, Actor: actor, InvitationID: change.Invitation, Now: now,
	}), "consent event")
}

func encodeAttributes(attributes user.Attributes) (json.RawMessage, error) {
	if attributes == nil {
		return json.RawMessage("{}"), nil
	}
	raw, err := json.Marshal(attributes)
	if err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	return raw, nil
}

// decodeAttributes reads what is stored. It has no bounds of its own: PostgreSQL writes JSON longer than it was given.
func decodeAttributes(raw json.RawMessage) (attributes user.Attributes, err error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	err = decoder.Decode(&attributes)
	return attributes, err
}

func toUser(row dbsqlc.User) (user.User, error) {
	attributes, err := decodeAttributes(row.Attributes)
	if err != nil {
		return user.User{}, fmt.Errorf("user %d: %w", row.ID, err)
	}
	return user.User{
		ID: row.ID, Phone: phone.Number(row.PhoneNumber), Attributes: attributes, Consent: user.ConsentState(row.ConsentState),
		Region: row.Region, Zones: row.Zones, ZoneSource: user.ZoneSource(row.ZoneSource), LastInboundAt: row.LastInboundAt,
		Suppressed: toScopes(row.Suppressed), CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}, nil
}

func toUsers(rows []dbsqlc.User) ([]user.User, error) {
	users := make([]user.User, len(rows))
	for i, row := range rows {
		var err error
		if users[i], err = toUser(row); err != nil {
			return nil, err
		}
	}
	return users, nil
}

// notNil keeps an empty list from becoming NULL.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// none is nil for the zero value: a filter that is not set.
func none[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
