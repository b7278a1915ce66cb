package twilio

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

// Callback is Twilio's news of a message that we sent.
type Callback struct {
	AttemptID uuid.UUID // from the callback's URL; uuid.Nil when it carries none
	SID       string
	Status    string // Twilio's word, in lower case
	// State is the engine's word for Status; empty for a status that it does not know, which is news of nothing.
	State     message.State
	To        string // E.164; empty when Twilio gave an address we cannot read
	ErrorCode int    // 0 when there is none or it is no number
}

// ParseCallback reads a status callback from the query of its URL and its form. Only a callback that names no message
// is refused: Twilio adds statuses and parameters without notice.
func ParseCallback(query, form url.Values) (Callback, error) {
	cb := Callback{
		SID:    cmp.Or(form.Get("MessageSid"), form.Get("SmsSid")),
		Status: strings.ToLower(cmp.Or(form.Get("MessageStatus"), form.Get("SmsStatus"))),
	}
	if cb.SID == "" {
		return Callback{}, fault.Refuse("MessageSid", "is missing")
	}
	if id, err := uuid.Parse(query.Get("attempt")); err == nil {
		cb.AttemptID = id
	}
	cb.State, _ = CarrierState(cb.Status)
	if code, err := strconv.Atoi(form.Get("ErrorCode")); err == nil && code > 0 {
		cb.ErrorCode = code
	}
	if _, to, err := ParseAddress(form.Get("To")); err == nil {
		cb.To = to
	}
	return cb, nil
}

// CarrierState is the engine's word for a status of Twilio's. Everything before the message left Twilio is accepted.
// The engine itself never cancels at Twilio, so what someone cancelled there has failed.
func CarrierState(status string) (state message.State, known bool) {
	switch status {
	case "accepted", "scheduled", "queued", "sending":
		return message.Accepted, true
	case "sent":
		return message.Sent, true
	case "delivered", "partially_delivered":
		return message.Delivered, true
	case "read":
		return message.Read, true
	case "failed", "canceled":
		return message.Failed, true
	case "undelivered":
		return message.Undelivered, true
	}
	return "", false
}
