package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// CreateImport stores an upload's rows as next gives them, until io.EOF, and has its workflow started. Nothing stays
// when next fails. It holds one row at a time.
func (s *Store) CreateImport(ctx context.Context, imp intake.Import, next func() (intake.Row, error), now time.Time) (total int, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		err := s.q(ctx).ImportInsert(ctx, dbsqlc.ImportInsertParams{
			ID: imp.ID, FileName: imp.FileName, Format: string(imp.Format), DefaultRegion: imp.DefaultRegion,
			CreatedBy: imp.CreatedBy, Now: now,
		})
		if err != nil {
			return translate(err, "import")
		}
		var failed error // of next: the driver would pass on its text alone
		copied, err := s.conn(ctx).CopyFrom(ctx, pgx.Identifier{"import_rows"},
			[]string{"import_id", "line", "data", "error_field", "error_detail"},
			pgx.CopyFromFunc(func() ([]any, error) {
				row, err := next()
				if errors.Is(err, io.EOF) {
					return nil, nil
				} else if err != nil {
					failed = err
					return nil, err
				}
				return []any{imp.ID, int32(row.Line), row.Data, row.Problem.Name, row.Problem.Detail}, nil
			}))
		if failed != nil {
			return failed
		} else if err != nil {
			return fmt.Errorf("import rows: %w", err)
		}
		if copied == 0 {
			return fault.Refuse("file", "has no records")
		}
		total = int(copied)
		if err := s.q(ctx).ImportSetTotal(ctx, dbsqlc.ImportSetTotalParams{ID: imp.ID, Total: int32(copied)}); err != nil {
			return translate(err, "import")
		}
		return s.enqueue(ctx, outbox.StartImport, outbox.Import{ImportID: imp.ID}, now)
	})
	return total, err
}

// Import reads an import and how far it has come.
func (s *Store) Import(ctx context.Context, id uuid.UUID) (intake.Import, error) {
	row, err := s.q(ctx).ImportGet(ctx, id)
	return toImport(row), translate(err, "this import")
}

// ImportErrors lists refused rows in the order of the file, with a line above after (nil for no bound).
func (s *Store) ImportErrors(ctx context.Context, id uuid.UUID, after *int64, atMost int) ([]intake.RowError, error) {
	rows, err := s.q(ctx).ImportErrors(ctx, dbsqlc.ImportErrorsParams{ImportID: id, After: narrow(after), AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "import errors")
	}
	refused := make([]intake.RowError, len(rows))
	for i, row := range rows {
		refused[i] = intake.RowError{Line: int(row.Line), Field: row.ErrorField, Detail: row.ErrorDetail}
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
		return translate(s.q(ctx).ImportRowsDrop(ctx, id), "import rows")
	})
}

// ProcessImport takes over the next rows of an import, in the order of the file, together with its counters. Called
// again after any interruption it loses and doubles nothing. done reports that no row is left.
//
// Within one import the last row of a number wins, key by key. A STOP stays, "not known" changes nothing, and whoever
// is no longer to be written to is withdrawn at once.
func (s *Store) ProcessImport(ctx context.Context, id uuid.UUID, atMost int, now time.Time) (done bool, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).ImportLock(ctx, id)
		if err != nil {
			return translate(err, "this import")
		}
		imp := toImport(row)
		if imp.Status.Over() {
			done = true
			return nil
		}
		rows, err := s.q(ctx).ImportRowsNext(ctx, dbsqlc.ImportRowsNextParams{ImportID: id, AtMost: int32(atMost)})
		if err != nil {
			return translate(err, "import rows")
		}
		c := &importChunk{imp: imp, people: map[phone.Number]*importPerson{}}
		c.read(rows)
		if err := s.saveChunk(ctx, c, now); err != nil {
			return err
		}
		done = len(rows) < atMost
		return s.advanceImport(ctx, c, done, now)
	})
	return done, err
}

// importChunk is some rows of an import on their way into users.
type importChunk struct {
	imp      intake.Import
	people   map[phone.Number]*importPerson
	refused  []intake.RowError
	repeated int // rows of a number that an earlier row of the chunk named
}

// importPerson is what all rows of one number say together.
type importPerson struct {
	number     phone.Number
	region     string
	attributes user.Attributes
	rows       []importRow
}

type importRow struct {
	line    int
	consent user.ConsentState
}

// read parses rows and joins those of one number.
func (c *importChunk) read(rows []dbsqlc.ImportRowsNextRow) {
	for i, parsed := range parseRows(rows, c.imp.DefaultRegion) {
		row, line := rows[i], int(rows[i].Line)
		if row.Data == nil {
			c.refused = append(c.refused, intake.RowError{Line: line, Field: row.ErrorField, Detail: row.ErrorDetail})
			continue
		}
		if parsed.err != nil {
			c.refuse(line, parsed.err)
			continue
		}
		person := c.people[parsed.Phone]
		if person == nil {
			person = &importPerson{number: parsed.Phone, region: parsed.region, attributes: user.Attributes{}}
			c.people[parsed.Phone] = person
		} else {
			c.repeated++
		}
		for key, value := range parsed.Attributes {
			person.attributes[key] = value
		}
		person.rows = append(person.rows, importRow{line: line, consent: parsed.Consent})
	}
}

type parsedRow struct {
	intake.Person
	region string
	err    error
}

// parseRows parses rows on all processors: what a number tells takes about as long to find out as a row to store.
func parseRows(rows []dbsqlc.ImportRowsNextRow, defaultRegion string) []parsedRow {
	parsed := make([]parsedRow, len(rows))
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for first := range workers {
		wg.Go(func() {
			for i := first; i < len(rows); i += workers {
				if rows[i].Data == nil {
					continue
				}
				p := &parsed[i]
				if p.Person, p.err = intake.ParsePerson(rows[i].Data, defaultRegion); p.err == nil {
					p.region = phone.Region(p.Phone)
				}
			}
		})
	}
	wg.Wait()
	return parsed
}

func (c *importChunk) refuse(line int, err error) {
	e := intake.RowError{Line: line, Detail: "cannot be read"}
	if f, ok := errors.AsType[*fault.Fault](err); ok && len(f.Fields) > 0 {
		e.Field, e.Detail = f.Fields[0].Name, f.Fields[0].Detail
	}
	c.refused = append(c.refused, e)
}

// refusePerson refuses every row of a number.
func (c *importChunk) refusePerson(person *importPerson, err error) {
	delete(c.people, person.number)
	c.repeated -= len(person.rows) - 1
	for _, row := range person.rows {
		c.refuse(row.line, err)
	}
}

// consent applies the rows in their order; line is that of the last one that changed anything.
func (p *importPerson) consent(before user.ConsentState) (after user.ConsentState, line int, err error) {
	after = before
	for _, row := range p.rows {
		next, err := after.After(user.Change{State: row.consent, Source: user.SourceImport})
		if err != nil {
			return "", 0, err
		}
		if next != after {
			after, line = next, row.line
		}
	}
	return after, line, nil
}

// saveChunk writes people, consent events and what follows from them, and settles the rows.
func (s *Store) saveChunk(ctx context.Context, c *importChunk, now time.Time) error {
	fresh := make([]*importPerson, 0, len(c.people))
	for _, person := range c.people {
		fresh = append(fresh, person)
	}
	// One order for all imports: two that add the same numbers must not wait for each other in a circle.
	slices.SortFunc(fresh, func(a, b *importPerson) int { return strings.Compare(string(a.number), string(b.number)) })

	var events dbsqlc.ImportConsentEventsParams
	record := func(userID int64, state user.ConsentState, line int) {
		events.UserIds = append(events.UserIds, userID)
		events.States = append(events.States, string(state))
		events.Evidences = append(events.Evidences, fmt.Sprintf("import %s line %d", c.imp.ID, line))
	}
	// People whom somebody else adds at the same time are found at the second look.
	for len(fresh) > 0 {
		known, err := s.lockPeople(ctx, fresh)
		if err != nil {
			return err
		}
		if err := s.updatePeople(ctx, c, known, record, now); err != nil {
			return err
		}
		fresh = slices.DeleteFunc(fresh, func(p *importPerson) bool { _, found := known[p.number]; return found })
		added, err := s.insertPeople(ctx, c, fresh, record, now)
		if err != nil {
			return err
		}
		fresh = slices.DeleteFunc(fresh, func(p *importPerson) bool { return added[p.number] })
	}
	if len(events.UserIds) > 0 {
		events.Actor, events.Now = c.imp.CreatedBy, now
		if err := s.q(ctx).ImportConsentEvents(ctx, events); err != nil {
			return translate(err, "consent events")
		}
	}
	return s.settleRows(ctx, c)
}

func (s *Store) lockPeople(ctx context.Context, people []*importPerson) (map[phone.Number]dbsqlc.ImportUsersLockRow, error) {
	numbers := make([]string, len(people))
	for i, p := range people {
		numbers[i] = string(p.number)
	}
	rows, err := s.q(ctx).ImportUsersLock(ctx, numbers)
	if err != nil {
		return nil, translate(err, "known users")
	}
	known := make(map[phone.Number]dbsqlc.ImportUsersLockRow, len(rows))
	for _, row := range rows {
		known[phone.Number(row.PhoneNumber)] = row
	}
	return known, nil
}

// updatePeople merges what the chunk says into the people that are known.
func (s *Store) updatePeople(ctx context.Context, c *importChunk, known map[phone.Number]dbsqlc.ImportUsersLockRow,
	record func(int64, user.ConsentState, int), now time.Time,
) error {
	var update dbsqlc.ImportUsersUpdateParams
	withdrawn := map[user.ConsentState][]int64{}
	for number, row := range known {
		person := c.people[number]
		before := user.ConsentState(row.ConsentState)
		consent, line, err := person.consent(before)
		if err != nil {
			return err
		}
		attributes, err := decodeAttributes(row.Attributes)
		if err != nil {
			return fmt.Errorf("user %d: %w", row.ID, err)
		}
		changed := merge(attributes, person.attributes)
		raw, err := boundedAttributes(attributes)
		if err != nil {
			c.refusePerson(person, err)
			continue
		}
		c.repeated++ // the first row of the number is about somebody known, too
		if !changed && consent == before {
			continue
		}
		zones, source := user.ResolveZones(attributes, number)
		update.Ids = append(update.Ids, row.ID)
		update.Attributes = append(update.Attributes, raw)
		update.ConsentStates = append(update.ConsentStates, string(consent))
		update.Zones = append(update.Zones, strings.Join(zones, " "))
		update.ZoneSources = append(update.ZoneSources, string(source))
		if consent != before {
			record(row.ID, consent, line)
			if before.Sendable() {
				withdrawn[consent] = append(withdrawn[consent], row.ID)
			}
		}
	}
	if len(update.Ids) > 0 {
		update.Now = now
		if err := s.q(ctx).ImportUsersUpdate(ctx, update); err != nil {
			return translate(err, "known users")
		}
	}
	for consent, ids := range withdrawn {
		if err := s.endWaiting(ctx, ids, message.Suppressed, withdrawalReason(consent), now); err != nil {
			return err
		}
	}
	return nil
}

// insertPeople adds those who are not known. added lacks whom somebody else added meanwhile.
func (s *Store) insertPeople(ctx context.Context, c *importChunk, people []*importPerson,
	record func(int64, user.ConsentState, int), now time.Time,
) (added map[phone.Number]bool, err error) {
	if len(people) == 0 {
		return nil, nil
	}
	added = make(map[phone.Number]bool, len(people))
	insert := dbsqlc.ImportUsersInsertParams{Now: now}
	for _, person := range people {
		consent, _, err := person.consent("")
		if err != nil {
			return nil, err
		}
		raw, err := boundedAttributes(person.attributes)
		if err != nil {
			c.refusePerson(person, err)
			added[person.number] = true // nothing more to do about them
			continue
		}
		zones, source := user.ResolveZones(person.attributes, person.number)
		insert.PhoneNumbers = append(insert.PhoneNumbers, string(person.number))
		insert.Attributes = append(insert.Attributes, raw)
		insert.ConsentStates = append(insert.ConsentStates, string(consent))
		insert.Regions = append(insert.Regions, person.region)
		insert.Zones = append(insert.Zones, strings.Join(zones, " "))
		insert.ZoneSources = append(insert.ZoneSources, string(source))
	}
	rows, err := s.q(ctx).ImportUsersInsert(ctx, insert)
	if err != nil {
		return nil, translate(err, "new users")
	}
	created := make([]int64, len(rows))
	for i, row := range rows {
		number := phone.Number(row.PhoneNumber)
		added[number], created[i] = true, row.ID
		if consent, line, err := c.people[number].consent(""); err != nil {
			return nil, err
		} else if consent != user.Pending {
			record(row.ID, consent, line)
		}
	}
	return added, s.enlistCreated(ctx, created, now)
}

// settleRows drops the rows that were taken over, and leaves of the refused ones what was wrong with them.
func (s *Store) settleRows(ctx context.Context, c *importChunk) error {
	taken := dbsqlc.ImportRowsDoneParams{ImportID: c.imp.ID}
	for _, person := range c.people {
		for _, row := range person.rows {
			taken.Lines = append(taken.Lines, int32(row.line))
		}
	}
	if len(taken.Lines) > 0 {
		if err := s.q(ctx).ImportRowsDone(ctx, taken); err != nil {
			return translate(err, "import rows")
		}
	}
	if len(c.refused) == 0 {
		return nil
	}
	refuse := dbsqlc.ImportRowsRefuseParams{ImportID: c.imp.ID}
	for _, e := range c.refused {
		refuse.Lines = append(refuse.Lines, int32(e.Line))
		refuse.Fields = append(refuse.Fields, e.Field)
		refuse.Details = append(refuse.Details, e.Detail)
	}
	return translate(s.q(ctx).ImportRowsRefuse(ctx, refuse), "refused rows")
}

func (s *Store) advanceImport(ctx context.Context, c *importChunk, done bool, now time.Time) error {
	succeeded := 0
	for _, person := range c.people {
		succeeded += len(person.rows)
	}
	imp := c.imp
	advance := dbsqlc.ImportAdvanceParams{
		ID: imp.ID, Status: string(intake.Running), StartedAt: imp.StartedAt,
		Processed: int32(imp.Processed + succeeded + len(c.refused)), Succeeded: int32(imp.Succeeded + succeeded),
		Failed: int32(imp.Failed + len(c.refused)), Merged: int32(imp.Merged + c.repeated),
	}
	if advance.StartedAt == nil {
		advance.StartedAt = &now
	}
	if done {
		advance.Status, advance.CompletedAt = string(intake.Completed), &now
	}
	return translate(s.q(ctx).ImportAdvance(ctx, advance), "import")
}

// merge puts news over what is known and reports whether that changed anything.
func merge(known, news user.Attributes) (changed bool) {
	for key, value := range news {
		if old, ok := known[key]; !ok || !reflect.DeepEqual(old, value) {
			known[key] = value
			changed = true
		}
	}
	return changed
}

func boundedAttributes(attributes user.Attributes) (json.RawMessage, error) {
	raw, err := encodeAttributes(attributes)
	if err == nil && len(raw) > user.MaxAttributesBytes {
		return nil, fault.Refuse("attributes", "would become too large: at most %d bytes", user.MaxAttributesBytes)
	}
	return raw, err
}

func toImport(row dbsqlc.Import) intake.Import {
	return intake.Import{
		ID: row.ID, FileName: row.FileName, Format: intake.Format(row.Format), DefaultRegion: row.DefaultRegion,
		Status: intake.Status(row.Status), StatusReason: row.StatusReason, Total: int(row.Total), Processed: int(row.Processed),
		Succeeded: int(row.Succeeded), Failed: int(row.Failed), Merged: int(row.Merged), CreatedBy: row.CreatedBy,
		CreatedAt: row.CreatedAt, StartedAt: row.StartedAt, CompletedAt: row.CompletedAt,
	}
}
