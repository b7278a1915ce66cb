package campaign

import (
	"regexp"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

// Trigger says what starts a campaign's messages.
type Trigger string

// The triggers.
const (
	ByOperator    Trigger = "manual"       // somebody triggers it, for its whole audience at once
	OnEvent       Trigger = "event"        // an event of that name, for the person whom the event names
	OnKeyword     Trigger = "keyword"      // a message that is that word, for whoever wrote it
	OnUserCreated Trigger = "user_created" // somebody new, for them
	OnInvitation  Trigger = "invitation"   // somebody is to be asked for their consent, for them
)

// Triggers lists every trigger.
func Triggers() []Trigger {
	return []Trigger{ByOperator, OnEvent, OnKeyword, OnUserCreated, OnInvitation}
}

// PerPerson reports whether messages are started for one person at a time. Such a campaign has no audience of its own.
func (t Trigger) PerPerson() bool { return t != ByOperator && t != "" }

// Describe says in words to whom a message is started, and when.
func (t Trigger) Describe(name string) string {
	switch t {
	case OnEvent:
		return "whom an event " + name + " names"
	case OnKeyword:
		return "whoever writes “" + name + "”"
	case OnUserCreated:
		return "everybody who is added as a user"
	case OnInvitation:
		return "whoever is invited to give their consent"
	default:
		return "the whole audience, when somebody triggers it"
	}
}

// RunKind is the kind of run that such a campaign is carried out by.
func (t Trigger) RunKind() Kind {
	if t.PerPerson() {
		return ByEvent
	}
	return ByTrigger
}

// eventName is what an event may be called.
var eventName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$`)

// CheckEventName refuses a name that no event has. field names the input in the fault.
func CheckEventName(field, name string) error {
	if !eventName.MatchString(name) {
		return fault.Refuse(field, "must be 1 to 100 of letters, digits and . _ : / -, such as order.shipped")
	}
	return nil
}

// checkTrigger refuses a trigger that nothing could set off.
func (c Campaign) checkTrigger(refuse func(field, format string, args ...any)) {
	switch c.Trigger {
	case OnEvent:
		if CheckEventName("", c.TriggerName) != nil {
			refuse("trigger_name", "must name the event: 1 to 100 of letters, digits and . _ : / -, such as order.shipped")
		}
	case OnKeyword:
		switch word := user.Keyword(c.TriggerName); {
		case word == "" || word != c.TriggerName:
			refuse("trigger_name", "must be the keyword: up to %d letters and digits, in words", user.MaxKeyword)
		case user.Reserved(word):
			refuse("trigger_name", "is a word that stops or starts all messages, or asks for help: it means nothing else")
		}
	case "", ByOperator, OnUserCreated, OnInvitation:
		if c.TriggerName != "" {
			refuse("trigger_name", "names an event or a keyword: leave it out with any other trigger")
		}
	default:
		refuse("trigger", "must be one of %v", Triggers())
	}
	if c.Trigger == OnInvitation && c.SubscriptionTopicID != nil {
		refuse("subscription_topic_id", "restricts a campaign to subscribers: whoever is invited has agreed to nothing yet")
	}
}

// refuseForPerson refuses what is about an audience as a whole.
func (c Campaign) refuseForPerson(refuse func(field, format string, args ...any)) {
	for _, field := range []struct {
		name  string
		given bool
	}{
		{"segment_id", c.SegmentID != nil},
		{"segment_query", len(c.SegmentQuery) > 0},
		{"canary_percent", c.Canary != 0},
		{"schedule_time", c.ScheduleTime != nil},
		{"schedule_local_time", !c.LocalTime.IsZero()},
		{cronField, !c.Recurrence.IsZero()},
		{"start_within_minutes", c.StartWithin != 0},
	} {
		if field.given {
			refuse(field.name, "is about an audience: what triggers this campaign names its people one by one")
		}
	}
}
