package user

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

// InvitationRules say how people are asked for their consent.
type InvitationRules struct {
	ConfirmWithin time.Duration // whole hours after the provider took the invitation; a later answer is no consent
	InviteAgain   time.Duration // whole days: nobody is invited more often
	Words         []string      // that confirm besides those that always do, as Keyword writes them
}

// Bounds of the rules.
const (
	MaxConfirmWithin = 30 * 24 * time.Hour  // at least an hour
	MaxInviteAgain   = 365 * 24 * time.Hour // at least a day
	MaxConfirmWords  = 100
)

// Check refuses rules that could not be kept, and writes the words as messages are compared with them.
func (r *InvitationRules) Check() error {
	var refused []fault.Field
	refuse := func(field, format string, args ...any) {
		refused = append(refused, fault.Field{Name: field, Detail: fmt.Sprintf(format, args...)})
	}
	if r.ConfirmWithin < time.Hour || r.ConfirmWithin > MaxConfirmWithin {
		refuse("confirm_within_hours", "must be from 1 to %d", int(MaxConfirmWithin.Hours()))
	}
	if r.InviteAgain < 24*time.Hour || r.InviteAgain > MaxInviteAgain {
		refuse("invite_again_after_days", "must be from 1 to %d", int(MaxInviteAgain.Hours()/24))
	}
	if len(r.Words) > MaxConfirmWords {
		refuse("words", "must be at most %d words", MaxConfirmWords)
	}
	words := make([]string, len(r.Words))
	for i, w := range r.Words {
		field := fmt.Sprintf("words[%d]", i)
		word := Keyword(w)
		words[i] = word
		switch before := slices.Index(words[:i], word); {
		case word == "":
			refuse(field, "must be 1 to %d letters and digits, in words", MaxKeyword)
		case Reserved(word):
			refuse(field, "is a word that stops or starts all messages, or asks for help: it means nothing else")
		case before >= 0:
			refuse(field, "is the same as words[%d]", before)
		}
	}
	r.Words = words
	return fault.Fields(refused...)
}

// Confirms finds out whether a message that asks for nothing else says yes to an invitation. buttonText is the label of a
// tapped button, "" for none.
func (r InvitationRules) Confirms(body, buttonText string) (Intent, bool) {
	for _, part := range []string{buttonText, body} {
		if len(part) > maxKeywordBytes {
			continue
		}
		text := normalise(part)
		if intent, ok := confirmIntents[text]; ok {
			return intent, true
		}
		if text != "" && slices.Contains(r.Words, text) {
			return Intent{Action: ActionStart, Keyword: text}, true
		}
	}
	return Intent{}, false
}

// Refuse says why somebody may not be invited at that moment; nil when they may. invitedAt is when they were last; zero
// for never.
func (r InvitationRules) Refuse(consent ConsentState, suppressed bool, invitedAt, now time.Time) error {
	switch {
	case consent == OptIn:
		return fault.New(fault.Conflict, "this person has agreed already")
	case consent == Stop:
		return fault.New(fault.Conflict, "this person said STOP: they are not written to unless they write START themselves")
	case consent == OptOut:
		return fault.New(fault.Conflict, "this person declined: they are not invited")
	case suppressed:
		return fault.New(fault.Conflict, "this person's number is on the list of suppressions")
	case !invitedAt.IsZero() && invitedAt.Add(r.InviteAgain).After(now):
		return fault.New(fault.Conflict, "this person was invited at %s, and may be invited again from %s on",
			invitedAt.UTC().Format(time.RFC3339), invitedAt.Add(r.InviteAgain).UTC().Format(time.RFC3339))
	default:
		return nil
	}
}

// Invitation is a message that asks its person for consent.
type Invitation struct {
	MessageID    uuid.UUID
	CampaignID   int64
	State        message.State
	Reason       string     // why it waits, or was not sent; "" for none
	WaitsUntil   *time.Time // with a reason on a pending one
	Evidence     string     // why the person was invited
	Actor        string     // who had them invited
	CreatedAt    time.Time
	ConfirmUntil *time.Time // nil before the provider took it
	ConfirmedAt  *time.Time // nil: not confirmed
}
