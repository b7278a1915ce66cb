package db

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/privacy"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/suppression"
)

// EraseUser forgets a person. What still waits for them is cancelled, their ledger rows stay without them, what the
// provider told of them is emptied, rows of imports that name them are dropped, and their number stays suppressed, as a
// hash. The provider's copies are left to a workflow, which knows the number until it has read the provider's list for
// the last time.
func (s *Store) EraseUser(ctx context.Context, number phone.Number, actor string, now time.Time) (e privacy.Erasure, err error) {
	if e.ID, err = uuid.NewV7(); err != nil {
		return privacy.Erasure{}, fmt.Errorf("erasure id: %w", err)
	}
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.unbounded(ctx); err != nil { // it waits for the chunk of an import that is being taken in
			return err
		}
		if err := s.forgetImportRows(ctx, number); err != nil {
			return err
		}
		if err := s.q(ctx).SuppressionsOwn(ctx); err != nil {
			return translate(err, "list of suppressions")
		}
		row, err := s.q(ctx).UserLock(ctx, string(number))
		if err != nil {
			return translate(err, "this user")
		}
		if err := s.q(ctx).UserMessagesLock(ctx, row.ID); err != nil {
			return translate(err, "erasure")
		}
		if err := s.endWaiting(ctx, []int64{row.ID}, message.Cancelled, message.ReasonErased, now); err != nil {
			return err
		}
		erased := []suppression.New{{Phone: number, Scope: suppression.Global, Reason: suppression.Erased}}
		if _, err := s.suppress(ctx, erased, suppression.FromErasure, actor, now); err != nil {
			return err
		}
		if err := s.q(ctx).ErasureInsert(ctx, dbsqlc.ErasureInsertParams{ID: e.ID, PhoneNumber: string(number), RequestedBy: actor, Now: now}); err != nil {
			return translate(err, "erasure")
		}
		if err := s.q(ctx).ErasureCopiesOfUser(ctx, dbsqlc.ErasureCopiesOfUserParams{ErasureID: e.ID, UserID: row.ID}); err != nil {
			return translate(err, "copies to erase")
		}
		if err := s.scrubUser(ctx, row.ID, number); err != nil {
			return err
		}
		if err := s.audit(ctx, actor, "user.erase", fmt.Sprintf("user/%d", row.ID), map[string]any{"erasure": e.ID}, now); err != nil {
			return err
		}
		if err := s.enqueue(ctx, outbox.StartErasure, outbox.Erasure{ErasureID: e.ID}, now); err != nil {
			return err
		}
		e, err = s.Erasure(ctx, e.ID)
		return err
	})
	return e, err
}

// scrubUser removes a person's row, and what else names them.
func (s *Store) scrubUser(ctx context.Context, userID int64, number phone.Number) error {
	for _, scrub := range []func(context.Context, int64) error{
		s.q(ctx).UserReceiptsScrub, s.q(ctx).UserInboundScrub, s.q(ctx).UserSuppressionsScrub, s.q(ctx).UserMembershipsForget, s.q(ctx).UserVariablesScrub,
		s.q(ctx).UserDelete,
	} {
		if err := scrub(ctx, userID); err != nil {
			return translate(err, "erasure")
		}
	}
	if err := s.q(ctx).ImportErrorsForget(ctx, number.National()); err != nil {
		return translate(err, "erasure")
	}
	if err := s.q(ctx).ForeignReceiptsScrub(ctx, strings.TrimPrefix(string(number), "+")); err != nil {
		return translate(err, "erasure")
	}
	return translate(s.q(ctx).UserAnswersForget(ctx, string(number)), "erasure")
}

// searchedDigits is how many of a number's last digits an import's rows are searched for: however it is written, with or
// without its country, they are there.
const searchedDigits = 7

// forgetImportRows empties the waiting rows of imports that name the number.
func (s *Store) forgetImportRows(ctx context.Context, number phone.Number) error {
	digits := strings.TrimPrefix(string(number), "+")
	chunks, err := s.q(ctx).ImportChunksNaming(ctx, digits[max(0, len(digits)-searchedDigits):])
	if err != nil {
		return translate(err, "rows of imports")
	}
	for _, c := range chunks {
		imp, err := s.Import(ctx, c.ImportID)
		if err != nil {
			return err
		}
		parse, err := imp.Parser()
		if err != nil {
			return fmt.Errorf("import %s: %w", imp.ID, err)
		}
		forget := dbsqlc.ImportRecordsForgetParams{ImportID: imp.ID, Number: c.Number}
		for i, record := range c.Records {
			if person, err := parse(record); err == nil && person.Phone == number {
				forget.Lines = append(forget.Lines, c.Lines[i])
			}
		}
		if len(forget.Lines) == 0 {
			continue
		}
		if err := s.q(ctx).ImportRecordsForget(ctx, forget); err != nil {
			return translate(err, "rows of imports")
		}
	}
	return nil
}

// Erasure tells how far an erasure has come.
func (s *Store) Erasure(ctx context.Context, id uuid.UUID) (privacy.Erasure, error) {
	r, err := s.q(ctx).ErasureGet(ctx, id)
	if err != nil {
		return privacy.Erasure{}, translate(err, "this erasure")
	}
	return privacy.Erasure{
		ID: r.ID, Phone: phone.Number(deref(r.PhoneNumber)), RequestedBy: r.RequestedBy, RequestedAt: r.RequestedAt, CompletedAt: r.CompletedAt,
		Copies: int(r.Copies), Removed: int(r.Removed),
	}, nil
}

// OpenErasures lists the erasures that are not complete, but for those requested after the given moment.
func (s *Store) OpenErasures(ctx context.Context, requestedBefore time.Time) ([]uuid.UUID, error) {
	ids, err := s.q(ctx).ErasuresOpen(ctx, requestedBefore)
	return ids, translate(err, "open erasures")
}

// OurAddresses lists all addresses of ours.
func (s *Store) OurAddresses(ctx context.Context) ([]privacy.Address, error) {
	rows, err := s.q(ctx).SenderAddresses(ctx)
	if err != nil {
		return nil, translate(err, "senders")
	}
	addresses := make([]privacy.Address, len(rows))
	for i, r := range rows {
		addresses[i] = privacy.Address{Channel: message.Channel(r.Channel), E164: r.Address}
	}
	return addresses, nil
}

// AddCopies notes messages that the provider has and an erasure is to remove there.
func (s *Store) AddCopies(ctx context.Context, id uuid.UUID, sids []string) error {
	return translate(s.q(ctx).ErasureCopiesAdd(ctx, dbsqlc.ErasureCopiesAddParams{ErasureID: id, ProviderSids: sids}), "copies to erase")
}

// CopiesLeft lists up to atMost messages that are still to be removed, with SIDs above after, in order.
func (s *Store) CopiesLeft(ctx context.Context, id uuid.UUID, after string, atMost int) ([]string, error) {
	sids, err := s.q(ctx).ErasureCopiesLeft(ctx, dbsqlc.ErasureCopiesLeftParams{ErasureID: id, After: after, AtMost: int32(atMost)})
	return sids, translate(err, "copies to erase")
}

// CopyRemoved notes that the provider does not have a message any more.
func (s *Store) CopyRemoved(ctx context.Context, id uuid.UUID, sid string, now time.Time) error {
	return translate(s.q(ctx).ErasureCopyRemoved(ctx, dbsqlc.ErasureCopyRemovedParams{ErasureID: id, ProviderSid: sid, Now: &now}), "removed copy")
}

// ForgetNumber gives up the number of an erasure. Nothing can be looked up by it afterwards.
func (s *Store) ForgetNumber(ctx context.Context, id uuid.UUID) error {
	return translate(s.q(ctx).ErasureForget(ctx, id), "erasure")
}

// CompleteErasure ends an erasure that has nothing left to do, and reports whether it is at its end.
func (s *Store) CompleteErasure(ctx context.Context, id uuid.UUID, now time.Time) (bool, error) {
	if _, err := s.q(ctx).ErasureComplete(ctx, dbsqlc.ErasureCompleteParams{ID: id, Now: &now}); err != nil {
		return false, translate(err, "erasure")
	}
	e, err := s.Erasure(ctx, id)
	return e.CompletedAt != nil, err
}

// everything is the bound of lists that are given whole: those about one person.
const everything = 1 << 30

// UserRecord gathers everything that is held about a person, as of one moment, and notes that somebody has seen it.
func (s *Store) UserRecord(ctx context.Context, number phone.Number, actor string, now time.Time) (r privacy.Record, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).UserLock(ctx, string(number))
		if err != nil {
			return translate(err, "this user")
		}
		if r.User, err = toUser(row); err != nil {
			return err
		}
		r.At = now
		if r.Invitations, err = s.invitations(ctx, row.ID, everything); err != nil {
			return err
		}
		if r.Consent, err = s.consentEvents(ctx, row.ID, nil, everything); err != nil {
			return err
		}
		if r.Messages, err = s.messagesOfUser(ctx, row.ID, number); err != nil {
			return err
		}
		if err := s.fillRecord(ctx, row.ID, &r); err != nil {
			return err
		}
		return s.audit(ctx, actor, "user.export", fmt.Sprintf("user/%d", row.ID), nil, now)
	})
	return r, err
}

func (s *Store) fillRecord(ctx context.Context, userID int64, r *privacy.Record) error {
	subscriptions, err := s.q(ctx).UserSubscriptions(ctx, userID)
	if err != nil {
		return translate(err, "subscriptions")
	}
	for _, row := range subscriptions {
		r.Subscriptions = append(r.Subscriptions, privacy.Subscription{TopicID: int64(row.TopicID), Topic: row.Name, Since: row.CreatedAt})
	}
	said, err := s.q(ctx).SubscriptionEvents(ctx, userID)
	if err != nil {
		return translate(err, "history of subscriptions")
	}
	for _, row := range said {
		r.Said = append(r.Said, toSubscription(row))
	}
	segments, err := s.q(ctx).SegmentsOfMember(ctx, userID)
	if err != nil {
		return translate(err, "static segments")
	}
	for _, row := range segments {
		r.Segments = append(r.Segments, privacy.Segment{ID: int64(row.ID), Name: row.Name})
	}
	enrolments, err := s.q(ctx).EnrolmentsOfUser(ctx, userID)
	if err != nil {
		return translate(err, "enrolments")
	}
	for _, row := range enrolments {
		e := privacy.Enrolment{
			CampaignID: int64(row.CampaignID), RunNumber: int(row.RunNumber), State: ledger.EnrolmentState(row.State), Reason: row.Reason,
			NextStep: int(row.NextStep), CreatedAt: row.CreatedAt, EndedAt: row.EndedAt,
		}
		if row.Variables != nil {
			if err := json.Unmarshal(row.Variables, &e.Variables); err != nil {
				return fmt.Errorf("variables of an enrolment: %w", err)
			}
		}
		r.Enrolments = append(r.Enrolments, e)
	}
	suppressions, err := s.q(ctx).UserSuppressions(ctx, userID)
	if err != nil {
		return translate(err, "suppressions")
	}
	for _, row := range suppressions {
		entry := toSuppression(row, nil)
		entry.Phone = r.User.Phone
		r.Suppressions = append(r.Suppressions, entry)
	}
	received, err := s.q(ctx).UserInbound(ctx, userID)
	if err != nil {
		return translate(err, "inbound messages")
	}
	for _, row := range received {
		r.Inbound = append(r.Inbound, privacy.Inbound{
			SID: row.ProviderSid, Channel: message.Channel(row.Channel), Kind: inbound.KindOf(toAction(row.Intent), row.Body, int(row.MediaCount)),
			Body: row.Body, MediaCount: int(row.MediaCount), Payload: row.Payload, ReceivedAt: row.ReceivedAt,
		})
	}
	return nil
}

func (s *Store) messagesOfUser(ctx context.Context, userID int64, number phone.Number) ([]privacy.Message, error) {
	rows, err := s.q(ctx).UserMessages(ctx, userID)
	if err != nil {
		return nil, translate(err, "messages")
	}
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.Message.ID
	}
	traced, err := s.AttemptsOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	payloads, err := s.payloadsOf(ctx, traced)
	if err != nil {
		return nil, err
	}
	messages := make([]privacy.Message, len(rows))
	for i, r := range rows {
		m := privacy.Message{Message: toMessage(r.Message, (*string)(&number), r.CampaignID, r.RunNumber)}
		for _, a := range traced[r.Message.ID] {
			attempt := privacy.Attempt{Attempt: a.Attempt}
			for _, heard := range a.Receipts {
				key := said{heard.SID, heard.Status, int32(heard.ErrorCode)}
				attempt.Receipts = append(attempt.Receipts, privacy.Receipt{Receipt: heard, Payload: payloads[key]})
			}
			m.Attempts = append(m.Attempts, attempt)
		}
		messages[i] = m
	}
	return messages, nil
}

// payloadsOf returns what the callbacks of the attempts said in full.
func (s *Store) payloadsOf(ctx context.Context, traced map[uuid.UUID][]report.TracedAttempt) (map[said][]byte, error) {
	var attempts []uuid.UUID
	for _, list := range traced {
		for _, a := range list {
			attempts = append(attempts, a.ID)
		}
	}
	rows, err := s.q(ctx).AttemptPayloads(ctx, attempts)
	if err != nil {
		return nil, translate(err, "receipts")
	}
	payloads := make(map[said][]byte, len(rows))
	for _, r := range rows {
		payloads[said{r.ProviderSid, r.Status, r.ErrorCode}] = r.Payload
	}
	return payloads, nil
}

// retired is where something that is kept for a while stands, and how it is emptied. Its table is numbered in the order in
// which things came in.
type retired struct {
	table, emptied, held string // the assignments that empty a row r, and the condition that it is not empty
}

var retiredFrom = map[privacy.Kept]retired{
	privacy.ReceiptPayloads: {"receipts", `payload = '{}'`, `r.payload <> '{}'`},
	privacy.InboundPayloads: {"inbound_messages", `payload = '{}'`, `r.payload <> '{}'`},
	privacy.InboundBodies:   {"inbound_messages", `body = '', payload = '{}'`, `(r.body <> '' OR r.payload <> '{}')`}, // the payload holds the text too
}

// retire empties the next rows that are old enough, and stops at the first that is not.
const retire = `
WITH mark AS (
    SELECT through FROM retention_marks WHERE kind = $1 FOR UPDATE
), next AS (
    SELECT o.id, o.received_at < $2 AS due FROM %[1]s o WHERE o.id > (SELECT through FROM mark) ORDER BY o.id LIMIT $3
), reached AS (
    SELECT coalesce(min(id) FILTER (WHERE NOT due) - 1, max(id), 0)::bigint AS through FROM next
), emptied AS (
    UPDATE %[1]s r SET %[2]s FROM next n, reached WHERE r.id = n.id AND n.id <= reached.through AND %[3]s RETURNING r.id
), moved AS (
    UPDATE retention_marks k SET through = greatest(k.through, reached.through) FROM reached WHERE k.kind = $1
)
SELECT (SELECT count(*) FROM emptied)::integer, (SELECT count(*) FROM next WHERE due) = $3::integer`

// Retire empties up to atMost rows of what came before the given moment, the oldest first, and reports how many it emptied
// and whether there may be more. Refused rows of an import came when it ended.
func (s *Store) Retire(ctx context.Context, what privacy.Kept, before time.Time, atMost int) (emptied int, more bool, err error) {
	if what == privacy.ImportRecords {
		n, err := s.q(ctx).ImportRecordsRetire(ctx, dbsqlc.ImportRecordsRetireParams{EndedBefore: &before, AtMost: int32(atMost)})
		return int(n), int(n) == atMost, translate(err, "old refused rows")
	}
	from := retiredFrom[what]
	err = s.conn(ctx).QueryRow(ctx, fmt.Sprintf(retire, from.table, from.emptied, from.held), what, before, atMost).Scan(&emptied, &more)
	return emptied, more, translate(err, "old "+from.table)
}
