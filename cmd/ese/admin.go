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
	store, err := openAdmin(ctx, getenv)
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

// operator is the principal of whoever runs the commands.
const operator = "operator"

// maxListed bounds what a command lists.
const maxListed = 10_000

const keysUsage = "usage: ese keys create -name NAME -scopes read,write,send,admin | list | revoke -name NAME"

// openAdmin opens the database for a command of an operator.
func openAdmin(ctx context.Context, getenv func(string) string) (*db.Store, error) {
	cfg, err := config.Load(config.Admin, getenv)
	if err != nil {
		return nil, err
	}
	return openStore(ctx, cfg.DatabaseURL)
}

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
	store, err := openAdmin(ctx, getenv)
	if err != nil {
		return err
	}
	defer store.Close()
	switch action {
	case "create":
		return createKey(ctx, store, *name, strings.Split(*scopes, ","), out)
	case "revoke":
		key, err := store.KeyByName(ctx, *name)
		if err != nil {
			return err
		}
		if _, err := store.RevokeKey(ctx, key.ID, operator, time.Now()); err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, "revoked: it lets nobody in any more")
		return err
	default:
		return listKeys(ctx, store, out)
	}
}

// createKey prints a new key: the only time that it can be seen.
func createKey(ctx context.Context, store *db.Store, name string, scopes []string, out io.Writer) error {
	_, key, err := store.CreateKey(ctx, name, scopes, operator, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\nKeep it: it is stored hashed and cannot be shown again.\n", key)
	return err
}

func listKeys(ctx context.Context, store *db.Store, out io.Writer) error {
	keys, err := store.Keys(ctx, nil, maxListed)
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

const accountsUsage = "usage: ese accounts list | reset -id ID"

// runAccounts lists accounts, and lets back in who is locked out, should no admin be left to do it.
func runAccounts(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	if len(args) == 0 || !slices.Contains([]string{"list", "reset"}, args[0]) {
		return errors.New(accountsUsage)
	}
	flags := flag.NewFlagSet("accounts "+args[0], flag.ContinueOnError)
	id := flags.Int64("id", 0, "of the account, as ese accounts list shows it")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	store, err := openAdmin(ctx, getenv)
	if err != nil {
		return err
	}
	defer store.Close()
	if args[0] == "list" {
		return listAccounts(ctx, store, out)
	}
	_, token, err := store.ResetAccount(ctx, *id, operator, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "/link/%s\nOpen this under the address of the pages: it sets the account's password, once.\n", token)
	return err
}

func listAccounts(ctx context.Context, store *db.Store, out io.Writer) error {
	accounts, err := store.Accounts(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tE-MAIL\tROLE\tSECOND FACTOR\tSIGNED IN\tDISABLED") // Flush tells of an error
	for _, a := range accounts {
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%t\t%s\t%s\n", a.ID, a.Email, a.Role, a.TOTPSecret != "", moment(a.SignedInAt), moment(a.DisabledAt))
	}
	return table.Flush()
}
