package twiliosim

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// PhoneTalk is a phone and the message that it showed last.
type PhoneTalk struct {
	Number string  `json:"number"` // E.164
	Last   Message `json:"last"`
}

const (
	shownTalks    = 20
	shownMessages = 100
	mostShown     = 1000
)

// person is the address of whoever the message is from or to, as opposed to our sender.
func (r *record) person() string {
	if r.Direction == directionInbound {
		return r.From
	}
	return r.To
}

// onPhone tells whether the person's phone shows the message: what they wrote themselves, and what was delivered.
func (r *record) onPhone(now time.Time) bool {
	status := r.at(now).Status
	return r.Direction == directionInbound || status == "delivered" || status == "read"
}

func (s *Simulator) getPhones(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r, shownTalks)
	if err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusOK, s.talks(limit))
}

func (s *Simulator) talks(limit int) []PhoneTalk {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	talks, seen := []PhoneTalk{}, map[string]bool{}
	for _, m := range slices.Backward(s.state.messages) {
		if len(talks) == limit {
			break
		}
		number := numberOf(m.person())
		if m.deleted || !m.onPhone(now) || seen[number] {
			continue
		}
		seen[number] = true
		talks = append(talks, PhoneTalk{number, m.view(now)})
	}
	return talks
}

func (s *Simulator) getPhone(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r, shownMessages)
	if err == nil && !isE164(r.PathValue("number")) {
		err = errors.New("want a number in E.164")
	}
	if err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusOK, s.shown(r.PathValue("number"), limit))
}

// shown is what a phone shows: its own messages and those that have reached it by now.
func (s *Simulator) shown(number string, limit int) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var records []*record
	for _, channel := range []string{"whatsapp", "sms"} {
		address := addressOn(channel, number)
		records = append(append(records, s.state.byTo[address]...), s.state.byFrom[address]...)
	}
	slices.SortFunc(records, func(a, b *record) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	now := s.now()
	messages := []Message{}
	for _, m := range records {
		if m.onPhone(now) {
			messages = append(messages, m.view(now))
		}
	}
	return messages[max(0, len(messages)-limit):]
}

// limitOf reads ?limit=.
func limitOf(r *http.Request, usual int) (int, error) {
	raw := r.URL.Query().Get("limit")
	if raw == "" {
		return usual, nil
	}
	limit, err := strconv.Atoi(raw)
	if err != nil || limit < 1 || limit > mostShown {
		return 0, errors.New("limit: want a number from 1 to " + strconv.Itoa(mostShown))
	}
	return limit, nil
}
