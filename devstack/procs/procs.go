// Package procs runs operating-system processes that must not outlive, or be
// lost by, the program that started them.
package procs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Alive reports whether a process with this id exists.
func Alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// Command returns the command line of a running process, or "" when it cannot
// be told. A zombie has none.
func Command(pid int) string {
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		return strings.TrimSpace(string(bytes.ReplaceAll(raw, []byte{0}, []byte{' '})))
	}
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// WritePID records a child in file, so that a later program can find it when
// this one was killed. The process's command line is recorded with the id:
// ids are reused.
func WritePID(file string, pid int, executable string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, fmt.Appendf(nil, "%d\n%s\n", pid, executable), 0o644)
}

// StopLeftover ends the process recorded in file, if it is still the program
// it was when recorded, first with sig and after grace with SIGKILL. It
// reports whether there was one to end. The file is removed.
func StopLeftover(file string, sig syscall.Signal, grace time.Duration) (bool, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer os.Remove(file)
	first, executable, _ := strings.Cut(strings.TrimSpace(string(raw)), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || pid <= 1 || executable == "" || !Alive(pid) || !strings.Contains(Command(pid), executable) {
		return false, nil
	}
	return true, End(pid, sig, grace)
}

// End signals a process that is not a child of ours and waits until it is
// gone; after grace it is killed.
func End(pid int, sig syscall.Signal, grace time.Duration) error {
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{sig, grace}, {syscall.SIGKILL, 5 * time.Second}} {
		if err := syscall.Kill(pid, step.sig); errors.Is(err, syscall.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("stop process %d: %w", pid, err)
		}
		for deadline := time.Now().Add(step.wait); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if !Alive(pid) || Command(pid) == "" {
				return nil
			}
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}

// AwaitNoneIn waits until no process has dir as its working directory and
// reports whether that came true within the limit. Where processes cannot be
// listed (elsewhere than on Linux) it reports true at once.
func AwaitNoneIn(dir string, limit time.Duration) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if !anyIn(dir) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func anyIn(dir string) bool {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return false
	}
	for _, link := range links {
		if at, err := os.Readlink(link); err == nil && at == dir {
			return true
		}
	}
	return false
}
