package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/event-stream-engine/ese/devstack/procs"
	"github.com/event-stream-engine/ese/devstack/stack"
)

// up starts the stack, shows its output and restarts what changes, until ctx
// ends.
func up(ctx context.Context) error {
	root, err := checkout()
	if err != nil {
		return err
	}
	ports, err := stack.PortsFromEnv(os.Getenv)
	if err != nil {
		return err
	}
	console := stack.NewConsole(os.Stdout, isTerminal(os.Stdout))
	log := console.Writer("devstack")

	err = keepUp(ctx, root, ports, console, log)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // interrupted while starting; everything is stopped
	}
	return err
}

func keepUp(ctx context.Context, root string, ports stack.Ports, console *stack.Console, log io.Writer) error {
	if err := ports.Check(localDir(root)); err != nil {
		return err
	}
	if err := assets(ctx, root, log); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	binaries, err := stack.Build(ctx, root, log)
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	s, err := stack.Start(ctx, stack.Options{
		Binaries:    binaries,
		Dir:         localDir(root),
		Ports:       ports,
		DatabaseURL: os.Getenv("DATABASE_URL"),
		Env:         tuning(),
		Restart:     true,
		Console:     console,
		Log:         log,
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(log, `everything runs

  the app              http://localhost:%[1]d
  API documentation    http://localhost:%[1]d/docs
  Temporal's Web UI    http://localhost:%[2]d
  simulated Twilio     http://localhost:%[3]d
  PostgreSQL           %[4]s

Ctrl-C stops everything; the data stays in %[5]s
`, s.Ports().API, s.Ports().TemporalUI, s.Ports().Simulator, redacted(s.DatabaseURL()), localDir(root))

	stack.Watch(ctx, root, func() { rebuild(ctx, root, s, log) })

	fmt.Fprintln(log, "stopping everything")
	return s.Stop()
}

// tuning passes on what a developer may want to try out; everything else that
// the roles are told is the stack's own.
func tuning() map[stack.Role]map[string]string {
	set := map[string]string{}
	for _, name := range []string{"RECEIPT_DEADLINE", "RESOLVE_LOOKS"} {
		if value := os.Getenv(name); value != "" {
			set[name] = value
		}
	}
	return map[stack.Role]map[string]string{stack.API: set, stack.Worker: set, stack.Simulator: set}
}

// rebuild compiles the changed product and restarts its roles. When it does
// not compile the old ones go on.
func rebuild(ctx context.Context, root string, s *stack.Stack, log io.Writer) {
	fmt.Fprintln(log, "sources changed; building")
	if _, err := stack.BuildESE(ctx, root); err != nil {
		fmt.Fprintf(log, "%v\nthe roles go on as they were\n", err)
		return
	}
	if err := s.Migrate(ctx); err != nil {
		fmt.Fprintf(log, "%v\nthe roles go on as they were\n", err)
		return
	}
	for _, role := range []stack.Role{stack.Simulator, stack.API, stack.Worker} {
		if err := s.Restart(ctx, role); err != nil {
			fmt.Fprintf(log, "restart: %v\n", err)
			return
		}
	}
	fmt.Fprintln(log, "restarted simulator, api and worker")
}

// assets builds the web pages' scripts and styles, where there are any to
// build and Node to build them with. The product works with committed
// placeholders without.
func assets(ctx context.Context, root string, log io.Writer) error {
	dir := filepath.Join(root, "api", "ui")
	if _, err := os.Stat(filepath.Join(dir, "package.json")); err != nil {
		return nil //nolint:nilerr // nothing to build
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		fmt.Fprintln(log, "npm is not installed: the pages use plain placeholder styles; install Node.js for the real ones")
		return nil //nolint:nilerr // said, and enough
	}
	steps := [][]string{{"ci", "--no-audit", "--no-fund"}, {"run", "build"}}
	if upToDate(filepath.Join(dir, "node_modules", ".package-lock.json"), filepath.Join(dir, "package-lock.json")) {
		steps = steps[1:]
	} else {
		fmt.Fprintln(log, "fetching the pages' styles and scripts (npm ci)")
	}
	for _, step := range steps {
		cmd := exec.CommandContext(ctx, npm, append([]string{"--prefix", dir}, step...)...)
		if out, err := cmd.CombinedOutput(); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			fmt.Fprintf(log, "npm %s: %v: the pages use plain placeholder styles\n%s\n", strings.Join(step, " "), err, strings.TrimSpace(string(out)))
			return nil
		}
	}
	return nil
}

// upToDate reports whether made is not older than from.
func upToDate(made, from string) bool {
	m, errMade := os.Stat(made)
	f, errFrom := os.Stat(from)
	return errMade == nil && errFrom == nil && !m.ModTime().Before(f.ModTime())
}

// stop ends a stack that runs elsewhere, or what is left of one.
func stop() error {
	root, err := checkout()
	if err != nil {
		return err
	}
	dir := localDir(root)
	if pid := stack.Owner(dir); pid != 0 {
		fmt.Printf("stopping the stack (process %d)\n", pid)
		if err := procs.End(pid, syscall.SIGTERM, time.Minute); err != nil {
			return err
		}
	}
	return stack.StopLeftovers(dir, os.Stdout)
}

// reset deletes all local data, once the user has agreed to it.
func reset(args []string) error {
	root, err := checkout()
	if err != nil {
		return err
	}
	dirs := []string{localDir(root)}
	if moved := stack.PostgresDir(dirs[0]); !strings.HasPrefix(moved, dirs[0]) {
		dirs = append(dirs, moved)
	}
	if len(args) == 0 || (args[0] != "-yes" && args[0] != "--yes") {
		fmt.Printf("This deletes all local data (%s): contacts, campaigns, workflows. Type yes to go on: ", strings.Join(dirs, ", "))
		answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if strings.TrimSpace(answer) != "yes" {
			return errors.New("nothing was deleted")
		}
	}
	if err := stop(); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// checkout finds the root of the source tree from the working directory.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "devstack", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside a checkout of the product")
		}
		dir = parent
	}
}

// localDir is where the stack keeps everything.
func localDir(root string) string { return filepath.Join(root, ".local") }

// isTerminal reports whether a person reads this, and has not asked for plain
// text (https://no-color.org).
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}

// redacted hides the password of a connection string.
func redacted(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "DATABASE_URL"
	}
	return u.Redacted()
}
