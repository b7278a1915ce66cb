// Command chaos runs campaigns on a local stack while it kills processes, breaks the network and lets the simulated
// Twilio misbehave, and judges whether each message was sent exactly once all the same. The same seed makes the same
// schedule. It ends with status 1 when a promise was broken; the stack's data is kept then.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/event-stream-engine/ese/devstack/chaos"
	"github.com/event-stream-engine/ese/devstack/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

var errViolations = errors.New("promises were broken")

func run(ctx context.Context) error {
	var (
		seed      = flag.Uint64("seed", 1, "what the schedule is drawn from")
		kills     = flag.Int("kills", 30, "processes to kill")
		campaigns = flag.Int("campaigns", 5, "campaigns that run at once")
		gap       = flag.Duration("gap", 5*time.Second, "between two kills, on average")
		patience  = flag.Duration("patience", 10*time.Minute, "how long the campaigns may take to end when nothing is broken any more")
		keep      = flag.Bool("keep", false, "keep the stack's data even when no promise was broken")
	)
	flag.Parse()
	if *kills < 1 || *campaigns < 1 || *campaigns > 9 || *gap < time.Second {
		return errors.New("want at least 1 kill, 1 to 9 campaigns and a gap of at least 1s")
	}
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
	dir, err := os.MkdirTemp("", "ese-chaos-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's own user must reach its folder
		return err
	}
	report, err := chaos.Run(ctx, chaos.Options{
		Config:   chaos.Config{Seed: *seed, Kills: *kills, Campaigns: *campaigns, Gap: *gap},
		Binaries: binaries, Dir: dir, Patience: *patience, Log: os.Stdout,
	})
	if err != nil {
		return fmt.Errorf("%w (the data is in %s)", err, dir)
	}
	report.Print(os.Stdout)
	if report.Violations() > 0 {
		return fmt.Errorf("%w (the data is in %s)", errViolations, dir)
	}
	if *keep {
		fmt.Println("the data is in", dir)
		return nil
	}
	return os.RemoveAll(dir)
}
