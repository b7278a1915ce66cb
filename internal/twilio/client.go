// Package twilio is the engine's way to Twilio: it sends messages and looks them up, reads the webhooks Twilio
// posts, checks their signatures and knows what each of Twilio's error codes means for a campaign.
package twilio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	openapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
)

// The limits of a message's validity, as Twilio documents them.
const (
	minValidity = time.Second
	maxValidity = 10 * time.Hour
)

// A look at the list reads at most this much. Beyond it the look fails, for a partial list must never pass for
// the proof that a message is absent.
const (
	listPageSize = 1000
	listMaxPages = 10
)

// overrides asks Twilio to try a failed status callback three more times, where it would by default try once and
// only if it could not connect. A fragment is read by Twilio itself and never sent.
const overrides = "rc=3&rp=5xx,ct,rt"

var (
	accountPattern = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	sidPattern     = regexp.MustCompile(`^(SM|MM)[0-9a-fA-F]{32}$`)
)

// Config says which account to use and how to reach it.
type Config struct {
	AccountSID string
	AuthToken  string
	// BaseURL is the root of all APIs; empty means https://api.twilio.com, and the Content API's own. TWILIO_EDGE and TWILIO_REGION have no
	// effect: a region is chosen here.
	BaseURL string
	// StatusCallback is the public URL of the status webhook; each message adds the id of its attempt. Empty means
	// that Twilio reports nothing.
	StatusCallback string
	Timeout        time.Duration // of one request; 0 means 10 s
	MaxConns       int           // connections kept to Twilio; 0 means 64
}

// Client talks to one Twilio account. It is safe for concurrent use.
type Client struct {
	account, token string
	base           *url.URL
	contentBase    *url.URL // the Content API's: a host of its own at Twilio, the same when BaseURL is given
	callback       *url.URL // nil: no callbacks
	timeout        time.Duration
	http           *http.Client
}

// New makes a client. It sends nothing; credentials are first tried by the first request.
func New(cfg Config) (*Client, error) {
	var errs []error
	if !accountPattern.MatchString(cfg.AccountSID) {
		errs = append(errs, errors.New("account SID: want AC and 32 hexadecimal digits"))
	}
	if cfg.AuthToken == "" {
		errs = append(errs, errors.New("auth token: missing"))
	}
	base, err := absoluteURL(cmp.Or(cfg.BaseURL, "https://api.twilio.com"))
	if err != nil {
		errs = append(errs, fmt.Errorf("base URL: %w", err))
	}
	contentBase := base
	if cfg.BaseURL == "" {
		contentBase = &url.URL{Scheme: "https", Host: contentHost}
	}
	var callback *url.URL
	if cfg.StatusCallback != "" {
		if callback, err = absoluteURL(cfg.StatusCallback); err != nil {
			errs = append(errs, fmt.Errorf("status callback: %w", err))
		} else if strings.Contains(callback.Hostname(), "_") {
			errs = append(errs, errors.New("status callback: Twilio refuses a host name with an underscore"))
		}
	}
	if cfg.Timeout < 0 || cfg.MaxConns < 0 {
		errs = append(errs, errors.New("timeout and connections: must not be negative"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 64
	}
	return &Client{
		account:  cfg.AccountSID,
		token:    cfg.AuthToken,
		base:     base,
		callback: callback,
		timeout:  cfg.Timeout,
		http:     newHTTPClient(cfg.MaxConns),

		contentBase: contentBase,
	}, nil
}

// Close gives up idle connections. Requests in flight are not disturbed.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Send asks Twilio once to send a message and says what came of it. The request neither begins nor lasts beyond the
// lease; a zero Lease is over. Send never tries again by itself: only the ledger may decide that.
func (c *Client) Send(ctx context.Context, out message.Outbound) message.Outcome {
	if !time.Now().Before(out.Lease) {
		return refused(&Error{Unsent: true}, unreachable, "the lease was over before the request began")
	}
	ctx, cancel := context.WithDeadline(ctx, out.Lease)
	defer cancel()

	params := &openapi.CreateMessageParams{}
	params.SetFrom(Address(out.Channel, out.From))
	params.SetTo(Address(out.Channel, out.To))
	if out.ContentSID == "" {
		params.SetBody(out.Body)
	} else {
		params.SetContentSid(out.ContentSID)
		if out.ContentVariables != "" {
			params.SetContentVariables(out.ContentVariables)
		}
	}
	params.SetValidityPeriod(int(min(max(out.Validity, minValidity), maxValidity) / time.Second))
	if c.callback != nil {
		params.SetStatusCallback(callbackURL(c.callback, out.AttemptID))
	}
	created, err := c.api(ctx).CreateMessage(params)
	if err != nil {
		return outcomeOf(err)
	}
	sid := value(created.Sid)
	if sid == "" {
		return message.Outcome{Result: message.ResultUnknown, HTTPStatus: http.StatusCreated, Detail: "Twilio's answer names no message"}
	}
	return message.Outcome{Result: message.ResultAccepted, SID: sid, HTTPStatus: http.StatusCreated}
}

// outcomeOf tells the two kinds of failure apart: those that prove that Twilio does not have the message, and all
// others.
func outcomeOf(err error) message.Outcome {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok: // a 2xx answer that twilio-go could not read
		return message.Outcome{Result: message.ResultUnknown, HTTPStatus: http.StatusCreated, Detail: "Twilio's answer could not be read"}
	case e.Unsent:
		return refused(e, unreachable, e.Error())
	case e.HTTPStatus == http.StatusTooManyRequests:
		return refused(e, PolicyOf(codeThrottled), e.Error())
	case e.HTTPStatus >= 400 && e.HTTPStatus < 500 && PolicyOf(e.Code).Class != message.Uncertain:
		return refused(e, refusalPolicy(e), e.Error())
	}
	return message.Outcome{Result: message.ResultUnknown, Code: e.Code, HTTPStatus: e.HTTPStatus, RetryAfter: e.RetryAfter, Detail: e.Error()}
}

// refusalPolicy falls back on the HTTP status where an answer has no code of Twilio's, as a proxy's has none: wrong
// credentials or a wrong URL must stop the campaign and not fail its recipients one by one.
func refusalPolicy(e *Error) message.Policy {
	if e.Code == 0 {
		switch e.HTTPStatus {
		case http.StatusUnauthorized:
			return PolicyOf(codeCredentials)
		case http.StatusNotFound:
			return PolicyOf(codeNotFound)
		}
	}
	return PolicyOf(e.Code)
}

func refused(e *Error, policy message.Policy, detail string) message.Outcome {
	return message.Outcome{
		Result:     message.ResultRefused,
		Code:       e.Code,
		HTTPStatus: e.HTTPStatus,
		RetryAfter: e.RetryAfter,
		Policy:     policy,
		Detail:     detail,
	}
}

// Fetch reads one message. A SID that Twilio does not know is a fault.NotFound; every other failure is an *Error.
func (c *Client) Fetch(ctx context.Context, sid string) (message.Remote, error) {
	if !sidPattern.MatchString(sid) { // it becomes part of a path, and may come from a webhook
		return message.Remote{}, fault.New(fault.NotFound, "not a message SID")
	}
	m, err := c.api(ctx).FetchMessage(sid, nil)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.HTTPStatus == http.StatusNotFound && (e.Code == codeNotFound || e.Code == 0) {
			return message.Remote{}, fault.New(fault.NotFound, "Twilio does not know message %s", sid)
		}
		return message.Remote{}, fmt.Errorf("message %s at Twilio: %w", sid, err)
	}
	return remote(m)
}

// Delete removes one message, its text, numbers and media. A SID that Twilio does not know is a fault.NotFound; a message
// that Twilio is not done with is a fault.Conflict and can be removed later. Every other failure is an *Error.
func (c *Client) Delete(ctx context.Context, sid string) error {
	if !sidPattern.MatchString(sid) {
		return fault.New(fault.NotFound, "not a message SID")
	}
	err := c.api(ctx).DeleteMessage(sid, nil)
	if e, ok := errors.AsType[*Error](err); ok {
		switch {
		case e.HTTPStatus == http.StatusNotFound && (e.Code == codeNotFound || e.Code == 0):
			return fault.New(fault.NotFound, "Twilio does not know message %s", sid)
		case e.Code == codeUnfinished || e.HTTPStatus == http.StatusConflict:
			return fault.New(fault.Conflict, "Twilio is not done with message %s", sid)
		}
	}
	if err != nil {
		return fmt.Errorf("removal of message %s at Twilio: %w", sid, err)
	}
	return nil
}

// List reads the messages between two numbers that were created at or after since (in Twilio's whole seconds), newest
// first. It fails rather than return a part of them. Twilio's own date filter is not used: it knows days only, and
// passes over messages that are not sent yet.
func (c *Client) List(ctx context.Context, channel message.Channel, from, to string, since time.Time) ([]message.Remote, error) {
	params := &openapi.ListMessageParams{}
	params.SetFrom(Address(channel, from))
	params.SetTo(Address(channel, to))
	params.SetPageSize(listPageSize)
	since = since.Truncate(time.Second)

	api := c.api(ctx)
	var found []message.Remote
	var token, number string
	for range listMaxPages {
		page, err := api.PageMessage(params, token, number)
		if err != nil {
			return nil, fmt.Errorf("list of messages at Twilio: %w", err)
		}
		for i := range page.Messages {
			m, err := remote(&page.Messages[i])
			if err != nil {
				return nil, err
			}
			if m.CreatedAt.Before(since) {
				return found, nil
			}
			found = append(found, m)
		}
		next := value(page.NextPageUri)
		if next == "" {
			return found, nil
		}
		u, err := url.Parse(next)
		if err != nil {
			return nil, errors.New("list of messages at Twilio: unreadable address of the next page")
		}
		token, number = u.Query().Get("PageToken"), u.Query().Get("Page")
	}
	return nil, fmt.Errorf("list of messages at Twilio: more than %d", listMaxPages*listPageSize)
}

func remote(m *openapi.ApiV2010Message) (message.Remote, error) {
	created, err := time.Parse(time.RFC1123Z, value(m.DateCreated))
	if err != nil {
		return message.Remote{}, fmt.Errorf("message %s at Twilio: unreadable date of creation", value(m.Sid))
	}
	state, _ := CarrierState(value(m.Status))
	r := message.Remote{
		SID:       value(m.Sid),
		State:     state,
		Status:    value(m.Status),
		To:        number(value(m.To)),
		From:      number(value(m.From)),
		Body:      value(m.Body),
		Outbound:  value(m.Direction) == "outbound-api",
		ErrorCode: value(m.ErrorCode),
		CreatedAt: created,
	}
	if r.ErrorCode != 0 {
		r.Policy = PolicyIn(phone.Region(phone.Number(r.To)), r.ErrorCode)
	}
	return r, nil
}

// number leaves alone what is no phone number: a sender may be a short code or a name.
func number(address string) string {
	if _, e164, err := ParseAddress(address); err == nil {
		return e164
	}
	return address
}

func callbackURL(base *url.URL, attempt uuid.UUID) string {
	u := *base
	query := u.Query()
	query.Set("attempt", attempt.String())
	u.RawQuery, u.Fragment, u.RawFragment = query.Encode(), "", ""
	return u.String() + "#" + overrides
}

func absoluteURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("want an absolute http or https URL")
	}
	return u, nil
}

// value reads an optional field of Twilio's; absent is zero.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// retryAfter reads the header in either of its forms; 0 when it is absent, unreadable or past, and a day at most.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(strings.TrimSpace(header)); err == nil {
		return time.Duration(min(max(0, seconds), int(day/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(0, at.Sub(now)), day)
	}
	return 0
}
