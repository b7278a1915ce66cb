package report_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/report"
)

func TestNewHistory(t *testing.T) {
	t.Parallel()
	for span, step := range map[time.Duration]time.Duration{
		-time.Second: time.Second, 0: time.Second, time.Second: time.Second, 2 * time.Minute: 2 * time.Second, time.Hour: time.Minute, 24 * time.Hour: 30 * time.Minute,
		100 * 24 * time.Hour: 24 * time.Hour, 1000 * 24 * time.Hour: 24 * time.Hour,
	} {
		since := noon.Add(time.Millisecond)
		h := report.NewHistory(since, since.Add(span))
		require.Equal(t, step, h.Step, span)
		require.LessOrEqual(t, len(h.Steps), report.MaxSteps, span)
		require.NotEmpty(t, h.Steps, span)
		require.False(t, h.Steps[0].At.After(since), span)
		if span <= report.MaxHistory {
			require.NotNil(t, h.At(since), span)
		}
		require.Nil(t, h.At(h.Until()))
		require.Nil(t, h.At(h.Since.Add(-1)))
		require.Same(t, &h.Steps[len(h.Steps)-1], h.At(h.Until().Add(-1)))
	}
}
