package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
	"github.com/event-stream-engine/ese/workflows"
)

const london = "+44740012"

// exec changes what the store offers no other way to change.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, conn.Close(w.t.Context())) }()
	_, err = conn.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err)
}

// outcome counts the run's messages by state and reason.
func (w *world) outcome() map[string]int {
	w.t.Helper()
	found := map[string]int{}
	for _, m := range w.ledger() {
		found[strings.TrimSpace(string(m.State)+" "+m.Reason)]++
	}
	return found
}

// TestPreflightIsTrue sets every obstacle in the way of an audience on three continents, asks what the campaign would do,
// and lets it do that.
func TestPreflightIsTrue(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]campaign.Campaign{
		"at once":             night(campaign.Campaign{RatePerSecond: 5}),
		"at a time":           night(campaign.Campaign{RatePerSecond: 5, ScheduleTime: ptr(noon.Add(9 * time.Hour))}),
		"by everyone's clock": night(campaign.Campaign{RatePerSecond: 5, LocalTime: localTime(t, "2026-06-10T20:30"), StartWithin: time.Hour}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, noon)
			full := user.Attributes{"name": "Ann", "text": "x"}
			for _, prefix := range []string{colombo, newYork, london} {
				attributes := func(more user.Attributes) user.Attributes {
					all := user.Attributes{}
					for k, v := range full {
						all[k] = v
					}
					if prefix == london {
						all["timezone"] = "Europe/London"
					}
					for k, v := range more {
						all[k] = v
					}
					return all
				}
				all := numbers(prefix, 30)
				w.add(noon, attributes(nil), all[:20]...)
				w.add(noon, attributes(user.Attributes{"name": ""}), all[20:23]...)                           // a value is missing
				w.add(noon, attributes(user.Attributes{"text": strings.Repeat("x", 2000)}), all[23:25]...)    // too long
				w.add(noon, attributes(nil), all[25:]...)                                                     // no consent any more
				w.exec(`UPDATE users SET consent_state = 'STOP' WHERE phone_number = $1`, all[25])            // each in its own way
				w.exec(`UPDATE users SET consent_state = 'OPT_OUT' WHERE phone_number = ANY($1)`, all[26:28]) // and number
				w.exec(`UPDATE users SET consent_state = 'PENDING' WHERE phone_number = ANY($1)`, all[28:])
			}
			// Whoever may be on either side of the Earth is never outside quiet hours of twelve hours in both zones.
			w.add(noon, full, "+18005551234")
			w.exec(`UPDATE users SET zones = '{Pacific/Honolulu,Africa/Harare}' WHERE phone_number = '+18005551234'`)
			w.exec(`INSERT INTO topics (name, created_at) VALUES ('News', now())`)
			w.exec(`INSERT INTO subscriptions (topic_id, user_id, created_at) SELECT 1, id, now() FROM users WHERE id % 7 <> 0`)

			template, err := w.store.CreateTemplate(t.Context(), render.Saved{
				Name: "Greeting", Content: "Hello {name} {text}", Channel: message.WhatsApp, Locale: "en", Category: render.Utility,
			}, noon)
			require.NoError(t, err)
			approve(t, w.store, template, noon)
			plan.Topic, plan.TemplateID, plan.Timezone = "Test", template.ID, "UTC"
			plan.SegmentQuery = []byte(`{"attribute": "audience", "operator": "exists"}`)
			c, err := w.store.CreateCampaign(t.Context(), plan, noon)
			require.NoError(t, err)
			w.exec(`UPDATE campaigns SET subscription_topic_id = 1`)

			f, err := w.store.Preflight(t.Context(), c.ID, 5, noon)
			require.NoError(t, err)
			require.Len(t, f.Samples, 5)
			w.start(c.ID)
			w.live()
			require.Equal(t, campaign.Completed, w.overview().Status)

			foretold := map[string]int{}
			for _, v := range f.Verdicts {
				if compliance.Action(v.Action) == compliance.Suppress {
					foretold["suppressed "+v.Reason] += v.Count
				} else {
					foretold["delivered"] += v.Count
				}
			}
			did := w.outcome()
			require.Equal(t, foretold, did)
			require.Equal(t, f.Audience, w.overview().Run.AudienceSize)
			require.Equal(t, f.ToSend, did["delivered"])
			for _, reason := range []compliance.Reason{compliance.NoConsent, compliance.OptedOut, compliance.Stopped, compliance.NotSubscribed, compliance.MissingVariable, compliance.TooLong} {
				require.Positive(t, did["suppressed "+string(reason)], reason)
			}
			first, last := w.provider.sent[0].at, w.provider.sent[len(w.provider.sent)-1].at
			require.WithinDuration(t, f.FirstSend, first, time.Minute, "the first message")
			require.WithinDuration(t, f.LastSend, last, time.Minute, "the last message")
		})
	}
}

// TestLocalTime sends to each person when their own clock shows the campaign's time, whatever the clocks do that night.
func TestLocalTime(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 3, 6, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, begin)
	moments := map[string]time.Time{}
	people := func(at string, attributes user.Attributes, numbers ...string) {
		moment, err := time.Parse(time.RFC3339, at)
		require.NoError(t, err)
		w.add(begin, attributes, numbers...)
		for _, n := range numbers {
			moments[n] = moment
		}
	}
	people("2026-03-07T21:00:00Z", nil, numbers(colombo, 5)...)
	people("2026-03-08T02:30:00Z", user.Attributes{"timezone": "Europe/London"}, numbers(london, 5)...)
	people("2026-03-08T07:00:00Z", nil, numbers(newYork, 5)...) // 2:30 does not exist there: clocks go from 2 to 3
	people("2026-03-08T10:00:00Z", nil, "+12085551234")         // Boise or Los Angeles: when both are there, at 3 in Los Angeles
	w.trigger(campaign.Campaign{                                // no solicitation: the law lets nobody be solicited at that hour
		RatePerSecond: 10, LocalTime: localTime(t, "2026-03-08T02:30"), StartWithin: time.Minute, Priority: campaign.Transactional,
	})
	require.Equal(t, campaign.Scheduled, w.overview().Status)
	held := map[string]report.Message{}
	w.at(38*time.Hour, func() { held = w.ledger() })
	w.live()

	w.requireDelivered(len(moments))
	for _, r := range w.provider.sent {
		require.WithinDuration(t, moments[r.To], r.at, 10*time.Second)
		require.False(t, r.at.Before(moments[r.To]))
	}
	require.Equal(t, string(compliance.NotYet), held[numbers(newYork, 1)[0]].Reason, "whoever waits is told for what")
	require.Equal(t, moments[numbers(newYork, 1)[0]], held[numbers(newYork, 1)[0]].WaitsUntil.UTC())
}

// TestLocalTimePassed triggers a campaign when some clocks have shown its time already.
func TestLocalTimePassed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		within time.Duration
		want   map[string]int
	}{
		"however late":    {0, map[string]int{"delivered": 15}},
		"within an hour":  {time.Hour, map[string]int{"delivered": 10, "suppressed schedule_passed": 5}},
		"within a minute": {time.Minute, map[string]int{"delivered": 5, "suppressed schedule_passed": 10}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, noon)
			w.add(noon, nil, numbers(colombo, 5)...)                                         // 17:30
			w.add(noon, user.Attributes{"timezone": "Europe/London"}, numbers(london, 5)...) // 13:00
			w.add(noon, nil, numbers(newYork, 5)...)                                         // 8:00
			w.trigger(campaign.Campaign{RatePerSecond: 10, LocalTime: localTime(t, "2026-06-10T12:30"), StartWithin: test.within})
			require.Equal(t, campaign.Running, w.overview().Status)
			w.live()
			require.Equal(t, test.want, w.outcome())
		})
	}
}

// TestLatestStart has the engine come back when it is too late, and when it just is not.
func TestLatestStart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		back time.Duration // after the campaign's time
		want campaign.Status
	}{
		"too late":     {31 * time.Minute, campaign.Failed},
		"just in time": {29 * time.Minute, campaign.Completed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, noon)
			w.add(noon, nil, numbers(colombo, 5)...)
			at := noon.Add(time.Hour)
			w.trigger(campaign.Campaign{RatePerSecond: 10, ScheduleTime: &at, StartWithin: 30 * time.Minute})
			w.renew(at.Add(test.back)) // neither Temporal nor a worker was there until then
			w.live()
			c := w.overview()
			require.Equal(t, test.want, c.Status)
			if test.want == campaign.Completed {
				w.requireDelivered(5)
				return
			}
			require.Regexp(t, `^not sent: it was to begin at 2026-06-10T13:00:00Z or within 30 minutes from then, and could not before 2026-06-10T13:31:\d\dZ$`, c.StatusReason)
			require.Empty(t, w.provider.sent)
			require.Empty(t, w.states())
			require.NotNil(t, c.Run.SettledAt)
		})
	}
}

// TestLatestStartOfAPause pauses a campaign beyond its latest start: resuming it sends nothing.
func TestLatestStartOfAPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 5)...)
	at := noon.Add(time.Hour)
	w.trigger(campaign.Campaign{RatePerSecond: 10, ScheduleTime: &at, StartWithin: 30 * time.Minute})
	w.at(30*time.Minute, func() {
		w.update(workflows.UpdatePause, "test", func(_ campaign.Steering, err error) { require.NoError(t, err) })
	})
	w.at(2*time.Hour, func() {
		w.update(workflows.UpdateResume, "test", func(_ campaign.Steering, err error) { require.NoError(t, err) })
	})
	w.live()
	require.Equal(t, campaign.Failed, w.overview().Status)
	require.Empty(t, w.provider.sent)
}

func localTime(t *testing.T, text string) campaign.LocalTime {
	t.Helper()
	local, ok := campaign.ParseLocalTime(text)
	require.True(t, ok)
	return local
}

func ptr[T any](v T) *T { return &v }
