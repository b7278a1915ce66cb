package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// upload stores an import of text and returns its id. change is made to the import before; nil for none.
func (b books) upload(t testing.TB, format intake.Format, text string, change func(*intake.Import)) uuid.UUID {
	t.Helper()
	imp := intake.Import{
		ID: uuid.Must(uuid.NewV7()), FileName: "people." + string(format), Format: format, DefaultRegion: "LK", CreatedBy: "key:7",
	}
	if change != nil {
		change(&imp)
	}
	reader, err := intake.Open(&imp, strings.NewReader(text))
	require.NoError(t, err)
	_, err = b.CreateImport(t.Context(), imp, reader.Next, noon)
	require.NoError(t, err)
	return imp.ID
}

// cutChunks cuts what waits of an import into chunks of so many rows, as if the file were a great deal larger.
func (b books) cutChunks(t testing.TB, id uuid.UUID, rows int) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `
WITH waiting AS (DELETE FROM import_chunks WHERE import_id = $1 RETURNING number, lines, records),
     rows AS (SELECT line, record, row_number() OVER (ORDER BY number, place) - 1 AS at
              FROM waiting, unnest(lines, records) WITH ORDINALITY AS u (line, record, place))
INSERT INTO import_chunks SELECT $1, 100000 + at / $2, array_agg(line ORDER BY at), array_agg(record ORDER BY at) FROM rows GROUP BY at / $2`, id, rows)
	require.NoError(t, err)
}

// process takes an import in, so many rows at a time, and returns what became of it.
func (b books) process(t testing.TB, id uuid.UUID, rows int) intake.Import {
	t.Helper()
	b.cutChunks(t, id, rows)
	imports := &activities.Imports{Store: b.Store, Now: func() time.Time { return noon.Add(time.Minute) }}
	require.NoError(t, imports.ProcessImport(t.Context(), outbox.Import{ImportID: id}))
	imp, err := b.Import(t.Context(), id)
	require.NoError(t, err)
	return imp
}

// saveNext takes the first chunk in that waits.
func (b books) saveNext(ctx context.Context, t testing.TB, id uuid.UUID) {
	t.Helper()
	imp, err := b.Import(ctx, id)
	require.NoError(t, err)
	parse, err := imp.Parser()
	require.NoError(t, err)
	chunk, found, err := b.ImportChunk(ctx, id, 0)
	require.NoError(t, err)
	require.True(t, found)
	require.NoError(t, b.SaveImportBatch(ctx, imp, chunk.Read(imp.Policy, parse), noon))
}

func (b books) countImported(t testing.TB, table string) int64 {
	t.Helper()
	var n int64
	require.NoError(t, b.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

const people = `phone_number,name,city,age,vip,consent_state
+94771234561,Alice,Colombo,28,true,OPT_IN
whatsapp:+94771234562,Bob,Kandy,035,,OPT_IN
077 123 4563,Carol,,42,,
not-a-number,Dave,Galle,1,,OPT_IN
+94771234561,,Galle,,,STOP
+94771234564,Eve,Jaffna,30,no,perhaps
`

func TestProcessImport(t *testing.T) {
	t.Parallel()
	for _, chunk := range []int{1, 2, 3, 100} {
		t.Run(fmt.Sprint(chunk, " at a time"), func(t *testing.T) {
			t.Parallel()
			b := open(t)
			id := b.upload(t, intake.CSV, people, nil)
			before, err := b.Import(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, intake.Pending, before.Status)
			require.Equal(t, 6, before.Total)
			require.JSONEq(t, fmt.Sprintf(`{"import_id": %q}`, id), string(get[json.RawMessage](t, b, `SELECT payload FROM outbox WHERE kind = 'import.start'`)))

			imp := b.process(t, id, chunk)
			require.Equal(t, intake.Completed, imp.Status)
			require.Equal(t, []int{6, 5, 1, 1}, []int{imp.Processed, imp.Succeeded, imp.Failed, imp.Merged})
			require.NotNil(t, imp.StartedAt)
			require.NotNil(t, imp.CompletedAt)

			require.Equal(t, []string{
				`+94771234561 STOP {"age": 28, "vip": true, "city": "Galle", "name": "Alice"}`,
				`+94771234562 OPT_IN {"age": "035", "city": "Kandy", "name": "Bob"}`,
				`+94771234563 PENDING {"age": 42, "name": "Carol"}`,
				`+94771234564 PENDING {"age": 30, "vip": "no", "city": "Jaffna", "name": "Eve"}`,
			}, get[[]string](t, b, `SELECT array_agg(phone_number || ' ' || consent_state || ' ' || attributes ORDER BY phone_number) FROM users`))
			require.Equal(t, "LK Asia/Colombo number", get[string](t, b, `SELECT DISTINCT region || ' ' || array_to_string(zones, ',') || ' ' || zone_source FROM users`))
			require.Contains(t, b.events(t), fmt.Sprintf("STOP import import %s line 6 key:7", id))
			require.Contains(t, b.events(t), fmt.Sprintf("OPT_IN import import %s line 3 key:7", id))

			refused, err := b.ImportErrors(t.Context(), id, nil, 9)
			require.NoError(t, err)
			require.Len(t, refused, 1)
			require.Equal(t, 5, refused[0].Line)
			require.Equal(t, "phone_number", refused[0].Field)
			require.NotContains(t, refused[0].Detail, "not-a-number")
			require.Equal(t, "not-a-number,Dave,Galle,1,,OPT_IN", refused[0].Text, "as it stood in the file")
			require.Zero(t, b.countImported(t, "import_chunks"), "what is done is gone")
		})
	}
}

func TestImportMergesAndWithdraws(t *testing.T) {
	t.Parallel()
	b := open(t)
	run := b.run(t, b.campaign(t))
	stopped := b.user(t, "+94771234561", "LK", `{"city": "Colombo", "tier": "gold"}`, "STOP")
	leaving := b.user(t, "+94771234562", "LK", `{}`, "OPT_IN")
	same := b.user(t, "+94771234563", "LK", `{"city": "Galle"}`, "OPT_IN")
	waiting := b.message(t, run, 1, row{user: leaving, state: message.Pending})
	untouched := b.message(t, run, 2, row{user: same, state: message.Pending})

	imp := b.process(t, b.upload(t, intake.JSON, `[
		{"phone": "+94771234561", "consent": "opt_in", "attributes": {"city": "Kandy", "age": 40}},
		{"phone_number": "+94771234562", "consent_state": "OPT-OUT", "city": ""},
		{"phone_number": "+94771234563", "consent_state": null, "city": "Galle"},
		{"phone_number": "+94771234564", "name": "nul \u0000"},
		17
	]`, nil), 100)
	require.Equal(t, []int{5, 3, 2, 3}, []int{imp.Processed, imp.Succeeded, imp.Failed, imp.Merged})
	require.Equal(t, `STOP {"age": 40, "city": "Kandy", "tier": "gold"}`, get[string](t, b, `SELECT consent_state || ' ' || attributes FROM users WHERE id = $1`, stopped))
	require.Equal(t, "OPT_OUT", b.consent(t, "+94771234562"))
	require.Equal(t, "OPT_IN", b.consent(t, "+94771234563"), "silence withdraws nothing")
	require.Equal(t, noon, get[time.Time](t, b, `SELECT updated_at FROM users WHERE id = $1`, same).UTC(), "nothing new, nothing written")
	require.Equal(t, "suppressed opted_out", get[string](t, b, `SELECT state || ' ' || reason FROM messages WHERE id = $1`, waiting))
	require.Equal(t, "pending", get[string](t, b, `SELECT state FROM messages WHERE id = $1`, untouched))
	require.Equal(t, int64(1), get[int64](t, b, `SELECT count(*) FROM outbox WHERE kind = 'recipient.signal'`))
	require.Len(t, b.events(t), 1)
}

func TestImportIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.upload(t, intake.CSV, people, nil)
	b.cutChunks(t, id, 4)
	crash := errors.New("killed before the commit")
	err := b.InTx(ctx, func(ctx context.Context) error {
		b.saveNext(ctx, t, id)
		return crash
	})
	require.ErrorIs(t, err, crash)
	require.Zero(t, b.countImported(t, "users"))
	b.saveNext(ctx, t, id)
	imp, err := b.Import(ctx, id)
	require.NoError(t, err)
	require.Equal(t, intake.Running, imp.Status)
	require.Equal(t, 4, imp.Processed)
	imp = b.process(t, id, 4)
	require.Equal(t, 6, imp.Processed)
	require.Len(t, b.events(t), 5, "an event for each change, once, and for each who was added")
	imp = b.process(t, id, 4)
	require.Equal(t, 6, imp.Processed, "an import that is over stays as it is")
}

// Several work at the same import, as when one was thought dead: every row is taken in once.
func TestImportByMany(t *testing.T) {
	t.Parallel()
	b := open(t)
	const rows, people = 600, 40
	var text strings.Builder
	for i := range rows {
		fmt.Fprintf(&text, `{"phone":"+9477%07d","last":%d,"r%d":1}`+"\n", i%people, i, i)
	}
	id := b.upload(t, intake.JSONL, text.String(), nil)
	b.cutChunks(t, id, 7)
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		wg.Go(func() {
			imports := &activities.Imports{Store: b.Store, Now: func() time.Time { return noon }}
			errs[i] = imports.ProcessImport(t.Context(), outbox.Import{ImportID: id})
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	imp, err := b.Import(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []any{intake.Completed, rows, rows, rows - people}, []any{imp.Status, imp.Processed, imp.Succeeded, imp.Merged})
	require.Equal(t, int64(people), get[int64](t, b, `SELECT count(*) FROM users WHERE (attributes->>'last')::integer = 560 + substr(phone_number, 6)::integer`),
		"the last row of a number wins")
	require.Equal(t, int64(rows+people), get[int64](t, b, `SELECT sum((SELECT count(*) FROM jsonb_object_keys(attributes))) FROM users`), "and adds to those before it")
}

const again = `phone,city,address.street
+94771234561,Galle,
+94771234562,Matara,Main St
+94771234562,Jaffna,
`

func TestImportPolicies(t *testing.T) {
	t.Parallel()
	mapping := intake.Mapping{"city": {To: "address.city"}, "address.street": {To: "address.street"}}
	for policy, want := range map[intake.Policy]struct {
		counts []int // processed, succeeded, failed, skipped, merged
		users  []string
	}{
		intake.Add:     {[]int{3, 2, 0, 1, 1}, []string{`{"tier": 1, "address": {"city": "Kandy", "zip": "7"}}`, `{"address": {"city": "Jaffna", "street": "Main St"}}`}},
		intake.Update:  {[]int{3, 3, 0, 0, 2}, []string{`{"tier": 1, "address": {"zip": "7", "city": "Galle"}}`, `{"address": {"city": "Jaffna", "street": "Main St"}}`}},
		intake.Replace: {[]int{3, 3, 0, 0, 2}, []string{`{"address": {"city": "Galle"}}`, `{"address": {"city": "Jaffna"}}`}},
	} {
		for _, chunk := range []int{1, 2, 9} {
			t.Run(fmt.Sprint(policy, " ", chunk, " at a time"), func(t *testing.T) {
				t.Parallel()
				b := open(t)
				b.user(t, "+94771234561", "LK", `{"tier": 1, "address": {"city": "Kandy", "zip": "7"}}`, "OPT_IN")
				change := func(imp *intake.Import) { imp.Policy, imp.Mapping = policy, mapping }
				dry := b.process(t, b.upload(t, intake.CSV, again, func(imp *intake.Import) {
					change(imp)
					imp.DryRun = true
				}), chunk)
				require.Equal(t, int64(1), b.countImported(t, "users"), "a dry run writes nobody")

				imp := b.process(t, b.upload(t, intake.CSV, again, change), chunk)
				require.Equal(t, want.counts, []int{imp.Processed, imp.Succeeded, imp.Failed, imp.Skipped, imp.Merged})
				require.Equal(t, want.counts, []int{dry.Processed, dry.Succeeded, dry.Failed, dry.Skipped, dry.Merged}, "a dry run tells beforehand")
				require.Equal(t, intake.Completed, dry.Status)
				var users []string
				for i, raw := range get[[]string](t, b, `SELECT array_agg(attributes::text ORDER BY phone_number) FROM users`) {
					users = append(users, raw)
					require.JSONEq(t, want.users[i], raw)
				}
				require.Len(t, users, len(want.users))
				require.Zero(t, b.countImported(t, "import_numbers"), "forgotten at the end")
			})
		}
	}
}

func TestImportOfTooMuch(t *testing.T) {
	t.Parallel()
	b := open(t)
	known := b.user(t, "+94771234561", "LK", fmt.Sprintf(`{"notes": %q}`, strings.Repeat("x", 60<<10)), "OPT_IN")
	text := fmt.Sprintf("phone,more,consent\n+94771234561,%s,STOP\n+94771234562,x,\n", strings.Repeat("y", 10<<10))
	for _, dry := range []bool{true, false} {
		imp := b.process(t, b.upload(t, intake.CSV, text, func(imp *intake.Import) { imp.DryRun = dry }), 100)
		require.Equal(t, []int{2, 1, 1}, []int{imp.Processed, imp.Succeeded, imp.Failed})
		refused, err := b.ImportErrors(t.Context(), imp.ID, nil, 9)
		require.NoError(t, err)
		require.Equal(t, "attributes", refused[0].Field)
		require.Contains(t, refused[0].Detail, "would become too large")
		require.Equal(t, "OPT_IN", get[string](t, b, `SELECT consent_state FROM users WHERE id = $1`, known), "a refused row says nothing")
	}
}

// Whoever is erased leaves no trace in what was wrong with files.
func TestEraseForgetsRefusedRows(t *testing.T) {
	t.Parallel()
	b := open(t)
	text := "phone,a\n077 123 4561,b,too many\n0771234562,b,too many\n"
	id := b.upload(t, intake.CSV, text+"0771234561,c\n", nil)
	b.process(t, id, 100)
	b.erase(t, "+94771234561")
	refused, err := b.ImportErrors(t.Context(), id, nil, 9)
	require.NoError(t, err)
	require.Len(t, refused, 2)
	require.Equal(t, []string{"", "0771234562,b,too many"}, []string{refused[0].Text, refused[1].Text})
}

func TestFailImport(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.upload(t, intake.CSV, people, nil)
	b.cutChunks(t, id, 4)
	b.saveNext(ctx, t, id)
	require.NoError(t, b.FailImport(ctx, id, "the disk is full", noon))
	imp, err := b.Import(ctx, id)
	require.NoError(t, err)
	require.Equal(t, []any{intake.Failed, "the disk is full", 4}, []any{imp.Status, imp.StatusReason, imp.Processed})
	require.Zero(t, b.countImported(t, "import_chunks"))
	require.Equal(t, imp, b.process(t, id, 4), "what is over stays as it is")

	_, err = b.Import(ctx, uuid.New())
	require.True(t, fault.Is(err, fault.NotFound), err)
}

func TestCreateImportKeepsNothingOfABrokenUpload(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	broken := fault.Refuse("file", "is not valid JSON at record 3")
	n := 0
	_, err := b.CreateImport(ctx, intake.Import{ID: uuid.New(), Format: intake.JSON}, func() (intake.Row, error) {
		n++
		if n == 3 {
			return intake.Row{}, broken
		}
		return intake.Row{Line: n, Text: `{}`}, nil
	}, noon)
	require.ErrorIs(t, err, broken)
	_, err = b.CreateImport(ctx, intake.Import{ID: uuid.New(), Format: intake.JSON}, func() (intake.Row, error) { return intake.Row{}, io.EOF }, noon)
	require.True(t, fault.Is(err, fault.Invalid), "an empty upload: %v", err)
	require.Zero(t, get[int64](t, b, `SELECT (SELECT count(*) FROM imports) + (SELECT count(*) FROM import_chunks) + (SELECT count(*) FROM outbox)`))
}

// Two imports of the same people, in opposite orders, at the same time.
func TestImportsMeet(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	var up, down strings.Builder
	for i := range 300 {
		fmt.Fprintf(&up, `{"phone":"+9477%07d","a":1}`+"\n", i)
		fmt.Fprintf(&down, `{"phone":"+9477%07d","b":1}`+"\n", 299-i)
	}
	ended := make(chan error, 2)
	for _, text := range []string{up.String(), down.String()} {
		id := b.upload(t, intake.JSONL, text, nil)
		b.cutChunks(t, id, 30)
		go func() {
			imports := &activities.Imports{Store: b.Store, Now: func() time.Time { return noon }}
			ended <- imports.ProcessImport(ctx, outbox.Import{ImportID: id})
		}()
	}
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	require.Equal(t, int64(300), get[int64](t, b, `SELECT count(*) FROM users WHERE attributes = '{"a": 1, "b": 1}'`))
}

// BenchmarkImport takes a list of new people in, without Temporal and without the API.
func BenchmarkImport(bench *testing.B) {
	const rows = 50_000
	var text strings.Builder
	text.WriteString("phone_number,name,city,age,vip,consent_state\n")
	for i := range rows {
		person := i * 15_485_863 % rows
		fmt.Fprintf(&text, "%s,Person %d,City %d,%d,%t,OPT_IN\n",
			fmt.Sprintf([]string{"+9477%07d", "+1415%07d", "+4474%08d", "+9198%08d"}[person%4], 2_000_000+person), person, person%10, 20+person%50, person%9 == 0)
	}
	for bench.Loop() {
		bench.StopTimer()
		b := books{Store: dbtest.New(bench)}
		bench.StartTimer()
		imp := intake.Import{ID: uuid.New(), Format: intake.CSV, CreatedBy: "key:7"}
		reader, err := intake.Open(&imp, strings.NewReader(text.String()))
		require.NoError(bench, err)
		_, err = b.CreateImport(bench.Context(), imp, reader.Next, noon)
		require.NoError(bench, err)
		imports := &activities.Imports{Store: b.Store, Now: time.Now}
		require.NoError(bench, imports.ProcessImport(bench.Context(), outbox.Import{ImportID: imp.ID}))
		done, err := b.Import(bench.Context(), imp.ID)
		require.NoError(bench, err)
		require.Equal(bench, rows, done.Succeeded)
	}
	bench.ReportMetric(rows*float64(bench.N)/bench.Elapsed().Seconds(), "rows/s")
}
