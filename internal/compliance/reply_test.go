package compliance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestEvaluateReply(t *testing.T) {
	t.Parallel()
	asked := time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)
	no := false
	tests := []struct {
		name    string
		stop    bool
		consent user.ConsentState
		after   time.Duration
		body    string
		want    compliance.Reason
		steps   int
	}{
		{"ToSomebodyWithoutConsentAtNight", false, user.Pending, time.Second, "Hi", "", 2},
		{"ToWhoDeclined", false, user.OptOut, time.Second, "Hi", "", 2},
		{"ToWhoAgreed", false, user.OptIn, 24*time.Hour - 1, "Hi", "", 2},
		{"OutsideTheWindow", false, user.OptIn, 24 * time.Hour, "Hi", compliance.ReplyTooLate, 1},
		{"AfterAStop", false, user.Stop, time.Second, "Hi", compliance.Stopped, 1},
		{"OfAStop", true, user.Stop, 5*time.Minute - 1, "Bye", "", 2},
		{"OfAStopTooLate", true, user.Stop, 5 * time.Minute, "Bye", compliance.ReplyTooLate, 1},
		{"OfAStopThatIsOver", true, user.OptIn, time.Second, "Bye", compliance.ReplyOutdated, 1},
		{"ToSomebodyErased", false, "", time.Second, "Hi", compliance.NoConsent, 1},
		{"OfAStopToSomebodyErased", true, "", time.Second, "Bye", compliance.NoConsent, 1},
		{"WithoutAText", false, user.OptIn, time.Second, " ", compliance.EmptyBody, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			verdict := compliance.Evaluate(compliance.Input{
				Now: asked.Add(tt.after), Consent: tt.consent, Subscribed: &no, Zones: []string{"Europe/London"},
				Quiet: compliance.QuietHours{Start: 22 * 60, End: 8 * 60}, Reply: &compliance.Reply{Stop: tt.stop, AskedAt: asked},
				Content: compliance.Content{Body: tt.body, Length: len(tt.body), MaxLength: 1600},
				// Nothing else bounds it.
				Limits:   compliance.Limits{PairInterval: time.Hour, LastMessage: asked, Capped: true, CappedUntil: asked.Add(48 * time.Hour)},
				WhatsApp: &compliance.WhatsApp{Region: "US", Category: render.Marketing, Approval: render.Rejected},
			})
			require.Equal(t, tt.want, verdict.Reason)
			require.False(t, verdict.Template, "free text")
			require.Equal(t, tt.want == "", verdict.Action == compliance.Proceed)
			require.Len(t, verdict.Steps, tt.steps)
			if verdict.Action == compliance.Proceed {
				require.Equal(t, map[bool]time.Duration{true: 5 * time.Minute, false: 24 * time.Hour}[tt.stop], verdict.Closes.Sub(asked),
					"the provider does not hold it for longer either")
			}
		})
	}
}

// What would be sent as a template from now on is no reply, and to a number that is suppressed none is sent but HELP's.
func TestReplyThatIsNotTaken(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)
	in := compliance.Input{
		Now: now, Consent: user.OptIn, Reply: &compliance.Reply{AskedAt: now}, Content: compliance.Content{Body: "Hi", Length: 2, MaxLength: 1600},
		WhatsApp: &compliance.WhatsApp{LastInboundAt: &now, Closed: true},
	}
	require.Equal(t, compliance.OutsideWindow, compliance.Evaluate(in).Reason)
	in.WhatsApp = nil
	require.Equal(t, compliance.Proceed, compliance.Evaluate(in).Action)
	in.Suppressed = true
	require.Equal(t, compliance.Suppressed, compliance.Evaluate(in).Reason)
	in.Reply.Help = true
	require.Equal(t, compliance.Proceed, compliance.Evaluate(in).Action)
	in.Consent = user.Stop
	require.Equal(t, compliance.Stopped, compliance.Evaluate(in).Reason)
}
