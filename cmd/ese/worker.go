package main

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/internal/config"
	"github.com/event-stream-engine/ese/internal/privacy"
	"github.com/event-stream-engine/ese/internal/relay"
	"github.com/event-stream-engine/ese/internal/twilio"
	"github.com/event-stream-engine/ese/worker"
	"github.com/event-stream-engine/ese/workflows"
)

const (
	// requestTimeout bounds one request to the provider; an attempt's lease is as long.
	requestTimeout = 10 * time.Second
	// patience is how long a message waits for the rate limits before its workflow sleeps instead: longer than the
	// messages take that are started ahead, and short enough for a task of Temporal's.
	patience = 4 * time.Second
	// relayAge is how old an outbox item must be before a worker takes it from the API, which relays its own at once.
	relayAge = 2 * time.Second

	day = 24 * time.Hour
)

// runWorker runs workflows and activities until ctx ends, then lets those under way finish.
func runWorker(ctx context.Context, getenv func(string) string) error {
	cfg, err := config.Load(config.Worker, getenv)
	if err != nil {
		return err
	}
	log := newLogger(cfg.LogLevel, "worker")
	store, err := openStore(ctx, cfg.DatabaseURL, db.SuppressionKeys(cfg.SuppressionKeys))
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.CheckSuppressionKeys(ctx); err != nil {
		return err
	}
	if err := obeyLaw(store, cfg.LegalWindowsFile); err != nil {
		return err
	}
	temporal, _, err := temporalClient(log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	provider, err := twilio.New(twilio.Config{
		AccountSID: cfg.Twilio.AccountSID, AuthToken: cfg.Twilio.AuthToken, BaseURL: cfg.Twilio.BaseURL,
		StatusCallback: cfg.PublicURL + "/webhooks/status", Timeout: requestTimeout, MaxConns: cfg.MaxRequests,
	})
	if err != nil {
		return err
	}
	defer provider.Close()

	w := worker.New(temporal, worker.Activities{
		Dispatch: &activities.Dispatch{
			Store: store, Now: time.Now, Log: log, ReceiptDeadline: cfg.ReceiptDeadline, StuckAfter: cfg.StuckAfter,
			ErrorMeaning: func(code int) string { return twilio.PolicyOf(code).Meaning },
		},
		Delivery: &activities.Delivery{
			Store: store, Sender: provider, Pace: activities.NewPace(store, time.Now, log, cfg.MaxRequests), Now: time.Now, Log: log,
			Lease: requestTimeout, Looks: cfg.ResolveLooks, ReceiptDeadline: cfg.ReceiptDeadline, Patience: patience,
		},
		Imports: &activities.Imports{Store: store, Now: time.Now},
		Privacy: &activities.Privacy{
			Store: store, Provider: provider, Now: time.Now, Log: log,
			Settled: requestTimeout + cfg.ResolveLooks[len(cfg.ResolveLooks)-1],
			Retention: privacy.Retention{
				privacy.ReceiptPayloads: time.Duration(cfg.PayloadDays) * day, privacy.InboundPayloads: time.Duration(cfg.PayloadDays) * day,
				privacy.InboundBodies: time.Duration(cfg.BodyDays) * day, privacy.ImportRecords: time.Duration(cfg.ImportDays) * day,
			},
		},
		Templates: &activities.Templates{Store: store, Provider: provider, Now: time.Now, Log: log},
		Drip:      &activities.Drip{Store: store, Now: time.Now},
	}, cfg.MaxRequests, cfg.ShutdownGrace)
	if err := startWorker(ctx, w.Start, log); err != nil {
		return err
	}
	outbox := relay.New(store, temporal, time.Now, log, relayAge)
	var g errgroup.Group
	g.Go(func() error {
		// It fails only when the worker is to end before Temporal took them.
		_ = startWorker(ctx, func() error { return worker.EnsureSchedules(ctx, temporal, cfg.TemplateSyncInterval) }, log)
		return nil
	})
	g.Go(func() error {
		outbox.Run(ctx)
		return nil
	})
	g.Go(func() error {
		outbox.Keep(ctx)
		return nil
	})
	log.InfoContext(ctx, "worker started", "task_queue", workflows.TaskQueue)
	<-ctx.Done()
	w.Stop()
	return g.Wait()
}

// startWorker does what needs Temporal to begin with, and waits for Temporal while it is down.
func startWorker(ctx context.Context, start func() error, log *slog.Logger) error {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := start()
		if err == nil {
			return nil
		}
		log.WarnContext(ctx, "Temporal is not there yet", "error", err, "next_try", wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
