package db_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const tables = `SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public' AND table_name <> 'goose_db_version'`
	all := get[int64](t, b, tables)
	require.Greater(t, all, int64(20))

	for range 2 {
		newest, zero, err := b.Migrate(ctx, 0)
		require.NoError(t, err)
		require.Zero(t, zero)
		require.Zero(t, get[int64](t, b, tables), "what goes up comes down")
		migrated, err := b.Migrated(ctx)
		require.NoError(t, err)
		require.False(t, migrated)

		from, to, err := b.Migrate(ctx, -1)
		require.NoError(t, err)
		require.Zero(t, from)
		require.Equal(t, newest, to)
		require.Equal(t, all, get[int64](t, b, tables))
	}
	migrated, err := b.Migrated(ctx)
	require.NoError(t, err)
	require.True(t, migrated)

	newest, to, err := b.Migrate(ctx, 1)
	require.NoError(t, err)
	require.EqualValues(t, 1, to)
	from, to, err := b.Migrate(ctx, newest)
	require.NoError(t, err)
	require.EqualValues(t, 1, from)
	require.Equal(t, newest, to)
}

func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	newest, _, err := b.Migrate(ctx, 0)
	require.NoError(t, err)
	var wg sync.WaitGroup
	errs, versions := make([]error, 2), make([]int64, 2)
	for i := range errs {
		wg.Go(func() { _, versions[i], errs[i] = b.Migrate(ctx, -1) })
	}
	wg.Wait()
	for i := range errs {
		require.NoError(t, errs[i], "one works while the other waits")
		require.Equal(t, newest, versions[i])
	}
}

// A statement that takes longer than its limit is ended by the server.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	store, err := db.Open(t.Context(), url, db.StatementTimeout(50*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	other, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close(context.WithoutCancel(t.Context())) })
	_, err = other.Exec(t.Context(), `BEGIN; LOCK TABLE campaign_runs`)
	require.NoError(t, err)
	_, err = store.Run(t.Context(), 1)
	require.ErrorContains(t, err, "57014", "query_canceled, long before the lock is free")
}

// TestDeletionsAreRefusedInWords: whatever keeps something from being deleted that people delete has a sentence of its own.
func TestDeletionsAreRefusedInWords(t *testing.T) {
	t.Parallel()
	b := open(t)
	keys := get[[]string](t, b, `SELECT array_agg(conname::text) FROM pg_constraint
		WHERE contype = 'f' AND confdeltype IN ('a', 'r') AND confrelid::regclass::text IN ('segments', 'templates', 'template_versions', 'topics')`)
	require.Greater(t, len(keys), 5)
	for _, key := range keys {
		require.Contains(t, db.Conflicts, key)
	}
}
