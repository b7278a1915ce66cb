package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

var (
	now  = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	then = now.Add(-time.Hour) // when what is known already happened

	permanent = message.Policy{Class: message.Permanent}
	retry     = message.Policy{Class: message.Retry, Delay: time.Minute, Retries: 2}
)

func attempts(states ...ledger.AttemptState) []ledger.Attempt {
	list := make([]ledger.Attempt, len(states))
	for i, s := range states {
		list[i] = ledger.Attempt{ID: uuid.New(), Number: i + 1, State: s}
		if s == ledger.Accepted {
			list[i].SID = sid(i)
		}
	}
	return list
}

func sid(i int) string { return fmt.Sprintf("SM%d", i+1) }

func report(i int, state message.State) message.Report {
	return message.Report{SID: sid(i), Status: string(state), State: state}
}

func failure(i int, state message.State, code int, policy message.Policy) message.Report {
	r := report(i, state)
	r.Code, r.Policy = code, policy
	return r
}

func TestApply(t *testing.T) {
	t.Parallel()
	const none = message.State("")
	one := func(s ledger.AttemptState) []ledger.Attempt { return attempts(s) }
	for _, tt := range []struct {
		name     string
		from     message.State
		attempts []ledger.Attempt
		of       int // the attempt spoken of
		carrier  message.State
		report   message.Report
		want     message.State
		reason   string
		attempt  ledger.AttemptState
		effect   ledger.Effect
	}{
		{name: "forward", from: message.Accepted, attempts: one(ledger.Accepted), report: report(0, message.Sent),
			want: message.Sent, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "decided", from: message.Sent, attempts: one(ledger.Accepted), carrier: message.Sent, report: report(0, message.Delivered),
			want: message.Delivered, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "read without delivered", from: message.Accepted, attempts: one(ledger.Accepted), report: report(0, message.Read),
			want: message.Read, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "the same again", from: message.Delivered, attempts: one(ledger.Accepted), carrier: message.Delivered, report: report(0, message.Delivered),
			want: message.Delivered, attempt: ledger.Accepted},
		{name: "late", from: message.Read, attempts: one(ledger.Accepted), carrier: message.Read, report: report(0, message.Sent),
			want: message.Read, attempt: ledger.Accepted},
		{name: "a word that says nothing", from: message.Accepted, attempts: one(ledger.Accepted), report: report(0, none),
			want: message.Accepted, attempt: ledger.Accepted},

		{name: "failed", from: message.Accepted, attempts: one(ledger.Accepted), report: failure(0, message.Failed, 63024, permanent),
			want: message.Failed, reason: message.ReasonProvider, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "undelivered", from: message.Sent, attempts: one(ledger.Accepted), carrier: message.Sent, report: failure(0, message.Undelivered, 30006, permanent),
			want: message.Undelivered, reason: message.ReasonProvider, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "opted out", from: message.Sent, attempts: one(ledger.Accepted), report: failure(0, message.Undelivered, 63033, message.Policy{Class: message.OptOut}),
			want: message.Undelivered, reason: message.ReasonOptedOut, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, OptOut: true}},
		{name: "our own fault", from: message.Sent, attempts: one(ledger.Accepted), report: failure(0, message.Failed, 63041, message.Policy{Class: message.Stop}),
			want: message.Failed, reason: message.ReasonStopClass, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Fault: true}},
		{name: "worth another attempt", from: message.Accepted, attempts: one(ledger.Accepted), report: failure(0, message.Failed, 63010, retry),
			want: message.Pending, reason: message.ReasonRetry, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Wake: true}},
		{name: "too fast for the carrier", from: message.Accepted, attempts: one(ledger.Accepted),
			report: failure(0, message.Failed, 63018, message.Policy{Class: message.Retry, Retries: 1, Slows: true}),
			want:   message.Pending, reason: message.ReasonRetry, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Wake: true, Slow: true}},
		{name: "failure takes no delivery back", from: message.Delivered, attempts: one(ledger.Accepted), carrier: message.Delivered, report: failure(0, message.Failed, 63024, permanent),
			want: message.Delivered, attempt: ledger.Accepted},
		{name: "delivery takes failure back", from: message.Failed, attempts: one(ledger.Accepted), carrier: message.Failed, report: report(0, message.Delivered),
			want: message.Delivered, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "delivery while it waits for another attempt", from: message.Pending, attempts: one(ledger.Accepted), carrier: message.Failed, report: report(0, message.Delivered),
			want: message.Delivered, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Wake: true}},
		{name: "the carrier opts out though the message arrived", from: message.Delivered, attempts: attempts(ledger.Accepted, ledger.Accepted), of: 1,
			report: failure(1, message.Failed, 63033, message.Policy{Class: message.OptOut}),
			want:   message.Delivered, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, OptOut: true}},

		{name: "before the request's own outcome", from: message.Sending, attempts: one(ledger.Open), report: report(0, message.Accepted),
			want: message.Accepted, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Wake: true}},
		{name: "far before the request's own outcome", from: message.Sending, attempts: one(ledger.Open), report: report(0, message.Sent),
			want: message.Sent, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Wake: true}},
		{name: "failure before the request's own outcome", from: message.Sending, attempts: one(ledger.Open), report: failure(0, message.Failed, 63024, permanent),
			want: message.Failed, reason: message.ReasonProvider, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Wake: true}},
		{name: "after it was given up", from: message.Unknown, attempts: one(ledger.Unknown), report: report(0, message.Accepted),
			want: message.Accepted, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Wake: true}},
		{name: "taken for absent, and waiting for another attempt", from: message.Pending, attempts: one(ledger.Absent), report: report(0, message.Accepted),
			want: message.Accepted, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Wake: true}},
		{name: "taken for absent, while another attempt is open", from: message.Sending, attempts: attempts(ledger.Absent, ledger.Open), report: report(0, message.Accepted),
			want: message.Sending, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "an earlier attempt delivered, while another is open", from: message.Sending, attempts: attempts(ledger.Absent, ledger.Open), report: report(0, message.Delivered),
			want: message.Delivered, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true, Wake: true}},
		{name: "an earlier attempt failed, while another is open", from: message.Sending, attempts: attempts(ledger.Absent, ledger.Open), report: failure(0, message.Failed, 63024, permanent),
			want: message.Sending, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "an earlier attempt failed after the last was accepted", from: message.Accepted, attempts: attempts(ledger.Accepted, ledger.Accepted), report: failure(0, message.Failed, 63024, permanent),
			want: message.Accepted, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "an earlier attempt sent, while another is open", from: message.Sending, attempts: attempts(ledger.Accepted, ledger.Open), report: report(0, message.Sent),
			want: message.Sending, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "the last attempt failed while an earlier one stands", from: message.Accepted, attempts: attempts(ledger.Accepted, ledger.Accepted), of: 1,
			report: failure(1, message.Failed, 63010, retry), want: message.Accepted, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "an earlier attempt failed after the last was refused", from: message.Sent, attempts: attempts(ledger.Accepted, ledger.Refused), report: failure(0, message.Failed, 63024, permanent),
			want: message.Failed, reason: message.ReasonProvider, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "a cancelled message had been sent", from: message.Cancelled, attempts: one(ledger.Absent), report: report(0, message.Sent),
			want: message.Sent, attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
		{name: "a suppressed message stays so when nothing came of an attempt", from: message.Suppressed, attempts: one(ledger.Absent), report: failure(0, message.Failed, 63024, permanent),
			want: message.Suppressed, reason: "r", attempt: ledger.Accepted, effect: ledger.Effect{Changed: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := ledger.Message{State: tt.from}
			if tt.from == message.Suppressed {
				m.Reason = "r"
			}
			if tt.carrier != "" {
				m.AcceptedAt = &then
			}
			tt.attempts[tt.of].Carrier = tt.carrier
			effect := m.Apply(tt.attempts, tt.of, tt.report, now)
			require.Equal(t, tt.want, m.State)
			require.Equal(t, tt.reason, m.Reason)
			require.Equal(t, tt.attempt, tt.attempts[tt.of].State)
			require.Equal(t, tt.effect, effect)

			again := m
			require.Equal(t, ledger.Effect{}, again.Apply(tt.attempts, tt.of, tt.report, now.Add(time.Minute)), "said twice, nothing new")
			require.Equal(t, m, again)
		})
	}
}

func TestApplyStamps(t *testing.T) {
	t.Parallel()
	m := ledger.Message{State: message.Accepted, AcceptedAt: &then}
	list := attempts(ledger.Accepted)
	m.Apply(list, 0, failure(0, message.Failed, 63024, permanent), now)
	require.Equal(t, 63024, m.ErrorCode)
	require.Equal(t, 63024, list[0].ErrorCode)
	require.Equal(t, now, *m.EndedAt)
	require.Nil(t, m.DeliveredAt)

	later := now.Add(time.Minute)
	m.Apply(list, 0, report(0, message.Read), later)
	require.Equal(t, ledger.Message{
		State: message.Read, AcceptedAt: &then, SentAt: &later, DeliveredAt: &later, ReadAt: &later,
	}, m, "whatever was passed over happened by then, and the failure is taken back whole")
	require.Equal(t, 63024, list[0].ErrorCode, "the attempt keeps what was said of it")
}

func TestApplyRetries(t *testing.T) {
	t.Parallel()
	m := ledger.Message{State: message.Accepted, AcceptedAt: &then}
	list := attempts(ledger.Accepted)
	for n, wait := range []time.Duration{time.Minute, 2 * time.Minute} {
		m.Apply(list, n, failure(n, message.Failed, 63010, retry), now)
		require.Equal(t, message.Pending, m.State)
		require.Equal(t, now.Add(wait), *m.WaitsUntil, "the wait grows with each")
		require.Nil(t, m.EndedAt)
		list = append(list, ledger.Attempt{ID: uuid.New(), Number: n + 2, State: ledger.Accepted, SID: sid(n + 1)})
		m.State, m.WaitsUntil, m.Reason = message.Accepted, nil, ""
	}
	m.Apply(list, 2, failure(2, message.Failed, 63010, retry), now)
	require.Equal(t, message.Failed, m.State, "the code allows two retries")
	require.Equal(t, message.ReasonAttempts, m.Reason)
	require.Nil(t, m.WaitsUntil)
	require.Equal(t, now, *m.EndedAt)
}

func TestApplyRetriesOfEachCode(t *testing.T) {
	t.Parallel()
	m := ledger.Message{State: message.Accepted}
	list := attempts(ledger.Accepted, ledger.Accepted, ledger.Accepted)
	list[0].ErrorCode, list[0].Carrier = 63010, message.Failed
	list[1].ErrorCode, list[1].Carrier = 63010, message.Failed
	m.Apply(list, 2, failure(2, message.Failed, 30008, retry), now)
	require.Equal(t, message.Pending, m.State)
	require.Equal(t, now.Add(time.Minute), *m.WaitsUntil, "each code counts for itself")

	generous := message.Policy{Class: message.Retry, Delay: time.Second, Retries: 20}
	m = ledger.Message{State: message.Accepted}
	list = attempts(ledger.Accepted, ledger.Refused, ledger.Accepted, ledger.Absent, ledger.Accepted)
	list[0].Carrier, list[2].Carrier = message.Failed, message.Undelivered
	m.Apply(list, 4, failure(4, message.Failed, 63017, generous), now)
	require.Equal(t, message.Pending, m.State, "four tries: one was turned away at the door")
	list = append(list, ledger.Attempt{ID: uuid.New(), Number: 6, State: ledger.Accepted, SID: sid(5)})
	m.State = message.Accepted
	m.Apply(list, 5, failure(5, message.Failed, 63017, generous), now)
	require.Equal(t, message.Failed, m.State, "five tries are all, whatever the code allows")
	require.Equal(t, message.ReasonAttempts, m.Reason)
}

// rank is how good it is to know a state of a message, for the promise below.
func rank(s message.State) int {
	return slices.Index([]message.State{message.Accepted, message.Sent, message.Failed, message.Delivered, message.Read}, s)
}

// TestApplyInAnyOrder: reports on several attempts come late, twice and in any order. Delivery and reading win,
// whatever attempt they are about; else one that stands does; it fails when none may arrive; and no report takes the
// message back.
func TestApplyInAnyOrder(t *testing.T) {
	t.Parallel()
	kinds := []message.State{message.Accepted, message.Sent, message.Failed, message.Undelivered, message.Delivered, message.Read}
	starts := []struct {
		state message.State
		last  ledger.AttemptState
	}{{message.Accepted, ledger.Accepted}, {message.Sending, ledger.Open}, {message.Unknown, ledger.Unknown}}

	random := rand.New(rand.NewPCG(1, 2))
	for round := range 5000 {
		start := starts[round%len(starts)]
		n := 1 + random.IntN(3)
		states := slices.Repeat([]ledger.AttemptState{ledger.Accepted}, n)
		states[n-1] = start.last

		type said struct {
			of     int
			report message.Report
		}
		var inOrder []said
		for i := range n {
			failed := false
			for _, kind := range kinds {
				bad := kind == message.Failed || kind == message.Undelivered
				if random.IntN(2) == 0 || bad && failed { // a carrier says of one attempt only once how it failed
					continue
				}
				failed = failed || bad
				r := report(i, kind)
				if bad {
					r.Code, r.Policy = 63024, permanent
				}
				inOrder = append(inOrder, said{i, r})
			}
		}

		want := ledger.Message{State: start.state}
		list := attempts(states...)
		best := message.State("")
		for _, s := range inOrder {
			want.Apply(list, s.of, s.report, now)
			if k := s.report.State; (k == message.Delivered || k == message.Read) && rank(k) > rank(best) {
				best = k
			}
		}
		if best != "" {
			require.Equal(t, want.State, best, "proof of delivery wins")
		}

		shuffled := slices.Concat(inOrder, inOrder[:random.IntN(len(inOrder)+1)])
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got, list := ledger.Message{State: start.state}, attempts(states...)
		before := got
		for _, s := range shuffled {
			effect := got.Apply(list, s.of, s.report, now)
			step := fmt.Sprintf("round %d: %s of attempt %d after %s", round, s.report.State, s.of+1, before.State)
			require.GreaterOrEqual(t, rank(known(got.State)), rank(known(before.State)), step)
			if got != before {
				require.True(t, effect.Changed, step)
			}
			before = got
		}
		if want.State.Undecided() && got.State.Undecided() {
			continue // how far an attempt came that has failed since is told or not
		}
		require.Equal(t, known(want.State), known(got.State), "round %d: %v, as it came: %v", round, inOrder, shuffled)
	}
}

// known takes the two ways to fail for one: which of them is told depends on the attempt that failed.
func known(s message.State) message.State {
	if s == message.Undelivered {
		return message.Failed
	}
	return s
}

func TestTried(t *testing.T) {
	t.Parallel()
	require.Zero(t, ledger.Tried(nil))
	require.Equal(t, 4, ledger.Tried(attempts(ledger.Open, ledger.Accepted, ledger.Refused, ledger.Absent, ledger.Unknown)))
}

func TestFailureReason(t *testing.T) {
	t.Parallel()
	for class, want := range map[message.Class]string{
		message.Permanent: message.ReasonProvider,
		message.Window:    message.ReasonProvider,
		message.Uncertain: message.ReasonProvider,
		message.Retry:     message.ReasonAttempts,
		message.OptOut:    message.ReasonOptedOut,
		message.Stop:      message.ReasonStopClass,
	} {
		require.Equal(t, want, ledger.FailureReason(message.Policy{Class: class}), class)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	all := ledger.States{}
	for i, s := range message.States() {
		all[s] = 1 << i
	}
	require.Equal(t, 1<<len(message.States())-1, all.Total())
	require.Equal(t, all[message.Accepted]+all[message.Sent]+all[message.Delivered]+all[message.Read]+all[message.Undelivered], all.Accepted())
	require.Zero(t, ledger.States(nil).Total())
}

func TestCheck(t *testing.T) {
	t.Parallel()
	d := ledger.Delivery{Content: "Hi {first_name}", Attributes: user.Attributes{"first_name": "Ann"}, Consent: user.OptIn, Channel: message.WhatsApp, Timezone: "UTC"}
	verdict, _ := d.Check(now)
	require.Equal(t, compliance.AwaitsApproval, verdict.Reason, "no text of which nothing is known is approved")
	d.Variants = []render.Variant{{Locale: "en", Content: "Hi {first_name}", Mapping: map[string]string{"1": "first_name"}, Approval: render.Approved}}
	verdict, body := d.Check(now)
	require.True(t, verdict.Template)
	require.JSONEq(t, `{"1": "Ann"}`, d.ContentVariables(d.Variant()))
	require.Equal(t, compliance.Proceed, verdict.Action)
	require.Equal(t, "Hi Ann", body)

	french := d
	french.Attributes = user.Attributes{"first_name": "Ann", "language": "fr"}
	french.Variants = append(french.Variants, render.Variant{Locale: "fr", Content: "Salut {first_name}", Approval: render.Submitted})
	verdict, body = french.Check(now)
	require.Equal(t, []any{compliance.AwaitsApproval, "Salut Ann"}, []any{verdict.Reason, body}, "each language is approved by itself")

	// The provider took free text for being too late, whatever our own clock says.
	seen := now.Add(-time.Hour)
	late := d
	late.WindowPolicy, late.LastInboundAt = campaign.ByFreeText, &seen
	verdict, _ = late.Check(now)
	require.False(t, verdict.Template)
	late.ErrorCode = 63016
	verdict, _ = late.Check(now)
	require.True(t, verdict.Template)

	sms := d
	sms.Channel, sms.Variants = message.SMS, nil
	verdict, _ = sms.Check(now)
	require.Equal(t, []any{compliance.Proceed, false}, []any{verdict.Action, verdict.Template}, "an SMS needs nobody's approval")

	erased := d
	erased.Consent, erased.Attributes = "", nil
	verdict, _ = erased.Check(now)
	require.Equal(t, compliance.NoConsent, verdict.Reason, "nobody is no one who agreed")

	missing := d
	missing.Attributes = nil
	verdict, _ = missing.Check(now)
	require.Equal(t, compliance.MissingVariable, verdict.Reason)

	unreadable := d
	unreadable.Variants = []render.Variant{{Content: "Hi {", Approval: render.Approved}}
	verdict, body = unreadable.Check(now)
	require.Equal(t, compliance.EmptyBody, verdict.Reason)
	require.Empty(t, body)

	quiet := d
	quiet.Quiet = compliance.QuietHours{Start: 11 * 60, End: 13 * 60}
	verdict, _ = quiet.Check(now)
	require.Equal(t, compliance.Wait, verdict.Action)
	require.Equal(t, now.Add(time.Hour), verdict.Until)
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	local, ok := campaign.ParseLocalTime("2026-03-03T10:00")
	require.True(t, ok)
	inColombo, inNewYork := time.Date(2026, 3, 3, 4, 30, 0, 0, time.UTC), time.Date(2026, 3, 3, 15, 0, 0, 0, time.UTC)
	s := ledger.Schedule{Local: local, Within: 2 * time.Hour, Began: inColombo.Add(2 * time.Hour)}

	at, missed := s.Of([]string{"Asia/Colombo"}, "UTC")
	require.Equal(t, inColombo, at)
	require.False(t, missed, "just within")
	at, missed = s.Of([]string{"America/New_York", "Asia/Colombo"}, "UTC")
	require.Equal(t, inNewYork, at, "the last of the zones decides")
	require.False(t, missed)
	at, _ = s.Of(nil, "America/New_York")
	require.Equal(t, inNewYork, at, "the campaign's zone for whoever has none")
	s.Began = s.Began.Add(time.Second)
	_, missed = s.Of([]string{"Asia/Colombo"}, "UTC")
	require.True(t, missed)
	s.Within = 0
	_, missed = s.Of([]string{"Asia/Colombo"}, "UTC")
	require.False(t, missed, "however late")
	at, missed = ledger.Schedule{Within: time.Minute, Began: now}.Of([]string{"Asia/Colombo"}, "UTC")
	require.Zero(t, at)
	require.False(t, missed)
}

func TestWindowOfSchedule(t *testing.T) {
	t.Parallel()
	local, ok := campaign.ParseLocalTime("2026-03-03T06:00")
	require.True(t, ok)
	run := ledger.Run{Timezone: "UTC", Schedule: ledger.Schedule{Local: local}, Quiet: compliance.QuietHours{Start: 22 * 60, End: 8 * 60}}
	opens := time.Date(2026, 3, 3, 2, 30, 0, 0, time.UTC)
	w := run.Window(ledger.Cohort{Zones: []string{"Asia/Colombo"}}, opens.Add(-24*time.Hour))
	require.False(t, w.Open, "the hours are not quiet, but it is a day early")
	require.Equal(t, opens, w.Opens, "six o'clock, and then the end of the quiet hours")
	require.True(t, run.Window(ledger.Cohort{Zones: []string{"Asia/Colombo"}}, opens).Open)
}

func TestLate(t *testing.T) {
	t.Parallel()
	at := now.Add(time.Hour)
	run := ledger.Run{Run: campaign.Run{Kind: campaign.ByTrigger, StartedAt: now, NotBefore: &at}, StartWithin: 30 * time.Minute}
	for _, tt := range []struct {
		name string
		run  func(*ledger.Run)
		now  time.Time
		want bool
	}{
		{"in time", func(*ledger.Run) {}, at, false},
		{"just in time", func(*ledger.Run) {}, at.Add(30 * time.Minute), false},
		{"too late", func(*ledger.Run) {}, at.Add(30*time.Minute + time.Second), true},
		{"without a limit", func(r *ledger.Run) { r.StartWithin = 0 }, at.Add(time.Hour), false},
		{"begun at once", func(r *ledger.Run) { r.NotBefore = nil }, now.Add(31 * time.Minute), true},
		{"a retry", func(r *ledger.Run) { r.Kind = campaign.ByRetry }, at.Add(time.Hour), false},
		{"by everyone's own clock", func(r *ledger.Run) { r.Schedule.Local, _ = campaign.ParseLocalTime("2026-03-03T10:00") }, at.Add(time.Hour), false},
	} {
		r := run
		tt.run(&r)
		_, late := r.Late(tt.now)
		require.Equal(t, tt.want, late, tt.name)
	}
}

// An attempt that the provider does not have sends the message back, unless an earlier attempt turned out to be accepted.
func TestConclude(t *testing.T) {
	t.Parallel()
	until := now.Add(time.Minute)
	again := ledger.Then{State: message.Pending, Reason: message.ReasonRetry, WaitsUntil: &until, ErrorCode: 20429}
	failed := ledger.Then{State: message.Failed, Reason: message.ReasonAttempts}
	list := attempts(ledger.Absent, ledger.Open)

	m := ledger.Message{State: message.Sending}
	m.Conclude(list, 1, again, now)
	require.Equal(t, ledger.Message{State: message.Pending, Reason: message.ReasonRetry, WaitsUntil: &until, ErrorCode: 20429}, m)

	m = ledger.Message{State: message.Sending}
	m.Conclude(list, 1, failed, now)
	require.Equal(t, ledger.Message{State: message.Failed, Reason: message.ReasonAttempts, EndedAt: &now}, m)

	m = ledger.Message{State: message.Delivered}
	m.Conclude(list, 1, again, now)
	require.Equal(t, ledger.Message{State: message.Delivered}, m, "a receipt has moved it on")

	list[0].State, list[0].SID = ledger.Accepted, sid(0)
	for _, then := range []ledger.Then{again, failed} {
		m = ledger.Message{State: message.Sending}
		m.Conclude(list, 1, then, now)
		require.Equal(t, ledger.Message{State: message.Accepted, AcceptedAt: &now}, m, "never sent again while an attempt stands")
	}
	list[0].Carrier = message.Sent
	m = ledger.Message{State: message.Sending}
	m.Conclude(list, 1, failed, now)
	require.Equal(t, message.Sent, m.State)
	list[0].Carrier = message.Undelivered
	m = ledger.Message{State: message.Sending}
	m.Conclude(list, 1, again, now)
	require.Equal(t, message.Pending, m.State, "an attempt that the carrier failed does not stand")
}
