package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/event-stream-engine/ese/devstack/postgres"
	"github.com/event-stream-engine/ese/devstack/stack"
)

// testDatabaseURL names the PostgreSQL server the tests use: a superuser's
// connection string, in which each test makes databases of its own.
const testDatabaseURL = "TEST_DATABASE_URL"

// test runs a command with TEST_DATABASE_URL set. A server given by the caller
// is used as it is; otherwise a new one lives as long as the command. The
// command's exit status is the result.
func test(ctx context.Context, args []string) (err error) {
	env := os.Environ()
	if os.Getenv(testDatabaseURL) == "" {
		server, err := postgres.StartThrowaway(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		env = append(env, testDatabaseURL+"="+server.URL("postgres"))
	}
	return command(ctx, args, env)
}

// env runs a command with the configuration that the roles of the local stack
// have. A DATABASE_URL that is set wins, as it does for the stack.
func env(ctx context.Context, args []string) error {
	root, err := checkout()
	if err != nil {
		return err
	}
	ports, err := stack.PortsFromEnv(os.Getenv)
	if err != nil {
		return err
	}
	return command(ctx, args, stack.Environ(stack.Options{
		Dir:         localDir(root),
		Ports:       ports,
		DatabaseURL: os.Getenv("DATABASE_URL"),
		Env:         tuning(),
	}, stack.API))
}

// command runs what follows "--" on the command line, in the foreground.
func command(ctx context.Context, args, env []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("no command given")
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}
