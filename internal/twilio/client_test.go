package twilio

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

const (
	testAccount = "AC00000000000000000000000000000000"
	testToken   = "localstack"
	testSID     = "SM0123456789abcdef0123456789abcdef"
)

func newClient(t *testing.T, base string, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{AccountSID: testAccount, AuthToken: testToken, BaseURL: base, Timeout: 5 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	c, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func outbound() message.Outbound {
	return message.Outbound{
		AttemptID: uuid.MustParse("018f2f1e-7d3a-7c1b-9a52-6a2b3c4d5e6f"),
		Channel:   message.WhatsApp,
		From:      "+14155238886",
		To:        "+94771234567",
		Body:      "Hello Grace",
		Validity:  time.Hour,
		Lease:     time.Now().Add(10 * time.Second),
	}
}

func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// broken ends the connection after writing raw bytes; linger 0 makes the end a reset.
func broken(raw string, linger int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, raw)
		_ = conn.(*net.TCPConn).SetLinger(linger)
		_ = conn.Close()
	}
}

func TestSendClassifiesEveryEnding(t *testing.T) {
	t.Parallel()
	accepted := `{"sid":"` + testSID + `","status":"queued","to":"whatsapp:+94771234567"}`
	throttled := PolicyOf(20429)
	for name, tc := range map[string]struct {
		serve http.HandlerFunc
		want  message.Outcome // without Detail
	}{
		"Accepted": {answer(201, accepted), message.Outcome{Result: message.ResultAccepted, SID: testSID, HTTPStatus: 201}},

		"OptedOut": {answer(400, `{"code":21610,"message":"whatsapp:+94771234567 has opted out","status":400}`),
			message.Outcome{Result: message.ResultRefused, Code: 21610, HTTPStatus: 400, Policy: PolicyOf(21610)}},
		"UnknownCode": {answer(400, `{"code":29999}`),
			message.Outcome{Result: message.ResultRefused, Code: 29999, HTTPStatus: 400, Policy: PolicyOf(29999)}},
		"Throttled": {answer(429, `{"code":20429,"status":429}`, "Retry-After", "3"),
			message.Outcome{Result: message.ResultRefused, Code: 20429, HTTPStatus: 429, RetryAfter: 3 * time.Second, Policy: throttled}},
		"ThrottledByProxy":        {answer(429, `slow down`), message.Outcome{Result: message.ResultRefused, HTTPStatus: 429, Policy: throttled}},
		"ClientErrorWithoutCode":  {answer(400, `<html>`), message.Outcome{Result: message.ResultRefused, HTTPStatus: 400, Policy: PolicyOf(0)}},
		"CodeIsNoNumber":          {answer(400, `{"code":"21211"}`), message.Outcome{Result: message.ResultRefused, HTTPStatus: 400, Policy: PolicyOf(0)}},
		"UnauthorizedWithoutCode": {answer(401, ``), message.Outcome{Result: message.ResultRefused, HTTPStatus: 401, Policy: PolicyOf(20003)}},
		"NotFoundWithoutCode":     {answer(404, `not here`), message.Outcome{Result: message.ResultRefused, HTTPStatus: 404, Policy: PolicyOf(20404)}},
		"CutOffRefusal": {broken("HTTP/1.1 400 Bad Request\r\nContent-Length: 90\r\n\r\n{\"code\":", -1),
			message.Outcome{Result: message.ResultRefused, HTTPStatus: 400, Policy: PolicyOf(0)}},

		"ServerError":        {answer(500, `{"code":20500}`), message.Outcome{Result: message.ResultUnknown, Code: 20500, HTTPStatus: 500}},
		"Unavailable":        {answer(503, `<html>`, "Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"), message.Outcome{Result: message.ResultUnknown, HTTPStatus: 503}},
		"UncertainCode":      {answer(400, `{"code":20503}`), message.Outcome{Result: message.ResultUnknown, Code: 20503, HTTPStatus: 400}},
		"Redirect":           {answer(307, ``, "Location", "/elsewhere"), message.Outcome{Result: message.ResultUnknown, HTTPStatus: 307}},
		"AcceptedWithoutSID": {answer(201, `{"status":"queued"}`), message.Outcome{Result: message.ResultUnknown, HTTPStatus: 201}},
		"AcceptedUnreadable": {answer(201, `<html>`), message.Outcome{Result: message.ResultUnknown, HTTPStatus: 201}},
		"AcceptedEmpty":      {answer(201, ``), message.Outcome{Result: message.ResultUnknown, HTTPStatus: 201}},
		"AcceptedTruncated": {broken(fmt.Sprintf("HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s", len(accepted)+5, accepted), -1),
			message.Outcome{Result: message.ResultUnknown, HTTPStatus: 201}},
		"Reset":    {broken("", 0), message.Outcome{Result: message.ResultUnknown}},
		"NoAnswer": {broken("", -1), message.Outcome{Result: message.ResultUnknown}},
		"Garbage":  {broken("SSH-2.0\r\n\r\n", -1), message.Outcome{Result: message.ResultUnknown}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tc.serve)
			t.Cleanup(server.Close)
			got := newClient(t, server.URL).Send(t.Context(), outbound())
			requireDiscreet(t, got.Detail)
			if tc.want.Result != message.ResultAccepted {
				require.NotEmpty(t, got.Detail)
			}
			got.Detail = ""
			require.Equal(t, tc.want, got)
		})
	}
}

// requireDiscreet holds a text free of the numbers and texts of outbound.
func requireDiscreet(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"94771234567", "14155238886", "Grace", testToken} {
		require.NotContains(t, text, secret)
	}
}

func TestSendThatNeverLeftIsRefused(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(nil)
	closed.Close()
	plain := httptest.NewServer(answer(201, ""))
	t.Cleanup(plain.Close)
	for name, base := range map[string]string{
		"ConnectionRefused": closed.URL,
		"UnknownHost":       "http://no-such-host.invalid",
		"NoTLS":             strings.Replace(plain.URL, "http:", "https:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := newClient(t, base).Send(t.Context(), outbound())
			require.Equal(t, message.ResultRefused, got.Result)
			require.Equal(t, message.Retry, got.Policy.Class)
			require.Positive(t, got.Policy.Retries)
			require.Zero(t, got.HTTPStatus)
			requireDiscreet(t, got.Detail)
		})
	}
	t.Run("CertificateOfAStranger", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewUnstartedServer(answer(201, ""))
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // the refused handshake is what is wanted
		server.StartTLS()
		t.Cleanup(server.Close)
		got := newClient(t, server.URL).Send(t.Context(), outbound())
		require.Equal(t, message.ResultRefused, got.Result)
		require.Equal(t, message.Retry, got.Policy.Class)
	})
	t.Run("LeaseOver", func(t *testing.T) {
		t.Parallel()
		var requests atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
		t.Cleanup(server.Close)
		for _, lease := range []time.Time{{}, time.Now().Add(-time.Millisecond)} {
			out := outbound()
			out.Lease = lease
			got := newClient(t, server.URL).Send(t.Context(), out)
			require.Equal(t, message.ResultRefused, got.Result)
			require.Equal(t, message.Retry, got.Policy.Class)
		}
		require.Zero(t, requests.Load())
	})
	t.Run("NoConnectionFree", func(t *testing.T) {
		t.Parallel()
		started, released := make(chan struct{}), make(chan struct{})
		release := sync.OnceFunc(func() { close(released) })
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(started)
			<-released
			answer(201, `{"sid":"`+testSID+`"}`)(w, nil)
		}))
		t.Cleanup(server.Close)
		t.Cleanup(release) // first: the server's end waits for its requests
		c := newClient(t, server.URL, func(cfg *Config) { cfg.MaxConns = 1 })
		first := make(chan message.Outcome, 1)
		go func() { first <- c.Send(context.Background(), outbound()) }()
		<-started
		out := outbound()
		out.Lease = time.Now().Add(50 * time.Millisecond)
		got := c.Send(t.Context(), out)
		require.Equal(t, message.ResultRefused, got.Result, "it waited for a connection until its lease was over")
		release()
		require.Equal(t, message.ResultAccepted, (<-first).Result)
	})
}

func TestSendDoesNotOutliveItsTime(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client is gone
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	const soon = 100 * time.Millisecond
	for name, tc := range map[string]struct {
		timeout time.Duration
		lease   time.Duration
		cancel  bool
	}{
		"Lease":    {timeout: time.Minute, lease: soon},
		"Timeout":  {timeout: soon, lease: time.Minute},
		"Canceled": {timeout: time.Minute, lease: time.Minute, cancel: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.cancel {
				time.AfterFunc(soon, cancel)
			}
			out := outbound()
			began := time.Now()
			out.Lease = began.Add(tc.lease)
			got := newClient(t, server.URL, func(cfg *Config) { cfg.Timeout = tc.timeout }).Send(ctx, out)
			require.Equal(t, message.ResultUnknown, got.Result)
			require.Less(t, time.Since(began), 10*time.Second)
			requireDiscreet(t, got.Detail)
		})
	}
}

func TestSendAsksForWhatWasWanted(t *testing.T) {
	t.Parallel()
	var got url.Values
	var path, user, password string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got, path = r.PostForm, r.URL.Path
		user, password, _ = r.BasicAuth()
		answer(201, `{"sid":"`+testSID+`"}`)(w, r)
	}))
	t.Cleanup(server.Close)
	c := newClient(t, server.URL+"/prefix/", func(cfg *Config) { cfg.StatusCallback = "https://example.com/webhooks/status?x=1#old" })
	require.Equal(t, message.ResultAccepted, c.Send(t.Context(), outbound()).Result)
	require.Equal(t, url.Values{
		"From":           {"whatsapp:+14155238886"},
		"To":             {"whatsapp:+94771234567"},
		"Body":           {"Hello Grace"},
		"ValidityPeriod": {"3600"},
		"StatusCallback": {"https://example.com/webhooks/status?attempt=018f2f1e-7d3a-7c1b-9a52-6a2b3c4d5e6f&x=1#rc=3&rp=5xx,ct,rt"},
	}, got)
	require.Equal(t, "/prefix/2010-04-01/Accounts/"+testAccount+"/Messages.json", path)
	require.Equal(t, testAccount, user)
	require.Equal(t, testToken, password)

	for validity, want := range map[time.Duration]string{
		0: "1", -time.Hour: "1", 1999 * time.Millisecond: "1", 4 * time.Hour: "14400", 11 * time.Hour: "36000",
	} {
		out := outbound()
		out.Channel, out.Validity = message.SMS, validity
		require.Equal(t, message.ResultAccepted, newClient(t, server.URL).Send(t.Context(), out).Result)
		require.Equal(t, want, got.Get("ValidityPeriod"))
		require.Equal(t, "+94771234567", got.Get("To"))
		require.False(t, got.Has("StatusCallback"))
	}
}

func TestRefusalsKeepTheirConnection(t *testing.T) {
	t.Parallel()
	var conns atomic.Int32
	server := httptest.NewUnstartedServer(answer(429, `{"code":20429}`))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := newClient(t, server.URL)
	for range 20 {
		require.Equal(t, 429, c.Send(t.Context(), outbound()).HTTPStatus)
	}
	require.EqualValues(t, 1, conns.Load())
}

func TestFetch(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, testSID+".json"):
			answer(200, `{"sid":"`+testSID+`","status":"failed","direction":"outbound-api","to":"whatsapp:+94771234567",
				"from":"whatsapp:+14155238886","body":"Hello","error_code":63024,"date_created":"Sun, 22 Nov 2026 06:00:01 +0000"}`)(w, r)
		case strings.HasSuffix(r.URL.Path, "f.json"):
			answer(503, ``, "Retry-After", "7")(w, r)
		default:
			answer(404, `{"code":20404}`)(w, r)
		}
	}))
	t.Cleanup(server.Close)
	c := newClient(t, server.URL)
	got, err := c.Fetch(t.Context(), testSID)
	require.NoError(t, err)
	require.True(t, got.CreatedAt.Equal(time.Date(2026, 11, 22, 6, 0, 1, 0, time.UTC)))
	got.CreatedAt = time.Time{}
	require.Equal(t, message.Remote{
		SID: testSID, Status: "failed", State: message.Failed, To: "+94771234567", From: "+14155238886", Body: "Hello", Outbound: true,
		ErrorCode: 63024, Policy: PolicyOf(63024),
	}, got)

	for _, sid := range []string{"SM" + strings.Repeat("0", 32), "../Calls", "SM123test", ""} {
		_, err = c.Fetch(t.Context(), sid)
		require.True(t, fault.Is(err, fault.NotFound), sid)
	}
	_, err = c.Fetch(t.Context(), "SM"+strings.Repeat("f", 32))
	var unavailable *Error
	require.ErrorAs(t, err, &unavailable)
	require.Equal(t, 503, unavailable.HTTPStatus)
	require.Equal(t, 7*time.Second, unavailable.RetryAfter)
}

func TestListIsWholeOrFails(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 22, 6, 0, 0, 500e6, time.UTC)
	page := func(next string, items ...string) string {
		return `{"messages":[` + strings.Join(items, ",") + `],"next_page_uri":` + next + `}`
	}
	list := func(t *testing.T, serve http.HandlerFunc) ([]string, error) {
		t.Helper()
		server := httptest.NewServer(serve)
		t.Cleanup(server.Close)
		found, err := newClient(t, server.URL).List(t.Context(), message.WhatsApp, "+14155238886", "+94771234567", since)
		if err != nil {
			requireDiscreet(t, err.Error())
		}
		sids := []string{}
		for _, m := range found {
			sids = append(sids, m.SID)
		}
		return sids, err
	}
	created := func(at string) string {
		return `{"sid":"` + at + `","date_created":"Sun, 22 Nov 2026 ` + at + ` +0000"}`
	}

	t.Run("PagesUntilSince", func(t *testing.T) {
		t.Parallel()
		var queries []url.Values
		sids, err := list(t, func(w http.ResponseWriter, r *http.Request) {
			queries = append(queries, r.URL.Query())
			if r.URL.Query().Get("PageToken") == "" {
				answer(200, page(`"/x?PageToken=PA1&Page=1"`, created("06:00:09"), created("06:00:01")))(w, r)
				return
			}
			answer(200, page(`"/x?PageToken=PA2&Page=2"`, created("06:00:00"), created("05:59:59")))(w, r)
		})
		require.NoError(t, err)
		require.Equal(t, []string{"06:00:09", "06:00:01", "06:00:00"}, sids, "the second in which since lies belongs to it")
		require.Equal(t, []url.Values{
			{"From": {"whatsapp:+14155238886"}, "To": {"whatsapp:+94771234567"}, "PageSize": {"1000"}},
			{"From": {"whatsapp:+14155238886"}, "To": {"whatsapp:+94771234567"}, "PageSize": {"1000"}, "PageToken": {"PA1"}, "Page": {"1"}},
		}, queries)
	})
	t.Run("Empty", func(t *testing.T) {
		t.Parallel()
		sids, err := list(t, answer(200, page("null")))
		require.NoError(t, err)
		require.Empty(t, sids)
	})
	t.Run("TooMany", func(t *testing.T) {
		t.Parallel()
		_, err := list(t, answer(200, page(`"/x?PageToken=PA1"`, created("06:00:09"))))
		require.ErrorContains(t, err, "more than 10000")
	})
	t.Run("SecondPageFails", func(t *testing.T) {
		t.Parallel()
		_, err := list(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("PageToken") != "" {
				answer(500, ``)(w, r)
				return
			}
			answer(200, page(`"/x?PageToken=PA1"`, created("06:00:09")))(w, r)
		})
		require.Error(t, err)
	})
	t.Run("UnreadableDate", func(t *testing.T) {
		t.Parallel()
		_, err := list(t, answer(200, page("null", `{"sid":"SM1"}`)))
		require.ErrorContains(t, err, "unreadable date")
	})
	t.Run("CutOff", func(t *testing.T) {
		t.Parallel()
		_, err := list(t, broken("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"messages\":[]}", -1))
		require.Error(t, err)
	})
	t.Run("NotReachable", func(t *testing.T) {
		t.Parallel()
		_, err := newClient(t, "http://127.0.0.1:1").List(t.Context(), message.WhatsApp, "+14155238886", "+94771234567", since)
		require.Error(t, err)
		requireDiscreet(t, err.Error())
	})
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	_, err := New(Config{AccountSID: "AC1", BaseURL: "localhost:8010", StatusCallback: "/webhooks/status", MaxConns: -1})
	require.Error(t, err)
	for _, part := range []string{"account SID", "auth token", "base URL", "status callback", "connections"} {
		require.ErrorContains(t, err, part, "every mistake is named at once")
	}
	_, err = New(Config{AccountSID: testAccount, AuthToken: testToken, StatusCallback: "http://my_host/status"})
	require.ErrorContains(t, err, "underscore")
	_, err = New(Config{AccountSID: testAccount, AuthToken: testToken})
	require.NoError(t, err)
}
