package activities

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// Sender is the provider.
type Sender interface {
	// Send asks the provider to send a message. It never begins or lasts beyond the message's lease, and it always tells
	// what is known of the outcome.
	Send(ctx context.Context, m message.Outbound) message.Outcome
	// Fetch reads one message. A message that the provider does not know is a fault of kind NotFound.
	Fetch(ctx context.Context, sid string) (message.Remote, error)
	// List reads the messages between two numbers (E.164) since a moment.
	List(ctx context.Context, channel message.Channel, from, to string, since time.Time) ([]message.Remote, error)
}

type deliveryStore interface {
	Delivery(ctx context.Context, runID int64, seq int) (ledger.Delivery, error)
	Wait(ctx context.Context, d ledger.Delivery, reason string, until time.Time, steps []compliance.Finding, now time.Time) (noted bool, err error)
	Suppress(ctx context.Context, id uuid.UUID, reason string, steps []compliance.Finding, now time.Time) error
	Cancel(ctx context.Context, id uuid.UUID, reason string, now time.Time) error
	Begin(ctx context.Context, d ledger.Delivery, a ledger.Attempt, steps []compliance.Finding) (ledger.Begun, error)
	Accept(ctx context.Context, attemptID uuid.UUID, sid string, httpStatus int, now time.Time) error
	Refuse(ctx context.Context, attemptID uuid.UUID, state ledger.AttemptState, o message.Outcome, then ledger.Then, now time.Time) error
	NoteUncertain(ctx context.Context, attemptID uuid.UUID, o message.Outcome) error
	OptOutByCarrier(ctx context.Context, userID int64, evidence string, now time.Time) error
	PauseForFault(ctx context.Context, campaignID int64, scope message.Scope, reason string, now time.Time) error
	Tried(ctx context.Context, messageID uuid.UUID) (int, error)
	RefusedWith(ctx context.Context, messageID uuid.UUID, code int) (int, error)
	OpenAttempt(ctx context.Context, messageID uuid.UUID) (a ledger.Attempt, ok bool, err error)
	StandingSID(ctx context.Context, messageID uuid.UUID) (attemptID uuid.UUID, sid string, err error)
	NoteLook(ctx context.Context, attemptID uuid.UUID, failed bool) error
	TakenSIDs(ctx context.Context, attemptID uuid.UUID, sids []string) (map[string]bool, error)
	GiveUp(ctx context.Context, attemptID uuid.UUID, reason string, now time.Time) error
	// OverdueReceipts lists up to atMost messages of the run that were accepted before the given moment, of which nothing
	// decisive was heard and about which the provider was not asked.
	OverdueReceipts(ctx context.Context, runID int64, acceptedBefore time.Time, atMost int) ([]ledger.Overdue, error)
	NoteOverdue(ctx context.Context, messageID uuid.UUID, now time.Time) error
	RecordReceipts(ctx context.Context, reports []message.Report, now time.Time) ([]bool, error)
}

// Delivery takes one message from the ledger to the handset. Its methods know nothing of who calls them; calling one
// twice, or from two places at once, sends nothing twice.
type Delivery struct {
	Store  deliveryStore
	Sender Sender
	Pace   *Pace
	Now    func() time.Time
	Log    *slog.Logger

	// Lease bounds one request to the provider; no attempt's request is under way after its lease.
	Lease time.Duration
	// Looks are the moments, counted from the end of the lease, at which the provider's list is searched for an attempt
	// whose outcome is unknown. Absent in every look means that it was not accepted.
	Looks []time.Duration
	// ReceiptDeadline is how long a decisive receipt may take before the provider is asked.
	ReceiptDeadline time.Duration
	// Patience is how long SendMessage itself waits for the rate limits; longer waits are the workflow's timers.
	Patience time.Duration
}

const (
	// maxValidity bounds how long the provider may hold a message in its queue.
	maxValidity = 4 * time.Hour
	// beginLead is how long before its granted moment an attempt is recorded, so that the request leaves in time.
	beginLead = 15 * time.Millisecond
	// lateness is how long after its granted moment a message may be sent; after that it asks for a new one, lest late
	// messages make a burst.
	lateness = 50 * time.Millisecond
	// holdInterval is how often a message of a paused campaign looks whether it may go on, should the signal be lost.
	holdInterval = 3 * time.Minute
	// placeSpread is the time over which those are spread who wait for the next place of a portfolio.
	placeSpread = 5 * time.Second
	// clockSkew is how much earlier than our attempt the provider's clock may put its message.
	clockSkew = 5 * time.Second
	// maxFailedLooks ends the search when the provider's list cannot be read.
	maxFailedLooks = 10
)

// CheckCompliance judges a pending message at this moment: send it, wait, or suppress it for good. For a message that is
// not pending it tells what comes next instead.
func (a *Delivery) CheckCompliance(ctx context.Context, in Message) (Next, error) {
	d, err := a.Store.Delivery(ctx, in.RunID, in.Seq)
	if err != nil {
		return Next{}, err
	}
	next, _, _, err := a.judge(ctx, d)
	return next, err
}

// judge evaluates a delivery and records a wait or a suppression. With Send, it returns the verdict and the text.
func (a *Delivery) judge(ctx context.Context, d ledger.Delivery) (Next, compliance.Verdict, string, error) {
	now := a.Now()
	if d.State != message.Pending {
		return a.follow(d), compliance.Verdict{}, "", nil
	}
	if d.CampaignStatus == campaign.Cancelled && !d.Test { // the message was being sent then, and the provider gave it back
		err := a.Store.Cancel(ctx, d.MessageID, message.ReasonCancelled, now)
		return Next{Do: Done, Reason: message.ReasonCancelled}, compliance.Verdict{}, "", err
	}
	if d.Reason == message.ReasonRetry || d.Reason == message.ReasonConcurrency {
		if d.WaitsUntil != nil && d.WaitsUntil.After(now) {
			return Next{Do: Check, At: *d.WaitsUntil, Reason: d.Reason}, compliance.Verdict{}, "", nil
		}
	}
	if d.CampaignStatus == campaign.Paused && !d.Test {
		next, err := a.wait(ctx, d, message.ReasonPaused, now.Add(jitter(holdInterval)), nil)
		return next, compliance.Verdict{}, "", err
	}
	if !d.CampaignStatus.MaySend() && !d.Test {
		return Next{Do: Done, Reason: string(d.CampaignStatus)}, compliance.Verdict{}, "", nil
	}
	verdict, body := d.Check(now)
	switch verdict.Action {
	case compliance.Wait:
		until := verdict.Until
		switch verdict.Reason {
		case compliance.RefusedTemplate:
			next, err := a.refuseTemplate(ctx, d, verdict)
			return next, verdict, "", err
		case compliance.AwaitsApproval: // many wait for the same
			until = now.Add(jitter(until.Sub(now)))
		case compliance.MessagingTier: // others wait for the same place
			until = until.Add(spread(placeSpread))
		}
		next, err := a.wait(ctx, d, string(verdict.Reason), until, verdict.Steps)
		return next, verdict, "", err
	case compliance.Suppress:
		err := a.Store.Suppress(ctx, d.MessageID, string(verdict.Reason), verdict.Steps, now)
		return Next{Do: Done, Reason: string(verdict.Reason)}, verdict, "", err
	default:
		return Next{Do: Send}, verdict, body, nil
	}
}

// refuseTemplate pauses the campaign whose template WhatsApp does not let it send: that is the operator's to mend. One that
// is over, and only sends again what the carrier gave back, cannot be paused.
func (a *Delivery) refuseTemplate(ctx context.Context, d ledger.Delivery, verdict compliance.Verdict) (Next, error) {
	if d.CampaignStatus != campaign.Running {
		err := a.Store.Suppress(ctx, d.MessageID, string(verdict.Reason), verdict.Steps, a.Now())
		return Next{Do: Done, Reason: string(verdict.Reason)}, err
	}
	reason := d.Variant().Refusal()
	a.Log.WarnContext(ctx, "campaign paused by the engine", "campaign_id", d.CampaignID, "run_id", d.RunID, "reason", reason)
	return Next{Do: Check}, a.Store.PauseForFault(ctx, d.CampaignID, message.ScopeCampaign, reason, a.Now())
}

func (a *Delivery) wait(ctx context.Context, d ledger.Delivery, reason string, until time.Time, steps []compliance.Finding) (Next, error) {
	noted, err := a.Store.Wait(ctx, d, reason, until, steps, a.Now())
	if !noted { // what it was judged by has changed
		return Next{Do: Check}, err
	}
	return Next{Do: Check, At: until, Reason: reason}, err
}

// follow tells what comes next for a message that is not pending.
func (a *Delivery) follow(d ledger.Delivery) Next {
	switch d.State {
	case message.Sending:
		return Next{Do: Resolve, Reason: "outcome"}
	case message.Pending:
		return Next{Do: Check}
	default:
		return Next{Do: Done, Reason: string(d.State)}
	}
}

// SendMessage sends a pending message if compliance and the rate limits let it at this moment. Whatever happens to the
// caller on the way, the message is sent at most once: only the attempt that Begin opened may speak to the provider.
func (a *Delivery) SendMessage(ctx context.Context, in Message) (Next, error) {
	d, err := a.Store.Delivery(ctx, in.RunID, in.Seq)
	if err != nil {
		return Next{}, err
	}
	next, verdict, body, err := a.judge(ctx, d)
	if err != nil || next.Do != Send {
		return next, err
	}
	slot, ok, err := a.turn(ctx, d)
	if err != nil {
		return Next{}, err
	}
	if !ok {
		next, err := a.wait(ctx, d, message.ReasonRateLimit, slot, verdict.Steps)
		if !next.At.IsZero() {
			next.Do = Send
		}
		return next, err
	}
	defer a.Pace.Release()
	if !verdict.Closes.IsZero() && !slot.Before(verdict.Closes) {
		return a.CheckCompliance(ctx, in) // quiet hours begin, or the window for free text closes, before its moment
	}
	now := a.Now()
	attempt := ledger.Attempt{
		ID: uuid.Must(uuid.NewV7()), StartedAt: now, GrantedAt: slot, LeaseUntil: now.Add(a.Lease), BodySHA256: sha256.Sum256([]byte(body)),
	}
	var contentVariables string
	if verdict.Template {
		variant := d.Variant()
		attempt.ContentSID, contentVariables = variant.ContentSID, d.ContentVariables(variant)
	}
	begun, err := a.Store.Begin(ctx, d, attempt, verdict.Steps)
	if err != nil {
		return Next{}, err
	}
	if begun != ledger.BegunNow {
		return a.CheckCompliance(ctx, in) // what changed in the meantime says what comes next
	}
	// From here on the outcome is found out and recorded, even when whoever asked for it has given up.
	ctx = context.WithoutCancel(ctx)
	_ = sleep(ctx, slot.Sub(a.Now())) // never fails: nothing cancels it
	outcome := a.Sender.Send(ctx, message.Outbound{
		AttemptID: attempt.ID, Channel: d.Channel, From: d.Sender, To: d.Phone.String(), Body: body,
		ContentSID: attempt.ContentSID, ContentVariables: contentVariables,
		Validity: validity(verdict, slot), Lease: attempt.LeaseUntil,
	})
	return a.record(ctx, d, attempt, outcome)
}

// turn waits for a moment that the rate limits grant and for which there is room, and returns shortly before it; the caller
// then owes a.Pace a Release. When patience ends first, ok is false, and slot is when to come back.
func (a *Delivery) turn(ctx context.Context, d ledger.Delivery) (slot time.Time, ok bool, err error) {
	began := time.Now()
	for {
		slot, ok, err = a.Pace.Wait(ctx, d.SenderID, d.CampaignID, d.RatePerSecond, max(a.Patience-time.Since(began), 0))
		if err != nil || !ok {
			return slot, ok, err
		}
		if err := sleep(ctx, slot.Add(-beginLead).Sub(a.Now())); err != nil {
			a.Pace.Release()
			return slot, false, err
		}
		if a.Now().Before(slot.Add(lateness)) {
			return slot, true, nil
		}
		a.Pace.Release()
	}
}

// validity is how long the provider may hold the message: not into the recipient's quiet hours.
func validity(v compliance.Verdict, now time.Time) time.Duration {
	if v.Closes.IsZero() {
		return maxValidity
	}
	return min(maxValidity, max(v.Closes.Sub(now), time.Second))
}

// record writes down what came of a request.
func (a *Delivery) record(ctx context.Context, d ledger.Delivery, attempt ledger.Attempt, o message.Outcome) (Next, error) {
	now := a.Now()
	switch o.Result {
	case message.ResultAccepted:
		if err := a.Store.Accept(ctx, attempt.ID, o.SID, o.HTTPStatus, now); err != nil {
			return Next{}, err
		}
		return Next{Do: Done, Reason: string(message.Accepted)}, nil
	case message.ResultRefused:
		return a.recordRefusal(ctx, d, attempt, o)
	default:
		a.Log.WarnContext(ctx, "send has an unknown outcome", "run_id", d.RunID, "message_id", d.MessageID, "attempt_id", attempt.ID, "http_status", o.HTTPStatus, "detail", o.Detail)
		if err := a.Store.NoteUncertain(ctx, attempt.ID, o); err != nil {
			return Next{}, err
		}
		return Next{Do: Resolve, At: attempt.LeaseUntil.Add(a.Looks[0]), Reason: "outcome"}, nil
	}
}

func (a *Delivery) recordRefusal(ctx context.Context, d ledger.Delivery, attempt ledger.Attempt, o message.Outcome) (Next, error) {
	now := a.Now()
	then := ledger.Then{State: message.Failed, Reason: ledger.FailureReason(o.Policy)}
	switch o.Policy.Class {
	case message.Retry:
		refusals, err := a.Store.RefusedWith(ctx, d.MessageID, o.Code)
		if err != nil {
			return Next{}, err
		}
		if o.Busy() || refusals < o.Policy.Retries {
			until := now.Add(backoff(o, refusals))
			then = ledger.Then{State: message.Pending, Reason: message.ReasonConcurrency, WaitsUntil: &until}
		}
	case message.Stop:
		if d.CampaignStatus != campaign.Running || d.Test { // one that is over cannot be paused, mended and resumed
			break
		}
		until := now.Add(jitter(holdInterval))
		then = ledger.Then{State: message.Pending, Reason: message.ReasonPaused, WaitsUntil: &until}
	default: // the message failed
	}
	if err := a.Store.Refuse(ctx, attempt.ID, ledger.Refused, o, then, now); err != nil {
		return Next{}, err
	}
	a.Log.WarnContext(ctx, "provider refused a send", "run_id", d.RunID, "message_id", d.MessageID, "error_code", o.Code, "http_status", o.HTTPStatus, "class", o.Policy.Class, "then", then.State)
	switch o.Policy.Class {
	case message.OptOut:
		if err := a.Store.OptOutByCarrier(ctx, d.UserID, fmt.Sprintf("error %d on attempt %s", o.Code, attempt.ID), now); err != nil {
			return Next{}, err
		}
	case message.Stop:
		if d.Test { // what it tries out need not be what the campaign sends
			break
		}
		if err := a.Store.PauseForFault(ctx, d.CampaignID, o.Policy.Scope, fmt.Sprintf("provider error %d: %s", o.Code, o.Policy.Meaning), now); err != nil {
			return Next{}, err
		}
	case message.Retry:
		if err := a.slow(ctx, d, o); err != nil {
			return Next{}, err
		}
	default: // nobody else is concerned
	}
	if then.State == message.Pending {
		return Next{Do: Check, At: *then.WaitsUntil, Reason: then.Reason}, nil
	}
	return Next{Do: Check}, nil
}

// slow has the sender slow down where the provider asked for fewer messages.
func (a *Delivery) slow(ctx context.Context, d ledger.Delivery, o message.Outcome) error {
	if !o.Policy.Slows {
		return nil
	}
	perSecond, err := a.Pace.Slow(ctx, d.SenderID, o.RetryAfter)
	if err != nil {
		return err
	}
	a.Log.WarnContext(ctx, "the provider asks for fewer messages: the sender slows down", "sender_id", d.SenderID, "error_code", o.Code, "per_second", perSecond, "retry_after", o.RetryAfter)
	return nil
}

// backoff is how long to wait after the provider turned a request away for the (refusals+1)th time.
func backoff(o message.Outcome, refusals int) time.Duration {
	wait := max(o.Policy.Delay, time.Second) << min(refusals, 5)
	if o.Busy() {
		wait = min(wait, time.Minute)
	}
	return jitter(max(wait, o.RetryAfter))
}

// ResolveAttempt finds out what became of an attempt whose outcome is unknown, by looking at the provider's list. Found
// once: it was accepted. Absent in every look: it was not, and the message is tried again. Anything else is left to a
// person: it is never silently sent again.
func (a *Delivery) ResolveAttempt(ctx context.Context, in Message) (Next, error) {
	d, err := a.Store.Delivery(ctx, in.RunID, in.Seq)
	if err != nil || d.State != message.Sending {
		return a.follow(d), err
	}
	attempt, open, err := a.Store.OpenAttempt(ctx, d.MessageID)
	if err != nil || !open {
		return Next{Do: Check}, err
	}
	now := a.Now()
	if due := attempt.LeaseUntil.Add(a.Looks[min(attempt.Looks, len(a.Looks)-1)]); now.Before(due) {
		return Next{Do: Resolve, At: due, Reason: "outcome"}, nil
	}
	if d.Phone == "" { // erased: nothing is left to look for
		return Next{Do: Check}, a.Store.GiveUp(ctx, attempt.ID, message.ReasonUnresolved, now)
	}
	found, err := a.look(ctx, d, attempt)
	if err != nil {
		a.Log.WarnContext(ctx, "look at the provider's list failed", "run_id", d.RunID, "message_id", d.MessageID, "failed_looks", attempt.FailedLooks+1, "error", err)
		if attempt.FailedLooks+1 >= maxFailedLooks {
			return Next{Do: Check}, a.Store.GiveUp(ctx, attempt.ID, message.ReasonUnresolved, now)
		}
		wait := min(10*time.Minute, a.Looks[0]<<attempt.FailedLooks)
		return Next{Do: Resolve, At: now.Add(jitter(wait)), Reason: "outcome"}, a.Store.NoteLook(ctx, attempt.ID, true)
	}
	switch len(found) {
	case 0:
		return a.notFound(ctx, d, attempt)
	case 1:
		if err := a.adopt(ctx, attempt.ID, found[0]); err != nil {
			return Next{}, err
		}
		return a.CheckCompliance(ctx, in)
	default:
		return Next{Do: Check}, a.Store.GiveUp(ctx, attempt.ID, message.ReasonAmbiguous, now)
	}
}

// look returns the messages on the provider's list that can only be this attempt's.
func (a *Delivery) look(ctx context.Context, d ledger.Delivery, attempt ledger.Attempt) ([]message.Remote, error) {
	since := attempt.StartedAt.Add(-clockSkew)
	list, err := a.Sender.List(ctx, d.Channel, d.Sender, d.Phone.String(), since)
	if err != nil {
		return nil, err
	}
	var fitting []message.Remote
	var sids []string
	for _, r := range list {
		if r.Outbound && !r.CreatedAt.Before(since) && says(r, attempt) {
			fitting, sids = append(fitting, r), append(sids, r.SID)
		}
	}
	if len(fitting) == 0 {
		return nil, nil
	}
	taken, err := a.Store.TakenSIDs(ctx, attempt.ID, sids)
	if err != nil {
		return nil, err
	}
	found := fitting[:0]
	for _, r := range fitting {
		if !taken[r.SID] {
			found = append(found, r)
		}
	}
	return found, nil
}

// says reports whether the provider's message has the attempt's text. Of a template the list shows the text, filled, or
// none at all.
func says(r message.Remote, attempt ledger.Attempt) bool {
	return sha256.Sum256([]byte(r.Body)) == attempt.BodySHA256 || attempt.ContentSID != "" && r.Body == ""
}

// adopt takes a message that the provider shows as the attempt's.
func (a *Delivery) adopt(ctx context.Context, attemptID uuid.UUID, r message.Remote) error {
	if err := a.Store.Accept(ctx, attemptID, r.SID, 0, a.Now()); err != nil {
		return err
	}
	return a.report(ctx, attemptID, r)
}

// report applies what the provider's own record of a message says, as if it had called back.
func (a *Delivery) report(ctx context.Context, attemptID uuid.UUID, r message.Remote) error {
	if r.State == "" || r.State == message.Accepted {
		return nil
	}
	_, err := a.Store.RecordReceipts(ctx, []message.Report{{
		AttemptID: &attemptID, SID: r.SID, Status: r.Status, State: r.State, Code: r.ErrorCode, Policy: r.Policy, Payload: []byte(`{"fetched": true}`),
	}}, a.Now())
	return err
}

// notFound counts a look that saw nothing; after the last one the attempt is absent.
func (a *Delivery) notFound(ctx context.Context, d ledger.Delivery, attempt ledger.Attempt) (Next, error) {
	now := a.Now()
	if err := a.Store.NoteLook(ctx, attempt.ID, false); err != nil {
		return Next{}, err
	}
	if looks := attempt.Looks + 1; looks < len(a.Looks) {
		return Next{Do: Resolve, At: attempt.LeaseUntil.Add(a.Looks[looks]), Reason: "outcome"}, nil
	}
	tried, err := a.Store.Tried(ctx, d.MessageID)
	if err != nil {
		return Next{}, err
	}
	then := ledger.Then{State: message.Pending}
	if tried >= message.MaxAttempts {
		then = ledger.Then{State: message.Failed, Reason: message.ReasonAttempts}
	}
	return Next{Do: Check}, a.Store.Refuse(ctx, attempt.ID, ledger.Absent, message.Outcome{Detail: "absent from the provider's list"}, then, now)
}

// FetchReceipt asks the provider about an accepted message whose decisive receipt is overdue. Recipients that were
// started before receipts were swept run by run wait for it.
func (a *Delivery) FetchReceipt(ctx context.Context, in Message) (Next, error) {
	d, err := a.Store.Delivery(ctx, in.RunID, in.Seq)
	if err != nil {
		return Next{}, err
	}
	if !d.State.Undecided() || d.Reason != "" || d.AcceptedAt == nil {
		return a.follow(d), nil
	}
	if due := d.AcceptedAt.Add(a.ReceiptDeadline); a.Now().Before(due) {
		return Next{Do: Fetch, At: due, Reason: "receipt"}, nil
	}
	attemptID, sid, err := a.Store.StandingSID(ctx, d.MessageID)
	if err != nil {
		return Next{}, err
	}
	if err := a.fetch(ctx, ledger.Overdue{MessageID: d.MessageID, AttemptID: attemptID, SID: sid}); err != nil {
		return Next{}, err
	}
	if d, err = a.Store.Delivery(ctx, in.RunID, in.Seq); err != nil {
		return Next{}, err
	}
	return a.follow(d), nil
}

const (
	sweepSize   = 200 // overdue receipts of one sweep
	sweepAtOnce = 16  // requests to the provider at the same time
)

// SweepReceipts asks the provider about accepted messages of the run whose decisive receipts are overdue, some hundred
// at the most.
func (a *Delivery) SweepReceipts(ctx context.Context, in outbox.Run) error {
	overdue, err := a.Store.OverdueReceipts(ctx, in.RunID, a.Now().Add(-a.ReceiptDeadline), sweepSize)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(sweepAtOnce)
	for _, o := range overdue {
		g.Go(func() error { return a.fetch(ctx, o) })
	}
	return g.Wait()
}

// fetch asks the provider about one message and takes the answer for a receipt. When it knows nothing decisive either,
// it is not asked again; a callback may still come.
func (a *Delivery) fetch(ctx context.Context, o ledger.Overdue) error {
	remote, err := a.Sender.Fetch(ctx, o.SID)
	switch {
	case isNotFound(err): // deleted there: nothing more will be heard
	case err != nil:
		return err
	default:
		if err := a.report(ctx, o.AttemptID, remote); err != nil {
			return err
		}
	}
	return a.Store.NoteOverdue(ctx, o.MessageID, a.Now()) // changes nothing once the message is decided
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
