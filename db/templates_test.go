package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/render"
)

const (
	someSID  = "HX0123456789abcdef0123456789abcdef"
	otherSID = "HX1123456789abcdef0123456789abcdef"
)

func TestVariants(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	made, err := b.CreateTemplate(ctx, render.Saved{
		Name: "Welcome", Content: "Hi {name}", Channel: message.WhatsApp, Locale: "en_US", Category: render.Utility,
		Variants: []render.Variant{{Locale: "si", Content: "ආයුබෝවන් {name}", ContentSID: someSID, Mapping: map[string]string{"who": "name"}}},
	}, noon)
	require.NoError(t, err)
	require.Len(t, made.Variants, 2)
	require.Equal(t, "en_US", made.Variants[0].Locale, "its own comes first")
	require.Equal(t, []string{"template.approve", "template.approve"}, b.outbox(t))

	own := outbox.Template{TemplateID: made.ID, Version: 1, Locale: "en_US"}
	v, category, err := b.Variant(ctx, own)
	require.NoError(t, err)
	require.Equal(t, []any{made.Variants[0], render.Utility}, []any{v, category})
	require.NoError(t, b.NoteSubmission(ctx, own, otherSID, noon))
	require.NoError(t, b.NoteSubmission(ctx, own, someSID, noon.Add(time.Hour)))
	v, _, err = b.Variant(ctx, own)
	require.NoError(t, err)
	require.Equal(t, otherSID, v.ContentSID, "a content stays what it is")
	require.True(t, v.SubmittedAt.Equal(noon))
	require.NoError(t, b.RecordApproval(ctx, own, render.Rejected, "INVALID_FORMAT", noon))
	v, _, err = b.Variant(ctx, own)
	require.NoError(t, err)
	require.Equal(t, []any{render.Rejected, "INVALID_FORMAT"}, []any{v.Approval, v.Reason})
	require.Empty(t, b.outbox(t), "no run waits for it")
	_, _, err = b.Variant(ctx, outbox.Template{TemplateID: made.ID, Version: 1, Locale: "fr"})
	require.True(t, fault.Is(err, fault.NotFound), err)

	known, err := b.KnownContents(ctx)
	require.NoError(t, err)
	require.Len(t, known, 1, "what was not submitted has its own workflow")
	undecided, err := b.UndecidedTemplates(ctx)
	require.NoError(t, err)
	require.Equal(t, []outbox.Template{{TemplateID: made.ID, Version: 1, Locale: "si"}}, undecided)
	require.Equal(t, []any{made.ID, 1, otherSID}, []any{known[0].TemplateID, known[0].Version, known[0].ContentSID})
}

func TestContents(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	c := render.Content{SID: someSID, Name: "a", Locale: "en", Type: "twilio/text", Body: "Hi {{1}}", Variables: map[string]string{"1": "Ann"}, Category: "MARKETING", Approval: render.Approved}
	gone := c
	gone.SID = otherSID
	require.NoError(t, b.ReplaceContents(ctx, []render.Content{c, gone}, noon))
	c.Approval, c.Reason = render.Paused, "quality"
	require.NoError(t, b.ReplaceContents(ctx, []render.Content{c}, noon.Add(time.Hour)))
	listed, total, err := b.Contents(ctx, "", 10)
	require.NoError(t, err)
	require.EqualValues(t, 1, total)
	read, err := b.Content(ctx, someSID)
	require.NoError(t, err)
	require.True(t, read.SyncedAt.Equal(noon.Add(time.Hour)))
	c.SyncedAt = read.SyncedAt
	require.Equal(t, c, read)
	require.Equal(t, []render.Listed{{Content: c}}, listed)
	_, err = b.Content(ctx, otherSID)
	require.True(t, fault.Is(err, fault.NotFound), err)
}

// unapproved is a frozen run whose template WhatsApp has not approved.
func (b books) unapproved(t *testing.T, n int) (run int64, variant outbox.Template) {
	t.Helper()
	frozen := b.frozen(t, n)
	b.exec(t, `UPDATE template_variants SET approval = 'pending'`)
	b.outbox(t)
	return frozen.ID, outbox.Template{TemplateID: 1, Version: 1, Locale: "en_US"}
}

func TestDecisionWakesWhoeverWaits(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id, variant := b.unapproved(t, 4)
	run := b.load(t, id)
	require.Equal(t, render.Submitted, run.Template)
	cohorts, err := b.RemainingCohorts(ctx, id)
	require.NoError(t, err)
	_, err = b.CutBatch(ctx, id, 1, cohorts[0], 2, noon)
	require.NoError(t, err)

	steps := []compliance.Finding{{Step: compliance.StepContent, Result: compliance.Deferred}}
	for range 2 { // the second changes nothing
		require.NoError(t, b.HoldForTemplate(ctx, id, steps, noon))
	}
	require.True(t, b.load(t, id).AwaitsTemplate)
	const reasons = `SELECT string_agg(seq || ' ' || reason, ', ' ORDER BY seq) FROM messages WHERE run_id = $1`
	require.Equal(t, "1 , 2 , 3 template_approval, 4 template_approval", get[string](t, b, reasons, id), "those in a batch are judged by themselves")
	require.EqualValues(t, 2, get[int64](t, b, `SELECT count(*) FROM compliance_checks WHERE action = 'wait' AND reason = 'template_approval'`))

	d, err := b.Delivery(ctx, id, 1)
	require.NoError(t, err)
	require.Equal(t, []any{render.Marketing, campaign.ByTemplate, "LK", render.Submitted}, []any{d.Category, d.WindowPolicy, d.Region, d.Variants[0].Approval})
	noted, err := b.Wait(ctx, d, string(compliance.AwaitsApproval), noon.Add(time.Minute), steps, noon)
	require.NoError(t, err)
	require.True(t, noted)

	require.NoError(t, b.RecordApproval(ctx, variant, render.Received, "", noon))
	require.Empty(t, b.outbox(t), "nothing is decided yet")
	require.NoError(t, b.RecordApproval(ctx, variant, render.Approved, "", noon))
	require.Equal(t, []string{"recipient.signal 1", "campaign.wake"}, b.outbox(t))
	require.NoError(t, b.RecordApproval(ctx, variant, render.Approved, "", noon))
	require.Empty(t, b.outbox(t), "no news")

	require.NoError(t, b.ReleaseTemplate(ctx, id, noon))
	require.Equal(t, "1 template_approval, 2 , 3 , 4 ", get[string](t, b, reasons, id))
	require.Equal(t, []any{render.Approved, false}, []any{b.load(t, id).Template, b.load(t, id).AwaitsTemplate})
}

// Another window policy is another judgement: whoever waits for the template learns of it, and nobody falls asleep by the old one.
func TestWindowPolicyChanges(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id, _ := b.unapproved(t, 1)
	run := b.load(t, id)
	d, err := b.Delivery(ctx, id, 1)
	require.NoError(t, err)
	cohorts, err := b.RemainingCohorts(ctx, id)
	require.NoError(t, err)
	_, err = b.CutBatch(ctx, id, 1, cohorts[0], 1, noon)
	require.NoError(t, err)
	noted, err := b.Wait(ctx, d, string(compliance.AwaitsApproval), noon.Add(time.Minute), nil, noon)
	require.NoError(t, err)
	require.True(t, noted)

	_, err = b.UpdateCampaign(ctx, run.CampaignID, "tester", func(c campaign.Campaign) (campaign.Campaign, error) {
		to := c
		to.WindowPolicy = campaign.InWindow
		return c.Edit(to, noon)
	}, noon)
	require.NoError(t, err)
	require.Equal(t, []string{"recipient.signal 1", "campaign.wake"}, b.outbox(t))
	require.Equal(t, render.NotNeeded, b.load(t, id).Template)
	noted, err = b.Wait(ctx, d, string(compliance.AwaitsApproval), noon.Add(time.Minute), nil, noon)
	require.NoError(t, err)
	require.False(t, noted, "judged by the policy that was")
}
