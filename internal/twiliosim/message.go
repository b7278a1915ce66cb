package twiliosim

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// The directions of a message, in Twilio's words.
const (
	directionAPI     = "outbound-api"
	directionReply   = "outbound-reply"
	directionInbound = "inbound"
)

// record is a message as the simulator keeps it. Its whole future is decided when it is accepted: where it stands at
// some moment follows from its steps, so nothing has to be written while it travels.
type record struct {
	Ordinal          int           `json:"n"` // counts all messages from 1
	SID              string        `json:"sid"`
	Direction        string        `json:"direction"`
	From             string        `json:"from"` // an address: E.164 with the channel's prefix
	To               string        `json:"to"`
	Body             string        `json:"body,omitempty"`
	ContentSID       string        `json:"content_sid,omitempty"`
	ContentVariables string        `json:"content_variables,omitempty"`
	NumMedia         int           `json:"num_media,omitempty"`
	StatusCallback   string        `json:"status_callback,omitempty"`
	Validity         time.Duration `json:"validity,omitempty"`
	Steps            []step        `json:"steps"`
	Callbacks        []callback    `json:"callbacks,omitempty"`
	Dropped          int           `json:"dropped,omitempty"` // callbacks that a fault keeps from ever being sent

	deleted  bool
	redacted bool
	place    place // in the journal
	queued   int   // how many of its callbacks have been put into the queue
}

// redact takes its text out of the message.
func (r *record) redact() { r.Body, r.ContentVariables = "", "" }

// forget takes out of the message what tells of a person: its text, and their number.
func (r *record) forget() {
	r.redact()
	if r.Direction == directionInbound {
		r.From = ""
	} else {
		r.To = ""
	}
}

// step is a status and the moment from which the message has it.
type step struct {
	Status string    `json:"status"`
	At     time.Time `json:"at"`
	Code   int       `json:"code,omitempty"`
}

// callback is one delivery of a step to the status callback. A doubled receipt is two of them.
type callback struct {
	Step step      `json:"step"`
	Due  time.Time `json:"due"`

	settled   bool // delivered, given up or withdrawn
	delivered bool // answered with success
}

// created is the moment of acceptance.
func (r *record) created() time.Time { return r.Steps[0].At }

// at is the step the message has reached by now.
func (r *record) at(now time.Time) step {
	reached := r.Steps[0]
	for _, s := range r.Steps[1:] {
		if s.At.After(now) {
			break
		}
		reached = s
	}
	return reached
}

// sent is when the message left, zero while it has not.
func (r *record) sent(now time.Time) time.Time {
	for _, s := range r.Steps {
		if s.At.After(now) {
			break
		}
		if s.Status == "sent" || s.Status == "received" {
			return s.At
		}
	}
	return time.Time{}
}

// cancelable reports whether the message has not left yet.
func (r *record) cancelable(now time.Time) bool {
	switch r.at(now).Status {
	case "accepted", "queued", "scheduled":
		return r.Direction != directionInbound
	}
	return false
}

// ended reports whether nothing more will happen to the message.
func (r *record) ended(now time.Time) bool { return !r.Steps[len(r.Steps)-1].At.After(now) }

const (
	whatsAppPrefix = "whatsapp:"
	apiVersion     = "2010-04-01"
)

func channelOf(address string) string {
	if strings.HasPrefix(address, whatsAppPrefix) {
		return "whatsapp"
	}
	return "sms"
}

func numberOf(address string) string { return strings.TrimPrefix(address, whatsAppPrefix) }

func addressOn(channel, number string) string {
	if channel == "whatsapp" {
		return whatsAppPrefix + number
	}
	return number
}

func isE164(number string) bool {
	if len(number) < 8 || len(number) > 16 || number[0] != '+' || number[1] == '0' {
		return false
	}
	return strings.Trim(number[1:], "0123456789") == ""
}

// resource is a message as Twilio's API shows it.
type resource struct {
	AccountSID          string            `json:"account_sid"`
	APIVersion          string            `json:"api_version"`
	Body                string            `json:"body"`
	DateCreated         string            `json:"date_created"`
	DateSent            *string           `json:"date_sent"`
	DateUpdated         string            `json:"date_updated"`
	Direction           string            `json:"direction"`
	ErrorCode           *int              `json:"error_code"`
	ErrorMessage        *string           `json:"error_message"`
	From                string            `json:"from"`
	MessagingServiceSID *string           `json:"messaging_service_sid"`
	NumMedia            string            `json:"num_media"`
	NumSegments         string            `json:"num_segments"`
	Price               *string           `json:"price"`
	PriceUnit           string            `json:"price_unit"`
	SID                 string            `json:"sid"`
	Status              string            `json:"status"`
	SubresourceURIs     map[string]string `json:"subresource_uris"`
	To                  string            `json:"to"`
	URI                 string            `json:"uri"`
}

func (r *record) resource(account string, now time.Time) resource {
	path := "/" + apiVersion + "/Accounts/" + account + "/Messages/" + r.SID
	reached := r.at(now)
	res := resource{
		AccountSID:      account,
		APIVersion:      apiVersion,
		Body:            r.Body,
		DateCreated:     rfc2822(r.created()),
		DateUpdated:     rfc2822(reached.At),
		Direction:       r.Direction,
		From:            r.From,
		NumMedia:        strconv.Itoa(r.NumMedia),
		NumSegments:     strconv.Itoa(segments(r)),
		PriceUnit:       "USD",
		SID:             r.SID,
		Status:          reached.Status,
		SubresourceURIs: map[string]string{"media": path + "/Media.json"},
		To:              r.To,
		URI:             path + ".json",
	}
	if sent := r.sent(now); !sent.IsZero() {
		s := rfc2822(sent)
		res.DateSent = &s
	}
	if reached.Code != 0 {
		text := explain(reached.Code)
		res.ErrorCode, res.ErrorMessage = &reached.Code, &text
	}
	return res
}

func rfc2822(t time.Time) string { return t.UTC().Format(time.RFC1123Z) }

// segments counts what an SMS is billed as; every other channel has one.
func segments(r *record) int {
	if channelOf(r.From) != "sms" {
		return 1
	}
	length, single, part := len(r.Body), 160, 153
	if strings.ContainsFunc(r.Body, func(c rune) bool { return c > 127 }) {
		length, single, part = len(utf16.Encode([]rune(r.Body))), 70, 67
	}
	if length <= single {
		return 1
	}
	return (length + part - 1) / part
}
