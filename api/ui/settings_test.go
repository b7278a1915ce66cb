package ui_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api/ui"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/user"
)

// saved is the page that a form leads to; it tells what was done, once.
func (s *site) saved(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	r := request(http.MethodGet, w.Header().Get("Location"))
	for _, cookie := range w.Result().Cookies() {
		require.True(t, cookie.HttpOnly)
		r.AddCookie(cookie)
	}
	page := s.do(r)
	require.Equal(t, http.StatusOK, page.Code)
	requireSound(t, page)
	require.Contains(t, page.Body.String(), `role="status"`)
	gone := page.Result().Cookies()
	require.Len(t, gone, 1)
	require.Negative(t, gone[0].MaxAge, "the message is shown once")
	return text(page.Body.String())
}

func (s *site) refuses(t *testing.T, w *httptest.ResponseRecorder, status int) string {
	t.Helper()
	require.Equal(t, status, w.Code, text(w.Body.String()))
	requireSound(t, w)
	return w.Body.String()
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := open(t)
	index := s.get(t, "/settings")
	for path, says := range map[string]string{
		"/settings/senders": "No sender is configured", "/settings/topics": "No topics yet", "/settings/keywords": "Words that always count",
		"/settings/replies": "Somebody said STOP", "/settings/hours": "US-TX Mon–Sat 09:00-21:00 Sun 12:00-21:00 Texas Business",
		"/settings/suppressions": "No number is suppressed", "/settings/retention": "kept for good",
		"/settings/webhooks": "https://campaigns.example.com/webhooks/inbound",
	} {
		require.Contains(t, index, `href="`+path+`"`)
		require.Contains(t, text(s.get(t, path)), says, path)
	}
	require.NotContains(t, text(s.get(t, "/settings/webhooks")), "cannot be reached")
}

func TestWebhooksOfAPlaceThatNobodyReaches(t *testing.T) {
	t.Parallel()
	s := openWith(t, func(d *ui.Deps) { d.PublicURL, d.PayloadDays = "http://localhost:8000", 30 })
	require.Contains(t, text(s.get(t, "/settings/webhooks")), "cannot be reached from the internet")
	require.Contains(t, text(s.get(t, "/settings/retention")), "30 days")
}

func TestSenderSettings(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sender(t)
	const page = "/settings/senders"
	wrong := s.refuses(t, s.submit(t, page, page+"/1", "messages_per_second", "0", "portfolio", "", "messaging_limit", "many"), http.StatusUnprocessableEntity)
	for _, says := range []string{"must be a whole number from 1 to 1000", "must have 1 to 100 characters", `value="many"`} {
		require.Contains(t, wrong, says)
	}
	done := s.saved(t, s.submit(t, page, page+"/1", "messages_per_second", "40", "portfolio", "Main", "messaging_limit", "2000"))
	require.Contains(t, done, "limits are saved")
	require.Contains(t, done, "40.0 a second")
	require.Equal(t, 40, s.count(t, `SELECT messages_per_second FROM senders`))
	require.Equal(t, http.StatusNotFound, s.submit(t, page, page+"/9", "messages_per_second", "40", "portfolio", "Main").Code)

	s.saved(t, s.submit(t, page, "/settings/account", "messages_per_second", "500", "pair_interval_seconds", "6", "person_messages_per_day", "2"))
	account, err := s.Account(t.Context())
	require.NoError(t, err)
	require.Equal(t, 500, account.PerSecond)
	require.Equal(t, 2, *account.PersonDay)
	require.Nil(t, account.PersonWeek)
	require.Contains(t, s.refuses(t, s.submit(t, page, "/settings/account", "messages_per_second", "x", "pair_interval_seconds", "6"),
		http.StatusUnprocessableEntity), "must be a whole number from 1 to 2000")

	s.refused = access.Send
	require.Equal(t, http.StatusUnauthorized, s.submit(t, page, page+"/1", "messages_per_second", "1").Code)
}

func TestTopicSettings(t *testing.T) {
	t.Parallel()
	s := open(t)
	const page = "/settings/topics"
	require.Contains(t, s.refuses(t, s.submit(t, page, page, "name", "", "description", "kept"), http.StatusUnprocessableEntity), "kept")
	require.Contains(t, s.saved(t, s.submit(t, page, page, "name", "Offers", "keyword", "offers")), "SUBSCRIBE offers")
	require.Contains(t, s.refuses(t, s.submit(t, page, page, "name", "Offers"), http.StatusConflict), "Nothing was saved")
	require.Contains(t, s.saved(t, s.submit(t, page+"/1", page+"/1", "name", "Good offers", "keyword", "offers")), "Good offers")
	require.Contains(t, s.get(t, page+"/1"), `data-confirm="0 subscriptions end with it. This cannot be undone."`)
	require.Contains(t, s.saved(t, s.submit(t, page+"/1", page+"/1/delete")), "No topics yet")
	require.Equal(t, http.StatusNotFound, s.do(request(http.MethodGet, page+"/1")).Code)
}

func TestKeywordSettings(t *testing.T) {
	t.Parallel()
	s := open(t)
	const page = "/settings/keywords"
	form := filled(t, s.get(t, page))
	form["action"], form["locale"], form["text"] = []string{"stop", "help", "stop"}, []string{"en", "en", "en"}, []string{"enough already", "STOP", ""}
	wrong := s.refuses(t, s.do(post(page, form)), http.StatusUnprocessableEntity)
	require.Contains(t, wrong, "is reserved: it always means STOP")
	require.Contains(t, wrong, `value="enough already"`, "what was entered stays")
	form = filled(t, s.get(t, page))
	form["action"], form["locale"], form["text"] = []string{"stop", "help"}, []string{"en", "en"}, []string{"enough already", ""}
	require.Contains(t, s.saved(t, s.do(post(page, form))), "The keywords are saved.")
	words, err := s.Keywords(t.Context())
	require.NoError(t, err)
	require.Equal(t, []user.Word{{Action: user.ActionStop, Locale: "en", Text: "enough already"}}, words)
}

func TestReplySettings(t *testing.T) {
	t.Parallel()
	s := open(t)
	const page = "/settings/replies"
	form := filled(t, s.get(t, page))
	form["kind"], form["locale"], form["text"] = []string{"stop", "help"}, []string{"en", ""}, []string{"Bye, {name}", ""}
	require.Contains(t, s.refuses(t, s.do(post(page, form)), http.StatusUnprocessableEntity), "has the placeholder {name}")
	form = filled(t, s.get(t, page))
	form["kind"], form["locale"], form["text"] = []string{"stop", "help"}, []string{"en", ""}, []string{"Bye.", ""}
	s.saved(t, s.do(post(page, form)))
	texts, err := s.Replies(t.Context())
	require.NoError(t, err)
	require.Len(t, texts, 1)
	require.Equal(t, "Bye.", texts[0].Text)
	require.Contains(t, s.get(t, page), "Bye.")
}

func TestSuppressionSettings(t *testing.T) {
	t.Parallel()
	s := open(t)
	const page = "/settings/suppressions"
	number := string(s.person(t, 1, user.OptIn, nil))
	wrong := s.refuses(t, s.submit(t, page, page, "phone_number", "12", "scope", "moon", "reason", "mood", "evidence", strings.Repeat("x", 501)), http.StatusUnprocessableEntity)
	for _, says := range []string{"must be global", "must have at most 500 characters", `value="12"`} {
		require.Contains(t, wrong, says)
	}
	done := s.saved(t, s.submit(t, page, page, "phone_number", number, "scope", "global", "reason", "complaint", "evidence", "by phone"))
	require.Contains(t, done, "complaint by phone")
	require.NotContains(t, done, number)
	require.Contains(t, s.refuses(t, s.submit(t, page, page, "phone_number", number, "scope", "global"), http.StatusConflict), "is suppressed for this scope already")
	require.Contains(t, text(s.get(t, page+"?number=%2B94771231001")), "by phone")
	require.Contains(t, text(s.get(t, page+"?number=%2B94771231002")), "This number is not suppressed")
	require.Contains(t, s.refuses(t, s.do(request(http.MethodGet, page+"?number=1")), http.StatusUnprocessableEntity), `id="find-problem"`)

	require.Contains(t, s.refuses(t, s.submit(t, page+"/1/lift", page+"/1/lift", "evidence", " "), http.StatusUnprocessableEntity), "must have 1 to 500 characters")
	require.Contains(t, s.saved(t, s.submit(t, page+"/1/lift", page+"/1/lift", "evidence", "they asked to be back")), "No number is suppressed")
	require.Contains(t, text(s.get(t, page+"?lifted=yes")), "they asked to be back")
	require.Contains(t, text(s.get(t, page+"/1/lift")), "It is lifted already")
	require.Equal(t, http.StatusNotFound, s.do(request(http.MethodGet, page+"/7/lift")).Code)

	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, err := w.CreateFormFile("file", "list.csv")
	require.NoError(t, err)
	_, err = part.Write([]byte("phone_number\n+94771234567\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	r := httptest.NewRequest(http.MethodPost, page+"/import", &body)
	r.Header.Set("Content-Type", w.FormDataContentType())
	answer := s.do(r)
	require.Equal(t, http.StatusOK, answer.Code)
	requireSound(t, answer)
	require.Contains(t, text(answer.Body.String()), "3 rows were read 1 added, 1 known before, 1 refused.")
	require.Contains(t, text(answer.Body.String()), "line 4, scope: is odd")
}
