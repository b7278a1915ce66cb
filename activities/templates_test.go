package activities_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/twilio"
	"github.com/event-stream-engine/ese/internal/twiliosim"
)

// studio is a lane whose template is not at the provider yet.
type studio struct {
	*lane
	*activities.Templates
	client *twilio.Client
	own    outbox.Template
}

func newStudio(t *testing.T, rules twiliosim.ApprovalFaults) *studio {
	t.Helper()
	l := newLane(t, 2, twiliosim.Faults{Approvals: rules})
	c := client(t, l.provider)
	l.exec(t, `UPDATE template_variants SET approval = 'unsubmitted', content_sid = NULL`)
	all, err := c.Contents(t.Context())
	require.NoError(t, err)
	for _, made := range all {
		require.NoError(t, c.DeleteContent(t.Context(), made.SID))
	}
	return &studio{
		lane: l, client: c, own: outbox.Template{TemplateID: 1, Version: 1, Locale: "en_US"},
		Templates: &activities.Templates{Store: l.world.Store, Provider: c, Now: time.Now, Log: slog.New(slog.DiscardHandler)},
	}
}

// advance takes the approval a step further and tells how it stands.
func (s *studio) advance(t *testing.T) (activities.Next, string) {
	t.Helper()
	next, err := s.AdvanceApproval(t.Context(), s.own)
	require.NoError(t, err)
	return next, s.text(t, `SELECT concat_ws(' ', approval, nullif(approval_reason, '')) FROM template_variants`)
}

func (s *studio) review(t *testing.T, status string) {
	t.Helper()
	body, err := json.Marshal(twiliosim.Review{Status: status, Reason: "quality"})
	require.NoError(t, err)
	sid := s.text(t, `SELECT content_sid FROM template_variants`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.provider+"/sim/contents/"+sid+"/approval", bytes.NewReader(body))
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
}

func TestApproval(t *testing.T) {
	t.Parallel()
	s := newStudio(t, twiliosim.ApprovalFaults{})
	next, stands := s.advance(t)
	require.Equal(t, []any{activities.Done, "approved"}, []any{next.Do, stands})
	all, err := s.client.Contents(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, []any{"Hi {{1}}", "MARKETING", "ese_1_v1_en_us"}, []any{all[0].Body, all[0].Category, all[0].Name})
	next, _ = s.advance(t)
	require.Equal(t, activities.Done, next.Do)
	require.Equal(t, "read [accepted]", s.drive(t, 1))

	gone, err := s.AdvanceApproval(t.Context(), outbox.Template{TemplateID: 9, Version: 1, Locale: "en"})
	require.NoError(t, err)
	require.Equal(t, activities.Done, gone.Do, "deleted meanwhile")
}

func TestApprovalTakesItsTime(t *testing.T) {
	t.Parallel()
	s := newStudio(t, twiliosim.ApprovalFaults{DelayMS: 3_600_000})
	next, stands := s.advance(t)
	require.Equal(t, []any{activities.Check, "pending"}, []any{next.Do, stands})
	require.WithinDuration(t, time.Now().Add(time.Second), next.At, 2*time.Second)
	s.exec(t, `UPDATE template_variants SET submitted_at = now() - interval '10 minutes'`)
	next, _ = s.advance(t)
	require.WithinDuration(t, time.Now().Add(5*time.Minute), next.At, 90*time.Second, "ever more rarely")

	s.review(t, "approved")
	next, stands = s.advance(t)
	require.Equal(t, []any{activities.Done, "approved quality"}, []any{next.Do, stands})
}

// Whoever made the content did not live to tell: it is found, and no second one is made.
func TestApprovalMakesOneContent(t *testing.T) {
	t.Parallel()
	s := newStudio(t, twiliosim.ApprovalFaults{})
	sid, err := s.client.CreateContent(t.Context(), render.Submission{Name: "ese_1_v1_en_us", Locale: "en_US", Body: "Hi {{1}}"})
	require.NoError(t, err)
	_, err = s.client.CreateContent(t.Context(), render.Submission{Name: "ese_1_v1_en_us", Locale: "en_US", Body: "Of another database: {{1}}"})
	require.NoError(t, err)
	_, stands := s.advance(t)
	require.Equal(t, "approved", stands)
	require.Equal(t, sid, s.text(t, `SELECT content_sid FROM template_variants`))
	all, err := s.client.Contents(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
}

func TestContentThatDoesNotFit(t *testing.T) {
	t.Parallel()
	s := newStudio(t, twiliosim.ApprovalFaults{})
	s.exec(t, `UPDATE template_variants SET content_sid = $1, given = true`, someContent)
	next, stands := s.advance(t)
	require.Equal(t, []any{activities.Done, "invalid Twilio does not know this content"}, []any{next.Do, stands})

	sid, err := s.client.CreateContent(t.Context(), render.Submission{Name: "x", Locale: "en_US", Body: "Hello {{1}}"})
	require.NoError(t, err)
	s.exec(t, `UPDATE template_variants SET content_sid = $1, approval = 'unsubmitted'`, sid)
	_, stands = s.advance(t)
	require.Equal(t, "invalid the content at the provider has another text", stands)
}

func TestRejectedTemplatePausesTheCampaign(t *testing.T) {
	t.Parallel()
	s := newStudio(t, twiliosim.ApprovalFaults{Reject: "INVALID_FORMAT"})
	require.Equal(t, activities.Check, s.step(t, s.message(1), activities.Next{Do: activities.Check}).Do)
	require.Equal(t, "pending template_approval", s.stands(t, 1))
	_, stands := s.advance(t)
	require.Equal(t, "rejected INVALID_FORMAT", stands)

	next := s.step(t, s.message(1), activities.Next{Do: activities.Send})
	require.Equal(t, activities.Check, next.Do)
	require.Equal(t, "PAUSED the template is rejected (en_US): INVALID_FORMAT", s.text(t, `SELECT status || ' ' || status_reason FROM campaigns`))
	s.step(t, s.message(1), next)
	require.Equal(t, "pending paused", s.stands(t, 1))
	require.Zero(t, s.accepted(t, 1))
}

func TestSyncBringsApprovalsHome(t *testing.T) {
	t.Parallel()
	s := newStudio(t, twiliosim.ApprovalFaults{})
	s.advance(t)
	elsewhere, err := s.client.CreateContent(t.Context(), render.Submission{Name: "other", Locale: "fr", Body: "Salut"})
	require.NoError(t, err)
	s.review(t, "paused")
	require.NoError(t, s.SyncContents(t.Context()))
	require.Equal(t, "paused quality", s.text(t, `SELECT approval || ' ' || approval_reason FROM template_variants`))
	require.Equal(t, "unsubmitted", s.text(t, `SELECT approval FROM contents WHERE sid = $1`, elsewhere))

	require.NoError(t, s.client.DeleteContent(t.Context(), s.text(t, `SELECT content_sid FROM template_variants`)))
	require.NoError(t, s.SyncContents(t.Context()))
	require.Equal(t, "invalid the provider has no such content any more", s.text(t, `SELECT approval || ' ' || approval_reason FROM template_variants`))
	require.Equal(t, "1", s.text(t, `SELECT count(*)::text FROM contents`))
}

// The provider never saw the message that we count the window from: what it refuses as free text goes out as a template.
func TestFreeTextThatComesTooLate(t *testing.T) {
	t.Parallel()
	l := newLane(t, 1, twiliosim.Faults{})
	l.exec(t, `UPDATE users SET last_inbound_at = now()`)
	l.exec(t, `UPDATE campaigns SET window_policy = 'free_text'`)
	require.Equal(t, "read [accepted accepted]", l.drive(t, 1))
	require.Equal(t, "free text, template", l.text(t, `SELECT string_agg(CASE WHEN content_sid IS NULL THEN 'free text' ELSE 'template' END, ', ' ORDER BY number) FROM attempts`))
}

func TestWindowPolicies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		policy campaign.WindowPolicy
		person string
		want   string
	}{
		"suppress, never wrote":     {campaign.InWindow, `region = 'LK'`, "suppressed outside_window"},
		"suppress, wrote long ago":  {campaign.InWindow, `last_inbound_at = now() - interval '25 hours'`, "suppressed outside_window"},
		"suppress, wrote":           {campaign.InWindow, `last_inbound_at = now()`, "read [accepted]"},
		"template, United States":   {campaign.ByTemplate, `region = 'US', zones = '{` + zoneOfNoon() + `}'`, "suppressed us_marketing"},
		"template, a broken value":  {campaign.ByTemplate, `attributes = '{"name": "Ann\nLee"}'`, "suppressed invalid_variable"},
		"free text, a broken value": {campaign.ByFreeText, `last_inbound_at = now(), attributes = '{"name": "Ann\nLee"}'`, "read [accepted]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLane(t, 1, twiliosim.Faults{NoWindow: true})
			l.exec(t, `UPDATE campaigns SET window_policy = $1`, tt.policy)
			l.exec(t, `UPDATE users SET `+tt.person)
			require.Equal(t, tt.want, l.drive(t, 1))
		})
	}
}

// zoneOfNoon is a zone where it is about noon, so that the law lets people be written to whenever the test runs.
func zoneOfNoon() string {
	ahead := 12 - time.Now().UTC().Hour()
	return fmt.Sprintf("Etc/GMT%+d", -ahead) // which is named by what UTC is ahead of it
}

// Everybody gets their own language, each by a content of its own.
func TestLanguages(t *testing.T) {
	t.Parallel()
	l := newLane(t, 2, twiliosim.Faults{})
	c := client(t, l.provider)
	sid, err := c.CreateContent(t.Context(), render.Submission{Name: "salut", Locale: "fr", Body: "Salut {{1}}"})
	require.NoError(t, err)
	require.NoError(t, c.SubmitContent(t.Context(), sid, "salut", render.Marketing))
	l.variant(t, 1, "fr", "Salut {name}", sid, render.Approved)
	l.exec(t, `UPDATE users SET attributes = attributes || '{"language": "fr_CA"}' WHERE id = (SELECT user_id FROM messages WHERE run_id = $1 AND seq = 2)`, l.run.ID)
	for seq, want := range map[int]string{1: "Hi Ann", 2: "Salut Ann"} {
		require.Equal(t, "read [accepted]", l.drive(t, seq))
		sent, err := c.Fetch(t.Context(), l.text(t, `SELECT a.provider_sid FROM attempts a JOIN messages m ON m.id = a.message_id WHERE m.run_id = $1 AND m.seq = $2`, l.run.ID, seq))
		require.NoError(t, err)
		require.Equal(t, want, sent.Body)
	}
}

func TestRunWaitsForItsTemplate(t *testing.T) {
	t.Parallel()
	d := frozen(t, 3, nil)
	d.exec(t, `UPDATE template_variants SET approval = 'pending'`)
	plan := d.plan(t)
	require.Equal(t, []any{activities.Wait, "template_approval"}, []any{plan.Action, plan.Reason})
	require.WithinRange(t, plan.Until, d.now.Add(time.Minute), d.now.Add(idleAtMost))
	require.Equal(t, "pending template_approval", d.stands(t, 1))

	d.exec(t, `UPDATE template_variants SET approval = 'approved'`)
	plan = d.plan(t)
	require.Equal(t, []any{activities.StartBatch, 3}, []any{plan.Action, plan.Size})
	require.Equal(t, "pending", d.stands(t, 1))
}

const idleAtMost = 5 * time.Minute

func TestRunStopsForARefusedTemplate(t *testing.T) {
	t.Parallel()
	d := frozen(t, 3, nil)
	d.exec(t, `UPDATE template_variants SET approval = 'rejected', approval_reason = 'INVALID_FORMAT'`)
	require.Equal(t, "paused", d.plan(t).Reason)
	require.Equal(t, "PAUSED the template is rejected: INVALID_FORMAT", d.text(t, `SELECT status || ' ' || status_reason FROM campaigns`))

	free := frozen(t, 3, func(c *campaign.Campaign) { c.WindowPolicy = campaign.ByFreeText })
	free.exec(t, `UPDATE template_variants SET approval = 'rejected'`)
	require.Equal(t, activities.StartBatch, free.plan(t).Action, "whoever wrote lately may get free text")
}
