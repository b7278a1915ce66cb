package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/event-stream-engine/ese/devstack/postgres"
)

// testDatabaseURL names the PostgreSQL server the tests use: a superuser's
// connection string, in which each test makes databases of its own.
const testDatabaseURL = "TEST_DATABASE_URL"

// test runs a command with TEST_DATABASE_URL set. A server given by the caller
// is used as it is; otherwise a new one lives as long as the command. The
// command's exit status is the result.
func test(ctx context.Context, args []string) (err error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("test: no command given")
	}
	env := os.Environ()
	if os.Getenv(testDatabaseURL) == "" {
		server, err := postgres.StartThrowaway(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		env = append(env, testDatabaseURL+"="+server.URL("postgres"))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}
