package ledger

import (
	"fmt"
	"time"
)

// BreakerWindow is how many of a run's newest outcomes the circuit breaker looks at, and BreakerMinimum from how many on
// it judges.
const (
	BreakerWindow  = 200
	BreakerMinimum = 50
)

// CanaryThreshold is the percentage of failures that a canary tolerates where the breaker is off.
const CanaryThreshold = 20

// CanaryReason begins the reason of a pause after a canary that failed: a resume overrules it.
const CanaryReason = "canary: "

// Breaker says what failures stop a run.
type Breaker struct {
	Threshold      int       // in percent of the newest outcomes; 0: the breaker is off
	Since          time.Time // outcomes up to it are not judged; zero: all are
	CanaryPercent  int       // of those who may be sent to, sent and awaited first; 0: none
	CanaryPassedAt *time.Time
}

// Tolerated is how many failures among so many outcomes do not stop the run yet.
func (b Breaker) Tolerated(outcomes int) int { return outcomes * b.Threshold / 100 }

// Trips reports whether the newest outcomes stop the run.
func (b Breaker) Trips(o Outcomes) bool {
	return b.Threshold > 0 && o.Decided >= BreakerMinimum && o.Failed > b.Tolerated(o.Decided)
}

// CanaryPending reports whether nothing beyond the canary may be sent yet.
func (b Breaker) CanaryPending() bool { return b.CanaryPercent > 0 && b.CanaryPassedAt == nil }

// CanarySize is how many of those who may be sent to the canary takes: at least one.
func (b Breaker) CanarySize(sendable int) int { return max(1, (sendable*b.CanaryPercent+99)/100) }

// CanaryFails reports whether the outcomes of the whole canary stop the run. A canary without any passes: nothing speaks
// against going on.
func (b Breaker) CanaryFails(o Outcomes) bool { return o.Failed*100 > o.Decided*b.CanaryTolerates() }

// CanaryTolerates is the percentage of failures up to which a canary passes.
func (b Breaker) CanaryTolerates() int {
	if b.Threshold > 0 {
		return b.Threshold
	}
	return CanaryThreshold
}

// Outcomes counts messages that were delivered or failed. A person who does not want messages is neither.
type Outcomes struct {
	Decided int
	Failed  int
	Code    int // the provider's commonest error among the failures; 0 when it gave none
}

// Describe tells an operator how many failed and why. which names the outcomes, such as "the last 200"; meaning explains a
// code of the provider's.
func (o Outcomes) Describe(which string, threshold int, meaning func(code int) string) string {
	text := fmt.Sprintf("%d of %s outcomes failed (threshold %d %%)", o.Failed, which, threshold)
	if o.Code != 0 {
		text += fmt.Sprintf(", most often with error %d: %s", o.Code, meaning(o.Code))
	}
	return text
}

// Canary is how far the first part of a run is.
type Canary struct {
	Sendable   int       // all that may be sent to
	Dispatched int       // of them, how many are in a batch
	Waiting    int       // of those, how many are not decided, nor their receipts overdue
	LastMoved  time.Time // with Waiting: when the last of them changed
	FirstDue   time.Time // with Waiting: when the first of them has something to do
	Outcomes   Outcomes
}
