package twilio

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

// Callback is Twilio's news of a message that we sent.
type Callback struct {
	AttemptID  uuid.UUID // from the callback's URL; uuid.Nil when it carries none
	AccountSID string
	SID        string
	Status     string // Twilio's word, in lower case
	// State is the engine's word for Status; empty for a status that it does not know, which is news of nothing.
	State        message.State
	Channel      message.Channel // empty, like From and To, when Twilio gave an address we cannot read
	From, To     string          // E.164
	ErrorCode    int             // 0 when there is none or it is no number
	RawErrorCode string          // as it came
	EventType    string          // READ with a read receipt
	Detail       string          // what the channel says of a failure
}

// ParseCallback reads a status callback from the query of its URL and its form. Only a callback that names no message
// is refused: Twilio adds statuses and parameters without notice.
func ParseCallback(query, form url.Values) (Callback, error) {
	cb := Callback{
		AccountSID:   form.Get("AccountSid"),
		SID:          first(form, "MessageSid", "SmsSid"),
		Status:       strings.ToLower(first(form, "MessageStatus", "SmsStatus")),
		RawErrorCode: form.Get("ErrorCode"),
		EventType:    form.Get("EventType"),
		Detail:       first(form, "ChannelStatusMessage", "ErrorMessage"),
	}
	if cb.SID == "" {
		return Callback{}, fault.Refuse("MessageSid", "is missing")
	}
	if id, err := uuid.Parse(query.Get("attempt")); err == nil {
		cb.AttemptID = id
	}
	cb.State, _ = CarrierState(cb.Status)
	if code, err := strconv.Atoi(cb.RawErrorCode); err == nil && code > 0 {
		cb.ErrorCode = code
	}
	if channel, to, err := ParseAddress(form.Get("To")); err == nil {
		cb.Channel, cb.To = channel, to
	}
	if channel, from, err := ParseAddress(form.Get("From")); err == nil {
		cb.Channel, cb.From = channel, from
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

// Inbound is a message that a person wrote to us.
type Inbound struct {
	AccountSID    string
	SID           string
	Channel       message.Channel
	From, To      string // E.164
	Body          string
	ButtonText    string // the label of the button that was pressed
	ButtonPayload string // what the template put behind that button
	OptOutType    string // STOP, START or HELP when Twilio itself has already answered the keyword
	NumMedia      int
	WaID          string // WhatsApp's own id of the person: digits, not always those of the number
	ProfileName   string
	MessageType   string // text, button, interactive, image, …
}

// ParseInbound reads an inbound webhook's form. It refuses a message without SID, and one whose sender or receiver
// is not a phone number on a channel we know.
func ParseInbound(form url.Values) (Inbound, error) {
	in := Inbound{
		AccountSID:    form.Get("AccountSid"),
		SID:           first(form, "MessageSid", "SmsMessageSid", "SmsSid"),
		Body:          form.Get("Body"),
		ButtonText:    form.Get("ButtonText"),
		ButtonPayload: form.Get("ButtonPayload"),
		OptOutType:    strings.ToUpper(form.Get("OptOutType")),
		WaID:          form.Get("WaId"),
		ProfileName:   form.Get("ProfileName"),
		MessageType:   form.Get("MessageType"),
	}
	var refused []fault.Field
	if in.SID == "" {
		refused = append(refused, fault.Field{Name: "MessageSid", Detail: "is missing"})
	}
	var err error
	if in.Channel, in.From, err = ParseAddress(form.Get("From")); err != nil {
		refused = append(refused, fault.Field{Name: "From", Detail: err.Error()})
	}
	var toChannel message.Channel
	if toChannel, in.To, err = ParseAddress(form.Get("To")); err != nil {
		refused = append(refused, fault.Field{Name: "To", Detail: err.Error()})
	} else if in.Channel != "" && toChannel != in.Channel {
		refused = append(refused, fault.Field{Name: "To", Detail: "is on another channel than From"})
	}
	if err := fault.Fields(refused...); err != nil {
		return Inbound{}, err
	}
	if n, err := strconv.Atoi(form.Get("NumMedia")); err == nil && n > 0 {
		in.NumMedia = n
	}
	return in, nil
}

func first(form url.Values, names ...string) string {
	for _, name := range names {
		if v := form.Get(name); v != "" {
			return v
		}
	}
	return ""
}
