package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// CampaignInput is one run of a campaign. Batches is how many batches it has started: what continue-as-new carries.
type CampaignInput struct {
	outbox.Run
	Batches int `json:"batches,omitempty"`
}

// SetRate is what the update of that name takes, and answers.
type SetRate struct {
	PerSecond int    `json:"per_second"` // messages; 1…1000
	By        string `json:"by"`         // who asks for it
}

// maxOpenBatches bounds the batches that are starting their recipients at the same time.
const maxOpenBatches = 4

// longHistory is after how many events a campaign goes on with a new history: well before Temporal suggests it, at 4,096,
// for what is under way then still adds some.
const longHistory = 3000

// Campaign carries out one run: it waits for its time, has the audience frozen, starts batches as fast as they can be
// sent, waits while it is paused or everyone's hours are quiet, and watches the ledger until all is decided.
func Campaign(ctx workflow.Context, in CampaignInput) error {
	c := &campaignRun{in: in}
	if err := c.listen(ctx); err != nil {
		return err
	}
	return c.run(ctx)
}

type campaignRun struct {
	in    CampaignInput
	plan  activities.Plan
	wakes int // how often something outside may have changed
	open  int // batches that are starting their recipients
}

// listen answers what reaches the workflow from outside.
func (c *campaignRun) listen(ctx workflow.Context) error {
	wake := workflow.GetSignalChannel(ctx, SignalWake)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for wake.Receive(ctx, nil) {
			c.wakes++
		}
	})
	for _, move := range []struct {
		update string
		to     campaign.Status
	}{{UpdatePause, campaign.Paused}, {UpdateResume, campaign.Running}, {UpdateCancel, campaign.Cancelled}} {
		err := workflow.SetUpdateHandlerWithOptions(ctx, move.update, func(ctx workflow.Context, by string) (campaign.Steering, error) {
			defer func() { c.wakes++ }()
			return steer(ctx, activities.SteerInput{Run: c.in.Run, To: move.to, By: by})
		}, workflow.UpdateHandlerOptions{
			Description: fmt.Sprintf("make the campaign %s", move.to),
			Validator:   func(_ workflow.Context, by string) error { return c.mayChange(by) },
		})
		if err != nil {
			return err
		}
	}
	err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateSetRate, func(ctx workflow.Context, in SetRate) (SetRate, error) {
		defer func() { c.wakes++ }()
		return in, setRate(ctx, activities.SetRateInput{Run: c.in.Run, PerSecond: in.PerSecond, By: in.By})
	}, workflow.UpdateHandlerOptions{
		Description: "change how many messages a second are sent of what remains",
		Validator: func(_ workflow.Context, in SetRate) error {
			if in.PerSecond < 1 || in.PerSecond > campaign.MaxRate {
				return temporal.NewApplicationError(fmt.Sprintf("per_second must be from 1 to %d", campaign.MaxRate), "invalid")
			}
			return c.mayChange(in.By)
		},
	})
	if err != nil {
		return err
	}
	return workflow.SetQueryHandlerWithOptions(ctx, QueryPlan, func() (activities.Plan, error) { return c.plan, nil },
		workflow.QueryHandlerOptions{Description: "what the run does next, and how far it is"})
}

// mayChange refuses what is certainly impossible. What else is, the ledger tells: only it knows how the campaign stands at
// this moment.
func (c *campaignRun) mayChange(by string) error {
	if by == "" {
		return temporal.NewApplicationError("say who asks for it", "invalid")
	}
	if s := c.plan.Status; s != "" && !s.Active() {
		return temporal.NewApplicationError(fmt.Sprintf("the campaign is %s: nothing of it can be changed", s), "conflict")
	}
	return nil
}

func (c *campaignRun) run(ctx workflow.Context) error {
	early := workflow.GetVersion(ctx, "continue-early", workflow.DefaultVersion, 1) >= 1
	for {
		seen := c.wakes
		plan, err := planRun(ctx, activities.PlanInput{Run: c.in.Run, Batch: c.in.Batches + 1})
		if err != nil {
			return err
		}
		c.plan = plan
		if plan.Progress != "" {
			workflow.SetCurrentDetails(ctx, plan.Progress)
		}
		switch plan.Action {
		case activities.FreezeAudience:
			err = freezeAudience(ctx, c.in.Run)
		case activities.StartBatch:
			c.in.Batches++
			err = c.startBatch(ctx, c.in.Batches)
		case activities.SweepReceipts:
			err = sweepReceipts(ctx, c.in.Run)
		case activities.Wait:
			err = c.wait(ctx, plan, seen)
		case activities.Finished:
			return workflow.Await(ctx, func() bool { return c.open == 0 && workflow.AllHandlersFinished(ctx) })
		default:
			err = temporal.NewNonRetryableApplicationError(fmt.Sprintf("unknown action %q", plan.Action), "invalid", nil)
		}
		if err != nil {
			return err
		}
		if info := workflow.GetInfo(ctx); info.GetContinueAsNewSuggested() || early && info.GetCurrentHistoryLength() >= longHistory {
			return c.continueAsNew(ctx)
		}
	}
}

// wait sleeps until the plan's moment, or until something outside may have changed.
func (c *campaignRun) wait(ctx workflow.Context, plan activities.Plan, seen int) error {
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout:      max(plan.Until.Sub(workflow.Now(ctx)), 0),
		TimerOptions: workflow.TimerOptions{Summary: "waiting for " + plan.Reason},
	}, func() bool { return c.wakes != seen })
	return err
}

// startBatch starts a batch and returns once it has begun. The batch outlives this workflow's run; only its recipients
// matter, and those the ledger watches.
func (c *campaignRun) startBatch(ctx workflow.Context, number int) error {
	err := workflow.Await(ctx, func() bool { return c.open < maxOpenBatches })
	if err != nil {
		return err
	}
	batch := executeBatch(ctx, BatchInput{Run: c.in.Run, Batch: number})
	if err := started(ctx, batch); err != nil {
		return err
	}
	c.open++
	workflow.Go(ctx, func(ctx workflow.Context) {
		if err := batch.Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("batch ended early; what it did not start is taken up again", "batch", number, "error", err)
		}
		c.open--
	})
	return nil
}

// started waits until a child has begun. One that is running already is as good.
func started(ctx workflow.Context, child workflow.ChildWorkflowFuture) error {
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return nil
	}
	return err
}

// continueAsNew begins a new history once nothing is under way in this one that only this one would know.
func (c *campaignRun) continueAsNew(ctx workflow.Context) error {
	err := workflow.Await(ctx, func() bool { return c.open == 0 && workflow.AllHandlersFinished(ctx) })
	if err != nil {
		return err
	}
	// A wake-up that came in the meantime is not lost: the next run looks at the ledger first.
	return workflow.NewContinueAsNewError(ctx, Campaign, c.in)
}

// BatchInput names one batch of a run.
type BatchInput struct {
	outbox.Run
	Batch int `json:"batch"`
}

// startChunk is how many recipients are started at once. It keeps the events that come back together few.
const startChunk = 50

// Batch starts the workflows of some hundred recipients and ends once all have begun. They live on without it.
func Batch(ctx workflow.Context, in BatchInput) error {
	seqs, err := batchSeqs(ctx, activities.PlanInput{Run: in.Run, Batch: in.Batch})
	if err != nil {
		return err
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d recipients", len(seqs)))
	for len(seqs) > 0 {
		n := min(startChunk, len(seqs))
		chunk := make([]workflow.ChildWorkflowFuture, n)
		for i, seq := range seqs[:n] {
			chunk[i] = executeRecipient(ctx, activities.Message{Run: in.Run, Seq: seq})
		}
		for _, child := range chunk {
			if err := started(ctx, child); err != nil {
				return err
			}
		}
		seqs = seqs[n:]
	}
	return nil
}
