package worker_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/privacy"
	"github.com/event-stream-engine/ese/internal/relay"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/twilio"
	"github.com/event-stream-engine/ese/internal/twiliosim"
	"github.com/event-stream-engine/ese/internal/user"
	"github.com/event-stream-engine/ese/worker"
	"github.com/event-stream-engine/ese/workflows"
)

const (
	recorded = "../workflows/testdata/replay"
	greeting = "A greeting that no history may hold" // workflows/replay_test.go looks for it, and for the numbers
)

// TestRecord runs campaigns and an import on the Temporal server at RECORD (host:port) and writes their histories to
// workflows/testdata/replay. It does nothing unless asked to: histories are recorded when a workflow has learned a new path, and
// kept for good. Names that begin with send-first are of recipients that begin with the send; the older ones begin with a check,
// and their scenarios are gone.
func TestRecord(t *testing.T) {
	address := os.Getenv("RECORD")
	if address == "" {
		t.Skip("RECORD is not set: nothing to record")
	}
	r := newRecorder(t, address)
	require.NoError(t, os.MkdirAll(recorded, 0o755))
	for name, scenario := range map[string]func(*testing.T, *recorder){
		"pause": recordPause, "cancel": recordCancel, "night": recordNight, "provider": recordProvider, "schedule": recordSchedule,
		"terminated": recordTerminated, "import": recordImport, "templates": recordTemplates, "recurrence": recordRecurrence,
		"privacy": recordPrivacy, "drip": recordDrip,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario(t, r)
		})
	}
}

// recordPause is a run of several batches that is paused and resumed half-way.
func recordPause(t *testing.T, r *recorder) {
	t.Helper()
	run := r.trigger(t, 150, campaign.Campaign{RatePerSecond: 20})
	r.await(t, run, func(s map[message.State]int) bool { return s[message.Delivered] > 20 })
	r.update(t, run, workflows.UpdateSetRate, workflows.SetRate{PerSecond: 15, By: "test"})
	r.update(t, run, workflows.UpdatePause, "test")
	var held []report.Message
	require.Eventually(t, func() bool {
		held = r.messages(t, run, message.Pending, message.ReasonPaused)
		return len(held) > 0
	}, time.Minute, 50*time.Millisecond)
	r.update(t, run, workflows.UpdateResume, "test")
	r.settled(t, run)
	r.save(t, "send-first-campaign-set-rate-pause-resume", workflows.CampaignID(run))
	r.save(t, "send-first-batch", workflows.BatchID(run, 1))
	r.save(t, "send-first-recipient-sent", r.recipient(run, r.messages(t, run, message.Delivered, "")[0]))
	r.save(t, "send-first-recipient-held-and-resumed", r.recipient(run, held[0]))
}

func recordCancel(t *testing.T, r *recorder) {
	t.Helper()
	run := r.trigger(t, 30, campaign.Campaign{RatePerSecond: 2})
	r.await(t, run, func(s map[message.State]int) bool { return s[message.Delivered] > 1 })
	require.Eventually(t, func() bool { return len(r.messages(t, run, message.Pending, message.ReasonRateLimit)) > 0 }, time.Minute, 50*time.Millisecond)
	waiting := r.messages(t, run, message.Pending, message.ReasonRateLimit)
	r.update(t, run, workflows.UpdateCancel, "test")
	r.settled(t, run)
	r.save(t, "send-first-campaign-cancel", workflows.CampaignID(run))
	r.save(t, "send-first-recipient-cancelled", r.recipient(run, waiting[len(waiting)-1]))
}

// recordNight begins a few seconds before quiet hours that last for a minute. One person says STOP in the meantime.
func recordNight(t *testing.T, r *recorder) {
	t.Helper()
	<-time.After(time.Until(time.Now().Truncate(time.Minute).Add(54 * time.Second))) // quiet hours begin on the minute
	now := time.Now().UTC()
	start := (now.Hour()*60 + now.Minute() + 1) % (24 * 60)
	end := (start + 1) % (24 * 60)
	run := r.trigger(t, 20, campaign.Campaign{RatePerSecond: 1, QuietStart: &start, QuietEnd: &end})
	var waiting []report.Message
	require.Eventually(t, func() bool {
		waiting = r.messages(t, run, message.Pending, "quiet_hours")
		return len(waiting) > 1
	}, time.Minute, 100*time.Millisecond)
	_, err := r.store.Receive(t.Context(), inbound.Message{
		SID: "SM-stop", Channel: message.WhatsApp, From: waiting[0].Phone, Body: "STOP", Payload: json.RawMessage(`{}`),
	}, time.Now())
	require.NoError(t, err)
	r.relay.Wake()
	r.settled(t, run)
	r.save(t, "send-first-campaign-night", workflows.CampaignID(run))
	r.save(t, "send-first-recipient-stopped", r.recipient(run, waiting[0]))
	r.save(t, "send-first-recipient-night", r.recipient(run, waiting[1]))
}

// recordProvider has the provider behave badly in every way.
func recordProvider(t *testing.T, r *recorder) {
	t.Helper()
	numbers := r.people(t, 5)
	for i, how := range []conduct{lost, swallowed, throttled, silent, refusing} {
		r.provider.set(numbers[i], how)
	}
	run := r.trigger(t, 0, campaign.Campaign{RatePerSecond: 10})
	r.settled(t, run)
	r.save(t, "send-first-campaign-sweep", workflows.CampaignID(run))
	byNumber := map[string]report.Message{}
	for _, m := range r.messages(t, run, "", "") {
		byNumber[m.Phone.String()] = m
	}
	for i, want := range []struct {
		name  string
		state message.State
	}{
		{"send-first-recipient-resolved-found", message.Delivered}, {"send-first-recipient-resolved-absent", message.Delivered},
		{"send-first-recipient-throttled", message.Delivered}, {"", message.Delivered}, {"send-first-recipient-failed", message.Failed},
	} {
		m := byNumber[numbers[i]]
		require.Equal(t, want.state, m.State, want.name)
		if want.name == "" { // its receipt was asked for by the campaign
			continue
		}
		r.save(t, want.name, r.recipient(run, m))
	}
}

func recordSchedule(t *testing.T, r *recorder) {
	t.Helper()
	when := time.Now().Add(3 * time.Second)
	run := r.trigger(t, 2, campaign.Campaign{RatePerSecond: 10, ScheduleTime: &when})
	r.settled(t, run)
	r.save(t, "campaign-schedule", workflows.CampaignID(run))
}

// recordTerminated has a recipient's workflow terminated while it waits; the campaign takes the message up again.
func recordTerminated(t *testing.T, r *recorder) {
	t.Helper()
	run := r.trigger(t, 8, campaign.Campaign{RatePerSecond: 1})
	var waiting []report.Message
	require.Eventually(t, func() bool {
		waiting = r.messages(t, run, message.Pending, message.ReasonRateLimit)
		return len(waiting) > 2
	}, time.Minute, 50*time.Millisecond)
	last := waiting[len(waiting)-1]
	require.NoError(t, r.temporal.TerminateWorkflow(t.Context(), r.recipient(run, last), "", "by hand"))
	r.settled(t, run)
	r.await(t, run, func(s map[message.State]int) bool { return s[message.Delivered] == 8 })
	r.save(t, "send-first-campaign-taken-up-again", workflows.CampaignID(run))
	r.save(t, "send-first-recipient-rate-limit", r.recipient(run, waiting[1]))
	r.save(t, "send-first-recipient-taken-up-again", r.recipient(run, last))
}

// recordRecurrence waits for the first occurrence of a campaign that recurs every minute, and has another come while that
// one's run is under way.
func recordRecurrence(t *testing.T, r *recorder) {
	t.Helper()
	id := r.recurring(t, 60, campaign.Campaign{RatePerSecond: 5, Recurrence: campaign.Recurrence{Cron: "* * * * *", Timezone: "UTC"}})
	var first campaign.Run
	require.Eventually(t, func() bool {
		c, err := r.store.Campaign(t.Context(), id)
		require.NoError(t, err)
		if c.Run != nil {
			first = *c.Run
		}
		return c.Run != nil
	}, 2*time.Minute, 50*time.Millisecond)
	schedule := r.temporal.ScheduleClient().GetHandle(t.Context(), campaign.ScheduleID(id))
	require.NoError(t, schedule.Trigger(t.Context(), client.ScheduleTriggerOptions{}))
	var occurrences []client.ScheduleActionResult
	require.Eventually(t, func() bool {
		described, err := schedule.Describe(t.Context())
		require.NoError(t, err)
		occurrences = described.Info.RecentActions
		return len(occurrences) > 1
	}, time.Minute, 50*time.Millisecond)
	_, err := r.store.Steer(t.Context(), id, campaign.Cancelled, "test", "", time.Now())
	require.NoError(t, err)
	r.relay.Wake()
	r.settled(t, outbox.Run{RunID: first.ID, CampaignID: id, Number: first.Number})
	r.save(t, "occurrence", occurrences[0].StartWorkflowResult.WorkflowID)
	r.save(t, "occurrence-left-out", occurrences[1].StartWorkflowResult.WorkflowID)
	require.Eventually(t, func() bool {
		_, err := schedule.Describe(t.Context())
		_, gone := errors.AsType[*serviceerror.NotFound](err)
		return gone
	}, time.Minute, 50*time.Millisecond)
}

// recordDrip takes one person through three steps, a few seconds apart, and has another say STOP after the first.
func recordDrip(t *testing.T, r *recorder) {
	t.Helper()
	numbers := r.people(t, 2)
	plan := campaign.Campaign{
		Topic: "Drip", TemplateID: r.template, Timezone: "UTC", RatePerSecond: 10, Trigger: campaign.OnEvent, TriggerName: "signed.up",
		Steps: []campaign.Step{{TemplateID: r.template}, {TemplateID: r.template, Wait: 10 * time.Second}, {TemplateID: r.template, Wait: 10 * time.Second}},
	}
	c, err := r.store.CreateCampaign(t.Context(), plan, time.Now())
	require.NoError(t, err)
	opened, err := r.store.StartRun(t.Context(), c.ID, "test", time.Now())
	require.NoError(t, err)
	run := outbox.Run{RunID: opened.ID, CampaignID: c.ID, Number: opened.Number}
	var enrolments []outbox.Enrolment
	for i, number := range numbers {
		taken, err := r.store.TakeEvents(t.Context(), []ledger.Event{{ID: fmt.Sprint(i), Name: "signed.up", Phone: phone.Number(number)}}, time.Now())
		require.NoError(t, err)
		require.NoError(t, taken[0].Refused)
		enrolments = append(enrolments, outbox.Enrolment{Run: run, EnrolmentID: taken[0].Messages[0].EnrolmentID})
	}
	r.relay.Wake()
	r.await(t, run, func(s map[message.State]int) bool { return s[message.Delivered] == 2 })
	_, err = r.store.Receive(t.Context(), inbound.Message{
		SID: "SM-stop-drip", Channel: message.WhatsApp, From: phone.Number(numbers[1]), Body: "STOP", Payload: json.RawMessage(`{}`),
	}, time.Now())
	require.NoError(t, err)
	require.NoError(t, r.store.CloseRun(t.Context(), c.ID, "test", time.Now()))
	r.relay.Wake()
	r.settled(t, run)
	r.save(t, "enrolment-completed", workflows.EnrolmentID(enrolments[0]))
	r.save(t, "enrolment-stopped", workflows.EnrolmentID(enrolments[1]))
	r.save(t, "drip-campaign", workflows.CampaignID(run))
}

func recordImport(t *testing.T, r *recorder) {
	t.Helper()
	id := uuid.New()
	rows := []json.RawMessage{[]byte(`{"phone_number": "` + colombo + `9999", "consent_state": "OPT_IN"}`), []byte(`{"phone_number": "none"}`)}
	_, err := r.store.CreateImport(t.Context(), intake.Import{ID: id, Format: intake.JSON, CreatedBy: "test"}, intake.Records(rows), time.Now())
	require.NoError(t, err)
	r.relay.Wake()
	require.Eventually(t, func() bool {
		imp, err := r.store.Import(t.Context(), id)
		require.NoError(t, err)
		return imp.Status.Over()
	}, time.Minute, 50*time.Millisecond)
	r.save(t, "import", workflows.ImportID(id))

	unknown := uuid.New()
	_, err = r.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.ImportID(unknown), TaskQueue: workflows.TaskQueue},
		workflows.Import, outbox.Import{ImportID: unknown})
	require.NoError(t, err)
	r.save(t, "import-failed", workflows.ImportID(unknown))
}

// recordPrivacy erases somebody whose message the provider does not let go of at first, and empties what is old.
func recordPrivacy(t *testing.T, r *recorder) {
	t.Helper()
	numbers := r.people(t, 2)
	r.provider.set(numbers[0], holding)
	run := r.trigger(t, 0, campaign.Campaign{RatePerSecond: 10})
	r.settled(t, run)
	for i, name := range []string{"erasure-comes-back", "erasure"} {
		e, err := r.store.EraseUser(t.Context(), phone.Number(numbers[i]), "test", time.Now())
		require.NoError(t, err)
		r.relay.Wake()
		require.Eventually(t, func() bool {
			e, err = r.store.Erasure(t.Context(), e.ID)
			require.NoError(t, err)
			return e.CompletedAt != nil
		}, time.Minute, 50*time.Millisecond)
		require.Equal(t, 1, e.Removed)
		r.save(t, name, workflows.ErasureID(e.ID))
	}
	_, err := r.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.RetentionID, TaskQueue: workflows.TaskQueue}, workflows.Retention)
	require.NoError(t, err)
	r.save(t, "retention", workflows.RetentionID)
}

// recorder is the engine on a real Temporal server and a real database, with a provider that does as it is told.
type recorder struct {
	temporal client.Client
	store    *db.Store
	relay    *relay.Relay
	provider *scripted
	template int64

	simulator string // the address of the provider of templates

	mu    sync.Mutex
	added int // people
}

// recordTemplates has templates approved after a while, rejected, and found to be another one than was thought, and a campaign
// that waits for the first of these.
func recordTemplates(t *testing.T, r *recorder) {
	t.Helper()
	made := func(name, sid string) outbox.Template {
		saved, err := r.store.CreateTemplate(t.Context(), render.Saved{
			Name: name, Content: greeting, Channel: message.WhatsApp, Locale: "en", Variants: []render.Variant{{Locale: "en", Content: greeting, ContentSID: sid}},
		}, time.Now())
		require.NoError(t, err)
		return outbox.Template{TemplateID: saved.ID, Version: 1, Locale: "en"}
	}
	r.reviews(t, twiliosim.ApprovalFaults{DelayMS: 5000})
	slow := made("Slow", "")
	r.people(t, 3)
	run := r.triggerWith(t, slow.TemplateID, campaign.Campaign{RatePerSecond: 10})
	r.settled(t, run)
	r.save(t, "approval-approved", workflows.ApprovalID(slow))
	r.save(t, "template-approval-campaign", workflows.CampaignID(run))

	r.reviews(t, twiliosim.ApprovalFaults{Reject: "INVALID_FORMAT"})
	rejected := made("Rejected", "")
	r.decided(t, rejected)
	r.save(t, "approval-rejected", workflows.ApprovalID(rejected))

	invalid := made("Invalid", "HX00000000000000000000000000000000")
	r.decided(t, invalid)
	r.save(t, "approval-invalid", workflows.ApprovalID(invalid))

	require.NoError(t, r.store.RequestSync(t.Context(), "test", time.Now()))
	r.relay.Wake()
	require.Eventually(t, func() bool {
		_, total, err := r.store.Contents(t.Context(), "", 10)
		require.NoError(t, err)
		return total > 0
	}, time.Minute, 50*time.Millisecond)
	r.save(t, "templates-sync", outbox.SyncID)
}

// decided waits until nobody is asked about a template any more.
func (r *recorder) decided(t *testing.T, in outbox.Template) {
	t.Helper()
	r.relay.Wake()
	require.Eventually(t, func() bool {
		v, _, err := r.store.Variant(t.Context(), in)
		require.NoError(t, err)
		return !v.Approval.Undecided()
	}, time.Minute, 50*time.Millisecond)
}

// contents is a simulated provider of templates.
func (r *recorder) contents(t *testing.T) *twilio.Client {
	t.Helper()
	const account, token = "AC00000000000000000000000000000000", "localstack"
	sim, err := twiliosim.New(twiliosim.Config{AccountSID: account, AuthToken: token, DataDir: t.TempDir()})
	require.NoError(t, err)
	server := httptest.NewServer(sim.Handler())
	c, err := twilio.New(twilio.Config{AccountSID: account, AuthToken: token, BaseURL: server.URL})
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Close()
		require.NoError(t, sim.Close())
		server.Close()
	})
	r.simulator = server.URL
	return c
}

// reviews says how WhatsApp treats what is submitted from now on.
func (r *recorder) reviews(t *testing.T, rules twiliosim.ApprovalFaults) {
	t.Helper()
	body, err := json.Marshal(twiliosim.Faults{Approvals: rules})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.simulator+"/sim/faults", bytes.NewReader(body))
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}

func newRecorder(t *testing.T, address string) *recorder {
	t.Helper()
	temporal, err := client.Dial(client.Options{HostPort: address, Identity: "recorder", Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	log := slog.New(slog.DiscardHandler)
	store := dbtest.New(t)
	r := &recorder{temporal: temporal, store: store, relay: relay.New(store, temporal, time.Now, log, 0)}
	r.provider = &scripted{recorder: r, told: map[string]conduct{}, requests: map[string]int{}, held: map[string]bool{}}
	const receiptDeadline, stuckAfter = 5 * time.Second, 10 * time.Second
	w := worker.New(temporal, worker.Activities{
		Dispatch: &activities.Dispatch{
			Store: store, Now: time.Now, Log: log, ReceiptDeadline: receiptDeadline, StuckAfter: stuckAfter,
			ErrorMeaning: func(code int) string { return twilio.PolicyOf(code).Meaning },
		},
		Delivery: &activities.Delivery{
			Store: store, Sender: r.provider, Pace: activities.NewPace(store, time.Now, log, 100), Now: time.Now, Log: log, Lease: time.Second,
			Looks: []time.Duration{time.Second, 2 * time.Second}, ReceiptDeadline: receiptDeadline, Patience: 500 * time.Millisecond,
		},
		Imports:   &activities.Imports{Store: store, Now: time.Now},
		Templates: &activities.Templates{Store: store, Provider: r.contents(t), Now: time.Now, Log: log},
		Privacy: &activities.Privacy{
			Store: store, Provider: r.provider, Now: time.Now, Log: log, Settled: time.Second, Retention: privacy.Retention{privacy.ReceiptPayloads: time.Hour},
		},
		Drip: &activities.Drip{Store: store, Now: time.Now},
	}, 100, time.Second)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	ctx, stop := context.WithCancel(context.Background())
	var relaying sync.WaitGroup
	relaying.Go(func() { r.relay.Run(ctx) })
	t.Cleanup(func() {
		stop()
		relaying.Wait()
	})

	require.NoError(t, store.EnsureSender(t.Context(), message.WhatsApp, "+14155238886", time.Now()))
	template, err := store.CreateTemplate(t.Context(), render.Saved{Name: "Greeting", Content: greeting, Channel: message.WhatsApp, Locale: "en"}, time.Now())
	require.NoError(t, err)
	r.template = template.ID
	approve(t, store, template, time.Now())
	return r
}

// people makes n invented people known and returns their numbers.
func (r *recorder) people(t *testing.T, n int) []string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	numbers := make([]string, n)
	for i := range numbers {
		r.added++
		numbers[i] = fmt.Sprintf("%s%04d", colombo, r.added)
		_, err := r.store.CreateUser(t.Context(), phone.Number(numbers[i]), user.Attributes{"test": t.Name(), "timezone": "UTC"},
			user.Change{State: user.OptIn, Source: user.SourceOperator, Evidence: "test"}, "test", time.Now())
		require.NoError(t, err)
	}
	return numbers
}

// trigger makes n more people known and starts a campaign to all of the test's.
func (r *recorder) trigger(t *testing.T, n int, plan campaign.Campaign) outbox.Run {
	t.Helper()
	r.people(t, n)
	return r.triggerWith(t, r.template, plan)
}

// triggerWith starts a campaign by a template to all people of the test's.
func (r *recorder) triggerWith(t *testing.T, template int64, plan campaign.Campaign) outbox.Run {
	t.Helper()
	c := r.campaign(t, template, plan)
	run, err := r.store.StartRun(t.Context(), c, "test", time.Now())
	require.NoError(t, err)
	r.relay.Wake()
	return outbox.Run{RunID: run.ID, CampaignID: c, Number: run.Number}
}

// recurring is trigger for a campaign that has no run yet.
func (r *recorder) recurring(t *testing.T, n int, plan campaign.Campaign) int64 {
	t.Helper()
	r.people(t, n)
	c := r.campaign(t, r.template, plan)
	_, err := r.store.StartRun(t.Context(), c, "test", time.Now())
	require.NoError(t, err)
	r.relay.Wake()
	return c
}

// campaign makes a campaign by a template to all people of the test's.
func (r *recorder) campaign(t *testing.T, template int64, plan campaign.Campaign) int64 {
	t.Helper()
	plan.Topic, plan.TemplateID, plan.Timezone = "Test", template, "UTC"
	query, err := json.Marshal(map[string]string{"attribute": "test", "operator": "equals", "value": t.Name()})
	require.NoError(t, err)
	plan.SegmentQuery = query
	c, err := r.store.CreateCampaign(t.Context(), plan, time.Now())
	require.NoError(t, err)
	return c.ID
}

func (r *recorder) messages(t *testing.T, run outbox.Run, state message.State, reason string) []report.Message {
	t.Helper()
	found, _, err := r.store.Recipients(t.Context(), run.CampaignID, report.RecipientFilter{State: state, Reason: reason}, 0, 1000)
	require.NoError(t, err)
	return found
}

func (r *recorder) recipient(run outbox.Run, m report.Message) string {
	return workflows.RecipientID(outbox.Recipient{Run: run, Seq: m.Seq})
}

// await waits until the run's messages are in states that satisfy done.
func (r *recorder) await(t *testing.T, run outbox.Run, done func(map[message.State]int) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		states, err := r.store.RunStates(t.Context(), run.RunID)
		require.NoError(t, err)
		return done(states)
	}, 5*time.Minute, 50*time.Millisecond)
}

// settled waits until nothing of the run is left to do or to hear of.
func (r *recorder) settled(t *testing.T, run outbox.Run) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := r.store.Campaign(t.Context(), run.CampaignID)
		require.NoError(t, err)
		return c.Run.SettledAt != nil
	}, 5*time.Minute, 50*time.Millisecond)
}

func (r *recorder) update(t *testing.T, run outbox.Run, name string, in any) {
	t.Helper()
	handle, err := r.temporal.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: workflows.CampaignID(run), UpdateName: name, Args: []any{in}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	require.NoError(t, err)
	require.NoError(t, handle.Get(t.Context(), nil))
	r.relay.Wake()
}

// save waits for a workflow's end and keeps its history.
func (r *recorder) save(t *testing.T, name, workflowID string) {
	t.Helper()
	require.NoError(t, r.temporal.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), nil))
	var history historypb.History
	events := r.temporal.GetWorkflowHistory(t.Context(), workflowID, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		history.Events = append(history.Events, event)
	}
	raw, err := protojson.Marshal(&history)
	require.NoError(t, err)
	file, err := os.Create(filepath.Join(recorded, name+".json.gz"))
	require.NoError(t, err)
	zipped := gzip.NewWriter(file)
	_, err = zipped.Write(raw)
	require.NoError(t, err)
	require.NoError(t, zipped.Close())
	require.NoError(t, file.Close())
}

// conduct is how the provider treats a number; the zero value accepts, and sends the receipt at once.
type conduct int

const (
	lost      conduct = iota + 1 // has the first message, though its answer was lost
	swallowed                    // never had the first message, and its answer was lost
	throttled                    // asks for fewer requests, once
	silent                       // sends no receipt
	refusing                     // refuses for good
	holding                      // does not let go of a message when asked to for the first time
)

// scripted is a provider that does as it is told.
type scripted struct {
	recorder *recorder
	mu       sync.Mutex
	told     map[string]conduct
	requests map[string]int
	has      []message.Remote
	held     map[string]bool // by SID
}

func (p *scripted) set(number string, how conduct) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told[number] = how
}

func (p *scripted) Send(_ context.Context, m message.Outbound) message.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[m.To]++
	how, first := p.told[m.To], p.requests[m.To] == 1
	switch {
	case how == swallowed && first:
		return message.Outcome{Result: message.ResultUnknown}
	case how == throttled && first:
		return message.Outcome{Result: message.ResultRefused, HTTPStatus: 429, Code: 20429, Policy: twilio.PolicyOf(20429)}
	case how == refusing:
		return message.Outcome{Result: message.ResultRefused, HTTPStatus: 400, Code: 21211, Policy: twilio.PolicyOf(21211)}
	}
	sid := "SM" + strings.ReplaceAll(m.AttemptID.String(), "-", "")
	p.has = append(p.has, message.Remote{
		SID: sid, Status: "delivered", State: message.Delivered, To: m.To, From: m.From, Body: m.Body, Outbound: true, CreatedAt: time.Now(),
	})
	switch how {
	case lost:
		return message.Outcome{Result: message.ResultUnknown}
	case silent:
	default:
		go p.recorder.receipt(m.AttemptID, sid)
	}
	return message.Outcome{Result: message.ResultAccepted, SID: sid, HTTPStatus: 201}
}

// receipt is a status callback. It may come before the answer to the request that it is about.
func (r *recorder) receipt(attempt uuid.UUID, sid string) {
	_, err := r.store.RecordReceipts(context.Background(), []message.Report{{
		AttemptID: &attempt, SID: sid, Status: "delivered", State: message.Delivered, Payload: json.RawMessage(`{}`),
	}}, time.Now())
	if err != nil {
		panic(err)
	}
	r.relay.Wake()
}

func (p *scripted) Fetch(_ context.Context, sid string) (message.Remote, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.has {
		if r.SID == sid {
			return r, nil
		}
	}
	return message.Remote{}, fault.New(fault.NotFound, "no such message")
}

func (p *scripted) List(_ context.Context, _ message.Channel, _, to string, since time.Time) ([]message.Remote, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []message.Remote
	for _, r := range p.has {
		if r.To == to && !r.CreatedAt.Before(since) {
			found = append(found, r)
		}
	}
	return found, nil
}

func (p *scripted) Delete(_ context.Context, sid string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.has, func(r message.Remote) bool { return r.SID == sid })
	switch {
	case i < 0:
		return fault.New(fault.NotFound, "no such message")
	case p.told[p.has[i].To] == holding && !p.held[sid]:
		p.held[sid] = true
		return fault.New(fault.Conflict, "the message is not done")
	default:
		p.has = slices.Delete(p.has, i, i+1)
		return nil
	}
}
