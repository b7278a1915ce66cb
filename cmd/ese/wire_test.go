package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db/dbtest"
)

func TestObeyLaw(t *testing.T) {
	t.Parallel()
	store, file := dbtest.New(t), filepath.Join(t.TempDir(), "law.json")
	require.NoError(t, obeyLaw(store, ""))
	require.ErrorContains(t, obeyLaw(store, file), "LEGAL_WINDOWS")
	require.NoError(t, os.WriteFile(file, []byte(`{"LK": {"source": "ours", "hours": {"mon": "8-9"}}}`), 0o600))
	require.ErrorContains(t, obeyLaw(store, file), "LEGAL_WINDOWS: legal windows: LK")
	require.NoError(t, os.WriteFile(file, []byte(`{"LK": {"source": "ours", "hours": {"mon-sun": "08:00-20:00"}}}`), 0o600))
	require.NoError(t, obeyLaw(store, file))
}
