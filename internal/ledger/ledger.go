// Package ledger is the account of one run: what one message, its attempts and the carrier's reports add up to. The
// rules live here; the database keeps the rows and locks them while they are applied.
package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

// Delivery is all that one send needs to know, read at one moment.
type Delivery struct {
	MessageID  uuid.UUID
	State      message.State
	Reason     string
	WaitsUntil *time.Time
	AcceptedAt *time.Time

	RunID          int64
	RunNumber      int
	CampaignID     int64
	SenderID       int64
	CampaignStatus campaign.Status
	Test           bool // it is sent whatever the campaign's status
	RatePerSecond  int
	Priority       campaign.Priority
	Quiet          compliance.QuietHours
	Timezone       string   // for a person without zones
	Subscribed     *bool    // nil: the campaign names no topic
	Scopes         []string // of suppressions that forbid it
	Suppressed     bool     // the person's number is, for one of the scopes
	Excluded       bool     // in a segment that the campaign leaves out: the freeze decides that, for a message it is false
	Schedule       Schedule

	UserID     int64        // 0: the person was erased
	Phone      phone.Number // "" with UserID 0
	Attributes user.Attributes
	Consent    user.ConsentState
	Zones      []string
	Law        compliance.Week // of where they are
	Limits     compliance.Limits

	Reply      *compliance.Reply // nil: the message answers none of the person's
	Invitation bool              // it asks for their consent

	Channel message.Channel
	Content string // the template's text in its own language
	Sender  string // E.164

	Variants           []render.Variant // what the template says in each language, its own first; none: Content alone
	Category           render.Category
	CollapseWhitespace bool
	WindowPolicy       campaign.WindowPolicy
	LastInboundAt      *time.Time // nil: the person never wrote
	Region             string     // of the number, ISO 3166
	ErrorCode          int        // the provider's last; 0 for none
}

// codeOutsideWindow is the provider's word that free text came too late.
const codeOutsideWindow = 63016

// Variant is what the person is to be told, in their language.
func (d Delivery) Variant() render.Variant {
	if len(d.Variants) == 0 {
		return render.Variant{Content: d.Content}
	}
	return render.Choose(d.Variants, d.Attributes)
}

// ContentVariables is what the provider fills the variant's content with; see render.ContentVariables.
func (d Delivery) ContentVariables(v render.Variant) string {
	return render.ContentVariables(v.Mapping, d.Attributes, d.CollapseWhitespace)
}

// Check renders the delivery and judges it as of now. The text is "" when it cannot be rendered.
func (d Delivery) Check(now time.Time) (compliance.Verdict, string) {
	var content compliance.Content
	variant := d.Variant()
	var fill render.Fill
	if template, err := render.Parse(variant.Content); err == nil { // an unreadable text is an empty one: never sent
		fill = template.Fill(d.Attributes, d.CollapseWhitespace)
	}
	content.Body, content.Missing = fill.Text, fill.Missing
	var whatsApp *compliance.WhatsApp
	if d.Channel == message.WhatsApp {
		whatsApp = &compliance.WhatsApp{
			LastInboundAt: d.LastInboundAt, Closed: d.ErrorCode == codeOutsideWindow, Policy: d.WindowPolicy, Region: d.Region,
			Category: d.Category, Approval: variant.Approval, Unfit: fill.Unfit, MaxLength: render.MaxTemplateLength,
		}
	}
	content.Length, content.MaxLength = render.Length(content.Body), render.MaxLength(d.Channel)
	notBefore, missed := d.Schedule.Of(d.Zones, d.Timezone)
	return compliance.Evaluate(compliance.Input{
		NotBefore: notBefore, Missed: missed,
		Now: now, Reply: d.Reply, Consent: d.Consent, Suppressed: d.Suppressed, Subscribed: d.Subscribed, Excluded: d.Excluded, Invitation: d.Invitation,
		Zones: d.Zones, DefaultZone: d.Timezone, Quiet: d.Quiet, Legal: binding(d.Law, d.Priority), Limits: d.Limits, Content: content,
		WhatsApp: whatsApp,
	}), content.Body
}

// MayBegin tells whether a send of the delivery may begin while the person's consent is this.
func (d Delivery) MayBegin(consent user.ConsentState) bool {
	if d.Reply != nil {
		return d.Reply.Answers(consent)
	}
	if d.Invitation {
		return consent == user.Pending
	}
	return consent.Sendable()
}

// Run is a run together with what its campaign says at this moment.
type Run struct {
	campaign.Run
	Status        campaign.Status
	RatePerSecond int
	Priority      campaign.Priority
	Quiet         compliance.QuietHours
	Timezone      string // for people without zones
	Schedule      Schedule
	StartWithin   time.Duration // see campaign.Campaign
	Enrolled      bool          // somebody is on their way through its steps
	// Portfolio is the one whose messaging limit bounds the run; 0 for none.
	Portfolio int64

	Template       render.Approval // the best of its variants'; NotNeeded when none has to be approved for the run
	TemplateReason string          // for which WhatsApp refused one of them; "" for none
}

// Hours returns what bounds when the people of a cohort may be written to.
func (r Run) Hours(c Cohort) compliance.Hours {
	return compliance.Hours{Quiet: r.Quiet, Legal: binding(c.Law, r.Priority)}
}

// Window tells when the people of a cohort may be written to, seen from now: from the campaign's time by their own clock on,
// within their hours.
func (r Run) Window(c Cohort, now time.Time) compliance.Window {
	zones := compliance.Zones(c.Zones, r.Timezone)
	if notBefore, _ := r.Schedule.Of(c.Zones, r.Timezone); notBefore.After(now) {
		window := r.Hours(c).Open(notBefore, zones)
		window.Open = false
		return window
	}
	return r.Hours(c).Open(now, zones)
}

// Late tells how much later than planned the run would begin now, and whether that is too late. A run that heeds no
// time is never late, and with a time of everyone's own clock each person has a time of their own: see Schedule.
func (r Run) Late(now time.Time) (by time.Duration, tooLate bool) {
	by = now.Sub(r.Planned())
	return by, r.StartWithin > 0 && by > r.StartWithin && r.Kind.Scheduled() && r.Schedule.Local.IsZero()
}

// Schedule is a time by everyone's own clock. The zero value is none.
type Schedule struct {
	Local campaign.LocalTime
	// Within is how long before Began somebody's clock may have shown it; whose clock showed it earlier is not sent to. 0:
	// however long.
	Within time.Duration
	Began  time.Time // when the audience was frozen
}

// Of returns when the schedule lets somebody be sent to who may be in any of those zones: when the last of their clocks
// shows its time. missed says that this was too long before the run began. Without a schedule both are zero.
func (s Schedule) Of(zones []string, defaultZone string) (notBefore time.Time, missed bool) {
	if s.Local.IsZero() {
		return time.Time{}, false
	}
	for _, zone := range compliance.Zones(zones, defaultZone) {
		if at := s.Local.In(zone); at.After(notBefore) {
			notBefore = at
		}
	}
	return notBefore, s.Within > 0 && notBefore.Add(s.Within).Before(s.Began)
}

// binding is the law that holds for messages of that priority: it bounds solicitations, and whoever waits for a code or a
// receipt is not solicited.
func binding(law compliance.Week, p campaign.Priority) compliance.Week {
	if p == campaign.Transactional {
		return compliance.Week{}
	}
	return law
}

// Cohort is the rest of a range of neighbouring messages whose people share their candidate zones and their law.
type Cohort struct {
	Number  int
	NextSeq int // the first that no batch holds
	LastSeq int
	Zones   []string
	Law     compliance.Week
	// WaitsUntil is the opening that its messages were last told to wait for; nil for none.
	WaitsUntil *time.Time
}

// States counts messages by state.
type States map[message.State]int

// Total counts all messages.
func (s States) Total() int {
	n := 0
	for _, count := range s {
		n += count
	}
	return n
}

// Accepted counts the messages that the provider took, whatever became of them later.
func (s States) Accepted() int {
	return s[message.Accepted] + s[message.Sent] + s[message.Delivered] + s[message.Read] + s[message.Undelivered]
}

// AttemptState is what is known of a request to the provider.
type AttemptState string

// The states of an attempt.
const (
	Open     AttemptState = "open"     // begun; its outcome is not known
	Accepted AttemptState = "accepted" // the provider has it
	Refused  AttemptState = "refused"  // the provider certainly does not have it
	Absent   AttemptState = "absent"   // looked for and not found: as good as refused
	Unknown  AttemptState = "unknown"  // looked for without a clear result
)

// Attempt is one request to the provider, as the ledger keeps it.
type Attempt struct {
	ID          uuid.UUID
	Number      int // 1…n within the message
	State       AttemptState
	Carrier     message.State // the best the carrier reported; "" for nothing yet
	SID         string
	ErrorCode   int
	LeaseUntil  time.Time // no request of it is under way after that
	StartedAt   time.Time
	GrantedAt   time.Time // the moment that the rate limits gave it
	BodySHA256  [32]byte
	ContentSID  string // of the provider's template that was sent; "" for free text
	Looks       int    // successful looks at the provider's list
	FailedLooks int
}

// Message is the part of a ledger row that receipts may change.
type Message struct {
	State       message.State
	Reason      string
	WaitsUntil  *time.Time
	ErrorCode   int // 0: none
	AcceptedAt  *time.Time
	SentAt      *time.Time
	DeliveredAt *time.Time
	ReadAt      *time.Time
	EndedAt     *time.Time
}

// Effect is what else a report asks for.
type Effect struct {
	Changed bool // the message or the attempt is not what it was
	Wake    bool // a workflow may be waiting for this: to find the outcome out, or to send again
	Slow    bool // the carrier asks for fewer messages from the sender
	OptOut  bool // the carrier says that the person does not want messages
	Fault   bool // credentials, sender or template are at fault: the campaign must not go on
}

// Apply takes a carrier's report on attempts[i] into account. attempts are all of the message, in order. Reports may
// come before the request's own outcome, late, twice and in any order.
func (m *Message) Apply(attempts []Attempt, i int, r message.Report, now time.Time) Effect {
	a := &attempts[i]
	var e Effect
	if a.State != Accepted && r.SID != "" {
		// The provider speaks of it, so it has it: whatever we took the outcome for.
		a.State, a.SID, e.Changed = Accepted, r.SID, true
		newest := i == len(attempts)-1
		if m.State == message.Unknown || m.State == message.Pending || m.State == message.Sending && newest {
			best, _ := Standing(attempts, -1)
			m.to(best, now)
			e.Wake = true
		}
	}
	if r.State == "" || r.State == message.Accepted {
		return e
	}
	next, moved := message.Advance(a.Carrier, r.State)
	if !moved {
		return e
	}
	a.Carrier, e.Changed = next, true
	switch next {
	case message.Sent, message.Delivered, message.Read:
		if next == message.Sent && m.State == message.Sending && i < len(attempts)-1 {
			break // the newest attempt's outcome has to be found out first: see Standing
		}
		if best, better := message.Advance(m.State, next); better {
			e.Wake = e.Wake || m.State.Open() || m.State == message.Unknown
			m.to(best, now)
		}
	case message.Failed, message.Undelivered:
		a.ErrorCode = r.Code
		e.OptOut = r.Policy.Class == message.OptOut
		e.Fault = r.Policy.Class == message.Stop
		e.Slow = r.Policy.Slows
		if m.State.Undecided() && !mayArrive(attempts, i) {
			m.fail(next, attempts, r, now)
			e.Wake = e.Wake || m.State == message.Pending
		}
	}
	return e
}

// Standing returns what is known of the best attempt, attempts[except] aside, that the provider took and the carrier did
// not fail; ok is false when there is none. While one stands, the message is not sent again.
func Standing(attempts []Attempt, except int) (best message.State, ok bool) {
	for i, a := range attempts {
		if i == except || a.State != Accepted || a.Carrier == message.Failed || a.Carrier == message.Undelivered {
			continue
		}
		state := cmp.Or(a.Carrier, message.Accepted)
		if better, moved := message.Advance(best, state); moved {
			best = better
		}
		ok = true
	}
	return best, ok
}

// mayArrive reports whether an attempt other than attempts[i] stands, or may do so: its outcome is not known.
func mayArrive(attempts []Attempt, i int) bool {
	_, stands := Standing(attempts, i)
	return stands || slices.ContainsFunc(attempts, func(a Attempt) bool {
		return a.ID != attempts[i].ID && (a.State == Open || a.State == Unknown)
	})
}

// Conclude ends attempts[i], whose request the provider does not have or whose outcome stays unknown, and says what
// becomes of the message: an earlier attempt that stands after all decides it, else what then says.
func (m *Message) Conclude(attempts []Attempt, i int, then Then, now time.Time) {
	if m.State != message.Sending {
		return // a receipt has moved it on
	}
	if best, ok := Standing(attempts, i); ok {
		m.to(best, now)
		return
	}
	m.State, m.Reason, m.WaitsUntil, m.ErrorCode, m.EndedAt = then.State, then.Reason, then.WaitsUntil, then.ErrorCode, nil
	if !then.State.Open() {
		m.EndedAt = &now
	}
}

// to moves the message to a state that the carrier vouches for.
func (m *Message) to(state message.State, now time.Time) {
	m.State, m.Reason, m.WaitsUntil, m.EndedAt = state, "", nil, nil
	stamp := func(t **time.Time) {
		if *t == nil {
			*t = &now
		}
	}
	stamp(&m.AcceptedAt)
	switch state {
	case message.Read:
		stamp(&m.ReadAt)
		stamp(&m.DeliveredAt)
		stamp(&m.SentAt)
	case message.Delivered:
		stamp(&m.DeliveredAt)
		stamp(&m.SentAt)
	case message.Sent:
		stamp(&m.SentAt)
	default: // accepted
	}
	if state == message.Delivered || state == message.Read {
		m.ErrorCode = 0
	}
}

// fail ends the message, or sets it back to pending where the provider's error is worth another attempt.
func (m *Message) fail(state message.State, attempts []Attempt, r message.Report, now time.Time) {
	m.ErrorCode = r.Code
	if r.Policy.Class == message.Retry || r.Policy.Class == message.Window { // the latter as a template, for its code stays
		same := 0
		for _, a := range attempts {
			if a.ErrorCode == r.Code {
				same++
			}
		}
		if same <= r.Policy.Retries && Tried(attempts) < message.MaxAttempts {
			until := now.Add(r.Policy.Delay << (same - 1))
			m.State, m.Reason, m.WaitsUntil = message.Pending, message.ReasonRetry, &until
			return
		}
	}
	m.State, m.Reason, m.WaitsUntil, m.EndedAt = state, FailureReason(r.Policy), nil, &now
}

// FailureReason is the reason recorded on a message that ends with a provider's error.
func FailureReason(p message.Policy) string {
	switch p.Class {
	case message.OptOut:
		return message.ReasonOptedOut
	case message.Stop:
		return message.ReasonStopClass
	case message.Retry:
		return message.ReasonAttempts
	default:
		return message.ReasonProvider
	}
}

// Tried counts the attempts that used up one of the message's tries. One that the provider turned away at its door,
// busy or unreachable, did not.
func Tried(attempts []Attempt) int {
	n := 0
	for _, a := range attempts {
		if a.State != Refused {
			n++
		}
	}
	return n
}

// Overdue is an accepted message whose decisive receipt has not come, with the attempt that stands; the zero id and ""
// for none.
type Overdue struct {
	MessageID uuid.UUID
	AttemptID uuid.UUID
	SID       string
}

// Begun says whether an attempt was opened.
type Begun string

// The answers to an attempt to begin.
const (
	BegunNow      Begun = "begun"          // it is the caller's to send
	NotMine       Begun = "not_mine"       // the message is not pending any more
	NotRunning    Begun = "not_running"    // the campaign is paused or over
	NotConsenting Begun = "not_consenting" // consent was withdrawn, the number suppressed, or the person erased
	NotNow        Begun = "not_now"        // another message to the person, or of the portfolio, came first
)

// Then is what becomes of a message after an attempt that the provider does not have.
type Then struct {
	State      message.State // pending, failed or unknown
	Reason     string
	WaitsUntil *time.Time // with pending
	ErrorCode  int        // the provider's; 0 for none
}
