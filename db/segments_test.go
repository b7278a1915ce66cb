package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestBoundBeyondTheColumn(t *testing.T) {
	t.Parallel()
	b := open(t)
	_, err := b.CreateSegment(t.Context(), "Cities", json.RawMessage(`{"city": "Colombo"}`), noon)
	require.NoError(t, err)
	for after, want := range map[int64]int{1 << 32: 1, -1 << 32: 0} {
		found, err := b.Segments(t.Context(), &after, 10)
		require.NoError(t, err)
		require.Len(t, found, want, after)
	}
}

func expr(t testing.TB, definition string) segment.Expr {
	t.Helper()
	e, err := segment.Parse("definition_json", json.RawMessage(definition))
	require.NoError(t, err, definition)
	return e
}

// saved saves a dynamic segment.
func (b books) saved(t *testing.T, name, definition string) int64 {
	t.Helper()
	s, err := b.CreateSegment(t.Context(), name, json.RawMessage(definition), noon)
	require.NoError(t, err)
	return s.ID
}

// static saves a segment with these people in it.
func (b books) static(t *testing.T, name string, numbers ...string) int64 {
	t.Helper()
	s, err := b.CreateStaticSegment(t.Context(), name, noon)
	require.NoError(t, err)
	_, err = b.FillSegment(t.Context(), s.ID, false, numbersOf(numbers...), noon)
	require.NoError(t, err)
	return s.ID
}

func numbersOf(numbers ...string) func() (segment.Entry, error) {
	return segment.NewNumbers(strings.NewReader(strings.Join(numbers, "\n")), "").Next
}

// selected are the numbers of those whom a definition selects, in order.
func (b books) selected(t *testing.T, e segment.Expr, at time.Time) []string {
	t.Helper()
	count, _, sample, err := b.EvaluateSegment(t.Context(), e, 1000, at)
	require.NoError(t, err, segment.Describe(e))
	numbers := make([]string, len(sample))
	for i, u := range sample {
		numbers[i] = string(u.Phone)
	}
	require.EqualValues(t, len(numbers), count)
	slices.Sort(numbers)
	return numbers
}

func fieldsOf(err error) []string {
	refused, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return nil
	}
	names := make([]string, len(refused.Fields))
	for i, f := range refused.Fields {
		names[i] = f.Name
	}
	return names
}

func TestStaticSegment(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	for i := range 4 {
		b.user(t, fmt.Sprintf("+9477123456%d", i), "LK", `{}`, "OPT_IN")
	}
	s, err := b.CreateStaticSegment(ctx, "Guests", noon)
	require.NoError(t, err)
	require.Equal(t, segment.Static, s.Kind)
	require.JSONEq(t, fmt.Sprintf(`{"operator":"in_segment","value":%d}`, s.ID), string(s.Definition))
	self := expr(t, string(s.Definition))
	require.Empty(t, b.selected(t, self, noon))

	upload, err := b.FillSegment(ctx, s.ID, false, numbersOf("phone_number", "+94771234560", "+94779999999", "nobody", "+94771234561", "+94771234560"), noon)
	require.NoError(t, err)
	require.Equal(t, segment.Upload{Rows: 5, Matched: 3, Unknown: 1, Invalid: 1, Members: 2, Errors: []segment.RowError{
		{Line: 3, Detail: "nobody with this number is known: import them first"}, upload.Errors[1],
	}}, upload)
	require.Equal(t, 4, upload.Errors[1].Line)
	require.Equal(t, []string{"+94771234560", "+94771234561"}, b.selected(t, self, noon))
	require.EqualValues(t, 4, get[int64](t, b, `SELECT count(*) FROM users`), "nobody was created")

	upload, err = b.FillSegment(ctx, s.ID, false, numbersOf("+94771234562"), noon)
	require.NoError(t, err)
	require.EqualValues(t, 3, upload.Members)
	_, err = b.FillSegment(ctx, s.ID, true, func() (segment.Entry, error) { return segment.Entry{}, io.ErrUnexpectedEOF }, noon)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, b.selected(t, self, noon), 3, "an upload that breaks off changes nothing")
	_, err = b.FillSegment(ctx, s.ID, true, numbersOf("+94771234563", "+94771234562"), noon)
	require.NoError(t, err)
	require.Equal(t, []string{"+94771234562", "+94771234563"}, b.selected(t, self, noon))

	_, err = b.EraseUser(ctx, "+94771234563", "tester", noon)
	require.NoError(t, err)
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM segment_members`), "who is erased is in no segment")

	dynamic := b.saved(t, "Both", fmt.Sprintf(`{"conditions":[{"operator":"in_segment","value":%d},{"attribute":"vip","operator":"exists","value":false}]}`, s.ID))
	_, err = b.FillSegment(ctx, dynamic, false, numbersOf(), noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	_, err = b.FillSegment(ctx, 99, false, numbersOf(), noon)
	require.True(t, fault.Is(err, fault.NotFound), err)
	require.Equal(t, []string{"+94771234562"}, b.selected(t, segment.Membership(dynamic), noon))

	renamed, err := b.UpdateSegment(ctx, s.ID, "Guest list", nil, noon)
	require.NoError(t, err)
	require.Equal(t, "Guest list", renamed.Name)
	_, err = b.UpdateSegment(ctx, s.ID, "Guest list", json.RawMessage(`{"city":"Colombo"}`), noon)
	require.Equal(t, []string{"definition_json"}, fieldsOf(err))
	require.True(t, fault.Is(b.DeleteSegment(ctx, s.ID, noon), fault.Conflict), "another segment uses it")
	require.NoError(t, b.DeleteSegment(ctx, dynamic, noon))
	require.NoError(t, b.DeleteSegment(ctx, s.ID, noon))
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM segment_members`))
}

func TestUploadOfSeveralBatches(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.people(t, 2500, "OPT_IN", "LK", "")
	s, err := b.CreateStaticSegment(ctx, "Many", noon)
	require.NoError(t, err)
	var numbers []string
	for i := 1; i <= 4000; i++ {
		numbers = append(numbers, "+9477"+strconv.Itoa(1000000+i))
	}
	var wg sync.WaitGroup
	for range 2 { // at once: one waits for the other
		wg.Go(func() {
			upload, err := b.FillSegment(ctx, s.ID, false, numbersOf(numbers...), noon)
			if err == nil && (upload.Rows != 4000 || upload.Matched != 2500 || upload.Unknown != 1500 || upload.Members != 2500 || len(upload.Errors) != 1000) {
				err = fmt.Errorf("%+v", upload.Rows)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestSegmentReferences(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1)`, noon)
	b.campaign(t)
	tests := map[string]string{
		`{"operator":"in_segment","value":99}`:                                        "definition_json.value",
		`{"conditions":[{"city":"x","operator":"in"}]}`:                               "definition_json.conditions[0].attribute",
		`{"conditions":[{"attribute":"a","value":1},{"campaign":9,"value":"read"}]}`:  "definition_json.conditions[1].campaign",
		`{"conditions":[{"campaign":1,"value":"read"},{"field":"topics","value":2}]}`: "definition_json.conditions[1].value",
		`{"logic":"NOT","conditions":[{"field":"topics","value":"news"}]}`:            "definition_json.conditions[0].value",
	}
	for definition, field := range tests {
		_, err := b.CreateSegment(ctx, "Wrong", json.RawMessage(definition), noon)
		require.Contains(t, fieldsOf(err), field, definition)
	}
	b.saved(t, "Right", `{"conditions":[{"campaign":1,"value":"read"},{"field":"topics","value":1},{"field":"topics","value":"News"},{"operator":"in_segment","value":1}]}`)

	first := b.saved(t, "First", `{"city":"Kandy"}`)
	second := b.saved(t, "Second", fmt.Sprintf(`{"operator":"in_segment","value":%d}`, first))
	third := b.saved(t, "Third", fmt.Sprintf(`{"logic":"NOT","conditions":[{"operator":"in_segment","value":%d}]}`, second))
	for _, id := range []int64{first, second, third} {
		_, err := b.UpdateSegment(ctx, first, "First", fmt.Appendf(nil, `{"operator":"in_segment","value":%d}`, id), noon)
		require.True(t, fault.Is(err, fault.Invalid), "a circle through %d: %v", id, err)
		require.ErrorContains(t, err, "a segment cannot depend on itself")
	}
	require.True(t, fault.Is(b.DeleteSegment(ctx, second, noon), fault.Conflict))
	_, err := b.UpdateSegment(ctx, third, "Third", json.RawMessage(`{"city":"Galle"}`), noon)
	require.NoError(t, err)
	require.NoError(t, b.DeleteSegment(ctx, second, noon), "nothing refers to it any more")

	// a definition that grows must not outgrow those that refer to it
	large := `{"conditions":[` + strings.Repeat(`{"attribute":"a","value":1},`, 190) + `{"attribute":"a","value":1}]}`
	part := b.saved(t, "Part", `{"a":1}`)
	ref := fmt.Sprintf(`{"operator":"in_segment","value":%d}`, part)
	b.saved(t, "Whole", `{"conditions":[`+ref+`,`+ref+`,`+ref+`]}`)
	_, err = b.UpdateSegment(ctx, part, "Part", json.RawMessage(large), noon)
	require.ErrorContains(t, err, "at most 500")
	require.Equal(t, `{"a": 1}`, get[string](t, b, `SELECT definition::text FROM segments WHERE id = $1`, part))
}

// Two changes at once must not close a circle that each of them alone would not.
func TestSegmentsChangedAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	one, two := b.saved(t, "One", `{"a":1}`), b.saved(t, "Two", `{"a":2}`)
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, pair := range [][2]int64{{one, two}, {two, one}} {
		wg.Go(func() {
			_, errs[i] = b.UpdateSegment(ctx, pair[0], fmt.Sprint(pair[0]), fmt.Appendf(nil, `{"operator":"in_segment","value":%d}`, pair[1]), noon)
		})
	}
	wg.Wait()
	require.NotEqual(t, errs[0] == nil, errs[1] == nil, "%v, %v", errs[0], errs[1])
}

func TestFreezeExcludes(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	b.people(t, 6, "OPT_IN", "LK", "Asia/Colombo") // +94771000001 to 6
	b.people(t, 2, "STOP", "LK", "Asia/Colombo")   // 7 and 8
	guests := b.static(t, "Guests", "+94771000001", "+94771000002", "+94771000007")
	last := b.saved(t, "Last", `{"field":"phone_number","operator":"starts_with","value":"+94771000006"}`)

	plan := b.plan(t)
	plan.ExcludeSegmentIDs = []int64{guests, 99, last}
	_, err := b.CreateCampaign(ctx, plan, noon)
	require.Equal(t, []string{"exclude_segment_ids[1]"}, fieldsOf(err))
	plan.ExcludeSegmentIDs = make([]int64, campaign.MaxExcluded+1)
	_, err = b.CreateCampaign(ctx, plan, noon)
	require.Equal(t, []string{"exclude_segment_ids"}, fieldsOf(err))

	plan.ExcludeSegmentIDs = []int64{guests, last}
	plan.SegmentID, plan.SegmentQuery = nil, json.RawMessage(`{"conditions":[{"city":"Kandy","attribute":"city"}]}`)
	_, err = b.CreateCampaign(ctx, plan, noon)
	require.Equal(t, []string{"segment_query.conditions[0].city", "segment_query.conditions[0].value"}, fieldsOf(err))
	plan.SegmentQuery = json.RawMessage(`{"conditions":[{"attribute":"city","value":"Kandy"},{"field":"created_at","operator":"within_last","value":"30m"}]}`)
	created, err := b.CreateCampaign(ctx, plan, noon)
	require.NoError(t, err)
	require.Equal(t, plan.ExcludeSegmentIDs, created.ExcludeSegmentIDs)
	require.True(t, fault.Is(b.DeleteSegment(ctx, guests, noon), fault.Conflict), "the campaign uses it")

	require.Equal(t, []campaign.VerdictCount{
		{Action: "proceed", Count: 3}, {Action: "suppress", Reason: "excluded", Count: 3}, {Action: "suppress", Reason: "stopped", Count: 2},
	}, b.verdicts(t, created.ID, noon))

	started, err := b.StartRun(ctx, created.ID, "tester", noon)
	require.NoError(t, err)
	require.NoError(t, b.Freeze(ctx, b.load(t, started.ID), noon))
	run := b.load(t, started.ID)
	require.Equal(t, 8, run.AudienceSize)
	b.addsUp(t, run)
	require.Equal(t, "pending: 3; suppressed excluded 3; suppressed stopped 2", get[string](t, b,
		`SELECT string_agg(x, '; ' ORDER BY x) FROM (SELECT state || CASE reason WHEN '' THEN ':' ELSE ' ' || reason END || ' ' || count(*) AS x FROM messages GROUP BY state, reason) y`))
	require.EqualValues(t, 3, get[int64](t, b, `SELECT count(*) FROM compliance_checks WHERE reason = 'excluded'`))
	require.Equal(t, "{1,2,3}", get[string](t, b, `SELECT array_agg(seq ORDER BY seq)::text FROM messages WHERE state = 'pending'`))

	_, err = b.UpdateCampaign(ctx, created.ID, "tester", func(c campaign.Campaign) (campaign.Campaign, error) {
		to := c
		to.ExcludeSegmentIDs = nil
		return c.Edit(to, noon)
	}, noon)
	require.Equal(t, []string{"exclude_segment_ids"}, fieldsOf(err), "the audience is frozen")
}

// A segment of a campaign whose segment changed after the campaign was planned is the one as of the freeze.
func TestFreezeOfAReference(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.sender(t)
	b.people(t, 3, "OPT_IN", "LK", "Asia/Colombo")
	guests := b.static(t, "Guests", "+94771000001")
	plan := b.plan(t)
	plan.SegmentID = &guests
	created, err := b.CreateCampaign(ctx, plan, noon)
	require.NoError(t, err)
	_, err = b.FillSegment(ctx, guests, false, numbersOf("+94771000003"), noon)
	require.NoError(t, err)
	started, err := b.StartRun(ctx, created.ID, "tester", noon)
	require.NoError(t, err)
	require.NoError(t, b.Freeze(ctx, b.load(t, started.ID), noon))
	require.Equal(t, 2, b.load(t, started.ID).AudienceSize)
}

// A count that takes too long is ended and explained.
func TestEvaluationTakesTooLong(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	store, err := db.Open(t.Context(), url, db.StatementTimeout(50*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	other, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close(context.WithoutCancel(t.Context())) })
	_, err = other.Exec(t.Context(), `BEGIN; LOCK TABLE users`)
	require.NoError(t, err)
	_, _, _, err = store.EvaluateSegment(t.Context(), expr(t, `{"city":"Kandy"}`), 1, noon)
	require.True(t, fault.Is(err, fault.Unavailable), err)
	require.ErrorContains(t, err, "took too long")
}

// world is random people with everything that a condition may ask for, and what Match has to know of them.
type world struct {
	books
	facts    map[string]segment.Person // by number
	segments []int64                   // a static one, and those that are saved later
}

func newWorld(t *testing.T, r *rand.Rand, people int) world {
	t.Helper()
	w := world{books: open(t), facts: map[string]segment.Person{}}
	w.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1), ('Offers', $1)`, noon)
	var runs []int64
	for range 2 {
		id := w.campaign(t)
		runs = append(runs, w.run(t, id))
		w.exec(t, `UPDATE campaign_runs SET finished_at = $1`, noon)
		runs = append(runs, w.run(t, id))
		w.exec(t, `UPDATE campaign_runs SET finished_at = $1`, noon)
	}
	staticID := w.static(t, "Static")
	w.segments = append(w.segments, staticID)
	states := []user.ConsentState{user.Pending, user.OptIn, user.OptOut, user.Stop}
	numbers := []string{"+9477%07d", "+9471%07d", "+1212%07d", "+1613%07d", "+4420%08d", "+9198%08d"}
	for i := range people {
		number := phone.Number(fmt.Sprintf(numbers[r.IntN(len(numbers))], 3000000+i))
		attributes := randomAttributes(r)
		p := segment.Person{
			Consent: states[r.IntN(len(states))], Phone: number, Region: phone.Region(number),
			CreatedAt: randomTime(r), Outcomes: map[int64][]segment.Outcome{},
		}
		if r.IntN(12) == 0 {
			p.Region = ""
		}
		if r.IntN(2) == 0 {
			at := randomTime(r)
			p.LastInboundAt = &at
		}
		require.NoError(t, json.Unmarshal(attributes, &p.Attributes))
		id := get[int64](t, w.books, `INSERT INTO users (phone_number, attributes, consent_state, region, last_inbound_at, created_at, updated_at)
			VALUES ($1, $2::text::jsonb, $3, $4, $5, $6, $6) RETURNING id`, string(number), string(attributes), string(p.Consent), p.Region, p.LastInboundAt, p.CreatedAt)
		for i, topic := range []segment.Topic{{ID: 1, Name: "News"}, {ID: 2, Name: "Offers"}} {
			if r.IntN(3) == 0 {
				w.exec(t, `INSERT INTO subscriptions (topic_id, user_id, created_at) VALUES ($1, $2, $3)`, i+1, id, noon)
				p.Topics = append(p.Topics, topic)
			}
		}
		if r.IntN(3) == 0 {
			w.exec(t, `INSERT INTO segment_members (segment_id, user_id) VALUES ($1, $2)`, staticID, id)
			p.Segments = append(p.Segments, staticID)
		}
		w.history(t, r, id, i+1, runs, &p)
		w.facts[string(number)] = p
	}
	return w
}

// history gives a person random messages of the runs, two for each campaign, and random words of theirs, and notes the
// outcomes as the language defines them.
func (w world) history(t *testing.T, r *rand.Rand, userID int64, seq int, runs []int64, p *segment.Person) {
	t.Helper()
	var inbound []time.Time
	for i := range r.IntN(3) {
		at := randomTime(r)
		inbound = append(inbound, at)
		w.exec(t, `INSERT INTO inbound_messages (provider_sid, user_id, channel, intent, body, payload, received_at)
			VALUES ($1, $2, 'whatsapp', 'none', '', '{}', $3)`, fmt.Sprintf("IN%d/%d", userID, i), userID, at)
	}
	for c, ofCampaign := range [][]int64{runs[:2], runs[2:]} {
		is := map[segment.Outcome]bool{}
		for _, run := range ofCampaign {
			state := []string{"", "pending", "sending", "accepted", "sent", "delivered", "read", "failed", "undelivered", "suppressed", "cancelled", "unknown"}[r.IntN(12)]
			if state == "" {
				continue
			}
			var acceptedAt *time.Time
			taken := slices.Contains([]string{"accepted", "sent", "delivered", "read"}, state)
			if taken || state == "undelivered" {
				at := randomTime(r)
				acceptedAt = &at
				for _, said := range inbound {
					is[segment.WasReplied] = is[segment.WasReplied] || !said.Before(at) && said.Before(at.Add(segment.ReplyWindow))
				}
			}
			is[segment.WasSent] = is[segment.WasSent] || taken
			is[segment.WasDelivered] = is[segment.WasDelivered] || state == "delivered" || state == "read"
			is[segment.WasRead] = is[segment.WasRead] || state == "read"
			is[segment.WasFailed] = is[segment.WasFailed] || state == "failed" || state == "undelivered"
			w.exec(t, `INSERT INTO messages (id, run_id, user_id, seq, channel, state, reason, created_at, accepted_at, updated_at)
				VALUES (gen_random_uuid(), $1, $2, $3, 'whatsapp', $4, 'x', $5, $6, $5)`, run, userID, seq, state, noon, acceptedAt)
		}
		is[segment.WasFailed] = is[segment.WasFailed] && !is[segment.WasSent]
		for _, outcome := range segment.Outcomes() {
			if is[outcome] {
				p.Outcomes[int64(c+1)] = append(p.Outcomes[int64(c+1)], outcome)
			}
		}
	}
}

// randomTime is one of few, around what conditions compare with.
func randomTime(r *rand.Rand) time.Time {
	around := []time.Duration{0, -7 * 24 * time.Hour, -24 * time.Hour, -14 * 24 * time.Hour, -36 * time.Hour, -30 * time.Minute, 24 * time.Hour}
	return noon.Add(around[r.IntN(len(around))]).Add(time.Duration(r.IntN(3)-1) * time.Microsecond)
}

func randomAttributes(r *rand.Rand) json.RawMessage {
	cities := []string{`"Colombo"`, `"COLOMBO"`, `"Colombo 7"`, `"Kandy"`, `"Şile"`, `"ŞİLE"`, `null`, `7`, `"` + strings.Repeat("Long", 20) + `"`, `"` + strings.Repeat("lONG", 20) + `er"`}
	return fmt.Appendf(nil, `{"city":%s,"age":%d,"tags":["%c",%d],"joined":"2026-0%d-2%d"}`,
		cities[r.IntN(len(cities))], 20+r.IntN(5), 'a'+rune(r.IntN(3)), r.IntN(3), 1+r.IntN(4), r.IntN(10))
}

func (w world) condition(r *rand.Rand, depth int) string {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	if depth > 0 && r.IntN(3) == 0 {
		logic, n := pick("AND", "OR", "NOT"), 1
		if logic != "NOT" {
			n += r.IntN(3)
		}
		parts := make([]string, n)
		for i := range parts {
			parts[i] = w.condition(r, depth-1)
		}
		return fmt.Sprintf(`{"logic":%q,"conditions":[%s]}`, logic, strings.Join(parts, ","))
	}
	at := pick(`"before","value":"2026-02-23T12:00:00Z"`, `"after","value":"2026-02-23T17:30:00+05:30"`, `"after","value":"2026-03-02"`,
		`"within_last","value":"7d"`, `"within_last","value":"24h"`, `"within_last","value":"2w"`, `"within_last","value":"30m"`)
	return pick(
		`{"field":"region","operator":`+pick(`"equals","value":"LK"`, `"not_equals","value":"US"`, `"in","value":["GB","CA"]`, `"not_in","value":["LK"]`, `"exists"`, `"exists","value":false`)+`}`,
		`{"field":"calling_code","operator":`+pick(`"equals","value":1`, `"not_equals","value":"94"`, `"in","value":[94,44]`, `"not_in","value":[1,91]`)+`}`,
		`{"field":"phone_number","operator":"starts_with","value":`+pick(`"+9477"`, `"+1"`, `"+161330000"`)+`}`,
		`{"field":"created_at","operator":`+at+`}`,
		`{"field":"last_inbound_at","operator":`+pick(at, at, `"exists"`, `"exists","value":false`)+`}`,
		`{"field":"topics","value":`+pick(`1`, `"Offers"`)+`}`,
		`{"field":"consent_state","operator":"in","value":["OPT_IN",`+pick(`"STOP"`, `"PENDING"`)+`]}`,
		`{"campaign":`+pick("1", "2")+`,"operator":`+pick(`"was"`, `"was_not"`)+`,"value":`+pick(`"sent"`, `"delivered"`, `"read"`, `"replied"`, `"failed"`)+`}`,
		`{"campaign":`+pick("1", "2")+`,"value":"replied"}`,
		fmt.Sprintf(`{"operator":"in_segment","value":%d}`, w.segments[r.IntN(len(w.segments))]),
		`{"attribute":"city","operator":`+pick(`"equals_ignore_case"`, `"starts_with"`, `"contains"`, `"equals"`)+`,"value":`+
			pick(`"colombo"`, `"COLOMBO 7"`, `"kandy"`, `"şile"`, `"Long"`, `"`+strings.Repeat("LONG", 20)+`"`, `"`+strings.Repeat("LONG", 20)+`E"`)+`}`,
		`{"attribute":"tags","operator":"has","value":`+pick(`"a"`, `1`)+`}`,
		`{"attribute":"age","operator":`+pick(`"gt"`, `"lte"`, `"not_equals"`)+`,"value":22}`,
		`{"attribute":"joined","operator":`+pick(`"before","value":"2026-02-23"`, `"within_last","value":"2w"`, `"within_next","value":"9w"`)+`}`,
	)
}

// On the real schema PostgreSQL selects whom Match selects, whatever the definition.
func TestSegmentsAgreeWithMatch(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(20261124, 1))
	w := newWorld(t, r, 120)
	for i, definition := range []string{
		`{"conditions":[{"attribute":"age","operator":"gt","value":21},{"operator":"in_segment","value":%d}]}`,
		`{"logic":"OR","conditions":[{"operator":"in_segment","value":%d},{"campaign":2,"value":"read"}]}`,
	} {
		definition = fmt.Sprintf(definition, w.segments[i])
		id := w.saved(t, fmt.Sprint("Dynamic ", i), definition)
		for number, p := range w.facts {
			if segment.Match(expr(t, definition), p, noon) {
				p.Segments = append(p.Segments, id)
				w.facts[number] = p
			}
		}
		w.segments = append(w.segments, id)
	}
	some := 0
	for range 800 {
		e := expr(t, w.condition(r, 3))
		want := []string{}
		for number, p := range w.facts {
			if segment.Match(e, p, noon) {
				want = append(want, number)
			}
		}
		slices.Sort(want)
		require.Equal(t, want, w.selected(t, e, noon), segment.Describe(e))
		if len(want) > 0 && len(want) < len(w.facts) {
			some++
		}
	}
	require.Greater(t, some, 400, "most definitions tell people apart")
}

// crowd fills users with n people: 500 cities, 1 in 50 of India and 1 in 2000 of the USA, one every ten seconds until noon,
// 1 in 20 of whom has written.
const crowd = `INSERT INTO users (phone_number, attributes, consent_state, region, zones, last_inbound_at, created_at, updated_at)
	SELECT CASE WHEN i % 2000 = 1 THEN '+1212' WHEN i % 50 = 0 THEN '+9198' ELSE '+9477' END || lpad(i::text, 7, '0'),
		jsonb_build_object('name', 'Person ' || i, 'city', 'City ' || i % 500, 'age', 18 + i % 60, 'vip', i % 100 = 0,
			'tags', jsonb_build_array('t' || i % 1000, 'u' || i % 7), 'joined', to_char($2::timestamptz - ($1 - i) * interval '10 s', 'YYYY-MM-DD')),
		(ARRAY['OPT_IN','OPT_IN','OPT_IN','PENDING','STOP'])[1 + i % 5],
		CASE WHEN i % 2000 = 1 THEN 'US' WHEN i % 50 = 0 THEN 'IN' ELSE 'LK' END, '{Asia/Colombo}',
		CASE WHEN i % 20 = 0 THEN $2::timestamptz - ($1 - i) * interval '10 s' END, $2::timestamptz - ($1 - i) * interval '10 s', $2
	FROM generate_series(1, $1::integer) i`

// common are the common forms of a condition. The index is the one that serves it, "" for none; each that has one is
// selective.
var common = []struct{ name, definition, index string }{
	{"attribute equals", `{"attribute":"city","operator":"equals","value":"City 7"}`, "users_attributes"},
	{"attribute in", `{"attribute":"city","operator":"in","value":["City 7","City 8","City 9"]}`, "users_attributes"},
	{"equals ignore case", `{"attribute":"city","operator":"equals_ignore_case","value":"CITY 7"}`, "users_city"},
	{"starts with", `{"attribute":"city","operator":"starts_with","value":"city 49"}`, "users_city"},
	{"list has", `{"attribute":"tags","operator":"has","value":"t7"}`, "users_attributes"},
	{"region equals", `{"field":"region","value":"US"}`, "users_region"},
	{"calling code", `{"field":"calling_code","value":"1"}`, "users_pkey"},
	{"number starts with", `{"field":"phone_number","operator":"starts_with","value":"+9477000123"}`, "users_pkey"},
	{"created within last", `{"field":"created_at","operator":"within_last","value":"24h"}`, "users_created_at"},
	{"wrote within last", `{"field":"last_inbound_at","operator":"within_last","value":"24h"}`, "users_last_inbound_at"},
	{"city and age", `{"conditions":[{"attribute":"city","value":"City 7"},{"attribute":"age","operator":"gte","value":30}]}`, "users_attributes"},
	{"city or region", `{"logic":"OR","conditions":[{"attribute":"city","value":"City 7"},{"field":"region","value":"US"}]}`, "users_region"},
	{"in a static segment", `{"operator":"in_segment","value":1}`, "segment_members_pkey"},
	{"read in a campaign", `{"campaign":1,"value":"read"}`, "messages_run_state"},
	{"all of a country", `{"field":"region","value":"LK"}`, ""},
	{"number at least", `{"attribute":"age","operator":"gte","value":70}`, ""},
	{"date before", `{"attribute":"joined","operator":"before","value":"2026-01-01"}`, ""},
	{"date within last", `{"attribute":"joined","operator":"within_last","value":"7d"}`, ""},
	{"contains", `{"attribute":"name","operator":"contains","value":"9999"}`, ""},
	{"not in a city", `{"attribute":"city","operator":"not_equals","value":"City 7"}`, ""},
	{"not read in a campaign", `{"campaign":1,"operator":"was_not","value":"read"}`, ""},
}

// unindexed leaves users without its indexes until they are made anew: on many people at once they are built faster.
const (
	unindexed = `CREATE TEMP TABLE indexes AS SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'users' AND indexname LIKE 'users\_%'
			AND indexname NOT IN (SELECT conname FROM pg_constraint);
		DO $$ DECLARE i record; BEGIN FOR i IN SELECT * FROM indexes LOOP EXECUTE 'DROP INDEX ' || i.indexname; END LOOP; END $$`
	indexed = `DO $$ DECLARE i record; BEGIN FOR i IN SELECT * FROM indexes LOOP EXECUTE i.indexdef; END LOOP; END $$`
)

// populate makes a crowd of n, of which 1 in 100 is in the static segment 1 and 1 in 5 in the other, and 1 in 10 had a message of campaign 1, which
// 1 in 10 of them read.
func populate(ctx context.Context, tb testing.TB, pool *pgxpool.Pool, n int) {
	tb.Helper()
	conn, err := pool.Acquire(ctx)
	require.NoError(tb, err)
	defer conn.Release()
	_, err = conn.Exec(ctx, unindexed)
	require.NoError(tb, err)
	_, err = conn.Exec(ctx, crowd, n, noon)
	require.NoError(tb, err)
	for _, sql := range []string{
		indexed,
		`INSERT INTO segments (name, kind, definition, created_at, updated_at) VALUES ('Guests', 'static', '{"operator":"in_segment","value":1}', now(), now())`,
		`INSERT INTO segments (name, kind, definition, created_at, updated_at) VALUES ('Others', 'static', '{"operator":"in_segment","value":2}', now(), now())`,
		`INSERT INTO segment_members SELECT CASE WHEN id % 100 = 0 THEN 1 ELSE 2 END, id FROM users WHERE id % 5 = 0`,
		`INSERT INTO templates (name, channel, locale, created_at, updated_at) VALUES ('Welcome', 'whatsapp', 'en_US', now(), now())`,
		`INSERT INTO template_versions (template_id, version, content, variables, created_at) VALUES (1, 1, 'Hi', '{}', now())`,
		`INSERT INTO senders (channel, address, created_at) VALUES ('whatsapp', '+14155238886', now())`,
		`INSERT INTO campaigns (topic, template_id, segment_id, created_at, updated_at) VALUES ('Spring', 1, 1, now(), now())`,
		`INSERT INTO campaign_runs (campaign_id, number, kind, template_id, template_version, sender_id, started_by, started_at) VALUES (1, 1, 'trigger', 1, 1, 1, 'local', now())`,
		`INSERT INTO messages (id, run_id, user_id, seq, channel, state, created_at, accepted_at, updated_at)
			SELECT gen_random_uuid(), 1, id, id, 'whatsapp', CASE WHEN id % 100 = 0 THEN 'read' ELSE 'delivered' END, now(), now(), now() FROM users WHERE id % 10 = 0`,
		`VACUUM ANALYZE`,
	} {
		_, err := conn.Exec(ctx, sql)
		require.NoError(tb, err, sql)
	}
}

// planOf explains the count of a definition.
func planOf(ctx context.Context, tb testing.TB, pool *pgxpool.Pool, definition string) string {
	tb.Helper()
	resolved, err := segment.Resolve("q", expr(tb, definition), func(id int64) (segment.Saved, error) {
		return segment.Saved{ID: id, Kind: segment.Static}, nil
	})
	require.NoError(tb, err)
	where, args := segment.Compile(resolved, noon, 0)
	rows, err := pool.Query(ctx, "EXPLAIN SELECT count(*) FROM users u WHERE "+where, args...)
	require.NoError(tb, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(tb, err)
	return strings.Join(lines, "\n")
}

// A count of a selective condition is served by an index; the times are in docs/segments.md, and BenchmarkSegments measures
// them.
func TestSegmentsUseIndexes(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	populate(ctx, t, b.pool, 200_000)
	for _, form := range common {
		plan := planOf(ctx, t, b.pool, form.definition)
		if form.index != "" {
			require.Contains(t, plan, form.index, "%s\n%s", form.name, plan)
			require.NotContains(t, plan, "Seq Scan on users", "%s\n%s", form.name, plan)
		}
	}
	for definition, want := range map[string]int64{common[0].definition: 400, common[1].definition: 1200, common[2].definition: 400} {
		count, _, _, err := b.EvaluateSegment(ctx, expr(t, definition), 0, noon)
		require.NoError(t, err)
		require.Equal(t, want, count)
	}
}

// BenchmarkSegments measures the count and sample of the common forms on ROWS people, 1,000,000 unless it says otherwise: the
// time that passes, and the CPU time of the one process of PostgreSQL that works on it, which is the same on a busy machine.
func BenchmarkSegments(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv("ROWS"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(b, err)
	}
	ctx, url := b.Context(), dbtest.URL(b)
	pool, err := pgxpool.New(ctx, url)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	populate(ctx, b, pool, n)
	alone := "?"
	if strings.Contains(url, "?") {
		alone = "&"
	}
	store, err := db.Open(ctx, url+alone+"pool_max_conns=1&max_parallel_workers_per_gather=0")
	require.NoError(b, err)
	b.Cleanup(store.Close)
	require.NoError(b, store.Ping(ctx))
	var pid int
	require.NoError(b, pool.QueryRow(ctx, `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ese'`).Scan(&pid))
	for _, form := range common {
		for _, size := range []int{0, 10} {
			what := []string{"count", "count-and-sample"}[min(size, 1)]
			b.Run(strings.ReplaceAll(form.name, " ", "-")+"/"+what, func(b *testing.B) {
				e, began := expr(b, form.definition), cpuTime(b, pid)
				var count int64
				for b.Loop() {
					if count, _, _, err = store.EvaluateSegment(ctx, e, size, noon); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms")
				b.ReportMetric(float64((cpuTime(b, pid)-began).Milliseconds())/float64(b.N), "cpu-ms")
				b.ReportMetric(float64(count), "people")
			})
		}
	}
}

// cpuTime is what a process has used up; 0 where the system does not tell.
func cpuTime(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const utime, stime, tick = 11, 12, 10 * time.Millisecond
	inUser, err := strconv.Atoi(fields[utime])
	require.NoError(tb, err)
	inSystem, err := strconv.Atoi(fields[stime])
	require.NoError(tb, err)
	return time.Duration(inUser+inSystem) * tick
}
