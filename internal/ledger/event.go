package ledger

import (
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Enlistment asks for a message to one person in a run that takes them one by one.
type Enlistment struct {
	UserID int64
	// DedupeKey names what the message is about, such as an event: asked for again with the same key, the person gets no
	// second one. "" is for the one message that they get at all.
	DedupeKey string
	// Variables go before the person's attributes when the text is made; nil for none.
	Variables user.Attributes
	// Reply is the kind of reply that the message is, to what the person has just written; "" for none. Whether a reply is
	// sent is judged by that message, not by the person's consent.
	Reply string
	// Step is the step of the run that the message is; 0 for none. A run that is closed still takes steps.
	Step int
}

// Enlisted is what became of an Enlistment.
type Enlisted struct {
	MessageID uuid.UUID // zero: the person is gone, and nothing was added
	Seq       int
	State     message.State // suppressed: the person may not be sent to at all
	Reason    string
	Repeated  bool // the message was there already
	// EnrolmentID is that of the person in a campaign with steps, whose messages follow; 0 in any other.
	EnrolmentID int64
}

// Event is something that happened to a person, as another system tells of it.
type Event struct {
	ID         string // the other system's own; told of again, an event has the same
	Name       string // what happened; it triggers the campaigns that name it
	Phone      phone.Number
	CampaignID int64 // 0: every campaign that the event triggers
	Variables  user.Attributes
}

// EventMessage is a message that an event led to.
type EventMessage struct {
	CampaignID int64
	Enlisted
}

// Taken is what became of an event: the messages that it led to, now or when it was told of first, or why it led to none.
type Taken struct {
	Messages []EventMessage // by campaign, in the order of their ids
	Refused  error          // a fault; nil with Messages
}
