package db_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBoundBeyondTheColumn(t *testing.T) {
	t.Parallel()
	b := open(t)
	_, err := b.CreateSegment(t.Context(), "Cities", json.RawMessage(`{"city": "Colombo"}`), noon)
	require.NoError(t, err)
	for after, want := range map[int64]int{1 << 32: 1, -1 << 32: 0} {
		found, err := b.Segments(t.Context(), &after, 10)
		require.NoError(t, err)
		require.Len(t, found, want, after)
	}
}
