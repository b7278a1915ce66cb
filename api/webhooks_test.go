package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/twilio"
)

const (
	publicURL = "https://ese.example"
	account   = "AC00000000000000000000000000000000"
	token     = "present"
	oldToken  = "rotating"
	stranger  = "whatsapp:+94770000009"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// engine is the API on a database of its own, with plain access to that database.
type engine struct {
	http.Handler
	store *db.Store
	pool  *pgxpool.Pool
	woken atomic.Int32
}

func start(t *testing.T, change func(*api.Deps)) *engine {
	t.Helper()
	dsn := dbtest.URL(t)
	store, err := db.Open(t.Context(), dsn, db.SuppressionKeys(dbtest.Keys))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	pool, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	e := &engine{store: store, pool: pool}
	deps := api.Deps{
		Store: store, Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler), Wake: func() { e.woken.Add(1) },
		TemporalHealth: func(context.Context) error { return nil }, TemporalUIURL: "http://127.0.0.1:8233", Namespace: "default",
		PublicURL: publicURL, ListenAddr: "127.0.0.1:8000", MaxUploadBytes: 1 << 20, Version: "test", AccountSID: account,
		TwilioTokens: []string{token, oldToken}, ErrorMeaning: func(code int) string { return twilio.PolicyOf(code).Meaning },
		ErrorAdvice: func(code int) string { return twilio.PolicyOf(code).Advice() },
	}
	if change != nil {
		change(&deps)
	}
	e.Handler, err = api.New(deps)
	require.NoError(t, err)
	return e
}

func local(d *api.Deps) { d.LocalAuth = true }

func (e *engine) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := e.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func get[T any](t *testing.T, e *engine, sql string, args ...any) T {
	t.Helper()
	rows, err := e.pool.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return v
}

// webhook makes a request to target as the provider would, signed with key; "" leaves the signature out.
func webhook(key, target string, form url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != "" {
		r.Header.Set("X-Twilio-Signature", twilio.Sign(key, publicURL+target, form))
	}
	return r
}

// fromHere makes a request one from this very machine.
func fromHere(r *http.Request) *http.Request {
	r.RemoteAddr, r.Host = "127.0.0.1:50000", "127.0.0.1:8000"
	return r
}

func (e *engine) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func said(sid, body string) url.Values {
	return url.Values{
		"MessageSid": {sid}, "AccountSid": {account}, "From": {stranger}, "To": {"whatsapp:+14155238886"}, "Body": {body}, "NumMedia": {"0"},
	}
}

func TestInboundWebhook(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	require.NoError(t, e.store.EnsureSender(t.Context(), message.WhatsApp, "+14155238886", noon))
	say := func(form url.Values) {
		t.Helper()
		w := e.do(webhook(token, "/webhooks/inbound", form))
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "text/xml; charset=utf-8", w.Header().Get("Content-Type"))
		require.Equal(t, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response/>", w.Body.String(), "replies go through the ledger")
	}
	replies := func() []string {
		return get[[]string](t, e, `SELECT coalesce(array_agg(reply || ' ' || (variables->>'text') ORDER BY seq), '{}') FROM messages`)
	}
	say(said("SM1", "hello"))
	require.Empty(t, replies())
	say(said("SM2", "STOP"))
	require.Equal(t, []string{"stop You have been unsubscribed and will receive no more messages from us. Reply START to subscribe again."}, replies())
	say(said("SM2", "STOP"))
	say(said("SM3", "stop"))
	require.Len(t, replies(), 1, "one confirmation only")
	require.Equal(t, "STOP", get[string](t, e, "SELECT consent_state FROM users"))
	say(said("SM4", "START"))
	require.Contains(t, replies()[1], "Welcome back!")
	require.Equal(t, "OPT_IN", get[string](t, e, "SELECT consent_state FROM users"))
	say(said("SM5", "Help"))
	require.Contains(t, replies()[2], "Reply STOP")
	require.Positive(t, e.woken.Load(), "the outbox is looked at")

	handled := said("SM6", "STOP")
	handled.Set("OptOutType", "STOP")
	say(handled)
	require.Len(t, replies(), 3, "the provider has answered already")
	require.Equal(t, "STOP", get[string](t, e, "SELECT consent_state FROM users"))
	require.EqualValues(t, 6, get[int64](t, e, "SELECT count(*) FROM inbound_messages"))
}

func TestReplyAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const replies = "/api/v1/replies"
	first := e.call(t, 200, "GET", replies, "")
	require.Empty(t, first["replies"])
	require.Contains(t, first["standard"], map[string]any{
		"kind": "unknown_topic", "locale": "en", "text": "We know no topic of that name. Reply STOP to receive no more messages from us.",
	})
	const own = `{"replies": [{"kind": "help", "locale": "en", "text": "Call us"}, {"kind": "stop", "locale": "en", "text": ""}]}`
	set := e.call(t, 200, "PUT", replies, own)
	require.Equal(t, first["standard"], set["standard"])
	require.Equal(t, set, e.call(t, 200, "GET", replies, ""))
	for body, want := range map[string][]string{
		`{"replies": [{"kind": "bye", "locale": "en", "text": "x"}]}`:          {"replies[0].kind"},
		`{"replies": [{"kind": "help", "locale": "en!", "text": "x"}]}`:        {"replies[0].locale"},
		`{"replies": [{"kind": "help", "locale": "en"}]}`:                      {"replies[0].text"},
		`{"replies": [{"kind": "help", "locale": "en", "text": "Hi {name}"}]}`: {"replies[0].text"},
		`{"replies": [{"kind": "subscribed", "locale": "en", "text": "{"}]}`:   {"replies[0].text"},
		`{}`: {"replies"},
	} {
		require.Equal(t, want, fields(e.call(t, 422, "PUT", replies, body)), body)
	}
	require.Equal(t, set, e.call(t, 200, "GET", replies, ""), "a refused list changes nothing")
	require.Empty(t, e.call(t, 200, "PUT", replies, `{"replies": []}`)["replies"])

	require.NoError(t, e.store.EnsureSender(t.Context(), message.WhatsApp, "+14155238886", noon))
	require.Equal(t, 200, e.do(fromHere(webhook("", "/webhooks/inbound", said("SM1", "HELP")))).Code)
	require.Equal(t, true, e.call(t, 200, "GET", "/api/v1/campaigns/1", "")["built_in"])
	require.Equal(t, 0.0, e.call(t, 200, "GET", "/api/v1/campaigns", "")["total"], "nobody's campaign")
	require.Equal(t, 1.0, e.call(t, 200, "GET", "/api/v1/campaigns/1/recipients", "")["total"], "what it sent is on record")
	e.call(t, 409, "POST", "/api/v1/campaigns/1/cancel", "")
	e.call(t, 409, "PATCH", "/api/v1/campaigns/1", `{"rate_limit_per_second": 5}`)
}

func TestInboundWebhookLosesNothing(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	for i, change := range []func(url.Values){
		func(f url.Values) { f.Set("Body", "a\x00b\xffc") },
		func(f url.Values) { f.Set("ProfileName\x00", "x\xfe") },
		func(f url.Values) { f.Set("From", "messenger:12345") },
		func(f url.Values) { f.Set("From", "VODAFONE"); f.Set("Body", "STOP") },
		func(f url.Values) { f.Del("From") },
		func(f url.Values) { f.Set("To", "12345"); f.Set("NumMedia", "many") },
		func(f url.Values) { f.Set("NumMedia", "99999999999") },
		func(f url.Values) { f.Set("Body", strings.Repeat("é", 10_000)) },
	} {
		form := said("SM"+string(rune('a'+i)), "hi")
		change(form)
		require.Equal(t, http.StatusOK, e.do(webhook(token, "/webhooks/inbound", form)).Code, "%d", i)
	}
	require.EqualValues(t, 8, get[int64](t, e, "SELECT count(*) FROM inbound_messages"))
	require.EqualValues(t, 3, get[int64](t, e, "SELECT count(*) FROM inbound_messages WHERE user_id IS NULL"))
	require.Equal(t, "a\uFFFDb\uFFFDc", get[string](t, e, "SELECT body FROM inbound_messages WHERE provider_sid = 'SMa'"))

	require.Equal(t, http.StatusBadRequest, e.do(webhook(token, "/webhooks/inbound", url.Values{"Body": {"x"}})).Code, "no id, no event")
	big := said("SMbig", strings.Repeat("a", 70_000))
	require.Equal(t, http.StatusRequestEntityTooLarge, e.do(webhook(token, "/webhooks/inbound", big)).Code)
}

func TestWebhookSignature(t *testing.T) {
	t.Parallel()
	const target = "/webhooks/inbound"
	strict, lenient := start(t, nil), start(t, local)
	for i, tt := range []struct {
		name  string
		local bool // local sign-in is on
		make  func(form url.Values) *http.Request
		want  int
	}{
		{"present token", false, func(f url.Values) *http.Request { return webhook(token, target, f) }, 200},
		{"rotating token", false, func(f url.Values) *http.Request { return webhook(oldToken, target, f) }, 200},
		{"signed query", false, func(f url.Values) *http.Request { return webhook(token, target+"?a=%20b", f) }, 200},
		{"another query", false, func(f url.Values) *http.Request {
			r := webhook(token, target+"?a=%20b", f)
			r.RequestURI = target + "?a=+b" // the same to a parser, not to a signature
			return r
		}, 403},
		{"stranger's token", false, func(f url.Values) *http.Request { return webhook("guess", target, f) }, 403},
		{"tampered body", false, func(f url.Values) *http.Request {
			r := webhook(token, target, f)
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(f.Encode(), "STOP", "START", 1)))
			return r
		}, 403},
		{"two signatures", false, func(f url.Values) *http.Request {
			r := webhook(token, target, f)
			r.Header.Add("X-Twilio-Signature", "x")
			return r
		}, 403},
		{"foreign account", false, func(f url.Values) *http.Request {
			f.Set("AccountSid", "AC11111111111111111111111111111111")
			return webhook(token, target, f)
		}, 403},
		{"unsigned", false, func(f url.Values) *http.Request { return fromHere(webhook("", target, f)) }, 403},
		{"unsigned and local", true, func(f url.Values) *http.Request { return fromHere(webhook("", target, f)) }, 200},
		{"unsigned and remote", true, func(f url.Values) *http.Request { return webhook("", target, f) }, 403},
		{"unsigned and forwarded", true, func(f url.Values) *http.Request {
			r := fromHere(webhook("", target, f))
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
			return r
		}, 403},
		{"wrong signature and local", true, func(f url.Values) *http.Request { return fromHere(webhook("guess", target, f)) }, 403},
		{"empty signature and local", true, func(f url.Values) *http.Request {
			r := fromHere(webhook("", target, f))
			r.Header["X-Twilio-Signature"] = []string{""}
			return r
		}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := strict
			if tt.local {
				e = lenient
			}
			sid := fmt.Sprintf("SM%d", i)
			require.Equal(t, tt.want, e.do(tt.make(said(sid, "STOP"))).Code)
			stored := get[int64](t, e, "SELECT count(*) FROM inbound_messages WHERE provider_sid = $1", sid)
			require.Equal(t, tt.want == http.StatusOK, stored == 1, "stored exactly when let in")
		})
	}
}

// broken is a store whose webhooks fail.
type broken struct{ api.Store }

func (broken) Receive(context.Context, inbound.Message, time.Time) (inbound.Reception, error) {
	return inbound.Reception{}, errors.New("no database")
}

func (broken) RecordReceipts(context.Context, []message.Report, time.Time) ([]bool, error) {
	panic("no database")
}

func TestWebhooksAskForAnotherDelivery(t *testing.T) {
	t.Parallel()
	e := start(t, func(d *api.Deps) { d.Store = broken{d.Store} })
	require.Equal(t, http.StatusServiceUnavailable, e.do(webhook(token, "/webhooks/inbound", said("SM1", "hi"))).Code)
	require.Equal(t, http.StatusServiceUnavailable, e.do(webhook(token, "/webhooks/status", status("SM1", "sent"))).Code)
}

func status(sid, word string) url.Values {
	return url.Values{
		"MessageSid": {sid}, "SmsSid": {sid}, "MessageStatus": {word}, "AccountSid": {account},
		"From": {"whatsapp:+14155238886"}, "To": {stranger},
	}
}

func TestStatusWebhook(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	run := e.run(t, e.campaign(t))
	attempt := e.accepted(t, run, 1, "SM1")
	target := "/webhooks/status?attempt=" + attempt.String()
	state := `SELECT m.state FROM messages m JOIN attempts a ON a.message_id = m.id WHERE a.id = $1`

	post := func(form url.Values) {
		w := e.do(webhook(token, target, form))
		require.Equal(t, http.StatusNoContent, w.Code)
		require.Empty(t, w.Body.String())
	}
	post(status("SM1", "delivered"))
	post(status("SM1", "sent")) // late
	post(status("SM1", "delivered"))
	require.Equal(t, "delivered", get[string](t, e, state, attempt))
	require.EqualValues(t, 1, get[int32](t, e, "SELECT repeats FROM receipts WHERE status = 'delivered'"))

	post(status("SM1", "levitating"))
	odd := status("SM1", "failed")
	odd.Set("ErrorCode", "none of your business")
	post(odd)
	odd.Set("ErrorCode", "99999999999999999999")
	post(odd)
	odd.Set("ErrorCode", "4294967297")
	post(odd)
	require.Equal(t, "delivered", get[string](t, e, state, attempt), "proof of delivery is not taken back")
	require.EqualValues(t, 4, get[int64](t, e, "SELECT count(*) FROM receipts"))

	require.Equal(t, http.StatusNoContent, e.do(webhook(token, "/webhooks/status?attempt=nonsense", status("SMother", "sent"))).Code)
	require.Nil(t, get[*uuid.UUID](t, e, "SELECT attempt_id FROM receipts WHERE provider_sid = 'SMother'"), "kept, though not ours")
	require.Equal(t, http.StatusBadRequest, e.do(webhook(token, target, url.Values{"MessageStatus": {"sent"}})).Code)
	require.Equal(t, http.StatusForbidden, e.do(webhook("guess", target, status("SMforged", "failed"))).Code)
	require.Zero(t, get[int64](t, e, "SELECT count(*) FROM receipts WHERE provider_sid = 'SMforged'"))
}

// gate counts batches, holds them back until it is opened, and refuses any with a report of one SID.
type gate struct {
	api.Store
	open    chan struct{}
	refused string

	mu    sync.Mutex
	sizes []int
}

func (g *gate) RecordReceipts(ctx context.Context, reports []message.Report, now time.Time) ([]bool, error) {
	<-g.open
	g.mu.Lock()
	g.sizes = append(g.sizes, len(reports))
	g.mu.Unlock()
	for _, r := range reports {
		if r.SID == g.refused {
			return nil, errors.New("refused")
		}
	}
	return g.Store.RecordReceipts(ctx, reports, now)
}

func TestStatusWebhooksShareTransactions(t *testing.T) {
	t.Parallel()
	g := &gate{open: make(chan struct{}), refused: "SMbad"}
	e := start(t, func(d *api.Deps) { g.Store, d.Store = d.Store, g })
	const good = 60
	codes := make([]int, good+1)
	var wg sync.WaitGroup
	var sent atomic.Int32
	for i := range good + 1 {
		sid := "SM" + uuid.NewString()
		if i == good {
			sid = g.refused
		}
		r := webhook(token, "/webhooks/status", status(sid, "sent"))
		wg.Go(func() {
			sent.Add(1)
			codes[i] = e.do(r).Code
		})
	}
	require.Eventually(t, func() bool { return sent.Load() == good+1 }, 5*time.Second, time.Millisecond)
	close(g.open)
	wg.Wait()
	for i := range good {
		require.Equal(t, http.StatusNoContent, codes[i], "one bad report fails none of its neighbours")
	}
	require.Equal(t, http.StatusServiceUnavailable, codes[good])
	require.EqualValues(t, good, get[int64](t, e, "SELECT count(*) FROM receipts"))
	calls, largest := 0, 0
	for _, n := range g.sizes {
		calls++
		largest = max(largest, n)
	}
	require.Greater(t, largest, 1, "callbacks that wait together are written together: %v", g.sizes)
}
