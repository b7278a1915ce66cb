package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/worker"
	"github.com/event-stream-engine/ese/workflows"
)

var (
	dispatch *activities.Dispatch
	delivery *activities.Delivery
	imports  *activities.Imports
	private  *activities.Privacy

	run     = outbox.Run{RunID: 1, CampaignID: 2, Number: 3}
	someday = time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)
)

func newEnv() *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartTime(someday)
	worker.Register(env, worker.Activities{Dispatch: &activities.Dispatch{}, Delivery: &activities.Delivery{}, Imports: &activities.Imports{}, Privacy: &activities.Privacy{}})
	return env
}

// stand has another workflow carry out what is started under that name. Mocks will not do: for those, the environment
// says that a child has begun only when it has ended.
func stand(env *testsuite.TestWorkflowEnvironment, name string, in any) {
	env.RegisterWorkflowWithOptions(in, workflow.RegisterOptions{Name: name, DisableAlreadyRegisteredCheck: true})
}

// requireInvalid checks that err is that of a workflow that was told what it does not know: it is not retried.
func requireInvalid(t *testing.T, err error) {
	t.Helper()
	var refused *temporal.ApplicationError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "invalid", refused.Type())
	require.True(t, refused.NonRetryable())
}

func TestIDs(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	require.Equal(t, "campaign/2/run/3", workflows.CampaignID(run))
	require.Equal(t, "campaign/2/run/3/batch/4", workflows.BatchID(run, 4))
	require.Equal(t, "campaign/2/run/3/recipient/5", workflows.RecipientID(outbox.Recipient{Run: run, Seq: 5}))
	require.Equal(t, "import/"+id.String(), workflows.ImportID(id))
}

func TestRecipientRefusesUnknownSteps(t *testing.T) {
	t.Parallel()
	env := newEnv()
	env.OnActivity(delivery.CheckCompliance, mock.Anything, mock.Anything).Return(activities.Next{Do: "dance"}, nil)
	env.ExecuteWorkflow(workflows.Recipient, workflows.RecipientInput{Message: activities.Message{Run: run, Seq: 1}})
	requireInvalid(t, env.GetWorkflowError())
}

// TestRecipientLooksAgain has a signal come while the recipient's last look is under way: it may have missed what the
// signal is about.
func TestRecipientLooksAgain(t *testing.T) {
	t.Parallel()
	env := newEnv()
	checks := 0
	env.OnActivity(delivery.CheckCompliance, mock.Anything, mock.Anything).Return(func(context.Context, activities.Message) (activities.Next, error) {
		checks++
		if checks == 1 {
			for range 3 {
				env.SignalWorkflow(workflows.SignalWake, nil)
			}
			return activities.Next{Do: activities.Done, Reason: "too early"}, nil
		}
		return activities.Next{Do: activities.Done, Reason: "delivered"}, nil
	})
	env.ExecuteWorkflow(workflows.Recipient, workflows.RecipientInput{Message: activities.Message{Run: run, Seq: 1}})
	var result workflows.RecipientResult
	require.NoError(t, env.GetWorkflowResult(&result))
	require.Equal(t, "delivered", result.Outcome)
	require.Equal(t, 2, checks, "one look answers all signals")
}

// TestRecipientWakes has a signal come in the middle of a long wait.
func TestRecipientWakes(t *testing.T) {
	t.Parallel()
	env := newEnv()
	woken := someday.Add(time.Hour)
	env.OnActivity(delivery.CheckCompliance, mock.Anything, mock.Anything).Return(func(context.Context, activities.Message) (activities.Next, error) {
		if env.Now().Before(woken) {
			return activities.Next{Do: activities.Check, At: someday.Add(10 * time.Hour), Reason: "quiet_hours"}, nil
		}
		return activities.Next{Do: activities.Done, Reason: "stopped"}, nil
	})
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(workflows.SignalWake, nil) }, time.Hour)
	env.ExecuteWorkflow(workflows.Recipient, workflows.RecipientInput{Message: activities.Message{Run: run, Seq: 1}})
	require.NoError(t, env.GetWorkflowError())
	require.WithinDuration(t, woken, env.Now(), time.Minute)
}

// plans has PlanRun answer with each of the plans in turn, and then that the run is over. It returns the numbers of the
// batches asked about.
func plans(env *testsuite.TestWorkflowEnvironment, steps ...activities.Plan) *[]int {
	var asked []int
	env.OnActivity(dispatch.PlanRun, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.PlanInput) (activities.Plan, error) {
		asked = append(asked, in.Batch)
		if len(asked) > len(steps) {
			return activities.Plan{Action: activities.Finished}, nil
		}
		return steps[len(asked)-1], nil
	})
	return &asked
}

// tries tells how long each local activity is tried.
type tries struct {
	interceptor.WorkerInterceptorBase
	interceptor.WorkflowInboundInterceptorBase
	interceptor.WorkflowOutboundInterceptorBase
	seen func(workflow.LocalActivityOptions)
}

func (o *tries) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	o.WorkflowInboundInterceptorBase.Next = next
	return o
}

func (o *tries) Init(next interceptor.WorkflowOutboundInterceptor) error {
	o.WorkflowOutboundInterceptorBase.Next = next
	return o.WorkflowInboundInterceptorBase.Next.Init(o)
}

func (o *tries) ExecuteLocalActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	o.seen(workflow.GetLocalActivityOptions(ctx))
	return o.WorkflowOutboundInterceptorBase.Next.ExecuteLocalActivity(ctx, name, args...)
}

// TestLocalActivitiesOutliveAnOutage: unless told otherwise, Temporal gives a local activity as long for all its tries
// together as for one. The test environment knows no such end, so that only the options show it.
func TestLocalActivitiesOutliveAnOutage(t *testing.T) {
	t.Parallel()
	env := newEnv()
	var seen []workflow.LocalActivityOptions
	env.SetWorkerOptions(sdkworker.Options{Interceptors: []interceptor.WorkerInterceptor{
		&tries{seen: func(o workflow.LocalActivityOptions) { seen = append(seen, o) }},
	}})
	env.OnActivity(delivery.SendMessage, mock.Anything, mock.Anything).Return(activities.Next{Do: activities.Done}, nil)
	env.ExecuteWorkflow(workflows.Recipient, workflows.RecipientInput{Message: activities.Message{Run: run, Seq: 1}, SendFirst: true})
	require.NoError(t, env.GetWorkflowError())
	require.Len(t, seen, 1)
	require.Less(t, seen[0].StartToCloseTimeout, time.Minute)
	require.Greater(t, seen[0].ScheduleToCloseTimeout, 30*24*time.Hour)
}

// TestRecipientContinues has a recipient wait so often that its history grows long: it goes on with a new one.
func TestRecipientContinues(t *testing.T) {
	t.Parallel()
	env := newEnv()
	in := workflows.RecipientInput{Message: activities.Message{Run: run, Seq: 1}, SendFirst: true}
	held := func(context.Context, activities.Message) (activities.Next, error) {
		if env.Now().Before(someday.Add(2 * time.Hour)) {
			return activities.Next{Do: activities.Check, At: env.Now().Add(10 * time.Minute), Reason: "paused"}, nil
		}
		return activities.Next{Do: activities.Done, Reason: "too late"}, nil
	}
	env.OnActivity(delivery.SendMessage, mock.Anything, mock.Anything).Return(held)
	env.OnActivity(delivery.CheckCompliance, mock.Anything, mock.Anything).Return(held)
	env.RegisterDelayedCallback(func() { env.SetContinueAsNewSuggested(true) }, time.Hour)
	env.ExecuteWorkflow(workflows.Recipient, in)
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &next)
	var again workflows.RecipientInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &again))
	require.Equal(t, in, again)
}

func TestCampaignRefusesUnknownActions(t *testing.T) {
	t.Parallel()
	env := newEnv()
	plans(env, activities.Plan{Action: "dance"})
	env.ExecuteWorkflow(workflows.Campaign, workflows.CampaignInput{Run: run})
	requireInvalid(t, env.GetWorkflowError())
}

func TestCampaignOutlivesItsBatches(t *testing.T) {
	t.Parallel()
	env := newEnv()
	batch := activities.Plan{Action: activities.StartBatch}
	asked := plans(env, batch, batch)
	env.OnWorkflow(workflows.Batch, mock.Anything, mock.Anything).Return(errors.New("terminated"))
	env.ExecuteWorkflow(workflows.Campaign, workflows.CampaignInput{Run: run, Batches: 6})
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []int{7, 8, 9}, *asked)
}

// TestCampaignBoundsItsBatches has batches that take their time: few are open at once, and the campaign ends after them.
func TestCampaignBoundsItsBatches(t *testing.T) {
	t.Parallel()
	const batches, most = 10, 4
	env := newEnv()
	open, ended, highest := 0, 0, 0
	stand(env, "Batch", func(ctx workflow.Context, _ workflows.BatchInput) error {
		open++
		highest = max(highest, open)
		err := workflow.Sleep(ctx, time.Minute)
		open--
		ended++
		return err
	})
	steps := make([]activities.Plan, batches)
	for i := range steps {
		steps[i] = activities.Plan{Action: activities.StartBatch}
	}
	plans(env, steps...)
	env.SetDetachedChildWait(false)
	env.ExecuteWorkflow(workflows.Campaign, workflows.CampaignInput{Run: run})
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, most, highest)
	require.Equal(t, batches, ended)
}

// TestCampaignContinues goes on in a new history only when nothing is under way that only the old one knows.
func TestCampaignContinues(t *testing.T) {
	t.Parallel()
	env := newEnv()
	batchEnded, paused := false, false
	stand(env, "Batch", func(ctx workflow.Context, _ workflows.BatchInput) error {
		err := workflow.Sleep(ctx, time.Minute)
		batchEnded = true
		return err
	})
	plans(env, activities.Plan{Action: activities.StartBatch})
	env.OnActivity(dispatch.Steer, mock.Anything, mock.Anything).After(2*time.Minute).Return(campaign.Steering{Status: campaign.Paused}, nil)
	env.RegisterDelayedCallback(func() {
		env.UpdateWorkflow(workflows.UpdatePause, "pause", &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: func(err error) { t.Error(err) },
			OnComplete: func(_ any, err error) { paused = err == nil },
		}, "operator")
	}, 30*time.Second)
	env.SetContinueAsNewSuggested(true)
	env.SetDetachedChildWait(false)
	env.ExecuteWorkflow(workflows.Campaign, workflows.CampaignInput{Run: run, Batches: 6})

	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &next)
	var in workflows.CampaignInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &in))
	require.Equal(t, workflows.CampaignInput{Run: run, Batches: 7}, in)
	require.True(t, batchEnded, "its batch has started everybody")
	require.True(t, paused, "whoever asked for something has the answer")
}

// TestCampaignIsWoken looks at the ledger again for a signal and after an update, and tells what it waits for.
func TestCampaignIsWoken(t *testing.T) {
	t.Parallel()
	env := newEnv()
	wait := activities.Plan{Action: activities.Wait, Until: someday.Add(10 * time.Hour), Reason: "quiet_hours"}
	asked := plans(env, wait, wait)
	env.OnActivity(dispatch.Steer, mock.Anything, activities.SteerInput{Run: run, To: campaign.Cancelled, By: "operator"}).
		Return(campaign.Steering{Status: campaign.Cancelled, Sent: 7}, nil)
	env.RegisterDelayedCallback(func() {
		require.Len(t, *asked, 1)
		answer, err := env.QueryWorkflow(workflows.QueryPlan)
		require.NoError(t, err)
		var plan activities.Plan
		require.NoError(t, answer.Get(&plan))
		require.Equal(t, wait, plan)
		env.SignalWorkflow(workflows.SignalWake, nil)
	}, time.Hour)
	var steering any
	env.RegisterDelayedCallback(func() {
		require.Len(t, *asked, 2)
		env.UpdateWorkflow(workflows.UpdateCancel, "cancel", &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: func(err error) { t.Error(err) },
			OnComplete: func(result any, err error) {
				require.NoError(t, err)
				steering = result
			},
		}, "operator")
	}, 2*time.Hour)
	env.ExecuteWorkflow(workflows.Campaign, workflows.CampaignInput{Run: run})
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, campaign.Steering{Status: campaign.Cancelled, Sent: 7}, steering)
	require.WithinDuration(t, someday.Add(2*time.Hour), env.Now(), time.Minute)
}

// TestBatch ends once everybody has begun, though they live on, and minds nobody who has begun already.
func TestBatch(t *testing.T) {
	t.Parallel()
	env := newEnv()
	begun := map[int]int{}
	stand(env, "Recipient", func(ctx workflow.Context, m activities.Message) (workflows.RecipientResult, error) {
		begun[m.Seq]++
		return workflows.RecipientResult{}, workflow.Sleep(ctx, time.Hour)
	})
	var seqs []int
	for seq := range 120 {
		seqs = append(seqs, seq, seq)
	}
	env.OnActivity(dispatch.BatchSeqs, mock.Anything, activities.PlanInput{Run: run, Batch: 4}).Return(seqs, nil)
	env.SetDetachedChildWait(false)
	env.ExecuteWorkflow(workflows.Batch, workflows.BatchInput{Run: run, Batch: 4})
	require.NoError(t, env.GetWorkflowError())
	require.Less(t, env.Now().Sub(someday), time.Hour)
	require.Len(t, begun, 120)
	for seq, n := range begun {
		require.Equal(t, 1, n, "recipient %d", seq)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	in := outbox.Import{ImportID: uuid.New()}
	for name, test := range map[string]struct {
		failure error
		failed  int
	}{
		"done":           {nil, 0},
		"cannot be done": {temporal.NewNonRetryableApplicationError("gone", "not_found", nil), 1},
		"works later on": {fmt.Errorf("the database is down"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv()
			env.OnActivity(imports.ProcessImport, mock.Anything, in).Return(test.failure).Once()
			env.OnActivity(imports.ProcessImport, mock.Anything, in).Return(nil)
			failed := 0
			env.OnActivity(imports.FailImport, mock.Anything, in).Return(func(context.Context, outbox.Import) error {
				failed++
				return nil
			})
			env.ExecuteWorkflow(workflows.Import, in)
			require.NoError(t, env.GetWorkflowError())
			require.Equal(t, test.failed, failed)
		})
	}
}

// TestErasure comes back when it is told to, until nothing is left.
func TestErasure(t *testing.T) {
	t.Parallel()
	in := outbox.Erasure{ErasureID: uuid.New()}
	env := newEnv()
	var passes []time.Duration
	env.OnActivity(private.EraseCopies, mock.Anything, in).Return(func(context.Context, outbox.Erasure) (activities.ErasureStep, error) {
		passes = append(passes, env.Now().Sub(someday))
		if len(passes) == 3 {
			return activities.ErasureStep{Done: true}, nil
		}
		return activities.ErasureStep{At: env.Now().Add(time.Hour)}, nil
	})
	env.ExecuteWorkflow(workflows.Erasure, in)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []time.Duration{0, time.Hour, 2 * time.Hour}, passes)
	require.Equal(t, "erasure/"+in.ErasureID.String(), workflows.ErasureID(in.ErasureID))
}

func TestErasureContinues(t *testing.T) {
	t.Parallel()
	in := outbox.Erasure{ErasureID: uuid.New()}
	env := newEnv()
	env.OnActivity(private.EraseCopies, mock.Anything, in).Return(activities.ErasureStep{At: someday.Add(time.Hour)}, nil)
	env.SetContinueAsNewSuggested(true)
	env.ExecuteWorkflow(workflows.Erasure, in)
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &next)
}

func TestRetention(t *testing.T) {
	t.Parallel()
	env := newEnv()
	env.OnActivity(private.Retire, mock.Anything).Return(nil).Once()
	env.ExecuteWorkflow(workflows.Retention)
	require.NoError(t, env.GetWorkflowError())
	env.AssertExpectations(t)
}

// asked is what came of an update.
type asked struct{ rejected, failed error }

func (a *asked) Accept()                   {}
func (a *asked) Reject(err error)          { a.rejected = err }
func (a *asked) Complete(_ any, err error) { a.failed = err }

// TestCampaignUpdates refuses at the door what is certainly impossible.
func TestCampaignUpdates(t *testing.T) {
	t.Parallel()
	env := newEnv()
	plans(env, activities.Plan{Action: activities.Wait, Until: someday.Add(time.Hour), Status: campaign.Running},
		activities.Plan{Action: activities.Wait, Until: someday.Add(3 * time.Hour), Status: campaign.Completed})
	var rates []activities.SetRateInput
	env.OnActivity(dispatch.SetRate, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.SetRateInput) error {
		rates = append(rates, in)
		return nil
	})
	results := map[string]*asked{}
	ask := func(at time.Duration, name, update string, in any) {
		results[name] = &asked{}
		env.RegisterDelayedCallback(func() { env.UpdateWorkflow(update, name, results[name], in) }, at)
	}
	ask(time.Minute, "by nobody", workflows.UpdatePause, "")
	ask(time.Minute, "to nothing", workflows.UpdateSetRate, workflows.SetRate{By: "tester"})
	ask(time.Minute, "too fast", workflows.UpdateSetRate, workflows.SetRate{PerSecond: campaign.MaxRate + 1, By: "tester"})
	ask(2*time.Minute, "slower", workflows.UpdateSetRate, workflows.SetRate{PerSecond: 5, By: "tester"})
	ask(2*time.Hour, "too late", workflows.UpdateCancel, "tester")
	env.ExecuteWorkflow(workflows.Campaign, workflows.CampaignInput{Run: run})
	require.NoError(t, env.GetWorkflowError())
	for name, want := range map[string]string{"by nobody": "say who", "to nothing": "from 1 to", "too fast": "from 1 to", "too late": "COMPLETED"} {
		require.ErrorContains(t, results[name].rejected, want, name)
	}
	require.NoError(t, results["slower"].rejected)
	require.NoError(t, results["slower"].failed)
	require.Equal(t, []activities.SetRateInput{{Run: run, PerSecond: 5, By: "tester"}}, rates)
}
