package twiliosim

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const maxRequest = 1 << 20

var contentPattern = regexp.MustCompile(`^HX[0-9a-fA-F]{32}$`)

// Handler serves the Messages API, the Content API and the control API. Pages of strangers that a browser shows cannot use it.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	const list = "/" + apiVersion + "/Accounts/{account}/Messages.json"
	const one = "/" + apiVersion + "/Accounts/{account}/Messages/{file}"
	mux.Handle("POST "+list, s.api("create", s.create))
	mux.Handle("GET "+list, s.api("list", s.list))
	mux.Handle("GET "+one, s.api("fetch", s.fetch))
	mux.Handle("POST "+one, s.api("update", s.update))
	mux.Handle("DELETE "+one, s.api("delete", s.remove))
	s.contentAPI(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fail(w, refuse(20404)) })
	s.control(mux)
	return http.NewCrossOriginProtection().Handler(mux)
}

// api signs the caller in and lets the faults in force have their way before and after the operation.
func (s *Simulator) api(operation string, serve func(http.ResponseWriter, *http.Request, *refusal)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Twilio-Request-Id", "RQ"+newSID()[2:])
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		user, password, _ := r.BasicAuth()
		known := subtle.ConstantTimeCompare([]byte(user), []byte(s.account)) &
			subtle.ConstantTimeCompare([]byte(password), []byte(s.token))
		if known != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
			fail(w, refuse(20003))
			return
		}
		var unreadable *refusal
		if err := r.ParseForm(); err != nil {
			unreadable = refuse(20001)
		}
		if operation != "content" && r.PathValue("account") != s.account {
			fail(w, refuse(20404))
			return
		}
		s.mu.Lock()
		latency := time.Duration(s.state.faults.LatencyMS) * time.Millisecond
		met := s.tally.request(s.state.faults, operation)
		s.mu.Unlock()
		if latency > 0 && !s.pause(r, latency) {
			return
		}
		if met == nil {
			serve(w, r, unreadable)
			return
		}
		s.serveFault(w, r, met, func(w http.ResponseWriter) { serve(w, r, unreadable) })
	})
}

// serveFault answers a request that meets a fault.
func (s *Simulator) serveFault(w http.ResponseWriter, r *http.Request, f *RequestFault, serve func(http.ResponseWriter)) {
	hang := time.Duration(f.HangMS) * time.Millisecond
	if hang == 0 {
		hang = time.Minute
	}
	answer := &heldAnswer{header: http.Header{}}
	if requestFaults[f.Fault] {
		serve(answer)
		if answer.status >= 400 { // a refused message cannot be lost after its acceptance
			answer.release(w, len(answer.body))
			return
		}
	}
	switch f.Fault {
	case "throttle":
		if f.RetryAfterSeconds > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfterSeconds))
		}
		fail(w, refuse(20429))
	case "error_before", "error_after":
		status := f.Status
		if status == 0 {
			status = map[string]int{"error_before": 503, "error_after": 500}[f.Fault]
		}
		fail(w, &refusal{status: status, code: 20500, text: explain(20500)})
	case "reset_before", "reset_after":
		reset(w)
	case "hang_before", "hang_after":
		s.pause(r, hang)
		reset(w)
	case "truncate":
		answer.release(w, len(answer.body)/2)
		panic(http.ErrAbortHandler) // the rest never comes
	}
}

// pause waits, and reports whether it did so to the end.
func (s *Simulator) pause(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.done:
	}
	return false
}

// reset breaks the connection so that the other side sees a reset and not an end.
func reset(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// heldAnswer keeps an answer back until it is known how much of it may leave.
type heldAnswer struct {
	header http.Header
	status int
	body   []byte
}

func (h *heldAnswer) Header() http.Header         { return h.header }
func (h *heldAnswer) WriteHeader(status int)      { h.status = status }
func (h *heldAnswer) Write(b []byte) (int, error) { h.body = append(h.body, b...); return len(b), nil }

// release lets the first n bytes of the body leave, under the length of all of them.
func (h *heldAnswer) release(w http.ResponseWriter, n int) {
	for name, values := range h.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(h.body)))
	w.WriteHeader(h.status)
	_, _ = w.Write(h.body[:n])
	_ = http.NewResponseController(w).Flush()
}

func (s *Simulator) create(w http.ResponseWriter, r *http.Request, unreadable *refusal) {
	if unreadable != nil {
		fail(w, unreadable)
		return
	}
	form := r.PostForm
	m, refused := newRecord(form)
	if refused == nil {
		refused = s.accept(m, func(now time.Time) *refusal {
			met := s.tally.number(s.state.faults, numberOf(m.To))
			if met != nil && met.Sync {
				return refuse(met.Code)
			}
			if refused := s.fillContent(m); refused != nil {
				return refused
			}
			return s.plan(m, now, met)
		})
	}
	if refused != nil {
		fail(w, refused)
		return
	}
	s.mu.Lock()
	res := m.resource(s.account, m.created())
	s.mu.Unlock()
	reply(w, http.StatusCreated, res)
}

// newRecord validates a request as Twilio does, one error at a time.
func newRecord(form url.Values) (*record, *refusal) {
	m := &record{
		SID:              newSID(),
		Direction:        directionAPI,
		From:             form.Get("From"),
		To:               form.Get("To"),
		Body:             form.Get("Body"),
		ContentSID:       form.Get("ContentSid"),
		ContentVariables: form.Get("ContentVariables"),
		NumMedia:         len(form["MediaUrl"]),
		StatusCallback:   form.Get("StatusCallback"),
		Validity:         10 * time.Hour,
	}
	from, to := numberOf(m.From), numberOf(m.To)
	if code := testNumbers(from, to); code != 0 {
		return nil, refuse(code)
	}
	switch {
	case m.To == "":
		return nil, refuse(21604)
	case form.Get("MessagingServiceSid") != "": // the account has none
		return nil, refuse(21701)
	case m.From == "":
		return nil, refuse(21603)
	case m.Body == "" && m.NumMedia == 0 && m.ContentSID == "":
		return nil, refuse(21602)
	case utf8.RuneCountInString(m.Body) > 1600:
		return nil, refuse(21617)
	case !isE164(to) || m.From == m.To:
		return nil, refuse(21211)
	case !isE164(from):
		return nil, refuse(21212)
	case channelOf(m.From) != channelOf(m.To):
		return nil, refuse(21910)
	case m.ContentSID != "" && !contentPattern.MatchString(m.ContentSID):
		return nil, refuse(21655)
	case m.ContentVariables != "" && m.ContentSID == "":
		return nil, refuse(21654)
	}
	if _, ok := parseVariables(m.ContentVariables); !ok {
		return nil, refuse(21656)
	}
	if m.StatusCallback != "" {
		if u, ok := parseWebhookURL(m.StatusCallback); !ok || strings.Contains(u.Hostname(), "_") {
			return nil, refuse(21609)
		}
	}
	if raw := form.Get("ValidityPeriod"); raw != "" {
		seconds, err := strconv.Atoi(raw)
		if err != nil || seconds < 1 || seconds > 36000 {
			return nil, refuse(90007)
		}
		m.Validity = time.Duration(seconds) * time.Second
	}
	return m, nil
}

// testNumbers are Twilio's own numbers for provoking errors; 0 means none is meant.
func testNumbers(from, to string) int {
	switch to {
	case "+15005550001":
		return 21211
	case "+15005550002":
		return 21612
	case "+15005550003":
		return 21408
	case "+15005550004":
		return 21610
	case "+15005550009":
		return 21614
	}
	switch from {
	case "+15005550001":
		return 21212
	case "+15005550007":
		return 21606
	case "+15005550008":
		return 21611
	}
	return 0
}

func (s *Simulator) fetch(w http.ResponseWriter, r *http.Request, _ *refusal) {
	s.mu.Lock()
	m, refused := s.message(r)
	var res resource
	if refused == nil {
		res = m.resource(s.account, s.now())
	}
	s.mu.Unlock()
	if refused != nil {
		fail(w, refused)
		return
	}
	reply(w, http.StatusOK, res)
}

// message finds the message that a path names. s.mu is held.
func (s *Simulator) message(r *http.Request) (*record, *refusal) {
	sid, isJSON := strings.CutSuffix(r.PathValue("file"), ".json")
	if m := s.state.bySID[sid]; m != nil && isJSON {
		return m, nil
	}
	return nil, refuse(20404)
}

// update redacts a message (an empty Body) or cancels it (Status=canceled).
func (s *Simulator) update(w http.ResponseWriter, r *http.Request, unreadable *refusal) {
	if unreadable != nil {
		fail(w, unreadable)
		return
	}
	_, hasBody := r.PostForm["Body"]
	status, hasStatus := r.PostForm.Get("Status"), r.PostForm.Has("Status")
	var m *record
	refused := s.durably(func(now time.Time) (entry, *refusal) {
		var refused *refusal
		if m, refused = s.message(r); refused != nil {
			return entry{}, refused
		}
		switch {
		case hasBody && hasStatus:
			return entry{}, refuse(30400)
		case hasStatus && status == "canceled" && m.cancelable(now):
			return entry{Cancel: &withdrawal{SID: m.SID, At: now}}, nil
		case hasStatus && status == "canceled":
			return entry{}, refuse(30409)
		case hasBody && r.PostForm.Get("Body") == "" && m.ended(now):
			return entry{Redact: m.SID}, nil
		case hasBody && r.PostForm.Get("Body") == "":
			return entry{}, refuse(20009)
		}
		return entry{}, refuse(20001)
	})
	if refused != nil {
		fail(w, refused)
		return
	}
	s.mu.Lock()
	s.enqueue(m)
	res := m.resource(s.account, s.now())
	scrubbed := s.scrub(m)
	s.mu.Unlock()
	if scrubbed != nil {
		s.log.Error("journal not scrubbed", "error", scrubbed)
		fail(w, refuse(20500))
		return
	}
	reply(w, http.StatusOK, res)
}

func (s *Simulator) remove(w http.ResponseWriter, r *http.Request, _ *refusal) {
	var m *record
	refused := s.durably(func(now time.Time) (entry, *refusal) {
		var refused *refusal
		if m, refused = s.message(r); refused != nil {
			return entry{}, refused
		}
		if !m.ended(now) {
			return entry{}, refuse(20009)
		}
		return entry{Delete: m.SID}, nil
	})
	if refused != nil {
		fail(w, refused)
		return
	}
	s.mu.Lock()
	err := s.scrub(m)
	s.mu.Unlock()
	if err != nil {
		s.log.Error("journal not scrubbed", "error", err)
		fail(w, refuse(20500))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// page is a part of the list, in Twilio's older way of paging: by number, and by a token that holds the place while
// newer messages arrive.
type page struct {
	End             int        `json:"end"`
	FirstPageURI    string     `json:"first_page_uri"`
	Messages        []resource `json:"messages"`
	NextPageURI     *string    `json:"next_page_uri"`
	Page            int        `json:"page"`
	PageSize        int        `json:"page_size"`
	PreviousPageURI *string    `json:"previous_page_uri"`
	Start           int        `json:"start"`
	URI             string     `json:"uri"`
}

// search is what the list is asked for.
type search struct {
	from, to string // addresses; empty means any
	sent     func(time.Time) bool
	size     int
	number   int // of the page
	before   int // the ordinal that the page's token names; 0 without a token
}

func parseSearch(query url.Values) (search, error) {
	q := search{from: query.Get("From"), to: query.Get("To"), size: 50}
	for name, into := range map[string]*int{"PageSize": &q.size, "Page": &q.number} {
		if raw := query.Get(name); raw != "" {
			n, err := strconv.Atoi(raw)
			if err != nil || n < 0 {
				return search{}, errors.New("not a number")
			}
			*into = n
		}
	}
	q.size = min(max(q.size, 1), 1000)
	var err error
	if token := query.Get("PageToken"); token != "" {
		if q.before, err = strconv.Atoi(strings.TrimPrefix(token, "PA")); err != nil {
			return search{}, err
		}
	}
	q.sent, err = dateFilter(query)
	return q, err
}

func (s *Simulator) list(w http.ResponseWriter, r *http.Request, _ *refusal) {
	query := r.URL.Query()
	q, err := parseSearch(query)
	if err != nil {
		fail(w, refuse(20001))
		return
	}
	found, next := s.find(q)
	uri := func(number int, token string) *string {
		u := url.Values{"PageSize": {strconv.Itoa(q.size)}, "Page": {strconv.Itoa(number)}}
		for _, name := range []string{"To", "From", "DateSent", "DateSent<", "DateSent>"} {
			if v := query.Get(name); v != "" {
				u.Set(name, v)
			}
		}
		if token != "" {
			u.Set("PageToken", token)
		}
		address := r.URL.Path + "?" + u.Encode()
		return &address
	}
	p := page{
		FirstPageURI: *uri(0, ""),
		Messages:     found,
		Page:         q.number,
		PageSize:     q.size,
		Start:        q.number * q.size,
		End:          max(q.number*q.size+len(found)-1, 0),
		URI:          r.URL.RequestURI(),
	}
	if next > 0 {
		p.NextPageURI = uri(q.number+1, "PA"+strconv.Itoa(next))
	}
	if q.number > 0 {
		p.PreviousPageURI = uri(q.number-1, "")
	}
	reply(w, http.StatusOK, p)
}

// find returns one page, newest first, and the ordinal before which the next page begins; 0 when there is none.
func (s *Simulator) find(q search) (found []resource, next int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	visible := now.Add(-time.Duration(s.state.faults.ListLagMS) * time.Millisecond)
	candidates := s.state.messages
	if q.to != "" {
		candidates = s.state.byTo[q.to]
	}
	skip := q.number * q.size
	if q.before > 0 {
		skip = 0
	}
	found = []resource{}
	oldest := 0
	for _, m := range slices.Backward(candidates) {
		if m.deleted || (q.before > 0 && m.Ordinal >= q.before) || (q.from != "" && m.From != q.from) ||
			m.created().After(visible) || !q.sent(m.sent(now)) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if len(found) == q.size {
			return found, oldest
		}
		found = append(found, m.resource(s.account, now))
		oldest = m.Ordinal
	}
	return found, 0
}

// dateFilter reads Twilio's filters by the day (GMT) on which a message was sent. Whatever is not sent passes none.
func dateFilter(query url.Values) (func(sent time.Time) bool, error) {
	var tests []func(day string) bool
	for name, test := range map[string]func(day, wanted string) bool{
		"DateSent":  func(day, wanted string) bool { return day == wanted },
		"DateSent<": func(day, wanted string) bool { return day <= wanted },
		"DateSent>": func(day, wanted string) bool { return day >= wanted },
	} {
		raw := query.Get(name)
		if raw == "" {
			continue
		}
		at, err := time.Parse(time.DateOnly, raw)
		if err != nil {
			if at, err = time.Parse(time.RFC3339, raw); err != nil {
				return nil, err
			}
		}
		wanted := at.UTC().Format(time.DateOnly)
		tests = append(tests, func(day string) bool { return test(day, wanted) })
	}
	return func(sent time.Time) bool {
		for _, test := range tests {
			if sent.IsZero() || !test(sent.UTC().Format(time.DateOnly)) {
				return false
			}
		}
		return true
	}, nil
}

func fail(w http.ResponseWriter, f *refusal) {
	reply(w, f.status, struct {
		Code     int    `json:"code"`
		Message  string `json:"message"`
		MoreInfo string `json:"more_info"`
		Status   int    `json:"status"`
	}{f.code, f.text, "https://www.twilio.com/docs/errors/" + strconv.Itoa(f.code), f.status})
}

func reply(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "unrepresentable answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
