package segment_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

// person is one row of the table that the compiled conditions run on.
type person struct {
	attributes json.RawMessage
	consent    user.ConsentState
	read       user.Attributes // attributes
}

// connect opens a connection with a temporary table named u, filled with people numbered by their index.
func connect(tb testing.TB, people []person) *pgx.Conn {
	tb.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dbtest.URL(tb))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, conn.Close(ctx)) })
	_, err = conn.Exec(ctx, `CREATE TEMP TABLE people (id int NOT NULL, attributes jsonb NOT NULL, consent_state text NOT NULL);
		CREATE INDEX ON people USING gin (attributes jsonb_path_ops)`)
	require.NoError(tb, err)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"people"}, []string{"id", "attributes", "consent_state"},
		pgx.CopyFromSlice(len(people), func(i int) ([]any, error) {
			return []any{i, string(people[i].attributes), string(people[i].consent)}, nil
		}))
	require.NoError(tb, err)
	_, err = conn.Exec(ctx, "ANALYZE people")
	require.NoError(tb, err)
	return conn
}

// found returns which people the compiled definition selects, and fails when the condition is NULL for anybody.
func found(t *testing.T, conn *pgx.Conn, e segment.Expr) map[int]bool {
	t.Helper()
	ctx := context.Background()
	where, args := segment.Compile(resolve(t, e), now, 1)
	args = append([]any{-1}, args...)
	var nulls int
	require.NoError(t, conn.QueryRow(ctx, "SELECT count(*) FROM people u WHERE u.id > $1 AND ("+where+") IS NULL", args...).Scan(&nulls), where)
	require.Zero(t, nulls, where)
	rows, err := conn.Query(ctx, "SELECT u.id FROM people u WHERE u.id > $1 AND "+where, args...)
	require.NoError(t, err, where)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err, where)
	selected := map[int]bool{}
	for _, id := range ids {
		selected[id] = true
	}
	return selected
}

func requireAgreement(t *testing.T, conn *pgx.Conn, people []person, e segment.Expr) {
	t.Helper()
	selected := found(t, conn, e)
	for i, p := range people {
		if matches := segment.Match(e, segment.Person{Attributes: p.read, Consent: p.consent}, now); matches != selected[i] {
			require.Equal(t, selected[i], matches, "%s\nattributes %s, consent %s", segment.Describe(e), p.attributes, p.consent)
		}
	}
}

// The values are chosen to collide: equal in one type system and different in another.
var (
	jsonScalars = []string{
		`"Colombo"`, `"COLOMBO"`, `"colombo"`, `""`, `" "`, `"40"`, `40`, `40.0`, `4e1`, `-0`, `0`, `0.0`, `1`, `1.0`, `"1"`, `true`,
		`false`, `"true"`, `12345678901234567890123456789`, `12345678901234567890123456788`, `1e300`, `1e-300`, `0.1`, `0.10`,
		`0.1000000000000000055511151231257827`, `"50%"`, `"50_"`, `"5\\0"`, `"o'Brien\""`, `"Straße"`, `"STRASSE"`, `"İstanbul"`,
		`"istanbul"`, `"ıstanbul"`, `"ΣΊΣΥΦΟΣ"`, `"σίσυφος"`, `"K"`, `"k"`, `"\u212a"`, `"ſ"`, `"s"`, `"කොළඹ"`, `"é"`, `"e\u0301"`,
		`"É"`, `"😀"`, `"\ud83d\ude00!"`, `"\uffff"`, `"null"`, `"$1"`, `"{}"`, `"[1]"`, `"Z"`, `"a"`, `"_"`, `"\t\n"`,
		`"2026-03-01"`, `"2026-03-02"`, `"2026-02-29"`, `"2024-02-29"`, `"2026-13-01"`, `"0999-01-01"`, `"2026-03-01 "`, `"2026-03-01\n"`,
		`"2026-03-02T12:00:00Z"`, `"2026-03-02T17:30:00+05:30"`, `"2026-03-02T12:00:00.000001Z"`, `"2026-03-02T12:00:00"`, `"2026-03-02T24:00:00Z"`,
		`"2026-02-23T12:00:00Z"`, `"2026-02-23T11:59:59.999999-00:00"`, `"2026-03-02t12:00:00z"`, `"2026-03-02 12:00:00Z"`, `"2026-03-02T12:00:60Z"`,
		`"2999-12-31T23:59:59-14:59"`, `"1000-01-01"`, `"2026-04-31"`, `"2026-06-30T00:00:00.5Z"`,
	}
	jsonOthers = []string{`null`, `[]`, `{}`, `[1,2]`, `["Colombo"]`, `["colombo",40]`, `["2026-03-01"]`, `[40.0,false]`, `[["Colombo"]]`, `[null]`, `[{"b":"Colombo"}]`, `[true]`}
	keys       = []string{"a", "b", "A", "0", "é", "a b", `q"`, `'`, "$", "consent"}
	operators  = []string{"equals", "not_equals", "equals_ignore_case", "contains", "starts_with", "in", "not_in", "has", "exists", "gt", "gte", "lt", "lte",
		"before", "after", "within_last", "within_next"}
	states = []user.ConsentState{user.Pending, user.OptIn, user.OptOut, user.Stop}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func randomValue(r *rand.Rand, depth int) string {
	switch n := r.IntN(10); {
	case n < 5 || depth == 0:
		return pick(r, jsonScalars)
	case n < 7:
		return pick(r, jsonOthers)
	default:
		return randomObject(r, depth-1)
	}
}

func randomObject(r *rand.Rand, depth int) string {
	var members []string
	for _, key := range keys {
		if r.IntN(3) == 0 {
			quoted, _ := json.Marshal(key)
			members = append(members, string(quoted)+":"+randomValue(r, depth))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func randomDefinition(r *rand.Rand, depth int) string {
	if depth > 0 && r.IntN(3) == 0 {
		logic := pick(r, []string{"AND", "OR", "NOT"})
		conditions := make([]string, 1+r.IntN(3))
		if logic == "NOT" {
			conditions = conditions[:1]
		}
		for i := range conditions {
			conditions[i] = randomDefinition(r, depth-1)
		}
		return fmt.Sprintf(`{"logic":%q,"conditions":[%s]}`, logic, strings.Join(conditions, ","))
	}
	if r.IntN(8) == 0 {
		return fmt.Sprintf(`{"attribute":"consent_state","operator":%q,"value":%q}`,
			pick(r, []string{"equals", "not_equals"}), pick(r, states))
	}
	if r.IntN(20) == 0 {
		return fmt.Sprintf(`{"field":"consent_state","operator":"not_in","value":[%q,"STOP"]}`, pick(r, states))
	}
	path := pick(r, keys)
	for r.IntN(3) == 0 {
		path += "." + pick(r, keys)
	}
	attribute, _ := json.Marshal(path)
	operator := pick(r, operators)
	value := pick(r, jsonScalars)
	switch operator {
	case "before", "after":
		value = pick(r, []string{`"2026-03-01"`, `"2026-03-02T12:00:00Z"`, `"2026-03-02T17:30:00.000001+05:30"`, `"1000-01-01"`, `"2024-02-29"`})
	case "within_last", "within_next":
		value = pick(r, []string{`"7d"`, `"30m"`, `"24h"`, `"9999w"`, `"2w"`})
	case "contains", "starts_with", "equals_ignore_case":
		quoted, _ := json.Marshal(pick(r, []string{"colombo", "O", "%", "_", "ß", "ss", "İ", "i", "Σ", "ς", "K", "\u212a", "s", "é", "E", "50", "😀", "'", "කො", `5\`, "ΣΊΣΥΦΟΣ", "straße"}))
		value = string(quoted)
	case "in", "not_in":
		value = "[" + value + "," + pick(r, jsonScalars) + "," + pick(r, jsonScalars) + "]"
	case "exists":
		value = pick(r, []string{"true", "false"})
	}
	return fmt.Sprintf(`{"attribute":%s,"operator":%q,"value":%s}`, attribute, operator, value)
}

func randomPeople(t *testing.T, r *rand.Rand, n int) []person {
	t.Helper()
	var people []person
	for range n {
		people = append(people, person{attributes: json.RawMessage(randomObject(r, 3)), consent: pick(r, states)})
	}
	for _, value := range append(append([]string{}, jsonScalars...), jsonOthers...) {
		people = append(people,
			person{attributes: json.RawMessage(`{"a":` + value + `}`), consent: user.OptIn},
			person{attributes: json.RawMessage(`{"a":{"b":` + value + `}}`), consent: user.Stop})
	}
	for i := range people {
		require.NoError(t, json.Unmarshal(people[i].attributes, &people[i].read))
	}
	return people
}

func TestPostgresAgreesWithMatch(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(20261122, 2))
	people := randomPeople(t, r, 100)
	conn := connect(t, people)

	for _, path := range []string{"a", "a.b", "missing"} {
		for _, operator := range operators {
			for _, value := range jsonScalars {
				definition := fmt.Sprintf(`{"attribute":%q,"operator":%q,"value":%s}`, path, operator, value)
				e, err := segment.Parse("definition_json", json.RawMessage(definition))
				if err != nil {
					continue // an operator that does not take such a value
				}
				requireAgreement(t, conn, people, e)
			}
		}
	}
	refused := 0
	const definitions = 600
	for range definitions {
		e, err := segment.Parse("definition_json", json.RawMessage(randomDefinition(r, 3)))
		if err != nil {
			refused++
			continue
		}
		requireAgreement(t, conn, people, e)
	}
	require.Less(t, refused, definitions/4, "most random definitions are valid")
}

// fold_case, which indexes are made of, folds every letter as Match does, by itself and beside a rare one.
func TestPostgresFoldsEveryLetter(t *testing.T) {
	t.Parallel()
	conn := connect(t, nil)
	var letters, folded []string
	for r := rune(1); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) || !unicode.IsGraphic(r) || unicode.In(r, unicode.Han, unicode.Hangul, unicode.Co) {
			continue // have no case
		}
		first := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			first = min(first, other)
		}
		letters, folded = append(letters, string(r)), append(folded, string(first))
	}
	rows, err := conn.Query(t.Context(), `SELECT letter FROM unnest($1::text[], $2::text[]) AS l(letter, folded)
		WHERE fold_case(letter) <> folded OR CASE WHEN folded <> letter THEN fold_case(letter || 'é𞤢') <> folded || 'É𞤀' ELSE false END`, letters, folded)
	require.NoError(t, err)
	wrong, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Empty(t, wrong)
	require.Greater(t, len(letters), 10_000)
}

// FuzzPostgresAgreesWithMatch lets the fuzzer choose text, key and number freely.
func FuzzPostgresAgreesWithMatch(f *testing.F) {
	f.Add("city", "Colombo", "LOMB", 40.0, uint8(0))
	f.Add("a.b", "ΣΑΣ", "ς", -1.5, uint8(2))
	f.Add("'", "\\", "%", 1e300, uint8(4))
	f.Add("İ", "\u1e9e", "ß", 0.1, uint8(5))
	f.Add("city", "kirİ", "ſ\u212a", 1.0, uint8(4))
	f.Add("at", "2026-02-29", "2026-03-01", 1.0, uint8(13))
	conn := connect(f, nil)
	f.Fuzz(func(t *testing.T, key, text, part string, number float64, op uint8) {
		operator := operators[int(op)%len(operators)]
		for _, value := range []any{part, number} {
			condition := map[string]any{"attribute": key, "operator": operator, "value": value}
			switch operator {
			case "in", "not_in":
				condition["value"] = []any{value, text}
			case "exists":
				condition["value"] = op%2 == 0
			}
			definition, err := json.Marshal(condition)
			if err != nil {
				return
			}
			e, err := segment.Parse("definition_json", definition)
			if err != nil {
				continue
			}
			for _, stored := range []any{text, part, number, []any{text}, []any{number, part}, text + part, part + text} {
				for i := strings.Count(key, "."); i >= 0; i-- {
					stored = map[string]any{strings.Split(key, ".")[i]: stored}
				}
				raw, err := json.Marshal(stored)
				if err != nil {
					return
				}
				attributes, err := user.ParseAttributes("attributes", raw)
				if err != nil {
					continue
				}
				where, args := segment.Compile(resolve(t, e), now, 1)
				var selected *bool
				err = conn.QueryRow(context.Background(),
					"SELECT "+where+" FROM (SELECT $1::text::jsonb AS attributes, 'OPT_IN' AS consent_state) u",
					append([]any{string(raw)}, args...)...).Scan(&selected)
				require.NoError(t, err)
				require.NotNil(t, selected)
				require.Equal(t, *selected, segment.Match(e, segment.Person{Attributes: attributes, Consent: user.OptIn}, now), "%s on %s", definition, raw)
			}
		}
	})
}

// equals and in can be served by the index.
func TestPostgresUsesTheIndex(t *testing.T) {
	t.Parallel()
	people := make([]person, 5000)
	for i := range people {
		people[i] = person{attributes: fmt.Appendf(nil, `{"city":"city %d","address":{"zip":%d}}`, i%500, i), consent: user.OptIn}
	}
	conn := connect(t, people)
	_, err := conn.Exec(context.Background(), "SET enable_seqscan = off") // on so small a table reading it all is cheap
	require.NoError(t, err)
	for _, definition := range []string{
		`{"city":"city 7"}`,
		`{"address.zip":4999}`,
		`{"attribute":"city","operator":"in","value":["city 1","city 2"]}`,
		`{"attribute":"tags","operator":"has","value":"t 7"}`,
		`{"conditions":[{"attribute":"city","value":"city 1"},{"attribute":"address.zip","operator":"gt","value":100}]}`,
	} {
		where, args := segment.Compile(resolve(t, parse(t, definition)), now, 0)
		rows, err := conn.Query(context.Background(), "EXPLAIN SELECT u.id FROM people u WHERE "+where, args...)
		require.NoError(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.Contains(t, strings.Join(plan, "\n"), "Bitmap Index Scan", definition)
	}
}
