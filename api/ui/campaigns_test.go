package ui_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestCreateCampaign(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.plan(t, "First")
	good := []string{
		"topic", "Second", "template_id", "1", "segment_id", "1", "rate_limit_per_second", "20", "quiet_hours_start", "22:00", "quiet_hours_end", "08:00",
		"schedule_time", "2026-07-01T09:30", "timezone", "Asia/Colombo",
		"priority", "transactional", "failure_threshold_percent", "0", "canary_percent", "5",
	}
	with := func(name, value string) []string { return append(append([]string{}, good...), name, value) }

	for name, tc := range map[string]struct {
		fields []string
		says   string
	}{
		"no audience":    {with("segment_id", ""), "a campaign needs an audience"},
		"no template":    {with("template_id", ""), "must name a template"},
		"gone template":  {with("template_id", "99"), "there is no template 99"},
		"no rate":        {with("rate_limit_per_second", "many"), "must be a whole number"},
		"half quiet":     {with("quiet_hours_end", ""), "both ends of the quiet hours or neither"},
		"unknown zone":   {with("timezone", "Ceylon"), "must be an IANA time zone"},
		"past":           {with("schedule_time", "2026-03-02T17:29"), "must be in the future"},
		"not a time":     {with("schedule_time", "soon"), "must be a date and a time"},
		"skipped minute": {append(with("timezone", "Europe/London"), "schedule_time", "2026-03-29T01:30"), "clocks skip it"},
		"empty topic":    {with("topic", " "), "must be a text of 1 to 100 characters"},
		"odd priority":   {with("priority", "urgent"), "must be transactional or bulk"},
		"odd threshold":  {with("failure_threshold_percent", "101"), "must be from 0 to 100"},
		"odd canary":     {with("canary_percent", "half"), "must be a whole number"},
	} {
		w := s.submit(t, "/campaigns/new", "/campaigns", tc.fields...)
		require.Equal(t, http.StatusUnprocessableEntity, w.Code, name)
		requireSound(t, w)
		require.Contains(t, text(w.Body.String()), tc.says, name)
		require.Contains(t, w.Body.String(), `class="invalid-feedback`, "%s: told beside the field", name)
	}
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM campaigns`))

	page := s.get(t, "/campaigns/new?segment_id=1")
	require.Contains(t, page, `<option value="1" selected>Cities First`)
	form := filled(t, page, good...)
	for range 3 { // impatient fingers
		w := s.do(post("/campaigns", form))
		require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
		require.Equal(t, "/campaign/2/edit", w.Header().Get("Location"))
	}
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM campaigns`))
	form.Set("topic", "Third")
	w := s.do(post("/campaigns", form))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code, "a token stands for one content")

	c, err := s.Campaign(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, campaign.Draft, c.Status)
	require.Equal(t, int64(1), *c.SegmentID)
	require.Equal(t, time.Date(2026, 7, 1, 4, 0, 0, 0, time.UTC), c.ScheduleTime.UTC())
	summary := text(s.get(t, "/campaign/2/summary"))
	for _, says := range []string{
		"Campaigns · 2 Second", "DRAFT not sent yet", "22:00 until 08:00", "Planned for 2026-07-01 04:00:00 UTC", "Cities First: city is known", "20 messages a second at most; transactional", "never for failures", "the first 5 %",
	} {
		require.Contains(t, summary, says)
	}

	w = s.submit(t, "/campaigns/new", "/campaigns", append(with("quiet_hours_start", ""), "quiet_hours_end", "", "schedule_time", "", "topic", "Plain")...)
	require.Equal(t, http.StatusSeeOther, w.Code)
	c, err = s.Campaign(t.Context(), 3)
	require.NoError(t, err)
	require.Nil(t, c.QuietStart)
	require.Nil(t, c.ScheduleTime)
}

func TestTriggerAndSteer(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, user.Attributes{"city": "Colombo", "name": "Ann"})
	s.person(t, 2, user.OptIn, user.Attributes{"city": "Colombo"})
	s.person(t, 3, user.Stop, user.Attributes{"city": "Colombo", "name": "Bob"})
	s.person(t, 4, user.OptIn, user.Attributes{"name": "elsewhere"})
	id := s.plan(t, "Spring")
	place := "/campaign/" + strconv.FormatInt(id, 10)

	asked := text(s.get(t, place+"/trigger"))
	for _, says := range []string{"it would be sent to 1 of 3 people.", "It begins at once", "2 are not sent to.", "a value that the text needs is missing 1", "said STOP 1", "Send to 1 people", "Hi {name}"} {
		require.Contains(t, asked, says)
	}
	require.Zero(t, s.count(t, `SELECT count(*) FROM campaign_runs`), "asking starts nothing")

	w := s.do(post(place+"/trigger", nil))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "no sender is configured")
	s.sender(t)
	w = s.do(post(place+"/trigger", nil))
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	w = s.do(post(place+"/trigger", nil))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "This campaign is RUNNING")
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM campaign_runs`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM outbox WHERE kind LIKE 'campaign.%'`))

	run, err := s.Run(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, s.Freeze(t.Context(), run, noon))
	summary := text(s.get(t, place+"/summary"))
	for _, says := range []string{"RUNNING run 1", "1 of 3 done (33.3 %); 2 still to be sent, about 1.0 s at 10/s.", "2 wait for their turn", "Audience 3", "Suppressed 1 33.3 %", "Not sent to said STOP 1", "Pause…", "Cancel campaign…", "Triggered 2026-03-02 12:00:00 UTC by tester"} {
		require.Contains(t, summary, says)
	}
	require.NotContains(t, summary, "Resume…")
	require.NotContains(t, summary, "Send…")
	recipients := text(s.get(t, place+"/recipients?state=suppressed"))
	require.Contains(t, recipients, "+94…1003 suppressed said STOP")
	require.Contains(t, recipients, "1 in all")

	require.Contains(t, text(s.get(t, place+"/pause")), "2 messages are still to be sent.")
	status := func() campaign.Status {
		c, err := s.Campaign(t.Context(), id)
		require.NoError(t, err)
		return c.Status
	}
	require.Equal(t, campaign.Running, status(), "asking changes nothing")
	for _, step := range []struct {
		verb string
		code int
		then campaign.Status
	}{
		{"resume", http.StatusConflict, campaign.Running},
		{"pause", http.StatusSeeOther, campaign.Paused},
		{"pause", http.StatusSeeOther, campaign.Paused}, // the answer may have been lost
		{"resume", http.StatusSeeOther, campaign.Running},
		{"cancel", http.StatusSeeOther, campaign.Cancelled},
		{"cancel", http.StatusSeeOther, campaign.Cancelled},
		{"resume", http.StatusConflict, campaign.Cancelled},
	} {
		w := s.do(post(place+"/"+step.verb, nil))
		require.Equal(t, step.code, w.Code, step.verb)
		require.Equal(t, step.then, status())
	}
	require.Contains(t, text(s.get(t, place+"/summary")), "Cancelled 2 66.7 %")
}

// sending starts a run of a new campaign and gives it n people, whose messages are in the state.
func (s *site) sending(t *testing.T, n int, state, reason string) {
	t.Helper()
	s.sender(t)
	run, err := s.StartRun(t.Context(), s.plan(t, "Spring"), "tester", noon)
	require.NoError(t, err)
	for i := range n {
		s.person(t, i, user.OptIn, nil)
	}
	s.exec(t, `INSERT INTO messages (id, run_id, user_id, seq, channel, state, reason, attempt_count, created_at, ended_at, updated_at)
		SELECT uuid_v7($1), $2, id, id, 'whatsapp', $3, $4, 1, $1, $1, $1 FROM users`, noon, run.ID, state, reason)
	s.exec(t, `INSERT INTO attempts (id, message_id, number, state, lease_until, started_at, ended_at, detail, looks, failed_looks, body_sha256)
		SELECT gen_random_uuid(), id, 1, 'unknown', $1, $1, $1, 'unresolved', 4, 1, '' FROM messages`, noon)
	s.exec(t, `UPDATE campaign_runs SET frozen_at = $1, audience_size = $2`, noon, n)
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sending(t, 3, "failed", "provider_error")
	s.exec(t, `UPDATE messages SET error_code = 63016 WHERE seq = 1`)
	s.exec(t, `UPDATE messages SET state = 'pending', reason = 'quiet_hours', waits_until = $1, ended_at = NULL WHERE seq = 2`, noon.Add(time.Hour))

	page := s.get(t, "/campaign/1/recipients")
	require.Contains(t, text(page), "pending waits for the end of quiet hours where they are 2026-03-02 13:00:00 UTC")
	require.Contains(t, page, `href="/api/v1/campaigns/1/recipients.csv" download`)
	require.Contains(t, page, `<option value="quiet_hours">the end of quiet hours where they are`)
	require.Contains(t, text(s.get(t, "/campaign/1/recipients?reason=quiet_hours")), "1 in all")
	page = s.get(t, "/campaign/1/recipients?run=1&state=failed&error_code=63016")
	require.Contains(t, text(page), "1 in all")
	require.Contains(t, page, `href="/api/v1/campaigns/1/recipients.csv?error_code=63016&amp;run=1&amp;state=failed" download`)
	require.Contains(t, page, `href="/campaign/1/recipients?error_code=63016&amp;run=1&amp;state=pending"`, "another state, the same filter")
	require.Contains(t, text(s.get(t, "/campaign/1/recipients?state=&error_code=")), "3 in all", "an empty field is no filter")
	for query, status := range map[string]int{"error_code=x": 422, "run=-1": 422, "run=2": 404} {
		require.Equal(t, status, s.do(httptest.NewRequest(http.MethodGet, "/campaign/1/recipients?"+query, http.NoBody)).Code, query)
	}
}

func TestPagesOfSchedules(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sender(t)
	for change, want := range map[string][2]string{
		`schedule_local_time = '2030-12-01T10:00'`:                               {"Each of them is sent to when their own clock shows 2030-12-01T10:00", "Planned for 2030-12-01T10:00 by everyone’s own clock"},
		`recurrence_cron = '0 10 * * 1-5', recurrence_timezone = 'Asia/Colombo'`: {"It is sent again and again, at 0 10 * * 1-5 in Asia/Colombo", "Recurs 0 10 * * 1-5 in Asia/Colombo"},
	} {
		s.person(t, len(change), user.OptIn, user.Attributes{"name": "Ann", "city": "Galle"})
		id := s.plan(t, change[:10])
		s.exec(t, `UPDATE campaigns SET `+change+` WHERE id = $1`, id)
		page := "/campaign/" + strconv.FormatInt(id, 10)
		confirm := text(s.get(t, page+"/trigger"))
		require.Contains(t, confirm, want[0])
		require.Contains(t, confirm, "Schedule to")
		_, err := s.StartRun(t.Context(), id, "tester", noon)
		require.NoError(t, err)
		require.Contains(t, text(s.get(t, page+"/summary")), want[1])
		require.Contains(t, text(s.get(t, "/campaigns?status=SCHEDULED")), change[:10])
		require.Contains(t, text(s.get(t, page+"/pause")), "Pause")
	}
}
