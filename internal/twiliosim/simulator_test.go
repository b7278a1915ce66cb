package twiliosim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twilio/twilio-go/client"
)

const (
	testAccount = "AC00000000000000000000000000000000"
	testToken   = "localstack"
	sender      = "whatsapp:+14155238886"
	person      = "whatsapp:+94771234567"
	eventually  = 10 * time.Second
	tick        = 5 * time.Millisecond
)

// quick lets messages travel in no time.
var quick = Delays{Sent: time.Millisecond, Delivered: time.Millisecond, Read: time.Millisecond}

// hook is our side of the webhooks: it keeps what it was sent and answers as told.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	got    []delivery
	answer http.HandlerFunc
}

type delivery struct {
	form      url.Values
	uri       string
	signature string
	token     string
	body      []byte
}

func newHook(t *testing.T, answer http.HandlerFunc) *hook {
	t.Helper()
	h := &hook{answer: answer}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		h.mu.Lock()
		h.got = append(h.got, delivery{form, r.RequestURI, r.Header.Get("X-Twilio-Signature"), r.Header.Get("I-Twilio-Idempotency-Token"), body})
		h.mu.Unlock()
		if h.answer != nil {
			h.answer(w, r)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) deliveries() []delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]delivery(nil), h.got...)
}

// statuses are the statuses that were reported, in the order of arrival.
func (h *hook) statuses() []string {
	all := []string{}
	for _, d := range h.deliveries() {
		all = append(all, d.form.Get("MessageStatus"))
	}
	return all
}

func (h *hook) await(t *testing.T, n int) []delivery {
	t.Helper()
	require.Eventually(t, func() bool { return len(h.deliveries()) >= n }, eventually, tick)
	return h.deliveries()
}

// served is a simulator that runs behind an HTTP server.
type served struct {
	*Simulator
	url string
}

func serve(t *testing.T, cfg Config) *served {
	t.Helper()
	cfg.AccountSID, cfg.AuthToken = testAccount, testToken
	if cfg.DataDir == "" {
		cfg.DataDir = t.TempDir()
	}
	sim, err := New(cfg)
	require.NoError(t, err)
	sim.state.faults.NoWindow = true // most tests are about other things: see enforceWindow
	server := httptest.NewServer(sim.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- sim.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ran)
		require.NoError(t, sim.Close())
		server.Close()
	})
	return &served{sim, server.URL}
}

// call makes a signed-in request and returns the status, the answer's headers and its JSON; status 0 means no answer.
func (s *served) call(t *testing.T, method, path string, form url.Values) (int, http.Header, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.SetBasicAuth(testAccount, testToken)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil
	}
	defer res.Body.Close()
	body := map[string]any{}
	if json.NewDecoder(res.Body).Decode(&body) != nil && res.StatusCode != http.StatusNoContent {
		return 0, res.Header, nil
	}
	return res.StatusCode, res.Header, body
}

const messages = "/2010-04-01/Accounts/" + testAccount + "/Messages"

func (s *served) send(t *testing.T, more ...string) (int, map[string]any) {
	t.Helper()
	form := url.Values{"From": {sender}, "To": {person}, "Body": {"Hello"}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	status, _, body := s.call(t, http.MethodPost, messages+".json", form)
	return status, body
}

// ask calls the control API.
func (s *served) ask(t *testing.T, method, path string, body, into any) int {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(text))
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	if into != nil {
		require.NoError(t, json.NewDecoder(res.Body).Decode(into))
	}
	return res.StatusCode
}

// enforceWindow has free text fail that WhatsApp does not let through.
func (s *served) enforceWindow(t *testing.T) {
	t.Helper()
	require.Equal(t, 200, s.ask(t, http.MethodDelete, "/sim/faults", nil, nil))
}

// faults puts faults in force; none of them is the 24-hour window.
func (s *served) faults(t *testing.T, f Faults) {
	t.Helper()
	f.NoWindow = true
	require.Equal(t, 200, s.ask(t, http.MethodPut, "/sim/faults", f, nil))
}

func (s *served) totals(t *testing.T) Stats {
	t.Helper()
	var stats Stats
	require.Equal(t, 200, s.ask(t, http.MethodGet, "/sim/stats", nil, &stats))
	return stats
}

func TestCreate(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	greeting := s.content(t, "Hi {{1}}")
	for name, tc := range map[string]struct {
		with   []string
		status int
		code   float64
	}{
		"Accepted":              {nil, 201, 0},
		"SMS":                   {[]string{"From", "+14155238886", "To", "+94771234567"}, 201, 0},
		"Template":              {[]string{"Body", "", "ContentSid", greeting, "ContentVariables", `{"1":"Ann"}`}, 201, 0},
		"UnknownTemplate":       {[]string{"Body", "", "ContentSid", "HX" + testAccount[2:]}, 400, 21655},
		"VariablesAlone":        {[]string{"ContentVariables", `{"1":"Ann"}`}, 400, 21654},
		"EmptyVariable":         {[]string{"ContentSid", greeting, "ContentVariables", `{"1":""}`}, 400, 21656},
		"NoRecipient":           {[]string{"To", ""}, 400, 21604},
		"NoSender":              {[]string{"From", ""}, 400, 21603},
		"NoText":                {[]string{"Body", ""}, 400, 21602},
		"LongText":              {[]string{"Body", strings.Repeat("ä", 1601)}, 400, 21617},
		"LongestText":           {[]string{"Body", strings.Repeat("ä", 1600)}, 201, 0},
		"BadRecipient":          {[]string{"To", "whatsapp:94771234567"}, 400, 21211},
		"BadSender":             {[]string{"From", "whatsapp:+0123"}, 400, 21212},
		"ToItself":              {[]string{"To", sender}, 400, 21211},
		"OtherChannel":          {[]string{"To", "+94771234567"}, 400, 21910},
		"RelativeCallback":      {[]string{"StatusCallback", "/webhooks/status"}, 400, 21609},
		"UnderscoreInCallback":  {[]string{"StatusCallback", "http://my_host/status"}, 400, 21609},
		"ValidityTooLong":       {[]string{"ValidityPeriod", "36001"}, 400, 90007},
		"ValidityZero":          {[]string{"ValidityPeriod", "0"}, 400, 90007},
		"ContentSidMalformed":   {[]string{"ContentSid", "HX1"}, 400, 21655},
		"VariablesNotJSON":      {[]string{"ContentSid", greeting, "ContentVariables", "Ann"}, 400, 21656},
		"MessagingService":      {[]string{"MessagingServiceSid", "MG" + testAccount[2:]}, 400, 21701},
		"TestNumberInvalid":     {[]string{"To", "whatsapp:+15005550001"}, 400, 21211},
		"TestNumberUnroutable":  {[]string{"To", "+15005550002"}, 400, 21612},
		"TestNumberCountry":     {[]string{"To", "+15005550003"}, 400, 21408},
		"TestNumberOptedOut":    {[]string{"To", "+15005550004"}, 400, 21610},
		"TestNumberLandline":    {[]string{"To", "+15005550009"}, 400, 21614},
		"TestSenderInvalid":     {[]string{"From", "+15005550001"}, 400, 21212},
		"TestSenderNotOwned":    {[]string{"From", "+15005550007"}, 400, 21606},
		"TestSenderQueueIsFull": {[]string{"From", "+15005550008"}, 400, 21611},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body := s.send(t, tc.with...)
			require.Equal(t, tc.status, status)
			if tc.code == 0 {
				require.Equal(t, "queued", body["status"])
				require.Equal(t, "outbound-api", body["direction"])
				require.Nil(t, body["date_sent"])
				require.Regexp(t, "^SM[0-9a-f]{32}$", body["sid"])
				return
			}
			require.Equal(t, tc.code, body["code"])
			require.EqualValues(t, tc.status, body["status"])
			require.NotEmpty(t, body["message"])
			require.Contains(t, body["more_info"], "https://www.twilio.com/docs/errors/")
		})
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+messages+".json", http.NoBody)
	require.NoError(t, err)
	req.SetBasicAuth(testAccount, "wrong")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 401, res.StatusCode)

	status, _, body := s.call(t, http.MethodGet, strings.Replace(messages, "AC0", "AC1", 1)+".json", nil)
	require.Equal(t, 404, status)
	require.EqualValues(t, 20404, body["code"])
	status, _, _ = s.call(t, http.MethodGet, messages+"/SM"+testAccount[2:]+".json", nil)
	require.Equal(t, 404, status)
}

func TestCallbacksAreThoseOfTwilio(t *testing.T) {
	t.Parallel()
	h := newHook(t, nil)
	s := serve(t, Config{})
	callbackURL := h.URL + "/webhooks/status?attempt=018f"
	status, body := s.send(t, "StatusCallback", callbackURL+"#rc=3&rp=5xx,ct,rt")
	require.Equal(t, 201, status)

	got := h.await(t, 3)
	require.Equal(t, []string{"sent", "delivered", "read"}, h.statuses())
	validator := client.NewRequestValidator(testToken)
	for _, d := range got {
		require.Equal(t, "/webhooks/status?attempt=018f", d.uri)
		require.True(t, validator.ValidateBody(callbackURL, d.body, d.signature))
		require.Equal(t, body["sid"], d.form.Get("MessageSid"))
		require.Equal(t, d.form.Get("MessageSid"), d.form.Get("SmsSid"))
		require.Equal(t, d.form.Get("MessageStatus"), d.form.Get("SmsStatus"))
		require.Equal(t, testAccount, d.form.Get("AccountSid"))
		require.Equal(t, "2010-04-01", d.form.Get("ApiVersion"))
		require.Equal(t, sender, d.form.Get("From"))
		require.Equal(t, person, d.form.Get("To"))
		require.Equal(t, "whatsapp", d.form.Get("ChannelPrefix"))
		require.False(t, d.form.Has("ErrorCode"))
	}
	require.Equal(t, "READ", got[2].form.Get("EventType"))
	require.NotEqual(t, got[0].token, got[1].token)

	_, _, message := s.call(t, http.MethodGet, messages+"/"+body["sid"].(string)+".json", nil)
	require.Equal(t, "read", message["status"])
	require.NotNil(t, message["date_sent"])
	require.Eventually(t, func() bool { return s.totals(t).Callbacks.CallbackCounts == CallbackCounts{Delivered: 3} }, eventually, tick)
}

func TestUnreadMessagesEndDelivered(t *testing.T) {
	t.Parallel()
	h := newHook(t, nil)
	s := serve(t, Config{Delays: quick, Unread: 1})
	s.send(t, "StatusCallback", h.URL)
	require.Eventually(t, func() bool { return s.totals(t).Callbacks.CallbackCounts == CallbackCounts{Delivered: 2} }, eventually, tick)
	require.ElementsMatch(t, []string{"sent", "delivered"}, h.statuses())
}

func TestListPages(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	for range 7 {
		s.send(t)
	}
	s.send(t, "To", "whatsapp:+94770000000")
	path := messages + ".json?PageSize=3&To=" + url.QueryEscape(person) + "&From=" + url.QueryEscape(sender)
	seen := map[string]bool{}
	pages := 0
	for path != "" {
		status, _, body := s.call(t, http.MethodGet, path, nil)
		require.Equal(t, 200, status)
		for _, m := range body["messages"].([]any) {
			sid := m.(map[string]any)["sid"].(string)
			require.False(t, seen[sid], "no message twice, though new ones arrive between the pages")
			seen[sid] = true
		}
		pages++
		path, _ = body["next_page_uri"].(string)
		s.send(t)
	}
	require.Equal(t, 3, pages)
	require.Len(t, seen, 7)
}

func TestListByDateSent(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{Delays: Delays{Sent: -1, Delivered: time.Hour}})
	s.send(t)
	s.faults(t, Faults{MPS: 0.0001})
	s.send(t) // waits in the queue: not sent yet
	today := time.Now().UTC().Format(time.DateOnly)
	for query, want := range map[string]int{
		"":                                  2,
		"?DateSent=" + today:                1,
		"?DateSent%3C=" + today:             1,
		"?DateSent%3E=" + today:             1,
		"?DateSent%3E=2999-01-01":           0,
		"?DateSent%3C=2001-01-01":           0,
		"?DateSent=" + today + "T10:00:00Z": 1,
	} {
		_, _, body := s.call(t, http.MethodGet, messages+".json"+query, nil)
		require.Len(t, body["messages"], want, query)
	}
	status, _, _ := s.call(t, http.MethodGet, messages+".json?DateSent=yesterday", nil)
	require.Equal(t, 400, status)
}

func TestUpdateAndDelete(t *testing.T) {
	t.Parallel()
	h := newHook(t, nil)
	s := serve(t, Config{Delays: Delays{Sent: time.Hour}})
	_, body := s.send(t, "StatusCallback", h.URL)
	path := messages + "/" + body["sid"].(string) + ".json"

	status, _, refused := s.call(t, http.MethodPost, path, url.Values{"Body": {""}, "Status": {"canceled"}})
	require.Equal(t, 400, status)
	require.EqualValues(t, 30400, refused["code"])
	status, _, refused = s.call(t, http.MethodDelete, path, nil)
	require.Equal(t, 409, status)
	require.EqualValues(t, 20009, refused["code"])

	status, _, body = s.call(t, http.MethodPost, path, url.Values{"Status": {"canceled"}})
	require.Equal(t, 200, status)
	require.Equal(t, "canceled", body["status"])
	h.await(t, 1)
	require.Equal(t, []string{"canceled"}, h.statuses())
	status, _, _ = s.call(t, http.MethodPost, path, url.Values{"Status": {"canceled"}})
	require.Equal(t, 400, status)

	status, _, body = s.call(t, http.MethodPost, path, url.Values{"Body": {""}})
	require.Equal(t, 200, status)
	require.Empty(t, body["body"])
	status, _, _ = s.call(t, http.MethodDelete, path, nil)
	require.Equal(t, 204, status)
	status, _, _ = s.call(t, http.MethodGet, path, nil)
	require.Equal(t, 404, status)
}

func TestCallbackRetries(t *testing.T) {
	t.Parallel()
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	reset := func(w http.ResponseWriter, _ *http.Request) { reset(w) }
	slow := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, tc := range map[string]struct {
		fragment string
		answer   http.HandlerFunc
		attempts int
	}{
		"DefaultIgnores500":      {"", answer(500), 1},
		"DefaultIgnoresReset":    {"", reset, 1},
		"Retries5xx":             {"#rc=2&rp=5xx,ct,rt", answer(503), 3},
		"Not4xx":                 {"#rc=2&rp=5xx,ct,rt", answer(404), 1},
		"Retries4xxWhenAsked":    {"#rc=1&rp=4xx", answer(404), 2},
		"RetriesEverything":      {"#rc=1&rp=all", answer(302), 2},
		"RetriesReset":           {"#rc=1&rp=rt", reset, 2},
		"RetriesReadTimeout":     {"#rc=1&rp=rt&rt=100&ct=100", slow, 2},
		"NoneWhenNoneIsAllowed":  {"#rc=0&rp=all", answer(500), 1},
		"OutOfRangeMeansDefault": {"#rc=9&rp=all", answer(500), 2},
		"SuccessIsNotRepeated":   {"#rc=5&rp=all", answer(204), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHook(t, tc.answer)
			s := serve(t, Config{Delays: Delays{Sent: -1, Delivered: time.Hour}})
			s.send(t, "StatusCallback", h.URL+"/x"+tc.fragment)
			require.Eventually(t, func() bool {
				c := s.totals(t).Callbacks
				return c.Delivered+c.Failed == 1
			}, eventually, tick)
			got := h.deliveries()
			require.Len(t, got, tc.attempts)
			for _, d := range got {
				require.Equal(t, got[0].token, d.token, "one token for all tries of a webhook")
			}
		})
	}
	t.Run("RetriesRefusedConnections", func(t *testing.T) {
		t.Parallel()
		gone := httptest.NewServer(nil)
		gone.Close()
		s := serve(t, Config{})
		answer := s.post(t.Context(), gone.URL+"#rc=2&rp=ct", url.Values{}, "token")
		require.Equal(t, 3, answer.attempts)
		require.Zero(t, answer.status)
	})
}

func TestCallbackCutShortStaysOwed(t *testing.T) {
	t.Parallel()
	var hang atomic.Bool
	hang.Store(true)
	started := make(chan struct{}, 1)
	h := newHook(t, func(_ http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			started <- struct{}{}
			<-r.Context().Done()
		}
	})
	dir := t.TempDir()
	sim, err := New(Config{AccountSID: testAccount, AuthToken: testToken, DataDir: dir, Delays: Delays{Sent: -1, Delivered: time.Hour}})
	require.NoError(t, err)
	sim.state.faults.NoWindow = true
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- sim.Run(ctx) }()
	status, _ := (&served{sim, server.URL}).send(t, "StatusCallback", h.URL)
	require.Equal(t, 201, status)
	<-started
	cancel()
	require.NoError(t, <-ran)
	require.NoError(t, sim.Close())

	hang.Store(false)
	again := serve(t, Config{DataDir: dir})
	require.Eventually(t, func() bool { return again.totals(t).Callbacks.CallbackCounts == CallbackCounts{Owed: 2, Delivered: 1} }, eventually, tick)
	got := h.deliveries()
	require.Equal(t, []string{"sent", "sent"}, h.statuses())
	require.Equal(t, got[0].token, got[1].token)
}

func TestStrangersPagesAreRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/sim/reset", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 403, res.StatusCode)
}

func TestInbound(t *testing.T) {
	t.Parallel()
	var contentType, answer string
	h := newHook(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, answer)
	})
	s := serve(t, Config{InboundURL: h.URL + "/webhooks/inbound", Delays: quick})
	for _, tc := range []struct {
		contentType, answer string
		replies             []string
	}{
		{"text/xml", `<?xml version="1.0" encoding="UTF-8"?><Response><Message>Bye &amp; thanks</Message></Response>`, []string{"Bye & thanks"}},
		{"application/xml; charset=utf-8", `<Response><Message><Body>One</Body></Message><Message>Two</Message></Response>`, []string{"One", "Two"}},
		{"text/xml", `<Response/>`, []string{}},
		{"text/plain", `OK`, []string{"OK"}},
		{"application/json", `{}`, []string{}},
	} {
		contentType, answer = tc.contentType, tc.answer
		var got Answer
		phone := Phone{From: "+94771234567", To: "+14155238886", Body: "STOP", ProfileName: "Grace", ButtonText: "Stop promotions", ButtonPayload: "stop"}
		require.Equal(t, 200, s.ask(t, http.MethodPost, "/sim/inbound", phone, &got))
		require.Equal(t, 200, got.Status)
		require.Equal(t, tc.answer, got.Body)
		require.Equal(t, tc.replies, got.Replies)
	}
	d := h.deliveries()[0]
	validator := client.NewRequestValidator(testToken)
	require.True(t, validator.ValidateBody(h.URL+"/webhooks/inbound", d.body, d.signature))
	for name, want := range map[string]string{
		"From": person, "To": sender, "Body": "STOP", "WaId": "94771234567", "ProfileName": "Grace", "SmsStatus": "received",
		"MessageType": "button", "ButtonText": "Stop promotions", "ButtonPayload": "stop", "NumMedia": "0", "AccountSid": testAccount,
	} {
		require.Equal(t, want, d.form.Get(name), name)
	}
	var replies []Message
	s.ask(t, http.MethodGet, "/sim/messages?direction=outbound-reply&to=%2B94771234567&limit=10", nil, &replies)
	require.Len(t, replies, 4)
	require.Equal(t, "Bye & thanks", replies[0].Body)
	require.Zero(t, s.totals(t).Accepted, "replies are not the API's messages")

	require.Equal(t, 400, s.ask(t, http.MethodPost, "/sim/inbound", Phone{From: "0771234567", To: "+14155238886"}, nil))
	require.Equal(t, 409, serve(t, Config{}).ask(t, http.MethodPost, "/sim/inbound", Phone{From: "+94771234567", To: "+14155238886"}, nil))
}

func TestStatsAndReset(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	now := start
	s := serve(t, Config{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	other := "whatsapp:+94770000000"
	for _, m := range []struct {
		at time.Duration
		to string
	}{{0, person}, {600 * time.Millisecond, person}, {999 * time.Millisecond, other}, {1599 * time.Millisecond, person}, {5 * time.Second, other}} {
		mu.Lock()
		now = start.Add(m.at)
		mu.Unlock()
		status, _ := s.send(t, "To", m.to)
		require.Equal(t, 201, status)
	}
	stats := s.totals(t)
	require.Equal(t, 5, stats.Accepted)
	require.Equal(t, map[string]int{person: 3, other: 2}, stats.Recipients)
	require.Equal(t, map[string]int{sender: 3}, stats.MaxPerSecond)
	require.Equal(t, start, stats.FirstAcceptedAt)
	require.Equal(t, start.Add(5*time.Second), stats.LastAcceptedAt)

	var short map[string]any
	require.Equal(t, 200, s.ask(t, http.MethodGet, "/sim/stats?by_recipient=false", nil, &short))
	require.EqualValues(t, 5, short["accepted"])
	require.NotContains(t, short, "recipients")
	require.Equal(t, 400, s.ask(t, http.MethodGet, "/sim/stats?by_recipient=perhaps", nil, nil))

	s.ask(t, http.MethodGet, "/sim/stats?to=%2B94770000000&since=2026-03-01T09:00:01Z", nil, &stats)
	require.Equal(t, 1, stats.Accepted)
	var recipients []Recipient
	s.ask(t, http.MethodGet, "/sim/recipients", nil, &recipients)
	require.Len(t, recipients, 2)
	require.Equal(t, person, recipients[0].To)
	require.Equal(t, 3, recipients[0].Accepted)
	require.Equal(t, "read", recipients[0].Messages[0].Status)

	s.faults(t, Faults{LatencyMS: 1})
	require.Equal(t, 204, s.ask(t, http.MethodPost, "/sim/reset", nil, nil))
	short = nil
	s.ask(t, http.MethodGet, "/sim/stats", nil, &short)
	require.EqualValues(t, 0, short["accepted"])
	require.Empty(t, short["recipients"])
	require.NotContains(t, short, "first_accepted_at")
	var faults Faults
	s.ask(t, http.MethodGet, "/sim/faults", nil, &faults)
	require.Equal(t, Faults{}, faults)
	require.Equal(t, 400, s.ask(t, http.MethodGet, "/sim/stats?since=yesterday", nil, nil))
}

func TestAnsweredCallbacksAreListed(t *testing.T) {
	t.Parallel()
	h := newHook(t, nil)
	h.answer = func(w http.ResponseWriter, r *http.Request) {
		for _, d := range h.deliveries() {
			if d.token == r.Header.Get("I-Twilio-Idempotency-Token") && d.form.Get("MessageStatus") == "delivered" {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
		}
	}
	dir := t.TempDir()
	cfg := Config{AccountSID: testAccount, AuthToken: testToken, DataDir: dir, Delays: quick}
	sim, err := New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- sim.Run(ctx) }()
	s := &served{sim, server.URL}

	const other = "+94770000001"
	s.faults(t, Faults{Numbers: map[string]NumberFault{other: {Code: 63024}}, Receipts: ReceiptFaults{Double: 1}})
	_, first := s.send(t, "StatusCallback", h.URL+"#rc=0")
	_, second := s.send(t, "To", "whatsapp:"+other, "StatusCallback", h.URL)
	want := []Callback{
		{SID: first["sid"].(string), Status: "sent"}, {SID: first["sid"].(string), Status: "sent"},
		{SID: first["sid"].(string), Status: "read"}, {SID: first["sid"].(string), Status: "read"},
		{SID: second["sid"].(string), Status: "failed", ErrorCode: 63024}, {SID: second["sid"].(string), Status: "failed", ErrorCode: 63024},
	}
	listed := func(s *served, filter string) []Callback {
		t.Helper()
		var callbacks []Callback
		require.Equal(t, 200, s.ask(t, http.MethodGet, "/sim/callbacks"+filter, nil, &callbacks))
		return callbacks
	}
	require.Eventually(t, func() bool { return s.totals(t).Callbacks.CallbackCounts == CallbackCounts{Delivered: 6, Failed: 2} }, eventually, tick)
	require.Equal(t, want, listed(s, ""))
	require.Equal(t, want[4:], listed(s, "?to=%2B94770000001"))
	require.Equal(t, 400, s.ask(t, http.MethodGet, "/sim/callbacks?since=yesterday", nil, nil))

	cancel()
	require.NoError(t, <-ran)
	require.NoError(t, sim.Close())
	again := serve(t, Config{DataDir: dir})
	require.Equal(t, want, listed(again, ""), "kept across a restart")
	require.Equal(t, 204, again.ask(t, http.MethodPost, "/sim/reset", nil, nil))
	require.Empty(t, listed(again, ""))
}

// The longest callback took as long as its receiver held it; what was measured is forgotten when the faults change.
func TestLatencyOfCallbacks(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	held := make(chan time.Duration, 1)
	h := newHook(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			began := time.Now()
			<-release
			held <- time.Since(began)
		}
	})
	s := serve(t, Config{Delays: quick})
	require.Zero(t, s.totals(t).Callbacks.Latency)
	s.send(t, "StatusCallback", h.URL)
	require.Eventually(t, func() bool { return s.totals(t).Callbacks.Delivered == 3 }, eventually, tick)
	s.faults(t, Faults{Receipts: ReceiptFaults{Drop: 1}})
	require.Zero(t, s.totals(t).Callbacks.Latency)

	s.faults(t, Faults{Numbers: map[string]NumberFault{numberOf(person): {Code: 63024}}}) // one callback: failed
	s.send(t, "StatusCallback", h.URL+"/held")
	h.await(t, 4)
	close(release)
	require.Eventually(t, func() bool { return s.totals(t).Callbacks.Delivered == 4 }, eventually, tick)
	took := s.totals(t).Callbacks.Latency
	require.GreaterOrEqual(t, took.Max, milliseconds(<-held))
	require.Equal(t, Latency{P50: took.Max, P99: took.Max, Max: took.Max}, took)
}

func TestLatencyOf(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := 200; i > 0; i-- {
		took = append(took, time.Duration(i)*time.Millisecond)
	}
	require.Equal(t, Latency{P50: 100, P99: 198, Max: 200}, latencyOf(took))
	require.Equal(t, Latency{P50: 1, P99: 2, Max: 2}, latencyOf([]time.Duration{2 * time.Millisecond, time.Millisecond}))
	require.Equal(t, Latency{}, latencyOf(nil))
}

// BenchmarkControl reads the totals of a large campaign, and everybody who was sent something.
func BenchmarkControl(b *testing.B) {
	const n = 100_000
	s, err := New(Config{AccountSID: testAccount, AuthToken: testToken, DataDir: b.TempDir()})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	for i := range n {
		r := &record{
			SID: newSID(), Direction: directionAPI, From: sender, To: fmt.Sprintf("whatsapp:+9477%07d", i), Body: strings.Repeat("x", 100),
			Steps: []step{{Status: "queued", At: time.Now()}, {Status: "sent", At: time.Now()}, {Status: "read", At: time.Now()}},
		}
		s.state.apply(entry{Accept: r}, place{})
	}
	s.tally.answered = make([]time.Duration, 3*n)
	for i := range s.tally.answered {
		s.tally.answered[i] = time.Duration(i*7919%n) * time.Microsecond
	}
	handler := s.Handler()
	for _, path := range []string{"/sim/stats?by_recipient=false", "/sim/stats", "/sim/recipients"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				answer := httptest.NewRecorder()
				handler.ServeHTTP(answer, httptest.NewRequestWithContext(b.Context(), http.MethodGet, path, http.NoBody))
				require.Equal(b, 200, answer.Code)
				b.ReportMetric(float64(answer.Body.Len())/1e6, "MB")
			}
		})
	}
}
