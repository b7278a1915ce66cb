// Package compliance decides whether a person may be sent a message now, later or not at all. It is one pure
// function of data and a now; rate limits, delivery and the record of the verdict belong to its callers.
package compliance

import (
	"strings"
	"time"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/render"
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
	Suppressed      Reason = "suppressed"        // the number is on the list of suppressions
	NotSubscribed   Reason = "not_subscribed"    // not to the topic that the campaign names
	AlreadyAgreed   Reason = "already_agreed"    // an invitation to consent, and the person has consented meanwhile
	NotYet          Reason = "schedule"          // waits: their own clock does not show the campaign's time yet
	SchedulePassed  Reason = "schedule_passed"   // their own clock had shown it too long before the run began
	Excluded        Reason = "excluded"          // in a segment that the campaign leaves out
	InQuietHours    Reason = "quiet_hours"       // waits for the campaign's quiet hours to end
	LegalWindow     Reason = "legal_window"      // waits for the hours that the law allows
	NoSendingWindow Reason = "no_sending_window" // quiet hours and law leave no common minute in the candidate zones
	PairRate        Reason = "pair_rate"         // waits: another message to the person was sent just now
	FrequencyCap    Reason = "frequency_cap"     // the person had as many messages as a cap allows
	MessagingTier   Reason = "messaging_tier"    // waits for a place among the people that the portfolio may reach in a day
	MissingVariable Reason = "missing_variable"
	EmptyBody       Reason = "empty_body"
	TooLong         Reason = "too_long"
	ReplyTooLate    Reason = "reply_too_late"    // what it answers was written too long ago
	ReplyOutdated   Reason = "reply_outdated"    // the person has said something else since
	InvalidVariable Reason = "invalid_variable"  // a value that WhatsApp takes in no template
	OutsideWindow   Reason = "outside_window"    // the campaign sends nothing but free text
	USMarketing     Reason = "us_marketing"      // WhatsApp delivers no marketing template to the United States
	AwaitsApproval  Reason = "template_approval" // waits
	RefusedTemplate Reason = "template_refused"  // waits: the campaign cannot go on as it is
)

// Step names one of the checks, in the order in which they are made.
type Step string

// The steps. The first one that does not pass decides; later ones are not made.
const (
	StepConsent    Step = "consent"
	StepSchedule   Step = "schedule"    // only where the campaign names a time of everyone's own clock
	StepQuietHours Step = "quiet_hours" // of the campaign, and what the law allows
	StepLimits     Step = "limits"      // caps, pair rate and messaging limit; the rates are waited for by the caller
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
	Suppressed bool  // the number is, for this message
	Subscribed *bool // nil: the campaign names no topic
	Excluded   bool  // in a segment that the campaign leaves out; known when the audience is chosen, not later
	Invitation bool  // it asks for consent: it goes to whoever is PENDING, and to nobody else
	// NotBefore is when the person's own clock shows the time that the campaign names; zero when it names none. Missed
	// says that it had done so for too long when the run began.
	NotBefore time.Time
	Missed    bool
	// Zones are the IANA zones that the person may be in; DefaultZone stands in when there are none, UTC for an empty
	// DefaultZone. Unknown names are left out.
	Zones       []string
	DefaultZone string
	Quiet       QuietHours
	Legal       Week // zero: no law bounds the hours
	Limits      Limits
	Content     Content
	Reply       *Reply    // nil: it answers nothing
	WhatsApp    *WhatsApp // nil on another channel
}

// WhatsApp is what its rules depend on.
type WhatsApp struct {
	LastInboundAt *time.Time // nil: the person never wrote
	// Closed says that the provider took free text for being outside of the window, whatever LastInboundAt says.
	Closed    bool
	Policy    campaign.WindowPolicy // "" is ByTemplate
	Region    string                // of the number, ISO 3166; "" when unknown
	Category  render.Category
	Approval  render.Approval // of the text in the person's language
	Unfit     []string        // variables whose values no template takes
	MaxLength int             // of a filled template, in the unit of Content.Length
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
	Zone   string    // the zone that decides about the window; "" without hours to heed
	// Template says, with Proceed, that the approved template has to be sent and not free text.
	Template bool
	Steps    []Finding // the checks made, in order, for the audit record
}

// Finding is the outcome of one step. It holds no personal data.
type Finding struct {
	Step   Step   `json:"step"`
	Result Result `json:"result"`
	Detail string `json:"detail,omitempty"`
}

// Evaluate checks consent, the schedule, quiet hours, limits and content, in this order; WhatsApp's rules are part of the
// content's. Of a reply it checks only consent and content.
func Evaluate(in Input) Verdict {
	if in.Reply != nil {
		return in.Reply.evaluate(in)
	}
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

	hours := Hours{Quiet: in.Quiet, Legal: in.Legal}
	window := hours.Open(in.Now, Zones(in.Zones, in.DefaultZone))
	verdict.Closes, verdict.Zone = window.Closes, window.Zone
	switch {
	case window.Opens.IsZero():
		return suppress(StepQuietHours, NoSendingWindow, hours.String()+": no hour is left in all candidate zones at once")
	case !window.Open:
		verdict.Steps = append(verdict.Steps, hours.Finding(window))
		verdict.Action, verdict.Reason, verdict.Until = Wait, window.Reason, window.Opens
		return verdict
	}
	found(StepQuietHours, Passed, "")

	switch action, reason, until, detail := in.Limits.check(in.Now); action {
	case Suppress:
		return suppress(StepLimits, reason, detail)
	case Wait:
		found(StepLimits, Deferred, detail)
		verdict.Action, verdict.Reason, verdict.Until = Wait, reason, until
		return verdict
	default:
		found(StepLimits, Passed, "")
	}

	if reason, detail := in.Content.check(); reason != "" {
		return suppress(StepContent, reason, detail)
	}
	if in.WhatsApp == nil {
		found(StepContent, Passed, "")
		verdict.Action = Proceed
		return verdict
	}
	form := in.WhatsApp.form(in.Now, in.Content)
	switch {
	case form.wait:
		found(StepContent, Deferred, form.detail)
		verdict.Action, verdict.Reason, verdict.Until = Wait, form.reason, in.Now.Add(approvalInterval)
		return verdict
	case form.reason != "":
		return suppress(StepContent, form.reason, form.detail)
	}
	found(StepContent, Passed, form.detail)
	verdict.Action, verdict.Template = Proceed, form.template
	if !form.closes.IsZero() && (verdict.Closes.IsZero() || form.closes.Before(verdict.Closes)) {
		verdict.Closes = form.closes
	}
	return verdict
}

const (
	// serviceWindow is how long after a person's message free text reaches them: WhatsApp's 24 hours, less a minute for
	// clocks that differ.
	serviceWindow = 24*time.Hour - time.Minute
	// approvalInterval is how long to wait before asking again about an approval. Its decision wakes whoever waits.
	approvalInterval = 2 * time.Minute
	regionUS         = "US"
)

// form is how a message is to be sent on WhatsApp, or why it is not.
type form struct {
	template bool
	closes   time.Time // of the window, for free text
	wait     bool
	reason   Reason // "" to send it
	detail   string
}

func (w WhatsApp) form(now time.Time, c Content) form {
	var closes time.Time
	if w.LastInboundAt != nil && !w.Closed {
		closes = w.LastInboundAt.Add(serviceWindow)
	}
	open := now.Before(closes)
	barred := w.Category == render.Marketing && w.Region == regionUS
	switch {
	case open && (barred || w.Policy == campaign.ByFreeText || w.Policy == campaign.InWindow):
		return form{closes: closes, detail: "free text, within 24 hours of the person's message"}
	case w.Policy == campaign.InWindow:
		return form{reason: OutsideWindow, detail: "free text, and the person has not written within 24 hours"}
	case barred:
		return form{reason: USMarketing, detail: "WhatsApp delivers no marketing template to the United States"}
	case len(w.Unfit) > 0:
		return form{reason: InvalidVariable, detail: "a template takes values on one line, without tabs and four spaces together, and not those of " + strings.Join(w.Unfit, ", ")}
	case c.Length > w.MaxLength:
		return form{reason: TooLong, detail: "longer than a template may be"}
	case w.Approval.Refused():
		return form{wait: true, reason: RefusedTemplate, detail: "the template is " + string(w.Approval)}
	case w.Approval != render.Approved:
		return form{wait: true, reason: AwaitsApproval, detail: "the template is not approved yet"}
	default:
		return form{template: true, detail: "approved template"}
	}
}

func consent(in Input) Reason {
	switch {
	case in.Consent == user.Stop:
		return Stopped
	case in.Consent == user.OptOut:
		return OptedOut
	case in.Invitation && in.Consent == user.OptIn:
		return AlreadyAgreed
	case in.Invitation && in.Consent != user.Pending, !in.Invitation && !in.Consent.Sendable():
		return NoConsent
	case in.Suppressed:
		return Suppressed
	case in.Subscribed != nil && !*in.Subscribed:
		return NotSubscribed
	case in.Excluded:
		return Excluded
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
