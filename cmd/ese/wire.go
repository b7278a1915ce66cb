package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	sdklog "go.temporal.io/sdk/log"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/config"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/twilio"
)

// What each part asks for is what the other gives.
var (
	_ activities.Sender   = (*twilio.Client)(nil)
	_ activities.Archive  = (*twilio.Client)(nil)
	_ activities.Contents = (*twilio.Client)(nil)
	_ api.Store           = (*db.Store)(nil)
)

// openStore connects to the database and checks that it answers.
func openStore(ctx context.Context, url string, options ...db.Option) (*db.Store, error) {
	store, err := db.Open(ctx, url, options...)
	if err != nil {
		return nil, err
	}
	if err := store.Ping(ctx); err != nil {
		store.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	return store, nil
}

// obeyLaw adds what the file at path says of legal windows to those that are listed; "" adds nothing.
func obeyLaw(store *db.Store, path string) error {
	if path == "" {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("LEGAL_WINDOWS: %w", err)
	}
	law, err := compliance.ParseLaw(raw)
	if err != nil {
		return fmt.Errorf("LEGAL_WINDOWS: %w", err)
	}
	store.Obey(compliance.ListedLaw().With(law))
	return nil
}

// temporalClient reaches Temporal by its own environment variables. It connects when it is first used, so that Temporal
// being down keeps nobody from starting.
func temporalClient(log *slog.Logger) (client.Client, string, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, "", fmt.Errorf("temporal configuration: %w", err)
	}
	options.Logger = sdklog.NewStructuredLogger(log)
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, "", fmt.Errorf("temporal client: %w", err)
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	return c, options.Namespace, nil
}

// ensureSenders makes the configured number known on every channel.
func ensureSenders(ctx context.Context, store *db.Store, cfg config.Config) error {
	for _, channel := range []message.Channel{message.WhatsApp, message.SMS} {
		if err := store.EnsureSender(ctx, channel, cfg.Twilio.PhoneNumber.String(), time.Now()); err != nil {
			return err
		}
	}
	return nil
}
