package report_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
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
