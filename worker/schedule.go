package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/event-stream-engine/ese/workflows"
)

// retentionInterval is between two looks for what was kept for long enough.
const retentionInterval = time.Hour

// EnsureSchedules makes the schedules that Temporal is to keep. One that is there stays as it is, so that operators may
// pause it or change when it runs.
func EnsureSchedules(ctx context.Context, c client.Client) error {
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:      workflows.RetentionID,
		Spec:    client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: retentionInterval}}},
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
		Note:    "Empties what webhooks said, and what people wrote, once it was kept for long enough.",
		Action: &client.ScheduleWorkflowAction{
			ID: workflows.RetentionID, Workflow: workflows.Retention, TaskQueue: workflows.TaskQueue, StaticSummary: "Retention",
		},
	})
	if err != nil && !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return fmt.Errorf("schedule of retention: %w", err)
	}
	return nil
}
