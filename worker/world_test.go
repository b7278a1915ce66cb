package worker_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
	"github.com/event-stream-engine/ese/worker"
	"github.com/event-stream-engine/ese/workflows"
)

const (
	receiptDelay    = 2 * time.Second // from an acceptance to its receipt
	receiptDeadline = 12 * time.Hour
	stuckAfter      = 2 * time.Minute
	tick            = time.Minute // between looks at the outbox and at whether all is done
	horizon         = 7 * 24 * time.Hour
)

var looks = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// world is the engine on a virtual clock: the real workflows, activities and store; a provider that keeps a record.
// Time passes when nothing is left to do at the moment, so that days take as long as the work in them.
type world struct {
	t        *testing.T
	env      *testsuite.TestWorkflowEnvironment
	store    *db.Store
	grants   *grants
	provider *provider
	delivery *activities.Delivery
	begin    time.Time
	run      outbox.Run
	url      string // of the database

	every, until time.Duration // between looks, and how long at most; zero: tick and horizon
}

// newWorld makes a world in which it is now.
func newWorld(t *testing.T, now time.Time, options ...db.Option) *world {
	t.Helper()
	url := dbtest.URL(t)
	store, err := db.Open(t.Context(), url, options...)
	require.NoError(t, err)
	t.Cleanup(store.Close)
	w := &world{t: t, store: store, url: url, grants: &grants{Store: store}, provider: &provider{requests: map[string]int{}}}
	w.renew(now)
	require.NoError(t, store.EnsureSender(t.Context(), message.WhatsApp, "+14155238886", now))
	return w
}

// renew gives the world a new Temporal, as one execution is all that an environment carries out.
func (w *world) renew(now time.Time) {
	var suite testsuite.WorkflowTestSuite
	log := slog.New(slog.DiscardHandler)
	suite.SetLogger(sdklog.NewStructuredLogger(log))
	w.env, w.begin = suite.NewTestWorkflowEnvironment(), now
	w.env.SetStartTime(now)
	w.env.SetTestTimeout(time.Minute)
	w.env.RegisterWorkflow(server)
	w.provider.world = w
	w.delivery = &activities.Delivery{
		Store: w.store, Sender: w.provider, Pace: activities.NewPace(w.grants, w.env.Now, log, 100), Now: w.env.Now, Log: log,
		Lease: 10 * time.Second, Looks: looks, ReceiptDeadline: receiptDeadline, Patience: 100 * time.Millisecond,
	}
	worker.Register(w.env, worker.Activities{
		Dispatch: &activities.Dispatch{Store: w.store, Now: w.env.Now, Log: log, ReceiptDeadline: receiptDeadline, StuckAfter: stuckAfter},
		Delivery: w.delivery,
		Imports:  &activities.Imports{Store: w.store, Now: w.env.Now},
		Drip:     &activities.Drip{Store: w.store, Now: w.env.Now},
	})
}

const signalStart = "start"

// started is a workflow that the outbox starts. The zero value is none.
type started struct {
	ID        string
	Campaign  *workflows.CampaignInput
	Recipient *workflows.RecipientInput
	Enrolment *outbox.Enrolment
}

// server stands for the Temporal server: it starts the workflows that it is told to, until it is told of none. A campaign
// is then a workflow among others, as it is in production, and what outlives it is no concern of its.
func server(ctx workflow.Context) error {
	for {
		var in started
		workflow.GetSignalChannel(ctx, signalStart).Receive(ctx, &in)
		if in.ID == "" {
			return nil
		}
		child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: in.ID, ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON})
		var begun workflow.ChildWorkflowFuture
		switch { // it stands for the server: the engine does not start these
		case in.Recipient != nil:
			begun = workflow.ExecuteChildWorkflow(child, workflows.Recipient, *in.Recipient) //nolint:forbidigo // see above
		case in.Enrolment != nil:
			begun = workflow.ExecuteChildWorkflow(child, workflows.Enrolment, *in.Enrolment) //nolint:forbidigo // see above
		default:
			begun = workflow.ExecuteChildWorkflow(child, workflows.Campaign, *in.Campaign) //nolint:forbidigo // see above
		}
		err := begun.GetChildWorkflowExecution().Get(ctx, nil)
		if err != nil && !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
			return err
		}
	}
}

// at has f done when the clock has gone on by d from the beginning.
func (w *world) at(d time.Duration, f func()) { w.env.RegisterDelayedCallback(f, d) }

// live carries the run out until nothing of it is left to do or to hear of.
func (w *world) live() {
	w.t.Helper()
	w.at(0, w.relay)
	w.at(cmp.Or(w.every, tick), w.tick)
	w.env.ExecuteWorkflow(server)
	require.NoError(w.t, w.env.GetWorkflowError())
}

func (w *world) tick() {
	w.relay()
	unsettled, err := w.store.UnsettledRuns(w.t.Context(), w.env.Now())
	require.NoError(w.t, err)
	if len(unsettled) == 0 || w.env.Now().After(w.begin.Add(cmp.Or(w.until, horizon))) {
		w.env.SignalWorkflow(signalStart, started{})
		return
	}
	w.at(cmp.Or(w.every, tick), w.tick)
}

// relay brings the outbox to the workflows, as relay.Relay does.
func (w *world) relay() {
	for {
		n, failed, err := w.store.Relay(w.t.Context(), 200, w.env.Now(), w.env.Now(), func(items []outbox.Item) []error {
			errs := make([]error, len(items))
			for i, item := range items {
				errs[i] = w.deliver(item)
			}
			return errs
		})
		require.NoError(w.t, err)
		require.Zero(w.t, failed)
		if n < 200 {
			return
		}
	}
}

func (w *world) deliver(item outbox.Item) error {
	wake := func(id string) { _ = w.env.SignalWorkflowByID(id, workflows.SignalWake, nil) } // gone: needs no waking
	switch item.Kind {
	case outbox.StartCampaign:
		run, err := outbox.Decode[outbox.Run](item)
		if err != nil {
			return err
		}
		return w.startCampaign(run)
	case outbox.WakeCampaign:
		run, err := outbox.Decode[outbox.Run](item)
		wake(workflows.CampaignID(run))
		return err
	case outbox.StartApproval:
		return nil // approved already: its workflow would do nothing
	case outbox.StartRecipient:
		m, err := outbox.Decode[outbox.Recipient](item)
		w.env.SignalWorkflow(signalStart, started{ID: workflows.RecipientID(m), Recipient: &workflows.RecipientInput{Message: m, SendFirst: true}})
		return err
	case outbox.StartEnrolment:
		e, err := outbox.Decode[outbox.Enrolment](item)
		w.env.SignalWorkflow(signalStart, started{ID: workflows.EnrolmentID(e), Enrolment: &e})
		return err
	case outbox.WakeEnrolment:
		e, err := outbox.Decode[outbox.Enrolment](item)
		wake(workflows.EnrolmentID(e))
		return err
	case outbox.SignalRecipient:
		recipient, err := outbox.Decode[outbox.Recipient](item)
		wake(workflows.RecipientID(recipient))
		return err
	default:
		return fmt.Errorf("item of kind %q", item.Kind)
	}
}

func (w *world) startCampaign(run outbox.Run) error {
	last, err := w.store.LastBatch(w.t.Context(), run.RunID)
	w.env.SignalWorkflow(signalStart, started{ID: workflows.CampaignID(run), Campaign: &workflows.CampaignInput{Run: run, Batches: last}})
	return err
}

// update asks the campaign for something, and hands its answer to done.
func (w *world) update(name, by string, done func(campaign.Steering, error)) {
	err := w.env.UpdateWorkflowByID(workflows.CampaignID(w.run), name, name+" by "+by, &testsuite.TestUpdateCallback{
		OnAccept: func() {},
		OnReject: func(err error) { done(campaign.Steering{}, err) },
		OnComplete: func(result any, err error) {
			s, _ := result.(campaign.Steering)
			done(s, err)
			w.relay()
		},
	}, by)
	require.NoError(w.t, err)
}

// terminate ends a workflow as a person does by hand: its code learns nothing of it.
func (w *world) terminate(id string) { w.env.CancelWorkflowByID(id, "") }

// add makes people known who agreed to be written to. The attributes are theirs beside what puts them in the audience.
func (w *world) add(now time.Time, attributes user.Attributes, numbers ...string) {
	w.t.Helper()
	all := user.Attributes{"audience": "test"}
	for name, value := range attributes {
		all[name] = value
	}
	agreed := user.Change{State: user.OptIn, Source: user.SourceOperator, Evidence: "test"}
	for _, number := range numbers {
		_, err := w.store.CreateUser(w.t.Context(), phone.Number(number), all, agreed, "test", now)
		require.NoError(w.t, err)
	}
}

// trigger makes a campaign to everybody added and starts it.
func (w *world) trigger(plan campaign.Campaign) {
	w.t.Helper()
	template, err := w.store.CreateTemplate(w.t.Context(), render.Saved{
		Name: "Greeting", Content: "Hello", Channel: message.WhatsApp, Locale: "en", Category: render.Utility, // some are in the United States
	}, w.begin)
	require.NoError(w.t, err)
	approve(w.t, w.store, template, w.begin)
	plan.Topic, plan.TemplateID, plan.Timezone = "Test", template.ID, "UTC"
	plan.SegmentQuery = []byte(`{"attribute": "audience", "operator": "exists"}`)
	c, err := w.store.CreateCampaign(w.t.Context(), plan, w.begin)
	require.NoError(w.t, err)
	w.start(c.ID)
}

// start triggers a campaign.
func (w *world) start(campaignID int64) {
	w.t.Helper()
	run, err := w.store.StartRun(w.t.Context(), campaignID, "test", w.begin)
	require.NoError(w.t, err)
	w.run = outbox.Run{RunID: run.ID, CampaignID: campaignID, Number: run.Number}
}

// approve is the word of the provider and of WhatsApp on a new template.
func approve(t *testing.T, store *db.Store, template render.Saved, now time.Time) {
	t.Helper()
	in := outbox.Template{TemplateID: template.ID, Version: template.Version, Locale: template.Locale}
	require.NoError(t, store.NoteSubmission(t.Context(), in, "HX00000000000000000000000000000000", now))
	require.NoError(t, store.RecordApproval(t.Context(), in, render.Approved, "", now))
}

func (w *world) overview() campaign.Overview {
	w.t.Helper()
	c, err := w.store.Campaign(w.t.Context(), w.run.CampaignID)
	require.NoError(w.t, err)
	return c
}

// ledger returns the run's messages by number.
func (w *world) ledger() map[string]report.Message {
	w.t.Helper()
	return w.ledgerOf(w.run.CampaignID)
}

func (w *world) ledgerOf(campaignID int64) map[string]report.Message {
	w.t.Helper()
	messages, _, err := w.store.Recipients(w.t.Context(), campaignID, report.RecipientFilter{}, 0, 10_000)
	require.NoError(w.t, err)
	found := make(map[string]report.Message, len(messages))
	for _, m := range messages {
		found[m.Phone.String()] = m
	}
	return found
}

// dispatched tells which messages are in a batch, and so have a workflow.
func (w *world) dispatched() map[int]bool {
	w.t.Helper()
	in := map[int]bool{}
	for number := 1; ; number++ {
		seqs, cut, err := w.store.Batch(w.t.Context(), w.run.RunID, number)
		require.NoError(w.t, err)
		if !cut {
			return in
		}
		for _, seq := range seqs {
			in[seq] = true
		}
	}
}

// states counts the run's messages by state.
func (w *world) states() map[message.State]int {
	w.t.Helper()
	states, err := w.store.RunStates(w.t.Context(), w.run.RunID)
	require.NoError(w.t, err)
	return states
}

// requireDelivered checks that everybody got exactly one message, and that the campaign knows it is over.
func (w *world) requireDelivered(people int) {
	w.t.Helper()
	require.Equal(w.t, map[message.State]int{message.Delivered: people}, w.states())
	require.Equal(w.t, campaign.Completed, w.overview().Status)
	require.NotNil(w.t, w.overview().Run.SettledAt)
	require.Len(w.t, w.provider.accepted(), people)
	for to, n := range w.provider.perPerson() {
		require.Equal(w.t, 1, n, "messages to %s", phone.Number(to).Masked())
	}
}

// request is one request to the provider, as it saw it.
type request struct {
	message.Outbound
	at       time.Time
	nth      int // 1…n among those to this number
	accepted bool
}

// provider keeps a record of requests. Unless told otherwise it accepts them all and has the receipts sent.
type provider struct {
	world *world
	// answer says what becomes of a request; nil, or a zero outcome: it is accepted.
	answer func(r request) message.Outcome
	// keeps says whether the provider has a message in spite of its answer; nil: never.
	keeps func(r request) bool
	// mute keeps the receipts back.
	mute bool
	// remote is what the provider's records say of a message that it has.
	remote message.State

	mu       sync.Mutex
	sent     []request
	has      []message.Remote
	requests map[string]int // by number
	fetched  int
}

func (p *provider) Send(_ context.Context, m message.Outbound) message.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.world.env.Now()
	p.requests[m.To]++
	r := request{Outbound: m, at: now, nth: p.requests[m.To]}
	var o message.Outcome
	if p.answer != nil {
		o = p.answer(r)
	}
	if o.Result == "" {
		o = message.Outcome{Result: message.ResultAccepted, HTTPStatus: 201, SID: fmt.Sprintf("SM%d", len(p.sent)+1)}
	}
	r.accepted = o.Result == message.ResultAccepted || p.keeps != nil && p.keeps(r)
	p.sent = append(p.sent, r)
	if r.accepted {
		sid := o.SID
		if sid == "" {
			sid = fmt.Sprintf("SM%d", len(p.sent))
		}
		p.has = append(p.has, message.Remote{
			SID: sid, Status: string(p.remote), State: p.remote, To: m.To, From: m.From, Body: m.Body, Outbound: true, CreatedAt: now,
		})
		if !p.mute {
			p.world.at(receiptDelay, func() { p.world.receipt(r, sid) })
		}
	}
	return o
}

// receipt is a status callback taken in.
func (w *world) receipt(r request, sid string) {
	_, err := w.store.RecordReceipts(w.t.Context(), []message.Report{{
		AttemptID: &r.AttemptID, SID: sid, Status: "delivered", State: message.Delivered, Payload: []byte(`{}`),
	}}, w.env.Now())
	require.NoError(w.t, err)
	w.relay()
}

func (p *provider) Fetch(_ context.Context, sid string) (message.Remote, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetched++
	for _, r := range p.has {
		if r.SID == sid {
			return r, nil
		}
	}
	return message.Remote{}, fault.New(fault.NotFound, "no such message")
}

func (p *provider) List(_ context.Context, _ message.Channel, from, to string, since time.Time) ([]message.Remote, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []message.Remote
	for _, r := range p.has {
		if r.From == from && r.To == to && !r.CreatedAt.Before(since) {
			found = append(found, r)
		}
	}
	return found, nil
}

// accepted returns the messages that the provider took.
func (p *provider) accepted() []request {
	var found []request
	for _, r := range p.sent {
		if r.accepted {
			found = append(found, r)
		}
	}
	return found
}

// perPerson counts the messages that the provider took, by number.
func (p *provider) perPerson() map[string]int {
	n := map[string]int{}
	for _, r := range p.accepted() {
		n[r.To]++
	}
	return n
}

// grants is the store; it remembers the moments that the rate limit granted.
type grants struct {
	*db.Store
	mu      sync.Mutex
	granted []time.Time
}

func (g *grants) Grant(ctx context.Context, senderID int64, wanted map[int64]int, now time.Time) (map[int64][]time.Time, time.Time, error) {
	given, again, err := g.Store.Grant(ctx, senderID, wanted, now)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, moments := range given {
		g.granted = append(g.granted, moments...)
	}
	return given, again, err
}

// numbers returns n invented numbers of that prefix.
func numbers(prefix string, n int) []string {
	found := make([]string, n)
	for i := range found {
		found[i] = fmt.Sprintf("%s%04d", prefix, 1000+i)
	}
	return found
}
