package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
)

func TestEnrolmentNext(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tomorrow, day := now.Add(24*time.Hour), 24*time.Hour
	going := func(until time.Time, reason string) ledger.Move {
		return ledger.Move{State: ledger.Enrolled, Until: until, Reason: reason}
	}
	due := ledger.Move{State: ledger.Enrolled, Take: true}
	last := func(state message.State, at time.Time, waits *time.Time) func(*ledger.Enrolment) {
		return func(e *ledger.Enrolment) { e.Last = &ledger.StepMessage{State: state, At: at, WaitsUntil: waits} }
	}
	for name, tt := range map[string]struct {
		change func(*ledger.Enrolment)
		want   ledger.Move
	}{
		"Due":                   {func(*ledger.Enrolment) {}, due},
		"First":                 {func(e *ledger.Enrolment) { e.Step, e.Last = 1, nil }, due},
		"NotYet":                {func(e *ledger.Enrolment) { e.NextAt = tomorrow }, going(tomorrow, "the next step")},
		"SentLaterThanEnlisted": {last(message.Delivered, now.Add(-time.Hour), nil), going(now.Add(23*time.Hour), "the next step")},
		"StillToBeSent":         {last(message.Pending, now.Add(-2*day), nil), going(now.Add(5*time.Minute), "the step before to be sent")},
		"BeingSent":             {last(message.Sending, now.Add(-2*day), nil), going(now.Add(5*time.Minute), "the step before to be sent")},
		"WaitsForTheMorning":    {last(message.Pending, now.Add(-2*day), &tomorrow), going(tomorrow.Add(5*time.Minute), "the step before to be sent")},
		"Suppressed":            {last(message.Suppressed, now.Add(-day), nil), due},
		"FailedJustNow":         {last(message.Failed, now, nil), going(tomorrow, "the next step")},
		"Unknown":               {last(message.Unknown, now.Add(-day), nil), due},
		"AllTaken":              {func(e *ledger.Enrolment) { e.Step = 4 }, ledger.Move{State: ledger.Completed}},
		"Exit":                  {func(e *ledger.Enrolment) { e.Exit, e.NextAt = "read", tomorrow }, ledger.Move{State: ledger.Exited, Reason: "read"}},
		"OfACampaignThatIsOver": {func(e *ledger.Enrolment) { e.Live, e.Exit = false, "read" }, ledger.Move{State: ledger.Cancelled}},
		"OverBefore":            {func(e *ledger.Enrolment) { e.State, e.Live = ledger.Completed, false }, ledger.Move{State: ledger.Completed}},
		"PausedAndDue":          {func(e *ledger.Enrolment) { e.Paused = true }, due},
		"PausedBeforeItWasSent": {func(e *ledger.Enrolment) {
			e.Paused = true
			e.Last = &ledger.StepMessage{State: message.Pending, At: now}
		}, going(now.Add(time.Hour), "the step before to be sent")},
	} {
		e := ledger.Enrolment{
			State: ledger.Enrolled, Live: true, Step: 2, Steps: 3, Wait: day, NextAt: now,
			Last: &ledger.StepMessage{State: message.Delivered, At: now.Add(-day)},
		}
		tt.change(&e)
		require.Equal(t, tt.want, e.Next(now), name)
	}
}
