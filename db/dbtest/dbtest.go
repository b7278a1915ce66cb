// Package dbtest gives each test a real, migrated PostgreSQL database of its own.
package dbtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/internal/suppression"
)

// Keys are what the stores of tests hash suppressed numbers under.
var Keys = suppression.NewKeys("a key that only tests know: 1234567890")

// New returns a store on a fresh database that is dropped when the test ends. The server is the one of
// TEST_DATABASE_URL; without it the test fails, as a skipped test proves nothing. The database runs in a time zone that
// exposes whoever assumes UTC.
func New(t testing.TB) *db.Store {
	t.Helper()
	store, err := db.Open(t.Context(), URL(t), db.SuppressionKeys(Keys))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	return store
}

// URL is New for tests that connect by themselves.
func URL(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Fatal("TEST_DATABASE_URL is not set: `make test` starts a PostgreSQL and sets it")
	}
	template, err := makeTemplate(server)
	require.NoError(t, err)
	name := "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	require.NoError(t, exec(server, "CREATE DATABASE "+name+" TEMPLATE "+template))
	require.NoError(t, exec(server, "ALTER DATABASE "+name+" SET timezone TO 'Asia/Kathmandu'"))
	t.Cleanup(func() { _ = exec(server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return withDatabase(server, name)
}

var (
	templateOnce sync.Once
	templateName string
	errTemplate  error
)

// makeTemplate migrates one database per test process, which the tests' own are copies of.
func makeTemplate(server string) (string, error) {
	templateOnce.Do(func() {
		templateName = fmt.Sprintf("template_%d_%d", os.Getpid(), time.Now().UnixNano())
		if errTemplate = exec(server, "CREATE DATABASE "+templateName); errTemplate != nil {
			return
		}
		var store *db.Store
		if store, errTemplate = db.Open(context.Background(), withDatabase(server, templateName)); errTemplate != nil {
			return
		}
		_, _, errTemplate = store.Migrate(context.Background(), -1)
		store.Close()
	})
	return templateName, errTemplate
}

func exec(server, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

func withDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	u.Path = "/" + name
	return u.String()
}
