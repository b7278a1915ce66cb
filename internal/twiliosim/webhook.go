package twiliosim

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Twilio's scheme is HMAC-SHA1.
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Twilio gives a webhook this long in all, retries included.
const webhookTimeout = 15 * time.Second

// retryPause is before the first retry of a webhook; it doubles with each.
const retryPause = 100 * time.Millisecond

// overrides are what the fragment of a webhook's URL asks for.
type overrides struct {
	connect time.Duration // ct, of one connection
	read    time.Duration // rt, of one answer
	total   time.Duration // tt
	retries int           // rc
	retryOn string        // rp
}

// parseOverrides takes Twilio's default for what the fragment does not name or names out of range.
func parseOverrides(fragment string) overrides {
	o := overrides{connect: 5 * time.Second, read: webhookTimeout, total: webhookTimeout, retries: 1, retryOn: "ct"}
	asked, err := url.ParseQuery(fragment)
	if err != nil {
		return o
	}
	millis := func(name string, low, high int, into *time.Duration) {
		if v, err := strconv.Atoi(asked.Get(name)); err == nil && v >= low && v <= high {
			*into = time.Duration(v) * time.Millisecond
		}
	}
	millis("ct", 100, 10000, &o.connect)
	millis("rt", 100, 15000, &o.read)
	millis("tt", 100, 15000, &o.total)
	if v, err := strconv.Atoi(asked.Get("rc")); err == nil && v >= 0 && v <= 5 {
		o.retries = v
	}
	if rp := asked.Get("rp"); rp != "" {
		o.retryOn = rp
	}
	return o
}

// retry reports whether a failure is one of those the webhook's owner wants retried.
func (o overrides) retry(failure string) bool {
	wanted := strings.Split(o.retryOn, ",")
	return slices.Contains(wanted, failure) || slices.Contains(wanted, "all")
}

type connectTimeout struct{}

func newWebhookClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				timeout, _ := ctx.Value(connectTimeout{}).(time.Duration)
				return (&net.Dialer{Timeout: timeout}).DialContext(ctx, network, address)
			},
			MaxIdleConns:        64,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// webhookAnswer is what the other side said; status is 0 when it said nothing.
type webhookAnswer struct {
	status      int
	contentType string
	body        string
	attempts    int
}

func (a webhookAnswer) ok() bool { return a.status >= 200 && a.status < 300 }

// post sends a signed webhook, with retries as its URL's fragment asks. The token is the same for all of them.
func (s *Simulator) post(ctx context.Context, rawURL string, form url.Values, token string) webhookAnswer {
	target, fragment, _ := strings.Cut(rawURL, "#")
	o := parseOverrides(fragment)
	ctx, cancel := context.WithTimeout(ctx, o.total)
	defer cancel()
	for attempt := 0; ; attempt++ {
		answer, failure := s.postOnce(ctx, target, form, token, o)
		answer.attempts = attempt + 1
		if failure == "" || attempt >= o.retries || !o.retry(failure) {
			return answer
		}
		select {
		case <-time.After(retryPause << attempt):
		case <-ctx.Done():
			return answer
		}
	}
}

// postOnce names its failure as the override rp does: ct, rt, 4xx or 5xx; a redirect is "3xx", which rp cannot name.
func (s *Simulator) postOnce(ctx context.Context, target string, form url.Values, token string, o overrides) (webhookAnswer, string) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, connectTimeout{}, o.connect), o.connect+o.read)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return webhookAnswer{}, "url"
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	req.Header.Set("Accept", "*/*")
	req.Header.Set("User-Agent", "TwilioProxy/1.1")
	req.Header.Set("X-Twilio-Signature", sign(s.token, target, form))
	req.Header.Set("I-Twilio-Idempotency-Token", token)
	res, err := s.http.Do(req)
	if err != nil && !connected.Load() {
		return webhookAnswer{}, "ct"
	} else if err != nil {
		return webhookAnswer{}, "rt"
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return webhookAnswer{}, "rt"
	}
	answer := webhookAnswer{status: res.StatusCode, contentType: res.Header.Get("Content-Type"), body: string(body)}
	if answer.ok() {
		return answer, ""
	}
	return answer, fmt.Sprintf("%dxx", res.StatusCode/100)
}

// sign makes X-Twilio-Signature: the URL without user, then the parameters in the order of their names.
func sign(token, target string, form url.Values) string {
	if u, err := url.Parse(target); err == nil && u.User != nil {
		target = strings.Replace(target, u.User.String()+"@", "", 1)
	}
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	var signed strings.Builder
	signed.WriteString(target)
	for _, name := range names {
		signed.WriteString(name + form.Get(name))
	}
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(signed.String()))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// deliver posts one status callback and settles it, whatever comes of it: Twilio does not come back later either. One
// that the end of ctx cut short stays owed.
func (s *Simulator) deliver(ctx context.Context, o owed) {
	s.mu.Lock()
	r := o.record
	cb := r.Callbacks[o.index]
	form := s.callbackForm(r, cb.Step)
	target := r.StatusCallback
	s.mu.Unlock()

	began := time.Now()
	answer := s.post(ctx, target, form, idempotencyToken(r.SID, cb.Step.Status))
	took := time.Since(began)
	if !answer.ok() && ctx.Err() != nil {
		return
	}
	if !answer.ok() {
		s.log.Warn("status callback failed", "sid", r.SID, "status", cb.Step.Status, "http_status", answer.status, "attempts", answer.attempts)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.bySID[r.SID] != r {
		return // deleted, or forgotten by a reset
	}
	s.tally.answered = append(s.tally.answered, took)
	settled := entry{Settle: &settlement{SID: r.SID, Callback: o.index, Delivered: answer.ok()}}
	if _, err := s.commit(settled, true); err != nil {
		s.log.Error("callback not settled", "error", err)
	}
}

func (s *Simulator) callbackForm(r *record, st step) url.Values {
	form := url.Values{}
	form.Set("AccountSid", s.account)
	form.Set("ApiVersion", apiVersion)
	form.Set("MessageSid", r.SID)
	form.Set("SmsSid", r.SID)
	form.Set("MessageStatus", st.Status)
	form.Set("SmsStatus", st.Status)
	form.Set("From", r.From)
	form.Set("To", r.To)
	if st.Code != 0 {
		form.Set("ErrorCode", strconv.Itoa(st.Code))
		form.Set("ErrorMessage", explain(st.Code))
	}
	if channelOf(r.From) == "whatsapp" {
		form.Set("ChannelPrefix", "whatsapp")
		form.Set("ChannelInstallSid", "XE"+s.account[2:])
		form.Set("ChannelToAddress", numberOf(r.To))
		if st.Code != 0 {
			form.Set("ChannelStatusMessage", explain(st.Code))
		}
		if st.Status == "read" {
			form.Set("EventType", "READ")
		}
	} else if st.Status == "delivered" || st.Status == "undelivered" {
		form.Set("RawDlrDoneDate", st.At.UTC().Format("0601021504"))
	}
	return form
}

// idempotencyToken is the same for every delivery of one webhook, before and after a restart.
func idempotencyToken(sid, status string) string {
	sum := sha256.Sum256([]byte(sid + " " + status))
	x := hex.EncodeToString(sum[:16])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}
