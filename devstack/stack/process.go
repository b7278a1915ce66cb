package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/event-stream-engine/ese/devstack/procs"
)

// process is one role under supervision: a command that is meant to run until
// it is stopped or killed through here.
type process struct {
	name string
	// command returns a fresh command for each start.
	command func() (*exec.Cmd, error)
	// ready returns nil once the role does its work.
	ready func(ctx context.Context) error
	// signal asks the role to end by itself, within grace.
	signal syscall.Signal
	grace  time.Duration
	// restart starts the role again when it ends unasked.
	restart bool
	pidFile string
	out     io.Writer
	log     io.Writer

	mu      sync.Mutex
	current *run
}

// run is one life of a process.
type run struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed after err is set
	err    error
	asked  bool // it ends because it was told to
	cancel chan struct{}
}

// Backoff between the restarts of a role that keeps dying. A role that lived
// for a while starts over with the shortest.
const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 10 * time.Second
	longLife     = 10 * time.Second
)

// start runs the role, at once if it was waiting for its next try; it is a
// mistake to call it while the role runs.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.current; r != nil {
		if !r.over() {
			return fmt.Errorf("%s runs already", p.name)
		}
		close(r.cancel)
		p.current = nil
	}
	return p.launch(firstBackoff)
}

// launch begins a run. The caller holds mu.
func (p *process) launch(backoff time.Duration) error {
	cmd, err := p.command()
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	// Grandchildren may hold the output open for longer than the role lives.
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	r := &run{cmd: cmd, ended: make(chan struct{}), cancel: make(chan struct{})}
	p.current = r
	if err := procs.WritePID(p.pidFile, cmd.Process.Pid, cmd.Path); err != nil {
		fmt.Fprintf(p.log, "%s: %v\n", p.name, err)
	}
	go p.supervise(r, backoff)
	return nil
}

// supervise waits for the end of a run and, if nobody asked for it, begins
// another.
func (p *process) supervise(r *run, backoff time.Duration) {
	began := time.Now()
	r.err = r.cmd.Wait()
	close(r.ended)

	p.mu.Lock()
	asked := r.asked
	if asked || !p.restart {
		p.clear(r)
		p.mu.Unlock()
		if !asked {
			fmt.Fprintf(p.log, "%s ended by itself: %s\n", p.name, outcome(r.err))
		}
		return
	}
	p.mu.Unlock()

	if time.Since(began) > longLife {
		backoff = firstBackoff
	}
	failure := "ended by itself: " + outcome(r.err)
	for {
		fmt.Fprintf(p.log, "%s %s; starting it again in %s\n", p.name, failure, backoff)
		select {
		case <-r.cancel:
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
		err := p.relaunch(r, backoff)
		if err == nil {
			return
		}
		failure = "cannot be started: " + err.Error()
	}
}

// relaunch begins the run after r, unless r was told to end meanwhile.
func (p *process) relaunch(r *run, backoff time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != r {
		return nil
	}
	return p.launch(backoff)
}

// over reports whether the run has ended.
func (r *run) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// clear forgets a run that has ended. The caller holds mu.
func (p *process) clear(r *run) {
	if p.current == r {
		p.current = nil
		_ = os.Remove(p.pidFile) // a stale file is checked before it is believed
	}
}

// stop asks the role to end and, after its grace, makes it. A role that does
// not run is stopped already.
func (p *process) stop() error { return p.end(p.signal, p.grace) }

// kill ends the role as a power cut would: SIGKILL to it and its group. It
// stays down.
func (p *process) kill() error { return p.end(syscall.SIGKILL, p.grace) }

func (p *process) end(sig syscall.Signal, grace time.Duration) error {
	p.mu.Lock()
	r := p.current
	if r == nil {
		p.mu.Unlock()
		return nil
	}
	r.asked = true
	close(r.cancel)
	p.clear(r)
	p.mu.Unlock()

	signalRun(r, sig)
	select {
	case <-r.ended:
		return nil
	case <-time.After(grace):
	}
	fmt.Fprintf(p.log, "%s does not end within %s; killing it\n", p.name, grace)
	signalRun(r, syscall.SIGKILL)
	select {
	case <-r.ended:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("%s cannot be killed", p.name)
	}
}

// signalRun signals a run; only a kill goes to its whole group, for a role
// stops its own children itself.
func signalRun(r *run, sig syscall.Signal) {
	if r.over() {
		return // its id may belong to another process by now
	}
	pid := r.cmd.Process.Pid
	if sig == syscall.SIGKILL {
		pid = -pid
	}
	_ = syscall.Kill(pid, sig) // fails only when it has just ended
}

// awaitReady polls until the role is ready. It fails when the role ends first,
// restarted or not.
func (p *process) awaitReady(ctx context.Context) error {
	p.mu.Lock()
	r := p.current
	p.mu.Unlock()
	if r == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	if p.ready == nil {
		return nil
	}
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-r.ended:
			return fmt.Errorf("%s ended while starting: %s", p.name, outcome(r.err))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready in time: %w", p.name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// pid returns the process id, 0 when the role does not run.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil || p.current.over() {
		return 0
	}
	return p.current.cmd.Process.Pid
}

func outcome(err error) string {
	if err == nil {
		return "exit status 0"
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ProcessState.String()
	}
	return err.Error()
}
