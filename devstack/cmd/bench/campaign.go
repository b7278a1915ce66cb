package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/devstack/stack"
)

type object = map[string]any

// campaign sends one campaign and prints how fast the whole path was: trigger, freeze, batches, recipients, the
// provider, signed receipts, ledger.
func (b bench) campaign(ctx context.Context, n, latencyMS int) error {
	if err := b.call(ctx, http.MethodPut, b.SimulatorURL()+"/sim/faults", object{"latency_ms": latencyMS}, nil); err != nil {
		return err
	}
	id, err := b.prepare(ctx, n)
	if err != nil {
		return err
	}
	before := b.cpu()
	start := time.Now()
	if err := b.call(ctx, http.MethodPost, fmt.Sprintf("%s/api/v1/campaigns/%d/trigger", b.URL(), id), object{}, nil); err != nil {
		return err
	}
	first, err := b.awaitDelivered(ctx, id, n, start)
	if err != nil {
		return err
	}
	took := time.Since(start)
	after := b.cpu()
	fmt.Printf("campaign: %d recipients at %d ms latency, every receipt in the ledger, in %.1f s; first send after %s\n", n, latencyMS, took.Seconds(), first.Round(time.Millisecond))
	fmt.Printf("CPU, milliseconds a recipient:")
	for _, role := range b.Roles() {
		fmt.Printf("  %s %.1f", role, float64((after[role]-before[role]).Milliseconds())/float64(n))
	}
	fmt.Printf("\n%.1f recipients/s\n", float64(n)/took.Seconds())
	return nil
}

// prepare imports n people and makes a campaign to them.
func (b bench) prepare(ctx context.Context, n int) (campaign int, err error) {
	rows := make([]object, n)
	for i := range rows {
		rows[i] = object{"phone_number": fmt.Sprintf("+9477%07d", i), "name": fmt.Sprintf("Person %d", i), "city": "Benchville", "consent_state": "OPT_IN"}
	}
	var task struct {
		ID string `json:"task_id"`
	}
	if err := b.call(ctx, http.MethodPost, b.URL()+"/api/v1/users/bulk", rows, &task); err != nil {
		return 0, err
	}
	var progress struct{ Status string }
	for progress.Status != "COMPLETED" {
		if err := pause(ctx); err != nil {
			return 0, err
		}
		if err := b.call(ctx, http.MethodGet, b.URL()+"/api/v1/ingest/status/"+task.ID, nil, &progress); err != nil {
			return 0, err
		}
	}
	var segment, template, made struct{ ID int }
	err = errors.Join(
		b.call(ctx, http.MethodPost, b.URL()+"/api/v1/segments", object{"name": "Benchville", "definition_json": object{"city": "Benchville"}}, &segment),
		b.call(ctx, http.MethodPost, b.URL()+"/api/v1/templates", object{"name": "Benchville", "content": "Hello {name} of {city}. Reply STOP to opt out."}, &template),
	)
	if err != nil {
		return 0, err
	}
	err = b.call(ctx, http.MethodPost, b.URL()+"/api/v1/campaigns", object{
		"topic": "Benchmark", "template_id": template.ID, "segment_id": segment.ID, "rate_limit_per_second": 1000,
	}, &made)
	return made.ID, err
}

// awaitDelivered returns once all n messages are delivered, and when the first was accepted, counted from start.
func (b bench) awaitDelivered(ctx context.Context, campaign, n int, start time.Time) (first time.Duration, err error) {
	var summary struct {
		Sent      int `json:"messages_sent"`
		Delivered int `json:"messages_delivered"`
	}
	for summary.Delivered < n {
		if err := pause(ctx); err != nil {
			return 0, err
		}
		if err := b.call(ctx, http.MethodGet, fmt.Sprintf("%s/api/v1/reporting/campaigns/%d/summary", b.URL(), campaign), nil, &summary); err != nil {
			return 0, err
		}
		if first == 0 && summary.Sent > 0 {
			first = time.Since(start)
		}
	}
	return first, nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

// cpu is the processor time that each role has used, its child processes included (Linux).
func (b bench) cpu() map[stack.Role]time.Duration {
	used := map[stack.Role]time.Duration{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return used // no such figures on this system
	}
	type process struct {
		parent int
		ticks  int64
	}
	processes := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has just ended
		}
		// The name, in brackets, may hold anything; the numbers follow it.
		fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		parent, _ := strconv.Atoi(fields[1])
		var ticks int64
		for _, f := range fields[11:15] { // user, system, and those of children that have ended
			n, _ := strconv.ParseInt(f, 10, 64)
			ticks += n
		}
		processes[pid] = process{parent, ticks}
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs
	for _, role := range b.Roles() {
		root := b.PID(role)
		for pid, p := range processes {
			if pid == root || p.parent == root {
				used[role] += time.Duration(p.ticks) * tick
			}
		}
	}
	return used
}
