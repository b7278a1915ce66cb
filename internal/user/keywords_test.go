package user_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/user"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	tests := []struct {
		body   string
		action user.Action
		locale string
	}{
		{"STOP", user.ActionStop, "en"},
		{"STOP.", user.ActionStop, "en"},
		{" stop ", user.ActionStop, "en"},
		{"Stop!!", user.ActionStop, "en"},
		{"ＳＴＯＰ", user.ActionStop, "en"},
		{"“Stop”", user.ActionStop, "en"},
		{"stop 🛑", user.ActionStop, "en"},
		{"🙏🏽❤️ STOP ❤️", user.ActionStop, "en"},
		{"ST\u200bOP", user.ActionStop, "en"},
		{"\u202aSTOP\u202c\n", user.ActionStop, "en"},
		{"Stop All", user.ActionStop, "en"},
		{"stop-all", user.ActionStop, "en"},
		{"opt-out", user.ActionStop, "en"},
		{"OPT   OUT", user.ActionStop, "en"},
		{"Don't text me!", user.ActionStop, "en"},
		{"Don’t text me", user.ActionStop, "en"},
		{"Please stop.", user.ActionStop, "en"},
		{"Stop promotions", user.ActionStop, "en"},
		{"REVOKE", user.ActionStop, "en"},
		{"quit", user.ActionStop, "en"},
		{"no más", user.ActionStop, "es"},
		{"NO MAS", user.ActionStop, "es"},
		{"Sair", user.ActionStop, "pt"},
		{"ARRÊT", user.ActionStop, "fr"},
		{"arre\u0302t", user.ActionStop, "fr"}, // decomposed
		{"Stopp!", user.ActionStop, "de"},
		{"Disiscrivi", user.ActionStop, "it"},
		{"afmelden", user.ActionStop, "nl"},
		{"बंद", user.ActionStop, "hi"},
		{"रोकें।", user.ActionStop, "hi"},
		{"إلغاء", user.ActionStop, "ar"},
		{"Start", user.ActionStart, "en"},
		{"unstop", user.ActionStart, "en"},
		{"help?", user.ActionHelp, "en"},
		{"INFO", user.ActionHelp, "en"},

		{"", user.ActionNone, ""},
		{"   ", user.ActionNone, ""},
		{"🛑", user.ActionNone, ""},
		{"weekend", user.ActionNone, ""},
		{"friend", user.ActionNone, ""},
		{"send", user.ActionNone, ""},
		{"bus stop", user.ActionNone, ""},
		{"don't stop", user.ActionNone, ""},
		{"do not stop", user.ActionNone, ""},
		{"Is this the end?", user.ActionNone, ""},
		{"cancel my order", user.ActionNone, ""},
		{"yes", user.ActionNone, ""},
		{"Sí", user.ActionNone, ""},
		{"start the car", user.ActionNone, ""},
		{strings.Repeat("stop ", 500), user.ActionNone, ""},
		{"stop" + strings.Repeat("!", 500), user.ActionStop, "en"},
		{"\xffstop\xfe", user.ActionStop, "en"},
	}
	for _, tt := range tests {
		got := user.Classify(tt.body, "", "", false)
		require.Equal(t, tt.action, got.Action, "%q", tt.body)
		require.Equal(t, tt.locale, got.Locale, "%q", tt.body)
		if tt.action != user.ActionNone {
			require.NotEmpty(t, got.Keyword)
			require.Equal(t, got, user.Classify("", tt.body, "", false), "a button counts like text")
		}
	}
}

func TestClassifyAssentOnlyWhenOptedOut(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"YES", "yes!", "SI", "Sí"} {
		require.Equal(t, user.ActionNone, user.Classify(body, "", "", false).Action)
		require.Equal(t, user.ActionStart, user.Classify(body, "", "", true).Action, body)
	}
	require.Equal(t, user.ActionStop, user.Classify("STOP", "", "", true).Action)
}

func TestClassifySources(t *testing.T) {
	t.Parallel()
	require.Equal(t, user.Intent{Action: user.ActionStop, Keyword: "stop"}, user.Classify("Basta così, grazie", "", "STOP", false))
	require.Equal(t, user.ActionStart, user.Classify("", "", "start", false).Action)
	require.Equal(t, user.ActionHelp, user.Classify("", "", "HELP", false).Action)
	require.Equal(t, user.ActionNone, user.Classify("hello", "More", "OTHER", false).Action)
	require.Equal(t, user.ActionStop, user.Classify("start", "Stop promotions", "HELP", false).Action, "stop wins")
	require.Equal(t, user.ActionStop, user.Classify("stop", "", "START", false).Action, "stop wins")
}

// Whatever surrounds a STOP without being a word leaves it a STOP; a letter at its side never does.
func FuzzClassify(f *testing.F) {
	for _, seed := range []string{"", "!", " ", "🛑", "x", "\u0301", "ß", "\xff", "ı", "İ", "-", "\u200d"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		user.Classify(before, after, before, true)
		if len(before)+len(after) > 200 {
			return
		}
		if strings.Trim(before+after, " \t\n.,;:!?-_'\"()*🛑🙏") == "" {
			require.Equal(t, user.ActionStop, user.Classify(before+"sToP"+after, "", "", false).Action)
		}
		require.Equal(t, user.ActionNone, user.Classify(before+"weekend"+after, "", "", false).Action)
	})
}
