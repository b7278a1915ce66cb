// Package compliance decides whether a person may be sent a message now, later or not at all. It is one pure
// function of data and a now; rate limits, delivery and the record of the verdict belong to its callers.
package compliance

import (
	"strings"
	"time"

	"github.com/event-stream-engine/ese/internal/user"
)

// Action is what to do with a message.
type Action string

// The actions.
const (
	Proceed  Action = "proceed"
	Wait     Action = "wait"     // ask again at Verdict.Until
	Suppress Action = "suppress" // never send it
)

// Reason says why a message waits or is suppressed. The words are stable: they are stored and shown.
type Reason string

// The reasons; "" with Proceed.
const (
	NoConsent       Reason = "no_consent"        // never agreed, or it is not known
	OptedOut        Reason = "opted_out"         // declined
	Stopped         Reason = "stopped"           // said STOP
	NotSubscribed   Reason = "not_subscribed"    // not to the topic that the campaign names
	NotYet          Reason = "schedule"          // waits: their own clock does not show the campaign's time yet
	SchedulePassed  Reason = "schedule_passed"   // their own clock had shown it too long before the run began
	InQuietHours    Reason = "quiet_hours"       // waits
	NoSendingWindow Reason = "no_sending_window" // the quiet hours of the candidate zones leave no common minute
	MissingVariable Reason = "missing_variable"
	EmptyBody       Reason = "empty_body"
	TooLong         Reason = "too_long"
)

// Step names one of the checks, in the order in which they are made.
type Step string

// The steps. The first one that does not pass decides; later ones are not made.
const (
	StepConsent    Step = "consent"
	StepSchedule   Step = "schedule" // only where the campaign names a time of everyone's own clock
	StepQuietHours Step = "quiet_hours"
	StepContent    Step = "content"
)

// Result is what a step found.
type Result string

// The results of a step.
const (
	Passed   Result = "passed"
	Deferred Result = "deferred"
	Failed   Result = "failed"
)

// Input is everything that the verdict depends on.
type Input struct {
	Now        time.Time
	Consent    user.ConsentState
	Subscribed *bool // nil: the campaign names no topic
	// NotBefore is when the person's own clock shows the time that the campaign names; zero when it names none. Missed
	// says that it had done so for too long when the run began.
	NotBefore time.Time
	Missed    bool
	// Zones are the IANA zones that the person may be in; DefaultZone stands in when there are none, UTC for an empty
	// DefaultZone. Unknown names are left out.
	Zones       []string
	DefaultZone string
	Quiet       QuietHours
	Content     Content
}

// Content is what is known of the rendered message.
type Content struct {
	Body      string   // as rendered
	Missing   []string // variables without a value
	Length    int      // of Body, in the unit of MaxLength
	MaxLength int      // of the channel
}

// Verdict is the decision, and how it came about.
type Verdict struct {
	Action Action
	Reason Reason    // "" with Proceed
	Until  time.Time // with Wait: when to ask again; else zero
	Closes time.Time // when the window that is open now, or opens at Until, closes; zero when it does not
	Zone   string    // the zone that decides about the window; "" without quiet hours
	Steps  []Finding // the checks made, in order, for the audit record
}

// Finding is the outcome of one step. It holds no personal data.
type Finding struct {
	Step   Step   `json:"step"`
	Result Result `json:"result"`
	Detail string `json:"detail,omitempty"`
}

// Evaluate checks consent, the schedule, quiet hours and content, in this order.
func Evaluate(in Input) Verdict {
	var verdict Verdict
	found := func(step Step, result Result, detail string) {
		verdict.Steps = append(verdict.Steps, Finding{step, result, detail})
	}
	suppress := func(step Step, reason Reason, detail string) Verdict {
		found(step, Failed, detail)
		verdict.Action, verdict.Reason = Suppress, reason
		return verdict
	}

	if reason := consent(in); reason != "" {
		return suppress(StepConsent, reason, string(reason))
	}
	found(StepConsent, Passed, "")

	switch {
	case in.NotBefore.IsZero():
	case in.Missed:
		return suppress(StepSchedule, SchedulePassed, "was over when the run began")
	case in.NotBefore.After(in.Now):
		found(StepSchedule, Deferred, "by the recipient's own clock")
		verdict.Action, verdict.Reason, verdict.Until = Wait, NotYet, in.NotBefore
		return verdict
	default:
		found(StepSchedule, Passed, "")
	}

	window := in.Quiet.Open(in.Now, Zones(in.Zones, in.DefaultZone))
	verdict.Closes, verdict.Zone = window.Closes, window.Zone
	switch {
	case window.Opens.IsZero():
		return suppress(StepQuietHours, NoSendingWindow, "never outside "+in.Quiet.String()+" in all candidate zones at once")
	case !window.Open:
		found(StepQuietHours, Deferred, in.Quiet.String()+" in "+window.Zone)
		verdict.Action, verdict.Reason, verdict.Until = Wait, InQuietHours, window.Opens
		return verdict
	}
	found(StepQuietHours, Passed, "")

	if reason, detail := in.Content.check(); reason != "" {
		return suppress(StepContent, reason, detail)
	}
	found(StepContent, Passed, "")
	verdict.Action = Proceed
	return verdict
}

func consent(in Input) Reason {
	switch {
	case in.Consent == user.Stop:
		return Stopped
	case in.Consent == user.OptOut:
		return OptedOut
	case !in.Consent.Sendable():
		return NoConsent
	case in.Subscribed != nil && !*in.Subscribed:
		return NotSubscribed
	default:
		return ""
	}
}

// Zones returns the zones to judge a person by: those of the names, else the default one, else UTC. Never none.
func Zones(names []string, defaultZone string) []*time.Location {
	if zones := load(names); len(zones) > 0 {
		return zones
	}
	if zones := load([]string{defaultZone}); len(zones) > 0 {
		return zones
	}
	return []*time.Location{time.UTC}
}

func (c Content) check() (Reason, string) {
	switch {
	case len(c.Missing) > 0:
		return MissingVariable, "no value for " + strings.Join(c.Missing, ", ")
	case strings.TrimSpace(c.Body) == "":
		return EmptyBody, "nothing to send"
	case c.Length > c.MaxLength:
		return TooLong, "longer than the channel allows"
	default:
		return "", ""
	}
}
