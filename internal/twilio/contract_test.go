package twilio_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/twilio"
	"github.com/event-stream-engine/ese/internal/twiliosim"
)

const (
	account = "AC00000000000000000000000000000000"
	token   = "localstack"
	sender  = "+14155238886"
	person  = "+94771234567"
)

// contract stands between a client and the simulator and holds both to Twilio's published description.
type contract struct {
	router routers.Router
	next   http.Handler

	mu         sync.Mutex
	violations []error
	operations map[string]int // how often each was seen
}

func newContract(t *testing.T, next http.Handler) *contract {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("testdata/messages-openapi.json")
	require.NoError(t, err)
	doc.Servers = nil // the paths alone matter here
	for _, path := range doc.Paths.Map() {
		path.Servers = nil
	}
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	return &contract{router: router, next: next, operations: map[string]int{}}
}

func (c *contract) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fresh := func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }
	r.Body = fresh()
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		c.violated("route", err)
		http.NotFound(w, r)
		return
	}
	request := &openapi3filter.RequestValidationInput{
		Request:    r,
		PathParams: params,
		Route:      route,
		Options: &openapi3filter.Options{AuthenticationFunc: func(_ context.Context, in *openapi3filter.AuthenticationInput) error {
			if _, _, ok := in.RequestValidationInput.Request.BasicAuth(); !ok {
				return fmt.Errorf("no basic authentication")
			}
			return nil
		}},
	}
	c.violated("request", openapi3filter.ValidateRequest(r.Context(), request))
	r.Body = fresh()
	recorder := httptest.NewRecorder()
	c.next.ServeHTTP(recorder, r)
	if recorder.Code < 400 { // errors are not described
		response := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: request,
			Status:                 recorder.Code,
			Header:                 recorder.Header(),
			Options:                &openapi3filter.Options{IncludeResponseStatus: true},
		}
		response.SetBodyBytes(recorder.Body.Bytes())
		c.violated("response", openapi3filter.ValidateResponse(r.Context(), response))
	}
	c.mu.Lock()
	c.operations[r.Method+" "+route.Path]++
	c.mu.Unlock()
	for name, v := range recorder.Header() {
		w.Header()[name] = v
	}
	w.WriteHeader(recorder.Code)
	_, _ = w.Write(recorder.Body.Bytes())
}

func (c *contract) violated(where string, err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, fmt.Errorf("%s: %w", where, err))
}

func (c *contract) require(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(t, c.violations)
}

// simulate runs a simulator behind the contract and returns the address of both.
func simulate(t *testing.T) (*contract, string) {
	t.Helper()
	sim, err := twiliosim.New(twiliosim.Config{
		AccountSID: account, AuthToken: token, DataDir: t.TempDir(),
		Delays: twiliosim.Delays{Sent: -1, Delivered: -1, Read: -1},
	})
	require.NoError(t, err)
	lenient := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/sim/faults", strings.NewReader(`{"no_window": true}`))
	answer := httptest.NewRecorder()
	sim.Handler().ServeHTTP(answer, lenient) // these tests are about other things than WhatsApp's window
	require.Equal(t, http.StatusOK, answer.Code)
	c := newContract(t, sim.Handler())
	server := httptest.NewServer(c)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- sim.Run(ctx) }()
	t.Cleanup(func() {
		server.Close()
		cancel()
		require.NoError(t, <-ran)
		require.NoError(t, sim.Close())
	})
	return c, server.URL
}

const (
	listPath = "/2010-04-01/Accounts/{AccountSid}/Messages.json"
	onePath  = "/2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json"
)

func TestClientAndSimulatorKeepTheContract(t *testing.T) {
	t.Parallel()
	c, base := simulate(t)
	callbacks := make(chan twilio.Callback, 10)
	var hook *httptest.Server
	hook = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !twilio.Verify([]string{token}, hook.URL+r.URL.RequestURI(), body, r.Header.Get("Content-Type"), r.Header.Get("X-Twilio-Signature")) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		form, _ := url.ParseQuery(string(body))
		if cb, err := twilio.ParseCallback(r.URL.Query(), form); err == nil {
			callbacks <- cb
		}
	}))
	t.Cleanup(hook.Close)
	ours, err := twilio.New(twilio.Config{AccountSID: account, AuthToken: token, BaseURL: base, StatusCallback: hook.URL + "/webhooks/status"})
	require.NoError(t, err)
	t.Cleanup(ours.Close)

	began := time.Now()
	out := message.Outbound{
		AttemptID: uuid.New(), Channel: message.WhatsApp, From: sender, To: person, Body: "Hello Grace 👋",
		Validity: time.Hour, Lease: time.Now().Add(10 * time.Second),
	}
	sent := ours.Send(t.Context(), out)
	require.Equal(t, message.ResultAccepted, sent.Result)

	seen := map[message.State]bool{}
	for range 3 {
		cb := <-callbacks
		require.Equal(t, out.AttemptID, cb.AttemptID)
		require.Equal(t, sent.SID, cb.SID)
		require.Equal(t, person, cb.To)
		seen[cb.State] = true
	}
	require.Equal(t, map[message.State]bool{message.Sent: true, message.Delivered: true, message.Read: true}, seen)

	remote, err := ours.Fetch(t.Context(), sent.SID)
	require.NoError(t, err)
	require.Equal(t, message.Read, remote.State)
	require.Zero(t, remote.Policy, "nothing went wrong")
	require.Equal(t, out.Body, remote.Body)
	listed, err := ours.List(t.Context(), message.WhatsApp, sender, person, began)
	require.NoError(t, err)
	require.Equal(t, []message.Remote{remote}, listed)
	listed, err = ours.List(t.Context(), message.SMS, sender, person, began)
	require.NoError(t, err)
	require.Empty(t, listed, "the other channel is another address")

	out.To = "+15005550004"
	refused := ours.Send(t.Context(), out)
	require.Equal(t, message.ResultRefused, refused.Result)
	require.Equal(t, message.OptOut, refused.Policy.Class)

	c.require(t)
	require.Equal(t, map[string]int{"POST " + listPath: 2, "GET " + onePath: 1, "GET " + listPath: 2}, c.operations)
}

// redirect sends twilio-go's own client, whose address cannot be configured, to the simulator.
type redirect struct{ to *url.URL }

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host, req.Host = r.to.Scheme, r.to.Host, r.to.Host
	return http.DefaultTransport.RoundTrip(req)
}

func TestSimulatorServesTwilioGo(t *testing.T) {
	t.Parallel()
	c, base := simulate(t)
	to, err := url.Parse(base)
	require.NoError(t, err)
	sdk := &client.Client{Credentials: client.NewCredentials(account, token), HTTPClient: &http.Client{Transport: redirect{to}, Timeout: 10 * time.Second}}
	sdk.SetAccountSid(account)
	api := openapi.NewApiServiceWithClient(sdk)

	var sid string
	for range 5 {
		created, err := api.CreateMessage((&openapi.CreateMessageParams{}).SetFrom(sender).SetTo(person).SetBody("Hello").SetValidityPeriod(60))
		require.NoError(t, err)
		sid = *created.Sid
	}
	all, err := api.ListMessage((&openapi.ListMessageParams{}).SetTo(person).SetFrom(sender).SetPageSize(2))
	require.NoError(t, err)
	require.Len(t, all, 5)
	sentToday, err := api.ListMessage((&openapi.ListMessageParams{}).SetDateSentAfter(time.Now().Add(-25 * time.Hour)))
	require.NoError(t, err)
	require.Len(t, sentToday, 5)
	fetched, err := api.FetchMessage(sid, nil)
	require.NoError(t, err)
	require.Equal(t, "delivered", *fetched.Status)
	redacted, err := api.UpdateMessage(sid, (&openapi.UpdateMessageParams{}).SetBody(""))
	require.NoError(t, err)
	require.Empty(t, *redacted.Body)
	require.NoError(t, api.DeleteMessage(sid, nil))
	_, err = api.FetchMessage(sid, nil)
	var gone *client.TwilioRestError
	require.ErrorAs(t, err, &gone)
	require.Equal(t, 20404, gone.Code)
	require.Equal(t, 404, gone.Status)

	c.require(t)
	for _, operation := range []string{"POST " + listPath, "GET " + listPath, "GET " + onePath, "POST " + onePath, "DELETE " + onePath} {
		require.Positive(t, c.operations[operation], operation)
	}
}

// TestContractNotices proves that the contract would see a violation: of a request, and of a response.
func TestContractNotices(t *testing.T) {
	t.Parallel()
	c := newContract(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"sid":"SM1","error_code":"21211","status":"teleported"}`)
	}))
	r := httptest.NewRequest(http.MethodPost, "/2010-04-01/Accounts/AC1/Messages.json", bytes.NewReader([]byte("From=x")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	c.ServeHTTP(httptest.NewRecorder(), r)
	require.Len(t, c.violations, 2)
	require.ErrorContains(t, c.violations[0], "request")
	require.ErrorContains(t, c.violations[1], "response")
}
