package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
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

func (p policy) delay() time.Duration { return time.Duration(p.DelaySeconds * float64(time.Second)) }

// reason is what an operator reads of a campaign that the error paused.
func (p policy) reason() string { return fmt.Sprintf("provider error %d: %s", p.Code, p.Meaning) }

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

// httpStatus is what the provider refuses a request with.
func (p policy) httpStatus() int {
	if status, ok := map[int]int{20003: 401, 20404: 404, 20429: 429, 20500: 500, 20503: 503}[p.Code]; ok {
		return status
	}
	return http.StatusBadRequest
}

// story is a campaign whose people meet one error.
type story struct {
	*world
	policy
	name    string
	persons []person
	more    object // of the campaign
	id      int    // of the campaign
}

// in is the story as another test tells it.
func (s story) in(t *testing.T) story {
	t.Helper()
	w := *s.world
	w.t, s.world = t, &w
	return s
}

// faults are those that its people meet: all of them where the fault is not theirs, else the first.
func (s story) faults() object {
	met := s.persons[:1]
	if s.Class == "stop" {
		met = s.persons
	}
	faults := object{}
	for _, p := range met {
		f := object{"code": s.Code}
		if s.sync() {
			f["sync"] = true
		} else {
			f["status"] = s.failed()
		}
		if s.Class == "uncertain" || s.Class == "retry" {
			f["times"] = 1
		}
		faults[p.number] = f
	}
	return faults
}

// start makes the campaign and triggers it.
func (s *story) start() {
	s.t.Helper()
	s.id = s.campaign(s.name, s.more)
	s.trigger(s.id)
}

// steer pauses, resumes or cancels the campaign.
func (s story) steer(verb string) {
	s.t.Helper()
	s.api("POST", fmt.Sprintf("/api/v1/campaigns/%d/%s", s.id, verb), object{})
}

// ledger counts the campaign's messages by state, reason and code. Read ones count as delivered.
func (s story) ledger() map[string]int {
	s.t.Helper()
	var raw string
	s.query(fmt.Sprintf(`SELECT coalesce(json_object_agg(k, n), '{}')::text FROM (
		SELECT concat_ws(' ', CASE m.state WHEN 'read' THEN 'delivered' ELSE m.state END, nullif(m.reason, ''), m.error_code) AS k, count(*) AS n
		FROM messages m JOIN campaign_runs r ON r.id = m.run_id WHERE r.campaign_id = %d GROUP BY 1) x`, s.id), &raw)
	states := map[string]int{}
	require.NoError(s.t, json.Unmarshal([]byte(raw), &states))
	return states
}

// await waits until the campaign and its messages stand so.
func (s story) await(status string, want map[string]int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%s to be %s with %v; it is %s with %v", s.name, status, want, s.world.status(s.id), s.ledger()), func() bool {
		return s.world.status(s.id) == status && maps.Equal(s.ledger(), want)
	})
}

// paused is the reason for which the campaign is paused, "" when it is not.
func (s story) paused() string {
	s.t.Helper()
	c := s.api("GET", fmt.Sprintf("/api/v1/campaigns/%d", s.id), nil)
	reason, _ := c["status_reason"].(string)
	if c["status"] != "PAUSED" {
		return ""
	}
	return reason
}

// accepted is how many messages the provider accepted for each of the people.
func (s story) accepted() []int {
	s.t.Helper()
	var recipients []struct {
		To       string
		Accepted int
	}
	s.sim("GET", "/sim/recipients", nil, &recipients)
	counts := make([]int, len(s.persons))
	for i, p := range s.persons {
		for _, r := range recipients {
			if strings.TrimPrefix(r.To, "whatsapp:") == p.number {
				counts[i] = r.Accepted
			}
		}
	}
	return counts
}

// attempt tells how the first attempt at the first person's message ended.
func (s story) attempt() (text string) {
	s.t.Helper()
	s.query(fmt.Sprintf(`SELECT concat_ws(' ', a.state, nullif(a.carrier, ''), a.error_code, a.http_status) FROM attempts a
		JOIN messages m ON m.id = a.message_id JOIN campaign_runs r ON r.id = m.run_id JOIN users u ON u.id = m.user_id
		WHERE r.campaign_id = %d AND u.phone_number = '%s' AND a.number = 1`, s.id, s.persons[0].number), &text)
	return text
}

// wasMet checks how the attempt that met the error ended, and that the first person was sent to so many times in all.
func (s story) wasMet(accepted int) {
	s.t.Helper()
	want := fmt.Sprintf("accepted %s %d 201", s.failed(), s.Code)
	if s.sync() {
		want = fmt.Sprintf("refused %d %d", s.Code, s.httpStatus())
	}
	require.Equal(s.t, want, s.attempt())
	counts := s.accepted()
	require.Equal(s.t, accepted, counts[0], "messages to whoever met the error")
	for _, n := range counts[1:] {
		require.Equal(s.t, 1, n, "messages to each of the others")
	}
}

// once is 1 for an error that comes after a message was accepted.
func (s story) once() int {
	if s.sync() {
		return 0
	}
	return 1
}

// brief reports whether a retry comes within the test.
func (s story) brief() bool { return s.delay() <= 30*time.Second }

// happens checks what comes of the error, up to the point at which someone has to mend it.
func (s story) happens() {
	s.t.Helper()
	others := len(s.persons) - 1
	ended := "failed"
	if !s.sync() {
		ended = s.failed()
	}
	switch s.Class {
	case "permanent", "window":
		s.await("COMPLETED", map[string]int{"delivered": others, fmt.Sprintf("%s provider_error %d", ended, s.Code): 1})
		s.wasMet(s.once())
	case "opt_out":
		s.await("COMPLETED", map[string]int{"delivered": others, fmt.Sprintf("%s carrier_opt_out %d", ended, s.Code): 1})
		s.wasMet(s.once())
		require.Equal(s.t, "OPT_OUT", s.api("GET", "/api/v1/users/"+url.PathEscape(s.persons[0].number), nil)["consent_state"])
		again := s // the same people, once more
		again.name += " again"
		again.more = object{"segment_id": s.api("GET", fmt.Sprintf("/api/v1/campaigns/%d", s.id), nil)["segment_id"]}
		again.start()
		again.await("COMPLETED", map[string]int{"delivered": others, "suppressed opted_out": 1})
	case "retry":
		if s.brief() {
			s.await("COMPLETED", map[string]int{"delivered": others + 1})
			s.wasMet(s.once() + 1) // the first was not delivered
			return
		}
		reason := "provider_retry"
		if s.sync() {
			reason = "provider_busy"
		}
		s.await("RUNNING", map[string]int{"delivered": others, fmt.Sprintf("pending %s %d", reason, s.Code): 1})
		s.wasMet(s.once())
		var seconds float64
		s.query(fmt.Sprintf(`SELECT extract(epoch FROM m.waits_until - a.started_at)::float8 FROM messages m JOIN attempts a ON a.message_id = m.id
			JOIN campaign_runs r ON r.id = m.run_id WHERE r.campaign_id = %d AND m.state = 'pending'`, s.id), &seconds)
		require.GreaterOrEqual(s.t, seconds, s.DelaySeconds)
		require.Less(s.t, seconds, 1.2*s.DelaySeconds+60, "its delay, spread by a fifth, and the time that the receipt took")
	case "uncertain":
		s.await("COMPLETED", map[string]int{"delivered": others + 1})
		require.Equal(s.t, fmt.Sprintf("absent %d", s.httpStatus()), s.attempt(), "looked for, and not found")
		for _, n := range s.accepted() {
			require.Equal(s.t, 1, n)
		}
	case "stop":
		s.until(s.name+" to be paused, nothing under way", func() bool {
			for k := range s.ledger() {
				if !strings.HasPrefix(k, "pending") && k != s.fault() {
					return false
				}
			}
			return s.paused() == s.reason()
		})
		require.NotZero(s.t, s.count(fmt.Sprintf(`SELECT count(*) FROM attempts a JOIN messages m ON m.id = a.message_id JOIN campaign_runs r ON r.id = m.run_id
			WHERE r.campaign_id = %d AND a.error_code = %d`, s.id, s.Code)))
		s.held()
	default:
		require.Fail(s.t, "nobody knows what comes of class "+s.Class)
	}
}

// fault is how a message ends that met an error of class stop after it was accepted.
func (s story) fault() string { return fmt.Sprintf("%s campaign_fault %d", s.failed(), s.Code) }

// held checks that only messages that met the error were sent, and returns their number.
func (s story) held() int {
	s.t.Helper()
	met, sent := s.ledger()[s.fault()], 0
	for _, n := range s.accepted() {
		sent += n
	}
	require.Equal(s.t, met, sent)
	require.Equal(s.t, s.sync(), met == 0)
	require.Less(s.t, met, len(s.persons), "some were held back")
	return met
}

// mended checks that the campaign completes after its fault was mended and it was resumed. met of its messages were lost
// to the fault.
func (s story) mended(met int) {
	s.t.Helper()
	want := map[string]int{"delivered": len(s.persons) - met}
	if met > 0 {
		want[s.fault()] = met
	}
	s.await("COMPLETED", want)
	for _, n := range s.accepted() {
		require.Equal(s.t, 1, n)
	}
}

// meet has the people of the stories meet their errors, and nobody else any.
func (w *world) meet(stories ...*story) {
	w.t.Helper()
	numbers := object{}
	for _, s := range stories {
		maps.Copy(numbers, s.faults())
	}
	w.sim("PUT", "/sim/faults", object{"numbers": numbers}, nil)
}

// Every code of the error table, met by people of campaigns that run at the same time, leads to what the table says. Faults
// of the sender or of the account come one after another, for each stops all that it concerns.
func TestEveryErrorCode(t *testing.T) {
	w := newWorld(t, nil)
	var together, alone []*story
	var rows []object
	add := func(p policy, name, prefix string, n int, more object) *story {
		s := &story{world: w, policy: p, name: name, more: more}
		for i := range n {
			number := fmt.Sprintf("%s%0*d", prefix, 12-len(prefix), i)
			s.persons = append(s.persons, person{number: number, name: "Zebulon"})
			rows = append(rows, object{"phone_number": number, "name": "Zebulon", "city": name, "consent_state": "OPT_IN"})
		}
		return s
	}
	var wait policy // for hours
	for _, p := range errorTable(t) {
		name, prefix := strconv.Itoa(p.Code), fmt.Sprintf("+9477%05d", p.Code)
		switch {
		case p.Class != "stop":
			together = append(together, add(p, name, prefix, 3, nil))
		case p.Scope == "campaign":
			together = append(together, add(p, name, prefix, 6, object{"rate_limit_per_second": 1}))
		default:
			alone = append(alone, add(p, name, prefix, 4, object{"rate_limit_per_second": 2}))
		}
		switch p.Code {
		case 30003:
			wait = p
		case 63049:
			p.Class = "permanent"
			together = append(together, add(p, name+" in the United States", "+1415523990", 3, nil))
		}
	}
	neighbour := add(wait, "neighbour", "+9476000", 2, nil)
	bySMS := add(wait, "neighbour by SMS", "+9476001", 2, object{"template_id": w.api("POST", "/api/v1/templates", object{
		"name": "SMS", "content": "Hello {name}!", "variables": []string{"name"}, "channel": "sms",
	})["id"]})
	w.importUsers(rows)
	together = append(together, neighbour, bySMS)

	w.meet(together...)
	for _, s := range together {
		s.start()
	}
	for _, s := range together {
		t.Run(s.name, func(t *testing.T) { s.in(t).happens() })
	}
	w.meet()
	met := map[*story]int{}
	for _, s := range together {
		switch {
		case s.Class == "stop":
			met[s] = s.held()
			s.steer("resume")
		case s.Class == "retry" && !s.brief() && s != neighbour && s != bySMS:
			s.steer("cancel")
		}
	}
	for _, s := range together {
		if n, stopped := met[s]; stopped {
			t.Run(s.name+" mended", func(t *testing.T) { s.in(t).mended(n) })
		}
	}

	for _, s := range alone {
		t.Run(s.name, func(t *testing.T) {
			s, neighbour, bySMS := s.in(t), neighbour.in(t), bySMS.in(t)
			s.world.meet(&s)
			s.start()
			s.happens()
			require.Equal(t, s.reason(), neighbour.paused(), "it shares the sender")
			if s.Scope == "account" {
				require.Equal(t, s.reason(), bySMS.paused())
				bySMS.steer("resume")
			}
			require.Equal(t, "RUNNING", bySMS.world.status(bySMS.id))
			s.world.meet()
			n := s.held()
			neighbour.steer("resume")
			s.steer("resume")
			s.mended(n)
		})
	}
}
