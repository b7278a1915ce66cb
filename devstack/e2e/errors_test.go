package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// policy is what the product says that it does about an error code.
type policy struct {
	Code         int
	Class, Scope string
	DelaySeconds float64 `json:"delay_seconds"`
	Meaning      string
}

// errorTable asks the product for its table.
func errorTable(t *testing.T) []policy {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binaries.ESE, "errors").Output()
	require.NoError(t, err)
	var table []policy
	for lines := json.NewDecoder(bytes.NewReader(out)); lines.More(); {
		var p policy
		require.NoError(t, lines.Decode(&p))
		table = append(table, p)
	}
	require.Greater(t, len(table), 70)
	return table
}

// sync reports whether the provider tells of the error at once, instead of a request's acceptance.
func (p policy) sync() bool { return p.Code != 14107 && p.Code < 30000 || p.Code == 90007 }

// failed is how a message that met the error ends: as the carrier's failure, or as the provider's.
func (p policy) failed() string {
	carriers := []int{30003, 30004, 30005, 30006, 30007, 30008, 30034, 30410, 63003, 63024, 63032, 63033, 63049}
	if slices.Contains(carriers, p.Code) {
		return "undelivered"
	}
	return "failed"
}

// story is a campaign to a few people, the first of whom meets one error, once.
type story struct {
	*world
	policy
	people   []person
	city     string
	campaign int
}

func (s *story) start(more object) {
	s.t.Helper()
	s.campaign = s.world.campaign(s.city, more)
	s.trigger(s.campaign)
}

// first tells of the message to whoever meets the error: its state, reason and code, and how long it waits.
func (s *story) first() (stands string, waits time.Duration) {
	s.t.Helper()
	var seconds float64
	s.query(fmt.Sprintf(`SELECT coalesce(max(concat_ws(' ', m.state, nullif(m.reason, ''), m.error_code)), ''),
			coalesce(max(extract(epoch FROM m.waits_until - now())), 0)::float8
		FROM messages m JOIN campaign_runs r ON r.id = m.run_id WHERE r.campaign_id = %d AND m.seq = 1`, s.campaign), &stands, &seconds)
	return stands, time.Duration(seconds * float64(time.Second))
}

// await waits until the first message stands so.
func (s *story) await(want string) {
	s.t.Helper()
	s.until(fmt.Sprintf("the message that met %d to be %s", s.Code, want), func() bool {
		stands, _ := s.first()
		return stands == want
	})
}

// completes waits until the campaign is over, and compares how many of its messages were delivered and accepted.
func (s *story) completes(delivered, accepted int) {
	s.t.Helper()
	s.until(fmt.Sprintf("the campaign of error %d to complete", s.Code), func() bool {
		return s.status(s.campaign) == "COMPLETED" && s.summary(s.campaign)["messages_delivered"] == float64(delivered)
	})
	require.Equal(s.t, accepted, s.count(fmt.Sprintf(`SELECT count(*) FROM attempts a JOIN messages m ON m.id = a.message_id
		JOIN campaign_runs r ON r.id = m.run_id WHERE r.campaign_id = %d AND a.provider_sid IS NOT NULL`, s.campaign)), "error %d: accepted", s.Code)
}

// permanent: the message fails with its code, and nobody else is concerned.
func (s *story) permanent() {
	accepted := 2
	state := s.failed()
	if s.sync() {
		accepted, state = 1, "failed"
	}
	s.start(nil)
	s.await(fmt.Sprintf("%s provider_error %d", state, s.Code))
	s.completes(1, accepted)
}

// optOut: besides, the person is never written to again.
func (s *story) optOut() {
	state := s.failed()
	if s.sync() {
		state = "failed"
	}
	s.start(nil)
	s.await(fmt.Sprintf("%s carrier_opt_out %d", state, s.Code))
	user := s.api("GET", "/api/v1/users/%2B"+s.people[0].number[1:], nil)
	require.Equal(s.t, "OPT_OUT", user["consent_state"], "error %d", s.Code)
	s.city += " again"
	s.importUsers([]object{{"phone_number": s.people[0].number, "city": s.city, "name": "Zoe"}})
	s.start(nil)
	s.await("suppressed opted_out")
}

// stops: the campaign pauses with the reason before anything else is sent; when the fault is mended and it is resumed, it
// sends what remains. Who met a refusal loses nothing by it. The canary of one sees to it that the fault is met first.
func (s *story) stops() {
	s.start(object{"canary_percent": 33})
	s.until(fmt.Sprintf("error %d to pause the campaign", s.Code), func() bool { return s.status(s.campaign) == "PAUSED" })
	c := s.api("GET", fmt.Sprintf("/api/v1/campaigns/%d", s.campaign), nil)
	require.Equal(s.t, fmt.Sprintf("provider error %d: %s", s.Code, s.Meaning), c["status_reason"])
	require.Equal(s.t, 1, s.count(fmt.Sprintf(`SELECT count(*) FROM attempts a JOIN messages m ON m.id = a.message_id
		JOIN campaign_runs r ON r.id = m.run_id WHERE r.campaign_id = %d`, s.campaign)), "error %d: nothing else was sent", s.Code)
	delivered := len(s.people)
	if !s.sync() {
		s.await(fmt.Sprintf("%s campaign_fault %d", s.failed(), s.Code))
		delivered--
	}
	s.api("POST", fmt.Sprintf("/api/v1/campaigns/%d/resume", s.campaign), object{})
	s.completes(delivered, len(s.people))
}

// retries: the message waits for as long as the table says, and is sent again. Long waits are not waited for.
func (s *story) retries() {
	delay := time.Duration(s.DelaySeconds * float64(time.Second))
	reason, accepted := "provider_retry", 3
	if s.sync() {
		reason, accepted = "provider_busy", 2
	}
	s.start(nil)
	if s.Code != 20429 { // which is over in a moment
		s.await(fmt.Sprintf("pending %s %d", reason, s.Code))
		_, waits := s.first()
		require.InDelta(s.t, delay.Seconds(), waits.Seconds(), 0.2*delay.Seconds()+5, "error %d", s.Code)
	}
	if delay <= 30*time.Second {
		s.completes(2, accepted)
	}
}

// window: what came too late as free text is sent once more, as a template.
func (s *story) window() {
	s.start(nil)
	s.completes(2, 3)
}

// uncertain: what became of the request is found out, and it is sent exactly once.
func (s *story) uncertain() {
	s.start(nil)
	s.completes(2, 2)
}

func (s *story) tell() {
	s.t.Helper()
	switch s.Class {
	case "permanent":
		s.permanent()
	case "window":
		s.window()
	case "opt_out":
		s.optOut()
	case "stop":
		s.stops()
	case "retry":
		s.retries()
	case "uncertain":
		s.uncertain()
	default:
		require.FailNow(s.t, "unknown class", "%+v", s.policy)
	}
}

// Every code of the error table is met by somebody, and the campaign does what the table says.
func TestErrorTable(t *testing.T) {
	w := newWorld(t, nil)
	const n = 3
	var stories []*story
	var first, others []object // imported one after the other, so that whoever meets the error is sent to first
	numbers := object{}
	meet := func(p policy, prefix, city string) {
		s := &story{world: w, policy: p, city: city, people: make([]person, 2)}
		if p.Class == "stop" {
			s.people = make([]person, n)
		}
		for i := range s.people {
			s.people[i] = person{number: fmt.Sprintf("%s%02d", prefix, i)}
			row := object{"phone_number": s.people[i].number, "name": "Zoe", "city": city, "consent_state": "OPT_IN", "timezone": whereItIsNoon()}
			if i == 0 {
				first = append(first, row)
			} else {
				others = append(others, row)
			}
		}
		numbers[s.people[0].number] = object{"code": p.Code, "sync": p.sync(), "status": p.failed(), "times": 1}
		stories = append(stories, s)
	}
	for _, p := range errorTable(t) {
		meet(p, fmt.Sprintf("+9477%05d", p.Code), fmt.Sprintf("City of %d", p.Code))
		if p.Code == 63049 { // Meta delivers no marketing messages in the United States at all
			p.Class = "permanent"
			meet(p, "+121255501", "New York")
		}
	}
	w.importUsers(first)
	w.importUsers(others)
	w.sim(http.MethodPut, "/sim/faults", object{"numbers": numbers}, nil)

	tell := func(s *story) bool {
		return t.Run(s.city, func(t *testing.T) {
			world := *w
			world.t, s.world = t, &world
			s.tell()
		})
	}
	// What reaches no further than its campaign is told side by side; what stops every campaign of a sender one after another.
	var wide []*story
	var telling sync.WaitGroup
	slots := make(chan struct{}, 12)
	for _, s := range stories {
		if s.Scope == "sender" || s.Scope == "account" {
			wide = append(wide, s)
			continue
		}
		slots <- struct{}{}
		telling.Go(func() {
			defer func() { <-slots }()
			tell(s)
		})
	}
	telling.Wait()
	for _, s := range wide {
		tell(s)
	}
	require.Greater(t, len(wide), 10)
}

// whereItIsNoon is a time zone in which no law forbids a message at this hour.
func whereItIsNoon() string {
	return fmt.Sprintf("Etc/GMT%+d", time.Now().UTC().Hour()-12)
}
