// Package worker builds the Temporal worker that runs every workflow and activity of the engine.
package worker

import (
	"time"

	"go.temporal.io/sdk/client"
	sdkworker "go.temporal.io/sdk/worker"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/workflows"
)

// Activities are the activities to serve, with all that they depend on.
type Activities struct {
	Dispatch *activities.Dispatch
	Delivery *activities.Delivery
	Imports  *activities.Imports
	Privacy  *activities.Privacy

	Templates *activities.Templates
	Drip      *activities.Drip
}

// New makes a worker that serves until it is stopped; activities under way then get grace to end. requests is how many the
// activities may have under way at the provider at once.
func New(c client.Client, a Activities, requests int, grace time.Duration) sdkworker.Worker {
	// A send holds its slot, and its workflow's, while it waits for the rate limits and for the provider's answer. A worker that
	// took more tasks than it has requests for would keep them from one that has.
	sends := 2 * requests
	w := sdkworker.New(c, workflows.TaskQueue, sdkworker.Options{
		MaxConcurrentLocalActivityExecutionSize: sends,
		MaxConcurrentActivityExecutionSize:      64,
		MaxConcurrentWorkflowTaskExecutionSize:  sends,
		// Two pollers, the library's default, cannot keep one worker busy.
		WorkflowTaskPollerBehavior: sdkworker.NewPollerBehaviorAutoscaling(sdkworker.PollerBehaviorAutoscalingOptions{
			InitialNumberOfPollers: 8, MinimumNumberOfPollers: 2, MaximumNumberOfPollers: 32,
		}),
		ActivityTaskPollerBehavior: sdkworker.NewPollerBehaviorAutoscaling(sdkworker.PollerBehaviorAutoscalingOptions{
			InitialNumberOfPollers: 2, MinimumNumberOfPollers: 1, MaximumNumberOfPollers: 16,
		}),
		WorkerStopTimeout: grace,
	})
	Register(w, a)
	return w
}

// Register tells a worker, or a test environment, of every workflow and activity.
func Register(r sdkworker.Registry, a Activities) {
	r.RegisterWorkflow(workflows.Campaign)
	r.RegisterWorkflow(workflows.Batch)
	r.RegisterWorkflow(workflows.Recipient)
	r.RegisterWorkflow(workflows.Import)
	r.RegisterWorkflow(workflows.Occurrence)
	r.RegisterWorkflow(workflows.Erasure)
	r.RegisterWorkflow(workflows.Retention)
	r.RegisterWorkflow(workflows.Approval)
	r.RegisterWorkflow(workflows.TemplateSync)
	r.RegisterWorkflow(workflows.Enrolment)
	r.RegisterActivity(a.Dispatch)
	r.RegisterActivity(a.Delivery)
	r.RegisterActivity(a.Imports)
	r.RegisterActivity(a.Privacy)
	r.RegisterActivity(a.Templates)
	r.RegisterActivity(a.Drip)
}
