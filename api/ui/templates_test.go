package ui_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

// templateOf saves a template through its form and returns the address of its page.
func (s *site) templateOf(t *testing.T, fields ...string) string {
	t.Helper()
	w := s.submit(t, "/templates/new", "/templates", append([]string{"channel", "whatsapp", "category", "marketing", "locale", "en_US"}, fields...)...)
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	return w.Header().Get("Location")
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, user.Attributes{"name": "Ann"})

	w := s.submit(t, "/templates/new", "/templates", "name", "", "content", "Hi {", "channel", "pigeon", "locale", "?")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	for _, says := range []string{"must have 1 to 100 characters", "{ without }", "must be whatsapp or sms", "must be a language"} {
		require.Contains(t, text(w.Body.String()), says)
	}
	path := s.templateOf(t, "name", "Welcome", "content", "Hi *{name}*\r\nBye")
	saved, err := s.Template(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "Hi *{name}*\nBye", saved.Content)
	require.Equal(t, []string{"name"}, saved.Variables)

	page := s.get(t, path)
	require.Contains(t, page, "Hi <strong>Ann</strong>\nBye")
	require.Contains(t, page, "hx-sse:connect", "the page waits for the approval")
	for _, says := range []string{"unsubmitted Saved At Twilio With WhatsApp Approved", "Content SID not made yet", "12 of 1,024 characters", "ought to say how to get no more of them"} {
		require.Contains(t, text(page), says)
	}
	require.Contains(t, text(s.get(t, "/templates")), "Welcome unsubmitted Hi *{name}* Bye whatsapp, marketing · en_US · version 1")

	item := outbox.Template{TemplateID: 1, Version: 1, Locale: "en_US"}
	require.NoError(t, s.NoteSubmission(t.Context(), item, "HX0123456789abcdef0123456789abcdef", noon))
	require.NoError(t, s.RecordApproval(t.Context(), item, render.Rejected, "INVALID_FORMAT", noon))
	page = s.get(t, path)
	require.Contains(t, text(page), "WhatsApp says: rejected INVALID_FORMAT A new version mends it")
	require.Contains(t, text(page), "HX0123456789abcdef0123456789abcdef")
	require.NotContains(t, page, "hx-sse:connect", "nothing is waited for any more")

	w = s.submit(t, path+"/edit", path, "name", "Welcome", "channel", "whatsapp", "category", "utility", "locale", "en_US", "content", "Hello {name}")
	require.Equal(t, path, w.Header().Get("Location"))
	page = text(s.get(t, path))
	require.Contains(t, page, "whatsapp, utility, version 2")
	require.Contains(t, page, "Version 1 2026-03-02 12:00:00 UTC , marketing en_US rejected Hi *{name}* Bye")
	require.NotContains(t, page, "ought to say how")

	w = s.submit(t, path+"/edit", path, "name", "Greeting", "channel", "whatsapp", "category", "utility", "locale", "en_US", "content", "Hello {name}")
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Contains(t, text(s.get(t, path)), "version 2", "a name is nothing that is sent")

	require.Contains(t, text(s.get(t, path+"/delete")), "Delete the template “Greeting”?")
	w = s.submit(t, path+"/delete", path+"/delete")
	require.Equal(t, "/templates", w.Header().Get("Location"))
	require.Equal(t, http.StatusNotFound, s.do(request(http.MethodGet, path)).Code)
}

func TestTemplateLanguages(t *testing.T) {
	t.Parallel()
	s := open(t)
	w := s.submit(t, "/templates/new", "/templates", "name", "Offer", "channel", "whatsapp", "content", "Hi", "more", "language")
	require.Equal(t, http.StatusOK, w.Code)
	requireSound(t, w)
	require.Contains(t, w.Body.String(), `name="variants[0].content"`, "without a script, one more language is asked for")
	require.Zero(t, s.count(t, `SELECT count(*) FROM templates`))

	w = s.submit(t, "/templates/new", "/templates", "name", "Offer", "channel", "whatsapp", "category", "marketing", "locale", "en", "content", "Hi. STOP",
		"variants[3].locale", "en", "variants[3].content", "Oi {", "variants[5].locale", "", "variants[5].content", " ")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, w.Body.String(), `id="variants[0].content-mistake"`, "the mistake is told beside its language")
	require.Contains(t, w.Body.String(), `id="variants[0].locale-mistake"`)
	require.NotContains(t, w.Body.String(), `name="variants[1].content"`, "what is empty is left out")

	path := s.templateOf(t, "name", "Offer", "content", "Hi {name}. STOP", "variants[3].locale", "pt_BR", "variants[3].content", "Oi {name}. SAIR",
		"variants[7].locale", "si", "variants[7].content", "ආයුබෝවන් {name}! STOP", "variants[7].content_sid", "HX0123456789abcdef0123456789abcdef",
		"variants[7].content_variables", "first=name")
	saved, err := s.Template(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, saved.Variants, 3)
	require.Equal(t, "pt_BR", saved.Variants[1].Locale)
	require.Equal(t, map[string]string{"first": "name"}, saved.Variants[2].Mapping)
	form := s.get(t, path+"/edit")
	require.Contains(t, form, `name="variants[1].content_variables" type="text" value="first=name"`)
	require.NotContains(t, text(s.get(t, path)), "ought to say")

	w = s.submit(t, path+"/edit", path, "name", "Offer", "channel", "whatsapp", "category", "marketing", "locale", "en_US", "content", "Hi {name}. STOP")
	require.Equal(t, http.StatusSeeOther, w.Code)
	saved, err = s.Template(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, saved.Variants, 1, "languages that were taken away are gone from the new version")
	require.Equal(t, 2, saved.Version)
}

func TestTemplatePreview(t *testing.T) {
	t.Parallel()
	s := open(t)
	preview := func(fields ...string) *httptest.ResponseRecorder {
		r := post("/templates/preview", filled(t, s.get(t, "/templates/new"), append([]string{"channel", "whatsapp", "category", "utility", "locale", "en"}, fields...)...))
		r.Header.Set("X-Part", "preview")
		w := s.do(r)
		require.Equal(t, http.StatusOK, w.Code)
		requireSound(t, w)
		return w
	}
	require.Contains(t, text(preview("content", "Hi {name}").Body.String()), "Hi {name} 9 of 1,024 characters, one message")
	require.Contains(t, text(preview("content", "Hi {name}").Body.String()), "Nobody who has opted in is known yet")

	ann := s.person(t, 1, user.OptIn, user.Attributes{"name": "Ann <b>", "language": "si", "note": "a\nb"})
	s.person(t, 2, user.Stop, user.Attributes{"name": "Bob"})
	w := preview("content", "Hi _{name}_, ~no~ {nick}")
	require.Contains(t, w.Body.String(), "Hi <em>Ann &lt;b&gt;</em>, <s>no</s> {nick}")
	require.Contains(t, text(w.Body.String()), "This person has no {nick} , and would get nothing.")
	require.Contains(t, text(w.Body.String()), "None of the newest users has {nick} : is it spelt right?")
	require.NotContains(t, w.Body.String(), string(ann))

	w = preview("content", "Hi {note}", "category", "marketing")
	require.Contains(t, text(w.Body.String()), "WhatsApp does not take the line breaks, tabs or spaces in {note}")
	require.Contains(t, text(w.Body.String()), "en: a marketing message ought to say")
	require.NotContains(t, text(preview("content", "Hi {note}", "collapse_whitespace", "yes").Body.String()), "does not take")

	w = preview("content", "Hi", "variants[0].locale", "si", "variants[0].content", "ආයුබෝවන්")
	require.Contains(t, text(w.Body.String()), "ආයුබෝවන් 8 of 1,024", "in the language of the person")
	w = preview("content", "Hi", "variants[0].locale", "si", "variants[0].content", "ආයුබෝවන්", "show", "1")
	require.Contains(t, text(w.Body.String()), "who gets the language si . Shown is en .")
	require.Contains(t, text(preview("content", "Olá ආ", "channel", "sms").Body.String()), "5 of 1,600 characters, 1 SMS segment")

	w = preview("content", "Hi {name}", "preview_phone", "+94771231002")
	require.Contains(t, text(w.Body.String()), "Hi Bob")
	w = preview("content", "Hi {name} {", "preview_phone", "+94771231999")
	require.Contains(t, text(w.Body.String()), "The number is nobody’s whom the engine knows")
	require.Contains(t, text(w.Body.String()), "Text (en) character 11: { without }")
	require.Zero(t, s.count(t, `SELECT count(*) FROM templates`))

	whole := s.submit(t, "/templates/new", "/templates/preview", "content", "Hi {name}", "channel", "whatsapp", "locale", "en")
	requireSound(t, whole)
	require.Contains(t, text(whole.Body.String()), "Hi Ann <b>", "without a script it is the whole page")
}

func TestTemplateTest(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.sender(t)
	ann := s.person(t, 1, user.OptIn, user.Attributes{"name": "Ann"})
	path := s.templateOf(t, "name", "Welcome", "content", "Hi {name}. STOP")

	w := s.submit(t, path, path+"/test", "phone_number", "+94771231999")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "is nobody's whom the engine knows")
	require.Contains(t, w.Body.String(), `id="phone_number-mistake"`)
	require.Zero(t, s.count(t, `SELECT count(*) FROM campaigns`), "a test that was refused leaves nothing behind")

	page := s.get(t, path)
	values := filled(t, page, "phone_number", string(ann))
	for range 2 { // the second click
		w = s.do(post(path+"/test", values))
		require.Equal(t, http.StatusSeeOther, w.Code)
	}
	require.Contains(t, s.get(t, w.Header().Get("Location")), "Tests of Welcome")
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM messages`))
	w = s.submit(t, path, path+"/test", "phone_number", string(ann))
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, 2, s.count(t, `SELECT count(*) FROM messages`))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM campaigns`), "the draft serves again")
	forecast, err := s.Preflight(t.Context(), int64(s.count(t, `SELECT id FROM campaigns`)), 0, noon)
	require.NoError(t, err)
	require.Zero(t, forecast.Audience, "sent by mistake, it reaches nobody")

	other := s.plan(t, "Spring")
	w = s.submit(t, path, path+"/test", "phone_number", string(ann), "campaign_id", strconv.FormatInt(other, 10))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "must be a campaign of this template")
	require.Contains(t, text(s.get(t, path+"/delete")), "It is in use, and cannot be deleted")

	s.refused = access.Send
	require.Equal(t, http.StatusUnauthorized, s.do(post(path+"/test", values)).Code)
}

func TestAskTwilioAnew(t *testing.T) {
	t.Parallel()
	s := open(t)
	path := s.templateOf(t, "name", "Welcome", "content", "Hi. STOP")
	w := s.submit(t, "/templates", "/templates/sync", "id", "1")
	require.Equal(t, path, w.Header().Get("Location"))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM outbox WHERE kind = 'templates.sync'`))
}
