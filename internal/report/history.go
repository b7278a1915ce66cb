package report

import (
	"time"
)

// steps are the lengths that a history may be divided by.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// MaxSteps is how many steps a history has at most, but where they would be longer than a day.
const MaxSteps = 120

// MaxHistory is how long a history is at most.
const MaxHistory = MaxSteps * 24 * time.Hour

// NewHistory divides a span of time into steps in which nothing happened yet. A span of more than MaxHistory is cut off at
// its end.
func NewHistory(since, until time.Time) History {
	span := min(until.Sub(since), MaxHistory)
	h := History{Step: steps[len(steps)-1]}
	for _, step := range steps {
		if span <= (MaxSteps-1)*step {
			h.Step = step
			break
		}
	}
	h.Since = since.Truncate(h.Step)
	for at := h.Since; at.Before(h.Since.Add(span)) || len(h.Steps) == 0; at = at.Add(h.Step) {
		h.Steps = append(h.Steps, HistoryStep{At: at})
	}
	return h
}

// Until is where the history ends.
func (h History) Until() time.Time { return h.Since.Add(time.Duration(len(h.Steps)) * h.Step) }

// At is the step that a moment falls into; nil when it is outside of the history.
func (h History) At(at time.Time) *HistoryStep {
	i := int(at.Sub(h.Since) / h.Step)
	if at.Before(h.Since) || i >= len(h.Steps) {
		return nil
	}
	return &h.Steps[i]
}
