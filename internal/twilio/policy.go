package twilio

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/internal/message"
)

// The codes that an HTTP status stands for when an answer has none.
const (
	codeCredentials = 20003
	codeNotFound    = 20404
	codeThrottled   = 20429
)

// codeUnfinished refuses to remove a message that is still on its way.
const codeUnfinished = 20009

// codeNotForUS is Meta's refusal to deliver a marketing message: a matter of time everywhere but in the United
// States, where no such message is delivered at all.
const codeNotForUS = 63049

// PolicyOf says what the engine does about one of Twilio's error codes. A code that is not in the table is Permanent:
// it fails one message and is counted, and is never tried again blindly.
func PolicyOf(code int) message.Policy {
	if policy, ok := policies[code]; ok {
		return policy
	}
	return permanent("Twilio refused the message for a reason that the engine does not know")
}

// PolicyIn is PolicyOf for a recipient of a region (ISO 3166, empty when unknown): one code means another thing in the
// United States.
func PolicyIn(region string, code int) message.Policy {
	if code == codeNotForUS && region == "US" {
		return permanent("Meta delivers no marketing messages to numbers of the United States")
	}
	return PolicyOf(code)
}

// Policies yields the table in ascending order of codes.
func Policies() iter.Seq2[int, message.Policy] {
	return func(yield func(int, message.Policy) bool) {
		for _, code := range slices.Sorted(maps.Keys(policies)) {
			if !yield(code, policies[code]) {
				return
			}
		}
	}
}

func permanent(meaning string) message.Policy {
	return message.Policy{Class: message.Permanent, Meaning: meaning}
}

func optOut(meaning string) message.Policy {
	return message.Policy{Class: message.OptOut, Meaning: meaning}
}

func stop(scope message.Scope, meaning string) message.Policy {
	return message.Policy{Class: message.Stop, Scope: scope, Meaning: meaning}
}

func retry(delay time.Duration, retries int, meaning string) message.Policy {
	return message.Policy{Class: message.Retry, Delay: delay, Retries: retries, Meaning: meaning}
}

// tooFast is retry for a code that asks for fewer messages.
func tooFast(delay time.Duration, retries int, meaning string) message.Policy {
	p := retry(delay, retries, meaning)
	p.Slows = true
	return p
}

func uncertain(meaning string) message.Policy {
	return message.Policy{Class: message.Uncertain, Meaning: meaning}
}

const day = 24 * time.Hour

// How far the faults of class Stop reach.
const (
	campaign = message.ScopeCampaign
	sender   = message.ScopeSender
	account  = message.ScopeAccount
)

// unreachable is the policy of a request that certainly never left us.
var unreachable = retry(2*time.Second, 20, "Twilio could not be reached")

// policies is the error table. A code is Stop when the fault is the operator's and every further message would meet
// it too, whether of the campaign, of its sender or of the account; Permanent when it is the recipient's or passes with
// the recipient; Retry when time alone may cure it.
var policies = map[int]message.Policy{
	// The account and the API.
	codeCredentials: stop(account, "The credentials are wrong or the account is suspended"),
	codeNotFound:    stop(account, "The account does not exist at the configured address"),
	codeThrottled:   tooFast(time.Second, 20, "Too many requests at once; Twilio did not process this one"),
	20500:           uncertain("Twilio had an internal error; the message may have been accepted"),
	20503:           uncertain("Twilio was unavailable; the message may have been accepted"),

	// Refused at once: the request.
	21601: stop(sender, "The sender cannot send messages or media"),
	21602: stop(campaign, "The message has no text"),
	21603: stop(campaign, "The message names no sender"),
	21604: stop(campaign, "The message names no recipient"),
	21605: stop(campaign, "The text is too long"),
	21609: stop(account, "The status callback's address is not valid"),
	21617: stop(campaign, "The text has more than 1,600 characters"),
	21619: stop(campaign, "The message has neither text nor media"),
	21620: stop(campaign, "The media address is not valid"),
	21623: stop(campaign, "The message has too many media"),
	21654: stop(campaign, "Content variables were given without a Content template"),
	21655: stop(campaign, "The Content template does not exist, or its SID is not valid"),
	21656: permanent("The recipient's Content variables are not valid"),
	21658: permanent("The recipient's Content variables are too long"),
	21910: stop(campaign, "Sender and recipient are on different channels"),
	90007: stop(campaign, "The validity period is out of range"),

	// Refused at once: the sender.
	21212: stop(sender, "The sender is not a valid number"),
	21606: stop(sender, "The sender is not a number of this account that can send messages"),
	21611: tooFast(5*time.Minute, 5, "The sender's queue is full"),
	21657: stop(sender, "The sender is not valid on this channel"),
	21701: stop(sender, "The Messaging Service does not exist"),
	21703: stop(sender, "The Messaging Service has no sender for this recipient"),
	21705: stop(sender, "The Messaging Service is not valid"),

	// Refused at once: the recipient.
	21211: permanent("The recipient's number is not valid"),
	21408: permanent("The account may not send to the recipient's country"),
	21608: permanent("A trial account may only send to numbers it has verified"),
	21610: optOut("The recipient has replied STOP"),
	21612: permanent("The recipient cannot be reached from this sender"),
	21614: permanent("The recipient's number is not a mobile number"),

	// Reported later: Twilio and the carriers.
	14107: retry(time.Minute, 1, "Too many replies between the two numbers"),
	30001: tooFast(5*time.Minute, 5, "The sender's queue overflowed"),
	30002: stop(account, "The account was suspended"),
	30003: retry(2*time.Hour, 2, "The handset is switched off or out of reach"),
	30004: optOut("The recipient or the carrier blocks messages"),
	30005: permanent("The number is unknown or no longer in use"),
	30006: permanent("The number is a landline or its carrier takes no messages"),
	30007: permanent("A carrier filtered the message as unwanted"),
	30008: retry(5*time.Minute, 1, "The carrier gave no reason"),
	30010: permanent("The message would cost more than the account allows"),
	30022: tooFast(time.Minute, 5, "The sender exceeded its registered rate"),
	30023: retry(day, 1, "The sender reached the carrier's daily limit"),
	30024: stop(sender, "The sender is not provisioned yet"),
	30027: retry(day, 1, "The sender reached the carrier's daily limit"),
	30034: stop(sender, "The sender is not registered for the United States"),
	30035: stop(sender, "The sender's registration is not complete"),
	30036: retry(time.Minute, 2, "The message waited at Twilio longer than it was valid"),
	30047: retry(10*time.Minute, 2, "Twilio could not put the message off to a permitted hour"),
	30410: retry(5*time.Minute, 1, "A carrier did not answer in time"),
	30450: retry(30*time.Minute, 1, "Twilio suspects fraud and blocks the number's range for a while"),

	// Reported later: WhatsApp and other channels.
	63001: stop(sender, "The channel did not accept the sender's credentials"),
	63002: stop(sender, "The channel does not know the sender"),
	63003: permanent("The channel does not know the recipient"),
	63005: stop(campaign, "The channel did not accept the content"),
	63007: stop(sender, "The account has no such sender on this channel"),
	63010: retry(30*time.Second, 3, "The platform had an internal error"),
	63012: retry(30*time.Second, 3, "The channel had an internal error"),
	63013: permanent("The message violates the channel's policy"),
	63014: optOut("The recipient has blocked the sender"),
	63015: permanent("The recipient has not joined the sandbox"),
	63016: {Class: message.Window, Retries: 1, Delay: time.Second, Meaning: "Free text is allowed only within 24 hours of the recipient's last message"},
	63017: tooFast(5*time.Second, 10, "The account sends more than 2,000 messages a second"),
	63018: tooFast(30*time.Second, 5, "The sender exceeded its rate or its daily number of recipients"),
	63019: retry(time.Minute, 1, "The media could not be downloaded"),
	63020: stop(sender, "The business account at Meta needs attention"),
	63021: stop(campaign, "The channel refused the content"),
	63022: stop(sender, "The sender's display name is not certified"),
	63024: permanent("The recipient is not on WhatsApp"),
	63026: stop(sender, "The sender was flagged as unwanted"),
	63027: stop(campaign, "The template does not exist in this language"),
	63028: stop(campaign, "The template takes another number of variables"),
	63029: retry(time.Minute, 1, "The recipient's phone could not load the template"),
	63030: stop(campaign, "The channel does not support this content"),
	63032: permanent("The recipient takes part in an experiment of Meta's that excludes marketing messages"),
	63033: optOut("The recipient does not want marketing messages"),
	63037: retry(time.Minute, 1, "The media could not be uploaded"),
	63038: retry(day, 1, "The account reached its daily limit"),
	63040: stop(campaign, "The template was rejected"),
	63041: stop(campaign, "The template is paused"),
	63042: stop(campaign, "The template is disabled"),
	// Region decides: see PolicyIn.
	codeNotForUS: retry(day, 2, "Meta chose not to deliver this marketing message now"),
	63051:        stop(account, "The business account at Meta is locked"),
	63062:        stop(account, "The terms of Meta's Marketing Messages API are not accepted"),
}
