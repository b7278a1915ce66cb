package twiliosim

import (
	"slices"
	"time"
)

// state is all that the simulator knows. Only apply changes it.
type state struct {
	messages []*record // in the order of acceptance
	bySID    map[string]*record
	byTo     map[string][]*record // by address
	byFrom   map[string][]*record // those from people, by address
	lastSent map[string]time.Time // by sender's address: when its queue is empty
	lastSeen map[conversation]time.Time
	faults   Faults

	contents     map[string]*content
	contentOrder []string // their SIDs, the oldest first

	owed, delivered, failed, dropped int // callbacks
}

// conversation is what WhatsApp's 24-hour window belongs to.
type conversation struct{ sender, person string }

func newState() *state {
	return &state{
		bySID:    map[string]*record{},
		byTo:     map[string][]*record{},
		byFrom:   map[string][]*record{},
		lastSent: map[string]time.Time{},
		lastSeen: map[conversation]time.Time{},
		contents: map[string]*content{},
	}
}

func (s *state) apply(e entry, at place) {
	switch {
	case e.Accept != nil:
		e.Accept.place = at
		s.accept(e.Accept)
	case e.Settle != nil:
		if r := s.bySID[e.Settle.SID]; r != nil && e.Settle.Callback < len(r.Callbacks) {
			s.settle(r, e.Settle)
		}
	case e.Cancel != nil:
		if r := s.bySID[e.Cancel.SID]; r != nil {
			s.cancel(r, e.Cancel.At)
		}
	case e.Redact != "":
		if r := s.bySID[e.Redact]; r != nil {
			r.redacted = true
			r.redact()
		}
	case e.Delete != "":
		if r := s.bySID[e.Delete]; r != nil {
			s.remove(r)
		}
	case e.Faults != nil:
		s.faults = *e.Faults
	case e.Content != nil:
		s.contents[e.Content.SID] = e.Content
		s.contentOrder = append(s.contentOrder, e.Content.SID)
	case e.Approve != nil:
		if c := s.contents[e.Approve.SID]; c != nil {
			c.Approval = e.Approve.Approval
		}
	case e.DropContent != "":
		delete(s.contents, e.DropContent)
		s.contentOrder = slices.DeleteFunc(s.contentOrder, func(sid string) bool { return sid == e.DropContent })
	}
}

func (s *state) accept(r *record) {
	s.messages = append(s.messages, r)
	s.bySID[r.SID] = r
	s.byTo[r.To] = append(s.byTo[r.To], r)
	s.owed += len(r.Callbacks)
	s.dropped += r.Dropped
	if r.Direction == directionInbound {
		s.byFrom[r.From] = append(s.byFrom[r.From], r)
		s.lastSeen[conversation{sender: r.To, person: r.From}] = r.created()
		return
	}
	for _, st := range r.Steps {
		if st.Status == "sent" && st.At.After(s.lastSent[r.From]) {
			s.lastSent[r.From] = st.At
		}
	}
}

// remove keeps of a message only that it was accepted, and when.
func (s *state) remove(r *record) {
	r.deleted = true
	s.withdraw(r)
	delete(s.bySID, r.SID)
	without(s.byTo, r.To, r)
	if r.Direction == directionInbound {
		without(s.byFrom, r.From, r)
		delete(s.lastSeen, conversation{sender: r.To, person: r.From})
	}
	r.forget()
}

// without takes a message out of an index.
func without(index map[string][]*record, key string, r *record) {
	index[key] = slices.DeleteFunc(index[key], func(other *record) bool { return other == r })
	if len(index[key]) == 0 {
		delete(index, key)
	}
}

func (s *state) settle(r *record, end *settlement) {
	cb := &r.Callbacks[end.Callback]
	if cb.settled {
		return
	}
	cb.settled, cb.delivered = true, end.Delivered
	s.owed--
	if end.Delivered {
		s.delivered++
	} else {
		s.failed++
	}
}

// cancel replaces the message's future by its end.
func (s *state) cancel(r *record, at time.Time) {
	s.withdraw(r)
	r.Steps = slices.DeleteFunc(r.Steps, func(st step) bool { return st.At.After(at) })
	end := step{Status: "canceled", At: at}
	r.Steps = append(r.Steps, end)
	if r.StatusCallback != "" {
		r.Callbacks = append(r.Callbacks, callback{Step: end, Due: at})
		s.owed++
	}
}

func (s *state) withdraw(r *record) {
	for i := range r.Callbacks {
		if !r.Callbacks[i].settled {
			r.Callbacks[i].settled = true
			s.owed--
		}
	}
}
