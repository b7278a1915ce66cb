package twilio_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/twilio"
	"github.com/event-stream-engine/ese/internal/twiliosim"
)

// contents is a client of a simulated Content API.
func contents(t *testing.T) *twilio.Client {
	t.Helper()
	sim, err := twiliosim.New(twiliosim.Config{AccountSID: account, AuthToken: token, DataDir: t.TempDir()})
	require.NoError(t, err)
	server := httptest.NewServer(sim.Handler())
	c, err := twilio.New(twilio.Config{AccountSID: account, AuthToken: token, BaseURL: server.URL})
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Close()
		server.Close()
		require.NoError(t, sim.Close())
	})
	return c
}

func TestContents(t *testing.T) {
	t.Parallel()
	c, ctx := contents(t), t.Context()
	submission := render.Submission{
		Name: "ese_1_v1_en_us", Locale: "en_US", Category: render.Marketing, Body: "Hi {{1}}, Grüße", Samples: map[string]string{"1": "name"},
	}
	sid, err := c.CreateContent(ctx, submission)
	require.NoError(t, err)
	found, err := c.Content(ctx, sid)
	require.NoError(t, err)
	require.False(t, found.SyncedAt.IsZero())
	want := render.Content{
		SID: sid, Name: "ese_1_v1_en_us", Locale: "en_US", Type: "twilio/text", Body: "Hi {{1}}, Grüße", Variables: map[string]string{"1": "name"},
		Approval: render.Unsubmitted, SyncedAt: found.SyncedAt,
	}
	require.Equal(t, want, found)

	require.NoError(t, c.SubmitContent(ctx, sid, submission.Name, submission.Category))
	listed, err := c.Contents(ctx)
	require.NoError(t, err)
	require.Len(t, listed, 1)
	want.Approval, want.Category, want.SyncedAt = render.Approved, "MARKETING", listed[0].SyncedAt
	require.Equal(t, []render.Content{want}, listed)

	require.True(t, fault.Is(c.SubmitContent(ctx, sid, submission.Name, submission.Category), fault.Invalid), "submitted already")
	_, err = c.CreateContent(ctx, render.Submission{Name: "x", Locale: "no language", Body: "Hi"})
	require.True(t, fault.Is(err, fault.Invalid), err)

	require.NoError(t, c.DeleteContent(ctx, sid))
	require.NoError(t, c.DeleteContent(ctx, sid), "gone already")
	_, err = c.Content(ctx, sid)
	require.True(t, fault.Is(err, fault.NotFound), err)
	_, err = c.Content(ctx, "../Messages")
	require.True(t, fault.Is(err, fault.NotFound), "no SID becomes another path")
	require.True(t, fault.Is(c.SubmitContent(ctx, "HX1", "x", render.Utility), fault.NotFound))
}

// The list of contents comes in pages, and each is asked for as Twilio says.
func TestContentsPages(t *testing.T) {
	t.Parallel()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		next := "null"
		if len(asked) == 1 {
			next = `"https://content.twilio.com/v1/ContentAndApprovals?PageSize=500&Page=1&PageToken=DNHX1"`
		}
		_, _ = w.Write([]byte(`{"contents": [{"sid": "HX` + strings.Repeat("0", 31) + string(rune('0'+len(asked))) + `", "approval_requests": {"status": "paused", "rejection_reason": "quality"}}], "meta": {"next_page_url": ` + next + `}}`))
	}))
	t.Cleanup(server.Close)
	c, err := twilio.New(twilio.Config{AccountSID: account, AuthToken: token, BaseURL: server.URL})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	listed, err := c.Contents(t.Context())
	require.NoError(t, err)
	require.Len(t, listed, 2)
	require.Equal(t, []any{render.Paused, "quality"}, []any{listed[1].Approval, listed[1].Reason})
	require.Equal(t, []string{"/v1/ContentAndApprovals?PageSize=500", "/v1/ContentAndApprovals?Page=1&PageSize=500&PageToken=DNHX1"}, asked)

	server.Close()
	_, err = c.Contents(t.Context())
	require.Equal(t, fault.Internal, fault.KindOf(err), "to be tried again")
}

// A template is sent by its SID and what fills it, and never with a text beside them.
func TestSendByContent(t *testing.T) {
	t.Parallel()
	for variables, sent := range map[string]bool{`{"1":"Ann"}`: true, "": false} {
		var form url.Values
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			form = r.PostForm
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"sid": "SM` + strings.Repeat("0", 32) + `"}`))
		}))
		t.Cleanup(server.Close)
		c, err := twilio.New(twilio.Config{AccountSID: account, AuthToken: token, BaseURL: server.URL})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		outcome := c.Send(t.Context(), message.Outbound{
			Channel: message.WhatsApp, From: "+14155238886", To: "+94771234567", Body: "Hi Ann", ContentSID: "HX" + strings.Repeat("0", 32),
			ContentVariables: variables, Lease: time.Now().Add(time.Minute),
		})
		require.Equal(t, message.ResultAccepted, outcome.Result)
		require.Equal(t, "HX"+strings.Repeat("0", 32), form.Get("ContentSid"))
		require.Equal(t, variables, form.Get("ContentVariables"))
		require.Equal(t, sent, form.Has("ContentVariables"), "Twilio refuses empty ones")
		require.False(t, form.Has("Body"))
	}
}
