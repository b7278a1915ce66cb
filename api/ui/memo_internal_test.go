package ui

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMemo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	hurry := patience{age: time.Hour, old: time.Hour}
	patient := patience{wait: time.Minute}
	var m memo[int]
	var counts atomic.Int64
	release := make(chan struct{})
	count := func(context.Context) (int, error) {
		n := counts.Add(1)
		<-release
		return int(n), nil
	}
	_, known, err := m.get(ctx, hurry, "a", count)
	require.NoError(t, err)
	require.False(t, known, "nobody waits for the first count")
	_, known, err = m.get(ctx, hurry, "a", count)
	require.NoError(t, err)
	require.False(t, known)
	close(release)
	v, known, err := m.get(ctx, patient, "a", count)
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, 1, v, "all who ask meanwhile get the one count")
	v, _, err = m.get(ctx, hurry, "a", count)
	require.NoError(t, err)
	require.Equal(t, 1, v, "kept")
	v, _, err = m.get(ctx, patient, "a", count)
	require.NoError(t, err)
	require.Equal(t, 2, v, "counted anew where nothing is kept")
	v, _, err = m.get(ctx, patient, "b", count)
	require.NoError(t, err)
	require.Equal(t, 3, v, "each key by itself")

	failed := errors.New("no answer")
	_, _, err = m.get(ctx, patient, "c", func(context.Context) (int, error) { return 0, failed })
	require.ErrorIs(t, err, failed)
	_, _, err = m.get(ctx, patient, "c", func(context.Context) (int, error) { panic("at the disco") })
	require.ErrorContains(t, err, "memo_internal_test.go", "a panic ends the count, not the process, and tells where it was")
	require.NotContains(t, err.Error(), "disco", "its text may hold anything")
	v, _, err = m.get(ctx, patient, "c", func(context.Context) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, v)

	gone, cancel := context.WithCancel(ctx)
	cancel()
	v, known, err = m.get(gone, patient, "d", func(ctx context.Context) (int, error) { return 8, ctx.Err() })
	if known {
		require.Equal(t, 8, v)
	} else {
		require.ErrorIs(t, err, context.Canceled)
	}
	v, _, err = m.get(ctx, patient, "d", func(context.Context) (int, error) { return 9, nil })
	require.NoError(t, err, "who leaves does not take the count with them")
	require.Positive(t, v)
}
