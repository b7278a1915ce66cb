package ui_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api/ui"
	"github.com/event-stream-engine/ese/internal/handset"
	"github.com/event-stream-engine/ese/internal/twiliosim"
	"github.com/event-stream-engine/ese/internal/user"
)

// withPhones is a site beside a simulator, whose phones write to a webhook that answers with status.
func withPhones(t *testing.T, status int) (*site, chan url.Values) {
	t.Helper()
	got := make(chan url.Values, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got <- r.PostForm
		w.WriteHeader(status)
	}))
	t.Cleanup(hook.Close)
	quick := twiliosim.Delays{Sent: time.Millisecond, Delivered: time.Millisecond, Read: time.Millisecond}
	sim, err := twiliosim.New(twiliosim.Config{
		AccountSID: "AC00000000000000000000000000000000", AuthToken: "secret", DataDir: t.TempDir(), InboundURL: hook.URL, Delays: quick,
	})
	require.NoError(t, err)
	served := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		served.Close()
		require.NoError(t, sim.Close())
	})
	return openWith(t, func(d *ui.Deps) { d.Phones = handset.Client{BaseURL: served.URL, HTTP: served.Client()} }), got
}

const somePhone = "+94771231001"

func TestNoPhoneWithoutSimulator(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Equal(t, http.StatusNotFound, s.do(request(http.MethodGet, "/phone")).Code)
	require.NotContains(t, s.get(t, "/"), `href="/phone"`)
}

func TestPhone(t *testing.T) {
	t.Parallel()
	s, got := withPhones(t, http.StatusOK)
	s.sender(t)
	require.Contains(t, text(s.get(t, "/phone")), "Nothing has arrived yet")
	require.Contains(t, s.get(t, "/"), `href="/phone"`)

	path := "/phone?number=" + url.QueryEscape(somePhone)
	page := s.get(t, path)
	require.Contains(t, text(page), "unknown to the engine")
	require.Contains(t, page, `hx-sse:connect="/phone?live=yes&amp;number=%2B94771231001"`)
	s.person(t, 1, user.OptIn, user.Attributes{"name": "Ann"})
	page = s.get(t, path)
	require.Contains(t, text(page), "Ann · OPT_IN")

	form := filled(t, page, "number", somePhone, "sender", "whatsapp +14155238886", "body", "Hello there")
	for range 2 { // the second is the same form again
		w := s.do(post("/phone", form))
		require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
		require.Equal(t, path, w.Header().Get("Location"))
	}
	said := <-got
	require.Equal(t, "Hello there", said.Get("Body"))
	require.Equal(t, "whatsapp:"+somePhone, said.Get("From"))
	require.Equal(t, "whatsapp:+14155238886", said.Get("To"))
	require.Equal(t, said.Get("MessageSid"), (<-got).Get("MessageSid"), "the same message again, as Twilio repeats one")
	require.Contains(t, text(s.get(t, path)), "You wrote: Hello there")
	require.Contains(t, text(s.get(t, "/phone")), somePhone)

	tap := post("/phone", filled(t, s.get(t, path), "number", somePhone, "sender", "whatsapp +14155238886", "body", "Yes please", "button", "yes"))
	tap.Header.Set("HX-Request", "true")
	w := s.do(tap)
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, text(w.Body.String()), "Yes please", "htmx gets the conversation at once")
	require.NotContains(t, w.Body.String(), "<html")
	said = <-got
	require.Equal(t, "Yes please", said.Get("ButtonText"))
	require.Equal(t, "button", said.Get("MessageType"))
}

func TestPhoneRefuses(t *testing.T) {
	t.Parallel()
	s, _ := withPhones(t, http.StatusOK)
	s.sender(t)
	w := s.do(request(http.MethodGet, "/phone?number=077"))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	requireSound(t, w)
	require.Contains(t, w.Body.String(), `aria-invalid="true"`)
	require.Contains(t, w.Body.String(), `value="077"`, "what was entered stays")
	page := s.get(t, "/phone?number="+url.QueryEscape(somePhone))
	for name, fields := range map[string][]string{
		"no text":   {"number", somePhone, "sender", "whatsapp +14155238886"},
		"no number": {"sender", "whatsapp +14155238886", "body", "Hi"},
		"no sender": {"number", somePhone, "body", "Hi"},
	} {
		require.Equal(t, http.StatusUnprocessableEntity, s.do(post("/phone", filled(t, page, fields...))).Code, name)
	}
}

func TestPhoneTellsOfFailure(t *testing.T) {
	t.Parallel()
	s, _ := withPhones(t, http.StatusForbidden)
	s.sender(t)
	page := s.get(t, "/phone?number="+url.QueryEscape(somePhone))
	w := s.do(post("/phone", filled(t, page, "number", somePhone, "sender", "whatsapp +14155238886", "body", "Hi")))
	require.Equal(t, http.StatusInternalServerError, w.Code, "our webhook refused it")

	err := handset.Client{BaseURL: "http://127.0.0.1:1", HTTP: http.DefaultClient}.Write(context.Background(), handset.Writing{})
	require.Error(t, err)
	_, err = handset.Client{BaseURL: "http://127.0.0.1:1", HTTP: http.DefaultClient}.Messages(t.Context(), somePhone)
	require.ErrorContains(t, err, "the simulator does not answer")
	require.NotContains(t, err.Error(), "4771231001", "errors name no one")
}
