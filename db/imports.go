package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// CreateImport stores an upload's rows as next gives them, until io.EOF, and has its workflow started. Nothing stays
// when next fails. It holds one chunk of rows at a time.
func (s *Store) CreateImport(ctx context.Context, imp intake.Import, next func() (intake.Row, error), now time.Time) (total int, err error) {
	if imp.Policy == "" {
		imp.Policy = intake.Update
	}
	mapping, err := imp.Mapping.MarshalJSON()
	if err != nil {
		return 0, fmt.Errorf("mapping: %w", err)
	}
	comma := ""
	if imp.Comma != 0 {
		comma = string(imp.Comma)
	}
	err = s.InTx(ctx, func(ctx context.Context) error {
		if imp.Invite {
			if _, err := s.invitingRun(ctx, 0); err != nil {
				return err
			}
		}
		err := s.q(ctx).ImportInsert(ctx, dbsqlc.ImportInsertParams{
			ID: imp.ID, FileName: imp.FileName, Format: string(imp.Format), DefaultRegion: imp.DefaultRegion, Policy: string(imp.Policy),
			DryRun: imp.DryRun, Invite: imp.Invite, Mapping: mapping, Comma: comma, Header: notNil(imp.Header), CreatedBy: imp.CreatedBy, Now: now,
		})
		if err != nil {
			return translate(err, "import")
		}
		rows := importRows{id: imp.ID, chunk: intake.Chunk{Number: 1}}
		for {
			row, err := next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
			if err := s.storeRow(ctx, &rows, row); err != nil {
				return err
			}
		}
		if err := s.storeRows(ctx, &rows); err != nil {
			return err
		}
		if total = rows.total; total == 0 {
			return fault.Refuse("file", "has no records")
		}
		if err := s.q(ctx).ImportSetTotal(ctx, dbsqlc.ImportSetTotalParams{ID: imp.ID, Total: int32(total), Failed: int32(rows.failed)}); err != nil {
			return translate(err, "import")
		}
		detail := map[string]any{"rows": total, "format": imp.Format, "policy": imp.Policy, "dry_run": imp.DryRun}
		if err := s.audit(ctx, imp.CreatedBy, "import.create", fmt.Sprintf("import/%s", imp.ID), detail, now); err != nil {
			return err
		}
		return s.enqueue(ctx, outbox.StartImport, outbox.Import{ImportID: imp.ID}, now)
	})
	return total, err
}

// importRows are rows of an upload on their way into the database.
type importRows struct {
	id      uuid.UUID
	chunk   intake.Chunk
	refused []intake.RowError

	total, failed int // of all rows so far
}

func (s *Store) storeRow(ctx context.Context, rows *importRows, row intake.Row) error {
	rows.total++
	if !row.Refused() {
		rows.chunk.Append(row)
		if !rows.chunk.Full() {
			return nil
		}
		return s.storeRows(ctx, rows)
	}
	rows.failed++
	rows.refused = append(rows.refused, intake.RowError{Line: row.Line, Field: row.Problem.Name, Detail: row.Problem.Detail, Text: row.Text})
	if len(rows.refused) < intake.MaxRefusedHeld {
		return nil
	}
	return s.storeRows(ctx, rows)
}

func (s *Store) storeRows(ctx context.Context, rows *importRows) error {
	if err := s.refuseRows(ctx, rows.id, rows.refused); err != nil {
		return err
	}
	rows.refused = rows.refused[:0]
	if len(rows.chunk.Lines) == 0 {
		return nil
	}
	err := s.q(ctx).ImportChunkInsert(ctx, dbsqlc.ImportChunkInsertParams{
		ImportID: rows.id, Number: int32(rows.chunk.Number), Lines: rows.chunk.Lines, Records: rows.chunk.Records,
	})
	rows.chunk.Next()
	return translate(err, "import rows")
}

// refuseRows keeps what was wrong with rows.
func (s *Store) refuseRows(ctx context.Context, id uuid.UUID, refused []intake.RowError) error {
	if len(refused) == 0 {
		return nil
	}
	in := dbsqlc.ImportErrorsInsertParams{ImportID: id}
	for _, e := range refused {
		in.Lines = append(in.Lines, int32(e.Line))
		in.Fields = append(in.Fields, e.Field)
		in.Details = append(in.Details, e.Detail)
		in.Records = append(in.Records, e.Text)
	}
	return translate(s.q(ctx).ImportErrorsInsert(ctx, in), "refused rows")
}

// Import reads an import and how far it has come.
func (s *Store) Import(ctx context.Context, id uuid.UUID) (intake.Import, error) {
	row, err := s.q(ctx).ImportGet(ctx, id)
	if err != nil {
		return intake.Import{}, translate(err, "this import")
	}
	return toImport(row)
}

// ImportErrors lists refused rows in the order of the file, with a line above after (nil for no bound).
func (s *Store) ImportErrors(ctx context.Context, id uuid.UUID, after *int64, atMost int) ([]intake.RowError, error) {
	rows, err := s.q(ctx).ImportErrors(ctx, dbsqlc.ImportErrorsParams{ImportID: id, After: narrow(after), AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "import errors")
	}
	refused := make([]intake.RowError, len(rows))
	for i, row := range rows {
		refused[i] = intake.RowError{Line: int(row.Line), Field: row.Field, Detail: row.Detail, Text: row.Record}
	}
	return refused, nil
}

// FailImport gives an import up, with a reason for operators. What it did stays; what waits is dropped. An import that
// is over is left as it is.
func (s *Store) FailImport(ctx context.Context, id uuid.UUID, reason string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		n, err := s.q(ctx).ImportFail(ctx, dbsqlc.ImportFailParams{ID: id, StatusReason: reason, Now: &now})
		if err != nil || n == 0 {
			return translate(err, "import")
		}
		if err := s.q(ctx).ImportChunksDrop(ctx, id); err != nil {
			return translate(err, "import rows")
		}
		return translate(s.q(ctx).ImportNumbersForget(ctx, id), "import numbers")
	})
}

// ImportChunk reads the next chunk of an import that waits, with a number above after. found is false when there is none.
func (s *Store) ImportChunk(ctx context.Context, id uuid.UUID, after int) (chunk intake.Chunk, found bool, err error) {
	row, err := s.q(ctx).ImportChunkNext(ctx, dbsqlc.ImportChunkNextParams{ImportID: id, After: int32(after)})
	if isNoRows(err) {
		return intake.Chunk{}, false, nil
	} else if err != nil {
		return intake.Chunk{}, false, translate(err, "import rows")
	}
	return intake.Chunk{Number: int(row.Number), Lines: row.Lines, Records: row.Records, Revision: int(row.Revision)}, true, nil
}

// errImportOver rolls a chunk back that is taken in too late.
var errImportOver = errors.New("the import is over")

// SaveImportBatch takes over a chunk of an import, together with the import's counters. A chunk that was taken over before
// is left alone, so that nothing is lost or doubled whatever interrupts it, and whoever else works at the same import. The
// caller sees to it that a chunk waits for those before it that name a number of its own.
//
// A STOP stays, "not known" changes nothing, and whoever is no longer to be written to is withdrawn at once.
func (s *Store) SaveImportBatch(ctx context.Context, imp intake.Import, b *intake.Batch, now time.Time) error {
	err := s.InTx(ctx, func(ctx context.Context) error {
		taken, err := s.q(ctx).ImportChunkTake(ctx, dbsqlc.ImportChunkTakeParams{ImportID: imp.ID, Number: int32(b.Chunk), Revision: int32(b.Revision)})
		if err != nil || taken == 0 {
			return translate(err, "import rows")
		}
		if err := s.shareSuppressions(ctx); err != nil {
			return err
		}
		c := &importBatch{imp: imp, Batch: b, now: now}
		if imp.DryRun {
			err = s.countPeople(ctx, c)
		} else {
			err = s.savePeople(ctx, c)
		}
		if err != nil {
			return err
		}
		if err := s.refuseRows(ctx, imp.ID, b.Refused); err != nil {
			return err
		}
		n, err := s.q(ctx).ImportAdvance(ctx, dbsqlc.ImportAdvanceParams{
			ID: imp.ID, Succeeded: int32(c.succeeded), Failed: int32(len(b.Refused)), Skipped: int32(c.skipped), Merged: int32(c.merged), Now: &now,
		})
		if err == nil && n == 0 {
			return errImportOver
		}
		return translate(err, "import")
	})
	if errors.Is(err, errImportOver) {
		return nil
	}
	return err
}

// FinishImport ends an import of which nothing waits any more. It reports whether that is so.
func (s *Store) FinishImport(ctx context.Context, id uuid.UUID, now time.Time) (finished bool, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		n, err := s.q(ctx).ImportFinish(ctx, dbsqlc.ImportFinishParams{ID: id, Now: &now})
		if finished = n > 0; err != nil || !finished {
			return translate(err, "import")
		}
		return translate(s.q(ctx).ImportNumbersForget(ctx, id), "import numbers")
	})
	return finished, err
}

// importBatch is a batch on its way into users.
type importBatch struct {
	*intake.Batch
	imp    intake.Import
	now    time.Time
	events dbsqlc.ImportConsentEventsParams

	pending                    []invitee // people who are PENDING after it
	succeeded, skipped, merged int       // rows
}

func (c *importBatch) record(userID int64, state user.ConsentState, line int) {
	c.events.UserIds = append(c.events.UserIds, userID)
	c.events.States = append(c.events.States, string(state))
	c.events.Evidences = append(c.events.Evidences, c.evidence(line))
}

func (c *importBatch) evidence(line int) string {
	return fmt.Sprintf("import %s line %d", c.imp.ID, line)
}

// note keeps who is to be asked for consent, where the import wants that.
func (c *importBatch) note(userID int64, state user.ConsentState, e *intake.Entry) {
	if c.imp.Invite && state == user.Pending {
		c.pending = append(c.pending, invitee{userID, c.evidence(e.Rows[len(e.Rows)-1].Line)})
	}
}

// savePeople writes people, consent events and what follows from them. Whoever is not known is added first, in the order of
// the numbers, and whoever is known is locked after that, in the order of ids: two imports that name the same people never
// wait for each other in a circle.
func (s *Store) savePeople(ctx context.Context, c *importBatch) error {
	for people := c.People; len(people) > 0; {
		added, err := s.addPeople(ctx, c, people)
		if err != nil {
			return err
		}
		people = slices.DeleteFunc(slices.Clone(people), func(e *intake.Entry) bool { return added[e.Phone] })
		if people, err = s.mergePeople(ctx, c, people); err != nil {
			return err
		} // somebody who was known and erased meanwhile is left: they are added
	}
	if len(c.events.UserIds) > 0 {
		c.events.Actor, c.events.Now = c.imp.CreatedBy, c.now
		if err := s.q(ctx).ImportConsentEvents(ctx, c.events); err != nil {
			return translate(err, "consent events")
		}
	}
	return s.invitePending(ctx, c)
}

// invitePending asks those for their consent who may be asked, where the import wants that. It goes on without when no
// campaign invites any more.
func (s *Store) invitePending(ctx context.Context, c *importBatch) error {
	if !c.imp.Invite || len(c.pending) == 0 {
		return nil
	}
	run, err := s.invitingRun(ctx, 0)
	if err == nil {
		_, err = s.invite(ctx, run, c.pending, c.imp.CreatedBy, c.now)
	}
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

// addPeople adds those who are not known.
func (s *Store) addPeople(ctx context.Context, c *importBatch, people []*intake.Entry) (added map[phone.Number]bool, err error) {
	in := dbsqlc.ImportUsersInsertParams{Now: c.now}
	grow(len(people), &in.PhoneNumbers, &in.ConsentStates, &in.Regions, &in.Zones, &in.ZoneSources)
	for _, e := range people {
		consent, _, err := e.Consent("")
		if err != nil {
			return nil, err
		}
		zones, source := user.ResolveZones(e.Attributes, e.Phone)
		in.PhoneNumbers = append(in.PhoneNumbers, string(e.Phone))
		in.Attributes = append(in.Attributes, e.Encoded)
		in.ConsentStates = append(in.ConsentStates, string(consent))
		in.Regions = append(in.Regions, e.Region)
		in.Zones = append(in.Zones, strings.Join(zones, " "))
		in.ZoneSources = append(in.ZoneSources, string(source))
	}
	rows, err := s.q(ctx).ImportUsersInsert(ctx, in)
	if err != nil {
		return nil, translate(err, "new users")
	}
	added = make(map[phone.Number]bool, len(rows))
	numbers, created := make([]phone.Number, len(rows)), make([]int64, len(rows))
	for i, row := range rows {
		numbers[i], created[i] = phone.Number(row.PhoneNumber), row.ID
		added[numbers[i]] = true
		e := c.Of(numbers[i])
		c.succeeded += len(e.Rows)
		c.merged += len(e.Rows) - 1
		consent, line, err := e.Consent("")
		if err != nil {
			return nil, err
		}
		c.record(row.ID, consent, line)
		c.note(row.ID, consent, e)
	}
	if c.imp.Policy == intake.Add && len(numbers) > 0 { // later rows about them are about somebody whom this file brought
		brought := dbsqlc.ImportNumbersInsertParams{ImportID: c.imp.ID, PhoneNumbers: texts(numbers)}
		if _, err := s.q(ctx).ImportNumbersInsert(ctx, brought); err != nil {
			return nil, translate(err, "import numbers")
		}
	}
	if err := s.suppressAdded(ctx, numbers); err != nil {
		return nil, err
	}
	return added, s.enlistCreated(ctx, created, c.now)
}

func grow(n int, lists ...*[]string) {
	for _, list := range lists {
		*list = make([]string, 0, n)
	}
}

func numbersOf(people []*intake.Entry) []string {
	numbers := make([]string, len(people))
	for i, e := range people {
		numbers[i] = string(e.Phone)
	}
	return numbers
}

// leaveKnown leaves people alone whom the import did not bring itself, and returns the others.
func (s *Store) leaveKnown(ctx context.Context, c *importBatch, people []*intake.Entry) ([]*intake.Entry, error) {
	met, err := s.q(ctx).ImportNumbersMet(ctx, dbsqlc.ImportNumbersMetParams{ImportID: c.imp.ID, PhoneNumbers: numbersOf(people)})
	if err != nil {
		return nil, translate(err, "import numbers")
	}
	brought := make(map[string]bool, len(met))
	for _, number := range met {
		brought[number] = true
	}
	return slices.DeleteFunc(people, func(e *intake.Entry) bool {
		if brought[string(e.Phone)] {
			return false
		}
		c.skipped += len(e.Rows)
		return true
	}), nil
}

// mergePeople puts what the batch says over what is known of people. missing are those who are not known after all.
func (s *Store) mergePeople(ctx context.Context, c *importBatch, people []*intake.Entry) (missing []*intake.Entry, err error) {
	if c.imp.Policy == intake.Add && len(people) > 0 {
		if people, err = s.leaveKnown(ctx, c, people); err != nil {
			return nil, err
		}
	}
	if len(people) == 0 {
		return nil, nil
	}
	rows, err := s.q(ctx).ImportUsersLock(ctx, numbersOf(people))
	if err != nil {
		return nil, translate(err, "known users")
	}
	update := dbsqlc.ImportUsersUpdateParams{Now: c.now}
	withdrawn := map[user.ConsentState][]int64{}
	known := make(map[phone.Number]bool, len(rows))
	for _, row := range rows {
		number := phone.Number(row.PhoneNumber)
		known[number] = true
		before := user.ConsentState(row.ConsentState)
		consent, err := c.merge(row, &update)
		if err != nil {
			return nil, err
		}
		if consent != before && before.Sendable() {
			withdrawn[consent] = append(withdrawn[consent], row.ID)
		}
	}
	if len(update.Ids) > 0 {
		if err := s.q(ctx).ImportUsersUpdate(ctx, update); err != nil {
			return nil, translate(err, "known users")
		}
	}
	for consent, ids := range withdrawn {
		if err := s.endWaiting(ctx, ids, message.Suppressed, withdrawalReason(consent), c.now); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(people, func(e *intake.Entry) bool { return known[e.Phone] }), nil
}

// merge adds to update what changes for somebody known, and returns their consent after it.
func (c *importBatch) merge(row dbsqlc.ImportUsersLockRow, update *dbsqlc.ImportUsersUpdateParams) (user.ConsentState, error) {
	e := c.Of(phone.Number(row.PhoneNumber))
	before := user.ConsentState(row.ConsentState)
	consent, line, err := e.Consent(before)
	if err != nil {
		return "", err
	}
	attributes, err := decodeAttributes(row.Attributes)
	if err != nil {
		return "", fmt.Errorf("user %d: %w", row.ID, err)
	}
	attributes, changed := c.imp.Policy.Apply(attributes, e.Attributes)
	raw, err := intake.Encode(attributes)
	if err != nil {
		c.RefuseEntry(e, err)
		return before, nil
	}
	c.succeeded += len(e.Rows)
	c.merged += len(e.Rows)
	c.note(row.ID, consent, e)
	if !changed && consent == before {
		return before, nil
	}
	zones, source := user.ResolveZones(attributes, e.Phone)
	update.Ids = append(update.Ids, row.ID)
	update.Attributes = append(update.Attributes, raw)
	update.ConsentStates = append(update.ConsentStates, string(consent))
	update.Zones = append(update.Zones, strings.Join(zones, " "))
	update.ZoneSources = append(update.ZoneSources, string(source))
	if consent != before {
		c.record(row.ID, consent, line)
	}
	return consent, nil
}

// countPeople finds out what savePeople would do, and does nothing.
func (s *Store) countPeople(ctx context.Context, c *importBatch) error {
	if len(c.People) == 0 {
		return nil
	}
	rows, err := s.q(ctx).ImportUsersKnown(ctx, numbersOf(c.People))
	if err != nil {
		return translate(err, "known users")
	}
	known := make(map[phone.Number]bool, len(rows))
	for _, row := range rows {
		e := c.Of(phone.Number(row.PhoneNumber))
		known[e.Phone] = true
		if c.imp.Policy == intake.Add {
			c.skipped += len(e.Rows)
			continue
		}
		attributes, err := decodeAttributes(row.Attributes)
		if err != nil {
			return fmt.Errorf("known users: %w", err)
		}
		attributes, _ = c.imp.Policy.Apply(attributes, e.Attributes)
		if _, err := intake.Encode(attributes); err != nil {
			c.RefuseEntry(e, err)
		}
		c.succeeded += len(e.Rows)
		c.merged += len(e.Rows)
	}
	var fresh []string
	for _, e := range c.People {
		if !known[e.Phone] {
			fresh = append(fresh, string(e.Phone))
			c.succeeded += len(e.Rows)
			c.merged += len(e.Rows)
		}
	}
	added, err := s.q(ctx).ImportNumbersInsert(ctx, dbsqlc.ImportNumbersInsertParams{ImportID: c.imp.ID, PhoneNumbers: notNil(fresh)})
	c.merged -= int(added)
	return translate(err, "import numbers")
}

func toImport(row dbsqlc.Import) (intake.Import, error) {
	mapping, err := intake.ParseMapping(row.Mapping)
	if err != nil {
		return intake.Import{}, fmt.Errorf("import %s: %w", row.ID, err)
	}
	comma := rune(0)
	for _, comma = range row.Comma {
		break
	}
	return intake.Import{
		ID: row.ID, FileName: row.FileName, Format: intake.Format(row.Format), DefaultRegion: row.DefaultRegion,
		Mapping: mapping, Policy: intake.Policy(row.Policy), DryRun: row.DryRun, Invite: row.Invite, Comma: comma, Header: row.Header,
		Status: intake.Status(row.Status), StatusReason: row.StatusReason, Total: int(row.Total), Processed: int(row.Processed),
		Succeeded: int(row.Succeeded), Failed: int(row.Failed), Skipped: int(row.Skipped), Merged: int(row.Merged), CreatedBy: row.CreatedBy,
		CreatedAt: row.CreatedAt, StartedAt: row.StartedAt, CompletedAt: row.CompletedAt,
	}, nil
}
