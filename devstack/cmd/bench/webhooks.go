package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the provider's signature is made with it
	"encoding/base64"
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

type attempt struct{ id, sid string }

// webhooks posts signed status callbacks about real messages over so many connections and prints how fast they were
// answered.
func (b bench) webhooks(ctx context.Context, connections int, duration time.Duration) error {
	const messages = 30_000
	attempts, err := b.seed(ctx, messages)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
	words := []string{"sent", "delivered", "read"}
	var next atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	start := time.Now()
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			var mine []time.Duration
			for time.Since(start) < duration {
				i := int(next.Add(1) - 1)
				if i >= len(attempts)*len(words) {
					break
				}
				began := time.Now()
				if err := b.callback(ctx, client, attempts[i%len(attempts)], words[i/len(attempts)]); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	slices.Sort(took)
	fmt.Printf("webhooks: %d signed status callbacks over %d connections, signatures checked: %.0f/s, p50 %s, p99 %s, max %s\n",
		len(took), connections, float64(len(took))/time.Since(start).Seconds(),
		percentile(took, 50), percentile(took, 99), took[len(took)-1].Round(100*time.Microsecond))
	return nil
}

func (b bench) seed(ctx context.Context, n int) ([]attempt, error) {
	conn, err := pgx.Connect(ctx, b.DatabaseURL())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, accepted, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a attempt, err error) {
		return a, row.Scan(&a.id, &a.sid)
	})
}

// callback posts one status callback as the provider does.
func (b bench) callback(ctx context.Context, client *http.Client, a attempt, status string) error {
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

// percentile of sorted durations.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)].Round(100 * time.Microsecond)
}
