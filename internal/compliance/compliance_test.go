package compliance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestEvaluate(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	night := time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)
	nights := compliance.QuietHours{Start: 22 * 60, End: 8 * 60}
	no, yes := false, true
	valid := func() compliance.Input {
		return compliance.Input{
			Now: noon, Consent: user.OptIn, Zones: []string{"Europe/London"}, Quiet: nights,
			Content: compliance.Content{Body: "Hi Ann", Length: 6, MaxLength: 1600},
		}
	}
	tests := []struct {
		name   string
		change func(*compliance.Input)
		action compliance.Action
		reason compliance.Reason
		steps  int
	}{
		{"Valid", func(*compliance.Input) {}, compliance.Proceed, "", 4},
		{"Invitation", func(in *compliance.Input) { in.Invitation, in.Consent = true, user.Pending }, compliance.Proceed, "", 4},
		{"InvitationOfTheUnknown", func(in *compliance.Input) { in.Invitation, in.Consent = true, "" }, compliance.Suppress, compliance.NoConsent, 1},
		{"InvitationOfWhoAgreed", func(in *compliance.Input) { in.Invitation = true }, compliance.Suppress, compliance.AlreadyAgreed, 1},
		{"InvitationOfWhoDeclined", func(in *compliance.Input) { in.Invitation, in.Consent = true, user.OptOut }, compliance.Suppress, compliance.OptedOut, 1},
		{"InvitationOfWhoStopped", func(in *compliance.Input) { in.Invitation, in.Consent = true, user.Stop }, compliance.Suppress, compliance.Stopped, 1},
		{"InvitationOfTheSuppressed", func(in *compliance.Input) { in.Invitation, in.Consent, in.Suppressed = true, user.Pending, true }, compliance.Suppress, compliance.Suppressed, 1},
		{"InvitationAtNight", func(in *compliance.Input) { in.Invitation, in.Consent, in.Now = true, user.Pending, night }, compliance.Wait, compliance.InQuietHours, 2},
		{"Subscribed", func(in *compliance.Input) { in.Subscribed = &yes }, compliance.Proceed, "", 4},
		{"NotSubscribed", func(in *compliance.Input) { in.Subscribed = &no }, compliance.Suppress, compliance.NotSubscribed, 1},
		{"UnknownConsent", func(in *compliance.Input) { in.Consent = "" }, compliance.Suppress, compliance.NoConsent, 1},
		{"Pending", func(in *compliance.Input) { in.Consent = user.Pending }, compliance.Suppress, compliance.NoConsent, 1},
		{"OptedOut", func(in *compliance.Input) { in.Consent = user.OptOut }, compliance.Suppress, compliance.OptedOut, 1},
		{"Stopped", func(in *compliance.Input) { in.Consent = user.Stop }, compliance.Suppress, compliance.Stopped, 1},
		{"StoppedAtNight", func(in *compliance.Input) { in.Now, in.Consent = night, user.Stop }, compliance.Suppress, compliance.Stopped, 1},
		{"Night", func(in *compliance.Input) { in.Now = night }, compliance.Wait, compliance.InQuietHours, 2},
		{"NightWithoutQuietHours", func(in *compliance.Input) { in.Now, in.Quiet = night, compliance.QuietHours{} }, compliance.Proceed, "", 4},
		{"NightInTheDefaultZone", func(in *compliance.Input) { in.Zones, in.DefaultZone = nil, "Pacific/Auckland" }, compliance.Wait, compliance.InQuietHours, 2},
		{"NightInUTC", func(in *compliance.Input) { in.Now, in.Zones = night, nil }, compliance.Wait, compliance.InQuietHours, 2},
		{"UnknownZonesFallBack", func(in *compliance.Input) {
			in.Zones, in.DefaultZone = []string{"Mars/Olympus", "Local", ""}, "Pacific/Auckland"
		}, compliance.Wait, compliance.InQuietHours, 2},
		{"OneOfSeveralZones", func(in *compliance.Input) { in.Zones = []string{"Europe/London", "Pacific/Auckland"} }, compliance.Wait, compliance.InQuietHours, 2},
		{"NoCommonWindow", func(in *compliance.Input) {
			in.Zones, in.Quiet = []string{"Europe/London", "Pacific/Auckland"}, compliance.QuietHours{Start: 20 * 60, End: 9 * 60}
		}, compliance.Suppress, compliance.NoSendingWindow, 2},
		{"BeforeTheirTime", func(in *compliance.Input) { in.NotBefore = noon.Add(time.Hour) }, compliance.Wait, compliance.NotYet, 2},
		{"AtTheirTime", func(in *compliance.Input) { in.NotBefore = noon }, compliance.Proceed, "", 5},
		{"AtTheirTimeAtNight", func(in *compliance.Input) { in.Now, in.NotBefore = night, noon }, compliance.Wait, compliance.InQuietHours, 3},
		{"TheirTimeWasMissed", func(in *compliance.Input) { in.NotBefore, in.Missed = noon.Add(-time.Hour), true }, compliance.Suppress, compliance.SchedulePassed, 2},
		{"StoppedBeforeTheirTime", func(in *compliance.Input) { in.NotBefore, in.Consent = noon.Add(time.Hour), user.Stop }, compliance.Suppress, compliance.Stopped, 1},
		{"LegalWindow", func(in *compliance.Input) {
			in.Now, in.Quiet, in.Legal = night, compliance.QuietHours{}, compliance.ListedLaw().Of("US")
		}, compliance.Wait, compliance.LegalWindow, 2},
		{"WithinTheLegalWindow", func(in *compliance.Input) { in.Legal = compliance.ListedLaw().Of("US-TX") }, compliance.Proceed, "", 4},
		{"NeitherLawNorQuietHours", func(in *compliance.Input) {
			in.Quiet, in.Legal = compliance.QuietHours{Start: 8 * 60, End: 20 * 60}, compliance.ListedLaw().Of("US-FL")
		}, compliance.Suppress, compliance.NoSendingWindow, 2},
		{"PairRate", func(in *compliance.Input) {
			in.Limits = compliance.Limits{PairInterval: 6 * time.Second, LastMessage: noon.Add(-5 * time.Second)}
		}, compliance.Wait, compliance.PairRate, 3},
		{"PairRateIsOver", func(in *compliance.Input) {
			in.Limits = compliance.Limits{PairInterval: 6 * time.Second, LastMessage: noon.Add(-6 * time.Second)}
		}, compliance.Proceed, "", 4},
		{"NoPairRate", func(in *compliance.Input) { in.Limits = compliance.Limits{LastMessage: noon} }, compliance.Proceed, "", 4},
		{"FrequencyCap", func(in *compliance.Input) {
			in.Limits = compliance.Limits{Capped: true, CappedUntil: noon.Add(time.Nanosecond)}
		}, compliance.Suppress, compliance.FrequencyCap, 3},
		{"FrequencyCapIsOver", func(in *compliance.Input) { in.Limits = compliance.Limits{Capped: true, CappedUntil: noon} }, compliance.Proceed, "", 4},
		{"NotCapped", func(in *compliance.Input) { in.Limits = compliance.Limits{CappedUntil: noon.Add(time.Hour)} }, compliance.Proceed, "", 4},
		{"PairRateBeforeTheCap", func(in *compliance.Input) {
			in.Limits = compliance.Limits{PairInterval: 6 * time.Second, LastMessage: noon, Capped: true, CappedUntil: noon.Add(time.Second)}
		}, compliance.Wait, compliance.PairRate, 3},
		{"MessagingTier", func(in *compliance.Input) {
			in.Limits = compliance.Limits{Portfolio: 1, PlaceFrees: noon.Add(time.Hour), LastInbound: noon.Add(-24 * time.Hour)}
		}, compliance.Wait, compliance.MessagingTier, 3},
		{"APlaceIsFree", func(in *compliance.Input) { in.Limits = compliance.Limits{Portfolio: 1, PlaceFrees: noon} }, compliance.Proceed, "", 4},
		{"InTheServiceWindow", func(in *compliance.Input) {
			in.Limits = compliance.Limits{Portfolio: 1, PlaceFrees: noon.Add(time.Hour), LastInbound: noon.Add(time.Nanosecond - 24*time.Hour)}
		}, compliance.Proceed, "", 4},
		{"NoMessagingLimit", func(in *compliance.Input) { in.Limits = compliance.Limits{PlaceFrees: noon.Add(time.Hour)} }, compliance.Proceed, "", 4},
		{"QuietHoursBeforeTheCap", func(in *compliance.Input) {
			in.Now, in.Limits = night, compliance.Limits{Capped: true, CappedUntil: night.Add(time.Hour)}
		}, compliance.Wait, compliance.InQuietHours, 2},
		{"MissingVariable", func(in *compliance.Input) { in.Content.Missing = []string{"city", "name"} }, compliance.Suppress, compliance.MissingVariable, 4},
		{"EmptyBody", func(in *compliance.Input) { in.Content.Body = " \n" }, compliance.Suppress, compliance.EmptyBody, 4},
		{"AsLongAsAllowed", func(in *compliance.Input) { in.Content.Length = 1600 }, compliance.Proceed, "", 4},
		{"TooLong", func(in *compliance.Input) { in.Content.Length = 1601 }, compliance.Suppress, compliance.TooLong, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := valid()
			tt.change(&in)
			verdict := compliance.Evaluate(in)
			require.Equal(t, tt.action, verdict.Action)
			require.Equal(t, tt.reason, verdict.Reason)
			require.Len(t, verdict.Steps, tt.steps)
			require.Equal(t, tt.action == compliance.Wait, !verdict.Until.IsZero())
			last := verdict.Steps[tt.steps-1]
			require.Equal(t, map[compliance.Action]compliance.Result{
				compliance.Proceed: compliance.Passed, compliance.Wait: compliance.Deferred, compliance.Suppress: compliance.Failed,
			}[tt.action], last.Result)
			for _, step := range verdict.Steps {
				require.NotContains(t, step.Detail, "Ann", "the audit holds no body")
			}
			if verdict.Action == compliance.Wait {
				in.Now = verdict.Until
				require.Equal(t, compliance.Proceed, compliance.Evaluate(in).Action, "open once the wait is over")
				in.Now = verdict.Until.Add(-time.Nanosecond)
				require.Equal(t, compliance.Wait, compliance.Evaluate(in).Action, "and not before")
				in.Now = verdict.Closes
				require.Equal(t, compliance.Wait, compliance.Evaluate(in).Action, "closed again at Closes")
			}
		})
	}

	in := valid()
	in.Content.Missing = []string{"city", "name"}
	verdict := compliance.Evaluate(in)
	require.True(t, strings.HasSuffix(verdict.Steps[3].Detail, "city, name"))
	verdict = compliance.Evaluate(valid())
	require.Equal(t, "Europe/London", verdict.Zone)
	require.Equal(t, time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC), verdict.Closes.UTC())
}
