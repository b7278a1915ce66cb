// Package message is the life of one message to one person: its states, its attempts at the provider and what their
// outcomes mean. It is pure: it knows neither the database nor the provider.
package message

import (
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Channel is the way a message travels.
type Channel string

// The channels.
const (
	WhatsApp Channel = "whatsapp"
	SMS      Channel = "sms"
)

// Outbound is one request to the provider to send a message.
type Outbound struct {
	AttemptID uuid.UUID // travels in the status callback's URL, so that a callback finds its attempt
	Channel   Channel
	From      string // E.164
	To        string // E.164
	Body      string
	// ContentSID, when it is not empty, names the provider's template that says Body once it is filled with
	// ContentVariables (a JSON object; "" for none): it is sent in place of Body.
	ContentSID       string
	ContentVariables string
	// Validity is how long the provider may hold the message in its queue; whole seconds, 1 s to 10 h.
	Validity time.Duration
	// Lease is the moment after which the request may neither begin nor go on.
	Lease time.Time
}

// Result tells what is known of a request to send after it ended.
type Result string

// The results of a request. Only ResultUnknown leaves open whether the provider holds the message.
const (
	ResultAccepted Result = "accepted" // the provider has it and gave a SID
	ResultRefused  Result = "refused"  // the provider certainly does not have it
	ResultUnknown  Result = "unknown"  // timeout, reset, 5xx, unreadable answer
)

// Outcome is what came of one request to send.
type Outcome struct {
	Result     Result
	SID        string        // the provider's id; with ResultAccepted
	Code       int           // the provider's error code; 0 when it gave none
	HTTPStatus int           // 0 when no answer came
	RetryAfter time.Duration // the provider's wish; 0 when it gave none
	Policy     Policy        // what the engine does about it; with ResultRefused
	Detail     string        // for operators; never holds personal data
}

// Busy reports whether the provider turned the request away at its door, without looking at the message: too many
// requests, or nobody there. That may be repeated for as long as it takes.
func (o Outcome) Busy() bool {
	return o.Result == ResultRefused && (o.HTTPStatus == 0 || o.HTTPStatus == http.StatusTooManyRequests)
}

// Class says what a provider's error means for the engine.
type Class string

// The classes of provider errors.
const (
	Permanent Class = "permanent" // this recipient will not be reached by this message
	Retry     Class = "retry"     // a new attempt after Delay, at most Retries times
	OptOut    Class = "opt_out"   // the recipient does not want messages: record it, never retry
	Stop      Class = "stop"      // the fault is ours (credentials, sender, template): see Scope for what must not go on
	Window    Class = "window"    // free text outside WhatsApp's 24-hour window: a new attempt as a template
	Uncertain Class = "uncertain" // the outcome is unknown and has to be found out
)

// Scope says how far a fault of class Stop reaches: everything in it would meet the fault too.
type Scope string

// The scopes of a fault, each wider than the one before.
const (
	ScopeCampaign Scope = "campaign" // its template or content
	ScopeSender   Scope = "sender"   // every campaign that sends from the same address
	ScopeAccount  Scope = "account"  // every campaign
)

// Policy is what the engine does about a provider's error code.
type Policy struct {
	Class   Class
	Scope   Scope         // with Stop; "" otherwise
	Delay   time.Duration // before the first retry; grows with each
	Retries int           // how many new attempts the code allows; 0 but for Retry and Window
	Slows   bool          // the sender is faster than the provider takes it: it slows down
	Meaning string        // one plain sentence for operators
}

// Advice says in a plain sentence what an operator can do about an error that the engine treats so.
func (p Policy) Advice() string {
	switch p.Class {
	case Retry:
		if p.Slows {
			return "Lower the rate if it lasts. The engine slows the sender down and tries again by itself; retry what failed in the end."
		}
		return "The engine tries again by itself. Retry what failed in the end once the cause has passed."
	case OptOut:
		return "Nothing: these people are recorded as opted out and are not sent to again."
	case Stop:
		switch p.Scope {
		case ScopeAccount:
			return "Mend the account or its credentials at the provider, then resume the campaigns and retry what failed."
		case ScopeSender:
			return "Mend the sender at the provider or configure another one, then resume the campaign and retry what failed."
		default:
			return "Mend the template or the campaign, then retry what failed."
		}
	case Window:
		return "Send an approved template: choose another window policy for the campaign, or give the template a Content SID."
	case Uncertain:
		return "The engine looks for the message at the provider by itself. Decide those that stay unknown."
	default:
		return "Check these people’s numbers and attributes. Trying again as it is will not help."
	}
}

// Remote is a message as the provider's list shows it.
type Remote struct {
	SID       string
	Status    string // the provider's word
	To, From  string // E.164
	Body      string
	Outbound  bool  // sent by our request, not a reply by the provider and not inbound
	State     State // what Status means; "" for nothing new
	ErrorCode int
	Policy    Policy // with an ErrorCode, what the engine does about it
	CreatedAt time.Time
}
