// Package postgres finds, starts and stops a PostgreSQL server for local use:
// the one-command stack and the tests. Durability settings stay at their safe
// defaults: what is proved on this server holds on a real one.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Install is one installed PostgreSQL: the folder of its server binaries and
// its major version.
type Install struct {
	Bin   string
	Major int
}

// ErrNotFound says that no usable PostgreSQL is installed and none could be
// installed. Its text tells the reader what to do.
var ErrNotFound = errors.New("PostgreSQL is not installed")

// oldest is the oldest major version that the product is tested on.
const oldest = 15

// candidates are the places where packages put the server binaries. Debian
// keeps them off the PATH, one folder a major version.
var candidates = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/opt/homebrew/opt/postgresql/bin",
	"/usr/local/opt/postgresql/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// Find returns every installed PostgreSQL that is new enough, newest first.
func Find(ctx context.Context) []Install {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range candidates {
		if found, err := filepath.Glob(pattern); err == nil {
			dirs = append(dirs, found...)
		}
	}
	return newest(dirs, func(dir string) (int, bool) {
		for _, name := range []string{"postgres", "initdb"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.IsDir() {
				return 0, false
			}
		}
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
		if err != nil {
			return 0, false
		}
		return parseMajor(string(out))
	})
}

// newest keeps the folders in which version finds a server that is new
// enough, one a major version, newest first; of equals the first folder wins.
func newest(dirs []string, version func(dir string) (int, bool)) []Install {
	var found []Install
	for _, dir := range dirs {
		major, ok := version(dir)
		if !ok || major < oldest || slices.ContainsFunc(found, func(i Install) bool { return i.Major == major }) {
			continue
		}
		found = append(found, Install{Bin: dir, Major: major})
	}
	slices.SortStableFunc(found, func(a, b Install) int { return b.Major - a.Major })
	return found
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// parseMajor reads the major version from the output of `postgres --version`.
func parseMajor(out string) (int, bool) {
	m := versionPattern.FindStringSubmatch(out)
	if m == nil {
		return 0, false
	}
	major, err := strconv.Atoi(m[1])
	return major, err == nil
}

// choose returns the installation for a data folder of the given major
// version; 0 means that the folder is yet to be made and the newest serves.
func choose(found []Install, major int) (Install, error) {
	for _, i := range found {
		if major == 0 || i.Major == major {
			return i, nil
		}
	}
	if major == 0 {
		return Install{}, fmt.Errorf("%w: %s", ErrNotFound, instructions(runtime.GOOS, os.Geteuid() == 0))
	}
	return Install{}, fmt.Errorf("the data folder was made by PostgreSQL %d, which is not installed: install it, or start anew with `make reset`", major)
}

// instructions tells how to get PostgreSQL where this program cannot install
// it by itself. The paths for macOS and for Linux without root have not been
// tried on such machines.
func instructions(goos string, root bool) string {
	switch {
	case goos == "darwin":
		return "run `brew install postgresql@16` (or install Postgres.app) and try again, or set DATABASE_URL to a server of yours"
	case goos == "linux" && !root:
		return "run `sudo apt-get install postgresql` (Fedora: `sudo dnf install postgresql-server`) and try again, or set DATABASE_URL to a server of yours"
	default:
		return fmt.Sprintf("install PostgreSQL %d or newer with the system's package manager and try again, or set DATABASE_URL to a server of yours", oldest)
	}
}

// Ensure returns the installed PostgreSQLs, installing Debian's package first
// when there is none and this program may: as root, with apt-get.
func Ensure(ctx context.Context, log io.Writer) ([]Install, error) {
	if found := Find(ctx); len(found) > 0 {
		return found, nil
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return nil, nil //nolint:nilerr // there is no way to install it; choose says so
	}
	fmt.Fprintln(log, "PostgreSQL is not installed; installing Debian's package (apt-get install postgresql)")
	for _, args := range [][]string{
		{"update", "-qq"},
		{"install", "-y", "-qq", "--no-install-recommends", "postgresql"},
	} {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("apt-get %s: %w: %s", args[0], err, lastLine(out))
		}
	}
	return Find(ctx), nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
