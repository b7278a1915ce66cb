package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/client"

	"github.com/event-stream-engine/ese/devstack/measure"
)

// progressPath is what a page that shows the campaign asks again and again.
const progressPath = "/api/v1/campaigns/%d/progress"

const (
	freezeLimit   = 10 * time.Second
	progressLimit = 50 * time.Millisecond
)

// campaign is one large campaign on a stack of its own.
type campaign struct {
	*measure.Stack
	settings
	*report
	temporal client.Client
	run      measure.Run
	outcome  measure.Outcome
	before   sizes // of the databases, when the people were there and the campaign was not
}

func (c *campaign) prepare(ctx context.Context) error {
	var err error
	if c.temporal, err = client.DialContext(ctx, client.Options{HostPort: c.TemporalAddress(), Logger: quiet{}}); err != nil {
		return err
	}
	if err := c.SetSenderRate(ctx, 1000); err != nil {
		return err
	}
	if err := c.SetFaults(ctx, measure.Object{"latency_ms": c.latency}); err != nil {
		return err
	}
	began := time.Now()
	if err := c.People(ctx, prefix, city, c.recipients); err != nil {
		return err
	}
	c.figure("recipients", "%d, written by SQL in %.1f s", c.recipients, time.Since(began).Seconds())
	c.figure("worker processes", "%d", c.workers)
	c.figure("latency of a send, most sends a second", "%d ms, %d", c.latency, c.rate)
	c.before, err = c.sizes(ctx)
	return err
}

// send carries the campaign out and watches it.
func (c *campaign) send(ctx context.Context) error {
	id, err := c.Campaign(ctx, city, c.rate)
	if err != nil {
		return err
	}
	peaks := c.WatchMemory(ctx)
	usage := c.Usage()
	watch := c.watch(ctx, id)
	if c.run, err = c.Trigger(ctx, id); err != nil {
		return err
	}
	if err := c.awaitFreeze(ctx); err != nil {
		return err
	}
	if c.pause {
		if err := c.pauseAndResume(ctx); err != nil {
			return err
		}
	}
	if err := c.AwaitReceipts(ctx, c.run); err != nil {
		return err
	}
	if c.outcome, err = c.Outcome(ctx, c.run); err != nil {
		return err
	}
	used := c.Usage()
	progress, open, err := watch()
	if err != nil {
		return err
	}

	took := c.outcome.Took(c.run)
	pauses := ""
	if c.pause {
		pauses = ", the pause included"
	}
	c.figure("trigger to last receipt in the ledger"+pauses, "%s: %.1f recipients/s", took.Round(100*time.Millisecond), float64(c.recipients)/took.Seconds())
	if err := c.minutes(ctx); err != nil {
		return err
	}
	for _, role := range c.Roles() {
		c.figure("CPU of "+string(role), "%.1f ms a recipient", float64((used[role].CPU-usage[role].CPU).Milliseconds())/float64(c.recipients))
	}
	most := peaks()
	for _, role := range c.Roles() {
		c.figure("peak memory of "+string(role), "%.0f MB", float64(most[role])/1e6)
	}
	c.figure("open workflows at most", "%d, %d of them recipients", open.all, open.recipients)
	c.judge("progress", len(progress) > 0 && progress.Percentile(95) < progressLimit, "%d reads of GET %s: %s", len(progress), fmt.Sprintf(progressPath, id), progress)
	return nil
}

// awaitFreeze sees the frozen audience as soon as its transaction is committed. The run's frozen_at is the moment before
// the statement.
func (c *campaign) awaitFreeze(ctx context.Context) error {
	var started, frozen *time.Time
	err := measure.Until(ctx, 20*time.Millisecond, func() (bool, error) {
		err := c.DB.QueryRow(ctx, `SELECT started_at, frozen_at FROM campaign_runs WHERE id = $1`, c.run.ID).Scan(&started, &frozen)
		return frozen != nil, err
	})
	if err != nil {
		return err
	}
	visible := time.Now()
	c.judge("freeze", visible.Sub(*started) < freezeLimit, "the audience was written %s after the run's start; the statement took %s of it",
		measure.Millis(visible.Sub(*started)), measure.Millis(visible.Sub(*frozen)))
	return nil
}

// minutes shows how the sending went on.
func (c *campaign) minutes(ctx context.Context) error {
	rows, err := c.DB.Query(ctx, `
SELECT floor(extract(epoch FROM accepted_at - $2) / 60)::integer AS minute, count(*)::integer, extract(epoch FROM max(accepted_at) - min(accepted_at))::float8
FROM messages WHERE run_id = $1 AND accepted_at IS NOT NULL GROUP BY minute ORDER BY minute`, c.run.ID, c.run.TriggeredAt)
	if err != nil {
		return err
	}
	var minute, accepted int
	var lasted float64
	_, err = pgx.ForEachRow(rows, []any{&minute, &accepted, &lasted}, func() error {
		c.figure(fmt.Sprintf("  accepted in minute %d", minute+1), "%d: %.1f/s", accepted, float64(accepted)/max(lasted, 1))
		return nil
	})
	return err
}

// Held recipients of a paused campaign wait in workflows only as far as these had begun when it was paused: four batches.
const fewWaiting = 1000

// pauseAndResume pauses the campaign once its first message is accepted, looks for a while at what waits, and goes on.
func (c *campaign) pauseAndResume(ctx context.Context) error {
	err := measure.Until(ctx, 20*time.Millisecond, func() (bool, error) {
		stats, err := c.Simulated(ctx, "by_recipient=false")
		return stats.Accepted > 0, err
	})
	if err != nil {
		return err
	}
	asked := time.Now()
	var answer struct{ Sent, Remaining, Unresolved int }
	if err := c.move(ctx, "pause", &answer); err != nil {
		return err
	}
	paused := time.Now()
	c.figure("pause", "answered after %s: %d sent, %d remain, %d unresolved", measure.Millis(paused.Sub(asked)), answer.Sent, answer.Remaining, answer.Unresolved)
	var open counts
	stop := time.Now().Add(20 * time.Second)
	err = measure.Until(ctx, 2*time.Second, func() (bool, error) {
		now, err := c.count(ctx)
		open.atMost(now)
		return time.Now().After(stop), err
	})
	if err != nil {
		return err
	}
	late, err := c.Simulated(ctx, "by_recipient=false&since="+stamp(paused))
	if err != nil {
		return err
	}
	c.judge("pause", late.Accepted == 0 && open.recipients <= fewWaiting && answer.Sent+answer.Remaining+answer.Unresolved == c.recipients,
		"%d accepted after its answer; %d recipients' workflows wait at most, %d are few enough", late.Accepted, open.recipients, fewWaiting)

	resumed := time.Now()
	if err := c.move(ctx, "resume", nil); err != nil {
		return err
	}
	signals := 0
	err = measure.Until(ctx, 200*time.Millisecond, func() (bool, error) {
		var waiting int
		err := c.DB.QueryRow(ctx, `SELECT count(*) FROM outbox WHERE kind = 'recipient.signal'`).Scan(&waiting)
		signals = max(signals, waiting)
		return time.Since(resumed) > 20*time.Second, err
	})
	if err != nil {
		return err
	}
	stats, err := c.Simulated(ctx, "by_recipient=false&since="+stamp(resumed))
	if err != nil {
		return err
	}
	most := 0
	for _, n := range stats.MaxPerSecond {
		most = max(most, n)
	}
	c.figure("resume", "%d accepted in the 20 s after it; %d signals at most waited to be relayed", stats.Accepted, signals)
	limit := c.rate + max(1, c.rate/10)
	c.judge("resume", stats.Accepted > 0 && most <= limit, "%d accepted within one second at most, %d are allowed", most, limit)
	return nil
}

func (c *campaign) move(ctx context.Context, move string, answer any) error {
	return measure.Call(ctx, http.MethodPost, fmt.Sprintf("%s/api/v1/campaigns/%d/%s", c.URL(), c.run.Campaign, move), measure.Object{}, answer)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// compare holds the simulator, the ledger and Temporal against what has to be.
func (c *campaign) compare(ctx context.Context) error {
	stats, err := c.Simulated(ctx, "")
	if err != nil {
		return err
	}
	lost, doubled := 0, 0
	for i := range c.recipients {
		to := "whatsapp:" + measure.Number(prefix, i)
		switch n := stats.Recipients[to]; {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
		delete(stats.Recipients, to)
	}
	c.judge("exactness", lost == 0 && doubled == 0 && len(stats.Recipients) == 0,
		"%d accepted for %d people: %d got none, %d more than one, %d strangers got some", stats.Accepted, c.recipients, lost, doubled, len(stats.Recipients))
	sum := 0
	for _, n := range c.outcome.States {
		sum += n
	}
	var taken int
	err = c.DB.QueryRow(ctx, `SELECT count(DISTINCT a.provider_sid) FROM attempts a JOIN messages m ON m.id = a.message_id
WHERE m.run_id = $1 AND a.state = 'accepted'`, c.run.ID).Scan(&taken)
	if err != nil {
		return err
	}
	c.judge("ledger", c.outcome.Audience == c.recipients && sum == c.recipients && taken == stats.Accepted &&
		c.outcome.States["delivered"]+c.outcome.States["read"] == c.recipients, "audience %d, states %v, %d messages of the provider", c.outcome.Audience, c.outcome.States, taken)
	c.judge("webhooks", stats.Callbacks.Failed == 0, "%d failed; answered in p50 %.1f ms, p99 %.1f ms, max %.1f ms",
		stats.Callbacks.Failed, stats.Callbacks.Latency.P50, stats.Callbacks.Latency.P99, stats.Callbacks.Latency.Max)
	if err := c.histories(ctx); err != nil {
		return err
	}
	return c.growth(ctx)
}

// quiet is a logger that says nothing: the figures are what this command has to tell.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(message string, pairs ...any) {
	fmt.Fprintln(os.Stderr, "scale:", message, strings.TrimSpace(fmt.Sprintln(pairs...)))
}
