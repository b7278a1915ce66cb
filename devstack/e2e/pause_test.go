package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/pace"
)

// A campaign at 50/s is paused at random moments, again and again. Once a pause is answered the provider accepts nothing
// more, the answer's figures are the provider's, and going on ends with one message each. PAUSES=20 pauses one of 2,000
// twenty times; without it a smaller one is paused three times.
func TestPauses(t *testing.T) {
	pauses, n := 3, 300
	if asked := os.Getenv("PAUSES"); asked != "" {
		var err error
		pauses, err = strconv.Atoi(asked)
		require.NoError(t, err, "PAUSES")
		n = 2000
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	w := newWorld(t, nil)
	persons := w.people("+9477", "Pauseville", n)
	c := w.campaign("Pauseville", object{"rate_limit_per_second": 50})
	w.trigger(c)
	path := fmt.Sprintf("/api/v1/campaigns/%d/", c)
	var quiet []pace.Span
	for i := range pauses {
		// Each pause has a stretch of the campaign of its own; the last tenth has none, so that none comes too late.
		reach := int((float64(i) + random.Float64()) / float64(pauses) * 0.9 * float64(n))
		w.until("the campaign to go on", func() bool { return w.accepted() >= reach })
		<-time.After(time.Duration(random.IntN(100)) * time.Millisecond) // waiting looks ten times a second: that is not random
		progress := w.api("POST", path+"pause", nil)
		answered := time.Now()
		w.until("two seconds to pass", func() bool { return time.Since(answered) > 2*time.Second })
		accepted := w.accepts()
		late := pace.Span{From: answered, To: time.Now()}.Count(accepted)
		require.Zero(t, late, "pause %d: accepted after its answer", i+1)
		require.EqualValues(t, len(accepted), progress["sent"], "pause %d: %v", i+1, progress)
		require.EqualValues(t, n-len(accepted), progress["remaining"], "pause %d: %v", i+1, progress)
		require.Equal(t, "PAUSED", progress["status"])
		quiet = append(quiet, pace.Span{From: answered, To: time.Now()})
		require.Equal(t, "RUNNING", w.api("POST", path+"resume", nil)["status"])
	}
	w.awaitDelivered(c, n)
	w.judge(persons)
	w.sumsUp(c, n)
	accepted := w.accepts()
	for i, span := range quiet {
		require.Zero(t, span.Count(accepted), "pause %d", i+1)
	}
}
