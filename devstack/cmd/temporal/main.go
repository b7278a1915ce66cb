// Command temporal is a Temporal server and its Web UI in one process, on
// PostgreSQL, for local use: one node, no authorization, loopback only. It
// makes its databases and keeps their schema up to date by itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// memoryLimit is how much memory the garbage collector lets the server use
// without working harder.
const memoryLimit = 2 << 30

type options struct {
	databaseURL        string
	database           string
	visibilityDatabase string
	port               int
	uiPort             int
	namespace          string
	retention          time.Duration
	shards             int
	logLevel           string
}

func main() {
	var opts options
	flag.StringVar(&opts.databaseURL, "database-url", os.Getenv("DATABASE_URL"), "PostgreSQL server, as a user who may create databases")
	flag.StringVar(&opts.database, "database", "temporal", "database of the workflow histories")
	flag.StringVar(&opts.visibilityDatabase, "visibility-database", "temporal_visibility", "database of the workflow lists")
	flag.IntVar(&opts.port, "port", 7233, "gRPC port")
	flag.IntVar(&opts.uiPort, "ui-port", 8233, "Web UI port; 0 for none")
	flag.StringVar(&opts.namespace, "namespace", "default", "namespace to register")
	flag.DurationVar(&opts.retention, "retention", 24*time.Hour, "how long closed workflows are kept")
	flag.IntVar(&opts.shards, "shards", 4, "history shards; fixed once the database is made")
	flag.StringVar(&opts.logLevel, "log-level", "error", "debug, info, warn or error")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, opts)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "temporal:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, opts options) error {
	// Memory is cheap here and the collector's share of the CPU is not.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	stores, err := connect(opts)
	if err != nil {
		return err
	}
	if err := migrate(stores); err != nil {
		return err
	}
	return serve(ctx, opts, stores)
}
