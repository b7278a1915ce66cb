package user

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Action is what a keyword asks for.
type Action string

// The actions. The zero value is ActionNone.
const (
	ActionNone        Action = ""
	ActionStop        Action = "stop"        // no message any more
	ActionStart       Action = "start"       // messages again
	ActionHelp        Action = "help"        // to know what this is
	ActionSubscribe   Action = "subscribe"   // to the topic that Intent.Topic names
	ActionUnsubscribe Action = "unsubscribe" // from it
)

// Intent is what a message from a person asks of the engine, and on what ground.
type Intent struct {
	Action  Action
	Keyword string // the matched word or phrase, normalised
	Locale  string // the language of the list it stands in; "" when the provider said so
	Topic   string // the keyword of a topic, known or not; only with ActionSubscribe and ActionUnsubscribe
}

// Word is a word or phrase that asks for something when it is the whole message.
type Word struct {
	Action Action // stop, start or help
	Locale string // the language, such as es
	Text   string
}

// keywords are the words and phrases that count when they are the whole message. STOP lists are generous: a stop too
// many costs one message, a stop too few breaks the law. The others are narrow: they must be meant.
var keywords = map[Action]map[string][]string{
	ActionStop: {
		"en": {
			"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout",
			"stop all", "opt out", "opt me out", "i opt out", "i want to opt out", "i would like to opt out", "revoke consent",
			"i revoke my consent", "i withdraw my consent", "stop it", "stop this", "stop that", "stop messages", "stop all messages",
			"stop these messages", "stop messaging", "stop messaging me", "stop texting", "stop texting me", "stop texts",
			"stop sending", "stop sending me messages", "stop sending messages", "stop sending me texts", "stop sending these",
			"stop sending me this", "stop contacting me", "stop writing me", "stop writing to me", "stop spamming me", "stop spam",
			"stop promotions", "stop promotion", "stop marketing", "stop marketing messages", "stop promotional messages", "stop offers",
			"remove me", "remove", "remove me from your list", "remove me from the list", "remove me from this list", "remove my number",
			"remove this number", "delete my number", "take me off", "take me off your list", "take me off this list", "take me off the list",
			"unsubscribe me", "unsubscribe all", "unsubscribe from all", "unsubscribe from all messages", "unsubscribe me from all",
			"unsubscribe from everything", "unsubscribe everything", "unsubscribe from this", "unsubscribe from this list",
			"unsubscribe from your list", "unsubscribe me from this list", "unsubscribe me from your list",
			"unsubscribe from your messages", "unsubscribe from these messages", "i want to unsubscribe", "i would like to unsubscribe",
			"do not contact", "do not contact me", "do not contact me again", "don't contact me", "dont contact me",
			"do not text", "do not text me", "do not text me again", "don't text me", "don't text me again", "dont text me",
			"do not message me", "don't message me", "dont message me", "do not write me", "don't write me", "do not send me messages",
			"don't send me messages", "do not disturb", "leave me alone", "no more", "no more messages", "no more texts", "no more promotions",
			"i do not want messages", "i don't want messages", "i do not want these messages", "i don't want these messages", "not interested",
			"wrong number", "cancel subscription", "cancel my subscription", "cancel messages", "end messages", "end subscription", "quit messages",
			"block me",
		},
		"es": {
			"baja", "alto", "parar", "pare", "cancelar", "salir", "no mas", "no más", "darme de baja", "dar de baja", "dame de baja",
			"quiero darme de baja", "detener", "detener promociones", "dejar de recibir promociones", "parar promociones",
			"cancelar suscripción", "cancelar suscripcion", "no me escribas", "no me escriban", "no me escriba más", "no molestar",
			"no quiero más mensajes", "no quiero mas mensajes", "no más mensajes", "no mas mensajes", "desuscribir", "desuscribirme",
		},
		"pt": {
			"parar", "pare", "sair", "cancelar", "remover", "descadastrar", "descadastre", "interromper promoções", "parar promoções",
			"não quero mais", "nao quero mais", "não quero receber", "nao quero receber", "cancelar inscrição", "cancelar inscricao",
			"chega", "me remova", "me remove",
		},
		"fr": {
			"arret", "arrêt", "arreter", "arrêter", "stop", "desabonner", "désabonner", "me désabonner", "me desabonner",
			"se désabonner", "arrêtez", "arretez", "désinscrire", "desinscrire", "me désinscrire", "désinscription", "desinscription",
			"désabonnement", "desabonnement", "arrêter les promotions", "arrêter promotions", "stop promotions", "plus de messages",
			"ne plus me contacter", "stop sms",
		},
		"de": {
			"stop", "stopp", "abmelden", "ende", "abbestellen", "aufhören", "aufhoeren", "keine nachrichten", "keine nachrichten mehr",
			"keine werbung", "keine werbung mehr", "werbung stoppen", "werbeaktionen stoppen", "angebote stoppen", "austragen",
			"bitte abmelden", "löschen", "kündigen", "widerruf", "widerrufen",
		},
		"it": {
			"stop", "annulla", "cancella", "disiscrivi", "disiscrivimi", "cancellami", "basta", "basta messaggi", "interrompi",
			"interrompi promozioni", "ferma promozioni", "rimuovimi", "disdici", "niente messaggi",
		},
		"nl": {
			"stop", "afmelden", "uitschrijven", "stoppen", "stop promoties", "promoties stoppen", "geen berichten", "geen berichten meer",
			"opzeggen", "meld me af",
		},
		"hi": {"बंद", "रोकें", "रोको", "बंद करें", "बंद करो", "प्रमोशन बंद करें", "प्रचार बंद करें", "रद्द करें", "सदस्यता समाप्त"},
		"ar": {"توقف", "إلغاء", "الغاء", "إلغاء الاشتراك", "الغاء الاشتراك", "إيقاف", "ايقاف", "أوقف", "قف", "إيقاف العروض", "إيقاف العروض الترويجية"},
		"si": {"නවත්වන්න", "නවතන්න", "එපා", "නවත්තන්න"},
		"ta": {"நிறுத்து", "நிறுத்தவும்", "நிறுத்துங்கள்", "வேண்டாம்"},
		"bn": {"বন্ধ", "বন্ধ করুন", "থামুন"},
		"ur": {"بند", "بند کریں", "بند کرو", "روکیں"},
		"id": {"berhenti", "batal", "hentikan", "berhenti langganan", "hentikan promosi", "stop promosi"},
		"ms": {"henti", "hentikan", "batalkan", "hentikan promosi"},
		"tr": {"dur", "durdur", "iptal", "İptal", "ret", "çık", "abonelikten çık", "promosyonları durdur"},
		"ru": {"стоп", "отписаться", "отписка", "отпишите меня", "отмена", "остановить", "не писать", "остановить рекламу"},
		"uk": {"стоп", "відписатися", "відписатись", "скасувати"},
		"pl": {"stop", "rezygnuję", "rezygnuje", "wypisz", "wypisz mnie", "anuluj", "koniec", "zatrzymaj promocje"},
		"sv": {"stopp", "sluta", "avsluta", "avregistrera"},
		"da": {"stop", "afmeld", "afslut"},
		"nb": {"stopp", "slutt", "avslutt", "meld av"},
		"ro": {"stop", "opreste", "oprește", "dezabonare", "anulare"},
		"el": {"στοπ", "διακοπή", "σταμάτα", "ακύρωση"},
		"he": {"עצור", "הסר", "הסירו אותי", "הסר אותי", "בטל", "ביטול"},
		"sw": {"acha", "simama", "sitisha", "komesha"},
		"vi": {"dừng", "dừng lại", "ngừng", "hủy", "huỷ", "từ chối"},
		"th": {"หยุด", "ยกเลิก"},
		"zh": {"退订", "退訂", "停止", "取消", "取消订阅", "取消訂閱", "td"},
		"ja": {"停止", "配信停止", "解除", "ストップ", "中止"},
		"ko": {"수신거부", "중지", "중단", "거부", "그만"},
	},
	ActionStart: {
		"en": {"start", "unstop", "subscribe", "resubscribe", "opt in", "optin", "opt me in"},
		"es": {"alta", "empezar", "comenzar", "iniciar"}, "pt": {"começar", "comecar", "iniciar"}, "fr": {"démarrer", "demarrer", "commencer", "reprendre"},
		"de": {"starten", "anmelden"}, "it": {"inizia", "avvia"}, "nl": {"starten", "aanmelden"}, "hi": {"शुरू", "शुरू करें"},
		"ar": {"ابدأ", "ابدا"}, "si": {"ආරම්භ කරන්න"}, "ta": {"தொடங்கு"}, "id": {"mulai"}, "ms": {"mula"}, "tr": {"başla", "başlat"},
		"ru": {"старт", "начать"}, "uk": {"старт", "почати"},
	},
	ActionHelp: {
		"en": {"help", "info"},
		"es": {"ayuda"}, "pt": {"ajuda"}, "fr": {"aide"}, "de": {"hilfe"}, "it": {"aiuto"}, "nl": {"hulp"}, "hi": {"मदद", "सहायता"},
		"ar": {"مساعدة"}, "si": {"උදව්"}, "ta": {"உதவி"}, "id": {"bantuan"}, "tr": {"yardım"}, "ru": {"помощь"}, "uk": {"допомога"},
	},
}

// assents ask to start again only when they come from somebody who opted out: everybody else says yes to other things.
var assents = map[string][]string{
	"en": {"yes"}, "es": {"si", "sí"}, "pt": {"sim"}, "fr": {"oui"}, "de": {"ja"}, "hi": {"हाँ", "हां"}, "ar": {"نعم"},
}

// confirmations say yes to an invitation, besides assents. They mean nothing else, and count only while one is open.
var confirmations = map[string][]string{
	"en": {"yes please", "yes i agree", "i agree", "agree", "accept", "i accept", "confirm", "i confirm", "yes i confirm"},
	"es": {"acepto", "sí acepto", "si acepto", "confirmo", "confirmar", "aceptar", "de acuerdo"},
	"pt": {"aceito", "sim aceito", "confirmo", "confirmar", "aceitar", "concordo"},
	"fr": {"j'accepte", "accepter", "je confirme", "confirmer", "d'accord"},
	"de": {"bestätigen", "ich bestätige", "einverstanden", "zustimmen", "ich stimme zu", "ja bitte"},
	"it": {"sì", "accetto", "accettare", "confermo", "conferma"},
	"nl": {"akkoord", "bevestigen", "ik bevestig", "ik ga akkoord"},
	"hi": {"सहमत", "स्वीकार"}, "ar": {"موافق", "أوافق"}, "si": {"ඔව්"}, "ta": {"ஆம்"}, "id": {"ya", "setuju"}, "tr": {"evet", "onaylıyorum"},
	"ru": {"да", "согласен", "согласна"}, "uk": {"так"}, "pl": {"tak"},
}

// courtesies are dropped from both ends of what may be a STOP: they make no difference to what is meant.
var courtesies = map[string]bool{
	"please": true, "pls": true, "plz": true, "kindly": true, "hi": true, "hello": true, "hey": true, "ok": true, "okay": true,
	"thanks": true, "thank": true, "you": true, "thx": true, "now": true, "immediately": true, "just": true,
}

// localeOrder settles in which language a word of several is counted.
var localeOrder = []string{
	"en", "es", "pt", "fr", "de", "it", "nl", "hi", "ar", "si", "ta", "bn", "ur", "id", "ms", "tr", "ru", "uk", "pl", "sv", "da", "nb",
	"ro", "el", "he", "sw", "vi", "th", "zh", "ja", "ko",
}

// wordActions are the actions that words may ask for, in the order in which they win.
var wordActions = []Action{ActionStop, ActionStart, ActionHelp}

var (
	intents       = index(keywords)
	assentIntents = index(map[Action]map[string][]string{ActionStart: assents})

	confirmIntents = index(map[Action]map[string][]string{ActionStart: joined(assents, confirmations)})
)

// index turns the lists into one map from normalised text to intent. STOP wins where lists disagree.
func index(lists map[Action]map[string][]string) map[string]Intent {
	byText := map[string]Intent{}
	for _, action := range wordActions {
		for _, locale := range localeOrder {
			for _, text := range lists[action][locale] {
				text = normalise(text)
				if _, taken := byText[text]; !taken {
					byText[text] = Intent{Action: action, Keyword: text, Locale: locale}
				}
			}
		}
	}
	return byText
}

// joined puts lists of words by language into one, the former first.
func joined(lists ...map[string][]string) map[string][]string {
	all := map[string][]string{}
	for _, list := range lists {
		for locale, words := range list {
			all[locale] = append(slices.Clone(all[locale]), words...)
		}
	}
	return all
}

// ReservedWords lists the words that always count, in the order of actions and languages.
func ReservedWords() []Word {
	var words []Word
	for _, action := range wordActions {
		for _, locale := range localeOrder {
			for _, text := range keywords[action][locale] {
				words = append(words, Word{Action: action, Locale: locale, Text: text})
			}
		}
	}
	return words
}

// Bounds of additional words.
const (
	MaxWords         = 1000
	maxLanguageBytes = 20
)

// CheckWords refuses words that could not count besides the reserved ones, and returns the others as messages are
// compared with them. field names the list in the faults.
func CheckWords(field string, words []Word) ([]Word, error) {
	if len(words) > MaxWords {
		return nil, fault.Refuse(field, "must be at most %d words", MaxWords)
	}
	var refused []fault.Field
	checked, first := make([]Word, len(words)), map[string]int{}
	for i, w := range words {
		refuse := func(part, format string, args ...any) {
			refused = append(refused, fault.Field{Name: fmt.Sprintf("%s[%d].%s", field, i, part), Detail: fmt.Sprintf(format, args...)})
		}
		if !slices.Contains(wordActions, w.Action) {
			refuse("action", "must be one of stop, start, help")
		}
		if w.Locale == "" || len(w.Locale) > maxLanguageBytes {
			refuse("locale", "must be a language such as es")
		}
		text := Keyword(w.Text)
		reserved, known := intents[text]
		before, twice := first[text]
		_, _, topical := topicWords(text)
		switch {
		case text == "":
			refuse("text", "must hold a letter or a digit, and at most %d bytes of them", MaxKeyword)
		case known:
			refuse("text", "is reserved: it always means %s", strings.ToUpper(string(reserved.Action)))
		case topical && w.Action != ActionStop:
			refuse("text", "subscribes to a topic, or ends it")
		case twice:
			refuse("text", "is the same as %s[%d].text", field, before)
		default:
			first[text] = i
		}
		checked[i] = Word{Action: w.Action, Locale: w.Locale, Text: text}
	}
	return checked, fault.Fields(refused...)
}

// WordTexts returns the texts under which additional words may know the parts of a message, for Classify.
func WordTexts(parts ...string) []string {
	var texts []string
	for _, part := range parts {
		if text := Keyword(part); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// Classify finds out what an inbound message asks for. buttonText is the label of a tapped button, optOutType the
// provider's own verdict (STOP, START, HELP), either may be empty; optedOut tells whether the person is opted out now.
// additional are words that count besides the reserved ones, as CheckWords returned them.
//
// A keyword counts only when it is the whole message, whatever its case, width, punctuation, hyphens and emoji. When
// the parts disagree, stop wins.
func Classify(body, buttonText, optOutType string, optedOut bool, additional ...Word) Intent {
	found := []Intent{match(body, optedOut, additional), match(buttonText, optedOut, additional), providerIntent(optOutType)}
	for _, action := range []Action{ActionStop, ActionUnsubscribe, ActionStart, ActionHelp, ActionSubscribe} {
		for _, intent := range found {
			if intent.Action == action {
				return intent
			}
		}
	}
	return Intent{}
}

func match(text string, optedOut bool, additional []Word) Intent {
	if len(text) > maxKeywordBytes {
		return Intent{}
	}
	text = normalise(text)
	if intent, ok := intents[text]; ok {
		return intent
	}
	for _, w := range additional {
		if w.Text == text {
			return Intent{Action: w.Action, Keyword: text, Locale: w.Locale}
		}
	}
	if intent, ok := intents[uncourteous(text)]; ok && intent.Action == ActionStop {
		return intent
	}
	if optedOut {
		if intent, ok := assentIntents[text]; ok {
			return intent
		}
	}
	if action, topic, ok := topicWords(text); ok {
		return Intent{Action: action, Keyword: string(action), Locale: "en", Topic: topic}
	}
	return Intent{}
}

// topicWords reads "subscribe <topic>" and "unsubscribe <topic>" in a normalised text.
func topicWords(text string) (action Action, topic string, ok bool) {
	verb, rest, ok := strings.Cut(text, " ")
	if action = Action(verb); !ok || action != ActionSubscribe && action != ActionUnsubscribe {
		return ActionNone, "", false
	}
	return action, topicKeyword(rest), true
}

// uncourteous drops courtesies from both ends of a normalised text.
func uncourteous(text string) string {
	words := strings.Split(text, " ")
	for len(words) > 1 && courtesies[words[0]] {
		words = words[1:]
	}
	for len(words) > 1 && courtesies[words[len(words)-1]] {
		words = words[:len(words)-1]
	}
	return strings.Join(words, " ")
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
func Reserved(keyword string) bool { return match(keyword, true, nil).Action != ActionNone }

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
