// Command benchimport measures the import of one large file on this machine, every role a process of its own: the upload
// until it is stored, and the rows until the last is in users. It counts what is there afterwards, and fails when that is
// not what the file said. Its last line is the whole, from the first byte of the upload on:
//
//	21345 rows/s
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
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/event-stream-engine/ese/devstack/measure"
	"github.com/event-stream-engine/ese/devstack/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchimport:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	rows := flag.Int("rows", 1_000_000, "rows of the file")
	kills := flag.Int("kills", 0, "how often the worker is killed on the way")
	again := flag.Bool("again", false, "import the same file once more: nobody is new")
	workers := flag.Int("workers", 1, "worker processes")
	flag.Parse()
	s, err := measure.Start(ctx, *workers, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	dir, err := os.MkdirTemp("", "ese-list-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	list, err := measure.WriteList(dir, *rows)
	if err != nil {
		return err
	}
	b := &bench{Stack: s, list: list, kills: *kills}
	b.row("machine", "%d cores, %s/%s; worker processes: %d", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, *workers)
	perSecond, err := b.measure(ctx, "import")
	if err == nil && *again {
		perSecond, err = b.measure(ctx, "the same file again")
	}
	if err != nil {
		return err
	}
	if err := b.print(os.Stdout); err != nil {
		return err
	}
	fmt.Printf("%.0f rows/s\n", perSecond)
	return nil
}

// bench is a running stack to measure, and what was found.
type bench struct {
	*measure.Stack
	list  measure.List
	kills int
	done  int // imports so far
	rows  [][2]string
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

// measure imports the list.
func (b *bench) measure(ctx context.Context, name string) (perSecond float64, err error) {
	file, err := os.Stat(b.list.Path)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(os.Stderr, "measuring: %s\n", name)
	peaks, before, began := b.WatchMemory(ctx), b.Usage(), time.Now()
	id, err := b.Upload(ctx, b.list, "")
	if err != nil {
		return 0, err
	}
	stored, storing := time.Now(), b.Usage()
	for kill := range b.kills {
		if _, err := b.AwaitImport(ctx, id, b.list.Rows*(kill+1)/(b.kills+1)); err != nil {
			return 0, err
		}
		if err := errors.Join(b.Kill(stack.Worker), b.Start(ctx, stack.Worker)); err != nil {
			return 0, err
		}
	}
	end, err := b.AwaitImport(ctx, id, 0)
	if err != nil {
		return 0, err
	}
	after, most := b.Usage(), peaks()
	b.done++
	if err := b.check(ctx, end); err != nil {
		return 0, err
	}
	whole := end.CompletedAt.Sub(began)
	n := float64(b.list.Rows)
	b.row(name, "%d rows, %.0f MB of CSV; %d refused, %d repeated; the worker was killed %d times",
		b.list.Rows, float64(file.Size())/1e6, end.Failed, end.DuplicatesMerged, b.kills)
	b.row("  upload stored and answered", "%.1f s: %.0f rows/s", stored.Sub(began).Seconds(), n/stored.Sub(began).Seconds())
	b.row("  taken over", "%.1f s: %.0f rows/s", end.CompletedAt.Sub(stored).Seconds(), n/end.CompletedAt.Sub(stored).Seconds())
	b.row("  in all", "%.1f s: %.0f rows/s", whole.Seconds(), n/whole.Seconds())
	var sum time.Duration
	for _, role := range b.Roles() {
		used := after[role].CPU - before[role].CPU
		if used < 0 { // of a process that was killed nothing is known
			used = after[role].CPU
		}
		sum += used
		b.row("  "+string(role), "CPU %.1f µs a row, %.1f of them during the upload; peak memory %.0f MB", float64(used.Microseconds())/n,
			max(0, float64((storing[role].CPU-before[role].CPU).Microseconds())/n), float64(most[role])/1e6)
	}
	b.row("  CPU in all", "%.1f µs a row", float64(sum.Microseconds())/n)
	return n / whole.Seconds(), nil
}

// check compares what is there with what the file said.
func (b *bench) check(ctx context.Context, end measure.Progress) error {
	merged := b.list.Again
	if b.done > 1 {
		merged = b.list.Rows - b.list.Bad
	}
	got := [4]int{end.Total, end.Succeeded, end.Failed, end.DuplicatesMerged}
	if want := [4]int{b.list.Rows, b.list.Rows - b.list.Bad, b.list.Bad, merged}; got != want {
		return fmt.Errorf("total, succeeded, failed, merged are %v; the file says %v", got, want)
	}
	var users, optIn, events, waiting int
	err := b.DB.QueryRow(ctx, `SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM users WHERE consent_state = 'OPT_IN'),
		(SELECT count(DISTINCT user_id) FROM consent_events), (SELECT count(*) FROM import_chunks)`).Scan(&users, &optIn, &events, &waiting)
	if err != nil {
		return err
	}
	have := [4]int{users, optIn, events, waiting}
	if want := [4]int{b.list.People, b.list.OptIn, b.list.People, 0}; have != want {
		return fmt.Errorf("users, opted in, with a consent event, chunks left are %v; the file says %v", have, want)
	}
	return nil
}
