package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the provider's signature is made with it
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/event-stream-engine/ese/devstack/measure"
	"github.com/event-stream-engine/ese/devstack/stack"
)

// accepted writes a finished campaign of n messages that await their receipts.
const accepted = `
WITH t AS (INSERT INTO templates (name, channel, locale, created_at, updated_at) VALUES ('bench', 'whatsapp', 'en', now(), now()) RETURNING id),
v AS (INSERT INTO template_versions (template_id, version, content, variables, created_at) SELECT id, 1, 'x', '{}', now() FROM t RETURNING template_id),
c AS (INSERT INTO campaigns (topic, template_id, segment_query, status, created_at, updated_at)
      SELECT 'bench', template_id, '{"city": "bench"}', 'COMPLETED', now(), now() FROM v RETURNING id, template_id),
r AS (INSERT INTO campaign_runs (campaign_id, number, kind, template_id, template_version, sender_id, started_by, started_at, frozen_at, audience_size, finished_at, settled_at)
      SELECT c.id, 1, 'trigger', c.template_id, 1, (SELECT min(id) FROM senders WHERE channel = 'whatsapp'), 'bench', now(), now(), $1, now(), now() FROM c RETURNING id),
u AS (INSERT INTO users (phone_number, consent_state, created_at, updated_at)
      SELECT '+9471' || lpad(i::text, 7, '0'), 'OPT_IN', now(), now() FROM generate_series(1, $1) i RETURNING id, phone_number),
m AS (INSERT INTO messages (id, run_id, user_id, seq, channel, state, attempt_count, created_at, accepted_at, updated_at)
      SELECT uuid_v7(now()), r.id, u.id, row_number() OVER (), 'whatsapp', 'accepted', 1, now(), now(), now() FROM r, u RETURNING id, seq)
INSERT INTO attempts (id, message_id, number, state, lease_until, started_at, ended_at, provider_sid, body_sha256)
SELECT uuid_v7(now()), m.id, 1, 'accepted', now(), now(), now(), 'SM' || lpad(to_hex(m.seq), 32, '0'), '\x00' FROM m
RETURNING id, provider_sid`

// seeded is how many messages await receipts: three callbacks each, enough for 3,000 a second in the default time.
const seeded = 30_000

type attempt struct{ id, sid string }

// receipts hands out the status callbacks of the seeded messages, each once, in the order in which they would come.
type receipts struct {
	attempts []attempt
	next     atomic.Int64
}

var words = []string{"sent", "delivered", "read"}

// take returns the next callback, and false when all were taken.
func (r *receipts) take() (a attempt, status string, ok bool) {
	i := int(r.next.Add(1) - 1)
	if i >= len(r.attempts)*len(words) {
		return attempt{}, "", false
	}
	return r.attempts[i%len(r.attempts)], words[i/len(r.attempts)], true
}

// seed writes the messages whose receipts are posted, once.
func (b *bench) seed(ctx context.Context) error {
	if b.receipts != nil {
		return nil
	}
	rows, err := b.DB.Query(ctx, accepted, seeded)
	if err != nil {
		return err
	}
	attempts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a attempt, err error) {
		return a, row.Scan(&a.id, &a.sid)
	})
	b.receipts = &receipts{attempts: attempts}
	return err
}

func pooled(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
}

// webhooks posts signed status callbacks about real messages over so many connections, each as fast as it is answered.
func (b *bench) webhooks(ctx context.Context) error {
	if err := b.seed(ctx); err != nil {
		return err
	}
	client := pooled(b.connections)
	var mu sync.Mutex
	var took measure.Latencies
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for range b.connections {
		g.Go(func() error {
			var mine measure.Latencies
			for time.Since(start) < seconds(b.seconds) {
				a, status, ok := b.receipts.take()
				if !ok {
					break
				}
				began := time.Now()
				if err := b.callback(ctx, client, a, status); err != nil {
					return err
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b.row("webhooks, stack otherwise idle", "%.0f/s: %d signed callbacks over %d connections",
		float64(len(took))/time.Since(start).Seconds(), len(took), b.connections)
	b.latencies("  answered in", took)
	return nil
}

// load posts status callbacks at a steady pace while a campaign sends at another. The time of each is counted from the
// moment at which it was due, so that a stall is not hidden by the calls that it kept from being made.
func (b *bench) load(ctx context.Context) error {
	if err := b.seed(ctx); err != nil {
		return err
	}
	const city = "Loadville"
	people := b.loadSends * (b.loadTime + 5)
	if err := b.People(ctx, "+9475", city, people); err != nil {
		return err
	}
	id, err := b.Campaign(ctx, city, b.loadSends)
	if err != nil {
		return err
	}
	run, err := b.Trigger(ctx, id)
	if err != nil {
		return err
	}
	since := "by_recipient=false&since=" + run.TriggeredAt.UTC().Format(time.RFC3339Nano)
	err = measure.Until(ctx, 100*time.Millisecond, func() (bool, error) {
		stats, err := b.Simulated(ctx, since)
		return stats.Accepted > 0, err
	})
	if err != nil {
		return err
	}
	before, err := b.Simulated(ctx, since)
	if err != nil {
		return err
	}
	start := time.Now()
	took, err := b.paced(ctx, start)
	if err != nil {
		return err
	}
	lasted := time.Since(start)
	after, err := b.Simulated(ctx, since)
	if err != nil {
		return err
	}
	if err := b.AwaitReceipts(ctx, run); err != nil {
		return err
	}
	b.row("webhooks while a campaign sends", "%.0f/s besides the campaign's own, at %.1f sends/s",
		float64(len(took))/lasted.Seconds(), float64(after.Accepted-before.Accepted)/lasted.Seconds())
	b.latencies("  answered in", took)
	return nil
}

// paced posts at the load's rate, each callback at its moment, however many are unanswered by then.
func (b *bench) paced(ctx context.Context, start time.Time) (measure.Latencies, error) {
	client := pooled(256)
	took := make(measure.Latencies, b.loadRate*b.loadTime)
	g, ctx := errgroup.WithContext(ctx)
	for i := range took {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(b.loadRate))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return nil, g.Wait()
		}
		a, status, ok := b.receipts.take()
		if !ok {
			return nil, errors.Join(fmt.Errorf("more than %d callbacks were asked for", seeded*len(words)), g.Wait())
		}
		g.Go(func() error {
			err := b.callback(ctx, client, a, status)
			took[i] = time.Since(due)
			return err
		})
	}
	return took, g.Wait()
}

// callback posts one status callback as the provider does.
func (b *bench) callback(ctx context.Context, client *http.Client, a attempt, status string) error {
	target := b.URL() + "/webhooks/status?attempt=" + a.id
	form := url.Values{
		"AccountSid": {stack.AccountSID}, "ApiVersion": {"2010-04-01"}, "ChannelPrefix": {"whatsapp"}, "From": {stack.PhoneNumber},
		"MessageSid": {a.sid}, "MessageStatus": {status}, "SmsSid": {a.sid}, "SmsStatus": {status}, "To": {"whatsapp:+94710000001"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Twilio-Signature", sign(target, form))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("a callback was answered %d", resp.StatusCode)
	}
	return nil
}

func sign(target string, form url.Values) string {
	mac := hmac.New(sha1.New, []byte(stack.AuthToken))
	_, _ = io.WriteString(mac, target)
	for _, key := range slices.Sorted(maps.Keys(form)) {
		_, _ = io.WriteString(mac, key+form.Get(key))
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
