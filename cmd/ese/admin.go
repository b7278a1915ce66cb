package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/internal/access"
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

const keysUsage = "usage: ese keys create -name NAME -scopes read,write,send,admin | list | revoke -name NAME"

// runKeys makes, lists and revokes API keys.
func runKeys(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) == 0 || !slices.Contains([]string{"create", "list", "revoke"}, args[0]) {
		return errors.New(keysUsage)
	}
	action := args[0]
	flags := flag.NewFlagSet("keys "+action, flag.ContinueOnError)
	name := flags.String("name", "", "what the key is for")
	scopes := flags.String("scopes", "read", "of a new key, comma-separated: read, write, send, admin")
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
	switch action {
	case "create":
		return createKey(ctx, store, *name, strings.Split(*scopes, ","), out)
	case "revoke":
		if err := store.RevokeKey(ctx, *name, time.Now()); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, "revoked: it lets nobody in any more")
		return err
	default:
		return listKeys(ctx, store, out)
	}
}

// createKey prints a new key: the only time that it can be seen.
func createKey(ctx context.Context, store *db.Store, name string, scopes []string, out io.Writer) error {
	key, err := store.CreateKey(ctx, name, scopes, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\nKeep it: it is stored hashed and cannot be shown again.\n", key)
	return err
}

func listKeys(ctx context.Context, store *db.Store, out io.Writer) error {
	keys, err := store.Keys(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tKEY\tSCOPES\tCREATED\tLAST USED\tREVOKED") // Flush tells of an error
	for _, k := range keys {
		_, _ = fmt.Fprintf(table, "%s\t%s…\t%s\t%s\t%s\t%s\n", k.Name, k.Prefix, joinScopes(k.Scopes), moment(&k.CreatedAt), moment(k.LastUsedAt), moment(k.RevokedAt))
	}
	return table.Flush()
}

func joinScopes(scopes []access.Scope) string {
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return strings.Join(names, ",")
}

// moment writes a time; "-" for one that has not come.
func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
