// Command ese is the Event Stream Engine: one program whose first argument says which part of it runs.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build.
var version = "dev"

const usage = `Event Stream Engine

Usage: ese COMMAND

  api           serve the HTTP API, the webhooks and the pages
  worker        run workflows and activities
  simulator     run a local Twilio
  migrate       bring the database's schema up to date (-to N: to that version)
  keys create   make an API key (-name NAME -scopes read,write,send,admin)
  keys list     list the API keys
  keys revoke   make an API key useless at once (-name NAME)
  accounts list   list the accounts that sign in to the pages
  accounts reset  make a one-time link that sets an account's password (-id ID)
  errors        print what is done about each of Twilio's error codes
  version       print the version

Every command is configured by environment variables; .env.example names them.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ese:", err)
		os.Exit(1)
	}
}

// run carries out one command with the surroundings it is given.
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "api":
		return runAPI(ctx, getenv)
	case "worker":
		return runWorker(ctx, getenv)
	case "simulator":
		return runSimulator(ctx, getenv)
	case "migrate":
		return runMigrate(ctx, args[1:], getenv, out)
	case "keys":
		return runKeys(ctx, args[1:], getenv, out)
	case "accounts":
		return runAccounts(ctx, args[1:], getenv, out)
	case "errors":
		return printErrors(out)
	case "version":
		_, err := fmt.Fprintln(out, version)
		return err
	case "", "help", "-h", "--help":
		_, err := io.WriteString(out, usage)
		return err
	default:
		return fmt.Errorf("there is no command %q; ese help lists them", command)
	}
}

// newLogger writes JSON lines that log collectors read as they are.
func newLogger(level slog.Level, role string) *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("role", role)
}
