package stack

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/postgres"
	"github.com/event-stream-engine/ese/devstack/procs"
)

// fakes compiles the stand-in for the product and for Temporal.
func fakes(t *testing.T) Binaries {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fake")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./testdata/fake").CombinedOutput()
	require.NoError(t, err, string(out))
	return Binaries{ESE: path, Temporal: path}
}

// reachableDir returns a temporary folder that PostgreSQL's own user can
// reach; those of testing.T are private when the tests run as root.
func reachableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ese-stack-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

func TestStackKeepsItsDataThroughKills(t *testing.T) {
	options := Options{Binaries: fakes(t), Dir: reachableDir(t)}
	s, err := Start(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })

	exec := func(statement string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), s.DatabaseURL())
		require.NoError(t, err)
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	exec("CREATE TABLE kept (n int)")
	for _, role := range Roles {
		require.NotZero(t, s.PID(role), role)
	}

	require.NoError(t, s.Kill(Postgres))
	require.Zero(t, s.PID(Postgres))
	require.NoError(t, s.Start(t.Context(), Postgres))
	exec("INSERT INTO kept VALUES (1)")

	require.NoError(t, s.KillAll())
	for _, role := range Roles {
		require.Zero(t, s.PID(role), role)
	}
	require.NoError(t, s.StartAll(t.Context()))
	exec("INSERT INTO kept VALUES (2)")

	before := s.PID(Worker)
	require.NoError(t, s.Restart(t.Context(), Worker))
	require.NotEqual(t, before, s.PID(Worker))
	require.Eventually(t, func() bool {
		out, err := s.Output(Worker)
		return err == nil && bytes.Count(out, []byte("account "+AccountSID)) == 3
	}, 5*time.Second, 10*time.Millisecond)
	out, err := s.Output(Worker)
	require.NoError(t, err)
	require.Contains(t, string(out), "stopped", "a restart is polite")
	require.NotContains(t, string(out), "auth local", "local sign-in is the API's alone")

	_, err = Start(t.Context(), options)
	require.ErrorContains(t, err, "runs already")

	require.NoError(t, s.Stop())
	s, err = Start(t.Context(), options)
	require.NoError(t, err)
	exec("INSERT INTO kept VALUES (3)")
}

func TestStackTakesOverFromOneThatWasKilled(t *testing.T) {
	options := Options{Binaries: fakes(t), Dir: reachableDir(t)}
	leftover := exec.CommandContext(t.Context(), options.Binaries.ESE, "worker")
	require.NoError(t, leftover.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = leftover.Wait() // it ends by a signal
	}()
	require.NoError(t, procs.WritePID(pidFile(options.Dir, Worker), leftover.Process.Pid, options.Binaries.ESE))

	s, err := Start(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		require.Fail(t, "the worker left over still runs")
	}
}

func TestEnvironIsTheStacksOwn(t *testing.T) {
	for name, value := range map[string]string{
		"TWILIO_AUTH_TOKEN": "real", "TWILIO_AUTH_TOKEN_NEXT": "real", "TEMPORAL_API_KEY": "real",
		"AUTH": "local", "LOG_LEVEL": "DEBUG", "RECEIPT_DEADLINE": "1h",
	} {
		t.Setenv(name, value)
	}
	options := Options{Dir: t.TempDir(), Ports: Ports{API: 1, Postgres: 2}, Env: map[Role]map[string]string{
		Worker: {"RECEIPT_DEADLINE": "2s"},
	}}
	worker := Environ(options, Worker)
	require.NotContains(t, strings.Join(worker, " "), "real")
	require.NotContains(t, worker, "AUTH=local")
	require.Contains(t, worker, "TWILIO_AUTH_TOKEN="+AuthToken)
	require.Contains(t, worker, "LOG_LEVEL=DEBUG", "what the stack does not set passes through")
	require.Contains(t, worker, "RECEIPT_DEADLINE=2s")
	require.NotContains(t, worker, "RECEIPT_DEADLINE=1h")

	api := Environ(options, API)
	require.Contains(t, api, "AUTH=local")
	require.Contains(t, api, "RECEIPT_DEADLINE=20s")
	require.Contains(t, api, "DATABASE_URL=postgres://postgres@127.0.0.1:2/ese?sslmode=disable")
}

func TestStackOnAGivenServer(t *testing.T) {
	server, err := postgres.StartThrowaway(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })

	s, err := Start(t.Context(), Options{Binaries: fakes(t), Dir: reachableDir(t), DatabaseURL: server.URL("mine")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	require.NoError(t, postgres.Ping(t.Context(), server.URL("mine")), "the database was made")
	require.Equal(t, server.URL("mine"), s.DatabaseURL())
	require.Error(t, s.Kill(Postgres), "a server that was given is not the stack's to kill")
	require.NoError(t, s.KillAll())
	require.NoError(t, s.StartAll(t.Context()))
	require.NotZero(t, s.PID(Worker))
}

func TestStackSaysWhyARoleDoesNotStart(t *testing.T) {
	options := Options{Binaries: fakes(t), Dir: reachableDir(t)}
	options.Env = map[Role]map[string]string{API: {"FAKE_BROKEN": "api"}}
	_, err := Start(t.Context(), options)
	require.ErrorContains(t, err, "api ended while starting: exit status 1")
	require.ErrorContains(t, err, "cannot work")
	require.Zero(t, Owner(options.Dir))
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port

	ports := Ports{Temporal: port}
	err = ports.settle()
	require.ErrorContains(t, err, "port "+strconv.Itoa(port))
	require.ErrorContains(t, err, "TEMPORAL_PORT")
	require.NotContains(t, err.Error(), "\n")

	ports = Ports{}
	require.NoError(t, ports.settle())
	require.NotZero(t, ports.API)
	require.NotEqual(t, ports.API, ports.Temporal)
}

func TestPortsFromEnv(t *testing.T) {
	t.Parallel()
	env := map[string]string{"APP_PORT": "9000"}
	getenv := func(name string) string { return env[name] }
	ports, err := PortsFromEnv(getenv)
	require.NoError(t, err)
	require.Equal(t, Ports{API: 9000, TemporalUI: 8233, Temporal: 7233, Simulator: 8010, Postgres: 15432}, ports)

	for _, bad := range []string{"http", "0", "65536"} {
		env["APP_PORT"] = bad
		_, err := PortsFromEnv(getenv)
		require.ErrorContains(t, err, "APP_PORT", bad)
	}
}

func TestConsole(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	console := NewConsole(&out, false)
	api, worker := console.Writer("api"), console.Writer("worker")
	for _, text := range []string{"one\ntw", "o\r\n", "", "rest"} {
		_, err := api.Write([]byte(text))
		require.NoError(t, err)
	}
	_, err := worker.Write([]byte("between\n"))
	require.NoError(t, err)
	require.NoError(t, api.Close())
	require.Equal(t, strings.Join([]string{
		"api       | one",
		"api       | two",
		"worker    | between",
		"api       | rest",
		"",
	}, "\n"), out.String())

	out.Reset()
	_, err = NewConsole(&out, true).Writer("api").Write([]byte("hello\n"))
	require.NoError(t, err)
	require.Equal(t, "\x1b[32mapi       |\x1b[0m hello\n", out.String())
}

// shell supervises a shell script.
func shell(t *testing.T, script string) (*process, *lines) {
	t.Helper()
	log := &lines{}
	p := &process{
		name:    "role",
		signal:  syscall.SIGTERM,
		grace:   5 * time.Second,
		restart: true,
		pidFile: filepath.Join(t.TempDir(), "role.pid"),
		log:     log,
		command: func() (*exec.Cmd, error) {
			cmd := exec.Command("sh", "-c", script)
			cmd.SysProcAttr = procs.Attr(nil, syscall.SIGKILL)
			return cmd, nil
		},
	}
	t.Cleanup(func() { require.NoError(t, p.kill()) })
	return p, log
}

func TestProcessStartsAgainWhenItDies(t *testing.T) {
	t.Parallel()
	p, log := shell(t, "exec sleep 60")
	require.NoError(t, p.start())
	require.ErrorContains(t, p.start(), "runs already")
	first := p.pid()
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	require.Eventually(t, func() bool { return p.pid() != 0 && p.pid() != first }, 5*time.Second, 5*time.Millisecond)
	require.Contains(t, log.String(), "signal: killed")

	require.NoError(t, p.stop())
	require.Zero(t, p.pid())
	require.NoFileExists(t, p.pidFile)
	require.NoError(t, p.stop(), "stopped already")
}

func TestProcessBacksOff(t *testing.T) {
	t.Parallel()
	p, log := shell(t, "exit 3")
	require.NoError(t, p.start())
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "again in 500ms") }, 5*time.Second, 5*time.Millisecond)
	require.Contains(t, log.String(), "exit status 3; starting it again in 250ms")
}

func TestProcessIsKilledWithItsGroupWhenItIgnoresItsSignal(t *testing.T) {
	t.Parallel()
	p, log := shell(t, `trap "" TERM; echo deaf; while :; do sleep 0.1; done`)
	p.grace = 200 * time.Millisecond
	p.out = log
	require.NoError(t, p.start())
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "deaf") }, 5*time.Second, 5*time.Millisecond)
	pid := p.pid()
	require.NoError(t, p.stop())
	require.False(t, procs.Alive(pid))
	require.Contains(t, log.String(), "does not end within 200ms; killing it")
}

func TestProcessThatEndsFirstIsNotReady(t *testing.T) {
	t.Parallel()
	p, _ := shell(t, "exit 4")
	p.restart = false
	p.ready = func(ctx context.Context) error { return dial(ctx, "127.0.0.1:1") }
	require.NoError(t, p.start())
	err := p.awaitReady(t.Context())
	require.ErrorContains(t, err, "role")
}

func TestWatchSeesSourcesAlone(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("api/api.go", "package api")
	before := fingerprint(root)
	write("api/api_test.go", "package api")
	write("node_modules/x/index.js", "x")
	write("README.md", "x")
	require.Equal(t, before, fingerprint(root))
	write("db/queries/users.sql", "SELECT 1")
	require.NotEqual(t, before, fingerprint(root))

	changed := make(chan struct{}, 1)
	go Watch(t.Context(), root, func() { changed <- struct{}{} })
	require.Eventually(t, func() bool {
		write("api/api.go", "package api // "+time.Now().String())
		select {
		case <-changed:
			return true
		case <-time.After(1200 * time.Millisecond): // two looks, so that the file can rest
			return false
		}
	}, 15*time.Second, time.Millisecond)
}

// lines is a buffer that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
