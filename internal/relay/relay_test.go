package relay

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/workflows"
)

// fakeStore hands its items to the relay once and keeps what came of each.
type fakeStore struct {
	items     []outbox.Item
	errs      []error
	before    time.Time
	lastBatch int
	undecided []outbox.Template
}

func (s *fakeStore) Relay(_ context.Context, _ int, writtenBefore, _ time.Time, deliver func([]outbox.Item) []error) (delivered, failed int, err error) {
	s.before, s.errs = writtenBefore, deliver(s.items)
	for _, err := range s.errs {
		if err != nil {
			failed++
		}
	}
	return len(s.errs) - failed, failed, nil
}

func (s *fakeStore) LastBatch(context.Context, int64) (int, error) { return s.lastBatch, nil }

func (s *fakeStore) Schedule(context.Context, int64) (campaign.Schedule, error) {
	return campaign.Schedule{}, nil
}

func (s *fakeStore) RecurringCampaigns(context.Context) ([]int64, error)          { return nil, nil }
func (s *fakeStore) OpenErasures(context.Context, time.Time) ([]uuid.UUID, error) { return nil, nil }

func (s *fakeStore) UnsettledRuns(context.Context, time.Time) ([]outbox.Run, error) { return nil, nil }

func (s *fakeStore) OverdueEnrolments(context.Context, time.Time, int) ([]outbox.Enrolment, error) {
	return nil, nil
}

func (s *fakeStore) UndecidedTemplates(context.Context) ([]outbox.Template, error) {
	return s.undecided, nil
}

// fakeClient keeps what reaches Temporal. Methods that the relay has no business with panic.
type fakeClient struct {
	client.Client
	started  map[string]any
	signals  map[string]error // by workflow id: what the server answers
	signaled []string
}

func (c *fakeClient) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, _ any, args ...any) (client.WorkflowRun, error) {
	c.started[o.ID] = args[0]
	return nil, nil //nolint:nilnil // the relay does not look at the run
}

func (c *fakeClient) SignalWorkflow(_ context.Context, id, _, name string, _ any) error {
	if name == workflows.SignalWake {
		c.signaled = append(c.signaled, id)
	}
	return c.signals[id]
}

func TestDrain(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	item := func(kind outbox.Kind, payload string) outbox.Item {
		return outbox.Item{Kind: kind, Payload: []byte(payload)}
	}
	s := &fakeStore{lastBatch: 3}
	c := &fakeClient{started: map[string]any{}, signals: map[string]error{
		"campaign/7/run/2/recipient/1": serviceerror.NewNotFound("it has ended"),
		"campaign/7/run/2":             errors.New("nobody there"),
	}}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := New(s, c, func() time.Time { return now }, slog.New(slog.DiscardHandler), 2*time.Second)

	for _, test := range []struct {
		name string
		item outbox.Item
		fail bool
	}{
		{"a campaign's start", item(outbox.StartCampaign, `{"run_id": 70, "campaign_id": 7, "number": 2}`), false},
		{"a recipient's start", item(outbox.StartRecipient, `{"run_id": 70, "campaign_id": 7, "number": 2, "seq": 9}`), false},
		{"an import's start", item(outbox.StartImport, `{"import_id": "`+id.String()+`"}`), false},
		{"an approval's start", item(outbox.StartApproval, `{"template_id": 4, "version": 2, "locale": "en_US"}`), false},
		{"an enrolment's start", item(outbox.StartEnrolment, `{"run_id": 3, "campaign_id": 7, "number": 2, "enrolment_id": 4}`), false},
		{"a look at all templates", item(outbox.SyncTemplates, `{}`), false},
		{"a signal to a recipient that has ended", item(outbox.SignalRecipient, `{"run_id": 70, "campaign_id": 7, "number": 2, "seq": 1}`), false},
		{"a signal that fails", item(outbox.WakeCampaign, `{"run_id": 70, "campaign_id": 7, "number": 2}`), true},
		{"an unreadable item", item(outbox.WakeCampaign, `[]`), true},
		{"a kind nobody knows", item("campaign.rest", `{}`), true},
	} {
		s.items = []outbox.Item{test.item}
		require.False(t, r.drain(t.Context()), "one item is no full batch")
		require.Equal(t, test.fail, s.errs[0] != nil, "%s: %v", test.name, s.errs[0])
	}
	require.Equal(t, now.Add(-2*time.Second), s.before, "fresh items are left to whoever wrote them")
	require.Equal(t, map[string]any{
		"campaign/7/run/2": workflows.CampaignInput{Run: outbox.Run{RunID: 70, CampaignID: 7, Number: 2}, Batches: 3},
		"campaign/7/run/2/recipient/9": workflows.RecipientInput{
			Message: activities.Message{Run: outbox.Run{RunID: 70, CampaignID: 7, Number: 2}, Seq: 9}, SendFirst: true,
		},
		"campaign/7/run/2/enrolment/4": outbox.Enrolment{Run: outbox.Run{RunID: 3, CampaignID: 7, Number: 2}, EnrolmentID: 4},
		"import/" + id.String():        outbox.Import{ImportID: id},

		"template/4/version/2/locale/en_US": outbox.Template{TemplateID: 4, Version: 2, Locale: "en_US"},
		"templates/sync":                    outbox.Sync{},
	}, c.started, "a campaign goes on where its batches end")
	require.Equal(t, []string{"campaign/7/run/2/recipient/1", "campaign/7/run/2"}, c.signaled)
}

// Waking never blocks, and a relay that was woken while it worked looks again.
func TestWake(t *testing.T) {
	t.Parallel()
	r := New(&fakeStore{}, &fakeClient{}, time.Now, slog.New(slog.DiscardHandler), 0)
	for range 3 {
		r.Wake()
	}
	require.Len(t, r.woken, 1)
}
