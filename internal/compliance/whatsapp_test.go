package compliance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestWhatsApp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time {
		at := now.Add(-d)
		return &at
	}
	yesterday, hourAgo, never := ago(24*time.Hour), ago(time.Hour), (*time.Time)(nil)
	for name, tt := range map[string]struct {
		seen     *time.Time
		policy   campaign.WindowPolicy
		approval render.Approval
		change   func(*compliance.WhatsApp)
		want     string // the action, the reason, and what is sent
	}{
		"template, never wrote":               {never, "", render.Approved, nil, "proceed template"},
		"template, wrote":                     {hourAgo, campaign.ByTemplate, render.Approved, nil, "proceed template"},
		"template, not approved":              {never, campaign.ByTemplate, render.Submitted, nil, "wait template_approval"},
		"template, wrote, not approved":       {hourAgo, campaign.ByTemplate, render.Received, nil, "wait template_approval"},
		"template, never submitted":           {never, campaign.ByTemplate, render.Unsubmitted, nil, "wait template_approval"},
		"template, of an unknown state":       {never, campaign.ByTemplate, "", nil, "wait template_approval"},
		"template, rejected":                  {never, campaign.ByTemplate, render.Rejected, nil, "wait template_refused"},
		"template, paused":                    {hourAgo, campaign.ByTemplate, render.Paused, nil, "wait template_refused"},
		"template, invalid":                   {never, campaign.ByTemplate, render.Invalid, nil, "wait template_refused"},
		"free text, wrote":                    {hourAgo, campaign.ByFreeText, render.Rejected, nil, "proceed free text"},
		"free text, wrote yesterday":          {yesterday, campaign.ByFreeText, render.Approved, nil, "proceed template"},
		"free text, a minute before":          {ago(24*time.Hour - time.Minute), campaign.ByFreeText, render.Approved, nil, "proceed template"},
		"free text, two minutes before":       {ago(24*time.Hour - 2*time.Minute), campaign.ByFreeText, render.Approved, nil, "proceed free text"},
		"free text, never wrote":              {never, campaign.ByFreeText, render.Submitted, nil, "wait template_approval"},
		"free text, closed by the provider":   {hourAgo, campaign.ByFreeText, render.Approved, func(w *compliance.WhatsApp) { w.Closed = true }, "proceed template"},
		"suppress, wrote":                     {hourAgo, campaign.InWindow, render.Submitted, nil, "proceed free text"},
		"suppress, wrote yesterday":           {yesterday, campaign.InWindow, render.Approved, nil, "suppress outside_window"},
		"suppress, never wrote":               {never, campaign.InWindow, render.Approved, nil, "suppress outside_window"},
		"US, marketing":                       {never, campaign.ByTemplate, render.Approved, func(w *compliance.WhatsApp) { w.Region = "US" }, "suppress us_marketing"},
		"US, marketing, wrote":                {hourAgo, campaign.ByTemplate, render.Submitted, func(w *compliance.WhatsApp) { w.Region = "US" }, "proceed free text"},
		"US, utility":                         {never, campaign.ByTemplate, render.Approved, func(w *compliance.WhatsApp) { w.Region, w.Category = "US", render.Utility }, "proceed template"},
		"Canada, marketing":                   {never, campaign.ByTemplate, render.Approved, func(w *compliance.WhatsApp) { w.Region = "CA" }, "proceed template"},
		"a value that no template takes":      {never, campaign.ByTemplate, render.Approved, func(w *compliance.WhatsApp) { w.Unfit = []string{"name"} }, "suppress invalid_variable"},
		"a value that only free text takes":   {hourAgo, campaign.ByFreeText, render.Approved, func(w *compliance.WhatsApp) { w.Unfit = []string{"name"} }, "proceed free text"},
		"too long for a template":             {never, campaign.ByTemplate, render.Approved, func(w *compliance.WhatsApp) { w.MaxLength = 1 }, "suppress too_long"},
		"too long for a template, but no one": {hourAgo, campaign.ByFreeText, render.Approved, func(w *compliance.WhatsApp) { w.MaxLength = 1 }, "proceed free text"},
	} {
		w := compliance.WhatsApp{LastInboundAt: tt.seen, Policy: tt.policy, Region: "LK", Category: render.Marketing, Approval: tt.approval, MaxLength: 1024}
		if tt.change != nil {
			tt.change(&w)
		}
		v := compliance.Evaluate(compliance.Input{
			Now: now, Consent: user.OptIn, Content: compliance.Content{Body: "Hi", Length: 2, MaxLength: 1600}, WhatsApp: &w,
		})
		got := string(v.Action)
		switch {
		case v.Action != compliance.Proceed:
			got += " " + string(v.Reason)
		case v.Template:
			got += " template"
		default:
			got += " free text"
		}
		require.Equal(t, tt.want, got, name)
		require.Equal(t, compliance.StepContent, v.Steps[len(v.Steps)-1].Step, name)
		switch {
		case got == "proceed free text":
			require.Equal(t, tt.seen.Add(24*time.Hour-time.Minute), v.Closes, "%s: not after the window", name)
		case v.Action == compliance.Wait:
			require.True(t, v.Until.After(now), name)
		default:
			require.Zero(t, v.Closes, name)
		}
	}
}

// The window for free text and the quiet hours both end a message's time: the earlier one does.
func TestWindowAndQuietHours(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for seen, want := range map[time.Time]time.Time{
		now.Add(-23 * time.Hour): now.Add(time.Hour - time.Minute),
		now.Add(-time.Hour):      time.Date(2026, 11, 24, 21, 0, 0, 0, time.UTC),
	} {
		v := compliance.Evaluate(compliance.Input{
			Now: now, Consent: user.OptIn, Quiet: compliance.QuietHours{Start: 21 * 60, End: 8 * 60},
			Content:  compliance.Content{Body: "Hi", Length: 2, MaxLength: 1600},
			WhatsApp: &compliance.WhatsApp{LastInboundAt: &seen, Policy: campaign.InWindow, MaxLength: 1024},
		})
		require.Equal(t, compliance.Proceed, v.Action)
		require.True(t, v.Closes.Equal(want), "%s", v.Closes)
	}
}
