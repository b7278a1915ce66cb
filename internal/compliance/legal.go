package compliance

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Law says when people may be written to at all, by where they are: a region (ISO 3166-1, such as US) or a part of one
// (ISO 3166-2, such as US-FL). A place that is not listed has no such rule. The zero value lists none.
type Law struct {
	weeks map[string]Week
}

// Week is the hours of one place, for each day of the week, by the person's wall clock. The zero value is no rule: any hour.
type Week struct {
	place  string // "" for no rule
	source string
	days   [7]span // by time.Weekday; an empty one is a day on which nobody is written to
}

// span is a part of a day in minutes since midnight, from up to but not including to.
type span struct {
	from, to int
}

//go:embed legal_windows.json
var listed []byte

// ListedLaw is what the engine comes with: the TCPA's hours in the United States and their territories, and those of the
// states that are stricter. Each entry of the file behind it names its source.
var ListedLaw = sync.OnceValue(func() Law {
	law, err := ParseLaw(listed)
	if err != nil {
		panic(err) // the file is part of the program and tested with it
	}
	return law
})

var (
	placeForm = regexp.MustCompile(`^[A-Z]{2}(-[A-Z0-9]{1,3})?$`)
	daysForm  = regexp.MustCompile(`^(sun|mon|tue|wed|thu|fri|sat)(?:-(sun|mon|tue|wed|thu|fri|sat))?$`)
	dayNames  = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

const dayMinutes = 24 * 60

// ParseLaw reads a JSON object of places, each with its source and its hours, such as
//
//	{"US-TX": {"source": "…", "hours": {"mon-sat": "09:00-21:00", "sun": "12:00-21:00"}}}
//
// On a day that is not named nobody is written to. The end of a day is 24:00.
func ParseLaw(raw []byte) (Law, error) {
	var places map[string]struct {
		Source string            `json:"source"`
		Hours  map[string]string `json:"hours"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&places); err != nil {
		return Law{}, fmt.Errorf("legal windows: %w", err)
	}
	law := Law{weeks: make(map[string]Week, len(places))}
	for place, entry := range places {
		if !placeForm.MatchString(place) {
			return Law{}, fmt.Errorf("legal windows: %q is not a region such as US or a part of one such as US-FL", place)
		}
		if strings.TrimSpace(entry.Source) == "" || len(entry.Hours) == 0 {
			return Law{}, fmt.Errorf("legal windows: %s needs a source and hours", place)
		}
		week, err := parseWeek(place, entry.Hours)
		if err != nil {
			return Law{}, fmt.Errorf("legal windows: %s: %w", place, err)
		}
		week.source = strings.TrimSpace(entry.Source)
		law.weeks[place] = week
	}
	return law, nil
}

func parseWeek(place string, hours map[string]string) (Week, error) {
	week := Week{place: place}
	var named [7]bool
	for days, text := range hours {
		parts := daysForm.FindStringSubmatch(days)
		if parts == nil {
			return Week{}, fmt.Errorf("%q is neither a day such as sun nor days such as mon-fri", days)
		}
		hours, err := parseSpan(text)
		if err != nil {
			return Week{}, err
		}
		first := slices.Index(dayNames, parts[1])
		last := slices.Index(dayNames, cmp.Or(parts[2], parts[1]))
		for day := first; ; day = (day + 1) % 7 {
			if named[day] {
				return Week{}, fmt.Errorf("%s is named twice", dayNames[day])
			}
			named[day], week.days[day] = true, hours
			if day == last {
				break
			}
		}
	}
	return week, nil
}

func parseSpan(text string) (span, error) {
	from, to, _ := strings.Cut(text, "-")
	begins, ok := parseClock(from)
	ends, known := dayMinutes, true
	if to != "24:00" {
		ends, known = parseClock(to)
	}
	if !ok || !known || begins >= ends {
		return span{}, fmt.Errorf("%q is not a part of a day such as 08:00-21:00", text)
	}
	return span{begins, ends}, nil
}

// With returns l with the places of other added, or put in the place of its own.
func (l Law) With(other Law) Law {
	weeks := maps.Clone(l.weeks)
	if weeks == nil {
		weeks = map[string]Week{}
	}
	maps.Copy(weeks, other.weeks)
	return Law{weeks}
}

// Places lists the places that have a rule, sorted.
func (l Law) Places() []string { return slices.Sorted(maps.Keys(l.weeks)) }

// Of returns the hours of a place: those of the part of the region where that is listed, else those of the region.
func (l Law) Of(place string) Week {
	if week, ok := l.weeks[place]; ok {
		return week
	}
	region, _, _ := strings.Cut(place, "-")
	return l.weeks[region]
}

// IsZero tells whether there is no rule.
func (w Week) IsZero() bool { return w.place == "" }

// String names the place; "none" for no rule.
func (w Week) String() string {
	if w.IsZero() {
		return "none"
	}
	return w.place
}

// Source tells which law it is, as it was given; "" for no rule.
func (w Week) Source() string { return w.source }

// Hours are the hours of a day such as 08:00-21:00; "" on a day on which nobody is written to.
func (w Week) Hours(day time.Weekday) string {
	hours := w.days[day]
	if hours.from == hours.to {
		return ""
	}
	return fmt.Sprintf("%02d:%02d-%02d:%02d", hours.from/60, hours.from%60, hours.to/60, hours.to%60)
}

// open tells whether the wall clock shows one of the hours.
func (w Week) open(local time.Time) bool {
	if w.IsZero() {
		return true
	}
	hours := w.days[local.Weekday()]
	minute := minuteOf(local)
	return hours.from <= minute && minute < hours.to
}

// ends are the minutes of a day at which the answer may change, midnight included.
func (w Week) ends() []int {
	if w.IsZero() {
		return nil
	}
	ends := []int{0}
	for _, hours := range w.days {
		ends = append(ends, hours.from, hours.to%dayMinutes)
	}
	slices.Sort(ends)
	return slices.Compact(ends)
}
