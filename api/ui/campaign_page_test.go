package ui_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/user"
)

// finished is a campaign that is over: of four people one read it, to one it was not delivered, one was not to be sent to and
// one is left over.
func (s *site) finished(t *testing.T) (place string) {
	t.Helper()
	s.sending(t, 4, "failed", "provider_error")
	s.exec(t, `UPDATE messages SET state = 'read', reason = '', accepted_at = $1, sent_at = $1, delivered_at = $1, read_at = $1, ended_at = NULL`, noon)
	s.exec(t, `UPDATE messages SET state = 'undelivered', reason = 'provider_error', error_code = 30003, ended_at = $1 WHERE seq = 2`, noon)
	s.exec(t, `UPDATE messages SET state = 'suppressed', reason = 'no_consent', accepted_at = NULL, ended_at = $1 WHERE seq = 3`, noon)
	s.exec(t, `UPDATE messages SET state = 'failed', reason = 'provider_error', error_code = 63016, ended_at = $1 WHERE seq = 4`, noon)
	s.exec(t, `UPDATE campaigns SET status = 'COMPLETED'`)
	s.exec(t, `UPDATE campaign_runs SET finished_at = $1, settled_at = $1`, noon)
	s.exec(t, `INSERT INTO inbound_messages (provider_sid, user_id, channel, intent, body, payload, received_at)
		SELECT 'SM1', user_id, 'whatsapp', 'stop', 'STOP <b>', '{}', $1 FROM messages WHERE seq = 1`, noon)
	return "/campaign/1"
}

func TestCampaignPage(t *testing.T) {
	t.Parallel()
	s := open(t)
	place := s.finished(t)
	page := s.get(t, place)
	require.Equal(t, text(page), text(s.get(t, place+"/summary")), "it has two addresses")
	for _, says := range []string{
		"COMPLETED", "4 of 4 done (100.0 %)", "Audience 4 100.0 %", "Read 1 25.0 % 100.0 % of the delivered", "Replied 1 25.0 %", "Failed 2 50.0 %", "Suppressed 1 25.0 %",
		"30003 meaning of 30003. advice on 30003 1 50.0 %", "Not sent to never agreed to messages, or it is not known 1", "1 people wrote 1 messages", "STOP <b>",
		"Delivered LK 4 1", "unknown LK 4 1", "Retry failed…",
	} {
		require.Contains(t, text(page), says)
	}
	require.NotContains(t, text(page), "being counted")
	require.NotContains(t, page, "STOP <b>", "what people write is no markup")
	require.NotContains(t, page, numbers)
	require.Regexp(t, `data-chart="\{[^"]*&#34;Delivered&#34;`, page)
	require.Contains(t, page, `href="/campaigns/new?from=1"`)
	require.Contains(t, page, `href="/api/v1/campaigns/1/recipients.csv" download`)
	require.Contains(t, text(s.get(t, place+"/replies?run=1")), "+94…1000 whatsapp stop STOP <b>")
	for path, status := range map[string]int{"?run=2": 404, "?run=x": 422, "/replies?run=0": 422, "/replies?after=x": 422} {
		require.Equal(t, status, s.do(httptest.NewRequest(http.MethodGet, place+path, http.NoBody)).Code, path)
	}
}

func TestCampaignPageTellsWhatIsAwaited(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sending(t, 3, "pending", "quiet_hours")
	s.exec(t, `UPDATE messages SET ended_at = NULL, waits_until = $1`, noon.Add(time.Hour))
	s.exec(t, `UPDATE messages SET reason = '', waits_until = NULL WHERE seq = 3`)
	page := s.get(t, "/campaign/1")
	require.Contains(t, text(page), "2 wait for the end of quiet hours where they are , the first until 2026-03-02 13:00:00 UTC")
	require.Contains(t, text(page), "1 waits for their turn at the campaign’s rate")
	require.Contains(t, page, `href="/campaign/1/recipients?state=pending&amp;reason=quiet_hours"`)
}

func TestRetry(t *testing.T) {
	t.Parallel()
	s := open(t)
	place := s.finished(t)
	page := s.get(t, place+"/retry")
	require.Contains(t, text(page), "failed 1 people undelivered 1 people cancelled 0 people suppressed 1 people")
	require.Regexp(t, `value="undelivered" checked`, page)
	require.Regexp(t, `value="cancelled" disabled`, page)
	require.NotRegexp(t, `value="suppressed" checked`, page)

	w := s.submit(t, place+"/retry", place+"/retry")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "must name at least one of")
	form := filled(t, page)
	form["states"] = []string{"failed", "undelivered"}
	for range 3 {
		w = s.do(post(place+"/retry", form))
		require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
		require.Equal(t, place, w.Header().Get("Location"))
	}
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM campaign_runs`))
	w = s.submit(t, place+"/retry", place+"/retry", "states", "failed")
	require.Equal(t, http.StatusConflict, w.Code, "a run is under way")
	again := text(s.get(t, place))
	require.Contains(t, again, "run 2, retry")
	require.Contains(t, again, "Runs Run Kind")
	require.Contains(t, text(s.get(t, place+"?run=1")), "4 of 4 done")
}

func TestChangeWhatRemains(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sending(t, 2, "pending", "")
	const place = "/campaign/1"
	w := s.submit(t, place, place+"/rate", "rate_limit_per_second", "25")
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	w = s.submit(t, place, place+"/quiet-hours", "quiet_hours_start", "21:00", "quiet_hours_end", "08:00")
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	page := text(s.get(t, place))
	require.Contains(t, page, "25 messages a second at most")
	require.Contains(t, page, "21:00 until 08:00")
	w = s.submit(t, place, place+"/quiet-hours", "quiet_hours_start", "", "quiet_hours_end", "")
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Contains(t, text(s.get(t, place)), "Quiet hours none")

	for field, value := range map[string]string{"rate": "0", "quiet-hours": "25:00"} {
		w = s.submit(t, place, place+"/"+field, "rate_limit_per_second", value, "quiet_hours_start", value, "quiet_hours_end", "08:00")
		require.Equal(t, http.StatusUnprocessableEntity, w.Code, field)
	}
	s.exec(t, `UPDATE campaigns SET status = 'CANCELLED'`)
	require.NotContains(t, s.get(t, place), `action="/campaign/1/rate"`)
	w = s.submit(t, place+"/retry", place+"/rate", "rate_limit_per_second", "5")
	require.Equal(t, http.StatusConflict, w.Code)
	s.refused = access.Send
	require.Equal(t, http.StatusUnauthorized, s.do(post(place+"/rate", nil)).Code)
}

func TestEditDraft(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sender(t)
	s.person(t, 1, user.OptIn, user.Attributes{"city": "Colombo", "name": "Ann"})
	s.plan(t, "Spring")
	page := s.get(t, "/campaign/1/edit")
	require.Contains(t, text(page), "1 of 1 people would be sent to, were it triggered now.")
	require.Contains(t, text(page), "Hi Ann")
	plan := []string{
		"topic", "Summer", "template_id", "1", "segment_id", "1", "exclude_segment_ids", "1", "timezone", "Asia/Colombo", "rate_limit_per_second", "7",
		"frequency_cap_count", "3", "frequency_cap_days", "7", "window_policy", "free_text", "schedule_local_time", "2030-12-01T10:00", "start_within_minutes", "30",
		"trigger", "manual", "priority", "bulk",
	}
	w := s.submit(t, "/campaign/1/edit", "/campaign/1/edit", plan...)
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	c, err := s.Campaign(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "Summer", c.Topic)
	require.Equal(t, []int64{1}, c.ExcludeSegmentIDs)
	require.Equal(t, campaign.Cap{Count: 3, Days: 7}, c.FrequencyCap)
	require.Equal(t, campaign.ByFreeText, c.WindowPolicy)
	require.Equal(t, "2030-12-01T10:00", c.LocalTime.String())
	require.Equal(t, 30*time.Minute, c.StartWithin)
	page = s.get(t, "/campaign/1/edit")
	for _, kept := range []string{`value="Summer"`, `value="2030-12-01T10:00"`, `<option value="1" selected>Cities Spring`, `value="free_text" selected`, `value="30"`} {
		require.Contains(t, page, kept, "a form shows what was saved")
	}
	require.Contains(t, text(page), "0 of 1 people")
	require.Contains(t, text(s.get(t, "/campaign/1")), "Without Cities Spring")

	for field, bad := range map[string][2]string{
		"exclude_segment_ids": {"x", "must be chosen from the list"}, "frequency_cap_days": {"0", "1 to 90 days"}, "recurrence_cron": {"soon", "give either a recurrence or one time"},
		"schedule_time": {"2031-01-01T00:00", "not both"}, "trigger": {"moon", "must be one of"}, "schedule_local_time": {"x", "must be a date and a time"},
	} {
		w = s.submit(t, "/campaign/1/edit", "/campaign/1/edit", append(append([]string{}, plan...), field, bad[0])...)
		require.Equal(t, http.StatusUnprocessableEntity, w.Code, field)
		requireSound(t, w)
		require.Contains(t, text(w.Body.String()), bad[1], field)
	}

	copied := s.get(t, "/campaigns/new?from=1")
	require.Contains(t, copied, `value="Copy of Summer"`)
	require.NotContains(t, copied, "2030-12-01T10:00", "its time is not copied")
	w = s.do(post("/campaigns", filled(t, copied, "topic", "On event", "template_id", "1", "timezone", "UTC", "trigger", "event", "trigger_name", "order.shipped")))
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	require.Contains(t, text(s.get(t, "/campaign/2/edit")), "its people are named one by one")
	require.Contains(t, text(s.get(t, "/campaign/2/trigger")), "Go live")
	w = s.do(post("/campaign/2/trigger", nil))
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	require.Contains(t, text(s.get(t, "/campaign/2")), "Complete…")
	require.Equal(t, http.StatusConflict, s.do(httptest.NewRequest(http.MethodGet, "/campaign/2/edit", http.NoBody)).Code)
	require.Equal(t, http.StatusSeeOther, s.do(post("/campaign/2/complete", nil)).Code)

	for path, status := range map[string]int{"/campaigns/new?from=9": 404, "/campaigns/new?from=x": 422, "/campaign/9/edit": 404} {
		require.Equal(t, status, s.do(httptest.NewRequest(http.MethodGet, path, http.NoBody)).Code, path)
	}
}

func TestAudienceOfItsOwnIsKept(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.plan(t, "Spring")
	s.exec(t, `UPDATE campaigns SET segment_id = NULL, segment_query = '{"attribute":"city","operator":"equals","value":"Galle"}'`)
	page := s.get(t, "/campaign/1/edit")
	require.Contains(t, text(page), "its own: ")
	w := s.do(post("/campaign/1/edit", filled(t, page, "topic", "Summer", "template_id", "1", "timezone", "UTC", "rate_limit_per_second", "5")))
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM campaigns WHERE topic = 'Summer' AND segment_query ->> 'value' = 'Galle'`))
}

func TestStepsAreShown(t *testing.T) {
	t.Parallel()
	s := open(t)
	place := s.finished(t)
	s.exec(t, `UPDATE campaigns SET trigger = 'event', trigger_name = 'order', segment_id = NULL`)
	s.exec(t, `INSERT INTO campaign_steps (campaign_id, number, template_id, wait_seconds) VALUES (1, 1, 1, 0), (1, 2, 1, 3600)`)
	s.exec(t, `INSERT INTO run_steps (run_id, number, template_id, template_version, wait_seconds) VALUES (1, 1, 1, 1, 0), (1, 2, 1, 1, 3600)`)
	s.exec(t, `UPDATE messages SET step = CASE WHEN seq < 3 THEN 1 ELSE 2 END`)
	s.exec(t, `INSERT INTO enrolments (run_id, user_id, dedupe_key, next_step, next_at, state, reason, created_at, ended_at) VALUES
		(1, 1, 'event/1', 2, $1, 'active', '', $1, NULL), (1, 2, 'event/2', 2, $1, 'exited', 'reply', $1, $1)`, noon)
	page := text(s.get(t, place))
	for _, says := range []string{"1 Welcome Spring , version 1 at once 0 2 1 1 1", "2 Welcome Spring , version 1 1 h 0 min 1 0 0 0 1", "1 active, 1 exited (reply)"} {
		require.Contains(t, page, says)
	}
}

func TestStepsAreKept(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.plan(t, "Spring")
	s.exec(t, `UPDATE campaigns SET segment_id = NULL, trigger = 'event', trigger_name = 'order', exit_on_reply = true`)
	s.exec(t, `INSERT INTO templates (name, channel, locale, created_at, updated_at) SELECT 'Later', channel, locale, created_at, updated_at FROM templates`)
	s.exec(t, `INSERT INTO template_versions (template_id, version, content, variables, created_at) SELECT 2, 1, content, variables, created_at FROM template_versions`)
	s.exec(t, `INSERT INTO campaign_steps (campaign_id, number, template_id, wait_seconds) VALUES (1, 1, 1, 0), (1, 2, 2, 3600)`)
	for path, action := range map[string]string{"/campaign/1/edit": "/campaign/1/edit", "/campaigns/new?from=1": "/campaigns"} {
		page := s.get(t, path)
		require.Contains(t, text(page), "It sends 2 steps")
		fields := []string{"topic", "Summer", "template_id", "2", "timezone", "UTC", "trigger", "event", "trigger_name", "order", "rate_limit_per_second", "5"}
		if strings.Contains(page, `name="from" value="1"`) {
			fields = append(fields, "from", "1")
		}
		w := s.do(post(action, filled(t, page, fields...)))
		require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	}
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM campaigns WHERE topic = 'Summer' AND exit_on_reply`))
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM campaign_steps WHERE number = 1 AND template_id = 2`), "the form shows the first step's template")
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM campaign_steps WHERE number = 2 AND template_id = 2 AND wait_seconds = 3600`))
}

func TestApproveAndDelete(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.plan(t, "Spring")
	s.exec(t, `UPDATE campaigns SET created_by = 'tester'`)
	require.Contains(t, text(s.get(t, "/campaign/1")), "Approve… Delete draft…")
	w := s.do(post("/campaign/1/approve", nil))
	require.Equal(t, http.StatusForbidden, w.Code, "four eyes")
	require.Contains(t, text(w.Body.String()), "it takes somebody else")
	s.exec(t, `UPDATE campaigns SET created_by = 'another'`)
	require.Equal(t, http.StatusSeeOther, s.do(post("/campaign/1/approve", nil)).Code)
	require.Contains(t, text(s.get(t, "/campaign/1")), "Approved 2026-03-02 12:00:00 UTC by tester")

	s.refused = access.Write
	require.Equal(t, http.StatusUnauthorized, s.do(post("/campaign/1/delete", nil)).Code)
	s.refused = ""
	require.Contains(t, text(s.get(t, "/campaign/1/delete")), "gone for good")
	w = s.do(post("/campaign/1/delete", url.Values{}))
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "/campaigns", w.Header().Get("Location"))
	require.Zero(t, s.count(t, `SELECT count(*) FROM campaigns`))
}

func TestMessagePage(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.finished(t)
	s.exec(t, `UPDATE attempts SET state = 'accepted', provider_sid = id::text, http_status = 201, looks = 0`)
	s.exec(t, `INSERT INTO receipts (provider_sid, attempt_id, status, error_code, payload, repeats, received_at)
		SELECT provider_sid, id, 'undelivered', 30003, '{}', 2, $1 FROM attempts WHERE message_id = (SELECT id FROM messages WHERE seq = 2)`, noon.Add(time.Second))
	s.exec(t, `INSERT INTO compliance_checks (message_id, action, reason, until, steps, created_at)
		SELECT id, 'wait', 'quiet_hours', $1, '[{"step":"consent","result":"passed"},{"step":"quiet_hours","result":"deferred","detail":"until 08:00"}]', $2 FROM messages WHERE seq = 2`,
		noon.Add(time.Hour), noon.Add(-time.Second))
	link := regexp.MustCompile(`href="(/messages/[0-9a-f-]+)"`).FindAllStringSubmatch(s.get(t, "/campaign/1/recipients?state=undelivered"), -1)
	require.NotEmpty(t, link)
	page := s.get(t, link[0][1])
	for _, says := range []string{
		"Message to +94…1001", "State undelivered", "Checked: wait the end of quiet hours where they are", "until 2026-03-02 13:00:00 UTC", "consent: passed", "quiet hours: deferred until 08:00",
		"Attempt 1: accepted as free text, HTTP 201", "Receipt: undelivered said 2 times more", "Error 30003: meaning of 30003. advice on 30003",
	} {
		require.Contains(t, text(page), says)
	}
	require.Contains(t, page, "campaign%2F1%2Frun%2F1%2Frecipient%2F2")
	require.NotContains(t, page, numbers)
	for path, status := range map[string]int{"/messages/x": 404, "/messages/00000000-0000-0000-0000-000000000000": 404} {
		require.Equal(t, status, s.do(httptest.NewRequest(http.MethodGet, path, http.NoBody)).Code, path)
	}
}
