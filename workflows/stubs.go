package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// This file alone calls activities: Temporal does not check their arguments, these functions do.
//
// What only touches our database and, for the first send, the provider once, runs as a local activity: half the cost for
// the server, and being run again does no harm. What waits for others is a regular activity, whose retries one can see.

var (
	dispatch *activities.Dispatch
	delivery *activities.Delivery
	imports  *activities.Imports
)

// forever retries until it works: a database or a provider that is down comes back.
var forever = &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute}

func local(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: 30 * time.Second, RetryPolicy: forever, Summary: summary,
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
	err = workflow.ExecuteActivity(regular(ctx, time.Minute, string(in.To)), dispatch.Steer, in).Get(ctx, &out)
	return out, err
}

func checkCompliance(ctx workflow.Context, in activities.Message) (out activities.Next, err error) {
	err = workflow.ExecuteLocalActivity(local(ctx, "may it be sent now?"), delivery.CheckCompliance, in).Get(ctx, &out)
	return out, err
}

func sendMessage(ctx workflow.Context, in activities.SendInput) (out activities.Next, err error) {
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

func processImport(ctx workflow.Context, in outbox.Import) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: time.Minute, RetryPolicy: forever, Summary: "take the rows in",
	})
	return workflow.ExecuteActivity(ctx, imports.ProcessImport, in).Get(ctx, nil)
}

func failImport(ctx workflow.Context, in outbox.Import) error {
	return workflow.ExecuteActivity(regular(ctx, time.Minute, "record the failure"), imports.FailImport, in).Get(ctx, nil)
}
