package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/event-stream-engine/ese/devstack/measure"
)

// firstSend measures how long it takes from a trigger until the simulator has accepted the first message. The simulator
// accepts at the end of its latency, which is included.
func (b *bench) firstSend(ctx context.Context) error {
	var took measure.Latencies
	for i := range b.small {
		city := fmt.Sprintf("Smallville %d", i)
		prefix := fmt.Sprintf("+9476%04d", i)
		if err := b.People(ctx, prefix, city, 1); err != nil {
			return err
		}
		id, err := b.Campaign(ctx, city, b.rate)
		if err != nil {
			return err
		}
		run, err := b.Trigger(ctx, id)
		if err != nil {
			return err
		}
		if err := b.AwaitReceipts(ctx, run); err != nil {
			return err
		}
		stats, err := b.Simulated(ctx, "to="+url.QueryEscape(measure.Number(prefix, 0)))
		if err != nil {
			return err
		}
		if stats.Accepted != 1 {
			return fmt.Errorf("the simulator accepted %d messages for one person", stats.Accepted)
		}
		took = append(took, stats.FirstAcceptedAt.Sub(run.TriggeredAt))
	}
	b.latencies(fmt.Sprintf("trigger to first send, %d campaigns of 1", b.small), took)
	return nil
}

// campaign measures the whole path: trigger, freeze, batches, recipients, the provider, signed receipts, ledger.
func (b *bench) campaign(ctx context.Context) error {
	const city = "Benchville"
	if err := b.People(ctx, "+9477", city, b.recipients); err != nil {
		return err
	}
	id, err := b.Campaign(ctx, city, b.rate)
	if err != nil {
		return err
	}
	before := b.Usage()
	run, err := b.Trigger(ctx, id)
	if err != nil {
		return err
	}
	if err := b.AwaitReceipts(ctx, run); err != nil {
		return err
	}
	after := b.Usage()
	outcome, err := b.Outcome(ctx, run)
	if err != nil {
		return err
	}
	stats, err := b.Simulated(ctx, "by_recipient=false&since="+run.TriggeredAt.UTC().Format(time.RFC3339Nano))
	if err != nil {
		return err
	}
	if stats.Accepted != b.recipients || stats.Callbacks.Failed > 0 {
		return fmt.Errorf("the simulator accepted %d messages for %d people; %d callbacks failed", stats.Accepted, b.recipients, stats.Callbacks.Failed)
	}
	took := outcome.Took(run)
	b.perSecond = float64(b.recipients) / took.Seconds()
	b.row("campaign", "%d recipients, %d ms latency, at most %d/s", b.recipients, b.latency, b.rate)
	b.row("  trigger to last receipt in the ledger", "%.1f s", took.Seconds())
	b.row("  audience frozen after", "%s", measure.Millis(outcome.FrozenAt.Sub(run.TriggeredAt)))
	b.row("  first send after", "%s", measure.Millis(stats.FirstAcceptedAt.Sub(run.TriggeredAt)))
	b.row("  webhooks answered in", "p50 %.1f ms  p99 %.1f ms  max %.1f ms",
		stats.Callbacks.Latency.P50, stats.Callbacks.Latency.P99, stats.Callbacks.Latency.Max)
	var sum time.Duration
	for _, role := range b.Roles() {
		used := after[role].CPU - before[role].CPU
		sum += used
		b.row("  CPU of "+string(role), "%.1f ms a recipient", float64(used.Milliseconds())/float64(b.recipients))
	}
	b.row("  CPU in all", "%.1f ms a recipient", float64(sum.Milliseconds())/float64(b.recipients))
	b.row("  recipients", "%.1f/s", b.perSecond)
	return nil
}
