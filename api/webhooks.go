package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/twilio"
)

type webhookStore interface {
	// Receive takes in a message from a person and applies its keyword, in one transaction. A repeated delivery gives
	// the first one's result.
	Receive(ctx context.Context, m inbound.Message, now time.Time) (inbound.Reception, error)
	// RecordReceipts keeps status callbacks and applies them to the ledger, in one transaction. It tells for each
	// whether it was new.
	RecordReceipts(ctx context.Context, reports []message.Report, now time.Time) ([]bool, error)
}

const maxWebhookBytes = 64 << 10

// inboundWebhook takes in what a person wrote. It answers with TwiML, because the provider would send any other text
// to the person, and with an empty one: replies are messages of the ledger. Without success it answers 503, so that the
// provider delivers the message again.
func (s *server) inboundWebhook(c *gin.Context) {
	form, err := s.webhookForm(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	m, err := readInbound(form)
	if err != nil {
		s.fail(c, err)
		return
	}
	reception, err := s.Store.Receive(c.Request.Context(), m, s.Now())
	if err != nil {
		s.fail(c, notStored(err))
		return
	}
	s.Log.LogAttrs(c, slog.LevelDebug, "inbound message", slog.String("action", string(reception.Action)),
		slog.Bool("changed", reception.Changed), slog.String("request_id", requestID(c)))
	c.Data(http.StatusOK, "text/xml; charset=utf-8", []byte(emptyTwiML))
}

// emptyTwiML is the provider's markup for sending nothing.
const emptyTwiML = `<?xml version="1.0" encoding="UTF-8"?>
<Response/>`

// statusWebhook takes in what became of a message that we sent.
func (s *server) statusWebhook(c *gin.Context) {
	form, err := s.webhookForm(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	r, err := readReport(c.Request.URL.Query(), form)
	if err != nil {
		s.fail(c, err)
		return
	}
	if err := s.recordReport(c.Request.Context(), r); err != nil {
		s.fail(c, notStored(err))
		return
	}
	c.Status(http.StatusNoContent)
}

// notStored asks the provider to deliver again.
func notStored(err error) error {
	return errors.Join(refuse(http.StatusServiceUnavailable, "the event could not be stored: deliver it again"), err)
}

// webhookForm returns the form of a request that comes from our provider's account. Its texts are fit for PostgreSQL.
//
// The signature covers the URL as the provider was given it, so it is checked over the public URL and the request line,
// never over a Host that a proxy may have changed, and before anything else looks at the body. Without a signature only
// a local request is let in, and only where local sign-in is on; a wrong signature never is.
func (s *server) webhookForm(c *gin.Context) (url.Values, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxWebhookBytes))
	if err != nil {
		return nil, err
	}
	forbidden := refuse(http.StatusForbidden, "the signature is not the provider's")
	if given := c.Request.Header.Values("X-Twilio-Signature"); len(given) == 0 {
		if !s.LocalAuth || !localRequest(c.Request) {
			return nil, forbidden
		}
	} else if len(given) > 1 || !twilio.Verify(s.TwilioTokens, s.PublicURL+c.Request.RequestURI, body, c.ContentType(), given[0]) {
		return nil, forbidden
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is not a form")
	}
	if account := form.Get("AccountSid"); account != "" && account != s.AccountSID {
		return nil, refuse(http.StatusForbidden, "the event belongs to another account")
	}
	return storable(form), nil
}

// storable replaces what PostgreSQL's text cannot hold, so that no event is lost for a stray byte.
func storable(form url.Values) url.Values {
	clean := func(text string) string {
		return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	}
	out := make(url.Values, len(form))
	for name, values := range form {
		for _, v := range values {
			out.Add(clean(name), clean(v))
		}
	}
	return out
}

// readInbound reads an inbound message. A sender that is not a phone number is no reason to lose it.
func readInbound(form url.Values) (inbound.Message, error) {
	m := inbound.Message{
		SID:        cmp.Or(form.Get("MessageSid"), form.Get("SmsMessageSid"), form.Get("SmsSid")),
		Channel:    message.SMS,
		Body:       form.Get("Body"),
		ButtonText: form.Get("ButtonText"),
		OptOutType: form.Get("OptOutType"),
	}
	if m.SID == "" {
		return inbound.Message{}, refuse(http.StatusBadRequest, "MessageSid is missing")
	}
	from := form.Get("From")
	if strings.HasPrefix(strings.ToLower(from), "whatsapp:") {
		m.Channel = message.WhatsApp
	}
	if _, number, err := twilio.ParseAddress(from); err == nil {
		m.From = phone.Number(number)
	}
	if _, number, err := twilio.ParseAddress(form.Get("To")); err == nil {
		m.To = phone.Number(number)
	}
	if id := form.Get("WaId"); id != "" {
		if _, number, err := twilio.ParseAddress("whatsapp:" + id); err == nil {
			m.WhatsAppID = phone.Number(number)
		}
	}
	if n, err := strconv.ParseInt(form.Get("NumMedia"), 10, 32); err == nil && n > 0 {
		m.MediaCount = int(n)
	}
	payload, err := json.Marshal(form)
	if err != nil {
		return inbound.Message{}, fmt.Errorf("inbound message: %w", err)
	}
	m.Payload = payload
	return m, nil
}

// readReport reads a status callback. Statuses and error codes that are new to us are kept as they are.
func readReport(query, form url.Values) (message.Report, error) {
	cb, err := twilio.ParseCallback(query, form)
	if err != nil {
		return message.Report{}, refuse(http.StatusBadRequest, "MessageSid is missing")
	}
	r := message.Report{SID: cb.SID, Status: cb.Status, State: cb.State}
	if cb.AttemptID != uuid.Nil {
		r.AttemptID = &cb.AttemptID
	}
	if cb.ErrorCode > 0 && cb.ErrorCode <= math.MaxInt32 {
		r.Code = cb.ErrorCode
		r.Policy = twilio.PolicyIn(phone.Region(phone.Number(cb.To)), r.Code)
	}
	if r.Payload, err = json.Marshal(form); err != nil {
		return message.Report{}, fmt.Errorf("status callback: %w", err)
	}
	return r, nil
}

// Status callbacks come in bursts, several for each message. One transaction takes in all that arrived while the ones
// before it committed; where they come in a steady stream it waits for a moment until there are several. So a burst, or a
// stream, costs a few commits, and a lone callback waits for nobody.
const (
	reportBatch    = 128                   // callbacks in one transaction
	reportEnough   = 16                    // so many are not waited for any more
	reportInterval = 40 * time.Millisecond // between the beginnings of two transactions with fewer
	reportWriters  = 2                     // transactions at once
	reportDeadline = 10 * time.Second      // for a batch: the provider gives up after 15 s
)

// reportQueue holds the callbacks that wait for their transaction. Its zero value is empty.
type reportQueue struct {
	mu      sync.Mutex
	waiting []waitingReport
	writers int
	began   time.Time     // the newest transaction
	enough  chan struct{} // closed when a writer need not wait for more; nil while none waits
}

type waitingReport struct {
	message.Report
	done chan error // gets one value, and has room for it: the caller may be gone
}

// recordReport returns once the report is committed, or is known not to be.
func (s *server) recordReport(ctx context.Context, r message.Report) error {
	w := waitingReport{Report: r, done: make(chan error, 1)}
	if s.reports.add(w) {
		go s.writeReports(context.WithoutCancel(ctx))
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// add reports whether the caller has to start another writer.
func (q *reportQueue) add(w waitingReport) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, w)
	if q.enough != nil && len(q.waiting) >= reportEnough {
		close(q.enough)
		q.enough = nil
	}
	if q.writers > 0 && (q.writers == reportWriters || len(q.waiting) < reportEnough) { // it will be taken by one at work
		return false
	}
	q.writers++
	return true
}

// gather waits until a transaction is worth its while, or the one before it lies far enough back.
func (q *reportQueue) gather() {
	q.mu.Lock()
	wait := time.Until(q.began.Add(reportInterval))
	if wait <= 0 || len(q.waiting) == 0 || len(q.waiting) >= reportEnough {
		q.mu.Unlock()
		return
	}
	if q.enough == nil {
		q.enough = make(chan struct{})
	}
	enough := q.enough
	q.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-enough:
	case <-timer.C:
	}
}

// take returns the next batch. With nil the writer is dismissed.
func (q *reportQueue) take() []waitingReport {
	q.gather()
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), reportBatch)
	if n == 0 {
		q.waiting = nil
		q.writers--
		return nil
	}
	q.began = time.Now()
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return batch
}

// writeReports writes batches until nothing waits. It outlives the request that started it: a caller that goes away
// takes nobody's report along.
func (s *server) writeReports(ctx context.Context) {
	for batch := s.reports.take(); batch != nil; batch = s.reports.take() {
		s.writeBatch(ctx, batch)
	}
}

func (s *server) writeBatch(ctx context.Context, batch []waitingReport) {
	ctx, cancel := context.WithTimeout(ctx, reportDeadline)
	defer cancel()
	err := s.storeReports(ctx, batch)
	for i, w := range batch {
		if err != nil && len(batch) > 1 { // perhaps only one of them is at fault
			w.done <- s.storeReports(ctx, batch[i:i+1])
			continue
		}
		w.done <- err
	}
}

func (s *server) storeReports(ctx context.Context, batch []waitingReport) (err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic of type %T", problem)
		}
	}()
	reports := make([]message.Report, len(batch))
	for i, w := range batch {
		reports[i] = w.Report
	}
	_, err = s.Store.RecordReceipts(ctx, reports, s.Now())
	return err
}
