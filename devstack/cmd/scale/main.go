// Command scale sends one large campaign on a stack of its own, watches what it costs and judges how it went:
//
//	freeze      the audience is frozen within 10 s
//	exactness   the simulator accepted exactly one message for each person, and none for anybody else
//	ledger      the states add up to the audience, and every message is delivered
//	webhooks    every status callback was answered
//	histories   no workflow has more than 4,096 events or 4 MB
//	progress    reading the campaign's progress once a second took less than 50 ms at p95
//
// With -pause the campaign is paused right after its first message, and two more are judged: that hardly any recipient's
// workflow waits and nothing is accepted meanwhile, and that going on does not burst. The exit status is 1 when a
// judgement failed or could not be made.
//
// People are written into the database rather than imported, and every sender is allowed 1,000 messages a second.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/event-stream-engine/ese/devstack/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// settings are what the command line says.
type settings struct {
	recipients, workers, rate, latency int
	pause                              bool
	timeout                            time.Duration
}

func parse() settings {
	var s settings
	flag.IntVar(&s.recipients, "recipients", 100_000, "people of the campaign")
	flag.IntVar(&s.workers, "workers", 1, "worker processes")
	flag.IntVar(&s.rate, "rate", 1000, "messages a second that the campaign may send")
	flag.IntVar(&s.latency, "latency", 100, "milliseconds that the simulated Twilio takes to answer a send")
	flag.BoolVar(&s.pause, "pause", false, "pause after the first message, look at what waits, go on")
	flag.DurationVar(&s.timeout, "timeout", 6*time.Hour, "give up after so long")
	flag.Parse()
	return s
}

const (
	city   = "Scaleville"
	prefix = "+9477"
)

func run(ctx context.Context) (err error) {
	set := parse()
	ctx, cancel := context.WithTimeout(ctx, set.timeout)
	defer cancel()
	s, err := measure.Start(ctx, set.workers, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := &report{out: os.Stdout}
	c := &campaign{Stack: s, settings: set, report: r}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	if err := c.send(ctx); err != nil {
		return err
	}
	if err := c.compare(ctx); err != nil {
		return err
	}
	return r.verdict()
}
