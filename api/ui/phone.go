package ui

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/handset"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/throttle"
	"github.com/event-stream-engine/ese/internal/user"
)

// Phones are those that the simulator plays.
type Phones interface {
	// Talks lists the phones that showed something last, the latest first.
	Talks(ctx context.Context) ([]handset.Talk, error)
	// Messages is what a phone shows, oldest first.
	Messages(ctx context.Context, number string) ([]handset.Message, error)
	// Write has a phone's owner write to us, and waits until our webhook took it.
	Write(ctx context.Context, w handset.Writing) error
}

type phoneStore interface {
	// UserByPhone gives fault.NotFound for a number that nobody has.
	UserByPhone(ctx context.Context, number phone.Number) (user.User, error)
	// Senders returns every sender, newest first, as of now.
	Senders(ctx context.Context, now time.Time) ([]throttle.Sender, error)
}

type phonePage struct {
	Number   phone.Number // "" while none is chosen
	Query    string       // what was entered for a number
	Problem  string       // what is wrong with it
	Token    string       // makes the next message count once
	Senders  []throttle.Sender
	Sender   string            // the one to write to
	Person   *user.User        // nil: the engine does not know the number
	Messages []handset.Message // oldest first
	Talks    []handset.Talk    // other phones
	Answers  []string          // to send with one tap
}

// quickAnswers are those that the engine treats in a way of their own, and one that it does not.
var quickAnswers = []string{"STOP", "START", "HELP", "Thank you!"}

// phone shows a simulated handset, and what arrives on it.
func (u *UI) phone(c *gin.Context) error {
	number, query, err := chosenPhone(c.Query("number"))
	body := phonePage{Number: number, Query: query}
	status := http.StatusOK
	if err != nil {
		if !fault.Is(err, fault.Invalid) {
			return err
		}
		status, body.Problem, _ = u.Explain(c.Request.Context(), err)
	}
	return u.showPhone(c, status, body)
}

func (u *UI) showPhone(c *gin.Context, status int, body phonePage) error {
	ctx := c.Request.Context()
	var err error
	if body.Talks, err = u.Phones.Talks(ctx); err != nil {
		return err
	}
	poll, address := 0, url.URL{Path: "/phone"}
	if body.Number != "" {
		if err := u.fillPhone(ctx, &body); err != nil {
			return err
		}
		poll, address.RawQuery = 1, url.Values{"number": {string(body.Number)}}.Encode()
	}
	return u.render(c, status, "phone", view{
		Title: "Phone", Section: "/phone", URL: address.String(), Poll: poll, Scripts: []string{"phone.js"}, Body: body,
	})
}

func (u *UI) fillPhone(ctx context.Context, body *phonePage) error {
	var err error
	if body.Messages, err = u.Phones.Messages(ctx, string(body.Number)); err != nil {
		return err
	}
	person, err := u.Store.UserByPhone(ctx, body.Number)
	switch {
	case err == nil:
		body.Person = &person
	case !fault.Is(err, fault.NotFound):
		return err
	}
	if body.Senders, err = u.Store.Senders(ctx, u.Now()); err != nil {
		return err
	}
	body.Token, body.Answers = uuid.NewString(), quickAnswers
	body.Sender = senderValue(message.WhatsApp, "")
	for _, s := range body.Senders {
		if s.Channel == message.WhatsApp {
			body.Sender = senderValue(s.Channel, s.Address)
		}
	}
	if n := len(body.Messages); n > 0 { // whom one talks to already
		last := body.Messages[n-1]
		body.Sender = senderValue(message.Channel(last.Channel()), phone.Number(last.Ours()))
	}
	return nil
}

// senderValue names a sender in a form.
func senderValue(channel message.Channel, address phone.Number) string {
	return string(channel) + " " + string(address)
}

// chosenPhone reads a number that was entered; "" is no number yet.
func chosenPhone(text string) (number phone.Number, query string, err error) {
	query = strings.TrimSpace(text)
	if query == "" {
		return "", "", nil
	}
	number, err = phone.Parse(query, "")
	return number, query, err
}

// maxPhoneText is Twilio's bound of a body, in characters.
const maxPhoneText = 1600

// writeFromPhone has the owner of a simulated phone write to us. The form's token is the message's id, so that it counts
// once however often it is sent.
func (u *UI) writeFromPhone(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	number, query, err := chosenPhone(f.Get("number"))
	if err != nil {
		return err
	}
	if number == "" {
		return fault.Refuse("number", "must be the number of the phone")
	}
	channel, to, _ := strings.Cut(f.Get("sender"), " ")
	text := cmp.Or(f.Get("quick"), f.Get("body"))
	switch {
	case text == "":
		return fault.Refuse("body", "must not be empty")
	case len([]rune(text)) > maxPhoneText:
		return fault.Refuse("body", "must have at most %d characters", maxPhoneText)
	case to == "":
		return fault.Refuse("sender", "must be one of the senders")
	}
	writing := handset.Writing{
		From: string(number), To: to, Channel: channel, Body: text, SID: "SM" + strings.ReplaceAll(strings.ToLower(f.Token), "-", ""),
	}
	if f.Get("button") != "" && f.Get("quick") == "" {
		writing.ButtonText, writing.ButtonPayload = text, text
	}
	if err := u.Phones.Write(c.Request.Context(), writing); err != nil {
		return err
	}
	if c.GetHeader("HX-Request") == "true" {
		return u.showPhone(c, http.StatusOK, phonePage{Number: number, Query: query})
	}
	redirect(c, "/phone?number="+url.QueryEscape(string(number)))
	return nil
}
