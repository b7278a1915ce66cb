package twiliosim

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (s *Simulator) control(mux *http.ServeMux) {
	mux.HandleFunc("GET /sim/faults", s.getFaults)
	mux.HandleFunc("PUT /sim/faults", s.putFaults)
	mux.HandleFunc("DELETE /sim/faults", func(w http.ResponseWriter, _ *http.Request) { s.setFaults(w, Faults{}) })
	mux.HandleFunc("POST /sim/inbound", s.postInbound)
	mux.HandleFunc("GET /sim/phones", s.getPhones)
	mux.HandleFunc("GET /sim/phones/{number}", s.getPhone)
	mux.HandleFunc("PUT /sim/contents/{sid}/approval", s.putReview)
	mux.HandleFunc("GET /sim/stats", s.getStats)
	mux.HandleFunc("GET /sim/recipients", s.getRecipients)
	mux.HandleFunc("GET /sim/messages", s.getMessages)
	mux.HandleFunc("GET /sim/callbacks", s.getCallbacks)
	mux.HandleFunc("POST /sim/reset", s.postReset)
	mux.HandleFunc("GET /sim/health", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
}

func (s *Simulator) getFaults(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	faults := s.state.faults
	s.mu.Unlock()
	reply(w, http.StatusOK, faults)
}

func (s *Simulator) putFaults(w http.ResponseWriter, r *http.Request) {
	var faults Faults
	if err := readJSON(w, r, &faults); err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	if err := faults.validate(); err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	s.setFaults(w, faults)
}

func (s *Simulator) setFaults(w http.ResponseWriter, faults Faults) {
	refused := s.durably(func(time.Time) (entry, *refusal) {
		s.tally = newTally()
		return entry{Faults: &faults}, nil
	})
	if refused != nil {
		fail(w, refused)
		return
	}
	reply(w, http.StatusOK, faults)
}

// Phone is the body of POST /sim/inbound: a person writes to one of our senders.
type Phone struct {
	From          string `json:"from"` // E.164: the person
	To            string `json:"to"`   // E.164: our sender
	Channel       string `json:"channel,omitempty"`
	Body          string `json:"body"`
	SID           string `json:"sid,omitempty"` // a new one if not given; the same again is Twilio's retry
	ProfileName   string `json:"profile_name,omitempty"`
	ButtonText    string `json:"button_text,omitempty"`
	ButtonPayload string `json:"button_payload,omitempty"`
	OptOutType    string `json:"opt_out_type,omitempty"`
	NumMedia      int    `json:"num_media,omitempty"`
}

// Answer is what our webhook said to a phone's message.
type Answer struct {
	SID         string   `json:"sid"`
	Status      int      `json:"status"` // HTTP; 0 when no answer came
	ContentType string   `json:"content_type"`
	Body        string   `json:"body"`
	Replies     []string `json:"replies"` // the texts that the answer sends back to the phone
}

func (s *Simulator) postInbound(w http.ResponseWriter, r *http.Request) {
	var phone Phone
	if err := readJSON(w, r, &phone); err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	if phone.Channel == "" {
		phone.Channel = "whatsapp"
	}
	if !isE164(phone.From) || !isE164(phone.To) || (phone.Channel != "whatsapp" && phone.Channel != "sms") || phone.NumMedia < 0 {
		controlFault(w, http.StatusBadRequest, errors.New("want from and to in E.164, channel whatsapp or sms"))
		return
	}
	if s.inboundURL == "" {
		controlFault(w, http.StatusConflict, errors.New("no inbound webhook is configured"))
		return
	}
	m := &record{
		SID:       phone.SID,
		Direction: directionInbound,
		From:      addressOn(phone.Channel, phone.From),
		To:        addressOn(phone.Channel, phone.To),
		Body:      phone.Body,
		NumMedia:  phone.NumMedia,
	}
	if m.SID == "" {
		m.SID = newSID()
	}
	if refused := s.acceptInbound(m); refused != nil {
		fail(w, refused)
		return
	}
	answer := s.post(r.Context(), s.inboundURL, s.inboundForm(m, phone), idempotencyToken(m.SID, "inbound"))
	replies := []string{}
	if answer.ok() {
		replies = repliesOf(answer)
	}
	for _, text := range replies {
		if refused := s.acceptReply(m, text); refused != nil {
			fail(w, refused)
			return
		}
	}
	reply(w, http.StatusOK, Answer{SID: m.SID, Status: answer.status, ContentType: answer.contentType, Body: answer.body, Replies: replies})
}

// acceptInbound keeps a phone's message; one whose SID is known already is the same message again.
func (s *Simulator) acceptInbound(m *record) *refusal {
	s.mu.Lock()
	_, again := s.state.bySID[m.SID]
	s.mu.Unlock()
	if again {
		return nil
	}
	return s.accept(m, func(now time.Time) *refusal {
		m.Ordinal = len(s.state.messages) + 1
		m.Steps = []step{{Status: "received", At: now}}
		return nil
	})
}

// acceptReply keeps a message that the answer to a webhook sends; nobody is told how it fares.
func (s *Simulator) acceptReply(to *record, text string) *refusal {
	m := &record{SID: newSID(), Direction: directionReply, From: to.To, To: to.From, Body: text, Validity: 10 * time.Hour}
	return s.accept(m, func(now time.Time) *refusal { return s.plan(m, now, nil) })
}

func (s *Simulator) inboundForm(m *record, phone Phone) url.Values {
	form := url.Values{}
	form.Set("AccountSid", s.account)
	form.Set("ApiVersion", apiVersion)
	for _, name := range []string{"MessageSid", "SmsSid", "SmsMessageSid"} {
		form.Set(name, m.SID)
	}
	form.Set("SmsStatus", "received")
	form.Set("From", m.From)
	form.Set("To", m.To)
	form.Set("Body", m.Body)
	form.Set("NumSegments", strconv.Itoa(segments(m)))
	form.Set("NumMedia", strconv.Itoa(m.NumMedia))
	for i := range m.NumMedia {
		n := strconv.Itoa(i)
		form.Set("MediaContentType"+n, "image/jpeg")
		form.Set("MediaUrl"+n, "https://api.twilio.com/"+apiVersion+"/Accounts/"+s.account+"/Messages/"+m.SID+"/Media/"+n)
	}
	if phone.Channel == "whatsapp" {
		form.Set("WaId", strings.TrimPrefix(phone.From, "+"))
		form.Set("ProfileName", phone.ProfileName)
		form.Set("MessageType", messageType(phone))
	}
	for name, v := range map[string]string{"ButtonText": phone.ButtonText, "ButtonPayload": phone.ButtonPayload, "OptOutType": phone.OptOutType} {
		if v != "" {
			form.Set(name, v)
		}
	}
	return form
}

func messageType(phone Phone) string {
	switch {
	case phone.ButtonText != "" || phone.ButtonPayload != "":
		return "button"
	case phone.NumMedia > 0:
		return "image"
	}
	return "text"
}

// repliesOf reads the messages of an answer: TwiML, or a plain text, which Twilio sends as it is.
func repliesOf(answer webhookAnswer) []string {
	media, _, err := mime.ParseMediaType(answer.contentType)
	if err != nil {
		return []string{}
	}
	texts := []string{}
	switch media {
	case "text/plain":
		texts = append(texts, answer.body)
	case "text/xml", "application/xml":
		var response struct {
			Messages []struct {
				Body string `xml:"Body"`
				Text string `xml:",chardata"`
			} `xml:"Message"`
		}
		if xml.Unmarshal([]byte(answer.body), &response) == nil {
			for _, m := range response.Messages {
				if m.Body == "" {
					m.Body = strings.TrimSpace(m.Text)
				}
				texts = append(texts, m.Body)
			}
		}
	}
	kept := texts[:0]
	for _, text := range texts {
		if text != "" {
			kept = append(kept, text)
		}
	}
	return kept
}

// Stats is the body of GET /sim/stats. Accepted and Recipients count messages that the Messages API accepted
// (outbound-api) within the filters, Recipients those that are not deleted; the rest is about everything since the last reset.
type Stats struct {
	Accepted   int            `json:"accepted"`
	Recipients map[string]int `json:"recipients,omitzero"` // by address; left out at ?by_recipient=false
	// FirstAcceptedAt and LastAcceptedAt are left out when nothing was accepted.
	FirstAcceptedAt time.Time `json:"first_accepted_at,omitzero"`
	LastAcceptedAt  time.Time `json:"last_accepted_at,omitzero"`
	// MaxPerSecond is, by sender's address, the most messages accepted within any one second.
	MaxPerSecond map[string]int `json:"max_per_second"`
	Callbacks    CallbackStats  `json:"callbacks"`
}

// CallbackStats is about status callbacks.
type CallbackStats struct {
	CallbackCounts
	// Latency is about those that ended since the faults were last set, or everything was reset.
	Latency Latency `json:"latency_ms"`
}

// CallbackCounts counts status callbacks. Owed ones are on disk and neither delivered nor given up yet; dropped ones
// are a fault's and were never owed.
type CallbackCounts struct {
	Owed      int `json:"owed"`
	Delivered int `json:"delivered"`
	Failed    int `json:"failed"`
	Dropped   int `json:"dropped"`
}

// Latency is how long status callbacks took until they were answered or given up, their retries included, in
// milliseconds. All are 0 when there was none.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// latencyOf sorts what it is given.
func latencyOf(took []time.Duration) Latency {
	if len(took) == 0 {
		return Latency{}
	}
	slices.Sort(took)
	// The smallest that so many percent do not exceed.
	percentile := func(p int) float64 { return milliseconds(took[(len(took)*p+99)/100-1]) }
	return Latency{P50: percentile(50), P99: percentile(99), Max: percentile(100)}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (s *Simulator) getStats(w http.ResponseWriter, r *http.Request) {
	keep, err := accepted(r.URL.Query())
	if err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	byRecipient := true
	if raw := r.URL.Query().Get("by_recipient"); raw != "" {
		if byRecipient, err = strconv.ParseBool(raw); err != nil {
			controlFault(w, http.StatusBadRequest, errors.New("by_recipient: want true or false"))
			return
		}
	}
	stats, answered := s.stats(keep, byRecipient)
	stats.Callbacks.Latency = latencyOf(answered) // sorted while nobody waits for the lock
	reply(w, http.StatusOK, stats)
}

// stats returns beside the totals how long each status callback took.
func (s *Simulator) stats(keep func(*record) bool, byRecipient bool) (Stats, []time.Duration) {
	stats := Stats{MaxPerSecond: map[string]int{}}
	if byRecipient {
		stats.Recipients = map[string]int{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	recent := map[string][]time.Time{} // by sender: acceptances of the last second
	for _, m := range s.state.messages {
		if m.Direction != directionAPI || !keep(m) {
			continue
		}
		if stats.Accepted == 0 {
			stats.FirstAcceptedAt = m.created()
		}
		stats.Accepted++
		stats.LastAcceptedAt = m.created()
		if byRecipient && !m.deleted {
			stats.Recipients[m.To]++
		}
		window := recent[m.From]
		for len(window) > 0 && m.created().Sub(window[0]) >= time.Second {
			window = window[1:]
		}
		recent[m.From] = append(window, m.created())
		stats.MaxPerSecond[m.From] = max(stats.MaxPerSecond[m.From], len(recent[m.From]))
	}
	stats.Callbacks.CallbackCounts = CallbackCounts{Owed: s.state.owed, Delivered: s.state.delivered, Failed: s.state.failed, Dropped: s.state.dropped}
	return stats, slices.Clone(s.tally.answered)
}

// Message is a message as the control API shows it.
type Message struct {
	SID            string    `json:"sid"`
	Direction      string    `json:"direction"`
	From           string    `json:"from"` // an address
	To             string    `json:"to"`
	Body           string    `json:"body"`
	ContentSID     string    `json:"content_sid,omitempty"`
	Status         string    `json:"status"` // as of now
	ErrorCode      int       `json:"error_code"`
	StatusCallback string    `json:"status_callback,omitempty"`
	ValiditySecs   int       `json:"validity_period"`
	AcceptedAt     time.Time `json:"accepted_at"`
}

func (r *record) view(now time.Time) Message {
	reached := r.at(now)
	return Message{
		SID:            r.SID,
		Direction:      r.Direction,
		From:           r.From,
		To:             r.To,
		Body:           r.Body,
		ContentSID:     r.ContentSID,
		Status:         reached.Status,
		ErrorCode:      reached.Code,
		StatusCallback: r.StatusCallback,
		ValiditySecs:   int(r.Validity / time.Second),
		AcceptedAt:     r.created(),
	}
}

// Recipient is somebody whom the Messages API accepted messages for, with each message as it stands.
type Recipient struct {
	To       string    `json:"to"` // an address
	Accepted int       `json:"accepted"`
	Messages []Message `json:"messages"` // oldest first
}

func (s *Simulator) getRecipients(w http.ResponseWriter, r *http.Request) {
	keep, err := accepted(r.URL.Query())
	if err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusOK, s.recipients(keep))
}

func (s *Simulator) recipients(keep func(*record) bool) []*Recipient {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	recipients := []*Recipient{} // in the order of their first message
	index := map[string]*Recipient{}
	for _, m := range s.state.messages {
		if m.Direction != directionAPI || m.deleted || !keep(m) {
			continue
		}
		to := index[m.To]
		if to == nil {
			to = &Recipient{To: m.To}
			index[m.To] = to
			recipients = append(recipients, to)
		}
		to.Accepted++
		to.Messages = append(to.Messages, m.view(now))
	}
	return recipients
}

func (s *Simulator) getMessages(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	keep, err := accepted(query)
	if err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	limit := -1
	if raw := query.Get("limit"); raw != "" {
		if limit, err = strconv.Atoi(raw); err != nil || limit < 0 {
			controlFault(w, http.StatusBadRequest, errors.New("limit: want a number"))
			return
		}
	}
	reply(w, http.StatusOK, s.views(keep, query.Get("direction"), limit))
}

// views shows the messages that pass the filters, limit at most; -1 means all of them.
func (s *Simulator) views(keep func(*record) bool, direction string, limit int) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	messages := []Message{}
	for _, m := range s.state.messages {
		if limit >= 0 && len(messages) == limit {
			break
		}
		if !m.deleted && keep(m) && (direction == "" || direction == m.Direction) {
			messages = append(messages, m.view(now))
		}
	}
	return messages
}

// Callback is a status callback that our webhook has answered with success. A doubled one is two of them.
type Callback struct {
	SID       string `json:"sid"`
	Status    string `json:"status"`
	ErrorCode int    `json:"error_code"`
}

func (s *Simulator) getCallbacks(w http.ResponseWriter, r *http.Request) {
	keep, err := accepted(r.URL.Query())
	if err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusOK, s.callbacks(keep))
}

// callbacks shows the callbacks delivered for the messages that pass the filters, message by message.
func (s *Simulator) callbacks(keep func(*record) bool) []Callback {
	s.mu.Lock()
	defer s.mu.Unlock()
	callbacks := []Callback{}
	for _, m := range s.state.messages {
		if !keep(m) {
			continue
		}
		for _, cb := range m.Callbacks {
			if cb.delivered {
				callbacks = append(callbacks, Callback{SID: m.SID, Status: cb.Step.Status, ErrorCode: cb.Step.Code})
			}
		}
	}
	return callbacks
}

func (s *Simulator) postReset(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.journal.reset(); err != nil {
		controlFault(w, http.StatusInternalServerError, err)
		return
	}
	s.state, s.tally, s.queue = newState(), newTally(), nil
	w.WriteHeader(http.StatusNoContent)
}

// accepted makes a filter of ?since= and ?to=, which is a number or an address.
func accepted(query url.Values) (func(*record) bool, error) {
	var since time.Time
	if raw := query.Get("since"); raw != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, raw); err != nil {
			return nil, errors.New("since: want RFC 3339")
		}
	}
	to := strings.Replace(query.Get("to"), " ", "+", 1) // a plus that was not escaped
	return func(m *record) bool {
		return !m.created().Before(since) && (to == "" || to == m.To || to == numberOf(m.To))
	}, nil
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

func controlFault(w http.ResponseWriter, status int, err error) {
	reply(w, status, map[string]string{"error": err.Error()})
}
