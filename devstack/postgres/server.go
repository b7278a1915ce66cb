package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/event-stream-engine/ese/devstack/procs"
)

// Superuser is the role that owns a data folder made here. It needs no
// password: the server listens on loopback only.
const Superuser = "postgres"

// stopGrace is how long a fast shutdown may take before it is forced.
const stopGrace = 15 * time.Second

// Server is a data folder with the program and the user to run it. It is
// prepared, not running; Command is what to run.
type Server struct {
	// Dir is the data folder in use. It may differ from the one asked for:
	// see Prepare.
	Dir  string
	Port int

	install Install
	user    *syscall.Credential
}

// Options of Prepare.
type Options struct {
	// Dir is the data folder wanted; it is made when missing.
	Dir string
	// Port to listen on, on 127.0.0.1.
	Port int
	// Log receives a line for each step worth knowing; nil discards.
	Log io.Writer
}

// Prepare makes a data folder ready to be served: finds the PostgreSQL that
// fits it, initialises it when it is new, ends a server left running in it by
// a program that was killed, and removes that server's stale lock.
//
// PostgreSQL refuses to run as root. As root the folder is given to the user
// postgres (else nobody), and when that user cannot reach it, because the
// checkout lies below a private folder such as /root, another place is taken
// and named on Log.
func Prepare(ctx context.Context, opts Options) (*Server, error) {
	log := opts.Log
	if log == nil {
		log = io.Discard
	}
	found, err := Ensure(ctx, log)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: Place(dir), Port: opts.Port}
	if os.Geteuid() == 0 {
		if s.user, err = unprivileged(user.Lookup); err != nil {
			return nil, err
		}
		if s.Dir != dir {
			fmt.Fprintf(log, "%s cannot be reached by an unprivileged user; the data folder is %s\n", dir, s.Dir)
		}
	}
	major, err := folderVersion(s.Dir)
	if err != nil {
		return nil, err
	}
	if s.install, err = choose(found, major); err != nil {
		return nil, err
	}
	if major == 0 {
		fmt.Fprintf(log, "making a PostgreSQL %d data folder in %s\n", s.install.Major, s.Dir)
		if err := s.initialise(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.Recover(); err != nil {
		return nil, err
	}
	return s, nil
}

// unprivileged returns the user to serve as when run by root.
func unprivileged(lookup func(string) (*user.User, error)) (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root and there is no user postgres or nobody to run it as: create one, or set DATABASE_URL")
}

// Place returns the data folder that Prepare uses when asked for dir, an
// absolute path.
func Place(dir string) string {
	if os.Geteuid() != 0 {
		return dir
	}
	return reachable(dir)
}

// elsewhere holds the data folders of checkouts that lie in private places.
const elsewhere = "/var/lib/ese-devstack"

// reachable returns dir when any user can traverse every folder above it, and
// otherwise a folder of the same identity where that holds.
func reachable(dir string) string {
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			return filepath.Join(elsewhere, strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-"))
		}
		if parent == filepath.Dir(parent) {
			return dir
		}
	}
}

// folderVersion returns the major version that made the folder, 0 when it is
// missing or empty, and an error when it holds something else.
func folderVersion(dir string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err == nil {
		major, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		if err != nil {
			return 0, brokenFolder(dir, "PG_VERSION is unreadable")
		}
		if _, err := os.Stat(filepath.Join(dir, "global", "pg_control")); err != nil {
			return 0, brokenFolder(dir, "global/pg_control is missing")
		}
		return major, nil
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && len(entries) == 0:
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("data folder: %w", err)
	default:
		return 0, brokenFolder(dir, "PG_VERSION is missing")
	}
}

func brokenFolder(dir, reason string) error {
	return fmt.Errorf("the data folder %s is broken (%s): move it away, or start anew with `make reset`", dir, reason)
}

// initialise makes the data folder beside its final name and moves it there
// whole, so that a kill in between leaves nothing that looks like one.
func (s *Server) initialise(ctx context.Context) error {
	draft := s.Dir + ".new"
	if err := os.RemoveAll(draft); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(draft), 0o755); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := os.Mkdir(draft, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if s.user != nil {
		if err := os.Chown(draft, int(s.user.Uid), int(s.user.Gid)); err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.install.Bin, "initdb"),
		"-D", draft, "-U", Superuser, "--auth=trust", "--encoding=UTF8", "--locale="+locale(), "--no-instructions")
	cmd.Dir = draft
	cmd.SysProcAttr = procs.Attr(s.user, syscall.SIGKILL)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLine(out))
	}
	if err := os.Remove(s.Dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := os.Rename(draft, s.Dir); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

// Recover copes with what a killed server left in its data folder; it is
// called before each start. A server that still runs is stopped, and backends
// that outlive their postmaster by a moment are waited for: two generations in
// one folder would ruin it. A lock whose process is gone is PostgreSQL's to
// judge; one whose process id now belongs to another program is removed, for
// PostgreSQL would take that program for a server.
func (s *Server) Recover() error {
	lock := filepath.Join(s.Dir, "postmaster.pid")
	raw, err := os.ReadFile(lock)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return brokenFolder(s.Dir, "postmaster.pid is unreadable")
	}
	running := procs.Alive(pid)
	if running && strings.Contains(procs.Command(pid), s.Dir) {
		if err := procs.End(pid, syscall.SIGINT, stopGrace); err != nil {
			return fmt.Errorf("a PostgreSQL server left running in %s: %w", s.Dir, err)
		}
		running = false
	}
	if !procs.AwaitNoneIn(s.Dir, stopGrace) {
		return fmt.Errorf("a PostgreSQL server is still ending in %s: try again in a moment", s.Dir)
	}
	if !running {
		return nil
	}
	if err := os.Remove(lock); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

// Command returns the server process, not yet started. SIGINT asks it for a
// fast, clean shutdown; the kernel sends it that when its parent dies.
func (s *Server) Command() *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.install.Bin, "postgres"),
		"-D", s.Dir,
		"-c", "listen_addresses=127.0.0.1",
		"-c", "port="+strconv.Itoa(s.Port),
		"-c", "unix_socket_directories="+socketDir(s.Dir),
		"-c", "max_connections=300",
		"-c", "shared_buffers=256MB",
		"-c", "max_wal_size=2GB",
		// New tables grow fast here: plans made for empty ones must not last.
		"-c", "autovacuum_naptime=5s",
		// The disk is a solid one, or in memory.
		"-c", "random_page_cost=1.1",
		"-c", "logging_collector=off",
		"-c", "log_checkpoints=off",
		// A failed statement is its caller's to report; the server's line on it
		// could carry the statement's values.
		"-c", "log_min_messages=log",
		"-c", "log_min_error_statement=panic",
		"-c", "log_error_verbosity=terse",
	)
	cmd.Dir = s.Dir
	cmd.SysProcAttr = procs.Attr(s.user, syscall.SIGINT)
	return cmd
}

// URL returns the connection string of a database on this server for its
// superuser.
func (s *Server) URL(database string) string { return URL(s.Port, database) }

// URL returns the connection string of a database on a server made here that
// listens on port.
func URL(port int, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(Superuser),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Path:     database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// socketDir returns the folder for the Unix socket: the data folder, or none
// where the path would not fit into a socket address (107 bytes on Linux).
func socketDir(dir string) string {
	if len(dir) > 80 {
		return ""
	}
	return dir
}

// locale has the letters of all languages in lower(), whatever the user's own
// one is. macOS knows it by another name.
func locale() string {
	if runtime.GOOS == "darwin" {
		return "en_US.UTF-8"
	}
	return "C.UTF-8"
}

// Ping returns nil when the server at url takes a connection and answers.
func Ping(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return conn.Ping(ctx)
}

// CreateDatabase makes the database that url names, by way of the server's
// database postgres, unless it is there already.
func CreateDatabase(ctx context.Context, rawURL string) error {
	config, err := pgx.ParseConfig(rawURL)
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	name := config.Database
	config.Database = "postgres"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		// A user may have its own database and nothing else.
		if Ping(ctx, rawURL) == nil {
			return nil
		}
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		return fmt.Errorf("look up database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}
