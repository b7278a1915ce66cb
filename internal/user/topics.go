package user

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
)

// Topic is something that people subscribe to. A campaign that names one goes to its subscribers only.
type Topic struct {
	ID          int64
	Keyword     string // what follows SUBSCRIBE in a message; "" when nobody can subscribe by a message
	Name        string // as people and operators read it
	Description string
	CreatedAt   time.Time
}

// Bounds of a topic's texts, in characters.
const (
	maxTopicKeyword     = 50
	maxTopicName        = 100
	maxTopicDescription = 500
)

// Check refuses a topic that cannot be told from others, or whose keyword could not be written in a message.
func (t Topic) Check() error {
	var refused []fault.Field
	refuse := func(field, format string, args ...any) {
		refused = append(refused, fault.Field{Name: field, Detail: fmt.Sprintf(format, args...)})
	}
	if n := utf8.RuneCountInString(t.Name); strings.TrimSpace(t.Name) == "" || n > maxTopicName || strings.ContainsRune(t.Name, 0) {
		refuse("name", "must be a text of 1 to %d characters, and not blank", maxTopicName)
	}
	if utf8.RuneCountInString(t.Description) > maxTopicDescription || strings.ContainsRune(t.Description, 0) {
		refuse("description", "must be a text of at most %d characters", maxTopicDescription)
	}
	switch {
	case t.Keyword == "":
	case utf8.RuneCountInString(t.Keyword) > maxTopicKeyword || topicKeyword(normalise(t.Keyword)) != t.Keyword:
		refuse("keyword", "must be lower-case letters and digits, words joined by hyphens, such as daily-offers; at most %d characters", maxTopicKeyword)
	case Classify("unsubscribe "+t.Keyword, "", "", false).Action != ActionUnsubscribe:
		refuse("keyword", "cannot be used: UNSUBSCRIBE %s asks to stop everything", strings.ToUpper(t.Keyword))
	}
	return fault.Fields(refused...)
}

// topicKeyword writes words, normalised as messages are, as a topic's keyword.
func topicKeyword(words string) string { return strings.ReplaceAll(words, " ", "-") }

// Subscription is what was last said about one person and one topic, and who said so.
type Subscription struct {
	Topic      Topic // ID, Keyword and Name
	Subscribed bool
	Source     Source
	Evidence   string // the SID of a message, or how an operator knows
	Actor      string
	ChangedAt  time.Time
}

// Subscriber is one person of a topic.
type Subscriber struct {
	UserID       int64
	Phone        phone.Number
	Consent      ConsentState // who is not opted in is subscribed, and gets nothing
	SubscribedAt time.Time
}
