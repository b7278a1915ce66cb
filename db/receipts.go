package db

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/user"
)

// RecordReceipts keeps status callbacks, moves the ledger forward by them and leaves word for the workflows that wait,
// in one transaction. It tells for each whether it said anything new. Campaigns whose credentials, sender or template a
// report blames are paused.
func (s *Store) RecordReceipts(ctx context.Context, reports []message.Report, now time.Time) ([]bool, error) {
	var news []bool
	err := s.InTx(ctx, func(ctx context.Context) (err error) {
		news, err = s.recordReceipts(ctx, reports, now)
		return err
	})
	return news, err
}

// said is what makes two callbacks the same.
type said struct {
	sid, status string
	code        int32
}

func (s said) compare(other said) int {
	return cmp.Or(cmp.Compare(s.sid, other.sid), cmp.Compare(s.status, other.status), cmp.Compare(s.code, other.code))
}

func (s *Store) recordReceipts(ctx context.Context, reports []message.Report, now time.Time) ([]bool, error) {
	owner, err := s.ownersOf(ctx, reports)
	if err != nil {
		return nil, err
	}
	first := map[said]int{} // one statement may not write a row twice: the first of equal callbacks stands for all
	var apply []int         // repetitions of what came before too: it may have come before anyone knew whose it was
	for i, r := range reports {
		key := said{r.SID, r.Status, int32(r.Code)}
		if _, again := first[key]; again {
			continue
		}
		first[key] = i
		if owner[i] != uuid.Nil {
			apply = append(apply, i)
		}
	}
	blames, err := s.blamesOf(ctx, reports, owner, apply)
	if err != nil {
		return nil, err
	}
	atFault, err := s.lockAtFault(ctx, slices.Collect(maps.Values(blames))) // before all else that is locked here
	if err != nil {
		return nil, err
	}
	entries, err := s.lockEntries(ctx, reports, owner, apply)
	if err != nil {
		return nil, err
	}
	insert := dbsqlc.ReceiptInsertParams{Now: now}
	for _, key := range slices.SortedFunc(maps.Keys(first), said.compare) { // so that two batches cannot wait for each other
		r := reports[first[key]]
		insert.ProviderSids = append(insert.ProviderSids, r.SID)
		insert.AttemptIds = append(insert.AttemptIds, owner[first[key]])
		insert.Statuses = append(insert.Statuses, r.Status)
		insert.ErrorCodes = append(insert.ErrorCodes, int32(r.Code))
		if e, _ := entries.find(owner[first[key]]); e != nil && e.userID == nil { // erased: the callback still names the number
			r.Payload = []byte(`{}`)
		}
		insert.Payloads = append(insert.Payloads, r.Payload)
	}
	rows, err := s.q(ctx).ReceiptInsert(ctx, insert)
	if err != nil {
		return nil, translate(err, "receipts")
	}
	news := make([]bool, len(reports))
	for _, r := range rows {
		news[first[said{r.ProviderSid, r.Status, r.ErrorCode}]] = r.Inserted
	}
	faulty, err := s.applyReports(ctx, reports, owner, apply, entries, now)
	if err != nil {
		return nil, err
	}
	var met []blame
	for _, i := range faulty {
		met = append(met, blames[i])
	}
	return news, s.pauseAtFault(ctx, atFault, met, now)
}

// ownersOf finds the attempt that each report is about, by the id in its URL or else by the SID; the zero id for none.
func (s *Store) ownersOf(ctx context.Context, reports []message.Report) ([]uuid.UUID, error) {
	var p dbsqlc.AttemptsOfReportsParams
	for _, r := range reports {
		if r.AttemptID != nil {
			p.Ids = append(p.Ids, *r.AttemptID)
		}
		p.Sids = append(p.Sids, r.SID)
	}
	rows, err := s.q(ctx).AttemptsOfReports(ctx, p)
	if err != nil {
		return nil, translate(err, "attempts of receipts")
	}
	sidOf, bySID := map[uuid.UUID]string{}, map[string]uuid.UUID{}
	for _, r := range rows {
		sidOf[r.ID] = ""
		if r.ProviderSid != nil {
			sidOf[r.ID], bySID[*r.ProviderSid] = *r.ProviderSid, r.ID
		}
	}
	owner := make([]uuid.UUID, len(reports))
	for i, r := range reports {
		owner[i] = bySID[r.SID]
		if owner[i] == uuid.Nil && r.AttemptID != nil {
			// An attempt that is known under another SID is not this message's.
			if sid, known := sidOf[*r.AttemptID]; known && sid == "" {
				owner[i] = *r.AttemptID
			}
		}
	}
	return owner, nil
}

// applyReports applies reports[i] for each i in apply to the ledger's locked entries. It returns those i that blame more
// than their message.
func (s *Store) applyReports(ctx context.Context, reports []message.Report, owner []uuid.UUID, apply []int, entries entries, now time.Time) (faulty []int, err error) {
	changed, slow := map[*entry]bool{}, map[int64]bool{}
	var updates dbsqlc.AttemptsUpdateParams
	updates.Now = &now
	for _, i := range apply {
		e, at := entries.find(owner[i])
		if e == nil {
			continue
		}
		effect := e.message.Apply(e.attempts, at, reports[i], now)
		if !effect.Changed {
			continue
		}
		changed[e] = true
		a := e.attempts[at]
		updates.Ids, updates.States, updates.Carriers = append(updates.Ids, a.ID), append(updates.States, string(a.State)), append(updates.Carriers, string(a.Carrier))
		updates.ProviderSids, updates.ErrorCodes = append(updates.ProviderSids, a.SID), append(updates.ErrorCodes, int32(a.ErrorCode))
		if effect.Wake {
			if err := s.enqueue(ctx, outbox.SignalRecipient, e.recipient, now); err != nil {
				return nil, err
			}
		}
		if effect.OptOut && e.userID != nil {
			if err := s.carrierOptOut(ctx, *e.userID, reports[i].SID, now); err != nil {
				return nil, err
			}
		}
		if effect.Fault {
			faulty = append(faulty, i)
		}
		if effect.Slow {
			slow[e.senderID] = true
		}
	}
	if err := s.saveEntries(ctx, changed, updates, now); err != nil {
		return nil, err
	}
	for _, sender := range slices.Sorted(maps.Keys(slow)) {
		if _, err := s.SlowSender(ctx, sender, 0, now); err != nil {
			return nil, err
		}
	}
	return faulty, nil
}

// entry is a locked ledger row with its attempts.
type entry struct {
	id        uuid.UUID
	userID    *int64
	senderID  int64
	recipient outbox.Recipient
	message   ledger.Message
	attempts  []ledger.Attempt
}

type entries map[uuid.UUID]*entry // by message

// find returns the entry that an attempt belongs to, and the attempt's index there.
func (es entries) find(attempt uuid.UUID) (*entry, int) {
	for _, e := range es {
		for i := range e.attempts {
			if e.attempts[i].ID == attempt {
				return e, i
			}
		}
	}
	return nil, 0
}

// lockEntries locks what reports[i] for each i in apply may change, and reads it: people, then messages by id, and only then
// attempts and receipts; the campaigns at fault are locked before. Every transaction here takes them in this order.
func (s *Store) lockEntries(ctx context.Context, reports []message.Report, owner []uuid.UUID, apply []int) (entries, error) {
	if len(apply) == 0 {
		return nil, nil
	}
	var attemptIDs, optingOut []uuid.UUID
	for _, i := range apply {
		attemptIDs = append(attemptIDs, owner[i])
		if reports[i].Policy.Class == message.OptOut {
			optingOut = append(optingOut, owner[i])
		}
	}
	if len(optingOut) > 0 {
		if _, err := s.q(ctx).UsersOfAttemptsLock(ctx, optingOut); err != nil {
			return nil, translate(err, "people of receipts")
		}
	}
	messages, err := s.q(ctx).MessagesOfAttemptsLock(ctx, attemptIDs)
	if err != nil {
		return nil, translate(err, "messages of receipts")
	}
	es := make(entries, len(messages))
	ids := make([]uuid.UUID, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
		es[m.ID] = &entry{
			id: m.ID, userID: m.UserID, senderID: int64(m.SenderID),
			recipient: outbox.Recipient{Run: outbox.Run{RunID: m.RunID, CampaignID: int64(m.CampaignID), Number: int(m.RunNumber)}, Seq: int(m.Seq)},
			message: ledger.Message{
				State: message.State(m.State), Reason: m.Reason, WaitsUntil: m.WaitsUntil, ErrorCode: value(m.ErrorCode),
				AcceptedAt: m.AcceptedAt, SentAt: m.SentAt, DeliveredAt: m.DeliveredAt, ReadAt: m.ReadAt, EndedAt: m.EndedAt,
			},
		}
	}
	attempts, err := s.attemptsOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	for id, list := range attempts {
		es[id].attempts = list
	}
	return es, nil
}

// attemptsOf reads all attempts of messages, in order, by message.
func (s *Store) attemptsOf(ctx context.Context, messages []uuid.UUID) (map[uuid.UUID][]ledger.Attempt, error) {
	rows, err := s.q(ctx).AttemptsOfMessages(ctx, messages)
	if err != nil {
		return nil, translate(err, "attempts")
	}
	attempts := make(map[uuid.UUID][]ledger.Attempt, len(messages))
	for _, r := range rows {
		a := ledger.Attempt{ID: r.ID, Number: int(r.Number), State: ledger.AttemptState(r.State), Carrier: message.State(r.Carrier), ErrorCode: value(r.ErrorCode)}
		if r.ProviderSid != nil {
			a.SID = *r.ProviderSid
		}
		attempts[r.MessageID] = append(attempts[r.MessageID], a)
	}
	return attempts, nil
}

func (s *Store) saveEntries(ctx context.Context, changed map[*entry]bool, attempts dbsqlc.AttemptsUpdateParams, now time.Time) error {
	if len(changed) == 0 {
		return nil
	}
	if err := s.q(ctx).AttemptsUpdate(ctx, lastOfEach(attempts)); err != nil {
		return translate(err, "attempts of receipts")
	}
	var updates []dbsqlc.MessageUpdateParams
	again := map[int64]outbox.Run{}
	for e := range changed {
		if e.message.State == message.Pending {
			again[e.recipient.RunID] = e.recipient.Run
		}
		updates = append(updates, messageUpdate(e.id, e.message, now))
	}
	if err := s.saveMessages(ctx, updates); err != nil {
		return err
	}
	for _, run := range again { // it may sleep until long after the retry is due
		if err := s.enqueue(ctx, outbox.WakeCampaign, run, now); err != nil {
			return err
		}
	}
	return s.reopen(ctx, slices.Collect(maps.Keys(again)), now)
}

func messageUpdate(id uuid.UUID, m ledger.Message, now time.Time) dbsqlc.MessageUpdateParams {
	return dbsqlc.MessageUpdateParams{
		ID: id, State: string(m.State), Reason: m.Reason, WaitsUntil: m.WaitsUntil, ErrorCode: nonZero(m.ErrorCode),
		AcceptedAt: m.AcceptedAt, SentAt: m.SentAt, DeliveredAt: m.DeliveredAt, ReadAt: m.ReadAt, EndedAt: m.EndedAt, Now: now,
	}
}

// saveMessages writes messages whose rows the transaction has locked.
func (s *Store) saveMessages(ctx context.Context, updates []dbsqlc.MessageUpdateParams) error {
	var failed error
	s.q(ctx).MessageUpdate(ctx, updates).Exec(func(_ int, err error) {
		if err != nil && failed == nil {
			failed = err
		}
	})
	return translate(failed, "messages")
}

// lastOfEach keeps the last change of each attempt: one statement may not update a row twice.
func lastOfEach(p dbsqlc.AttemptsUpdateParams) dbsqlc.AttemptsUpdateParams {
	out := dbsqlc.AttemptsUpdateParams{Now: p.Now}
	for i, id := range p.Ids {
		if slices.Contains(p.Ids[i+1:], id) {
			continue
		}
		out.Ids, out.States, out.Carriers = append(out.Ids, id), append(out.States, p.States[i]), append(out.Carriers, p.Carriers[i])
		out.ProviderSids, out.ErrorCodes = append(out.ProviderSids, p.ProviderSids[i]), append(out.ErrorCodes, p.ErrorCodes[i])
	}
	return out
}

// carrierOptOut records that the carrier says a person does not want messages, and withdraws what waits for them. The
// person's row is locked already.
func (s *Store) carrierOptOut(ctx context.Context, userID int64, evidence string, now time.Time) error {
	changed, err := s.q(ctx).UserOptOutByCarrier(ctx, dbsqlc.UserOptOutByCarrierParams{ID: userID, Now: now})
	if err != nil || changed == 0 {
		return translate(err, "consent")
	}
	change := user.Change{State: user.OptOut, Source: user.SourceCarrier, Evidence: evidence}
	if err := s.recordConsent(ctx, userID, user.OptOut, change, "provider", now); err != nil {
		return err
	}
	return s.Withdraw(ctx, userID, message.ReasonOptedOut, now)
}

// OptOutByCarrier records that the provider refused a message because the person does not want any.
func (s *Store) OptOutByCarrier(ctx context.Context, userID int64, evidence string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error { return s.carrierOptOut(ctx, userID, evidence, now) })
}

func value(p *int32) int {
	if p == nil {
		return 0
	}
	return int(*p)
}
