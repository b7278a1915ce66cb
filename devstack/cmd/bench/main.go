// Command bench measures the product on this machine, every role a process of its own: status webhooks on an otherwise
// idle stack, the time from a trigger to the first send, a campaign from trigger to the last receipt, and status webhooks
// while a campaign is being sent; asked for by name, also what open live pages cost a campaign. It prints figures and judges nothing. Its last line is what the campaign reached:
//
//	53.1 recipients/s
//
// People are written into the database rather than imported, and every sender is allowed 1,000 messages a second instead
// of the 80 of WhatsApp: what is measured is the engine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/event-stream-engine/ese/devstack/measure"
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

// settings are what the command line says.
type settings struct {
	only                          string
	workers, requests             int
	recipients, latency, rate     int
	small                         int
	connections, seconds          int
	loadRate, loadSends, loadTime int
	open, pairs                   int
}

func parse() settings {
	var s settings
	flag.StringVar(&s.only, "only", "", "phases to measure, with commas between them: webhooks, first-send, campaign, load, pages; all but pages if not given")
	flag.IntVar(&s.workers, "workers", 1, "worker processes")
	flag.IntVar(&s.requests, "requests", 256, "requests to Twilio that one worker has under way at once")
	flag.IntVar(&s.latency, "latency", 100, "milliseconds that the simulated Twilio takes to answer a send")
	flag.IntVar(&s.recipients, "recipients", 1000, "people of the campaign")
	flag.IntVar(&s.rate, "rate", 1000, "messages a second that the campaign may send")
	flag.IntVar(&s.small, "campaigns", 20, "first-send: campaigns of one recipient, one after another")
	flag.IntVar(&s.connections, "connections", 32, "webhooks: connections that post")
	flag.IntVar(&s.seconds, "seconds", 10, "webhooks: how long to post")
	flag.IntVar(&s.loadRate, "load-rate", 300, "load: webhooks a second")
	flag.IntVar(&s.loadSends, "load-sends", 20, "load: messages a second that the campaign sends meanwhile")
	flag.IntVar(&s.loadTime, "load-seconds", 30, "load: how long to post")
	flag.IntVar(&s.open, "open", 200, "pages: live pages that are open")
	flag.IntVar(&s.pairs, "pairs", 5, "pages: pairs of campaigns, with and without the pages")
	flag.Parse()
	return s
}

// The phases in the order in which they are measured.
const (
	phaseWebhooks  = "webhooks"
	phaseFirstSend = "first-send"
	phaseCampaign  = "campaign"
	phaseLoad      = "load"
	phasePages     = "pages"
)

var phases = []string{phaseWebhooks, phaseFirstSend, phaseCampaign, phaseLoad, phasePages}

func (s settings) wanted() ([]string, error) {
	if s.only == "" {
		return phases[:len(phases)-1], nil // pages take a quarter of an hour
	}
	wanted := strings.Split(s.only, ",")
	for _, phase := range wanted {
		if !slices.Contains(phases, phase) {
			return nil, fmt.Errorf("-only %s: want some of %s", phase, strings.Join(phases, ", "))
		}
	}
	return wanted, nil
}

func run(ctx context.Context) (err error) {
	set := parse()
	wanted, err := set.wanted()
	if err != nil {
		return err
	}
	s, err := measure.Start(ctx, set.workers, map[string]string{"TWILIO_MAX_REQUESTS": strconv.Itoa(set.requests)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.SetSenderRate(ctx, 1000); err != nil {
		return err
	}
	b := &bench{Stack: s, settings: set}
	peaks := s.WatchMemory(ctx)
	b.row("machine", "%d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	b.row("worker processes", "%d, each with %d requests at once", set.workers, set.requests)
	for _, phase := range phases {
		if !slices.Contains(wanted, phase) {
			continue
		}
		measured := map[string]func(context.Context) error{
			phaseWebhooks: b.webhooks, phaseFirstSend: b.firstSend, phaseCampaign: b.campaign, phaseLoad: b.load,
			phasePages: b.pages,
		}[phase]
		fmt.Fprintf(os.Stderr, "measuring: %s\n", phase)
		if err := s.SetFaults(ctx, measure.Object{"latency_ms": set.latency}); err != nil {
			return err
		}
		if err := measured(ctx); err != nil {
			return fmt.Errorf("%s: %w", phase, err)
		}
	}
	most := peaks()
	for _, role := range s.Roles() {
		b.row("peak memory of "+string(role), "%.0f MB", float64(most[role])/1e6)
	}
	if err := b.print(os.Stdout); err != nil {
		return err
	}
	if b.perSecond > 0 {
		fmt.Printf("%.1f recipients/s\n", b.perSecond)
	}
	return nil
}

// bench is a running stack to measure, and what was found.
type bench struct {
	*measure.Stack
	settings
	rows      [][2]string
	receipts  *receipts // to post; nil before the first phase that posts
	perSecond float64   // recipients of the campaign; 0 when it was not measured
}

func (b *bench) row(name, format string, values ...any) {
	b.rows = append(b.rows, [2]string{name, fmt.Sprintf(format, values...)})
}

func (b *bench) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	for _, row := range b.rows {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	return w.Flush()
}

func (b *bench) latencies(name string, took measure.Latencies) {
	b.row(name, "%s", took)
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
