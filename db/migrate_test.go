package db_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
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
