package activities_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/twilio"
	"github.com/event-stream-engine/ese/internal/twiliosim"
)

const (
	account = "AC00000000000000000000000000000000"
	token   = "localstack"
	ours    = "+14155238886"
)

// world is a run of a campaign in a database of its own.
type world struct {
	*db.Store
	pool *pgxpool.Pool
	run  ledger.Run
}

// newWorld triggers a campaign to n people in Colombo as of now; change may alter its plan.
func newWorld(t *testing.T, n int, now time.Time, change func(*campaign.Campaign)) *world {
	t.Helper()
	ctx, url := t.Context(), dbtest.URL(t)
	store, err := db.Open(ctx, url, db.SuppressionKeys(dbtest.Keys))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	pool, err := pgxpool.New(ctx, url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	w := &world{Store: store, pool: pool}
	w.people(t, n, "LK", "Asia/Colombo")
	w.exec(t, `INSERT INTO templates (name, channel, locale, created_at, updated_at) VALUES ('Welcome', 'whatsapp', 'en_US', now(), now())`)
	w.exec(t, `INSERT INTO template_versions (template_id, version, content, variables, created_at) VALUES (1, 1, 'Hi {name}', '{name}', now())`)
	w.variant(t, 0, "en_US", "Hi {name}", someContent, render.Approved)
	require.NoError(t, store.EnsureSender(ctx, message.WhatsApp, ours, now))

	plan := campaign.Campaign{
		Topic: "Spring", TemplateID: 1, SegmentQuery: json.RawMessage(`{"attribute":"name","operator":"exists"}`),
		RatePerSecond: 1000, Timezone: "UTC", FailureThreshold: campaign.DefaultFailureThreshold,
	}
	if change != nil {
		change(&plan)
	}
	created, err := store.CreateCampaign(ctx, plan, now)
	require.NoError(t, err)
	run, err := store.StartRun(ctx, created.ID, "tester", now)
	require.NoError(t, err)
	w.run = w.load(t, run.ID)
	return w
}

// someContent is the SID of a content that no provider is asked about.
const someContent = "HX00000000000000000000000000000000"

// variant adds what the template says in a language.
func (w *world) variant(t *testing.T, position int, locale, content, sid string, approval render.Approval) {
	t.Helper()
	w.exec(t, `INSERT INTO template_variants (template_id, version, position, locale, content, variables, mapping, content_sid, approval)
		VALUES (1, 1, $1, $2, $3, '{name}', '{"1": "name"}', nullif($4, ''), $5)`, position, locale, content, sid, approval)
}

// people adds n people who agreed.
func (w *world) people(t *testing.T, n int, region, zone string) {
	t.Helper()
	w.exec(t, `INSERT INTO users (phone_number, region, zones, attributes, consent_state, created_at, updated_at)
		SELECT '+9477' || (1000000 + (SELECT count(*) FROM users) + i), $2, ARRAY[$3], '{"name":"Ann"}', 'OPT_IN', now(), now() FROM generate_series(1, $1) i`, n, region, zone)
}

func (w *world) load(t *testing.T, runID int64) ledger.Run {
	t.Helper()
	run, err := w.Run(t.Context(), runID)
	require.NoError(t, err)
	return run
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := w.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (w *world) text(t *testing.T, sql string, args ...any) string {
	t.Helper()
	rows, err := w.pool.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return v
}

func (w *world) message(seq int) activities.Message {
	return activities.Message{Run: w.runName(), Seq: seq}
}

func (w *world) runName() outbox.Run {
	return outbox.Run{RunID: w.run.ID, CampaignID: w.run.CampaignID, Number: w.run.Number}
}

// stands tells how message seq stands: its state, its reason and the states of its attempts.
func (w *world) stands(t *testing.T, seq int) string {
	t.Helper()
	return w.text(t, `SELECT concat_ws(' ', m.state, nullif(m.reason, ''), (SELECT '[' || string_agg(a.state, ' ' ORDER BY a.number) || ']' FROM attempts a WHERE a.message_id = m.id))
		FROM messages m WHERE m.run_id = $1 AND m.seq = $2`, w.run.ID, seq)
}

func (w *world) number(t *testing.T, seq int) string {
	t.Helper()
	d, err := w.Delivery(t.Context(), w.run.ID, seq)
	require.NoError(t, err)
	return d.Phone.String()
}

// lane is a world together with a provider and the activities that deliver to it.
type lane struct {
	*world
	*activities.Delivery
	provider string // the simulator's address
}

// newLane freezes an audience of n and lets it be delivered to a simulated provider with these faults, whose messages
// are read at once.
func newLane(t *testing.T, n int, faults twiliosim.Faults) *lane {
	t.Helper()
	return newLaneWith(t, n, faults, twiliosim.Delays{Sent: -1, Delivered: -1, Read: -1})
}

func newLaneWith(t *testing.T, n int, faults twiliosim.Faults, delays twiliosim.Delays) *lane {
	t.Helper()
	w := newWorld(t, n, time.Now(), nil)
	require.NoError(t, w.Freeze(t.Context(), w.run, time.Now()))
	w.run = w.load(t, w.run.ID)

	sim, err := twiliosim.New(twiliosim.Config{AccountSID: account, AuthToken: token, DataDir: t.TempDir(), Delays: delays})
	require.NoError(t, err)
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		require.NoError(t, sim.Close()) // ends requests that hang
		server.Close()
	})
	l := &lane{world: w, provider: server.URL, Delivery: &activities.Delivery{
		Store: w.Store, Sender: client(t, server.URL), Pace: activities.NewPace(w.Store, time.Now, slog.New(slog.DiscardHandler), 100),
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Lease: 5 * time.Second, Looks: []time.Duration{20 * time.Millisecond, 60 * time.Millisecond},
		ReceiptDeadline: time.Millisecond, Patience: time.Second,
	}}
	l.approve(t)
	l.faults(t, faults)
	return l
}

// approve has the provider approve the template.
func (l *lane) approve(t *testing.T) {
	t.Helper()
	c := client(t, l.provider)
	sid, err := c.CreateContent(t.Context(), render.Submission{Name: "welcome", Locale: "en_US", Body: "Hi {{1}}"})
	require.NoError(t, err)
	require.NoError(t, c.SubmitContent(t.Context(), sid, "welcome", render.Marketing))
	l.exec(t, `UPDATE template_variants SET content_sid = $1, approval = 'approved'`, sid)
}

func client(t *testing.T, url string) *twilio.Client {
	t.Helper()
	c, err := twilio.New(twilio.Config{AccountSID: account, AuthToken: token, BaseURL: url})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// faults replaces the provider's faults.
func (l *lane) faults(t *testing.T, faults twiliosim.Faults) {
	t.Helper()
	body, err := json.Marshal(faults)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, l.provider+"/sim/faults", bytes.NewReader(body))
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// brief makes a request's lease short: for sends whose outcome is to be looked up after it.
func (l *lane) brief() *lane {
	l.Lease = 500 * time.Millisecond
	return l
}

// judge is the provider's count of accepted messages, by E.164.
func (l *lane) judge(t *testing.T) map[string]int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.provider+"/sim/recipients", http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	var list []twiliosim.Recipient
	require.NoError(t, json.NewDecoder(res.Body).Decode(&list))
	counts := map[string]int{}
	for _, r := range list {
		counts[r.To[len("whatsapp:"):]] = r.Accepted
	}
	return counts
}

// accepted is how many messages the provider accepted for the person of message seq.
func (l *lane) accepted(t *testing.T, seq int) int {
	t.Helper()
	return l.judge(t)[l.number(t, seq)]
}

// step does what comes next.
func (l *lane) step(t *testing.T, m activities.Message, next activities.Next) activities.Next {
	t.Helper()
	var err error
	switch next.Do {
	case activities.Check:
		next, err = l.CheckCompliance(t.Context(), m)
	case activities.Send:
		next, err = l.SendMessage(t.Context(), m)
	case activities.Resolve:
		next, err = l.ResolveAttempt(t.Context(), m)
	case activities.Fetch:
		next, err = l.FetchReceipt(t.Context(), m)
	default:
		require.FailNow(t, "unknown step", "%q", next.Do)
	}
	require.NoError(t, err)
	return next
}

// drive follows a message from check to done, as its workflow would, and returns how it ended. Long waits of pending
// messages are cut short.
func (l *lane) drive(t *testing.T, seq int) string {
	t.Helper()
	m, next := l.message(seq), activities.Next{Do: activities.Check}
	for deadline := time.Now().Add(time.Minute); ; {
		require.True(t, time.Now().Before(deadline), "message %d goes round and round: %+v", seq, next)
		if next.Do == activities.Done {
			_ = l.SweepReceipts(t.Context(), l.runName()) // the provider may fail: the campaign asks again
			switch d, err := l.world.Delivery(t.Context(), l.run.ID, seq); {
			case err != nil || !d.State.Open() && (!d.State.Undecided() || d.Reason != ""):
				require.NoError(t, err)
				return l.stands(t, seq)
			case d.State.Open():
				next = activities.Next{Do: activities.Check}
			}
			continue
		}
		if wait := time.Until(next.At); wait > 0 && next.Do == activities.Check {
			l.exec(t, `UPDATE messages SET waits_until = now() WHERE run_id = $1 AND seq = $2 AND state = 'pending'`, l.run.ID, seq)
		} else if wait > 0 {
			<-time.After(min(wait, 100*time.Millisecond)) // the provider's time is real
		}
		next = l.step(t, m, next)
	}
}
