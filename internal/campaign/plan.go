package campaign

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

// Template is what a campaign's overview tells of its template.
type Template struct {
	ID      int64
	Name    string
	Channel message.Channel
	Version int // the newest
}

// Overview is a campaign together with what it sends and how far it came.
type Overview struct {
	Campaign
	Template Template
	Run      *Run // the newest; nil before the first
}

// Began returns the moment from which the run could send: when it was triggered, or the time it was scheduled for;
// nil while that lies ahead.
func (r Run) Began(now time.Time) *time.Time {
	began := r.StartedAt
	if r.NotBefore != nil && r.NotBefore.After(began) {
		began = *r.NotBefore
	}
	if began.After(now) {
		return nil
	}
	return &began
}

const maxTopic = 100 // characters

// Check refuses a plan that cannot be carried out, and names every refused field. Quiet hours were checked when they
// were read, and what the campaign refers to is looked up elsewhere.
func (c Campaign) Check(now time.Time) error {
	var refused []fault.Field
	refuse := func(field, format string, args ...any) {
		refused = append(refused, fault.Field{Name: field, Detail: fmt.Sprintf(format, args...)})
	}
	if n := utf8.RuneCountInString(c.Topic); strings.TrimSpace(c.Topic) == "" || n > maxTopic || strings.ContainsRune(c.Topic, 0) {
		refuse("topic", "must be a text of 1 to %d characters", maxTopic)
	}
	if c.TemplateID <= 0 {
		refuse("template_id", "must name a template")
	}
	switch {
	case c.SegmentID == nil && len(c.SegmentQuery) == 0:
		refuse("segment_id", "a campaign needs an audience: give segment_id or segment_query")
	case c.SegmentID != nil && len(c.SegmentQuery) > 0:
		refuse("segment_query", "give either segment_id or segment_query, not both")
	}
	if c.RatePerSecond < 1 || c.RatePerSecond > MaxRate {
		refuse("rate_limit_per_second", "must be from 1 to %d", MaxRate)
	}
	if _, err := time.LoadLocation(c.Timezone); err != nil || c.Timezone == "" || strings.EqualFold(c.Timezone, "local") {
		refuse("timezone", "must be an IANA time zone such as Asia/Colombo")
	}
	if c.ScheduleTime != nil && !c.ScheduleTime.After(now) {
		refuse("schedule_time", "must be in the future; leave it out to start at once")
	}
	return fault.Fields(refused...)
}

// Edit returns what c becomes when its plan is replaced by that of to. A draft may be changed freely; while a run is
// under way only the rate may, and nothing afterwards.
func (c Campaign) Edit(to Campaign, now time.Time) (Campaign, error) {
	if c.Status == Draft {
		edited := to
		edited.ID, edited.SubscriptionTopicID, edited.Status, edited.StatusReason = c.ID, c.SubscriptionTopicID, c.Status, c.StatusReason
		edited.CreatedAt, edited.UpdatedAt = c.CreatedAt, now
		return edited, edited.Check(now)
	}
	if !c.Status.Active() {
		return c, fault.New(fault.Conflict, "a campaign that is %s cannot be changed", c.Status)
	}
	if !c.samePlan(to) {
		return c, fault.New(fault.Conflict, "of a campaign that is %s only rate_limit_per_second can be changed", c.Status)
	}
	if to.RatePerSecond < 1 || to.RatePerSecond > MaxRate {
		return c, fault.Refuse("rate_limit_per_second", "must be from 1 to %d", MaxRate)
	}
	c.RatePerSecond, c.UpdatedAt = to.RatePerSecond, now
	return c, nil
}

// samePlan reports whether two plans differ in their rate at most.
func (c Campaign) samePlan(to Campaign) bool {
	return c.Topic == to.Topic && c.TemplateID == to.TemplateID && equal(c.SegmentID, to.SegmentID) &&
		sameJSON(c.SegmentQuery, to.SegmentQuery) && equal(c.QuietStart, to.QuietStart) && equal(c.QuietEnd, to.QuietEnd) &&
		c.Timezone == to.Timezone && sameTime(c.ScheduleTime, to.ScheduleTime)
}

func equal[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// sameTime compares to the microsecond, which is what is stored.
func sameTime(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Truncate(time.Microsecond).Equal(b.Truncate(time.Microsecond))
}

func sameJSON(a, b json.RawMessage) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
