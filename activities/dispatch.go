package activities

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/render"
)

type dispatchStore interface {
	Run(ctx context.Context, id int64) (ledger.Run, error)
	Freeze(ctx context.Context, run ledger.Run, now time.Time) error
	HoldForTemplate(ctx context.Context, runID int64, steps []compliance.Finding, now time.Time) error
	ReleaseTemplate(ctx context.Context, runID int64, now time.Time) error
	FailRun(ctx context.Context, run ledger.Run, reason string, now time.Time) error
	// MissRun ends a run that is too late to begin; missed is false when it has begun, or is over, by now.
	MissRun(ctx context.Context, run ledger.Run, reason string, now time.Time) (missed bool, err error)
	RemainingCohorts(ctx context.Context, runID int64) ([]ledger.Cohort, error)
	HoldCohort(ctx context.Context, runID int64, c ledger.Cohort, reason compliance.Reason, until time.Time, steps []compliance.Finding, now time.Time) error
	// PortfolioRoom tells how many more people a portfolio may reach now, and when the next place is free; ok is false when
	// it has no limit any more.
	PortfolioRoom(ctx context.Context, id int64, now time.Time) (free int, frees time.Time, ok bool, err error)
	Backlog(ctx context.Context, runID int64, dueBefore time.Time) (waiting, sending int, err error)
	Batch(ctx context.Context, runID int64, number int) (seqs []int, cut bool, err error)
	CutBatch(ctx context.Context, runID int64, number int, c ledger.Cohort, size int, now time.Time) (int, error)
	CutDue(ctx context.Context, run ledger.Run, number, size int, since, now time.Time) (bool, error)
	OverdueReceipts(ctx context.Context, runID int64, acceptedBefore time.Time, atMost int) ([]ledger.Overdue, error)
	OpenMessages(ctx context.Context, runID int64) (n int, firstDue time.Time, err error)
	UndecidedMessages(ctx context.Context, runID int64) (n int, oldest time.Time, err error)
	FinishRun(ctx context.Context, run ledger.Run, now time.Time) error
	SettleRun(ctx context.Context, runID int64, now time.Time) error
	RunStates(ctx context.Context, runID int64) (ledger.States, error)
	// StartOccurrence opens the run of a recurring campaign's occurrence, or says why there is none.
	StartOccurrence(ctx context.Context, campaignID int64, r campaign.Recurrence, at, now time.Time) (run campaign.Run, skipped string, err error)
	Steer(ctx context.Context, campaignID int64, to campaign.Status, by, reason string, now time.Time) (campaign.Steering, error)
	UpdateCampaign(ctx context.Context, id int64, by string, change func(campaign.Campaign) (campaign.Campaign, error), now time.Time) (campaign.Overview, error)
	breakerStore
}

// Dispatch decides what a run does next. All it knows lies in the ledger, so that its workflow only keeps time.
type Dispatch struct {
	Store dispatchStore
	Now   func() time.Time
	Log   *slog.Logger

	// ReceiptDeadline is how long a decisive receipt may take before the provider is asked.
	ReceiptDeadline time.Duration
	// StuckAfter is how long a message that ought to move may stand still before it is driven anew.
	StuckAfter time.Duration
	// ErrorMeaning explains one of the provider's error codes to an operator.
	ErrorMeaning func(code int) string

	mu      sync.Mutex
	counted map[int64]time.Time // when the messages of a large run were last counted, by run
}

const (
	// leadTime is how far ahead of its sending a recipient is started: the rate times this is the backlog aimed at.
	leadTime = 2 * time.Second
	// slowest is how long an answer of the provider may take that still counts as one.
	slowest = 10 * time.Second
	// maxBatch bounds the recipients of one batch: its workflow's history stays small.
	maxBatch = 250
	// minBatch keeps slow campaigns from starting recipients one by one.
	minBatch = 5
	// maxAhead bounds the recipients that are started ahead, however fast the campaign may be.
	maxAhead = 1000
	// holdFrom is the shortest wait for a place of the portfolio that messages are told of which no batch holds.
	holdFrom = time.Minute
	// maxWatch is how long a run waits at most between looks at messages that are overdue.
	maxWatch = 30 * time.Second
	// manyMessages and countInterval say of which runs the progress is told only so often.
	manyMessages  = 10_000
	countInterval = 10 * time.Second
	// idle is how long a run waits at most before it looks at the ledger again.
	idle = 5 * time.Minute
	// approvalLook is how long a run waits at most for word of its template's approval before it looks itself.
	approvalLook = 2 * time.Minute
)

// Action is what a run does next.
type Action string

// The things a run does.
const (
	FreezeAudience Action = "freeze" // call FreezeAudience
	StartBatch     Action = "batch"  // start the batch
	SweepReceipts  Action = "sweep"  // call SweepReceipts
	Wait           Action = "wait"   // until the moment, or until woken
	Finished       Action = "done"   // nothing is left to do or to hear of
)

// PlanInput names a run and the number that its next batch will have.
type PlanInput struct {
	outbox.Run
	Batch int `json:"batch"`
}

// Plan is what a run does next.
type Plan struct {
	Action   Action          `json:"action"`
	Until    time.Time       `json:"until,omitzero"`   // with Wait
	Reason   string          `json:"reason,omitempty"` // with Wait: for what
	Size     int             `json:"size,omitempty"`   // with StartBatch: how many recipients
	Status   campaign.Status `json:"status"`
	Progress string          `json:"progress,omitempty"` // with Wait and Finished: markdown
}

// PlanRun looks at the ledger and decides. It may cut the next batch; asked again with the same number, it finds that
// batch instead of cutting another.
func (a *Dispatch) PlanRun(ctx context.Context, in PlanInput) (Plan, error) {
	run, err := a.Store.Run(ctx, in.RunID)
	if err != nil {
		return Plan{}, err
	}
	plan, err := a.plan(ctx, run, in.Batch)
	if err != nil {
		return Plan{}, err
	}
	plan.Status = run.Status
	if plan.Action == Finished || plan.Action == Wait && a.mayCount(run) {
		states, err := a.Store.RunStates(ctx, run.ID)
		if err != nil {
			return Plan{}, err
		}
		plan.Progress = describe(run, states, plan)
	}
	return plan, nil
}

// mayCount reports whether it is worth while to count the run's messages again: where they are many that takes its time.
func (a *Dispatch) mayCount(run ledger.Run) bool {
	if run.AudienceSize <= manyMessages {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.Now()
	if now.Sub(a.counted[run.ID]) < countInterval {
		return false
	}
	if a.counted == nil {
		a.counted = map[int64]time.Time{}
	}
	for id, at := range a.counted { // runs that are over are not counted any more
		if now.Sub(at) >= idle {
			delete(a.counted, id)
		}
	}
	a.counted[run.ID] = now
	return true
}

func (a *Dispatch) plan(ctx context.Context, run ledger.Run, batch int) (Plan, error) {
	now := a.Now()
	if seqs, cut, err := a.Store.Batch(ctx, run.ID, batch); err != nil || cut {
		return Plan{Action: StartBatch, Size: len(seqs)}, err
	}
	if run.FrozenAt == nil {
		switch {
		case run.Status == campaign.Paused:
			return Plan{Action: Wait, Until: now.Add(idle), Reason: message.ReasonPaused}, nil
		case !run.Status.Active():
			return a.watch(ctx, run)
		case run.NotBefore != nil && run.NotBefore.After(now):
			return Plan{Action: Wait, Until: *run.NotBefore, Reason: "schedule"}, nil
		}
		return Plan{Action: FreezeAudience}, nil
	}
	if plan, err := a.rescue(ctx, run, batch); err != nil || plan.Action != "" {
		return plan, err
	}
	if run.Kind == campaign.ByTest {
		return a.watch(ctx, run)
	}
	if run.Status == campaign.Paused {
		return Plan{Action: Wait, Until: now.Add(idle), Reason: message.ReasonPaused}, nil
	}
	if run.Status == campaign.Running {
		breaker, plan, err := a.brake(ctx, run, now)
		if err != nil || plan.Action != "" {
			return plan, err
		}
		if plan, err := a.dispatch(ctx, run, breaker, batch); err != nil || plan.Action != "" {
			return plan, err
		}
	}
	return a.watch(ctx, run)
}

// rescue drives anew what nobody drives: its retry is due, someone terminated its workflow by hand, or receipts never
// came.
func (a *Dispatch) rescue(ctx context.Context, run ledger.Run, batch int) (Plan, error) {
	now := a.Now()
	if due, err := a.Store.CutDue(ctx, run, batch, maxBatch, now.Add(-a.StuckAfter), now); err != nil || due {
		return Plan{Action: StartBatch}, err
	}
	if overdue, err := a.Store.OverdueReceipts(ctx, run.ID, now.Add(-a.ReceiptDeadline), 1); err != nil || len(overdue) > 0 {
		return Plan{Action: SweepReceipts}, err
	}
	return Plan{}, nil
}

// dispatch cuts the next batch from the cohort whose hours end soonest, never further ahead than can be sent soon. An
// empty plan: every message is in a batch.
func (a *Dispatch) dispatch(ctx context.Context, run ledger.Run, breaker ledger.Breaker, batch int) (Plan, error) {
	cohorts, err := a.Store.RemainingCohorts(ctx, run.ID)
	if err != nil || len(cohorts) == 0 {
		return Plan{}, err
	}
	now := a.Now()
	if plan, err := a.template(ctx, run, now); err != nil || plan.Action != "" {
		return plan, err
	}
	room, plan, err := a.canary(ctx, run, breaker, now)
	if err != nil || plan.Action != "" {
		return plan, err
	}
	open, opens, reason, err := a.openCohorts(ctx, run, cohorts, now)
	if err != nil {
		return Plan{}, err
	}
	if len(open) == 0 {
		return Plan{Action: Wait, Until: a.noLaterThanStuck(opens, now), Reason: string(reason)}, nil
	}
	waiting, sending, err := a.Store.Backlog(ctx, run.ID, now.Add(2*leadTime))
	if err != nil {
		return Plan{}, err
	}
	ahead := min(max(minBatch, int(leadTime.Seconds())*run.RatePerSecond), maxAhead)
	slow := min(int(slowest.Seconds())*run.RatePerSecond, maxAhead)
	// What is being sent is not ahead, unless the provider does not even answer.
	backlog := waiting + max(sending-slow, 0)
	if backlog >= ahead {
		drain := time.Duration(float64(backlog-ahead/2) / float64(run.RatePerSecond) * float64(time.Second))
		return Plan{Action: Wait, Until: now.Add(min(max(drain, 250*time.Millisecond), leadTime)), Reason: message.ReasonRateLimit}, nil
	}
	places, plan, err := a.places(ctx, run, open, waiting+sending, now)
	if err != nil || plan.Action != "" {
		return plan, err
	}
	size, err := a.Store.CutBatch(ctx, run.ID, batch, open[0], min(ahead, maxBatch, room, places), now)
	return Plan{Action: StartBatch, Size: size}, err
}

// places returns for how many people beyond the backlog there is a place within the portfolio's messaging limit. While there
// is none it plans the wait for the next one, and the messages of the cohorts are told what they wait for.
func (a *Dispatch) places(ctx context.Context, run ledger.Run, open []ledger.Cohort, backlog int, now time.Time) (int, Plan, error) {
	if run.Portfolio == 0 {
		return maxAhead, Plan{}, nil
	}
	free, frees, ok, err := a.Store.PortfolioRoom(ctx, run.Portfolio, now)
	if err != nil || !ok {
		return maxAhead, Plan{}, err
	}
	if free > backlog {
		return free - backlog, Plan{}, nil
	}
	until := now.Add(leadTime) // places free one by one: they are given out some at a time
	if free == 0 && frees.After(until) {
		until = frees
	}
	for _, c := range open {
		if until.Sub(now) < holdFrom || c.WaitsUntil != nil && c.WaitsUntil.After(now) {
			continue // nobody waits for long, or they know it already
		}
		steps := []compliance.Finding{{Step: compliance.StepLimits, Result: compliance.Deferred, Detail: "the portfolio has reached as many people as it may within 24 hours"}}
		if err := a.Store.HoldCohort(ctx, run.ID, c, compliance.MessagingTier, until, steps, now); err != nil {
			return 0, Plan{}, err
		}
	}
	return 0, Plan{Action: Wait, Until: a.noLaterThanStuck(until, now), Reason: string(compliance.MessagingTier)}, nil
}

// template keeps a run from starting recipients who could only wait for the approval of its template, and pauses it when
// WhatsApp refused that in every language. An empty plan: it may go on.
func (a *Dispatch) template(ctx context.Context, run ledger.Run, now time.Time) (Plan, error) {
	switch {
	case run.Template.Refused():
		return a.stop(ctx, run, render.Variant{Approval: run.Template, Reason: run.TemplateReason}.Refusal(), now)
	case run.Template.Undecided():
		steps := []compliance.Finding{{Step: compliance.StepContent, Result: compliance.Deferred, Detail: "the template is not approved yet"}}
		return Plan{Action: Wait, Until: now.Add(jitter(approvalLook)), Reason: string(compliance.AwaitsApproval)}, a.Store.HoldForTemplate(ctx, run.ID, steps, now)
	case run.AwaitsTemplate:
		return Plan{}, a.Store.ReleaseTemplate(ctx, run.ID, now)
	}
	return Plan{}, nil
}

// noLaterThanStuck keeps a long wait short enough to notice what stands still.
func (a *Dispatch) noLaterThanStuck(t, now time.Time) time.Time {
	if limit := now.Add(idle); t.After(limit) {
		return limit
	}
	return t
}

// openCohorts returns the cohorts whose people may be written to now, those whose hours end soonest first, when the first
// of the others opens, and what that one waits for. The others' messages are told what they wait for.
func (a *Dispatch) openCohorts(
	ctx context.Context, run ledger.Run, cohorts []ledger.Cohort, now time.Time,
) (open []ledger.Cohort, opens time.Time, waitsFor compliance.Reason, err error) {
	closes := map[int]time.Time{}
	for _, c := range cohorts {
		window := run.Window(c, now)
		if window.Open || window.Opens.IsZero() { // whoever may never be written to is told so by their own check
			open = append(open, c)
			closes[c.Number] = window.Closes
			continue
		}
		reason, step := window.Reason, run.Hours(c).Finding(window)
		if notBefore, _ := run.Schedule.Of(c.Zones, run.Timezone); notBefore.After(now) {
			reason, step = compliance.NotYet, compliance.Finding{Step: compliance.StepSchedule, Result: compliance.Deferred, Detail: run.Schedule.Local.String() + " by the recipient's own clock"}
		}
		if opens.IsZero() || window.Opens.Before(opens) {
			opens, waitsFor = window.Opens, reason
		}
		if c.WaitsUntil == nil || !c.WaitsUntil.Equal(window.Opens) {
			if err := a.Store.HoldCohort(ctx, run.ID, c, reason, window.Opens, []compliance.Finding{step}, now); err != nil {
				return nil, opens, reason, err
			}
		}
	}
	slices.SortStableFunc(open, func(x, y ledger.Cohort) int { return compareEnds(closes[x.Number], closes[y.Number]) })
	return open, opens, waitsFor, nil
}

// compareEnds orders moments; the zero time means never.
func compareEnds(x, y time.Time) int {
	switch {
	case x.Equal(y):
		return 0
	case x.IsZero():
		return 1
	case y.IsZero():
		return -1
	default:
		return x.Compare(y)
	}
}

// watch waits for what is under way, then for the receipts.
func (a *Dispatch) watch(ctx context.Context, run ledger.Run) (Plan, error) {
	now := a.Now()
	n, due, err := a.Store.OpenMessages(ctx, run.ID)
	if err != nil {
		return Plan{}, err
	}
	if n > 0 {
		// What is overdue moves within moments, or waits long for the provider's word: look ever more rarely.
		until := now.Add(min(max(now.Sub(due)/2, time.Second), maxWatch))
		if due.After(until) {
			until = due
		}
		return Plan{Action: Wait, Until: a.noLaterThanStuck(until, now), Reason: "recipients"}, nil
	}
	if run.Status.Active() && (run.Open() || run.Enrolled) {
		return a.watchOpen(ctx, run, now)
	}
	if run.FinishedAt == nil {
		a.Log.InfoContext(ctx, "run finished", "campaign_id", run.CampaignID, "run_id", run.ID, "audience", run.AudienceSize)
		return a.finish(ctx, run)
	}
	undecided, oldest, err := a.Store.UndecidedMessages(ctx, run.ID)
	if err != nil {
		return Plan{}, err
	}
	if undecided == 0 {
		return Plan{Action: Finished}, a.Store.SettleRun(ctx, run.ID, now)
	}
	// Look often at first, ever more rarely later: most receipts come within seconds.
	wait := min(max(now.Sub(*run.FinishedAt)/2, time.Second), 15*time.Minute)
	if overdue := oldest.Add(a.ReceiptDeadline); overdue.After(now) && overdue.Before(now.Add(wait)) {
		wait = overdue.Sub(now)
	}
	return Plan{Action: Wait, Until: now.Add(wait), Reason: "receipts"}, nil
}

// watchOpen waits for what may be added to a run, and for the receipts: a message that the carrier gives back is to be sent
// again soon.
func (a *Dispatch) watchOpen(ctx context.Context, run ledger.Run, now time.Time) (Plan, error) {
	undecided, _, err := a.Store.UndecidedMessages(ctx, run.ID)
	if err != nil {
		return Plan{}, err
	}
	if undecided > 0 {
		return Plan{Action: Wait, Until: now.Add(maxWatch), Reason: "receipts"}, nil
	}
	return Plan{Action: Wait, Until: now.Add(idle), Reason: "events"}, nil
}

func (a *Dispatch) finish(ctx context.Context, run ledger.Run) (Plan, error) {
	if err := a.Store.FinishRun(ctx, run, a.Now()); err != nil {
		return Plan{}, err
	}
	return Plan{Action: Wait, Until: a.Now().Add(time.Second), Reason: "receipts"}, nil
}

// FreezeAudience writes the run's audience into the ledger, once. A run that is too late by its campaign's measure is
// ended instead, and nobody is sent to.
func (a *Dispatch) FreezeAudience(ctx context.Context, in outbox.Run) error {
	run, err := a.Store.Run(ctx, in.RunID)
	if err != nil {
		return err
	}
	if late, tooLate := run.Late(a.Now()); tooLate && run.FrozenAt == nil {
		reason := fmt.Sprintf("not sent: it was to begin at %s or within %d minutes from then, and could not before %s",
			run.Planned().UTC().Format(time.RFC3339), int(run.StartWithin.Minutes()), a.Now().UTC().Format(time.RFC3339))
		missed, err := a.Store.MissRun(ctx, run, reason, a.Now())
		if missed {
			a.Log.WarnContext(ctx, "run missed its time and is not sent", "campaign_id", run.CampaignID, "run_id", run.ID, "late", late.Round(time.Second))
		}
		if err != nil || missed {
			return err
		}
	}
	if err = a.Store.Freeze(ctx, run, a.Now()); fault.Is(err, fault.Invalid) {
		return a.Store.FailRun(ctx, run, err.Error(), a.Now()) // the segment cannot be evaluated: trying again will not help
	}
	return err
}

// BatchSeqs returns the messages of a batch.
func (a *Dispatch) BatchSeqs(ctx context.Context, in PlanInput) ([]int, error) {
	seqs, cut, err := a.Store.Batch(ctx, in.RunID, in.Batch)
	if err == nil && !cut {
		return nil, fmt.Errorf("batch %d of run %d was never cut", in.Batch, in.RunID)
	}
	return seqs, err
}

// SteerInput is a pause, a resume or a cancel.
type SteerInput struct {
	outbox.Run
	To campaign.Status `json:"to"`
	By string          `json:"by"`
}

// Steer pauses, resumes or cancels a campaign. When it returns from a pause or a cancel, nothing is being sent.
func (a *Dispatch) Steer(ctx context.Context, in SteerInput) (campaign.Steering, error) {
	s, err := a.Store.Steer(ctx, in.CampaignID, in.To, in.By, "", a.Now())
	return s, terminal(err)
}

// SetRateInput is a new rate limit for what remains of a campaign.
type SetRateInput struct {
	outbox.Run
	PerSecond int    `json:"per_second"`
	By        string `json:"by"`
}

// SetRate changes a campaign's rate limit; it holds from the next moment to send that is granted.
func (a *Dispatch) SetRate(ctx context.Context, in SetRateInput) error {
	now := a.Now()
	_, err := a.Store.UpdateCampaign(ctx, in.CampaignID, in.By, func(c campaign.Campaign) (campaign.Campaign, error) {
		to := c
		to.RatePerSecond = in.PerSecond
		return c.Edit(to, now)
	}, now)
	return terminal(err)
}

// describe is what the Temporal Web UI shows of a run.
func describe(run ledger.Run, states ledger.States, plan Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s** · audience %d", run.Status, states.Total())
	for _, s := range message.States() {
		if n := states[s]; n > 0 {
			fmt.Fprintf(&b, " · %s %d", s, n)
		}
	}
	if plan.Action == Wait {
		fmt.Fprintf(&b, "\n\nWaiting for %s until %s", plan.Reason, plan.Until.UTC().Format(time.DateTime+" MST"))
	}
	return b.String()
}
