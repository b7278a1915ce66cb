package campaign

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Recurrence says when a campaign is sent again and again. The zero value is never.
type Recurrence struct {
	Cron     string `json:"cron"`     // minute, hour, day of month, month, day of week
	Timezone string `json:"timezone"` // IANA; whose clock the expression means
}

// Field names of a recurrence, as faults name them.
const (
	cronField     = "recurrence_cron"
	timezoneField = "recurrence_timezone"
)

// DefaultCatchup is how late an occurrence may begin that nothing else limits: what was missed for longer is left out.
const DefaultCatchup = time.Hour

var (
	cronFields = []string{"minute", "hour", "day of month", "month", "day of week"}
	cronText   = regexp.MustCompile(`^[0-9A-Za-z*,/ -]+$`)
	// Five fields and nothing else: no seconds, no @daily, no zone within the expression.
	cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
)

// IsZero tells whether the campaign is sent once.
func (r Recurrence) IsZero() bool { return r.Cron == "" }

// Check refuses what is no cron expression, or one that the programs that know such expressions read differently.
func (r Recurrence) Check() error {
	if r.IsZero() {
		if r.Timezone != "" {
			return fault.Refuse(timezoneField, "belongs to a recurrence: give recurrence_cron too, or leave it out")
		}
		return nil
	}
	if problem := cronProblem(r.Cron); problem != "" {
		return fault.Refuse(cronField, "%s", problem)
	}
	if _, err := r.schedule(); err != nil {
		return err
	}
	if len(r.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), 1)) == 0 {
		return fault.Refuse(cronField, "names a moment that never comes")
	}
	return nil
}

// cronProblem says what is wrong with the form of an expression; "" when nothing is.
func cronProblem(text string) string {
	fields := strings.Fields(text)
	if len(fields) != len(cronFields) {
		return fmt.Sprintf("has %d fields; five are needed: %s, such as 0 10 * * 1-5", len(fields), strings.Join(cronFields, ", "))
	}
	if !cronText.MatchString(text) {
		return "may hold digits, names of months and days, * , - / and spaces, such as 0 10 * * 1-5"
	}
	for i, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			if from, _, step := strings.Cut(item, "/"); step && from != "*" && !strings.Contains(from, "-") {
				return fmt.Sprintf("%s: a step needs a range before it, such as */5 or 10-50/5; %q has none", cronFields[i], item)
			}
		}
	}
	if fields[2] != "*" && fields[4] != "*" {
		return "limit either the day of month or the day of week and leave the other *: together they mean different things to different programs"
	}
	return ""
}

func (r Recurrence) schedule() (*cron.SpecSchedule, error) {
	zone, err := time.LoadLocation(r.Timezone)
	if err != nil || r.Timezone == "" || strings.EqualFold(r.Timezone, "local") {
		return nil, fault.Refuse(timezoneField, "must be an IANA time zone such as Asia/Colombo")
	}
	parsed, err := cronParser.Parse(r.Cron)
	if err != nil {
		return nil, fault.Refuse(cronField, "cannot be read: %s", err)
	}
	schedule, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fault.Refuse(cronField, "must be five fields such as 0 10 * * 1-5")
	}
	schedule.Location = zone
	return schedule, nil
}

// Next returns the first n occurrences after a moment; fewer when no more come within five years. A time that the clock
// skips is left out.
func (r Recurrence) Next(after time.Time, n int) []time.Time {
	schedule, err := r.schedule()
	if err != nil {
		return nil
	}
	var found []time.Time
	for at := schedule.Next(after); !at.IsZero() && len(found) < n; at = schedule.Next(at) {
		if !repeated(at.In(schedule.Location)) {
			found = append(found, at.UTC())
		}
	}
	return found
}

// Repeats reports whether the recurrence's clock shows at that moment what it showed before, because it was put back: such
// a moment is no occurrence of its own.
func (r Recurrence) Repeats(at time.Time) bool {
	schedule, err := r.schedule()
	return err == nil && repeated(at.In(schedule.Location))
}

func repeated(at time.Time) bool {
	change, _ := at.ZoneBounds()
	if change.IsZero() {
		return false
	}
	_, now := at.Zone()
	_, before := change.Add(-time.Second).Zone()
	return at.Before(change.Add(time.Duration(before-now) * time.Second))
}

// NextOccurrences returns the next n times at which the campaign is sent, or would be once it is triggered; none while it
// is paused, when it is over, and when it does not recur.
func (c Campaign) NextOccurrences(now time.Time, n int) []time.Time {
	if c.Recurrence.IsZero() || c.Status == Paused || c.Status != Draft && !c.Status.Active() {
		return []time.Time{}
	}
	return c.Recurrence.Next(now, n)
}

// ScheduleID names a recurring campaign's schedule in Temporal.
func ScheduleID(campaignID int64) string { return fmt.Sprintf("campaign/%d", campaignID) }

// Schedule is what Temporal is to know of a recurring campaign.
type Schedule struct {
	Recurrence
	Catchup time.Duration // how late an occurrence may be started that was missed
	Paused  bool
	Gone    bool // there is to be none
}

// Schedule returns what Temporal is to know of the campaign as it stands.
func (c Campaign) Schedule() Schedule {
	s := Schedule{Recurrence: c.Recurrence, Catchup: c.StartWithin, Paused: c.Status == Paused}
	if s.Catchup == 0 {
		s.Catchup = DefaultCatchup
	}
	s.Gone = c.Recurrence.IsZero() || !c.Status.Active()
	return s
}

// SkippedUnderWay is why an occurrence is left out that comes while the run before it is under way.
const SkippedUnderWay = "the run before it is under way"

// Skips says why an occurrence is left out that a schedule, made by the recurrence that was in force then, announces for a
// campaign that recurs like r now; "" when it is not. Every reason is a sentence of its own.
func (r Recurrence) Skips(announced Recurrence, status Status, at time.Time) string {
	switch {
	case r != announced:
		return "the campaign recurs at other times by now"
	case status == Running:
		return SkippedUnderWay
	case status != Scheduled:
		return fmt.Sprintf("the campaign is %s", status)
	case r.Repeats(at):
		return "the clock was put back: the campaign was sent at this time already"
	default:
		return ""
	}
}
