package ui

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/user"
)

// Keywords and replies are lists that are saved as a whole: rows left empty are none.

// blankWords are offered for more.
const blankWords = 3

type wordRow struct {
	user.Word
	Problem string
}

type keywordsBody struct {
	Reserved map[user.Action][]user.Word
	Actions  []user.Action
	Rows     []wordRow
	Form     *form
}

var wordActions = []user.Action{user.ActionStop, user.ActionStart, user.ActionHelp}

func (u *UI) keywords(c *gin.Context) error {
	words, err := u.Store.Keywords(c.Request.Context())
	if err != nil {
		return err
	}
	return u.showKeywords(c, http.StatusOK, words, newForm())
}

func (u *UI) showKeywords(c *gin.Context, status int, words []user.Word, f *form) error {
	body := keywordsBody{Reserved: map[user.Action][]user.Word{}, Actions: wordActions, Form: f}
	for _, w := range user.ReservedWords() {
		body.Reserved[w.Action] = append(body.Reserved[w.Action], w)
	}
	for i, w := range words {
		body.Rows = append(body.Rows, wordRow{w, f.Problem(fmt.Sprintf("additional[%d]", i))})
	}
	for range blankWords {
		body.Rows = append(body.Rows, wordRow{Word: user.Word{Locale: "en"}})
	}
	return u.renderSetting(c, status, "keywords", "Keywords", body)
}

func (u *UI) changeKeywords(c *gin.Context) error {
	f, err := readForm(c)
	var entered []user.Word
	if err == nil {
		for _, row := range f.rows("action", "locale", "text") {
			if row[2] != "" {
				entered = append(entered, user.Word{Action: user.Action(row[0]), Locale: row[1], Text: row[2]})
			}
		}
		var words []user.Word
		if words, err = user.CheckWords("additional", entered); err == nil {
			flash(c, "The keywords are saved.")
			err = u.submit(c, f, func(ctx context.Context) (string, error) {
				return "/settings/keywords", u.Store.SetKeywords(ctx, words, u.principal(c.Request), u.Now())
			})
		}
	}
	return u.refused(c, f, err, func(status int) error { return u.showKeywords(c, status, entered, f) })
}

type replyRow struct {
	inbound.ReplyText
	Problem string
}

type replyGroup struct {
	Kind     inbound.ReplyKind
	When     string
	Standard []inbound.ReplyText
	Rows     []replyRow
}

// replyOccasions say when a reply is sent.
var replyOccasions = map[inbound.ReplyKind]string{
	inbound.ReplyStop: "Somebody said STOP", inbound.ReplyStart: "Somebody said START", inbound.ReplyHelp: "Somebody asked for help",
	inbound.ReplySubscribed: "Somebody subscribed to a topic", inbound.ReplyUnsubscribed: "Somebody ended a subscription",
	inbound.ReplyUnknownTopic: "Somebody named a topic that there is not",
}

type repliesBody struct {
	Groups []replyGroup
	Form   *form
}

func (u *UI) replies(c *gin.Context) error {
	own, err := u.Store.Replies(c.Request.Context())
	if err != nil {
		return err
	}
	return u.showReplies(c, http.StatusOK, own, newForm())
}

func (u *UI) showReplies(c *gin.Context, status int, own []inbound.ReplyText, f *form) error {
	body := repliesBody{Form: f}
	for _, kind := range inbound.ReplyKinds() {
		g := replyGroup{Kind: kind, When: replyOccasions[kind]}
		for _, t := range inbound.StandardReplies() {
			if t.Kind == kind {
				g.Standard = append(g.Standard, t)
			}
		}
		for i, t := range own {
			if t.Kind == kind {
				g.Rows = append(g.Rows, replyRow{t, f.Problem(fmt.Sprintf("replies[%d]", i))})
			}
		}
		g.Rows = append(g.Rows, replyRow{})
		body.Groups = append(body.Groups, g)
	}
	return u.renderSetting(c, status, "replies", "Replies", body)
}

func (u *UI) changeReplies(c *gin.Context) error {
	f, err := readForm(c)
	var entered []inbound.ReplyText
	if err == nil {
		for _, row := range f.rows("kind", "locale", "text") {
			if row[1] != "" || row[2] != "" {
				entered = append(entered, inbound.ReplyText{Kind: inbound.ReplyKind(row[0]), Locale: row[1], Text: row[2]})
			}
		}
		if err = inbound.CheckReplies("replies", entered); err == nil {
			flash(c, "The replies are saved.")
			err = u.submit(c, f, func(ctx context.Context) (string, error) {
				return "/settings/replies", u.Store.SetReplies(ctx, entered, u.principal(c.Request), u.Now())
			})
		}
	}
	return u.refused(c, f, err, func(status int) error { return u.showReplies(c, status, entered, f) })
}
