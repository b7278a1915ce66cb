package ui

import (
	"fmt"
	"strings"
)

// reasons say in words why a message waits, or why it was not sent, or what stopped a campaign. Reasons that are not here
// are shown as they are stored.
var reasons = map[string]string{
	"":                   "their turn at the campaign’s rate",
	"no_consent":         "never agreed to messages, or it is not known",
	"opted_out":          "opted out",
	"stopped":            "said STOP",
	"suppressed":         "the number is on the list of suppressions",
	"not_subscribed":     "not subscribed to the campaign’s topic",
	"already_agreed":     "agreed already",
	"schedule":           "the campaign’s time on their own clock",
	"schedule_passed":    "their own clock had passed the campaign’s time",
	"excluded":           "in a segment that the campaign leaves out",
	"quiet_hours":        "the end of quiet hours where they are",
	"legal_window":       "the hours that the law of their place allows",
	"no_sending_window":  "quiet hours and law leave no common minute",
	"pair_rate":          "another message was sent to them just now",
	"frequency_cap":      "had as many messages as a cap allows",
	"messaging_tier":     "a place among the people who may be reached in a day",
	"missing_variable":   "a value that the text needs is missing",
	"empty_body":         "their text would be empty",
	"too_long":           "their text would be too long",
	"invalid_variable":   "a value that WhatsApp takes in no template",
	"outside_window":     "did not write within 24 hours, and the campaign sends only free text",
	"us_marketing":       "WhatsApp delivers no marketing to the United States",
	"template_approval":  "the approval of the template",
	"template_refused":   "the template was refused: change it, or cancel",
	"rate_limit":         "the rate limit",
	"paused":             "the campaign to be resumed",
	"provider_retry":     "a new attempt after an error that passes",
	"provider_busy":      "the provider, which asked for fewer requests",
	"attempts_spent":     "no attempt is left",
	"provider_error":     "the provider’s error",
	"unresolved":         "the provider’s list did not tell",
	"ambiguous_match":    "two messages on the provider’s list fit",
	"campaign_cancelled": "the campaign was cancelled",
	"replied":            "wrote, which ends the campaign’s steps",
	"reply_too_late":     "what it answers was written too long ago",
	"reply_outdated":     "said something else since",
	"decided_sent":       "somebody decided that it was sent",
	"user_erased":        "the person was erased",
	"carrier_opt_out":    "the carrier says that they do not want messages",
	"campaign_fault":     "credentials, sender or template are at fault",
}

// reasonText puts a stored reason in words.
func reasonText(reason any) string {
	key := fmt.Sprint(reason)
	if text, known := reasons[key]; known {
		return text
	}
	return strings.ReplaceAll(key, "_", " ")
}
