package stack

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/event-stream-engine/ese/devstack/procs"
)

func pidFile(dir string, role Role) string {
	return filepath.Join(dir, "run", string(role)+".pid")
}

func lockFile(dir string) string { return filepath.Join(dir, "run", "lock") }

// lockDir makes the folder this process's own for as long as the file stays
// open: two stacks in one folder would fight over its data. The kernel frees
// the lock however the process ends.
func lockDir(dir string) (*os.File, error) {
	path := lockFile(dir)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if pid := Owner(dir); pid != 0 {
			return nil, fmt.Errorf("the stack in %s runs already (process %d): `make stop` stops it", dir, pid)
		}
		return nil, fmt.Errorf("the stack in %s runs already: `make stop` stops it", dir)
	}
	if err := errors.Join(file.Truncate(0), writeAt(file, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func writeAt(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

// Owner returns the id of the process that runs a stack in dir, 0 for none.
func Owner(dir string) int {
	file, err := os.Open(lockFile(dir))
	if err != nil {
		return 0
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return 0 // nobody holds it
	}
	raw, err := os.ReadFile(lockFile(dir))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0
	}
	return pid
}

// left returns the roles whose process ids are kept in dir, in the order in
// which they start.
func left(dir string) []Role {
	files, err := filepath.Glob(pidFile(dir, "*"))
	if err != nil {
		return nil // a folder whose name is a bad pattern
	}
	var roles []Role
	for _, file := range files {
		roles = append(roles, Role(strings.TrimSuffix(filepath.Base(file), ".pid")))
	}
	slices.SortFunc(roles, func(a, b Role) int {
		return cmp.Or(cmp.Compare(slices.Index(Roles, a.Kind()), slices.Index(Roles, b.Kind())), cmp.Compare(a, b))
	})
	return roles
}

// StopLeftovers ends the roles of a stack in dir whose own process was killed.
// The caller holds the lock, or knows that nobody does.
func StopLeftovers(dir string, log io.Writer) error {
	var errs []error
	for _, role := range slices.Backward(left(dir)) {
		sig := syscall.SIGTERM
		if role == Postgres {
			sig = syscall.SIGINT
		}
		found, err := procs.StopLeftover(pidFile(dir, role), sig, stopGrace)
		if found {
			fmt.Fprintf(log, "stopped %s, left over from a run that was killed\n", role)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
