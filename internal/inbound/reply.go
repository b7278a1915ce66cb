package inbound

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

// ReplyKind says what a reply answers.
type ReplyKind string

// The kinds of replies. The zero value is NoReply.
const (
	NoReply           ReplyKind = ""
	ReplyStop         ReplyKind = "stop" // confirms the STOP that changed something, and no other
	ReplyStart        ReplyKind = "start"
	ReplyHelp         ReplyKind = "help"
	ReplySubscribed   ReplyKind = "subscribed"
	ReplyUnsubscribed ReplyKind = "unsubscribed"
	ReplyUnknownTopic ReplyKind = "unknown_topic" // there is no topic of that keyword
	ReplyConfirmed    ReplyKind = "confirmed"     // an invitation was answered with yes
)

// ReplyKinds lists every kind of reply.
func ReplyKinds() []ReplyKind {
	return []ReplyKind{ReplyStop, ReplyStart, ReplyHelp, ReplySubscribed, ReplyUnsubscribed, ReplyUnknownTopic, ReplyConfirmed}
}

// MaxRepliesPerHour is how many automatic replies one person gets in an hour: two machines must not answer each other
// for ever.
const MaxRepliesPerHour = 10

// ReplyWindow is the time in which replies are counted against MaxRepliesPerHour.
const ReplyWindow = time.Hour

// ReplyTo tells which reply answers a message from somebody whose consent was that before it: none where the provider
// has replied, and none to who said STOP but the confirmation of it. changed tells whether the message changed their
// consent or a subscription, known whether there is the topic that it names.
func ReplyTo(m Message, action user.Action, before user.ConsentState, changed, known bool) ReplyKind {
	switch {
	case m.OptOutType != "":
		return NoReply
	case action == user.ActionStart:
		return ReplyStart
	case before == user.Stop:
		return NoReply
	}
	switch action {
	case user.ActionStop:
		if changed {
			return ReplyStop
		}
	case user.ActionHelp:
		return ReplyHelp
	case user.ActionSubscribe, user.ActionUnsubscribe:
		switch {
		case !known:
			return ReplyUnknownTopic
		case action == user.ActionSubscribe:
			return ReplySubscribed
		default:
			return ReplyUnsubscribed
		}
	case user.ActionNone, user.ActionStart:
	}
	return NoReply
}

// ReplyText is what a reply says in one language. {topic} stands for the name of the topic where one is known.
type ReplyText struct {
	Kind   ReplyKind
	Locale string // the language, such as es or pt_BR
	Text   string // "": nothing is replied
}

// Bounds of reply texts.
const (
	maxReplies      = 500
	maxLocaleBytes  = 20
	replyTopic      = "topic"
	defaultLanguage = "en"
)

// StandardReplies are the texts of the kinds for which there are no others.
func StandardReplies() []ReplyText {
	var texts []ReplyText
	for _, kind := range ReplyKinds() {
		for _, locale := range []string{"en", "es", "pt", "fr", "de", "it", "nl"} {
			texts = append(texts, ReplyText{kind, locale, standardReplies[kind][locale]})
		}
	}
	return texts
}

var standardReplies = map[ReplyKind]map[string]string{
	ReplyStop: {
		"en": "You have been unsubscribed and will receive no more messages from us. Reply START to subscribe again.",
		"es": "Se ha dado de baja y no recibirá más mensajes nuestros. Responda START para volver a suscribirse.",
		"pt": "A sua inscrição foi cancelada e não receberá mais mensagens nossas. Responda START para se inscrever de novo.",
		"fr": "Vous êtes désabonné et ne recevrez plus de messages de notre part. Répondez START pour vous réabonner.",
		"de": "Sie sind abgemeldet und erhalten keine Nachrichten mehr von uns. Antworten Sie START, um sich wieder anzumelden.",
		"it": "La sua iscrizione è stata annullata e non riceverà più nostri messaggi. Risponda START per iscriversi di nuovo.",
		"nl": "U bent afgemeld en ontvangt geen berichten meer van ons. Antwoord START om u weer aan te melden.",
	},
	ReplyStart: {
		"en": "Welcome back! You will receive our messages again. Reply STOP at any time to unsubscribe.",
		"es": "¡Bienvenido de nuevo! Volverá a recibir nuestros mensajes. Responda STOP cuando quiera para darse de baja.",
		"pt": "Bem-vindo de volta! Voltará a receber as nossas mensagens. Responda STOP quando quiser para cancelar.",
		"fr": "Bon retour ! Vous recevrez de nouveau nos messages. Répondez STOP à tout moment pour vous désabonner.",
		"de": "Willkommen zurück! Sie erhalten wieder Nachrichten von uns. Antworten Sie jederzeit STOP, um sich abzumelden.",
		"it": "Bentornato! Riceverà di nuovo i nostri messaggi. Risponda STOP quando vuole per annullare l'iscrizione.",
		"nl": "Welkom terug! U ontvangt onze berichten weer. Antwoord op elk moment STOP om u af te melden.",
	},
	ReplyHelp: {
		"en": "Reply STOP to receive no more messages from us, START to receive them again.",
		"es": "Responda STOP para no recibir más mensajes nuestros, START para volver a recibirlos.",
		"pt": "Responda STOP para não receber mais mensagens nossas, START para voltar a recebê-las.",
		"fr": "Répondez STOP pour ne plus recevoir nos messages, START pour les recevoir de nouveau.",
		"de": "Antworten Sie STOP, um keine Nachrichten mehr von uns zu erhalten, START, um sie wieder zu erhalten.",
		"it": "Risponda STOP per non ricevere più nostri messaggi, START per riceverli di nuovo.",
		"nl": "Antwoord STOP om geen berichten meer van ons te ontvangen, START om ze weer te ontvangen.",
	},
	ReplySubscribed: {
		"en": "You are subscribed to {topic}. Reply STOP to receive no more messages from us.",
		"es": "Está suscrito a {topic}. Responda STOP para no recibir más mensajes nuestros.",
		"pt": "Está inscrito em {topic}. Responda STOP para não receber mais mensagens nossas.",
		"fr": "Vous êtes abonné à {topic}. Répondez STOP pour ne plus recevoir nos messages.",
		"de": "Sie haben {topic} abonniert. Antworten Sie STOP, um keine Nachrichten mehr von uns zu erhalten.",
		"it": "È iscritto a {topic}. Risponda STOP per non ricevere più nostri messaggi.",
		"nl": "U bent geabonneerd op {topic}. Antwoord STOP om geen berichten meer van ons te ontvangen.",
	},
	ReplyUnsubscribed: {
		"en": "You will receive no more messages about {topic}. Reply STOP to receive none from us at all.",
		"es": "No recibirá más mensajes de {topic}. Responda STOP para no recibir ningún mensaje nuestro.",
		"pt": "Não receberá mais mensagens de {topic}. Responda STOP para não receber nenhuma mensagem nossa.",
		"fr": "Vous ne recevrez plus de messages de {topic}. Répondez STOP pour n'en recevoir aucun de notre part.",
		"de": "Sie erhalten keine Nachrichten mehr zu {topic}. Antworten Sie STOP, um gar keine mehr von uns zu erhalten.",
		"it": "Non riceverà più messaggi di {topic}. Risponda STOP per non riceverne più nessuno da noi.",
		"nl": "U ontvangt geen berichten meer over {topic}. Antwoord STOP om er helemaal geen meer van ons te ontvangen.",
	},
	ReplyConfirmed: {
		"en": "Thank you! You will receive our messages. Reply STOP at any time to unsubscribe.",
		"es": "¡Gracias! Recibirá nuestros mensajes. Responda STOP cuando quiera para darse de baja.",
		"pt": "Obrigado! Receberá as nossas mensagens. Responda STOP quando quiser para cancelar.",
		"fr": "Merci ! Vous recevrez nos messages. Répondez STOP à tout moment pour vous désabonner.",
		"de": "Vielen Dank! Sie erhalten nun Nachrichten von uns. Antworten Sie jederzeit STOP, um sich abzumelden.",
		"it": "Grazie! Riceverà i nostri messaggi. Risponda STOP quando vuole per annullare l'iscrizione.",
		"nl": "Dank u! U ontvangt voortaan onze berichten. Antwoord op elk moment STOP om u af te melden.",
	},
	ReplyUnknownTopic: {
		"en": "We know no topic of that name. Reply STOP to receive no more messages from us.",
		"es": "No conocemos ningún tema con ese nombre. Responda STOP para no recibir más mensajes nuestros.",
		"pt": "Não conhecemos nenhum tema com esse nome. Responda STOP para não receber mais mensagens nossas.",
		"fr": "Nous ne connaissons aucun thème de ce nom. Répondez STOP pour ne plus recevoir nos messages.",
		"de": "Ein Thema dieses Namens kennen wir nicht. Antworten Sie STOP, um keine Nachrichten mehr von uns zu erhalten.",
		"it": "Non conosciamo nessun argomento con questo nome. Risponda STOP per non ricevere più nostri messaggi.",
		"nl": "Wij kennen geen onderwerp met die naam. Antwoord STOP om geen berichten meer van ons te ontvangen.",
	},
}

// CheckReplies refuses texts that could not be sent. field names the list in the faults.
func CheckReplies(field string, texts []ReplyText) error {
	if len(texts) > maxReplies {
		return fault.Refuse(field, "must be at most %d texts", maxReplies)
	}
	var refused []fault.Field
	type place struct {
		kind   ReplyKind
		locale string
	}
	first := map[place]int{}
	for i, t := range texts {
		refuse := func(part, format string, args ...any) {
			refused = append(refused, fault.Field{Name: fmt.Sprintf("%s[%d].%s", field, i, part), Detail: fmt.Sprintf(format, args...)})
		}
		if !slices.Contains(ReplyKinds(), t.Kind) {
			refuse("kind", "must be one of %v", ReplyKinds())
		}
		if t.Locale == "" || len(t.Locale) > maxLocaleBytes {
			refuse("locale", "must be a language such as es")
		}
		at := place{t.Kind, language(t.Locale)}
		if before, twice := first[at]; twice {
			refuse("locale", "is the same as %s[%d].locale", field, before)
		} else {
			first[at] = i
		}
		if t.Text == "" {
			continue
		}
		if problem := t.problem(); problem != "" {
			refuse("text", "%s", problem)
		}
	}
	return fault.Fields(refused...)
}

func (t ReplyText) problem() string {
	parsed, err := render.Parse(t.Text)
	if err == nil {
		err = parsed.CheckLength(message.WhatsApp)
	}
	if err != nil {
		_, detail, _ := strings.Cut(err.Error(), ": ")
		return detail
	}
	for _, name := range parsed.Variables() {
		if name != replyTopic {
			return "has the placeholder {" + name + "}: only {" + replyTopic + "} can be filled"
		}
		if t.Kind != ReplySubscribed && t.Kind != ReplyUnsubscribed {
			return "has the placeholder {" + replyTopic + "}, which only subscribed and unsubscribed can fill"
		}
	}
	return ""
}

// Compose writes the reply of that kind in the first of the languages that there is a text in, else in English, else in
// any. own are the texts that stand for the standard ones; of a kind with any, no standard text is used. topic is the
// name of a topic. "" means that nothing is to be replied.
func Compose(kind ReplyKind, languages []string, topic string, own []ReplyText) string {
	of := func(texts []ReplyText) []ReplyText {
		return slices.DeleteFunc(slices.Clone(texts), func(t ReplyText) bool { return t.Kind != kind })
	}
	texts := of(own)
	if len(texts) == 0 {
		texts = of(StandardReplies())
	}
	if len(texts) == 0 {
		return ""
	}
	chosen := texts[0]
	for _, wanted := range append(slices.Clone(languages), defaultLanguage) {
		if found := slices.IndexFunc(texts, func(t ReplyText) bool { return language(t.Locale) == language(wanted) }); found >= 0 {
			chosen = texts[found]
			break
		}
		if found := slices.IndexFunc(texts, func(t ReplyText) bool { return base(t.Locale) == base(wanted) }); found >= 0 {
			chosen = texts[found]
			break
		}
	}
	parsed, err := render.Parse(chosen.Text)
	if err != nil { // silence
		return ""
	}
	text, _ := parsed.Render(user.Attributes{replyTopic: topic})
	return text
}

// language writes a locale in one way: pt_BR and pt-br are the same.
func language(locale string) string { return strings.ToLower(strings.ReplaceAll(locale, "_", "-")) }

// base is a locale's language without its region.
func base(locale string) string {
	first, _, _ := strings.Cut(language(locale), "-")
	return first
}
