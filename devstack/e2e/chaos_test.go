package e2e

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/chaos"
)

// Every kind of process is killed once while three campaigns run, the network breaks and the provider misbehaves; every
// promise is kept all the same.
func TestChaos(t *testing.T) {
	dir, err := os.MkdirTemp("", "ese-chaos-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) // PostgreSQL's own user must reach its folder
	var log bytes.Buffer
	report, err := chaos.Run(t.Context(), chaos.Options{
		Config:   chaos.Config{Seed: 1, Kills: 7, Campaigns: 3, Gap: 3 * time.Second},
		Binaries: binaries, Dir: dir, Patience: patience, Log: &log,
	})
	if err != nil {
		t.Log(log.String())
	}
	require.NoError(t, err)
	report.Print(&log)
	if report.Violations() > 0 {
		t.Fatalf("the data is in %s\n%s", dir, log.String())
	}
	require.Equal(t, 7, report.Killed)
	for _, check := range report.Checks {
		require.Positive(t, check.Looked, "nothing to judge: %s", check.Name)
	}
	require.NoError(t, os.RemoveAll(dir))
}
