// Package report is what operators read: the ledger row by row, the figures of a run, and the state of the whole. It is
// pure: the database counts, this package says what the counts amount to.
package report

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Message is one row of the ledger.
type Message struct {
	ID           uuid.UUID
	CampaignID   int64
	RunNumber    int
	Seq          int          // 1…n within the run
	Phone        phone.Number // "" when the person was erased
	Channel      message.Channel
	State        message.State
	Reason       string // why it waits, or why it was not sent
	WaitsUntil   *time.Time
	ErrorCode    int // the provider's; 0 for none
	AttemptCount int
	CreatedAt    time.Time
	AcceptedAt   *time.Time
	SentAt       *time.Time
	DeliveredAt  *time.Time
	ReadAt       *time.Time
	EndedAt      *time.Time
	UpdatedAt    time.Time
}

// Attempt is one request to the provider.
type Attempt struct {
	ID          uuid.UUID
	Number      int // 1…n within the message
	State       string
	Carrier     message.State // the best the carrier reported of it; "" for nothing
	SID         string
	ContentSID  string // of the provider's template that was sent; "" for free text
	HTTPStatus  int    // 0: no answer came
	ErrorCode   int
	Detail      string
	Looks       int // at the provider's list, while its outcome was unknown
	FailedLooks int // that could not read the list
	StartedAt   time.Time
	LeaseUntil  time.Time
	EndedAt     *time.Time
}

// TracedAttempt is an attempt with what was heard of it, oldest first.
type TracedAttempt struct {
	Attempt
	Receipts []Receipt
}

// Receipt is a status callback as it came.
type Receipt struct {
	AttemptID  *uuid.UUID
	SID        string
	Status     string // the provider's word
	ErrorCode  int
	Repeats    int // how often the same was said again
	ReceivedAt time.Time
}

// Check is the record of one compliance check.
type Check struct {
	Action    string // proceed, wait or suppress
	Reason    string
	Until     *time.Time
	Steps     []compliance.Finding
	AttemptID *uuid.UUID // the attempt that a proceed led to
	CreatedAt time.Time
}

// MessageDetail is a message with all that happened to it, each list oldest first.
type MessageDetail struct {
	Message
	Attempts []Attempt
	Receipts []Receipt
	Checks   []Check
}

// The steps that a message goes through beside those that compliance checks.
const (
	StepDelivery compliance.Step = "delivery"
	StepAudit    compliance.Step = "audit"
)

// NotMade is the result of a step that nothing was found in: an earlier one decided, or it does not concern the message.
const NotMade compliance.Result = "not_made"

// Verdicts says what each of the six steps came to as of now, in order: consent, quiet hours, limits, content, delivery and
// audit. The first four are those of the newest check; a schedule by the person's own clock counts among their quiet hours.
func (d MessageDetail) Verdicts() []compliance.Finding {
	verdicts := []compliance.Finding{
		{Step: compliance.StepConsent}, {Step: compliance.StepQuietHours}, {Step: compliance.StepLimits}, {Step: compliance.StepContent},
	}
	newest := Check{}
	for _, k := range d.Checks {
		if len(k.Steps) > 0 { // a pause is no check
			newest = k
		}
	}
	for i, v := range verdicts {
		verdicts[i].Result = NotMade
		for _, f := range newest.Steps {
			if f.Step == v.Step || f.Step == compliance.StepSchedule && v.Step == compliance.StepQuietHours {
				verdicts[i].Result, verdicts[i].Detail = f.Result, f.Detail
			}
		}
		if v.Step == compliance.StepLimits && newest.Reason == message.ReasonRateLimit {
			verdicts[i].Result, verdicts[i].Detail = compliance.Deferred, "waits for the rates of campaign, sender and account"
		}
	}
	audit := compliance.Finding{Step: StepAudit, Result: NotMade}
	if n := len(d.Checks); n > 0 {
		audit.Result, audit.Detail = compliance.Passed, fmt.Sprintf("%d on record, the newest of %s", n, d.Checks[n-1].CreatedAt.UTC().Format(time.RFC3339))
	}
	return append(verdicts, d.delivery(), audit)
}

// delivery is what became of the newest attempt.
func (d MessageDetail) delivery() compliance.Finding {
	f := compliance.Finding{Step: StepDelivery, Result: NotMade}
	if len(d.Attempts) == 0 {
		return f
	}
	switch d.State {
	case message.Accepted, message.Sent, message.Delivered, message.Read:
		f.Result, f.Detail = compliance.Passed, string(d.State)
	case message.Pending, message.Sending, message.Unknown:
		f.Result, f.Detail = compliance.Deferred, string(d.State)
	default:
		f.Result, f.Detail = compliance.Failed, string(d.State)
	}
	if d.ErrorCode != 0 {
		f.Detail += fmt.Sprintf(", error %d", d.ErrorCode)
	}
	return f
}

// MessageFilter selects messages; the zero value selects all.
type MessageFilter struct {
	CampaignID int64
	State      message.State
	Since      time.Time // created at or after it
	Until      time.Time // created before it
}

// RecipientFilter selects messages of one run of a campaign; the zero value selects all of the newest.
type RecipientFilter struct {
	Run       int // its number; 0: the newest
	State     message.State
	Reason    string
	ErrorCode int
}

// Run is a run with what became of its messages so far.
type Run struct {
	campaign.Run
	States States
}

// States counts messages by their present state; each counts once.
type States map[message.State]int

// Total is the number of all messages.
func (s States) Total() int {
	total := 0
	for _, n := range s {
		total += n
	}
	return total
}

// Sent counts the messages that reached the network, whatever became of them there.
func (s States) Sent() int {
	return s[message.Sent] + s[message.Delivered] + s[message.Read] + s[message.Undelivered]
}

// Delivered counts the messages that reached the handset.
func (s States) Delivered() int { return s[message.Delivered] + s[message.Read] }

// Read counts the messages that were read.
func (s States) Read() int { return s[message.Read] }

// Failed counts the messages that were refused or lost, or were reported not delivered.
func (s States) Failed() int { return s[message.Failed] + s[message.Undelivered] }

// Tally counts the messages of a run that share state, reason and error code.
type Tally struct {
	State        message.State
	Reason       string
	ErrorCode    int // 0 for none
	Count        int
	WaitsUntil   *time.Time // of the pending ones, the first moment that one waits for; nil for none
	Timed        int        // of these the ones with a time of delivery
	DeliverySecs float64    // the sum of their times from acceptance to delivery
}

// ReasonCount counts messages by reason.
type ReasonCount struct {
	Reason string
	Count  int
}

// CodeCount counts messages by the provider's error code.
type CodeCount struct {
	Code       int
	Count      int
	Percentage float64 // of all messages with an error
}

// Place counts recipients by where they are.
type Place struct {
	Region     string // ISO 3166; "" when unknown
	City       string // the attribute city; "" when unknown
	Count      int
	Delivered  int
	Percentage float64 // of all recipients
}

// Summary is a campaign's newest run in figures. Shares are in percent, 0 where there is nothing to divide by.
type Summary struct {
	Campaign campaign.Overview
	Began    *time.Time // nil: not yet
	Ended    *time.Time // when nothing was left to send
	At       time.Time  // when these figures were counted
	States   States

	DeliveryRate float64 // delivered of sent
	ReadRate     float64 // read of delivered
	SuccessRate  float64 // sent and not reported undelivered, of all recipients
	FailureRate  float64 // failed and undelivered, of all recipients

	Duration        *time.Duration // from begin to end, or until now
	PerMinute       float64        // sent over the duration
	AverageDelivery *time.Duration // from acceptance to delivery; nil when nothing was delivered

	QuietHoursWaiting  int // recipients whose quiet hours it is
	QuietHoursDeferred int // recipients who waited for them at any time
	LegalWaiting       int // recipients who wait for the hours that the law allows
	LegalDeferred      int // recipients who waited for them at any time
	RateLimitWaits     int // how often a send waited for the rate limit
	OptOuts            int // recipients who withdrew their consent between begin and end
	TemplateErrors     int // recipients whose text could not be made

	Waiting    []Waiting     // what the pending messages wait for, the most first
	Errors     []CodeCount   // the most frequent first, at most MaxErrors
	Suppressed []ReasonCount // the most frequent first

	// What takes longer to count.
	Places  []Place // the most frequent first, at most MaxPlaces
	Regions []Place // without their cities
	Replies Replies
}

// Waiting is what some of the pending messages wait for.
type Waiting struct {
	Reason string // "" for their turn
	Count  int
	Until  *time.Time // the first moment at which one of them may go on; nil: it is not known
}

// Replies is what people of a run wrote within ReplyWindow after the provider took their message.
type Replies struct {
	People   int
	Messages int
	Stops    int // messages that say STOP
}

// ReplyWindow is how long after a message what a person writes counts as a reply to it.
const ReplyWindow = 72 * time.Hour

// How many rows the tables of a summary have.
const (
	MaxErrors = 10
	MaxPlaces = 20
)

// Inbound is a message that a person wrote.
type Inbound struct {
	ID         int64
	Phone      phone.Number // "" when the person is unknown or erased
	Channel    message.Channel
	Kind       inbound.Kind
	Body       string
	MediaCount int
	Repeats    int // how often the provider delivered it again
	ReceivedAt time.Time
}

// Error is a message that met an error of the provider's.
type Error struct {
	MessageID  uuid.UUID
	CampaignID int64
	Phone      phone.Number // "" when the person was erased
	Code       int
	At         time.Time
}

// Consents counts the users by their consent.
type Consents map[user.ConsentState]int

// Total is the number of all users.
func (c Consents) Total() int {
	total := 0
	for _, n := range c {
		total += n
	}
	return total
}

// OptedOut counts those who asked not to be written to.
func (c Consents) OptedOut() int { return c[user.OptOut] + c[user.Stop] }

// Dashboard is the state of the whole. Recent counts what happened within the last Window.
type Dashboard struct {
	ActiveCampaigns  int
	Users            Consents
	Recent           Recent
	DeliveryRate     float64 // percent delivered of sent, over all time
	ReadRate         float64 // percent read of delivered, over all time
	Errors           []Error // the newest messages with an error
	AverageExecution *time.Duration
	At               time.Time
}

// History is what happened over a span of time, in steps of equal length. Every step of the span is there.
type History struct {
	Since time.Time
	Step  time.Duration
	Steps []HistoryStep
}

// HistoryStep is what happened within one step.
type HistoryStep struct {
	At        time.Time // its beginning
	Accepted  int       // by the provider
	Delivered int
	Read      int
	Failed    int
	Inbound   int // messages from people; of the whole only
}

// Rates is how much happens at the moment, and how much waits.
type Rates struct {
	Span        time.Duration // over which the first three were counted
	Accepted    int           // messages that the provider took
	Trouble     int           // messages that failed, or wait because the provider did not take them
	Receipts    int           // status callbacks that told something new
	Inbound     int           // messages from people
	DeliveryP50 time.Duration // from acceptance to delivery, of the messages delivered within Span; 0 when none was
	DeliveryP95 time.Duration
	Outbox      int         // instructions to Temporal that wait to be relayed
	OutboxSince *time.Time  // since when the oldest does
	Unknown     int         // messages whose outcome somebody has to decide
	Errors      []CodeCount // within Window, the most frequent first, at most MaxErrors
	At          time.Time
}

// Queue is how the engine's workflows, or its activities, are served by its workers.
type Queue struct {
	Kind       string        // workflows or activities
	Workers    int           // processes that asked for work lately
	Backlog    int           // tasks that wait, about
	Oldest     time.Duration // how long the oldest does, about
	Added      float64       // tasks a second
	Dispatched float64
}

// RateSpan is over how long rates are counted.
const RateSpan = 5 * time.Minute

// Window is how far back recent figures reach.
const Window = 24 * time.Hour

// Recent is what happened within a window of time.
type Recent struct {
	Sent      int
	Delivered int // of the sent
	Failed    int
	Inbound   int
}
