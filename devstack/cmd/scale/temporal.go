package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/event-stream-engine/ese/devstack/measure"
)

// What no history may exceed.
const (
	eventsLimit = 4096
	bytesLimit  = 4 << 20
)

// history is the largest of a kind of workflow, by events and by bytes, which may be two; and what all of them add up to.
type history struct {
	events, bytes int64
	executions    int64
	all           struct{ events, bytes, transitions int64 }
}

func (h *history) add(e *workflow.WorkflowExecutionInfo) {
	h.executions++
	h.events = max(h.events, e.GetHistoryLength())
	h.bytes = max(h.bytes, e.GetHistorySizeBytes())
	h.all.events += e.GetHistoryLength()
	h.all.bytes += e.GetHistorySizeBytes()
	h.all.transitions += e.GetStateTransitionCount() // each is a transaction in Temporal's database
}

// sampled is how many of the recipients' histories are looked at one by one; of campaigns and batches it is all.
const sampled = 5000

// histories waits for the campaign's workflows to end, shows the largest of each kind and judges all of them: beyond the
// limits there may be none.
func (c *campaign) histories(ctx context.Context) error {
	ending, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	err := measure.Until(ending, time.Second, func() (bool, error) {
		now, err := c.count(ctx)
		return now.all == 0, err
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = nil // the open ones are described one by one
	}
	if err != nil {
		return err
	}
	worst := history{}
	for _, kind := range []struct {
		name string
		most int
	}{{"Campaign", 0}, {"Batch", 0}, {"Recipient", sampled}} {
		h, err := c.largest(ctx, kind.name, kind.most)
		if err != nil {
			return err
		}
		n := max(float64(h.executions), 1)
		c.figure("largest history of "+kind.name, "%d events, %.1f kB; %d looked at, on average %.1f events, %.1f kB, %.1f transitions",
			h.events, float64(h.bytes)/1e3, h.executions, float64(h.all.events)/n, float64(h.all.bytes)/1e3/n, float64(h.all.transitions)/n)
		worst.events, worst.bytes = max(worst.events, h.events), max(worst.bytes, h.bytes)
	}
	query := fmt.Sprintf("HistoryLength > %d OR HistorySizeBytes > %d", eventsLimit, bytesLimit)
	beyond, err := c.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
	if err != nil {
		return err
	}
	c.judge("histories", beyond.GetCount() == 0 && worst.events <= eventsLimit && worst.bytes <= bytesLimit && worst.events > 0,
		"%d executions beyond %d events or %d MB", beyond.GetCount(), eventsLimit, bytesLimit>>20)
	return nil
}

// largest looks at the executions of a kind, at most so many; 0 means all.
func (c *campaign) largest(ctx context.Context, kind string, most int) (h history, err error) {
	request := &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000, Query: fmt.Sprintf("WorkflowType = '%s'", kind)}
	for {
		page, err := c.temporal.ListWorkflow(ctx, request)
		if err != nil {
			return history{}, err
		}
		for _, e := range page.GetExecutions() {
			if e.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING { // the list knows the length of closed ones only
				described, err := c.temporal.DescribeWorkflowExecution(ctx, e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId())
				if err != nil {
					return history{}, err
				}
				e = described.GetWorkflowExecutionInfo()
			}
			h.add(e)
		}
		request.NextPageToken = page.GetNextPageToken()
		if len(request.GetNextPageToken()) == 0 || (most > 0 && h.executions >= int64(most)) {
			return h, nil
		}
	}
}
