package campaign

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
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

// Planned returns the moment from which the run was to send: its occurrence, its schedule, or when it was triggered.
func (r Run) Planned() time.Time {
	if r.OccurrenceAt != nil {
		return *r.OccurrenceAt
	}
	if r.NotBefore != nil && r.NotBefore.After(r.StartedAt) {
		return *r.NotBefore
	}
	return r.StartedAt
}

// NotBefore returns when a run of the plan may have its audience taken at the earliest; nil is at once.
func (c Campaign) NotBefore() *time.Time {
	if !c.LocalTime.IsZero() {
		first := c.LocalTime.First()
		return &first
	}
	return c.ScheduleTime
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
	case c.Trigger.PerPerson():
		c.refuseForPerson(refuse)
	case c.SegmentID == nil && len(c.SegmentQuery) == 0:
		refuse("segment_id", "a campaign needs an audience: give segment_id or segment_query")
	case c.SegmentID != nil && len(c.SegmentQuery) > 0:
		refuse("segment_query", "give either segment_id or segment_query, not both")
	}
	if len(c.ExcludeSegmentIDs) > MaxExcluded {
		refuse("exclude_segment_ids", "must name at most %d segments", MaxExcluded)
	}
	if c.RatePerSecond < 1 || c.RatePerSecond > MaxRate {
		refuse("rate_limit_per_second", "must be from 1 to %d", MaxRate)
	}
	if c.Priority != "" && !slices.Contains(Priorities(), c.Priority) {
		refuse("priority", "must be %s or %s", Transactional, Bulk)
	}
	if c.FailureThreshold < 0 || c.FailureThreshold > 100 {
		refuse("failure_threshold_percent", "must be from 0 to 100; 0 never pauses the campaign")
	}
	if c.Canary < 0 || c.Canary > MaxCanary {
		refuse("canary_percent", "must be from 0 to %d; 0 sends to everyone at once", MaxCanary)
	}
	if b := c.FrequencyCap; !b.IsZero() && (b.Count < 1 || b.Count > MaxCapCount || b.Days < 1 || b.Days > MaxCapDays) {
		refuse("frequency_cap", "must be from 1 to %d messages within 1 to %d days", MaxCapCount, MaxCapDays)
	}
	if c.WindowPolicy != "" && !slices.Contains(WindowPolicies(), c.WindowPolicy) {
		refuse("window_policy", "must be %s, %s or %s", ByTemplate, ByFreeText, InWindow)
	}
	if _, err := time.LoadLocation(c.Timezone); err != nil || c.Timezone == "" || strings.EqualFold(c.Timezone, "local") {
		refuse("timezone", "must be an IANA time zone such as Asia/Colombo")
	}
	if c.ScheduleTime != nil && !c.ScheduleTime.After(now) {
		refuse("schedule_time", "must be in the future; leave it out to start at once")
	}
	switch {
	case c.LocalTime.IsZero():
	case c.ScheduleTime != nil:
		refuse("schedule_local_time", "give either schedule_time or schedule_local_time, not both")
	case !c.LocalTime.Last().After(now):
		refuse("schedule_local_time", "must be in the future somewhere on Earth; it is over in every time zone")
	}
	if !c.Recurrence.IsZero() && (c.ScheduleTime != nil || !c.LocalTime.IsZero()) {
		refuse(cronField, "give either a recurrence or one time, not both")
	} else if f, ok := errors.AsType[*fault.Fault](c.Recurrence.Check()); ok {
		refused = append(refused, f.Fields...)
	}
	if c.StartWithin != 0 && (c.StartWithin < time.Minute || c.StartWithin > MaxStartWithin || c.StartWithin%time.Minute != 0) {
		refuse("start_within_minutes", "must be from 1 to %d; leave it out to start however late", int(MaxStartWithin.Minutes()))
	}
	c.checkTrigger(refuse)
	c.checkSteps(refuse)
	return fault.Fields(refused...)
}

// part is one field of a plan.
type part struct {
	name string
	live bool // it may change while a run is under way: it holds for what remains to be sent
	same func(a, b Campaign) bool
}

// parts are all the fields of a plan. Quiet hours are one thing with two ends.
var parts = append([]part{
	{"topic", false, func(a, b Campaign) bool { return a.Topic == b.Topic }},
	{"template_id", false, func(a, b Campaign) bool { return a.TemplateID == b.TemplateID }},
	{"segment_id", false, func(a, b Campaign) bool { return equal(a.SegmentID, b.SegmentID) }},
	{"segment_query", false, func(a, b Campaign) bool { return sameJSON(a.SegmentQuery, b.SegmentQuery) }},
	{"exclude_segment_ids", false, func(a, b Campaign) bool { return slices.Equal(a.ExcludeSegmentIDs, b.ExcludeSegmentIDs) }},
	{"subscription_topic_id", false, func(a, b Campaign) bool { return equal(a.SubscriptionTopicID, b.SubscriptionTopicID) }},
	{"rate_limit_per_second", true, func(a, b Campaign) bool { return a.RatePerSecond == b.RatePerSecond }},
	{"priority", true, func(a, b Campaign) bool { return cmp.Or(a.Priority, Bulk) == cmp.Or(b.Priority, Bulk) }},
	{"failure_threshold_percent", true, func(a, b Campaign) bool { return a.FailureThreshold == b.FailureThreshold }},
	{"canary_percent", false, func(a, b Campaign) bool { return a.Canary == b.Canary }},
	{"frequency_cap", true, func(a, b Campaign) bool { return a.FrequencyCap == b.FrequencyCap }},
	{"quiet_hours_start", true, func(a, b Campaign) bool { return equal(a.QuietStart, b.QuietStart) }},
	{"quiet_hours_end", true, func(a, b Campaign) bool { return equal(a.QuietEnd, b.QuietEnd) }},
	{"timezone", false, func(a, b Campaign) bool { return a.Timezone == b.Timezone }},
	{"window_policy", true, func(a, b Campaign) bool {
		return cmp.Or(a.WindowPolicy, ByTemplate) == cmp.Or(b.WindowPolicy, ByTemplate)
	}},
	{"schedule_time", false, func(a, b Campaign) bool { return sameTime(a.ScheduleTime, b.ScheduleTime) }},
	{"schedule_local_time", false, func(a, b Campaign) bool { return a.LocalTime == b.LocalTime }},
	{cronField, true, func(a, b Campaign) bool { return a.Recurrence.Cron == b.Recurrence.Cron }},
	{timezoneField, true, func(a, b Campaign) bool { return a.Recurrence.Timezone == b.Recurrence.Timezone }},
	{"start_within_minutes", false, func(a, b Campaign) bool { return a.StartWithin == b.StartWithin }},
	{"trigger", false, func(a, b Campaign) bool { return cmp.Or(a.Trigger, ByOperator) == cmp.Or(b.Trigger, ByOperator) }},
	{"trigger_name", false, func(a, b Campaign) bool { return a.TriggerName == b.TriggerName }},
}, stepParts...)

// Changes names the fields in which two plans differ.
func (c Campaign) Changes(to Campaign) []string {
	var names []string
	for _, p := range parts {
		if !p.same(c, to) {
			names = append(names, p.name)
		}
	}
	return names
}

// Edit returns what c becomes when its plan is changed to that of to. A draft may be changed freely; while a run is
// under way only what may hold for the rest of it, and nothing afterwards.
func (c Campaign) Edit(to Campaign, now time.Time) (Campaign, error) {
	edited := to
	edited.ID, edited.Status, edited.StatusReason = c.ID, c.Status, c.StatusReason
	edited.BuiltIn, edited.CreatedBy, edited.ApprovedBy, edited.ApprovedAt = c.BuiltIn, c.CreatedBy, "", nil
	edited.CreatedAt, edited.UpdatedAt = c.CreatedAt, now
	if c.BuiltIn {
		return c, IsBuiltIn()
	}
	if c.Status == Draft {
		return edited, edited.Check(now)
	}
	if !c.Status.Active() {
		return c, fault.New(fault.Conflict, "a campaign that is %s cannot be changed", c.Status)
	}
	var held []fault.Field
	for _, p := range parts {
		if !p.live && !p.same(c, to) {
			held = append(held, fault.Field{Name: p.name, Detail: "is part of the run that is under way: it can be changed in a DRAFT only"})
		}
	}
	if c.Recurrence.IsZero() != to.Recurrence.IsZero() {
		held = append(held, fault.Field{Name: cronField, Detail: "whether a campaign recurs can be changed in a DRAFT only"})
	}
	if len(held) > 0 {
		return c, fault.Conflicts(fmt.Sprintf("of a campaign that is %s only %s can be changed", c.Status, liveNames()), held...)
	}
	edited.ScheduleTime, edited.LocalTime = nil, LocalTime{} // they may be over by now
	if err := edited.Check(now); err != nil {
		return c, err
	}
	edited.ScheduleTime, edited.LocalTime = c.ScheduleTime, c.LocalTime
	return edited, nil
}

// IsBuiltIn is why the plan of a built-in campaign stays as it is.
func IsBuiltIn() error {
	return fault.New(fault.Conflict, "this campaign is built in and carries the automatic replies: it can be paused and resumed; its texts are those of /api/v1/replies")
}

// Replace is Edit for a plan that is given as a whole, where what was left out has its default. Of a campaign under way
// it changes the rate alone: nobody is to lose quiet hours by not naming them.
func (c Campaign) Replace(to Campaign, now time.Time) (Campaign, error) {
	if c.Status.Active() && !c.BuiltIn {
		var held []fault.Field
		for _, name := range c.Changes(to) {
			if name != "rate_limit_per_second" {
				held = append(held, fault.Field{Name: name, Detail: "is not what the campaign has"})
			}
		}
		if len(held) > 0 {
			return c, fault.Conflicts(fmt.Sprintf("replacing a campaign that is %s can change rate_limit_per_second only; PATCH changes %s, each by itself",
				c.Status, liveNames()), held...)
		}
	}
	return c.Edit(to, now)
}

func liveNames() string {
	var names []string
	for _, p := range parts {
		if p.live {
			names = append(names, p.name)
		}
	}
	return strings.Join(names, ", ")
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
