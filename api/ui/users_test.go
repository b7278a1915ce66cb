package ui_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	s := open(t)
	for n := range 30 {
		s.person(t, n, user.OptIn, nil)
	}
	s.person(t, 30, user.Stop, user.Attributes{"name": "Ann", "city": "Galle"})

	first := s.get(t, "/users")
	require.Contains(t, text(first), "all 31 OPT_IN 30 PENDING 0 OPT_OUT 0 STOP 1", "counts are of all users, not of the page")
	require.Contains(t, text(first), "31 in all")
	require.Contains(t, text(first), numbers+"1030 Ann STOP")
	require.Equal(t, 25, strings.Count(text(first), numbers+"10"))

	next := regexp.MustCompile(`href="(/users\?after=\d+)">Next page`).FindStringSubmatch(first)
	require.NotNil(t, next)
	second := s.get(t, next[1])
	require.Equal(t, 6, strings.Count(text(second), numbers+"10"))
	require.NotContains(t, second, "Next page")
	require.Contains(t, second, `href="/users">First page`)
}

func TestUserFilters(t *testing.T) {
	t.Parallel()
	s := open(t)
	ann := s.person(t, 1, user.OptIn, user.Attributes{"name": "Ann O'Hara", "city": "Galle"})
	s.person(t, 2, user.Stop, user.Attributes{"name": "Annika", "city": "Colombo"})
	s.person(t, 3, user.OptIn, user.Attributes{"name": "100%", "city": "Colombo"})
	_, err := s.CreateUser(t.Context(), "+447400123456", nil, user.Change{Source: user.SourceAPI}, "tester", noon.AddDate(0, 0, -2))
	require.NoError(t, err)
	segment, err := s.CreateSegment(t.Context(), "Colombo", []byte(`{"city":"Colombo"}`), noon)
	require.NoError(t, err)
	topic, err := s.CreateTopic(t.Context(), user.Topic{Name: "Offers"}, "tester", noon)
	require.NoError(t, err)
	_, err = s.SetSubscription(t.Context(), ann, topic.ID, true, user.Change{Source: user.SourceOperator, Evidence: "call"}, "tester", noon)
	require.NoError(t, err)

	for query, found := range map[string][]string{
		"consent_state=stop":                     {"1002"},
		"q=" + url.QueryEscape("+94 77 123 100"): {"1003", "1002", "1001"},
		"q=94771231001":                          {"1001"},
		"q=ann":                                  {"1002", "1001"},
		"q=ANN%20O%27":                           {"1001"},
		"q=100%25":                               {"1003"},
		"q=nn":                                   nil,
		"q=ann&consent_state=OPT_IN":             {"1001"},
		"segment_id=" + strconv.FormatInt(segment.ID, 10): {"1003", "1002"},
		"topic_id=" + strconv.FormatInt(topic.ID, 10):     {"1001"},
		"region=GB":                                     {"3456"},
		"region=gb&segment_id=1":                        nil,
		"created_from=2026-03-02":                       {"1003", "1002", "1001"},
		"created_to=2026-02-28":                         {"3456"},
		"created_from=2026-02-28&created_to=2026-02-28": {"3456"},
	} {
		page := s.get(t, "/users?"+query)
		var got []string
		for _, m := range regexp.MustCompile(`href="/users/\d+">&#43;\d+(\d{4})<`).FindAllStringSubmatch(page, -1) {
			got = append(got, m[1])
		}
		require.Equal(t, found, got, query)
		if found == nil {
			require.Contains(t, text(page), "Nobody fits this filter.", query)
			continue
		}
		require.Contains(t, text(page), strconv.Itoa(len(found))+" in all", query)
	}
	page := s.get(t, "/users?q=ann&region=LK&created_to=2026-03-02&segment_id=1")
	require.Contains(t, page, `href="/api/v1/users.csv?created_before=2026-03-03T00%3A00%3A00Z&amp;name=ann&amp;region=LK&amp;segment_id=1"`)
	require.Contains(t, page, `value="ann"`, "what was looked for stays")

	for query, says := range map[string]string{
		"consent_state=MAYBE": "must be one of", "after=x": "must be a whole number", "segment_id=x": "must be chosen", "segment_id=99": "there is no segment 99",
		"region=XX": "must be chosen", "created_from=soon": "must be a date", "q=" + strings.Repeat("1", 20): "first digits of a number",
	} {
		w := s.do(httptest.NewRequest(http.MethodGet, "/users?"+query, http.NoBody))
		require.Equal(t, http.StatusUnprocessableEntity, w.Code, query)
		require.Contains(t, text(w.Body.String()), says, query)
	}
}

func TestAddUser(t *testing.T) {
	t.Parallel()
	s := open(t)
	w := s.submit(t, "/users/new", "/users", "phone_number", "12", "consent_state", "OPT_IN", "attribute", "age", "type", "number", "value", "old")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	requireSound(t, w)
	page := w.Body.String()
	require.Contains(t, text(page), "must be international")
	require.Contains(t, text(page), "must be a number such as 12.5", "all mistakes are told at once")
	require.Contains(t, page, `value="12"`, "what was entered stays")
	require.Contains(t, page, `<option selected>OPT_IN`)
	require.Regexp(t, `name="value"[^>]*>\s*old<`, page)
	require.Zero(t, s.count(t, `SELECT count(*) FROM users`))

	fields := []string{
		"phone_number", "+94 77 123 4567", "consent_state", "OPT_IN", "evidence", "Sign-up form", "attribute", "name", "type", "text", "value", "Ann",
	}
	form := filled(t, s.get(t, "/users/new"), fields...)
	for range 2 {
		w = s.do(post("/users", form))
		require.Equal(t, http.StatusSeeOther, w.Code, "a double click adds one")
		require.Equal(t, "/users/1", w.Header().Get("Location"))
	}
	require.Contains(t, text(s.get(t, "/users")), "+94771234567 Ann OPT_IN")
	require.Contains(t, text(s.get(t, "/users/1")), "api by tester from 192.0.2.1: Sign-up form")

	w = s.submit(t, "/users/new", "/users", "phone_number", "+94771234567")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "a user with this phone number exists")
}

func TestNumberIsJudgedAsItIsTyped(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, nil)
	for typed, says := range map[string]string{
		"": "", "+9": "This is not a telephone number", "077 123": "This must be international", "+94 77 123 4567": "+94771234567 · LK · Asia/Colombo",
		numbers + "1001": "Somebody has this number already: open them",
	} {
		got := text(s.get(t, "/users/number?phone_number="+url.QueryEscape(typed)))
		require.Contains(t, got, says, typed)
		require.True(t, typed != "" || got == "")
	}
}

// openPerson adds somebody to whom much happened, and returns their page.
func (s *site) openPerson(t *testing.T) (path string) {
	t.Helper()
	s.sender(t)
	ann := s.person(t, 1, user.OptIn, user.Attributes{"name": "Ann", "city": "Galle", "vip": true, "tags": []any{"a"}, "nothing": nil})
	id := s.plan(t, "Spring")
	started, err := s.StartRun(t.Context(), id, "tester", noon)
	require.NoError(t, err)
	run, err := s.Run(t.Context(), started.ID)
	require.NoError(t, err)
	require.NoError(t, s.Freeze(t.Context(), run, noon))
	s.exec(t, `UPDATE messages SET state = 'failed', reason = 'rejected', error_code = 30003, ended_at = $1 WHERE user_id = 1`, noon.Add(time.Minute))
	s.exec(t, `INSERT INTO inbound_messages (provider_sid, user_id, channel, intent, body, payload, received_at)
		VALUES ('SM1', 1, 'whatsapp', 'none', 'Where is it?', '{}', $1)`, noon.Add(2*time.Minute))
	_, err = s.UpdateUser(t.Context(), ann, nil, user.Change{State: user.Stop, Source: user.SourceKeyword, Evidence: "SM2", Wording: "stop"}, "user", noon.Add(3*time.Minute))
	require.NoError(t, err)
	return "/users/1"
}

func TestPerson(t *testing.T) {
	t.Parallel()
	s := open(t)
	page := s.get(t, s.openPerson(t))
	for _, says := range []string{
		"OPT_IN → STOP", "keyword by user: SM2", "“stop”", "To them Spring failed", "error 30003: meaning of 30003", "From them text", "Where is it?",
		"1 to them", "1 from them",
	} {
		require.Contains(t, text(page), says)
	}
	_, timeline, found := strings.Cut(page, `id="timeline"`)
	require.True(t, found)
	require.Regexp(t, `(?s)OPT_IN</span> <span aria-label="to">→.*From them.*To them.*Consent`, timeline, "newest first")
	require.Contains(t, page, `href="/api/v1/users/&#43;94771231001/export"`)
	require.Equal(t, http.StatusNotFound, s.do(httptest.NewRequest(http.MethodGet, "/users/99", http.NoBody)).Code)
	require.Equal(t, http.StatusNotFound, s.do(httptest.NewRequest(http.MethodGet, "/users/x", http.NoBody)).Code)
}

func TestLongTimeline(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, nil)
	s.exec(t, `INSERT INTO inbound_messages (provider_sid, user_id, channel, intent, body, payload, received_at)
		SELECT 'SM' || n, 1, 'whatsapp', 'none', 'text ' || n || '.', '{}', $1::timestamptz + n / 10 * interval '1 second' FROM generate_series(1, 60) n`, noon.Add(time.Hour))
	var seen []string
	for path := "/users/1"; path != ""; {
		page := s.get(t, path)
		require.Contains(t, text(page), "61 in all")
		for _, m := range regexp.MustCompile(`text (\d+)\.`).FindAllStringSubmatch(page, -1) {
			seen = append(seen, m[1])
		}
		path = ""
		if m := regexp.MustCompile(`href="([^"]+)">Older`).FindStringSubmatch(page); m != nil {
			path = strings.ReplaceAll(strings.TrimSuffix(m[1], "#timeline"), "&amp;", "&")
		}
	}
	require.Len(t, seen, 60, "none is left out or told twice, though ten happened at each moment")
	require.Equal(t, []string{"60", "59"}, seen[:2])
	require.Equal(t, "1", seen[59])
}

func TestChangeConsent(t *testing.T) {
	t.Parallel()
	s := open(t)
	path := s.openPerson(t)
	w := s.submit(t, path, path+"/consent", "consent_state", "OPT_IN", "wording", "Yes")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	requireSound(t, w)
	require.Contains(t, text(w.Body.String()), "must say how this is known")
	require.Contains(t, text(w.Body.String()), "Yes", "what was entered stays")
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM users WHERE consent_state = 'STOP'`))

	w = s.submit(t, path, path+"/consent", "consent_state", "OPT_IN", "evidence", "Called, ticket 7", "wording", "Yes, offers")
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, path, w.Header().Get("Location"))
	page := text(s.get(t, path))
	require.Contains(t, page, "STOP → OPT_IN")
	require.Contains(t, page, "operator by tester from 192.0.2.1: Called, ticket 7 “Yes, offers”")

	s.refused = access.Write
	require.Equal(t, http.StatusUnauthorized, s.do(post(path+"/consent", url.Values{})).Code)
}

func TestChangeAttributes(t *testing.T) {
	t.Parallel()
	s := open(t)
	path := s.openPerson(t)
	page := s.get(t, path)
	asOf := regexp.MustCompile(`name="as_of" value="([^"]+)"`).FindStringSubmatch(page)
	require.NotNil(t, asOf)
	form := func(names, types, values []string) url.Values {
		f := filled(t, s.get(t, path), "as_of", asOf[1])
		f["attribute"], f["type"], f["value"] = names, types, values
		return f
	}
	w := s.do(post(path+"/attributes", form([]string{"a", "b", "", "d", "d"}, []string{"number", "json", "text", "boolean", "text"}, []string{"x", "{", "v", "true", "again"})))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	requireSound(t, w)
	for _, says := range []string{"must be a number", "must be JSON", "needs a name", "has the name of another row"} {
		require.Contains(t, text(w.Body.String()), says)
	}

	w = s.do(post(path+"/attributes", form([]string{"age", "zip", "vip", "home", ""}, []string{"number", "text", "boolean", "json", "text"},
		[]string{"12345678901234567890.5", "00120", "no", `{"city": "Kandy"}`, ""})))
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	var stored string
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT attributes::text FROM users`).Scan(&stored))
	require.JSONEq(t, `{"age": 12345678901234567890.5, "zip": "00120", "vip": false, "home": {"city": "Kandy"}}`, stored)
	require.Contains(t, stored, "12345678901234567890.5", "no digit is lost")
	require.Contains(t, text(s.get(t, path)), "STOP", "consent stays")

	s.exec(t, `UPDATE users SET updated_at = updated_at + interval '1 second'`)
	w = s.do(post(path+"/attributes", form([]string{"a"}, []string{"text"}, []string{"b"})))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "somebody else changed this person")
	require.Equal(t, http.StatusUnprocessableEntity, s.do(post(path+"/attributes", form([]string{"a"}, nil, nil))).Code)
}

func TestChangeSubscription(t *testing.T) {
	t.Parallel()
	s := open(t)
	path := s.openPerson(t)
	require.Contains(t, text(s.get(t, path)), "There are no topics yet.")
	topic, err := s.CreateTopic(t.Context(), user.Topic{Name: "Offers"}, "tester", noon)
	require.NoError(t, err)
	id := strconv.FormatInt(topic.ID, 10)

	w := s.submit(t, path, path+"/topics", "topic_id", id, "subscribed", "maybe")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "must be yes or no")
	for said, badge := range map[string]string{"yes": "subscribed", "no": "ended"} {
		w = s.submit(t, path, path+"/topics", "topic_id", id, "subscribed", said, "evidence", "said "+said)
		require.Equal(t, http.StatusSeeOther, w.Code)
		require.Contains(t, text(s.get(t, path)), "Offers "+badge)
	}
	require.Contains(t, text(s.get(t, path)), "operator by tester: said no")
}

func TestErase(t *testing.T) {
	t.Parallel()
	s := open(t)
	path := s.openPerson(t)
	s.exec(t, `UPDATE messages SET state = 'pending', ended_at = NULL, error_code = NULL`)
	require.Contains(t, text(s.get(t, path+"/erase")), "what waits for them: 1 message is cancelled")
	for _, wrong := range []string{"", "1002", "001"} {
		w := s.submit(t, path+"/erase", path+"/erase", "digits", wrong)
		require.Equal(t, http.StatusUnprocessableEntity, w.Code)
		require.Contains(t, text(w.Body.String()), "must be the last 4 digits")
	}
	form := filled(t, s.get(t, path+"/erase"), "digits", "1001")
	for range 2 {
		w := s.do(post(path+"/erase", form))
		require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
		require.Equal(t, "/users", w.Header().Get("Location"))
	}
	require.Zero(t, s.count(t, `SELECT count(*) FROM users`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM messages WHERE state = '`+string(message.Cancelled)+`'`))
	require.Equal(t, http.StatusNotFound, s.do(httptest.NewRequest(http.MethodGet, path, http.NoBody)).Code)
}
