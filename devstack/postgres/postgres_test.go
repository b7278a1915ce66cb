package postgres

import (
	"bytes"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestParseMajor(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 17beta1\n":                        17,
		"postgres (EnterpriseDB) 16\n":                           0,
		"":                                                       0,
	} {
		got, ok := parseMajor(out)
		require.Equal(t, want, got, out)
		require.Equal(t, want != 0, ok, out)
	}
}

func TestNewestAndChoose(t *testing.T) {
	t.Parallel()
	versions := map[string]int{"/a": 15, "/b": 17, "/c": 17, "/d": 16, "/old": 12}
	found := newest([]string{"/none", "/a", "/b", "/c", "/d", "/old"}, func(dir string) (int, bool) {
		major, ok := versions[dir]
		return major, ok
	})
	require.Equal(t, []Install{{"/b", 17}, {"/d", 16}, {"/a", 15}}, found)

	got, err := choose(found, 0)
	require.NoError(t, err)
	require.Equal(t, 17, got.Major)
	got, err = choose(found, 15)
	require.NoError(t, err)
	require.Equal(t, "/a", got.Bin)
	_, err = choose(found, 14)
	require.ErrorContains(t, err, "PostgreSQL 14, which is not installed")
	_, err = choose(nil, 0)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestInstructions(t *testing.T) {
	t.Parallel()
	require.Contains(t, instructions("darwin", false), "brew install")
	require.Contains(t, instructions("linux", false), "sudo apt-get install")
	require.Contains(t, instructions("freebsd", true), "DATABASE_URL")
}

func TestUnprivileged(t *testing.T) {
	t.Parallel()
	known := map[string]*user.User{"nobody": {Uid: "65534", Gid: "65533"}}
	lookup := func(name string) (*user.User, error) {
		if u := known[name]; u != nil {
			return u, nil
		}
		return nil, errors.New("unknown user")
	}
	credential, err := unprivileged(lookup)
	require.NoError(t, err)
	require.EqualValues(t, 65534, credential.Uid)
	require.EqualValues(t, 65533, credential.Gid)

	known = nil
	_, err = unprivileged(lookup)
	require.ErrorContains(t, err, "does not run as root")
}

func TestReachable(t *testing.T) {
	t.Parallel()
	base, err := os.MkdirTemp("", "ese-reachable-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(base)) })
	dir := filepath.Join(base, "checkout", ".local", "postgres")
	require.NoError(t, os.Chmod(base, 0o755))
	require.Equal(t, dir, reachable(dir))
	require.NoError(t, os.Chmod(base, 0o700))
	require.NotContains(t, reachable(dir), base+"/")
	require.Contains(t, reachable(dir), "checkout-.local-postgres")
}

func TestFolderVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got, err := folderVersion(filepath.Join(dir, "missing"))
	require.NoError(t, err)
	require.Zero(t, got)
	got, err = folderVersion(dir)
	require.NoError(t, err)
	require.Zero(t, got, "an empty folder is as good as none")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "photo.jpg"), nil, 0o600))
	_, err = folderVersion(dir)
	require.ErrorContains(t, err, "is broken (PG_VERSION is missing)")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("16\n"), 0o600))
	_, err = folderVersion(dir)
	require.ErrorContains(t, err, "pg_control")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "global"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "global", "pg_control"), nil, 0o600))
	got, err = folderVersion(dir)
	require.NoError(t, err)
	require.Equal(t, 16, got)
}

func TestThrowawayServer(t *testing.T) {
	t.Parallel()
	server, err := StartThrowaway(t.Context())
	require.NoError(t, err)
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			require.NoError(t, server.Stop())
		}
	})
	require.NoError(t, CreateDatabase(t.Context(), server.URL("made")))
	require.NoError(t, CreateDatabase(t.Context(), server.URL("made")), "it is there already")

	conn, err := pgx.Connect(t.Context(), server.URL("made"))
	require.NoError(t, err)
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var value string
		require.NoError(t, conn.QueryRow(t.Context(), "SHOW "+setting).Scan(&value))
		require.Equal(t, "on", value, setting)
	}
	require.NoError(t, conn.Close(t.Context()))

	// A second server in the same folder ends the first one's rule over it.
	var log bytes.Buffer
	port, err := FreePort()
	require.NoError(t, err)
	heir, err := Prepare(t.Context(), Options{Dir: server.Dir, Port: port, Log: &log})
	require.NoError(t, err)
	require.Empty(t, log.String())
	<-server.exited
	require.Equal(t, server.Dir, heir.Dir)

	// A lock whose process id now belongs to another program, this one.
	lock := filepath.Join(server.Dir, "postmaster.pid")
	require.NoError(t, os.WriteFile(lock, []byte(strconv.Itoa(os.Getpid())+"\n"+server.Dir+"\n"), 0o600))
	require.NoError(t, heir.Recover())
	require.NoFileExists(t, lock)

	require.NoError(t, server.Stop())
	stopped = true
	require.NoDirExists(t, server.folder)
}
