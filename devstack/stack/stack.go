// Package stack runs the whole product on one machine, each role an
// operating-system process of its own: PostgreSQL, Temporal with its Web UI,
// the simulated Twilio, the API and the worker, or several of the last two.
// `make dev` is a thin shell on it; the end-to-end tests start it on free ports,
// kill its roles and break the network between them.
package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/event-stream-engine/ese/devstack/postgres"
	"github.com/event-stream-engine/ese/devstack/procs"
)

// Role names one process of the stack.
type Role string

// The roles. API and Worker are the first of their kind; see APIN and WorkerN
// for the others.
const (
	Postgres  Role = "postgres"
	Temporal  Role = "temporal"
	Simulator Role = "simulator"
	API       Role = "api"
	Worker    Role = "worker"
)

// Roles of a stack with one API and one worker, in the order in which they
// start; they stop in reverse. See Stack.Roles for those of a running one.
var Roles = []Role{Postgres, Temporal, Simulator, API, Worker}

// APIN is the nth API, counted from 1.
func APIN(n int) Role { return nth(API, n) }

// WorkerN is the nth worker, counted from 1.
func WorkerN(n int) Role { return nth(Worker, n) }

func nth(kind Role, n int) Role {
	if n == 1 {
		return kind
	}
	return Role(fmt.Sprintf("%s-%d", kind, n))
}

// Kind is what a role does, whichever of several it is: that of WorkerN(2) is
// Worker.
func (r Role) Kind() Role {
	kind, _, _ := strings.Cut(string(r), "-")
	return Role(kind)
}

// The local stack's Twilio account: the simulator's, never a real one.
const (
	AccountSID  = "AC00000000000000000000000000000000"
	AuthToken   = "localstack"
	PhoneNumber = "whatsapp:+14155238886"
)

const (
	host = "127.0.0.1"
	// startLimit is how long one role may take to become ready.
	startLimit = 90 * time.Second
	// stopGrace is how long one role may take to end by itself: longer than the
	// 20 s that the product gives its own work under way.
	stopGrace = 25 * time.Second
)

// Options of Start.
type Options struct {
	// Binaries to run; see Build.
	Binaries Binaries
	// Dir keeps the stack's data, logs and process ids. Started again on the
	// same Dir, the stack has the data it had.
	Dir string
	// Ports wanted; zero ones are chosen.
	Ports Ports
	// DatabaseURL names an existing PostgreSQL server and database, whose user
	// may create databases. Empty runs a server of the stack's own.
	DatabaseURL string
	// APIs and Workers say how many of them run; 0 means 1. With several APIs a
	// load balancer in this process is the product's public address.
	APIs, Workers int
	// Network puts a link that can be broken between each worker and each of its
	// peers; see Stack.Link.
	Network bool
	// Env overrides or adds environment variables of a role. What API or Worker
	// is given holds for all of their kind, what a single one is given wins.
	Env map[Role]map[string]string
	// Restart starts a role again that ended by itself. Roles killed or stopped
	// through the Stack stay down either way.
	Restart bool
	// Console shows the output of all roles; nil shows nothing.
	Console *Console
	// Log receives a line for each step; nil discards.
	Log io.Writer
}

// Stack is a running local stack. Its methods may be called from several
// goroutines for different roles.
type Stack struct {
	opts      Options
	ports     Ports
	apiPorts  []int // one of each API; Ports.API is where the product is reached
	processes map[Role]*process
	server    *postgres.Server // nil when DatabaseURL was given
	balancer  *balancer        // nil with one API
	network   *network         // nil without Options.Network
	logs      map[Role]*os.File
	lock      *os.File
}

// Start starts the roles in order, each once the one before is ready. On an
// error everything is stopped again. ctx bounds the start alone.
func Start(ctx context.Context, opts Options) (_ *Stack, err error) {
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	s := &Stack{opts: opts, ports: opts.Ports, processes: map[Role]*process{}, logs: map[Role]*os.File{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if err := StopLeftovers(dir, opts.Log); err != nil {
		return nil, err
	}
	if err := s.ports.settle(); err != nil {
		return nil, err
	}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	for _, role := range s.Roles() {
		fmt.Fprintf(opts.Log, "starting %s\n", role)
		if err := s.Start(ctx, role); err != nil {
			return nil, errors.Join(err, s.lastLine(role))
		}
		if role == Temporal {
			if err := s.Migrate(ctx); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// Roles returns the roles this stack runs, in the order in which they start.
func (s *Stack) Roles() []Role {
	var roles []Role
	for _, kind := range Roles {
		switch kind {
		case Postgres:
			if s.opts.DatabaseURL == "" {
				roles = append(roles, kind)
			}
		case API:
			for n := range max(1, s.opts.APIs) {
				roles = append(roles, APIN(n+1))
			}
		case Worker:
			for n := range max(1, s.opts.Workers) {
				roles = append(roles, WorkerN(n+1))
			}
		default:
			roles = append(roles, kind)
		}
	}
	return roles
}

// connect opens what lies between the roles: the load balancer and the links
// that can be broken.
func (s *Stack) connect(ctx context.Context) (err error) {
	s.apiPorts = []int{s.ports.API}
	if s.opts.APIs > 1 {
		s.apiPorts = make([]int, s.opts.APIs)
		for i := range s.apiPorts {
			if s.apiPorts[i], err = postgres.FreePort(); err != nil {
				return err
			}
		}
		if s.balancer, err = startBalancer(ctx, address(s.ports.API), s.apiPorts); err != nil {
			return err
		}
	}
	if s.opts.Network {
		s.network, err = startNetwork(s)
	}
	return err
}

// prepare builds the processes without starting any.
func (s *Stack) prepare(ctx context.Context) (err error) {
	if err := ensureKey(filepath.Join(s.opts.Dir, "suppression.key")); err != nil {
		return err
	}
	if s.opts.DatabaseURL == "" {
		s.server, err = postgres.Prepare(ctx, postgres.Options{
			Dir: postgresDir(s.opts.Dir), Port: s.ports.Postgres, Log: s.opts.Log,
		})
		if err != nil {
			return err
		}
	}
	for _, role := range s.Roles() {
		file, err := openLog(s.LogFile(role))
		if err != nil {
			return err
		}
		s.logs[role] = file
		var out io.Writer = file
		if s.opts.Console != nil {
			out = io.MultiWriter(file, s.opts.Console.Writer(string(role)))
		}
		p := &process{
			name:    string(role),
			signal:  syscall.SIGTERM,
			grace:   stopGrace,
			restart: s.opts.Restart,
			pidFile: pidFile(s.opts.Dir, role),
			out:     out,
			log:     s.opts.Log,
			command: func() (*exec.Cmd, error) { return s.command(role), nil },
			ready:   s.readiness(role),
		}
		if role == Postgres {
			p.signal = syscall.SIGINT
			p.command = func() (*exec.Cmd, error) {
				if err := s.server.Recover(); err != nil {
					return nil, err
				}
				return s.server.Command(), nil
			}
		}
		s.processes[role] = p
	}
	return nil
}

// ensureKey makes a random key, unless there is one from an earlier life of the
// stack: its data are of no use with another.
func ensureKey(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, rand.Text()+rand.Text())
	return errors.Join(err, file.Close())
}

func (s *Stack) command(role Role) *exec.Cmd {
	var cmd *exec.Cmd
	if role == Temporal {
		cmd = exec.Command(s.opts.Binaries.Temporal,
			"-database-url", s.databaseURL("postgres"),
			"-port", strconv.Itoa(s.ports.Temporal),
			"-ui-port", strconv.Itoa(s.ports.TemporalUI))
	} else {
		cmd = exec.Command(s.opts.Binaries.ESE, string(role.Kind()))
	}
	cmd.Env = s.environ(role)
	cmd.Dir = s.opts.Dir
	cmd.SysProcAttr = procs.Attr(nil, syscall.SIGTERM)
	return cmd
}

// readiness returns the condition on which a role does its work; nil where
// being alive is all that can be told from outside.
func (s *Stack) readiness(role Role) func(context.Context) error {
	switch role.Kind() {
	case Postgres:
		return func(ctx context.Context) error { return postgres.Ping(ctx, s.databaseURL("postgres")) }
	case Temporal:
		// The Web UI starts last; through it the namespace is seen as workers see it.
		return httpOK(fmt.Sprintf("http://%s/api/v1/namespaces/default", address(s.ports.TemporalUI)))
	case Simulator:
		return func(ctx context.Context) error { return dial(ctx, address(s.ports.Simulator)) }
	case API:
		return httpOK(s.apiURL(role) + "/health")
	default:
		return nil
	}
}

// settings is the product's configuration on the local stack.
func (s *Stack) settings(role Role) map[string]string {
	settings := map[string]string{
		"DATABASE_URL":          s.DatabaseURL(),
		"TEMPORAL_ADDRESS":      s.TemporalAddress(),
		"TEMPORAL_NAMESPACE":    "default",
		"TEMPORAL_UI_URL":       fmt.Sprintf("http://localhost:%d", s.ports.TemporalUI),
		"LISTEN_ADDR":           fmt.Sprintf("localhost:%d", s.apiPort(role)),
		"PUBLIC_URL":            s.URL(),
		"TWILIO_ACCOUNT_SID":    AccountSID,
		"TWILIO_AUTH_TOKEN":     AuthToken,
		"TWILIO_PHONE_NUMBER":   PhoneNumber,
		"TWILIO_BASE_URL":       s.SimulatorURL(),
		"SIMULATOR_ADDR":        address(s.ports.Simulator),
		"SIMULATOR_DATA":        filepath.Join(s.opts.Dir, "simulator"),
		"SIMULATOR_INBOUND_URL": s.URL() + "/webhooks/inbound",
		"RECEIPT_DEADLINE":      "20s",
		"RESOLVE_LOOKS":         "1s,3s,10s",
		"SUPPRESSION_KEY":       "", // the file holds it, whatever the shell knows
		"SUPPRESSION_KEY_FILE":  filepath.Join(s.opts.Dir, "suppression.key"),
	}
	if role.Kind() == API {
		settings["AUTH"] = "local"
		settings["SIMULATOR_URL"] = s.SimulatorURL()
	}
	if s.network != nil && role.Kind() == Worker {
		maps.Copy(settings, s.network.settings(s, role))
	}
	maps.Copy(settings, s.opts.Env[role.Kind()])
	maps.Copy(settings, s.opts.Env[role])
	return settings
}

// Environ is the environment of a role in a stack of these options, which need
// not run: for commands that work beside it. The ports must be given.
func Environ(opts Options, role Role) []string {
	s := &Stack{opts: opts, ports: opts.Ports}
	return s.environ(role)
}

// environ is the caller's environment with the stack's settings over it.
// Whatever Twilio account and Temporal server the caller's shell knows, the
// local stack talks to its own.
func (s *Stack) environ(role Role) []string {
	settings := s.settings(role)
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		_, ours := settings[name]
		return ours || name == "AUTH" || strings.HasPrefix(name, "TWILIO_") || strings.HasPrefix(name, "TEMPORAL_")
	})
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		env = append(env, name+"="+settings[name])
	}
	return env
}

// Migrate makes the product's database and brings its schema up to date.
func (s *Stack) Migrate(ctx context.Context) error {
	if err := postgres.CreateDatabase(ctx, s.DatabaseURL()); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.opts.Binaries.ESE, "migrate")
	cmd.Env = s.environ(API)
	cmd.Dir = s.opts.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("migrate: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Start starts a role that is down and waits until it is ready.
func (s *Stack) Start(ctx context.Context, role Role) error {
	p, err := s.process(role)
	if err != nil {
		return err
	}
	if err := p.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return p.awaitReady(ctx)
}

// Stop ends every role in reverse order, each within its grace, and frees the
// stack's folder. The stack cannot be started again; its data can.
func (s *Stack) Stop() error {
	var errs []error
	for _, role := range slices.Backward(s.Roles()) {
		if p := s.processes[role]; p != nil {
			errs = append(errs, p.stop())
		}
	}
	if s.balancer != nil {
		errs = append(errs, s.balancer.close())
		s.balancer = nil
	}
	if s.network != nil {
		s.network.close()
		s.network = nil
	}
	for _, file := range s.logs {
		errs = append(errs, file.Close())
	}
	clear(s.logs)
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// StopRole asks one role to end and waits for it. It stays down.
func (s *Stack) StopRole(role Role) error {
	p, err := s.process(role)
	if err != nil {
		return err
	}
	return p.stop()
}

// Kill ends a role with SIGKILL and waits until it is gone. It stays down
// until Start.
func (s *Stack) Kill(role Role) error {
	p, err := s.process(role)
	if err != nil {
		return err
	}
	return p.kill()
}

// KillAll ends every role with SIGKILL, as a power cut would.
func (s *Stack) KillAll() error {
	killed := make(chan error)
	for _, p := range s.processes {
		go func() { killed <- p.kill() }()
	}
	var errs []error
	for range s.processes {
		errs = append(errs, <-killed)
	}
	return errors.Join(errs...)
}

// StartAll starts, in order, every role that is down.
func (s *Stack) StartAll(ctx context.Context) error {
	for _, role := range s.Roles() {
		if s.PID(role) != 0 {
			continue
		}
		if err := s.Start(ctx, role); err != nil {
			return err
		}
	}
	return nil
}

// Restart stops a role the polite way and starts it again.
func (s *Stack) Restart(ctx context.Context, role Role) error {
	if err := s.StopRole(role); err != nil {
		return err
	}
	return s.Start(ctx, role)
}

func (s *Stack) process(role Role) (*process, error) {
	if p := s.processes[role]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("the stack does not run a role %s", role)
}

// PID returns the process id of a role, 0 when it is down.
func (s *Stack) PID(role Role) int {
	if p := s.processes[role]; p != nil {
		return p.pid()
	}
	return 0
}

// URL is the product's public address, of the API and the pages: that of the
// load balancer where several APIs run.
func (s *Stack) URL() string { return "http://" + address(s.ports.API) }

// apiURL is the address of one API itself.
func (s *Stack) apiURL(role Role) string { return "http://" + address(s.apiPort(role)) }

// apiPort is the port of one API; for every other role that of the first.
func (s *Stack) apiPort(role Role) int {
	for i, port := range s.apiPorts {
		if role == APIN(i+1) {
			return port
		}
	}
	return s.ports.API
}

// SimulatorURL is the base address of the simulated Twilio.
func (s *Stack) SimulatorURL() string { return "http://" + address(s.ports.Simulator) }

// TemporalUIURL is the base address of Temporal's Web UI.
func (s *Stack) TemporalUIURL() string { return "http://" + address(s.ports.TemporalUI) }

// TemporalAddress is Temporal's gRPC address.
func (s *Stack) TemporalAddress() string { return address(s.ports.Temporal) }

// Ports in use.
func (s *Stack) Ports() Ports { return s.ports }

// DatabaseURL is the connection string of the product's database.
func (s *Stack) DatabaseURL() string {
	if s.opts.DatabaseURL != "" {
		return s.opts.DatabaseURL
	}
	return s.databaseURL("ese")
}

// databaseURL is the connection string of another database of the server.
func (s *Stack) databaseURL(database string) string {
	if s.opts.DatabaseURL == "" {
		return postgres.URL(s.ports.Postgres, database)
	}
	u, err := url.Parse(s.opts.DatabaseURL)
	if err != nil {
		return s.opts.DatabaseURL // reported where it is connected to
	}
	u.Path = "/" + database
	return u.String()
}

// LogFile is where a role's output is kept since the stack was started.
func (s *Stack) LogFile(role Role) string {
	return filepath.Join(s.opts.Dir, "logs", string(role)+".log")
}

// Output returns what a role has written since the stack was started, its
// earlier lives included.
func (s *Stack) Output(role Role) ([]byte, error) { return os.ReadFile(s.LogFile(role)) }

// lastLine is the last thing a role said, as an error to go with its failure.
func (s *Stack) lastLine(role Role) error {
	out, err := s.Output(role)
	if err != nil {
		return nil //nolint:nilerr // the failure itself is reported
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return errors.New(last)
	}
	return nil
}

func postgresDir(dir string) string { return filepath.Join(dir, "postgres") }

// PostgresDir is where a stack in dir, an absolute path, keeps its PostgreSQL
// data: below dir, or elsewhere when an unprivileged user cannot reach that.
func PostgresDir(dir string) string { return postgres.Place(postgresDir(dir)) }

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
}

func address(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func dial(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func httpOK(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return nil
	}
}
