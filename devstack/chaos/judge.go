package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Evidence is all that is known when a run is over: what was asked for, what the simulated Twilio saw, and what the
// product's database holds.
type Evidence struct {
	People    []Person
	Campaigns []CampaignFacts // in the order of their indexes
	Stops     []StopFact
	Messages  []MessageRow
	Attempts  []AttemptRow
	Receipts  map[Receipt]bool
	Inbound   map[string]bool // SIDs in the database
	Accepted  []Accepted
	Callbacks []Receipt // that the product has answered with success
	Answered  []string  // SIDs of people's messages that it has answered with success
}

// CampaignFacts is one campaign at the end.
type CampaignFacts struct {
	ID       int
	Status   string
	Audience int // as the run recorded it
	// Quiet are the times in which it may not send: from the acknowledgement of a pause until the resume is asked for,
	// from that of a cancel for ever.
	Quiet []Quiet
}

// Quiet is a span of time; a zero To is for ever.
type Quiet struct {
	Why      Kind // Pause or Cancel
	From, To time.Time
}

// StopFact is a STOP that was answered.
type StopFact struct {
	Person int
	At     time.Time // of the answer
}

// MessageRow is a message of the ledger.
type MessageRow struct {
	ID, Number, State, Reason string
	CampaignID, ErrorCode     int
}

// AttemptRow is an attempt of the ledger. EndedAt is zero while its outcome is not known.
type AttemptRow struct {
	ID, MessageID, State, SID, Detail string
	Number, HTTPStatus, ErrorCode     int
	StartedAt, LeaseUntil, EndedAt    time.Time
}

// Accepted is a message that the simulated Twilio accepted.
type Accepted struct {
	SID, Number, AttemptID, Status string // the attempt is the one that the status callback's URL names
	ErrorCode                      int
	At                             time.Time
}

// Receipt is what a status callback says.
type Receipt struct {
	SID, Status string
	ErrorCode   int
}

// Check is one promise and what breaks it.
type Check struct {
	Name       string
	Looked     int // at so many things
	Violations []Violation
}

// Violation is a broken promise. MessageID is empty where no message of the ledger is concerned.
type Violation struct{ MessageID, Text string }

func (c *Check) violated(messageID, format string, args ...any) {
	c.Violations = append(c.Violations, Violation{messageID, fmt.Sprintf(format, args...)})
}

// Judge holds the evidence against every promise.
func Judge(e Evidence) []Check {
	j := newJudge(e)
	return []Check{
		j.finished(), j.oneEach(), j.noneWithoutConsent(), j.atMostOne(), j.quiet(Pause), j.quiet(Cancel), j.stops(),
		j.addsUp(), j.reasons(), j.receipts(), j.inbound(), j.oneOpen(), j.attributed(),
	}
}

// judge is the evidence, found by what it belongs to.
type judge struct {
	Evidence
	campaignIndex map[int]int           // by id
	person        map[string]int        // by number
	message       map[string]MessageRow // by number
	messageByID   map[string]MessageRow
	attempts      map[string][]AttemptRow // by message, in the order of their start
	attempt       map[string]AttemptRow
	accepted      map[string][]Accepted // by number
	stopped       map[int]time.Time     // by person
}

func newJudge(e Evidence) *judge {
	j := &judge{
		Evidence: e, campaignIndex: map[int]int{}, person: map[string]int{}, message: map[string]MessageRow{}, messageByID: map[string]MessageRow{},
		attempts: map[string][]AttemptRow{}, attempt: map[string]AttemptRow{}, accepted: map[string][]Accepted{}, stopped: map[int]time.Time{},
	}
	for i, c := range e.Campaigns {
		j.campaignIndex[c.ID] = i
	}
	for i, p := range e.People {
		j.person[p.Number] = i
	}
	for _, m := range e.Messages {
		j.message[m.Number], j.messageByID[m.ID] = m, m
	}
	for _, a := range e.Attempts {
		j.attempts[a.MessageID] = append(j.attempts[a.MessageID], a)
		j.attempt[a.ID] = a
	}
	for _, attempts := range j.attempts {
		slices.SortFunc(attempts, func(a, b AttemptRow) int {
			return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.Number, b.Number))
		})
	}
	for _, a := range e.Accepted {
		j.accepted[a.Number] = append(j.accepted[a.Number], a)
	}
	for _, s := range e.Stops {
		if at, known := j.stopped[s.Person]; !known || s.At.Before(at) {
			j.stopped[s.Person] = s.At
		}
	}
	return j
}

// counted is how many accepted messages somebody has got, not counting those that failed with a code that is retried.
func (j *judge) counted(p Person) int {
	n := 0
	for _, a := range j.accepted[p.Number] {
		if a.ErrorCode != retried.Code {
			n++
		}
	}
	return n
}

func (j *judge) cancelled(p Person) bool { return j.Campaigns[p.Campaign].Status == "CANCELLED" }

// open reports whether a message is still to be sent, or may be.
func (m MessageRow) open() bool { return m.State == "pending" || m.State == "sending" }

// unsent reports whether a message has ended without reaching anybody, or perhaps without.
func (m MessageRow) unsent() bool {
	return slices.Contains([]string{"failed", "undelivered", "suppressed", "cancelled", "unknown"}, m.State)
}

func (j *judge) finished() Check {
	c := Check{Name: "every campaign came to its end", Looked: len(j.Campaigns)}
	for _, k := range j.Campaigns {
		if k.Status != "COMPLETED" && k.Status != "CANCELLED" {
			c.violated("", "campaign %d is %s", k.ID, k.Status)
		}
	}
	for _, m := range j.Messages {
		if m.open() {
			c.violated(m.ID, "still %s, reason %q", m.State, m.Reason)
		}
	}
	return c
}

func (j *judge) oneEach() Check {
	c := Check{Name: "one message for each eligible recipient"}
	for i, p := range j.People {
		if _, said := j.stopped[i]; said || p.Consent != OptIn || j.cancelled(p) {
			continue
		}
		c.Looked++
		m, n := j.message[p.Number], j.counted(p)
		switch {
		case n > 1:
			c.violated(m.ID, "accepted %d times", n)
		case n == 1 || m.State == "unknown":
		case (p.Fault == retried || p.Fault == refused) && m.State == "failed" && m.Reason != "":
		default:
			c.violated(m.ID, "lost: never accepted, state %q, reason %q", m.State, m.Reason)
		}
	}
	return c
}

func (j *judge) noneWithoutConsent() Check {
	c := Check{Name: "none for anybody else"}
	for _, p := range j.People {
		if p.Consent == OptIn {
			continue
		}
		c.Looked++
		if n := len(j.accepted[p.Number]); n > 0 {
			c.violated(j.message[p.Number].ID, "accepted %d times for somebody whose consent is %s", n, p.Consent)
		}
	}
	for number, accepted := range j.accepted {
		if _, known := j.person[number]; !known {
			c.violated("", "accepted %d times for a stranger", len(accepted))
		}
	}
	return c
}

func (j *judge) atMostOne() Check {
	c := Check{Name: "one or a reason after a STOP or a cancel"}
	for i, p := range j.People {
		if _, said := j.stopped[i]; p.Consent != OptIn || !said && !j.cancelled(p) {
			continue
		}
		c.Looked++
		m, n := j.message[p.Number], j.counted(p)
		switch {
		case n > 1:
			c.violated(m.ID, "accepted %d times", n)
		case n == 0 && m.ID == "" && j.Campaigns[p.Campaign].Audience == 0: // cancelled before its audience was written
		case n == 0 && (!m.unsent() || m.Reason == ""):
			c.violated(m.ID, "never accepted and no reason why: state %q", m.State)
		}
	}
	return c
}

// quiet looks for messages accepted while their campaign was not to send.
func (j *judge) quiet(why Kind) Check {
	c := Check{Name: fmt.Sprintf("nothing accepted after a %s was acknowledged", why)}
	for i, k := range j.Campaigns {
		for _, q := range k.Quiet {
			if q.Why != why {
				continue
			}
			c.Looked++
			for _, a := range j.Accepted {
				p, known := j.person[a.Number]
				if known && j.People[p].Campaign == i && a.At.After(q.From) && (q.To.IsZero() || a.At.Before(q.To)) {
					c.violated(j.message[a.Number].ID, "%s accepted %s after the %s of campaign %d", a.SID, a.At.Sub(q.From), why, k.ID)
				}
			}
		}
	}
	return c
}

func (j *judge) stops() Check {
	c := Check{Name: "no attempt begun after a STOP was answered"}
	for _, i := range slices.Sorted(maps.Keys(j.stopped)) {
		c.Looked++
		m, at := j.message[j.People[i].Number], j.stopped[i]
		for _, a := range j.attempts[m.ID] {
			if a.StartedAt.After(at) {
				c.violated(m.ID, "attempt %s began %s after it", a.ID, a.StartedAt.Sub(at))
			}
		}
	}
	return c
}

func (j *judge) addsUp() Check {
	c := Check{Name: "the ledger adds up to the audience", Looked: len(j.Campaigns)}
	rows, people, seen := map[int]int{}, map[int]int{}, map[string]bool{}
	for _, m := range j.Messages {
		rows[m.CampaignID]++
		i, known := j.person[m.Number]
		switch {
		case !known || j.Campaigns[j.People[i].Campaign].ID != m.CampaignID:
			c.violated(m.ID, "belongs to nobody of campaign %d", m.CampaignID)
		case seen[m.Number]:
			c.violated(m.ID, "a second message for one person")
		}
		seen[m.Number] = true
	}
	for _, p := range j.People {
		people[p.Campaign]++
	}
	for i, k := range j.Campaigns {
		if k.Status == "CANCELLED" && k.Audience == 0 && rows[k.ID] == 0 {
			continue // before its audience was written
		}
		if rows[k.ID] != k.Audience || k.Audience != people[i] {
			c.violated("", "campaign %d has %d messages, an audience of %d, and %d people in it", k.ID, rows[k.ID], k.Audience, people[i])
		}
	}
	return c
}

func (j *judge) reasons() Check {
	c := Check{Name: "a reason for every unsent message"}
	for _, m := range j.Messages {
		if !m.unsent() {
			continue
		}
		c.Looked++
		if m.Reason == "" {
			c.violated(m.ID, "%s without a reason", m.State)
		}
	}
	return c
}

func (j *judge) receipts() Check {
	c := Check{Name: "every answered status callback is kept", Looked: len(j.Callbacks)}
	for _, r := range j.Callbacks {
		if !j.Receipts[r] {
			c.violated("", "%s %s %d is not in the database", r.SID, r.Status, r.ErrorCode)
		}
	}
	return c
}

func (j *judge) inbound() Check {
	c := Check{Name: "every answered inbound message is kept", Looked: len(j.Answered)}
	for _, sid := range j.Answered {
		if !j.Inbound[sid] {
			c.violated("", "%s is not in the database", sid)
		}
	}
	return c
}

func (j *judge) oneOpen() Check {
	c := Check{Name: "one open attempt at a time", Looked: len(j.Attempts)}
	for id, attempts := range j.attempts {
		for i, a := range attempts[1:] {
			if before := attempts[i]; before.EndedAt.IsZero() || a.StartedAt.Before(before.EndedAt) {
				c.violated(id, "attempt %s began before %s had ended", a.ID, before.ID)
			}
		}
	}
	return c
}

// attributed looks for accepted messages whose attempt does not know of them. Only one whose outcome the ledger calls
// unknown may not.
func (j *judge) attributed() Check {
	c := Check{Name: "every accepted message is one attempt's", Looked: len(j.Accepted)}
	owners := map[string][]AttemptRow{}
	for _, a := range j.Attempts {
		if a.SID != "" {
			owners[a.SID] = append(owners[a.SID], a)
		}
	}
	for _, a := range j.Accepted {
		begun := j.attempt[a.AttemptID]
		switch own := owners[a.SID]; {
		case len(own) == 1 && own[0].ID == a.AttemptID:
		case len(own) == 0 && begun.State == "unknown" && j.messageByID[begun.MessageID].State == "unknown":
		case len(own) == 0:
			c.violated(begun.MessageID, "%s of attempt %s (%s) is in no attempt", a.SID, a.AttemptID, begun.State)
		default:
			c.violated(begun.MessageID, "%s of attempt %s belongs to %d attempts, the first %s", a.SID, a.AttemptID, len(own), own[0].ID)
		}
	}
	return c
}

// History tells all that is known of a message, for somebody who looks for the reason of a violation.
func (e Evidence) History(messageID string) string {
	j := newJudge(e)
	m := j.messageByID[messageID]
	var b strings.Builder
	fmt.Fprintf(&b, "message %s of campaign %d to %s: %s, reason %q, error %d\n", m.ID, m.CampaignID, m.Number, m.State, m.Reason, m.ErrorCode)
	const clock = "15:04:05.000"
	for _, a := range j.attempts[messageID] {
		ended := "open"
		if !a.EndedAt.IsZero() {
			ended = a.EndedAt.UTC().Format(clock)
		}
		fmt.Fprintf(&b, "  attempt %d %s: %s, began %s, lease %s, ended %s, HTTP %d, error %d, %s %s\n", a.Number, a.ID, a.State,
			a.StartedAt.UTC().Format(clock), a.LeaseUntil.UTC().Format(clock), ended, a.HTTPStatus, a.ErrorCode, a.SID, a.Detail)
	}
	for _, a := range j.accepted[m.Number] {
		fmt.Fprintf(&b, "  accepted %s at %s for attempt %s: %s, error %d\n", a.SID, a.At.UTC().Format(clock), a.AttemptID, a.Status, a.ErrorCode)
		for r := range e.Receipts {
			if r.SID == a.SID {
				fmt.Fprintf(&b, "    receipt %s, error %d\n", r.Status, r.ErrorCode)
			}
		}
	}
	if i, known := j.person[m.Number]; known {
		if at, said := j.stopped[i]; said {
			fmt.Fprintf(&b, "  STOP answered at %s\n", at.UTC().Format(clock))
		}
	}
	return b.String()
}
