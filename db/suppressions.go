package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/suppression"
)

// A person's row says what their number is suppressed for, so that neither the freeze of an audience nor a send looks at
// the list. Whoever adds people looks for them in the list, and whoever adds to the list looks for the people; a lock on
// the whole list, shared by the former, keeps one from missing the other. It comes before the locks on people.

var errNoSuppressionKey = errors.New("the store has no key to hash suppressed numbers with")

// CheckSuppressionKeys fails when the list has entries under a key that the store does not know: people would be written
// to who must not be.
func (s *Store) CheckSuppressionKeys(ctx context.Context) error {
	ids, err := s.q(ctx).SuppressionKeys(ctx)
	if err != nil {
		return translate(err, "keys of suppressions")
	}
	for _, id := range ids {
		if !s.keys.Knows(id) {
			return fmt.Errorf("the list of suppressions has entries under key %s, which is none of SUPPRESSION_KEY and SUPPRESSION_KEY_PREVIOUS", id)
		}
	}
	return nil
}

// AddSuppressions adds numbers to the list, at once and for good, and ends what waits to be sent to them. It returns the entries
// made; a number that is suppressed for the scope already gets none. A scope that names an unknown topic is refused.
func (s *Store) AddSuppressions(ctx context.Context, news []suppression.New, source suppression.Source, actor string, now time.Time) (added []suppression.Entry, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.knowTopics(ctx, news); err != nil {
			return err
		}
		if err := s.q(ctx).SuppressionsOwn(ctx); err != nil {
			return translate(err, "list of suppressions")
		}
		if added, err = s.suppress(ctx, news, source, actor, now); err != nil || len(added) == 0 {
			return err
		}
		subject, detail := "suppressions", map[string]any{"entries": len(added), "source": source}
		if len(added) == 1 {
			subject, detail = suppressionSubject(added[0].ID), map[string]any{"scope": added[0].Scope, "reason": added[0].Reason, "source": source}
		}
		return s.audit(ctx, actor, "suppression.add", subject, detail, now)
	})
	return added, err
}

func suppressionSubject(id int64) string { return fmt.Sprintf("suppression/%d", id) }

func (s *Store) knowTopics(ctx context.Context, news []suppression.New) error {
	var wanted []int32
	for _, n := range news {
		if id := n.Scope.Topic(); id != 0 {
			wanted = append(wanted, int32(id))
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	known, err := s.q(ctx).TopicIDsKnown(ctx, wanted)
	if err != nil {
		return translate(err, "topics")
	}
	for _, id := range wanted {
		if !slices.Contains(known, id) {
			return fault.Refuse("scope", "names topic %d, which does not exist", id)
		}
	}
	return nil
}

// suppress is AddSuppressions in a transaction that has the list for itself.
func (s *Store) suppress(ctx context.Context, news []suppression.New, source suppression.Source, actor string, now time.Time) ([]suppression.Entry, error) {
	if len(s.keys) == 0 {
		return nil, errNoSuppressionKey
	}
	numbers := make([]phone.Number, len(news))
	for i, n := range news {
		numbers[i] = n.Phone
	}
	people, err := s.q(ctx).UsersByNumberLock(ctx, texts(numbers))
	if err != nil {
		return nil, translate(err, "people of suppressions")
	}
	if err := s.rekey(ctx, numbers); err != nil {
		return nil, err
	}
	ids, owners := make(map[phone.Number]int64, len(people)), make(map[int64]phone.Number, len(people))
	for _, p := range people {
		number := phone.Number(p.PhoneNumber)
		ids[number], owners[p.ID] = p.ID, number
	}
	add := dbsqlc.SuppressionsAddParams{KeyID: s.keys.ID(), Source: string(source), Actor: actor, Now: now}
	for _, n := range news {
		add.NumberHmacs = append(add.NumberHmacs, s.keys.Hash(n.Phone))
		add.Scopes = append(add.Scopes, string(n.Scope))
		add.UserIds = append(add.UserIds, ids[n.Phone])
		add.Reasons = append(add.Reasons, string(n.Reason))
		add.Evidences = append(add.Evidences, n.Evidence)
	}
	rows, err := s.q(ctx).SuppressionsAdd(ctx, add)
	if err != nil {
		return nil, translate(err, "suppressions")
	}
	added := make([]suppression.Entry, len(rows))
	concerned := map[string][]int64{} // by scope
	for i, row := range rows {
		added[i] = toSuppression(row, nil)
		if row.UserID != nil {
			added[i].Phone = owners[*row.UserID]
			concerned[row.Scope] = append(concerned[row.Scope], *row.UserID)
		}
	}
	return added, s.enforce(ctx, concerned, now)
}

// enforce notes new suppressions on people whose rows the transaction holds, and ends what they wait for.
func (s *Store) enforce(ctx context.Context, concerned map[string][]int64, now time.Time) error {
	for scope, ids := range concerned {
		if err := s.q(ctx).UsersSuppressAgain(ctx, ids); err != nil {
			return translate(err, "suppressed people")
		}
		rows, err := s.q(ctx).MessagesSuppress(ctx, dbsqlc.MessagesSuppressParams{
			UserIds: ids, Scopes: []string{scope}, Reason: string(compliance.Suppressed), Now: &now,
		})
		if err != nil {
			return translate(err, "waiting messages")
		}
		for _, row := range rows {
			if err := s.signalRecipient(ctx, row.RunID, row.CampaignID, row.Number, row.Seq, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// LiftSuppression takes an entry out of force, with evidence of why. One that is lifted already gives a Conflict.
func (s *Store) LiftSuppression(ctx context.Context, id int64, evidence, actor string, now time.Time) (entry suppression.Entry, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.q(ctx).SuppressionsOwn(ctx); err != nil {
			return translate(err, "list of suppressions")
		}
		found, err := s.q(ctx).SuppressionGet(ctx, id)
		if err != nil {
			return translate(err, "this suppression")
		}
		if userID := found.Suppression.UserID; userID != nil {
			if err := s.q(ctx).UserByIDLock(ctx, *userID); err != nil {
				return translate(err, "person of the suppression")
			}
		}
		row, err := s.q(ctx).SuppressionLift(ctx, dbsqlc.SuppressionLiftParams{ID: id, LiftedBy: actor, LiftedEvidence: evidence, Now: &now})
		if isNoRows(err) {
			return fault.New(fault.Conflict, "this suppression is lifted already")
		} else if err != nil {
			return translate(err, "suppression")
		}
		entry = toSuppression(row, found.PhoneNumber)
		detail := map[string]any{"was": map[string]any{"scope": entry.Scope, "reason": entry.Reason}}
		if err := s.audit(ctx, actor, "suppression.lift", suppressionSubject(id), detail, now); err != nil || row.UserID == nil {
			return err
		}
		return translate(s.q(ctx).UsersSuppressAgain(ctx, []int64{*row.UserID}), "person of the suppression")
	})
	return entry, err
}

// Suppressions lists entries that fit, newest first, with ids below before (nil for no bound), and counts all that fit.
func (s *Store) Suppressions(ctx context.Context, f suppression.Filter, before *int64, atMost int) ([]suppression.Entry, int64, error) {
	p := dbsqlc.SuppressionListParams{WithLifted: f.WithLifted, Scope: none(string(f.Scope)), Before: before, AtMost: int32(atMost)}
	if f.Phone != "" {
		if len(s.keys) == 0 {
			return nil, 0, errNoSuppressionKey
		}
		if err := s.rekey(ctx, []phone.Number{f.Phone}); err != nil {
			return nil, 0, err
		}
		p.NumberHmac = s.keys.Hash(f.Phone)
	}
	entries, err := s.listSuppressions(ctx, p)
	if err != nil {
		return nil, 0, err
	}
	total, err := s.q(ctx).SuppressionCount(ctx, dbsqlc.SuppressionCountParams{WithLifted: p.WithLifted, Scope: p.Scope, NumberHmac: p.NumberHmac})
	return entries, total, translate(err, "suppressions")
}

// SuppressionPage is Suppressions of all scopes without the count.
func (s *Store) SuppressionPage(ctx context.Context, withLifted bool, before *int64, atMost int) ([]suppression.Entry, error) {
	return s.listSuppressions(ctx, dbsqlc.SuppressionListParams{WithLifted: withLifted, Before: before, AtMost: int32(atMost)})
}

func (s *Store) listSuppressions(ctx context.Context, p dbsqlc.SuppressionListParams) ([]suppression.Entry, error) {
	rows, err := s.q(ctx).SuppressionList(ctx, p)
	if err != nil {
		return nil, translate(err, "suppressions")
	}
	entries := make([]suppression.Entry, len(rows))
	for i, row := range rows {
		entries[i] = toSuppression(row.Suppression, row.PhoneNumber)
	}
	return entries, nil
}

// shareSuppressions keeps numbers from being suppressed until the transaction ends. Whoever adds people calls it first,
// before any person is locked, and suppressAdded afterwards.
func (s *Store) shareSuppressions(ctx context.Context) error {
	return translate(s.q(ctx).SuppressionsShare(ctx), "list of suppressions")
}

// suppressAdded notes on people who were just added what their numbers are suppressed for.
func (s *Store) suppressAdded(ctx context.Context, numbers []phone.Number) error {
	exist, err := s.q(ctx).SuppressionsExist(ctx)
	if err != nil || !exist || len(numbers) == 0 {
		return translate(err, "list of suppressions")
	}
	if len(s.keys) == 0 {
		return errNoSuppressionKey
	}
	if err := s.rekey(ctx, numbers); err != nil {
		return err
	}
	hashes := make([][]byte, len(numbers))
	for i, n := range numbers {
		hashes[i] = s.keys.Hash(n)
	}
	return translate(s.q(ctx).UsersSuppress(ctx, dbsqlc.UsersSuppressParams{PhoneNumbers: texts(numbers), NumberHmacs: hashes}), "suppressed people")
}

// rekey brings what is entered of these numbers under earlier keys to the present one.
func (s *Store) rekey(ctx context.Context, numbers []phone.Number) error {
	if len(s.keys) < 2 {
		return nil
	}
	p := dbsqlc.SuppressionsRekeyParams{KeyID: s.keys.ID()}
	for _, n := range numbers {
		present := s.keys.Hash(n)
		for _, earlier := range s.keys.Earlier(n) {
			if !bytes.Equal(earlier, present) {
				p.EarlierHmacs, p.NumberHmacs = append(p.EarlierHmacs, earlier), append(p.NumberHmacs, present)
			}
		}
	}
	return translate(s.q(ctx).SuppressionsRekey(ctx, p), "suppressions")
}

// welcomeBack lifts what stands in the way of a person only because they were erased before: they asked by themselves to
// be written to. Their row is locked already.
func (s *Store) welcomeBack(ctx context.Context, userID int64, evidence string, now time.Time) error {
	lifted, err := s.q(ctx).SuppressionsOfErasureLift(ctx, dbsqlc.SuppressionsOfErasureLiftParams{
		UserID: userID, LiftedBy: senderActor, LiftedEvidence: evidence, Now: &now,
	})
	if err != nil || lifted == 0 {
		return translate(err, "suppression")
	}
	return translate(s.q(ctx).UsersSuppressAgain(ctx, []int64{userID}), "person of the suppression")
}

// texts are numbers as the database takes them.
func texts(numbers []phone.Number) []string {
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = string(n)
	}
	return out
}

func toSuppression(row dbsqlc.Suppression, number *string) suppression.Entry {
	return suppression.Entry{
		ID: row.ID, NumberHMAC: row.NumberHmac, KeyID: row.KeyID, Scope: suppression.Scope(row.Scope), Phone: phone.Number(deref(number)),
		Reason: suppression.Reason(row.Reason), Evidence: row.Evidence, Source: suppression.Source(row.Source), Actor: row.Actor,
		CreatedAt: row.CreatedAt, LiftedAt: row.LiftedAt, LiftedBy: row.LiftedBy, LiftedEvidence: row.LiftedEvidence,
	}
}

func toScopes(names []string) []suppression.Scope {
	scopes := make([]suppression.Scope, len(names))
	for i, name := range names {
		scopes[i] = suppression.Scope(name)
	}
	return scopes
}
