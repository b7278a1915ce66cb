package user_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
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
		{"please stop texting me, thanks", user.ActionStop, "en"},
		{"Hi, STOP now please!", user.ActionStop, "en"},
		{"I do not want these messages", user.ActionStop, "en"},
		{"Unsubscribe me please", user.ActionStop, "en"},
		{"UNSUBSCRIBE", user.ActionStop, "en"},
		{"unsubscribe from all messages", user.ActionStop, "en"},
		{"Detener promociones", user.ActionStop, "es"},
		{"Interromper promoções", user.ActionStop, "pt"},
		{"Arrêter les promotions", user.ActionStop, "fr"},
		{"Werbung stoppen", user.ActionStop, "de"},
		{"Promosyonları durdur", user.ActionStop, "tr"},
		{"İPTAL", user.ActionStop, "tr"},
		{"IPTAL", user.ActionStop, "tr"},
		{"СТОП", user.ActionStop, "ru"},
		{"退订", user.ActionStop, "zh"},
		{"停止", user.ActionStop, "zh"},
		{"수신거부", user.ActionStop, "ko"},
		{"నిలిపివేయి", user.ActionNone, ""},
		{"HỦY", user.ActionStop, "vi"},
		{"Start", user.ActionStart, "en"},
		{"subscribe", user.ActionStart, "en"},
		{"Anmelden", user.ActionStart, "de"},
		{"thanks", user.ActionNone, ""},
		{"please", user.ActionNone, ""},
		{"help please", user.ActionNone, ""},
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

func TestClassifyTopics(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]user.Intent{
		"SUBSCRIBE news":              {Action: user.ActionSubscribe, Topic: "news"},
		" subscribe  Daily Offers! 🎉": {Action: user.ActionSubscribe, Topic: "daily-offers"},
		"subscribe daily-offers":      {Action: user.ActionSubscribe, Topic: "daily-offers"},
		"UNSUBSCRIBE News":            {Action: user.ActionUnsubscribe, Topic: "news"},
		"unsubscribe nonsense":        {Action: user.ActionUnsubscribe, Topic: "nonsense"},
		"SUBSCRIBE stop":              {Action: user.ActionSubscribe, Topic: "stop"},
	} {
		want.Keyword, want.Locale = string(want.Action), "en"
		require.Equal(t, want, user.Classify(body, "", "", false), body)
		require.Equal(t, want, user.Classify("", body, "", true), body)
	}
	require.Equal(t, user.ActionStop, user.Classify("SUBSCRIBE news", "Stop promotions", "", false).Action)
	require.Equal(t, user.ActionUnsubscribe, user.Classify("UNSUBSCRIBE news", "Start", "", false).Action)
	require.Equal(t, user.ActionNone, user.Classify("please subscribe news", "", "", false).Action, "the whole message")
}

func TestAdditionalWords(t *testing.T) {
	t.Parallel()
	words, err := user.CheckWords("additional", []user.Word{
		{Action: user.ActionStop, Locale: "cy", Text: "Peidiwch!"},
		{Action: user.ActionStart, Locale: "en", Text: "Count me in"},
		{Action: user.ActionHelp, Locale: "en", Text: "What's this?"},
		{Action: user.ActionStop, Locale: "en", Text: "unsubscribe my newsletter"},
		{Action: user.ActionStart, Locale: "en", Text: "yes"},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"peidiwch", "count me in"}, user.WordTexts(" PEIDIWCH ", "🎉 count me in", "…", strings.Repeat("x", 2000)))
	for body, want := range map[string]user.Intent{
		"PEIDIWCH.":                 {Action: user.ActionStop, Keyword: "peidiwch", Locale: "cy"},
		"count me in":               {Action: user.ActionStart, Keyword: "count me in", Locale: "en"},
		"what’s this":               {Action: user.ActionHelp, Keyword: "what s this", Locale: "en"},
		"unsubscribe my newsletter": {Action: user.ActionStop, Keyword: "unsubscribe my newsletter", Locale: "en"},
		"yes":                       {Action: user.ActionStart, Keyword: "yes", Locale: "en"},
		"stop":                      {Action: user.ActionStop, Keyword: "stop", Locale: "en"},
		"peidiwch â":                {},
	} {
		require.Equal(t, want, user.Classify(body, "", "", false, words...), body)
	}

	for field, bad := range map[string]user.Word{
		"additional[0].text: is reserved: it always means STOP":  {Action: user.ActionStart, Locale: "en", Text: "S\u200bTOP"},
		"additional[0].text: is reserved: it always means START": {Action: user.ActionHelp, Locale: "en", Text: "START!"},
		"additional[0].text: must hold a letter or a digit":      {Action: user.ActionStop, Locale: "en", Text: "🛑"},
		"additional[0].text: subscribes to a topic, or ends it":  {Action: user.ActionStart, Locale: "en", Text: "subscribe news"},
		"additional[0].action: must be one of stop, start, help": {Action: "subscribe", Locale: "en", Text: "join"},
		"additional[0].locale: must be a language such as es":    {Action: user.ActionStop, Text: "halt"},
	} {
		_, err := user.CheckWords("additional", []user.Word{bad})
		require.True(t, fault.Is(err, fault.Invalid), bad)
		require.Contains(t, err.Error(), field)
	}
	_, err = user.CheckWords("additional", []user.Word{{Action: user.ActionStop, Locale: "en", Text: "halt"}, {Action: user.ActionHelp, Locale: "en", Text: "HALT!"}})
	require.ErrorContains(t, err, "additional[1].text: is the same as additional[0].text")
	_, err = user.CheckWords("additional", make([]user.Word, user.MaxWords+1))
	require.ErrorContains(t, err, "at most 1000 words")
}

// The reserved words are what they claim to be, and no list hides another's STOP.
func TestReservedWords(t *testing.T) {
	t.Parallel()
	words := user.ReservedWords()
	locales := map[string]bool{}
	for _, w := range words {
		got := user.Classify(w.Text, "", "", false)
		require.NotEqual(t, user.ActionNone, got.Action, w)
		if w.Action == user.ActionStop {
			require.Equal(t, user.ActionStop, got.Action, w)
		}
		locales[w.Locale] = true
	}
	for _, locale := range []string{"en", "es", "pt", "fr", "de", "it", "nl", "hi", "ar", "si", "ta", "zh", "ko"} {
		require.True(t, locales[locale], locale)
	}
	for _, text := range []string{"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"} { // the provider's own
		require.Contains(t, words, user.Word{Action: user.ActionStop, Locale: "en", Text: strings.ToLower(text)})
	}
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
		got := user.Classify(before+"weekend"+after, "", "", false)
		require.Contains(t, []user.Action{user.ActionNone, user.ActionSubscribe, user.ActionUnsubscribe}, got.Action)
		if got.Topic != "" { // what it names can be a topic's keyword, or at least is written like one
			again := user.Classify("subscribe "+got.Topic, "", "", false)
			require.Equal(t, got.Topic, again.Topic)
		}
		// Additional words never take a STOP away.
		if words, err := user.CheckWords("additional", []user.Word{{Action: user.ActionStart, Locale: "en", Text: before}}); err == nil {
			require.Equal(t, user.ActionStop, user.Classify("stop", before, "", false, words...).Action)
			require.Equal(t, user.ActionStart, user.Classify(before, "", "", false, words...).Action)
		}
	})
}
