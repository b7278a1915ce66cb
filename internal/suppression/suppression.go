// Package suppression is the list of numbers that are not written to, whoever they belong to. It outlives the people: a
// number is known by its keyed hash alone, so that one who was erased is not written to when they are imported again.
package suppression

import (
	"regexp"
	"strconv"
	"time"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
)

// Scope says what is not sent to a number: global, channel:whatsapp, channel:sms or topic:<id>. The zero value is none.
type Scope string

// Global forbids every message.
const Global Scope = "global"

// OnChannel forbids every message on a channel.
func OnChannel(c message.Channel) Scope { return Scope("channel:" + string(c)) }

// OnTopic forbids the messages of campaigns to the topic's subscribers.
func OnTopic(id int64) Scope { return Scope("topic:" + strconv.FormatInt(id, 10)) }

var scopes = regexp.MustCompile(`^(?:global|channel:(?:whatsapp|sms)|topic:([1-9][0-9]{0,9}))$`)

// ParseScope reads a scope; empty text gives Global. field names the input in the fault.
func ParseScope(field, text string) (Scope, error) {
	if text == "" {
		return Global, nil
	}
	if !scopes.MatchString(text) {
		return "", fault.Refuse(field, "must be global, channel:whatsapp, channel:sms or topic: and its id, such as topic:3")
	}
	return Scope(text), nil
}

// Topic returns the topic that the scope names; 0 for none.
func (s Scope) Topic() int64 {
	found := scopes.FindStringSubmatch(string(s))
	if found == nil {
		return 0
	}
	id, _ := strconv.ParseInt(found[1], 10, 64) // "" for another scope
	return id
}

// Reason is why a number is suppressed.
type Reason string

// The reasons. Erased is the engine's own.
const (
	Complaint     Reason = "complaint"
	DoNotContact  Reason = "do_not_contact" // an official or a company's own list
	InvalidNumber Reason = "invalid_number"
	Legal         Reason = "legal"
	Other         Reason = "other"
	Erased        Reason = "erased" // the person was erased
)

// ParseReason reads a reason that people may give; empty text gives Other.
func ParseReason(field, text string) (Reason, error) {
	switch r := Reason(text); r {
	case "":
		return Other, nil
	case Complaint, DoNotContact, InvalidNumber, Legal, Other:
		return r, nil
	default:
		return "", fault.Refuse(field, "must be one of complaint, do_not_contact, invalid_number, legal, other")
	}
}

// Source says where an entry comes from.
type Source string

// The sources of an entry.
const (
	FromAPI     Source = "api"
	FromImport  Source = "import"  // a row of a file
	FromErasure Source = "erasure" // of the person
)

// New is a number to be suppressed.
type New struct {
	Phone    phone.Number
	Scope    Scope
	Reason   Reason
	Evidence string // for operators; it goes when the person is erased
}

// Entry is a number that is suppressed, or was.
type Entry struct {
	ID             int64
	NumberHMAC     []byte
	KeyID          string
	Scope          Scope
	Phone          phone.Number // "" when nobody known has the number
	Reason         Reason
	Evidence       string
	Source         Source
	Actor          string
	CreatedAt      time.Time
	LiftedAt       *time.Time // nil: in force
	LiftedBy       string
	LiftedEvidence string
}

// Filter selects entries; its zero value selects all that are in force.
type Filter struct {
	Phone      phone.Number
	Scope      Scope
	WithLifted bool
}
