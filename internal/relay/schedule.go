package relay

import (
	"context"
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/workflows"
)

// syncSchedule makes Temporal know of a campaign's recurrence what the database does: it makes, changes or removes its
// schedule. Whoever changes the campaign meanwhile is heard too, so that two relays at once leave the newer state behind.
func (r *Relay) syncSchedule(ctx context.Context, campaignID int64) error {
	want, err := r.store.Schedule(ctx, campaignID)
	for err == nil {
		if err = r.putSchedule(ctx, campaignID, want); err != nil {
			break
		}
		var now campaign.Schedule
		if now, err = r.store.Schedule(ctx, campaignID); now == want {
			break
		}
		want = now
	}
	return err
}

// putSchedule makes the schedule what it is to be.
func (r *Relay) putSchedule(ctx context.Context, campaignID int64, want campaign.Schedule) error {
	handle := r.client.ScheduleClient().GetHandle(ctx, campaign.ScheduleID(campaignID))
	if want.Gone {
		err := handle.Delete(ctx)
		if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
			return nil
		}
		return err
	}
	made, err := r.makeSchedule(ctx, campaignID, want)
	if err != nil || made {
		return err
	}
	return handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		return &client.ScheduleUpdate{Schedule: schedule(campaignID, want)}, nil
	}})
}

// makeSchedule makes the schedule unless there is one, be it another one.
func (r *Relay) makeSchedule(ctx context.Context, campaignID int64, want campaign.Schedule) (made bool, err error) {
	s := schedule(campaignID, want)
	_, err = r.client.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: campaign.ScheduleID(campaignID), Spec: *s.Spec, Action: s.Action, Overlap: s.Policy.Overlap, CatchupWindow: s.Policy.CatchupWindow, Paused: s.State.Paused,
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return false, nil
	}
	return err == nil, err
}

// keepSchedule makes the schedule of a campaign that has lost it.
func (r *Relay) keepSchedule(ctx context.Context, campaignID int64) error {
	want, err := r.store.Schedule(ctx, campaignID)
	if err == nil && !want.Gone {
		_, err = r.makeSchedule(ctx, campaignID, want)
	}
	return err
}

func schedule(campaignID int64, want campaign.Schedule) *client.Schedule {
	return &client.Schedule{
		Spec: &client.ScheduleSpec{CronExpressions: []string{want.Cron}, TimeZoneName: want.Timezone},
		Action: &client.ScheduleWorkflowAction{
			ID: workflows.OccurrenceID(campaignID), TaskQueue: workflows.TaskQueue, Workflow: workflows.Occurrence,
			Args:          []any{workflows.OccurrenceInput{CampaignID: campaignID, Recurrence: want.Recurrence}},
			StaticSummary: fmt.Sprintf("Campaign %d: an occurrence", campaignID),
		},
		Policy: &client.SchedulePolicies{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: want.Catchup},
		State:  &client.ScheduleState{Paused: want.Paused},
	}
}
