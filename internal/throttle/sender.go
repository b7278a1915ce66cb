package throttle

import (
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
)

// Sender is one of our own addresses, and how fast it sends.
type Sender struct {
	ID               int64
	Channel          message.Channel
	Address          phone.Number
	Limit            Limit // its Next is not known
	CampaignsRunning int   // RUNNING campaigns that send from it
	// Portfolio is the business portfolio of a WhatsApp sender, "" for other channels. MessagingLimit is how many people it may
	// reach through all its senders within 24 hours outside their service window, nil for any number; Reached is how many
	// count towards that now.
	Portfolio      string
	MessagingLimit *int
	Reached        int
}

// DefaultRate is how many messages a second a new sender of the channel may send.
func DefaultRate(channel message.Channel) int {
	if channel == message.SMS {
		return 10
	}
	return 80
}
