package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
)

// OccurrenceInput is what a recurring campaign's schedule starts a workflow with: the campaign, and the recurrence that
// the schedule was made by.
type OccurrenceInput struct {
	CampaignID int64               `json:"campaign_id"`
	Recurrence campaign.Recurrence `json:"recurrence"`
}

// scheduledStart is the moment that a schedule meant, however late it is; Temporal sets it.
var scheduledStart = temporal.NewSearchAttributeKeyTime("TemporalScheduledStartTime")

// Occurrence opens the run of a recurring campaign whose time has come. Whether there is to be one the ledger decides; the
// run has a workflow of its own.
func Occurrence(ctx workflow.Context, in OccurrenceInput) error {
	at, ok := workflow.GetTypedSearchAttributes(ctx).GetTime(scheduledStart)
	if !ok {
		at = workflow.GetInfo(ctx).WorkflowStartTime // someone started it by hand
	}
	outcome, err := startOccurrence(ctx, activities.Occurrence{
		CampaignID: in.CampaignID, Recurrence: in.Recurrence, At: at,
	})
	if err != nil {
		return err
	}
	workflow.SetCurrentDetails(ctx, outcome)
	return nil
}
