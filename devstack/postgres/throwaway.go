package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Throwaway is a running server of its own data folder, made for one test run
// and removed with it.
type Throwaway struct {
	*Server
	cmd    *exec.Cmd
	exited chan struct{}
	folder string
}

// StartThrowaway starts a new server in a temporary folder on a free port. It
// is as durable as any other: the tests that kill processes rely on it.
func StartThrowaway(ctx context.Context) (_ *Throwaway, err error) {
	folder, err := os.MkdirTemp("", "ese-postgres-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(folder)
		}
	}()
	if err := os.Chmod(folder, 0o755); err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	server, err := Prepare(ctx, Options{Dir: filepath.Join(folder, "data"), Port: port, Log: os.Stderr})
	if err != nil {
		return nil, err
	}
	t := &Throwaway{Server: server, folder: folder, exited: make(chan struct{})}
	var output bytes.Buffer
	t.cmd = server.Command()
	t.cmd.Stdout, t.cmd.Stderr = &output, &output
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(t.exited)
		_ = t.cmd.Wait() // its end is what matters; the reason is in its output
	}()
	if err := t.await(ctx); err != nil {
		return nil, errors.Join(err, t.Stop())
	}
	return t, nil
}

func (t *Throwaway) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := Ping(ctx, t.URL("postgres"))
		if err == nil {
			return nil
		}
		select {
		case <-t.exited:
			return fmt.Errorf("PostgreSQL ended: %s", strings.TrimSpace(t.cmd.Stdout.(*bytes.Buffer).String()))
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop ends the server and removes its folder.
func (t *Throwaway) Stop() error {
	_ = t.cmd.Process.Signal(syscall.SIGINT) // fails only when it has ended
	select {
	case <-t.exited:
	case <-time.After(stopGrace):
		_ = t.cmd.Process.Kill()
		<-t.exited
	}
	return os.RemoveAll(t.folder)
}

// FreePort returns a TCP port of 127.0.0.1 that was free a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
