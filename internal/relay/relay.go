// Package relay brings the outbox to Temporal: it starts and signals workflows because of what was committed.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/workflows"
)

// store is the outbox, what a restarted campaign goes on from, and what else ought to be under way.
type store interface {
	Relay(ctx context.Context, atMost int, writtenBefore, now time.Time, deliver func([]outbox.Item) []error) (delivered, failed int, err error)
	UnsettledRuns(ctx context.Context, startedBefore time.Time) ([]outbox.Run, error)
	LastBatch(ctx context.Context, runID int64) (int, error)
	Schedule(ctx context.Context, campaignID int64) (campaign.Schedule, error)
	RecurringCampaigns(ctx context.Context) ([]int64, error)
	OpenErasures(ctx context.Context, requestedBefore time.Time) ([]uuid.UUID, error)
	UndecidedTemplates(ctx context.Context) ([]outbox.Template, error)
	OverdueEnrolments(ctx context.Context, dueBefore time.Time, atMost int) ([]outbox.Enrolment, error)
}

// Relay brings the outbox to Temporal. Any number of them may run at once.
type Relay struct {
	store  store
	client client.Client
	now    func() time.Time
	log    *slog.Logger
	minAge time.Duration
	woken  chan struct{}
}

const (
	batch        = 200              // items of one transaction
	concurrency  = 16               // calls to Temporal at once
	timeout      = 10 * time.Second // of one call
	interval     = time.Second      // between looks that nobody asked for
	keepInterval = 30 * time.Second // between looks for campaigns whose workflow is gone
	// enrolmentOverdue is how late an enrolment's workflow is before it is held to be gone.
	enrolmentOverdue = 5 * time.Minute
)

// New makes a relay; it does nothing before Run. Items are left to whoever wrote them until they are minAge old; zero
// takes them at once.
func New(s store, c client.Client, now func() time.Time, log *slog.Logger, minAge time.Duration) *Relay {
	return &Relay{store: s, client: c, now: now, log: log, minAge: minAge, woken: make(chan struct{}, 1)}
}

// Wake makes the relay look at the outbox now. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.woken <- struct{}{}:
	default: // it will look anyway
	}
}

// Run relays until ctx ends.
func (r *Relay) Run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		if !r.drain(ctx) {
			select {
			case <-ctx.Done():
			case <-tick.C:
			case <-r.woken:
			}
		}
	}
}

// drain relays one batch and reports whether there may be more.
func (r *Relay) drain(ctx context.Context) (more bool) {
	now := r.now()
	delivered, failed, err := r.store.Relay(ctx, batch, now.Add(-r.minAge), now, func(items []outbox.Item) []error {
		errs := make([]error, len(items))
		var g errgroup.Group
		g.SetLimit(concurrency)
		for i, item := range items {
			g.Go(func() error {
				errs[i] = r.deliver(ctx, item)
				return nil
			})
		}
		_ = g.Wait()
		return errs
	})
	switch {
	case err != nil && ctx.Err() == nil:
		r.log.ErrorContext(ctx, "outbox relay", "error", err)
	case failed > 0:
		r.log.WarnContext(ctx, "Temporal took not all of the outbox; the rest is tried again", "delivered", delivered, "failed", failed)
	}
	return err == nil && delivered == batch
}

func (r *Relay) deliver(ctx context.Context, item outbox.Item) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch item.Kind {
	case outbox.StartCampaign:
		run, err := outbox.Decode[outbox.Run](item)
		if err != nil {
			return err
		}
		return r.startCampaign(ctx, run)
	case outbox.WakeCampaign:
		run, err := outbox.Decode[outbox.Run](item)
		if err != nil {
			return err
		}
		return r.signal(ctx, workflows.CampaignID(run))
	case outbox.StartRecipient:
		m, err := outbox.Decode[outbox.Recipient](item)
		if err != nil {
			return err
		}
		summary := fmt.Sprintf("Campaign %d, run %d: recipient %d", m.CampaignID, m.Number, m.Seq)
		return r.start(ctx, workflows.RecipientID(m), summary, workflows.Recipient, workflows.RecipientInput{Message: m, SendFirst: true})
	case outbox.SignalRecipient:
		recipient, err := outbox.Decode[outbox.Recipient](item)
		if err != nil {
			return err
		}
		return r.signal(ctx, workflows.RecipientID(recipient))
	case outbox.SyncRecurrence:
		in, err := outbox.Decode[outbox.Recurrence](item)
		if err != nil {
			return err
		}
		return r.syncSchedule(ctx, in.CampaignID)
	case outbox.StartImport:
		in, err := outbox.Decode[outbox.Import](item)
		if err != nil {
			return err
		}
		return r.start(ctx, workflows.ImportID(in.ImportID), "Import of users", workflows.Import, in)
	case outbox.StartErasure:
		in, err := outbox.Decode[outbox.Erasure](item)
		if err != nil {
			return err
		}
		return r.startErasure(ctx, in)
	case outbox.StartApproval:
		in, err := outbox.Decode[outbox.Template](item)
		if err != nil {
			return err
		}
		return r.startApproval(ctx, in)
	case outbox.StartEnrolment:
		in, err := outbox.Decode[outbox.Enrolment](item)
		if err != nil {
			return err
		}
		return r.startEnrolment(ctx, in)
	case outbox.WakeEnrolment:
		in, err := outbox.Decode[outbox.Enrolment](item)
		if err != nil {
			return err
		}
		return r.signal(ctx, workflows.EnrolmentID(in))
	case outbox.SyncTemplates:
		return r.start(ctx, outbox.SyncID, "Look at the provider's templates", workflows.TemplateSync, outbox.Sync{})
	default:
		return fmt.Errorf("outbox item %d is of unknown kind %q", item.ID, item.Kind)
	}
}

// startCampaign starts a run's workflow where its batches end; a running one is left alone.
func (r *Relay) startCampaign(ctx context.Context, run outbox.Run) error {
	last, err := r.store.LastBatch(ctx, run.RunID)
	if err != nil {
		return err
	}
	summary := fmt.Sprintf("Campaign %d, run %d", run.CampaignID, run.Number)
	return r.start(ctx, workflows.CampaignID(run), summary, workflows.Campaign, workflows.CampaignInput{Run: run, Batches: last})
}

func (r *Relay) startErasure(ctx context.Context, in outbox.Erasure) error {
	return r.start(ctx, workflows.ErasureID(in.ErasureID), "Erasure of a user", workflows.Erasure, in)
}

func (r *Relay) startApproval(ctx context.Context, in outbox.Template) error {
	summary := fmt.Sprintf("Approval of template %d, version %d (%s)", in.TemplateID, in.Version, in.Locale)
	return r.start(ctx, workflows.ApprovalID(in), summary, workflows.Approval, in)
}

func (r *Relay) startEnrolment(ctx context.Context, in outbox.Enrolment) error {
	summary := fmt.Sprintf("Campaign %d, run %d: enrolment %d", in.CampaignID, in.Number, in.EnrolmentID)
	return r.start(ctx, workflows.EnrolmentID(in), summary, workflows.Enrolment, in)
}

func (r *Relay) start(ctx context.Context, id, summary string, workflow, in any) error {
	_, err := r.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue, StaticSummary: summary,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, workflow, in)
	return err
}

// signal wakes a workflow. One that has ended needs no waking: it looked at the ledger last.
func (r *Relay) signal(ctx context.Context, id string) error {
	err := r.client.SignalWorkflow(ctx, id, "", workflows.SignalWake, nil)
	if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
		return nil
	}
	return err
}

// Keep sees to it, until ctx ends, that every run that is not settled, every erasure that is not complete, every approval
// that is not decided and every enrolment whose time has come has a workflow, and every campaign that recurs its schedule: whoever terminated one by hand, or lost
// Temporal's database, finds it going on.
func (r *Relay) Keep(ctx context.Context) {
	tick := time.NewTicker(keepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		runs, err := r.store.UnsettledRuns(ctx, r.now().Add(-keepInterval))
		for _, run := range runs {
			err = errors.Join(err, r.startCampaign(ctx, run))
		}
		recurring, failed := r.store.RecurringCampaigns(ctx)
		err = errors.Join(err, failed)
		for _, id := range recurring {
			err = errors.Join(err, r.keepSchedule(ctx, id))
		}
		erasures, failed := r.store.OpenErasures(ctx, r.now().Add(-keepInterval))
		err = errors.Join(err, failed)
		for _, id := range erasures {
			err = errors.Join(err, r.startErasure(ctx, outbox.Erasure{ErasureID: id}))
		}
		undecided, failed := r.store.UndecidedTemplates(ctx)
		for _, in := range undecided {
			failed = errors.Join(failed, r.startApproval(ctx, in))
		}
		err = errors.Join(err, failed)
		overdue, failed := r.store.OverdueEnrolments(ctx, r.now().Add(-enrolmentOverdue), batch)
		for _, in := range overdue {
			failed = errors.Join(failed, r.startEnrolment(ctx, in))
		}
		if err = errors.Join(err, failed); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "campaigns, erasures, approvals or enrolments could not be seen to; they are looked at again", "error", err)
		}
	}
}
