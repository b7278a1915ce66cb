// Package inbound is what people write to us, before and after the engine took it in.
package inbound

import (
	"encoding/json"

	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Message is a message from a person. Its texts are valid UTF-8 without NUL, as PostgreSQL wants them.
type Message struct {
	SID        string // the provider's id; a second delivery has the same
	Channel    message.Channel
	From       phone.Number // "" when the sender is not a phone number
	To         phone.Number // our address; "" when it is not a phone number
	WhatsAppID phone.Number // not always the sender's number; "" when there is none
	Body       string
	ButtonText string // the label of a button that was tapped
	OptOutType string // STOP, START or HELP when the provider has handled, and answered, the keyword
	MediaCount int
	Payload    json.RawMessage // all that came, as an object
}

// Reception is what taking in a message came to. A repeated delivery gives the first one's.
type Reception struct {
	Action  user.Action
	Changed bool // the sender's consent, or a subscription, is another than before
}

// Kind is what operators are told that a message is.
type Kind string

// The kinds of messages.
const (
	Stop  Kind = "stop"
	Start Kind = "start"
	Help  Kind = "help"
	Media Kind = "media" // files without a text
	Text  Kind = "text"

	Subscribe   Kind = "subscribe" // to a topic
	Unsubscribe Kind = "unsubscribe"
)

// KindOf classifies a message by the keyword it was taken for, else by what it holds.
func KindOf(action user.Action, body string, mediaCount int) Kind {
	switch {
	case action != user.ActionNone:
		return Kind(action)
	case body == "" && mediaCount > 0:
		return Media
	}
	return Text
}
