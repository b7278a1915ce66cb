package inbound_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestReplyTo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		optOutType     string
		action         user.Action
		before         user.ConsentState
		changed, known bool
		want           inbound.ReplyKind
	}{
		{"Stop", "", user.ActionStop, user.OptIn, true, false, inbound.ReplyStop},
		{"StopOfSomebodyNew", "", user.ActionStop, user.Pending, true, false, inbound.ReplyStop},
		{"StopAgain", "", user.ActionStop, user.Stop, false, false, inbound.NoReply},
		{"StopThatTheProviderAnswered", "STOP", user.ActionStop, user.OptIn, true, false, inbound.NoReply},
		{"Start", "", user.ActionStart, user.Stop, true, false, inbound.ReplyStart},
		{"StartAgain", "", user.ActionStart, user.OptIn, false, false, inbound.ReplyStart},
		{"StartThatTheProviderAnswered", "START", user.ActionStart, user.Stop, true, false, inbound.NoReply},
		{"Help", "", user.ActionHelp, user.Pending, false, false, inbound.ReplyHelp},
		{"HelpOfWhoDeclined", "", user.ActionHelp, user.OptOut, false, false, inbound.ReplyHelp},
		{"HelpAfterStop", "", user.ActionHelp, user.Stop, false, false, inbound.NoReply},
		{"Subscribe", "", user.ActionSubscribe, user.OptIn, true, true, inbound.ReplySubscribed},
		{"SubscribeAgain", "", user.ActionSubscribe, user.OptIn, false, true, inbound.ReplySubscribed},
		{"SubscribeAfterStop", "", user.ActionSubscribe, user.Stop, true, true, inbound.NoReply},
		{"SubscribeToNothing", "", user.ActionSubscribe, user.OptIn, false, false, inbound.ReplyUnknownTopic},
		{"Unsubscribe", "", user.ActionUnsubscribe, user.OptIn, true, true, inbound.ReplyUnsubscribed},
		{"UnsubscribeFromNothing", "", user.ActionUnsubscribe, user.OptIn, false, false, inbound.ReplyUnknownTopic},
		{"SomethingElse", "", user.ActionNone, user.OptIn, false, false, inbound.NoReply},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, inbound.ReplyTo(inbound.Message{OptOutType: tt.optOutType}, tt.action, tt.before, tt.changed, tt.known), tt.name)
	}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	own := []inbound.ReplyText{
		{Kind: inbound.ReplyHelp, Locale: "en", Text: "Call us"},
		{Kind: inbound.ReplyHelp, Locale: "pt_BR", Text: "Ligue"},
		{Kind: inbound.ReplyHelp, Locale: "pt", Text: "Telefone"},
		{Kind: inbound.ReplyStart, Locale: "fr", Text: ""},
		{Kind: inbound.ReplySubscribed, Locale: "si", Text: "{topic}: ඔව්"},
	}
	for _, tt := range []struct {
		kind      inbound.ReplyKind
		languages []string
		want      string
	}{
		{inbound.ReplyHelp, nil, "Call us"},
		{inbound.ReplyHelp, []string{"de"}, "Call us"},
		{inbound.ReplyHelp, []string{"pt-br"}, "Ligue"},
		{inbound.ReplyHelp, []string{"pt_PT"}, "Ligue"},
		{inbound.ReplyHelp, []string{"PT"}, "Telefone"},
		{inbound.ReplyHelp, []string{"", "pt"}, "Telefone"},
		{inbound.ReplyHelp, []string{"de", "pt"}, "Telefone"},
		{inbound.ReplyStart, []string{"en"}, ""},
		{inbound.ReplySubscribed, []string{"en"}, "News & more: ඔව්"},
		{inbound.ReplyUnsubscribed, []string{"de_CH"}, "Sie erhalten keine Nachrichten mehr zu News & more. Antworten Sie STOP, um gar keine mehr von uns zu erhalten."},
		{inbound.NoReply, []string{"en"}, ""},
	} {
		require.Equal(t, tt.want, inbound.Compose(tt.kind, tt.languages, "News & more", own), "%s %v", tt.kind, tt.languages)
	}
	require.Contains(t, inbound.Compose(inbound.ReplyStop, []string{"xx"}, "", nil), "You have been unsubscribed")
}

func TestStandardRepliesCanBeSent(t *testing.T) {
	t.Parallel()
	standard := inbound.StandardReplies()
	require.NoError(t, inbound.CheckReplies("replies", standard))
	for _, text := range standard {
		require.NotEmpty(t, text.Text, text)
		require.NotContains(t, inbound.Compose(text.Kind, []string{text.Locale}, "News", nil), "{")
	}
}

func TestCheckReplies(t *testing.T) {
	t.Parallel()
	for want, bad := range map[string]inbound.ReplyText{
		"replies[0].kind: must be one of":                   {Kind: "welcome", Locale: "en", Text: "x"},
		"replies[0].locale: must be a language":             {Kind: inbound.ReplyHelp, Text: "x"},
		"replies[0].text: character 3: { without }":         {Kind: inbound.ReplyHelp, Locale: "en", Text: "a {"},
		"replies[0].text: has the placeholder {name}":       {Kind: inbound.ReplySubscribed, Locale: "en", Text: "Hi {name}"},
		"which only subscribed and unsubscribed can fill":   {Kind: inbound.ReplyStop, Locale: "en", Text: "Bye {topic}"},
		"replies[0].text: is too long":                      {Kind: inbound.ReplyStop, Locale: "en", Text: strings.Repeat("x", 1601)},
		"replies[0].text: must not be empty":                {Kind: inbound.ReplyStop, Locale: "en", Text: "  "},
		"replies[0].text: must be UTF-8 text without NUL":   {Kind: inbound.ReplyStop, Locale: "en", Text: "a\x00"},
		"replies[0].text: character 3: } without {; write ": {Kind: inbound.ReplyStop, Locale: "en", Text: "a }"},
	} {
		err := inbound.CheckReplies("replies", []inbound.ReplyText{bad})
		require.True(t, fault.Is(err, fault.Invalid), "%+v", bad)
		require.Contains(t, err.Error(), want)
	}
	err := inbound.CheckReplies("replies", []inbound.ReplyText{
		{Kind: inbound.ReplyHelp, Locale: "pt_BR", Text: "x"}, {Kind: inbound.ReplyStop, Locale: "pt-br", Text: "x"}, {Kind: inbound.ReplyHelp, Locale: "pt-br", Text: "y"},
	})
	require.ErrorContains(t, err, "replies[2].locale: is the same as replies[0].locale")
	require.ErrorContains(t, inbound.CheckReplies("replies", make([]inbound.ReplyText, 501)), "at most 500 texts")
}
