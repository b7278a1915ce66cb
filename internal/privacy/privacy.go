// Package privacy is what a person may ask of whoever keeps their data: to see all of it, and to have it erased; and for
// how long it is kept when nobody asks.
package privacy

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/user"
)

// Erasure is the erasure of one person. Here it is done at once; it is complete when the provider has nothing either.
type Erasure struct {
	ID          uuid.UUID
	Phone       phone.Number // "" once the provider's list was read for the last time
	RequestedBy string
	RequestedAt time.Time
	CompletedAt *time.Time // nil: not yet
	Copies      int        // messages that the provider had, as far as they are known
	Removed     int        // of these the ones that it has no more
}

// Address is one of our own.
type Address struct {
	Channel message.Channel
	E164    string
}

// Record is everything that is held about a person.
type Record struct {
	User          user.User
	Consent       []user.Event      // newest first
	Invitations   []user.Invitation // newest first
	Subscriptions []Subscription
	Suppressions  []suppression.Entry
	Said          []user.Subscription // about topics, newest first
	Segments      []Segment           // static ones that list the person
	Enrolments    []Enrolment         // oldest first
	Messages      []Message           // oldest first
	Inbound       []Inbound           // oldest first
	At            time.Time
}

// Subscription is to a topic.
type Subscription struct {
	TopicID int64
	Topic   string
	Since   time.Time
}

// Segment is a static segment.
type Segment struct {
	ID   int64
	Name string
}

// Enrolment is somebody's way through the steps of a campaign.
type Enrolment struct {
	CampaignID int64
	RunNumber  int
	State      ledger.EnrolmentState
	Reason     string // why it was left; "" for another end, or none
	NextStep   int
	Variables  map[string]any // of the event that enrolled them; nil after the end
	CreatedAt  time.Time
	EndedAt    *time.Time // nil: not yet
}

// Message is one that was to be sent to the person, with what was tried and heard.
type Message struct {
	report.Message
	Attempts []Attempt
}

// Attempt is one request to the provider with its callbacks.
type Attempt struct {
	report.Attempt
	Receipts []Receipt
}

// Receipt is a callback with all that it said.
type Receipt struct {
	report.Receipt
	Payload json.RawMessage
}

// Inbound is a message that the person wrote, with all that came with it.
type Inbound struct {
	SID        string
	Channel    message.Channel
	Kind       inbound.Kind
	Body       string
	MediaCount int
	Payload    json.RawMessage
	ReceivedAt time.Time
}

// Kept is something that is kept for a while and then emptied.
type Kept string

// What is kept for a while.
const (
	ReceiptPayloads Kept = "receipt_payloads" // status callbacks, as they came
	InboundPayloads Kept = "inbound_payloads" // messages from people, as they came
	InboundBodies   Kept = "inbound_bodies"   // their texts, and their payloads with them
	ImportRecords   Kept = "import_records"   // refused rows of imports, as they stood in the file
)

// Retention says for how long each is kept; what it does not name, or names with zero, is kept for good.
type Retention map[Kept]time.Duration
