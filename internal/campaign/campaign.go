// Package campaign is what an operator plans and steers: a campaign, its runs and the moves between its states. Pure.
package campaign

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Status is where a campaign is in its life.
type Status string

// The states of a campaign.
const (
	Draft     Status = "DRAFT"     // may be edited; nothing happens by itself
	Scheduled Status = "SCHEDULED" // a run waits for its time
	Running   Status = "RUNNING"
	Paused    Status = "PAUSED"    // no send begins until it is resumed
	Completed Status = "COMPLETED" // no message pending or sending; receipts go on arriving
	Cancelled Status = "CANCELLED"
	Failed    Status = "FAILED"
)

// Statuses lists every status.
func Statuses() []Status {
	return []Status{Draft, Scheduled, Running, Paused, Completed, Cancelled, Failed}
}

// moves lists where each status may go.
var moves = map[Status][]Status{
	Draft:     {Scheduled, Running},
	Scheduled: {Running, Paused, Cancelled, Failed},
	Running:   {Paused, Completed, Cancelled, Failed},
	Paused:    {Running, Scheduled, Cancelled, Failed},
}

// Move checks the step from one status to another. A retry, which leads back from an end, is no such step: see Retry.
func (s Status) Move(to Status) error {
	if slices.Contains(moves[s], to) {
		return nil
	}
	return fault.New(fault.Conflict, "a campaign that is %s cannot become %s", s, to)
}

// Ended returns what a campaign becomes when nothing of its run is left to send: one that recurs awaits its next
// occurrence, unless the run was a retry of one that is over.
func (k Kind) Ended() Status {
	if k == ByRecurrence {
		return Scheduled
	}
	return Completed
}

// Active reports whether a run of the campaign is under way.
func (s Status) Active() bool { return s == Scheduled || s == Running || s == Paused }

// MaySend reports whether a message of the campaign may be sent: a completed one, and one that awaits its next occurrence,
// may have to send again what the carrier gave back.
func (s Status) MaySend() bool { return s == Running || s == Completed || s == Scheduled }

// Campaign is the plan: what to send, to whom, when and how fast.
type Campaign struct {
	ID                  int64
	Topic               string // a title; restricts nobody
	TemplateID          int64
	SegmentID           *int64          // exactly one of SegmentID and SegmentQuery is given, unless the campaign is triggered:
	SegmentQuery        json.RawMessage // nothing ever means everyone by omission
	ExcludeSegmentIDs   []int64         // whoever is in one of these is not sent to, and recorded as excluded
	SubscriptionTopicID *int64          // only subscribers of this topic
	Status              Status
	StatusReason        string
	RatePerSecond       int      // 1…1000
	Priority            Priority // "" is Bulk
	FailureThreshold    int      // percent of the last outcomes that may be failures; 0: any number
	Canary              int      // percent of the audience that is sent to, and awaited, first; 0: nobody
	FrequencyCap        Cap      // nobody who had so many bulk messages gets one of this campaign
	Trigger             Trigger  // "" is ByOperator
	TriggerName         string   // with OnEvent its name, with OnKeyword the word as it is compared; else ""
	BuiltIn             bool     // it carries the engine's own replies: nobody plans it
	QuietStart          *int     // minutes after local midnight; both or neither
	QuietEnd            *int
	Timezone            string // IANA; for people without a zone of their own
	ScheduleTime        *time.Time
	WindowPolicy        WindowPolicy  // "" is ByTemplate
	LocalTime           LocalTime     // each person is sent to when their own clock shows it; not with ScheduleTime
	Recurrence          Recurrence    // sent again at each of its occurrences; with neither of the above
	StartWithin         time.Duration // what is later than that is not sent any more; 0: however late
	Steps               []Step        // sent one after the other to whoever triggers it; the first has TemplateID
	ExitOn              ExitOn        // with Steps
	CreatedBy           string        // the principal; "": it was not kept
	ChangedBy           string        // who changed the plan last; "": nobody
	ApprovedBy          string        // "": nobody approved the plan as it stands
	ApprovedAt          *time.Time
	CreatedAt           time.Time
	UpdatedAt           time.Time
}

// Bounds of what a campaign may ask for.
const (
	MaxRate     = 1000 // messages a second
	MaxCanary   = 50   // percent of the audience
	MaxCapCount = 100  // messages
	MaxCapDays  = 90
	MaxExcluded = 20 // segments
	// MaxStartWithin bounds how much later than planned a campaign may begin where that is limited; the least is a minute.
	MaxStartWithin = 7 * 24 * time.Hour
)

// Cap bounds how many bulk messages, of whatever campaign, one person gets within some days. The zero value bounds nothing.
type Cap struct {
	Count int // 1…100
	Days  int // 1…90, of 24 hours each, counted back from the moment of sending
}

// IsZero tells whether there is no cap.
func (c Cap) IsZero() bool { return c == Cap{} }

// What a campaign has that says nothing of it.
const (
	DefaultRate             = 10 // messages a second
	DefaultFailureThreshold = 20 // percent
	DefaultTimezone         = "UTC"
)

// Priority says which campaign's messages go first where several share a sender.
type Priority string

// The priorities.
const (
	Transactional Priority = "transactional" // somebody waits for it, such as a code or a receipt
	Bulk          Priority = "bulk"
)

// Priorities lists every priority, the first to go first.
func Priorities() []Priority { return []Priority{Transactional, Bulk} }

// WindowPolicy says what becomes of WhatsApp's rule that free text reaches only those who wrote within 24 hours.
type WindowPolicy string

// The policies.
const (
	ByTemplate WindowPolicy = "template"  // everybody gets the approved template
	ByFreeText WindowPolicy = "free_text" // free text within the window, the approved template outside of it
	InWindow   WindowPolicy = "suppress"  // free text within the window, nothing outside of it
)

// WindowPolicies lists every policy.
func WindowPolicies() []WindowPolicy { return []WindowPolicy{ByTemplate, ByFreeText, InWindow} }

// Run is one execution of a campaign over an audience that was frozen once.
type Run struct {
	ID              int64
	CampaignID      int64
	Number          int // 1…n within the campaign
	Kind            Kind
	Retry           Retry // with ByRetry: whom it sends to again
	TemplateID      int64
	TemplateVersion int
	NotBefore       *time.Time
	OccurrenceAt    *time.Time // with ByRecurrence: which one
	FrozenAt        *time.Time
	AudienceSize    int
	AwaitsTemplate  bool // its messages are told to wait for the approval of the template
	StartedBy       string
	StartedAt       time.Time
	ClosedAt        *time.Time // of ByEvent: it takes no more messages
	FinishedAt      *time.Time // no message pending or sending any more
	SettledAt       *time.Time // every receipt in, or overdue
}

// Open reports whether messages may still be added to the run: it is not over when none is left to be sent.
func (r Run) Open() bool { return r.Kind == ByEvent && r.ClosedAt == nil && r.FinishedAt == nil }

// WorkflowID names the run's workflow; it is also what the API calls the run's task.
func WorkflowID(campaignID int64, number int) string {
	return fmt.Sprintf("campaign/%d/run/%d", campaignID, number)
}

// Steering is what came of a pause, a resume or a cancel.
type Steering struct {
	Status     Status
	Sent       int // accepted by the provider, whatever became of it later
	Remaining  int // still to be sent; after a cancel 0
	Unresolved int // may have been sent: their outcome is being looked up
}

// VerdictCount is how many people of an audience compliance would treat alike.
type VerdictCount struct {
	Action string // proceed, wait or suppress
	Reason string
	Count  int
}
