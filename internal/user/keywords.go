package user

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Action is what a keyword asks for.
type Action string

// The actions. The zero value is ActionNone.
const (
	ActionNone  Action = ""
	ActionStop  Action = "stop"
	ActionStart Action = "start"
	ActionHelp  Action = "help"
)

// Intent is what a message from a person asks of the engine, and on what ground.
type Intent struct {
	Action  Action
	Keyword string // the matched word or phrase, normalised
	Locale  string // the language of the list it stands in; "" when the provider said so
}

// keywords are the words and phrases that count when they are the whole message. STOP lists are generous: a stop too
// many costs one message, a stop too few breaks the law. The others are narrow: they must be meant.
var keywords = map[Action]map[string][]string{
	ActionStop: {
		"en": {
			"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout",
			"stop all", "opt out", "opt me out", "i want to opt out", "please stop", "stop please", "stop it", "stop now",
			"stop this", "stop messages", "stop messaging me", "stop texting", "stop texting me", "please stop texting me",
			"stop sending", "stop sending me messages", "stop contacting me", "stop writing me", "stop promotions",
			"stop marketing", "remove me", "remove", "please remove me", "take me off", "take me off your list",
			"remove me from your list", "unsubscribe me", "please unsubscribe", "unsubscribe please", "unsubscribe all",
			"do not contact", "do not contact me", "don't contact me", "do not text me", "don't text me",
			"do not message me", "don't message me", "leave me alone", "no more messages", "no more texts",
			"cancel subscription", "end messages", "quit messages",
		},
		"es": {
			"baja", "alto", "parar", "cancelar", "salir", "no mas", "no más", "darme de baja", "dar de baja", "detener",
			"detener promociones", "cancelar suscripción", "cancelar suscripcion", "no me escribas", "no molestar",
		},
		"pt": {"parar", "pare", "sair", "cancelar", "remover", "descadastrar", "interromper promoções", "parar promoções"},
		"fr": {
			"arret", "arrêt", "arreter", "arrêter", "stop", "desabonner", "désabonner", "me désabonner",
			"arrêtez", "arretez", "désinscrire", "desinscrire", "arrêter les promotions",
		},
		"de": {"stop", "stopp", "abmelden", "ende", "abbestellen", "aufhören", "keine nachrichten", "werbung stoppen"},
		"it": {"stop", "annulla", "cancella", "disiscrivi", "cancellami", "basta", "interrompi promozioni"},
		"nl": {"stop", "afmelden", "uitschrijven", "stop promoties"},
		"hi": {"बंद", "रोकें", "बंद करें", "प्रमोशन बंद करें"},
		"ar": {"توقف", "إلغاء", "الغاء", "إلغاء الاشتراك", "إيقاف"},
		"si": {"නවත්වන්න", "නවතන්න"},
		"ta": {"நிறுத்து", "நிறுத்தவும்"},
	},
	ActionStart: {"en": {"start", "unstop"}},
	ActionHelp: {
		"en": {"help", "info"},
		"es": {"ayuda"}, "pt": {"ajuda"}, "fr": {"aide"}, "de": {"hilfe"}, "it": {"aiuto"},
	},
}

// assents ask to start again only when they come from somebody who opted out: everybody else says yes to other things.
var assents = map[string][]string{"en": {"yes"}, "es": {"si", "sí"}}

// localeOrder settles in which language a word of several is counted.
var localeOrder = []string{"en", "es", "pt", "fr", "de", "it", "nl", "hi", "ar", "si", "ta"}

var (
	intents       = index(keywords)
	assentIntents = index(map[Action]map[string][]string{ActionStart: assents})
)

// index turns the lists into one map from normalised text to intent.
func index(lists map[Action]map[string][]string) map[string]Intent {
	byText := map[string]Intent{}
	for action, locales := range lists {
		for _, locale := range localeOrder {
			for _, text := range locales[locale] {
				text = normalise(text)
				if _, taken := byText[text]; !taken {
					byText[text] = Intent{Action: action, Keyword: text, Locale: locale}
				}
			}
		}
	}
	return byText
}

// Classify finds out what an inbound message asks for. buttonText is the label of a tapped button, optOutType the
// provider's own verdict (STOP, START, HELP), either may be empty; optedOut tells whether the person is opted out now.
//
// A keyword counts only when it is the whole message, whatever its case, width, punctuation, hyphens and emoji. When
// the parts disagree, stop wins.
func Classify(body, buttonText, optOutType string, optedOut bool) Intent {
	found := []Intent{match(body, optedOut), match(buttonText, optedOut), providerIntent(optOutType)}
	for _, action := range []Action{ActionStop, ActionStart, ActionHelp} {
		for _, intent := range found {
			if intent.Action == action {
				return intent
			}
		}
	}
	return Intent{}
}

func match(text string, optedOut bool) Intent {
	if len(text) > maxKeywordBytes {
		return Intent{}
	}
	text = normalise(text)
	if intent, ok := intents[text]; ok {
		return intent
	}
	if optedOut {
		return assentIntents[text]
	}
	return Intent{}
}

// MaxKeyword bounds a campaign's keyword, in bytes of its normalised form.
const MaxKeyword = 100

// Keyword is a text as keywords are compared: words of letters and digits, in lower case, with single spaces between. ""
// is for one that can be no keyword, being empty or too long.
func Keyword(text string) string {
	if len(text) > maxKeywordBytes {
		return ""
	}
	if text = normalise(text); len(text) > MaxKeyword {
		return ""
	}
	return text
}

// Reserved reports whether a normalised text has a meaning of its own: to stop, to start, to ask for help.
func Reserved(keyword string) bool { return match(keyword, true).Action != ActionNone }

// maxKeywordBytes spares long messages the normalisation: no phrase is nearly as long, decoration included.
const maxKeywordBytes = 1024

func providerIntent(optOutType string) Intent {
	switch word := strings.ToLower(strings.TrimSpace(optOutType)); word {
	case "stop", "start", "help":
		return Intent{Action: Action(word), Keyword: word}
	default:
		return Intent{}
	}
}

// normalise brings text to compatibility form and lower case, reduces everything that is not part of a word to single
// spaces, and drops invisible characters.
func normalise(text string) string {
	var b strings.Builder
	inWord := false
	for _, r := range norm.NFKC.String(strings.ToLower(norm.NFKC.String(text))) {
		switch {
		case unicode.Is(unicode.Cf, r): // joiners, direction marks, zero-width spaces
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r) && inWord:
			if !inWord && b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteRune(r)
			inWord = true
		default:
			inWord = false
		}
	}
	return b.String()
}
