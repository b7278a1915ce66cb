// Command bench measures the product on this machine, every role a process of its own: status webhooks on an otherwise
// idle stack, then a campaign from trigger to the last receipt. It prints figures and judges nothing.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/event-stream-engine/ese/devstack/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		seconds     = flag.Int("seconds", 10, "how long to post webhooks")
		connections = flag.Int("connections", 32, "connections that post webhooks")
		recipients  = flag.Int("recipients", 600, "people of the campaign")
		latency     = flag.Int("latency", 100, "milliseconds that the simulated Twilio takes to answer")
	)
	flag.Parse()
	root, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", "ese")); err != nil {
		root = filepath.Dir(root) // called from devstack/
	}
	binaries, err := stack.Build(ctx, root, os.Stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ese-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's own user must reach its folder
		return err
	}
	s, err := stack.Start(ctx, stack.Options{Binaries: binaries, Dir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = s.Stop() }()
	b := bench{s}
	if err := b.webhooks(ctx, *connections, time.Duration(*seconds)*time.Second); err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	if err := b.campaign(ctx, *recipients, *latency); err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	return nil
}

// bench is a running stack to measure.
type bench struct{ *stack.Stack }

// call sends a request with a JSON body (nil for none) and decodes the answer into out (nil to ignore it).
func (b bench) call(ctx context.Context, method, url string, body, out any) error {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %d: %s", method, url, resp.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}
