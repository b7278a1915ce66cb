// Command devstack runs the product on one machine without preparation:
// PostgreSQL, a Temporal server with its Web UI, a simulated Twilio, the API
// and the worker.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

const usage = `usage: devstack <command>

  up             start everything and keep it running until Ctrl-C
  stop           stop what an earlier "up" left running
  reset [-yes]   stop, then delete all local data
  env -- cmd…    run a command with the configuration of the local stack
  test -- cmd…   run a command with TEST_DATABASE_URL set to a throw-away PostgreSQL
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		os.Exit(exit.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, "devstack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Print(usage)
		return nil
	}
	switch name, rest := args[0], args[1:]; name {
	case "up":
		return up(ctx)
	case "stop":
		return stop()
	case "reset":
		return reset(rest)
	case "env":
		return env(ctx, rest)
	case "test":
		return test(ctx, rest)
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	default:
		return fmt.Errorf("unknown command %q\n%s", name, usage)
	}
}
