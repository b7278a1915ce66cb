package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// Binaries are the programs a stack runs.
type Binaries struct {
	ESE      string
	Temporal string
}

// Build compiles the product and the Temporal server of the checkout at root
// into root/bin and tells on log how far it is: Temporal alone takes minutes
// the first time.
func Build(ctx context.Context, root string, log io.Writer) (Binaries, error) {
	ese, err := BuildESE(ctx, root)
	if err != nil {
		return Binaries{}, err
	}
	temporal, err := buildTemporal(ctx, root, log)
	if err != nil {
		return Binaries{}, err
	}
	return Binaries{ESE: ese, Temporal: temporal}, nil
}

// BuildESE compiles the product.
func BuildESE(ctx context.Context, root string) (string, error) {
	target := filepath.Join(root, "bin", "ese")
	return target, goBuild(ctx, root, "./cmd/ese", target, nil)
}

func buildTemporal(ctx context.Context, root string, log io.Writer) (string, error) {
	module := filepath.Join(root, "devstack")
	target := filepath.Join(root, "bin", "temporal")
	if _, err := os.Stat(target); err == nil {
		return target, goBuild(ctx, module, "./cmd/temporal", target, nil)
	}
	fmt.Fprintln(log, "compiling the Temporal server: this takes 4 to 5 minutes on 2 cores the first time, seconds later")
	var compiled atomic.Int64
	done := make(chan struct{})
	go func() {
		began := time.Now()
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				fmt.Fprintf(log, "compiling the Temporal server: %d packages after %s\n", compiled.Load(), time.Since(began).Round(time.Second))
			}
		}
	}()
	err := goBuild(ctx, module, "./cmd/temporal", target, &lineWriter{emit: func([]byte) { compiled.Add(1) }})
	close(done)
	return target, err
}

// goBuild compiles one command; names, when not nil, receives the import path
// of each package as it is compiled. The go command replaces a target whose
// old content still runs.
func goBuild(ctx context.Context, dir, pkg, target string, names io.Writer) error {
	args := []string{"build", "-buildvcs=false", "-ldflags=-s -w", "-o", target}
	var output bytes.Buffer
	var errs io.Writer = &output
	if names != nil {
		args = append(args, "-v")
		errs = io.MultiWriter(&output, names)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = dir
	cmd.Stderr = errs
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("the go command is not on the PATH: install Go from https://go.dev/dl")
	default:
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, messages(output.String()))
	}
}

// messages keeps the compiler's messages and drops the bare names of packages
// that -v adds.
func messages(output string) string {
	var kept []string
	for line := range strings.Lines(output) {
		if strings.ContainsAny(strings.TrimSpace(line), " :") {
			kept = append(kept, strings.TrimRight(line, "\n"))
		}
	}
	return strings.Join(kept, "\n")
}
