package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func running(start time.Time) campaign.Overview {
	return campaign.Overview{Run: &campaign.Run{StartedAt: start}}
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	var tallies []report.Tally
	for i, state := range message.States() {
		tallies = append(tallies, report.Tally{State: state, Reason: "why", Count: i + 1})
	}
	s := report.Summarise(running(noon), tallies, noon.Add(2*time.Minute))
	require.Equal(t, 66, s.States.Total())
	require.Equal(t, 4+5+6+8, s.States.Sent(), "sent, delivered, read and undelivered reached the network")
	require.Equal(t, 5+6, s.States.Delivered())
	require.InDelta(t, 100*11.0/23, s.DeliveryRate, 1e-9)
	require.InDelta(t, 100*6.0/11, s.ReadRate, 1e-9)
	require.InDelta(t, 100*15.0/66, s.SuccessRate, 1e-9)
	require.InDelta(t, 100*15.0/66, s.FailureRate, 1e-9)
	require.InDelta(t, 11.5, s.PerMinute, 1e-9)
	require.Nil(t, s.AverageDelivery, "no times of delivery")
	require.Equal(t, []report.ReasonCount{{Reason: "why", Count: 9}}, s.Suppressed)
}

func TestSummariseNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]campaign.Overview{
		"before the first run": {},
		"empty audience":       running(noon),
		"before its time":      running(noon.Add(time.Hour)),
	} {
		s := report.Summarise(c, nil, noon)
		require.Zero(t, s.States.Total(), name)
		require.Zero(t, s.DeliveryRate+s.ReadRate+s.SuccessRate+s.FailureRate+s.PerMinute, name)
	}
	require.Nil(t, report.Summarise(running(noon.Add(time.Hour)), nil, noon).Duration)
}

func TestSummariseShowsTheMostFrequentErrors(t *testing.T) {
	t.Parallel()
	var tallies []report.Tally
	for code := 1; code <= report.MaxErrors+2; code++ {
		tallies = append(tallies, report.Tally{State: message.Failed, Reason: "x", ErrorCode: code, Count: 1})
	}
	tallies = append(tallies, report.Tally{State: message.Undelivered, Reason: "x", ErrorCode: 7, Count: 8})
	s := report.Summarise(running(noon), tallies, noon)
	require.Len(t, s.Errors, report.MaxErrors)
	require.Equal(t, report.CodeCount{Code: 7, Count: 9, Percentage: 45}, s.Errors[0], "one code, whatever state it led to")
	require.Equal(t, 1, s.Errors[1].Code)
}

func TestInboundKind(t *testing.T) {
	t.Parallel()
	require.Equal(t, inbound.Stop, inbound.KindOf(user.ActionStop, "", 1))
	require.Equal(t, inbound.Media, inbound.KindOf(user.ActionNone, "", 1))
	require.Equal(t, inbound.Text, inbound.KindOf(user.ActionNone, "look", 1))
	require.Equal(t, inbound.Text, inbound.KindOf(user.ActionNone, "", 0))
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	check := func(action, reason string, steps ...compliance.Finding) report.Check {
		return report.Check{Action: action, Reason: reason, Steps: steps, CreatedAt: noon}
	}
	found := func(step compliance.Step, result compliance.Result) compliance.Finding {
		return compliance.Finding{Step: step, Result: result}
	}
	all := []compliance.Finding{
		found(compliance.StepConsent, compliance.Passed), found(compliance.StepQuietHours, compliance.Passed),
		found(compliance.StepLimits, compliance.Passed), found(compliance.StepContent, compliance.Passed),
	}
	night := check("wait", "quiet_hours", found(compliance.StepConsent, compliance.Passed), found(compliance.StepQuietHours, compliance.Deferred))
	for name, test := range map[string]struct {
		state    message.State
		code     int
		checks   []report.Check
		attempts int
		want     string // results in the order of the steps
		delivery string
	}{
		"not looked at yet":       {message.Pending, 0, nil, 0, "not_made not_made not_made not_made not_made not_made", ""},
		"at night":                {message.Pending, 0, []report.Check{night}, 0, "passed deferred not_made not_made not_made passed", ""},
		"before its time":         {message.Pending, 0, []report.Check{check("wait", "schedule", all[0], found(compliance.StepSchedule, compliance.Deferred))}, 0, "passed deferred not_made not_made not_made passed", ""},
		"stopped at night":        {message.Suppressed, 0, []report.Check{night, check("suppress", "stopped", found(compliance.StepConsent, compliance.Failed))}, 0, "failed not_made not_made not_made not_made passed", ""},
		"paused at night":         {message.Pending, 0, []report.Check{night, check("wait", "paused")}, 0, "passed deferred not_made not_made not_made passed", ""},
		"waits for the rates":     {message.Pending, 0, []report.Check{check("wait", "rate_limit", all...)}, 0, "passed passed deferred passed not_made passed", ""},
		"under way":               {message.Sending, 0, []report.Check{night, check("proceed", "", all...)}, 1, "passed passed passed passed deferred passed", "sending"},
		"read":                    {message.Read, 0, []report.Check{night, check("proceed", "", all...)}, 1, "passed passed passed passed passed passed", "read"},
		"given back by a carrier": {message.Failed, 63016, []report.Check{check("proceed", "", all...)}, 1, "passed passed passed passed failed passed", "failed, error 63016"},
	} {
		d := report.MessageDetail{Message: report.Message{State: test.state, ErrorCode: test.code}, Checks: test.checks, Attempts: make([]report.Attempt, test.attempts)}
		var steps, results []string
		for _, v := range d.Verdicts() {
			steps, results = append(steps, string(v.Step)), append(results, string(v.Result))
		}
		require.Equal(t, "consent quiet_hours limits content delivery audit", strings.Join(steps, " "), name)
		require.Equal(t, test.want, strings.Join(results, " "), name)
		require.Equal(t, test.delivery, d.Verdicts()[4].Detail, name)
	}
}
