package main

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/workflows"
)

// pollerGone is how long ago a worker asked for work that is not there any more: each asks anew once a minute at least, and
// Temporal tells of those of the last minutes.
const pollerGone = 90 * time.Second

// taskQueues asks Temporal how the engine's task queue is served, for workflows and for activities.
func taskQueues(temporal client.Client, namespace string) func(ctx context.Context) ([]report.Queue, error) {
	kinds := []struct {
		name string
		kind enums.TaskQueueType
	}{{"workflows", enums.TASK_QUEUE_TYPE_WORKFLOW}, {"activities", enums.TASK_QUEUE_TYPE_ACTIVITY}}
	return func(ctx context.Context) ([]report.Queue, error) {
		var queues []report.Queue
		for _, k := range kinds {
			found, err := temporal.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
				Namespace: namespace, TaskQueue: &taskqueue.TaskQueue{Name: workflows.TaskQueue}, TaskQueueType: k.kind, ReportStats: true,
			})
			if err != nil {
				return nil, fmt.Errorf("task queue: %w", err)
			}
			workers := map[string]bool{}
			for _, p := range found.GetPollers() {
				if time.Since(p.GetLastAccessTime().AsTime()) < pollerGone {
					workers[p.GetIdentity()] = true
				}
			}
			stats := found.GetStats()
			queues = append(queues, report.Queue{
				Kind: k.name, Workers: len(workers), Backlog: int(stats.GetApproximateBacklogCount()), Oldest: stats.GetApproximateBacklogAge().AsDuration(),
				Added: float64(stats.GetTasksAddRate()), Dispatched: float64(stats.GetTasksDispatchRate()),
			})
		}
		return queues, nil
	}
}
