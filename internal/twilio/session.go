package twilio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twilio/twilio-go/client"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"
)

// No answer of the Messages API comes near this; what is longer is not read.
const maxAnswer = 32 << 20

// Error is a request that Twilio did not answer with success. Its text holds neither Twilio's own message nor the
// request's URL, because both may contain phone numbers.
type Error struct {
	HTTPStatus int           // 0 when no answer came
	Code       int           // Twilio's error code; 0 when the answer has none
	RetryAfter time.Duration // 0 when Twilio wished nothing
	Unsent     bool          // certainly no byte of the request left us
	cause      error
}

func (e *Error) Error() string {
	switch {
	case e.HTTPStatus == 0:
		return fmt.Sprintf("no answer from Twilio: %v", e.cause)
	case e.Code != 0:
		return fmt.Sprintf("Twilio answered %d with code %d", e.HTTPStatus, e.Code)
	case e.cause != nil:
		return fmt.Sprintf("Twilio answered %d: %v", e.HTTPStatus, e.cause)
	}
	return fmt.Sprintf("Twilio answered %d", e.HTTPStatus)
}

func (e *Error) Unwrap() error { return e.cause }

// newHTTPClient keeps one connection for each request that may be in flight. HTTP/2 stays off: with one request to a
// connection, an error before the connection was had proves that nothing was sent.
func newHTTPClient(conns int) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			Protocols:             protocols,
			MaxIdleConns:          conns,
			MaxIdleConnsPerHost:   conns,
			MaxConnsPerHost:       conns,
			IdleConnTimeout:       30 * time.Second,
			ExpectContinueTimeout: time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// api is twilio-go's typed API for the calls made under ctx.
func (c *Client) api(ctx context.Context) *openapi.ApiService {
	return openapi.NewApiServiceWithClient(&session{client: c, ctx: ctx, base: c.base})
}

// session is the client.BaseClient of one call. twilio-go's methods take no context and its own client loses what an
// outcome is decided by: whether anything was sent, the HTTP status and Retry-After. A session has the context and
// returns every failure as an *Error.
type session struct {
	client *Client
	ctx    context.Context
	base   *url.URL // of the API that is called
}

var _ client.BaseClient = (*session)(nil)

func (s *session) AccountSid() string { return s.client.account }

// SetTimeout does nothing: the timeout is the client's and is set when it is made.
func (s *session) SetTimeout(time.Duration) {}

// SetOauth does nothing: requests sign in with the account's token.
func (s *session) SetOauth(client.OAuth) {}

func (s *session) OAuth() client.OAuth { return nil }

// SendRequest sends a request and reads its whole answer, so that a connection that breaks in the middle of an answer
// is an error here and not in twilio-go's decoder.
func (s *session) SendRequest(method, rawURL string, data url.Values, headers map[string]any, body ...byte) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.client.timeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := s.request(ctx, method, rawURL, data, headers, body)
	if err != nil {
		return nil, &Error{Unsent: true, cause: err}
	}
	res, err := s.client.http.Do(req)
	if err != nil {
		return nil, &Error{Unsent: !connected.Load(), cause: withoutURL(err)}
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = errors.New("answer too long")
	}
	if err != nil {
		err = fmt.Errorf("answer cut off: %w", err)
	}
	if err == nil && res.StatusCode >= 200 && res.StatusCode < 300 {
		res.Body = io.NopCloser(bytes.NewReader(answer))
		return res, nil
	}
	var problem struct {
		Code int `json:"code"`
	}
	if json.Unmarshal(answer, &problem) != nil {
		problem.Code = 0
	}
	return nil, &Error{
		HTTPStatus: res.StatusCode,
		Code:       problem.Code,
		RetryAfter: retryAfter(res.Header.Get("Retry-After"), time.Now()),
		cause:      err,
	}
}

func (s *session) request(ctx context.Context, method, rawURL string, data url.Values, headers map[string]any, body []byte) (*http.Request, error) {
	target, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("unusable address")
	}
	target.Scheme, target.Host = s.base.Scheme, s.base.Host
	target.Path = strings.TrimSuffix(s.base.Path, "/") + target.Path
	payload := body
	switch {
	case method == http.MethodGet || method == http.MethodDelete:
		if len(data) > 0 {
			target.RawQuery = data.Encode()
		}
	case len(payload) == 0:
		payload = []byte(data.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(payload))
	if err != nil {
		return nil, errors.New("unusable request")
	}
	for name, v := range headers {
		req.Header.Set(name, fmt.Sprint(v))
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "event-stream-engine twilio-go/"+client.LibraryVersion)
	req.SetBasicAuth(s.client.account, s.client.token)
	return req, nil
}

// withoutURL takes off the request's URL that net/http puts before its errors: a list's query holds phone numbers.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
