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
}

// DefaultRate is how many messages a second a new sender of the channel may send.
func DefaultRate(channel message.Channel) int {
	if channel == message.SMS {
		return 10
	}
	return 80
}
