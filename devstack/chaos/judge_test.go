package chaos

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// began is when the story of the tests begins; second n of it is at(n).
var began = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func at(second int) time.Time { return began.Add(time.Duration(second) * time.Second) }

// The people of the story, by their indexes.
const (
	plain = iota // one who simply gets a message
	retriedOnce
	unreachable
	refusedAtOnce
	stopsLate // says STOP after the message was accepted
	stopsEarly
	withoutConsent
	ofCancelled // in the second campaign
	cancelledInTime
)

// keptPromises is the evidence of a run in which everything went well.
func keptPromises() Evidence {
	e := Evidence{
		People: []Person{
			plain:           {Consent: OptIn},
			retriedOnce:     {Consent: OptIn, Fault: retried},
			unreachable:     {Consent: OptIn, Fault: undeliverable},
			refusedAtOnce:   {Consent: OptIn, Fault: refused},
			stopsLate:       {Consent: OptIn},
			stopsEarly:      {Consent: OptIn},
			withoutConsent:  {Consent: OptOut},
			ofCancelled:     {Consent: OptIn, Campaign: 1},
			cancelledInTime: {Consent: OptIn, Campaign: 1},
		},
		Campaigns: []CampaignFacts{
			{ID: 7, Status: "COMPLETED", Audience: 7, Quiet: []Quiet{{Why: Pause, From: at(20), To: at(30)}}},
			{ID: 8, Status: "CANCELLED", Audience: 2, Quiet: []Quiet{{Why: Cancel, From: at(40)}}},
		},
		Stops:    []StopFact{{stopsLate, at(15)}, {stopsEarly, at(5)}},
		Receipts: map[Receipt]bool{},
		Inbound:  map[string]bool{"SMstop": true},
		Answered: []string{"SMstop"},
	}
	for i := range e.People {
		e.People[i].Number = fmt.Sprintf("+9477000000%d", i)
		e.Messages = append(e.Messages, MessageRow{ID: message(i), Number: e.People[i].Number, CampaignID: 7 + e.People[i].Campaign, State: "delivered"})
	}
	for i, end := range map[int][2]string{
		unreachable: {"failed", "provider_error"}, refusedAtOnce: {"failed", "provider_error"}, stopsEarly: {"suppressed", "stop"},
		withoutConsent: {"suppressed", "no_consent"}, cancelledInTime: {"cancelled", "campaign_cancelled"},
	} {
		e.Messages[i].State, e.Messages[i].Reason = end[0], end[1]
	}
	e.attempt(retriedOnce, 1, at(8), retried.Code)
	e.attempt(retriedOnce, 2, at(31), 0)
	for _, i := range []int{plain, stopsLate, ofCancelled} {
		e.attempt(i, 1, at(10), 0)
	}
	e.attempt(unreachable, 1, at(11), undeliverable.Code)
	e.Attempts = append(e.Attempts, AttemptRow{
		ID: "a-refused", MessageID: message(refusedAtOnce), Number: 1, State: "refused", StartedAt: at(10), EndedAt: at(11),
	})
	return e
}

func message(person int) string { return fmt.Sprintf("m%d", person) }

// attempt adds an attempt that was accepted in the second after its begin, and its only callback.
func (e *Evidence) attempt(person, number int, start time.Time, code int) {
	id := fmt.Sprintf("a%d.%d", person, number)
	sid, status := "SM"+id, "delivered"
	if code != 0 {
		status = "failed"
	}
	e.Attempts = append(e.Attempts, AttemptRow{
		ID: id, MessageID: message(person), Number: number, State: "accepted", SID: sid, StartedAt: start, EndedAt: start.Add(time.Second),
	})
	e.Accepted = append(e.Accepted, Accepted{
		SID: sid, Number: e.People[person].Number, AttemptID: id, Status: status, ErrorCode: code, At: start.Add(time.Second),
	})
	r := Receipt{sid, status, code}
	e.Callbacks = append(e.Callbacks, r)
	e.Receipts[r] = true
}

// violated names the checks that found something.
func violated(e Evidence) []string {
	names := []string{}
	for _, c := range Judge(e) {
		if len(c.Violations) > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

func TestJudgeAcceptsKeptPromises(t *testing.T) {
	t.Parallel()
	for _, c := range Judge(keptPromises()) {
		require.Empty(t, c.Violations, c.Name)
		require.Positive(t, c.Looked, c.Name)
	}
}

func TestJudgeFindsBrokenPromises(t *testing.T) {
	t.Parallel()
	const (
		end      = "every campaign came to its end"
		one      = "one message for each eligible recipient"
		none     = "none for anybody else"
		most     = "one or a reason after a STOP or a cancel"
		pause    = "nothing accepted after a pause was acknowledged"
		cancel   = "nothing accepted after a cancel was acknowledged"
		stop     = "no attempt begun after a STOP was answered"
		sum      = "the ledger adds up to the audience"
		reason   = "a reason for every unsent message"
		receipts = "every answered status callback is kept"
		inbound  = "every answered inbound message is kept"
		open     = "one open attempt at a time"
		own      = "every accepted message is one attempt's"
	)
	for name, tt := range map[string]struct {
		breaks func(*Evidence)
		want   []string
	}{
		"doubled": {func(e *Evidence) { e.attempt(plain, 2, at(12), 0) }, []string{one}},
		"doubled, the second delivered after a retry":  {func(e *Evidence) { e.attempt(retriedOnce, 3, at(33), 0) }, []string{one}},
		"doubled, a failure that is final counts":      {func(e *Evidence) { e.attempt(unreachable, 2, at(33), 0) }, []string{one}},
		"doubled for somebody of a cancelled campaign": {func(e *Evidence) { e.attempt(ofCancelled, 2, at(12), 0) }, []string{most}},
		"lost": {func(e *Evidence) { e.forget(plain) }, []string{one}},
		"lost, with a reason that is none": {func(e *Evidence) {
			e.forget(plain)
			e.Messages[plain].State, e.Messages[plain].Reason = "failed", "attempts_spent"
		}, []string{one}},
		"lost after a failure that is retried": {func(e *Evidence) {
			e.forget(plain)
			e.attempt(plain, 1, at(10), retried.Code)
		}, []string{one}},
		"unknown is no loss": {func(e *Evidence) {
			e.forget(plain)
			e.Messages[plain].State, e.Messages[plain].Reason = "unknown", "unresolved"
		}, nil},
		"unknown and accepted is told": {func(e *Evidence) {
			e.Messages[plain].State, e.Messages[plain].Reason = "unknown", "unresolved"
			e.attemptOf("a0.1").State, e.attemptOf("a0.1").SID = "unknown", ""
		}, nil},
		"without consent": {func(e *Evidence) { e.attempt(withoutConsent, 1, at(12), 0) }, []string{none}},
		"to a stranger": {func(e *Evidence) {
			e.Accepted = append(e.Accepted, Accepted{SID: "SMx", Number: "+15550001111", At: at(12)})
		}, []string{none, own}},
		"stopped, and no reason":     {func(e *Evidence) { e.Messages[stopsEarly].Reason = "" }, []string{most, reason}},
		"in a pause":                 {func(e *Evidence) { e.attemptMoved("a0.1", at(22)) }, []string{pause}},
		"just before a pause":        {func(e *Evidence) { e.attemptMoved("a0.1", at(19)) }, nil},
		"when the resume was asked":  {func(e *Evidence) { e.attemptMoved("a0.1", at(29)) }, nil},
		"in a pause of another":      {func(e *Evidence) { e.attemptMoved("a7.1", at(22)) }, nil},
		"after a cancel":             {func(e *Evidence) { e.attemptMoved("a7.1", at(400)) }, []string{cancel}},
		"after a STOP":               {func(e *Evidence) { e.attempt(stopsEarly, 1, at(6), 0) }, []string{stop}},
		"refused after a STOP":       {func(e *Evidence) { e.attemptOf("a-refused").MessageID = message(stopsEarly) }, []string{stop}},
		"a row too few":              {func(e *Evidence) { e.Messages = slices.Delete(e.Messages, withoutConsent, withoutConsent+1) }, []string{sum}},
		"an audience too small":      {func(e *Evidence) { e.Campaigns[0].Audience-- }, []string{sum}},
		"a row of another campaign":  {func(e *Evidence) { e.Messages[withoutConsent].CampaignID = 8 }, []string{sum}},
		"no reason":                  {func(e *Evidence) { e.Messages[withoutConsent].Reason = "" }, []string{reason}},
		"a receipt lost":             {func(e *Evidence) { delete(e.Receipts, e.Callbacks[0]) }, []string{receipts}},
		"a receipt's code lost":      {func(e *Evidence) { e.Callbacks[0].ErrorCode++ }, []string{receipts}},
		"an inbound message lost":    {func(e *Evidence) { clear(e.Inbound) }, []string{inbound}},
		"two open at a time":         {func(e *Evidence) { e.attemptOf("a1.1").EndedAt = at(40) }, []string{open}},
		"a first that never ends":    {func(e *Evidence) { e.attemptOf("a1.1").EndedAt = time.Time{} }, []string{open}},
		"an SID of nobody":           {func(e *Evidence) { e.attemptOf("a0.1").SID = "" }, []string{own}},
		"an SID of two":              {func(e *Evidence) { e.attemptOf("a-refused").SID = "SMa0.1" }, []string{own}},
		"an SID of another":          {func(e *Evidence) { e.attemptOf("a0.1").SID, e.attemptOf("a4.1").SID = "SMa4.1", "SMa0.1" }, []string{own}},
		"a campaign that stands":     {func(e *Evidence) { e.Campaigns[0].Status = "RUNNING" }, []string{end}},
		"a message that stands":      {func(e *Evidence) { e.Messages[plain].State = "sending" }, []string{end}},
		"cancelled before its start": {func(e *Evidence) { e.cancelBeforeStart() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := keptPromises()
			tt.breaks(&e)
			require.ElementsMatch(t, tt.want, violated(e))
		})
	}
}

// forget undoes all attempts at a person's message.
func (e *Evidence) forget(person int) {
	e.Attempts = slices.DeleteFunc(e.Attempts, func(a AttemptRow) bool { return a.MessageID == message(person) })
	e.Accepted = slices.DeleteFunc(e.Accepted, func(a Accepted) bool { return a.Number == e.People[person].Number })
}

func (e *Evidence) attemptOf(id string) *AttemptRow {
	return &e.Attempts[slices.IndexFunc(e.Attempts, func(a AttemptRow) bool { return a.ID == id })]
}

// attemptMoved lets an attempt begin at another time, and be accepted in the second after.
func (e *Evidence) attemptMoved(id string, start time.Time) {
	a := e.attemptOf(id)
	a.StartedAt, a.EndedAt = start, start.Add(time.Second)
	e.Accepted[slices.IndexFunc(e.Accepted, func(m Accepted) bool { return m.AttemptID == id })].At = start.Add(time.Second)
}

// cancelBeforeStart lets the second campaign be cancelled before its audience was written.
func (e *Evidence) cancelBeforeStart() {
	e.forget(ofCancelled)
	e.Messages = e.Messages[:ofCancelled]
	e.Campaigns[1].Audience = 0
}

func TestHistoryTellsWhatHappened(t *testing.T) {
	t.Parallel()
	history := keptPromises().History(message(retriedOnce))
	for _, part := range []string{"message m1", "attempt 1 a1.1", "attempt 2 a1.2", "accepted SMa1.1 at 09:00:09.000", "receipt failed, error 63017"} {
		require.Contains(t, history, part)
	}
	require.Contains(t, keptPromises().History(message(stopsLate)), "STOP answered at 09:00:15.000")
}

func TestScheduleFollowsFromItsSeed(t *testing.T) {
	t.Parallel()
	config := Config{Seed: 3, Kills: 30, Campaigns: 5, Gap: 5 * time.Second}
	s := NewSchedule(config)
	require.Equal(t, s, NewSchedule(config))
	other := config
	other.Seed = 4
	require.NotEqual(t, s.Actions, NewSchedule(other).Actions)

	count, roles := map[Kind]int{}, map[string]int{}
	for i, a := range s.Actions {
		count[a.Kind]++
		if a.Kind == Kill {
			roles[string(a.Role)]++
		}
		require.False(t, i > 0 && a.At < s.Actions[i-1].At, "in order")
		require.NotEmpty(t, a.String())
	}
	require.Equal(t, 30, count[Kill])
	require.Equal(t, 5, count[Trigger])
	require.Equal(t, 1, count[Cancel])
	for _, kind := range []Kind{Delay, Reset, Partition, Refuse, Pause, SetRate, Stop} {
		require.Positive(t, count[kind], kind)
	}
	require.Len(t, roles, 7, "%v", slices.Collect(maps.Keys(roles)))

	numbers, consents, faults := map[string]bool{}, map[Consent]bool{}, map[NumberFault]bool{}
	for _, p := range s.People {
		require.False(t, numbers[p.Number], "each in one campaign")
		numbers[p.Number], consents[p.Consent], faults[p.Fault] = true, true, true
	}
	require.Len(t, consents, 4)
	require.Len(t, faults, 4)
}
