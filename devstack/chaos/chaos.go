// Package chaos runs campaigns while processes are killed, the network breaks and the provider misbehaves, and judges
// whether every promise was kept all the same. What happens and when follows from a seed.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// Options of Run.
type Options struct {
	Config
	Binaries stack.Binaries
	// Dir keeps the stack's data; it must exist and be reachable for PostgreSQL's own user.
	Dir string
	// Patience is how long the campaigns may take to end once nothing is broken any more.
	Patience time.Duration
	// Log receives the schedule, a line for each action and the verdict.
	Log io.Writer
}

// Report is the verdict on a run.
type Report struct {
	Config
	Killed   int
	Checks   []Check
	Evidence Evidence
}

// Violations counts broken promises.
func (r Report) Violations() int {
	n := 0
	for _, c := range r.Checks {
		n += len(c.Violations)
	}
	return n
}

// Run starts a stack, lets the schedule happen to it, puts everything right again, waits for the campaigns to end and
// judges. An error means that there is no verdict.
func Run(ctx context.Context, o Options) (_ Report, err error) {
	schedule := NewSchedule(o.Config)
	fmt.Fprintf(o.Log, "chaos: seed %d: %d kills, %d campaigns, %d people\n", o.Seed, o.Kills, o.Campaigns, len(schedule.People))
	for _, a := range schedule.Actions {
		fmt.Fprintf(o.Log, "  %7.1fs  %s\n", a.At.Seconds(), a)
	}
	s, err := stack.Start(ctx, stack.Options{
		Binaries: o.Binaries, Dir: o.Dir, APIs: apis, Workers: workers, Network: true, Restart: true,
		Env: map[stack.Role]map[string]string{stack.Worker: {"STUCK_AFTER": "30s"}},
	})
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	d := newDriver(s, schedule, o.Log)
	if err := d.prepare(ctx); err != nil {
		return Report{}, fmt.Errorf("before the start: %w", err)
	}
	if err := d.play(ctx); err != nil {
		return Report{}, err
	}
	if err := d.settle(ctx, o.Patience); err != nil {
		return Report{}, err
	}
	evidence, err := d.collect(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("evidence: %w", err)
	}
	return Report{Config: o.Config, Killed: d.killed, Checks: Judge(evidence), Evidence: evidence}, nil
}

// shown bounds the violations of one check that are told in full.
const shown = 5

// Print writes the verdict: a table of the checks, what is known of the messages concerned, and one line to sum up.
func (r Report) Print(w io.Writer) {
	r.Evidence.summary(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "check\tlooked at\tviolations")
	for _, c := range r.Checks {
		fmt.Fprintf(table, "%s\t%d\t%d\n", c.Name, c.Looked, len(c.Violations))
	}
	_ = table.Flush() // w is a terminal or a buffer
	for _, c := range r.Checks {
		for i, v := range c.Violations {
			if i == shown {
				fmt.Fprintf(w, "%s: and %d more\n", c.Name, len(c.Violations)-shown)
				break
			}
			fmt.Fprintf(w, "%s: %s\n", c.Name, v.Text)
			if v.MessageID != "" {
				fmt.Fprint(w, r.Evidence.History(v.MessageID))
			}
		}
	}
	verdict := "OK"
	if n := r.Violations(); n > 0 {
		verdict = fmt.Sprintf("%d violations", n)
	}
	fmt.Fprintf(w, "chaos: %d kills, seed %d: %s\n", r.Killed, r.Seed, verdict)
}
