package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/workflows"
)

// retentionInterval is between two looks for what was kept for long enough.
const retentionInterval = time.Hour

// syncCatchup is for how long a look at the templates that was missed is worth making up for: one is as good as many.
const syncCatchup = time.Minute

// EnsureSchedules makes the schedules that Temporal is to keep. That of retention stays as it is when it is there, so that
// operators may pause it or change when it runs. That of the templates runs as often as syncEvery says, with 0 it is
// removed; it may be paused.
func EnsureSchedules(ctx context.Context, c client.Client, syncEvery time.Duration) error {
	if err := ensureRetention(ctx, c); err != nil {
		return fmt.Errorf("schedule of retention: %w", err)
	}
	if err := ensureTemplateSync(ctx, c, syncEvery); err != nil {
		return fmt.Errorf("schedule of the templates' sync: %w", err)
	}
	return nil
}

func ensureRetention(ctx context.Context, c client.Client) error {
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:      workflows.RetentionID,
		Spec:    client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: retentionInterval}}},
		Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
		Note:    "Empties what webhooks said, and what people wrote, once it was kept for long enough.",
		Action: &client.ScheduleWorkflowAction{
			ID: workflows.RetentionID, Workflow: workflows.Retention, TaskQueue: workflows.TaskQueue, StaticSummary: "Retention",
		},
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return nil
	}
	return err
}

func ensureTemplateSync(ctx context.Context, c client.Client, every time.Duration) error {
	handle := c.ScheduleClient().GetHandle(ctx, workflows.TemplateSyncID)
	if every == 0 {
		err := handle.Delete(ctx)
		if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
			return nil
		}
		return err
	}
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: workflows.TemplateSyncID, Spec: spec, Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: syncCatchup,
		Note: "Looks at all of the provider's templates, and what became of their approvals.",
		Action: &client.ScheduleWorkflowAction{
			ID: workflows.TemplateSyncID, Workflow: workflows.TemplateSync, TaskQueue: workflows.TaskQueue, Args: []any{outbox.Sync{}},
			StaticSummary: "Look at the provider's templates",
		},
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return err
	}
	return handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		is := in.Description.Schedule
		if is.Spec != nil && len(is.Spec.Intervals) == 1 && is.Spec.Intervals[0].Every == every {
			return nil, temporal.ErrSkipScheduleUpdate
		}
		is.Spec = &spec
		return &client.ScheduleUpdate{Schedule: &is}, nil
	}})
}
