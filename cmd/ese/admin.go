package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/internal/config"
)

// runMigrate brings the schema to the newest version, or to the one asked for.
func runMigrate(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	flags := flag.NewFlagSet("migrate", flag.ContinueOnError)
	to := flags.Int64("to", -1, "schema version to go up or down to; the newest when not given")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, err := config.Load(config.Admin, getenv)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, cfg.DatabaseURL)
	if err != nil {
		return err
	}
	defer store.Close()
	from, now, err := store.Migrate(ctx, *to)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "schema version %d (was %d)\n", now, from)
	return err
}

// runKeys makes an API key and prints it: the only time that it can be seen.
func runKeys(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) == 0 || args[0] != "create" {
		return fmt.Errorf("usage: ese keys create -name NAME -scopes read,write,send,admin")
	}
	flags := flag.NewFlagSet("keys create", flag.ContinueOnError)
	name := flags.String("name", "", "what the key is for")
	scopes := flags.String("scopes", "read", "comma-separated: read, write, send, admin")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	cfg, err := config.Load(config.Admin, getenv)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, cfg.DatabaseURL)
	if err != nil {
		return err
	}
	defer store.Close()
	key, err := store.CreateKey(ctx, *name, strings.Split(*scopes, ","), time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\nKeep it: it is stored hashed and cannot be shown again.\n", key)
	return err
}
