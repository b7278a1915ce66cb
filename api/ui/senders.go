package ui

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/throttle"
)

const (
	maxSenderRate     = 1000
	maxAccountRate    = 2000
	maxPairSeconds    = 600
	maxPersonMessages = 1000
	maxMessagingLimit = 1_000_000
	maxPortfolio      = 100
)

type sendersBody struct {
	Senders []senderSettings
	Account *form
}

type senderSettings struct {
	throttle.Sender
	Rate     float64 // messages a second now
	SlowedAt *time.Time
	Form     *form
}

func (u *UI) senders(c *gin.Context) error { return u.showSenders(c, http.StatusOK, 0, nil) }

// showSenders shows them with what was refused: the form of the sender with that id, or of the account for 0.
func (u *UI) showSenders(c *gin.Context, status int, id int64, refused *form) error {
	ctx, now := c.Request.Context(), u.Now()
	senders, err := u.Store.Senders(ctx, now)
	if err != nil {
		return err
	}
	account, err := u.Store.Account(ctx)
	if err != nil {
		return err
	}
	body := sendersBody{Account: newForm(
		"messages_per_second", strconv.Itoa(account.PerSecond), "pair_interval_seconds", strconv.Itoa(int(account.PairInterval/time.Second)),
		"person_messages_per_day", optional(account.PersonDay), "person_messages_per_week", optional(account.PersonWeek),
		"person_topic_messages_per_day", optional(account.PersonTopicDay), "person_topic_messages_per_week", optional(account.PersonTopicWeek),
	)}
	for _, s := range senders {
		row := senderSettings{Sender: s, Rate: s.Limit.Rate(now), Form: newForm(
			"messages_per_second", strconv.Itoa(int(s.Limit.PerSecond)), "portfolio", s.Portfolio, "messaging_limit", optional(s.MessagingLimit),
		)}
		if s.Limit.Slowed(now) {
			row.SlowedAt = &s.Limit.SlowedAt
		}
		if refused != nil && s.ID == id {
			row.Form = refused
		}
		body.Senders = append(body.Senders, row)
	}
	if refused != nil && id == 0 {
		body.Account = refused
	}
	return u.renderSetting(c, status, "senders", "Senders and limits", body)
}

func (u *UI) changeSender(c *gin.Context) error {
	id, f, err := readFormOf(c)
	if err == nil {
		flash(c, "The sender’s limits are saved. They hold from the next message on.")
		err = u.submit(c, f, func(ctx context.Context) (string, error) {
			_, err := u.Store.ChangeSender(ctx, id, u.principal(c.Request), f.sender, u.Now())
			return "/settings/senders", err
		})
	}
	return u.refused(c, f, err, func(status int) error { return u.showSenders(c, status, id, f) })
}

// sender is what the form makes of a sender.
func (f *form) sender(s throttle.Sender) (throttle.Sender, error) {
	rate, err := f.within("messages_per_second", 1, maxSenderRate)
	refused := fieldsOf(err)
	s.Limit.PerSecond = float64(rate)
	if s.Channel == message.WhatsApp {
		if s.Portfolio = f.Get("portfolio"); s.Portfolio == "" || len(s.Portfolio) > maxPortfolio {
			refused = append(refused, fault.Field{Name: "portfolio", Detail: fmt.Sprintf("must have 1 to %d characters", maxPortfolio)})
		}
		s.MessagingLimit, err = f.atMost("messaging_limit", maxMessagingLimit)
		refused = append(refused, fieldsOf(err)...)
	}
	return s, fault.Fields(refused...)
}

func (u *UI) changeAccount(c *gin.Context) error {
	f, err := readForm(c)
	if err == nil {
		flash(c, "The limits of the account are saved. They hold from the next message on.")
		err = u.submit(c, f, func(ctx context.Context) (string, error) {
			_, err := u.Store.ChangeAccount(ctx, u.principal(c.Request), f.account, u.Now())
			return "/settings/senders", err
		})
	}
	return u.refused(c, f, err, func(status int) error { return u.showSenders(c, status, 0, f) })
}

// account is what the form makes of the account's limits.
func (f *form) account(throttle.Account) (throttle.Account, error) {
	var a throttle.Account
	var err error
	a.PerSecond, err = f.within("messages_per_second", 1, maxAccountRate)
	refused := fieldsOf(err)
	pair, err := f.within("pair_interval_seconds", 0, maxPairSeconds)
	refused = append(refused, fieldsOf(err)...)
	a.PairInterval = time.Duration(pair) * time.Second
	for name, limit := range map[string]**int{
		"person_messages_per_day": &a.PersonDay, "person_messages_per_week": &a.PersonWeek,
		"person_topic_messages_per_day": &a.PersonTopicDay, "person_topic_messages_per_week": &a.PersonTopicWeek,
	} {
		*limit, err = f.atMost(name, maxPersonMessages)
		refused = append(refused, fieldsOf(err)...)
	}
	return a, fault.Fields(refused...)
}
