package twiliosim

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPhones(t *testing.T) {
	t.Parallel()
	hook := newHook(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("You are out."))
	})
	s := serve(t, Config{Delays: quick, InboundURL: hook.URL})
	send := func(to, text string) {
		status, _ := s.send(t, "To", to, "Body", text)
		require.Equal(t, http.StatusCreated, status)
	}
	shown := func(number string) []string {
		var messages []Message
		require.Equal(t, http.StatusOK, s.ask(t, http.MethodGet, "/sim/phones/"+number, nil, &messages))
		texts := []string{}
		for _, m := range messages {
			texts = append(texts, m.Direction+": "+m.Body)
		}
		return texts
	}
	require.Empty(t, shown("+94771234567"))
	send(person, "Hello")
	send("whatsapp:+94770000001", "Somebody else")
	require.Eventually(t, func() bool { return len(shown("+94771234567")) == 1 && len(shown("+94770000001")) == 1 }, eventually, tick)
	require.Equal(t, http.StatusOK, s.ask(t, http.MethodPost, "/sim/inbound", Phone{From: "+94771234567", To: "+14155238886", Body: "STOP"}, nil))
	require.Eventually(t, func() bool { return len(shown("+94771234567")) == 3 }, eventually, tick)
	require.Equal(t, []string{"outbound-api: Hello", "inbound: STOP", "outbound-reply: You are out."}, shown("+94771234567"))

	var talks []PhoneTalk
	require.Equal(t, http.StatusOK, s.ask(t, http.MethodGet, "/sim/phones", nil, &talks))
	require.Len(t, talks, 2)
	require.Equal(t, "+94771234567", talks[0].Number, "the latest first")
	require.Equal(t, "You are out.", talks[0].Last.Body)
	require.Equal(t, http.StatusOK, s.ask(t, http.MethodGet, "/sim/phones?limit=1", nil, &talks))
	require.Len(t, talks, 1)

	var newest []Message
	require.Equal(t, http.StatusOK, s.ask(t, http.MethodGet, "/sim/phones/+94771234567?limit=1", nil, &newest))
	require.Len(t, newest, 1)
	require.Equal(t, "You are out.", newest[0].Body)
	for _, wrong := range []string{"/sim/phones/0771234567", "/sim/phones/+94771234567?limit=0", "/sim/phones?limit=x"} {
		require.Equal(t, http.StatusBadRequest, s.ask(t, http.MethodGet, wrong, nil, nil), wrong)
	}
}

// A message that is still on its way, or never arrives, is on no phone.
func TestPhonesShowWhatArrived(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{Delays: Delays{Sent: time.Hour, Delivered: time.Hour, Read: time.Hour}})
	status, _ := s.send(t)
	require.Equal(t, http.StatusCreated, status)
	var messages []Message
	require.Equal(t, http.StatusOK, s.ask(t, http.MethodGet, "/sim/phones/+94771234567", nil, &messages))
	require.Empty(t, messages)
	var talks []PhoneTalk
	require.Equal(t, http.StatusOK, s.ask(t, http.MethodGet, "/sim/phones", nil, &talks))
	require.Empty(t, talks)
}
