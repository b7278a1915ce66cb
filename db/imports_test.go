package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/message"
)

// upload stores an import of text and returns its id.
func (b books) upload(t testing.TB, format intake.Format, text string) uuid.UUID {
	t.Helper()
	reader, err := intake.NewReader(format, strings.NewReader(text))
	require.NoError(t, err)
	id := uuid.Must(uuid.NewV7())
	_, err = b.CreateImport(t.Context(), intake.Import{
		ID: id, FileName: "people." + string(format), Format: format, DefaultRegion: "LK", CreatedBy: "key:7",
	}, reader.Next, noon)
	require.NoError(t, err)
	return id
}

func (b books) process(t testing.TB, id uuid.UUID, atMost int) intake.Import {
	t.Helper()
	for done := false; !done; {
		var err error
		done, err = b.ProcessImport(t.Context(), id, atMost, noon.Add(time.Minute))
		require.NoError(t, err)
	}
	imp, err := b.Import(t.Context(), id)
	require.NoError(t, err)
	return imp
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
			id := b.upload(t, intake.CSV, people)
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
			require.Equal(t, int64(1), get[int64](t, b, `SELECT count(*) FROM import_rows`), "what is done is gone")
			require.True(t, get[bool](t, b, `SELECT data IS NULL FROM import_rows`), "a refused row's content is not kept")
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
	]`), 100)
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
	id := b.upload(t, intake.CSV, people)
	crash := errors.New("killed before the commit")
	err := b.InTx(ctx, func(ctx context.Context) error {
		if _, err := b.ProcessImport(ctx, id, 4, noon); err != nil {
			return err
		}
		return crash
	})
	require.ErrorIs(t, err, crash)
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM users`))
	done, err := b.ProcessImport(ctx, id, 4, noon)
	require.NoError(t, err)
	require.False(t, done)
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

func TestFailImport(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.upload(t, intake.CSV, people)
	_, err := b.ProcessImport(ctx, id, 4, noon)
	require.NoError(t, err)
	require.NoError(t, b.FailImport(ctx, id, "the disk is full", noon))
	imp, err := b.Import(ctx, id)
	require.NoError(t, err)
	require.Equal(t, []any{intake.Failed, "the disk is full", 4}, []any{imp.Status, imp.StatusReason, imp.Processed})
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM import_rows WHERE NOT processed`))
	done, err := b.ProcessImport(ctx, id, 4, noon)
	require.NoError(t, err)
	require.True(t, done)

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
		return intake.Row{Line: n, Data: json.RawMessage(`{}`)}, nil
	}, noon)
	require.ErrorIs(t, err, broken)
	_, err = b.CreateImport(ctx, intake.Import{ID: uuid.New(), Format: intake.JSON}, func() (intake.Row, error) { return intake.Row{}, io.EOF }, noon)
	require.True(t, fault.Is(err, fault.Invalid), "an empty upload: %v", err)
	require.Zero(t, get[int64](t, b, `SELECT (SELECT count(*) FROM imports) + (SELECT count(*) FROM import_rows) + (SELECT count(*) FROM outbox)`))
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
		id := b.upload(t, intake.JSONL, text)
		go func() {
			for {
				done, err := b.ProcessImport(ctx, id, 100, noon)
				if done || err != nil {
					ended <- err
					return
				}
			}
		}()
	}
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	require.Equal(t, int64(300), get[int64](t, b, `SELECT count(*) FROM users WHERE attributes = '{"a": 1, "b": 1}'`))
}

func BenchmarkImport(bench *testing.B) {
	const rows = 50_000
	for bench.Loop() {
		b := books{Store: dbtest.New(bench)}
		var text strings.Builder
		text.WriteString("phone_number,name,city,age,consent_state\n")
		for i := range rows {
			fmt.Fprintf(&text, "+9477%07d,Person %d,Colombo,%d,OPT_IN\n", i, i, 20+i%50)
		}
		id := b.upload(bench, intake.CSV, text.String())
		start := time.Now()
		imp := b.process(bench, id, 5000)
		require.Equal(bench, rows, imp.Succeeded)
		bench.ReportMetric(rows/time.Since(start).Seconds(), "rows/s")
	}
}
