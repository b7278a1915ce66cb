package report

import (
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/user"
)

// Occurrence is one thing that happened with a person. Exactly one of Consent, Topic, Message and Inbound is set.
type Occurrence struct {
	At    time.Time
	Place string // its place among what happened at the same time

	Consent *user.Event
	Topic   *user.Subscription
	Message *PersonMessage
	Inbound *Inbound // without Phone
}

// PersonMessage is a message of a campaign to the person; At is when the provider took it, else when it ended, else when it
// was planned.
type PersonMessage struct {
	ID         uuid.UUID
	CampaignID int64
	Campaign   string // its topic
	Channel    message.Channel
	State      message.State
	Reason     string
	ErrorCode  int // 0 for none
}

// PersonCounts is how much a person's timeline holds.
type PersonCounts struct {
	Decisions int // of consent and subscriptions
	Messages  int
	Waiting   int // messages pending or being sent; part of Messages
	Inbound   int
}

// Total is the length of the timeline.
func (c PersonCounts) Total() int { return c.Decisions + c.Messages + c.Inbound }
