package workflows

import (
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// This file alone calls activities and child workflows: Temporal does not check their arguments, these functions do.
//
// What only touches our database and, for the send, the provider once, runs as a local activity: half the cost for
// the server, and being run again does no harm. What waits for others is a regular activity, whose retries one can see.

var (
	dispatch *activities.Dispatch
	delivery *activities.Delivery
	imports  *activities.Imports
	private  *activities.Privacy

	templates *activities.Templates
	drip      *activities.Drip
)

// forever retries until it works: a database or a provider that is down comes back.
var forever = &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute}

// outage is the longest time for which local activities are tried again. Unless it is given, they have as long for all
// tries together as for one.
const outage = 365 * 24 * time.Hour

func local(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: 30 * time.Second, ScheduleToCloseTimeout: outage, RetryPolicy: forever, Summary: summary,
	})
}

func regular(ctx workflow.Context, timeout time.Duration, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: timeout, RetryPolicy: forever, Summary: summary,
	})
}

func planRun(ctx workflow.Context, in activities.PlanInput) (out activities.Plan, err error) {
	err = workflow.ExecuteLocalActivity(local(ctx, "what the run does next"), dispatch.PlanRun, in).Get(ctx, &out)
	return out, err
}

func freezeAudience(ctx workflow.Context, in outbox.Run) error {
	return workflow.ExecuteActivity(regular(ctx, 10*time.Minute, "write the audience into the ledger"), dispatch.FreezeAudience, in).Get(ctx, nil)
}

func batchSeqs(ctx workflow.Context, in activities.PlanInput) (out []int, err error) {
	err = workflow.ExecuteLocalActivity(local(ctx, "the batch's messages"), dispatch.BatchSeqs, in).Get(ctx, &out)
	return out, err
}

func steer(ctx workflow.Context, in activities.SteerInput) (out campaign.Steering, err error) {
	err = workflow.ExecuteActivity(regular(ctx, 10*time.Minute, string(in.To)), dispatch.Steer, in).Get(ctx, &out)
	return out, err
}

func setRate(ctx workflow.Context, in activities.SetRateInput) error {
	return workflow.ExecuteActivity(regular(ctx, time.Minute, "set the rate"), dispatch.SetRate, in).Get(ctx, nil)
}

func checkCompliance(ctx workflow.Context, in activities.Message) (out activities.Next, err error) {
	err = workflow.ExecuteLocalActivity(local(ctx, "may it be sent now?"), delivery.CheckCompliance, in).Get(ctx, &out)
	return out, err
}

func sendMessage(ctx workflow.Context, in activities.Message) (out activities.Next, err error) {
	err = workflow.ExecuteLocalActivity(local(ctx, "send"), delivery.SendMessage, in).Get(ctx, &out)
	return out, err
}

func resolveAttempt(ctx workflow.Context, in activities.Message) (out activities.Next, err error) {
	err = workflow.ExecuteActivity(regular(ctx, time.Minute, "was it accepted?"), delivery.ResolveAttempt, in).Get(ctx, &out)
	return out, err
}

func fetchReceipt(ctx workflow.Context, in activities.Message) (out activities.Next, err error) {
	err = workflow.ExecuteActivity(regular(ctx, time.Minute, "ask the provider for the overdue receipt"), delivery.FetchReceipt, in).Get(ctx, &out)
	return out, err
}

func sweepReceipts(ctx workflow.Context, in outbox.Run) error {
	return workflow.ExecuteActivity(regular(ctx, 2*time.Minute, "ask the provider for overdue receipts"), delivery.SweepReceipts, in).Get(ctx, nil)
}

func startOccurrence(ctx workflow.Context, in activities.Occurrence) (out string, err error) {
	err = workflow.ExecuteActivity(regular(ctx, time.Minute, "open the occurrence's run"), dispatch.StartOccurrence, in).Get(ctx, &out)
	return out, err
}

func takeStep(ctx workflow.Context, in outbox.Enrolment) (out activities.Next, err error) {
	err = workflow.ExecuteLocalActivity(local(ctx, "the next step"), drip.TakeStep, in).Get(ctx, &out)
	return out, err
}

func processImport(ctx workflow.Context, in outbox.Import) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: 15 * time.Second, RetryPolicy: forever, Summary: "take the rows in",
	})
	return workflow.ExecuteActivity(ctx, imports.ProcessImport, in).Get(ctx, nil)
}

func failImport(ctx workflow.Context, in outbox.Import) error {
	return workflow.ExecuteActivity(regular(ctx, time.Minute, "record the failure"), imports.FailImport, in).Get(ctx, nil)
}

func eraseCopies(ctx workflow.Context, in outbox.Erasure) (out activities.ErasureStep, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Hour, HeartbeatTimeout: time.Minute, RetryPolicy: forever, Summary: "have the provider's copies removed",
	})
	err = workflow.ExecuteActivity(ctx, private.EraseCopies, in).Get(ctx, &out)
	return out, err
}

func retire(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: 5 * time.Minute, RetryPolicy: forever, Summary: "empty what was kept for long enough",
	})
	return workflow.ExecuteActivity(ctx, private.Retire).Get(ctx, nil)
}

func advanceApproval(ctx workflow.Context, in outbox.Template) (out activities.Next, err error) {
	err = workflow.ExecuteActivity(regular(ctx, 2*time.Minute, "submit the template, or see whether it is approved"), templates.AdvanceApproval, in).Get(ctx, &out)
	return out, err
}

func syncContents(ctx workflow.Context) error {
	return workflow.ExecuteActivity(regular(ctx, 10*time.Minute, "look at the provider's templates"), templates.SyncContents).Get(ctx, nil)
}

// executeBatch starts a batch that lives on when this workflow's run ends.
func executeBatch(ctx workflow.Context, in BatchInput) workflow.ChildWorkflowFuture {
	ctx = child(ctx, BatchID(in.Run, in.Batch), fmt.Sprintf("Campaign %d, run %d: batch %d", in.CampaignID, in.Number, in.Batch))
	return workflow.ExecuteChildWorkflow(ctx, Batch, in)
}

// executeRecipient starts a recipient that lives on when its batch ends.
func executeRecipient(ctx workflow.Context, m activities.Message) workflow.ChildWorkflowFuture {
	ctx = child(ctx, RecipientID(m), fmt.Sprintf("Campaign %d, run %d: recipient %d", m.CampaignID, m.Number, m.Seq))
	return workflow.ExecuteChildWorkflow(ctx, Recipient, RecipientInput{Message: m, SendFirst: true})
}

// child names a child workflow. It may be started again under the same id: the ledger keeps things exact, not the id.
func child(ctx workflow.Context, id, summary string) workflow.Context {
	return workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: id, StaticSummary: summary, ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	})
}
