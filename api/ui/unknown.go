package ui

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
)

type unknownStore interface {
	// UnknownMessages lists up to limit of those made before the one named, newest first, and counts all.
	UnknownMessages(ctx context.Context, before *uuid.UUID, limit int) ([]report.Message, int, error)
	// AttemptsOf tells of each message what was tried and heard, in order.
	AttemptsOf(ctx context.Context, messages []uuid.UUID) (map[uuid.UUID][]report.TracedAttempt, error)
	Message(ctx context.Context, id uuid.UUID) (report.MessageDetail, error)
	// Decide settles an unknown message by hand and tells how it stands then.
	Decide(ctx context.Context, id uuid.UUID, d ledger.Decision, by string, now time.Time) (report.Message, error)
}

// unknownRow is a message with what was tried.
type unknownRow struct {
	report.Message
	Attempts []report.TracedAttempt
}

type unknownBody struct {
	Messages []unknownRow
	Pager    pager
}

func (u *UI) unknown(c *gin.Context) error {
	ctx := c.Request.Context()
	var before *uuid.UUID
	if text := c.Query("after"); text != "" {
		id, err := uuid.Parse(text)
		if err != nil {
			return fault.Refuse("after", "must be an id, as in the address of the next page")
		}
		before = &id
	}
	rows, total, err := u.Store.UnknownMessages(ctx, before, listSize+1)
	if err != nil {
		return err
	}
	body := unknownBody{Pager: pager{Total: total}}
	query := c.Request.URL.Query()
	if before != nil {
		body.Pager.First = address(c, query, "")
	}
	if len(rows) > listSize {
		rows = rows[:listSize]
		body.Pager.Next = address(c, query, rows[listSize-1].ID.String())
	}
	ids := make([]uuid.UUID, len(rows))
	for i, m := range rows {
		ids[i] = m.ID
	}
	attempts, err := u.Store.AttemptsOf(ctx, ids)
	if err != nil {
		return err
	}
	for _, m := range rows {
		body.Messages = append(body.Messages, unknownRow{m, attempts[m.ID]})
	}
	return u.render(c, http.StatusOK, "unknown", view{Title: "Unknown outcomes", Section: "/monitoring", Poll: idlePollSeconds, Body: body})
}

// decision is what an operator may say of an unknown message.
type decision struct {
	Outcome ledger.Decision
	Button  string
	Effect  string // what will be true afterwards
	Tone    string
}

var decisions = map[ledger.Decision]decision{
	ledger.DecidedSent: {
		ledger.DecidedSent, "It was sent",
		"The message counts as sent and is not sent again. No receipt is awaited; one that comes after all is taken into account.", "primary",
	},
	ledger.DecidedNotSent: {
		ledger.DecidedNotSent, "It was not sent",
		"The message is sent again, unless its campaign was cancelled or no attempt is left. If the provider has it after all, the person gets it twice.", "red",
	},
}

type decideBody struct {
	decision
	Message unknownRow
	Problem string
}

func (u *UI) confirmDecision(c *gin.Context) error {
	return u.decisionPage(c, ledger.Decision(c.Query("outcome")), http.StatusOK, "")
}

func (u *UI) decisionPage(c *gin.Context, d ledger.Decision, status int, problem string) error {
	id, err := pathUUID(c)
	if err != nil {
		return err
	}
	body := decideBody{Problem: problem}
	var known bool
	if body.decision, known = decisions[d]; !known {
		return fault.Refuse("outcome", "must be %s or %s", ledger.DecidedSent, ledger.DecidedNotSent)
	}
	detail, err := u.Store.Message(c.Request.Context(), id)
	if err != nil {
		return err
	}
	if detail.State != message.Unknown && problem == "" {
		status, body.Problem = http.StatusConflict, fmt.Sprintf("The message is %s: only an unknown one can be decided.", detail.State)
	}
	attempts, err := u.Store.AttemptsOf(c.Request.Context(), []uuid.UUID{id})
	if err != nil {
		return err
	}
	body.Message = unknownRow{detail.Message, attempts[id]}
	return u.render(c, status, "decide", view{Title: body.Button, Section: "/monitoring", Body: body})
}

func (u *UI) decide(c *gin.Context) error {
	id, err := pathUUID(c)
	if err != nil {
		return err
	}
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxFormBytes)
	d := ledger.Decision(c.PostForm("outcome"))
	_, err = u.Store.Decide(c.Request.Context(), id, d, u.principal(c.Request), u.Now())
	if fault.Is(err, fault.Conflict) {
		status, detail, _ := u.Explain(c.Request.Context(), err)
		return u.decisionPage(c, d, status, detail)
	} else if err != nil {
		return err
	}
	c.Redirect(http.StatusSeeOther, (&url.URL{Path: "/unknown"}).String())
	return nil
}

// pathUUID reads the message's id in the path.
func pathUUID(c *gin.Context) (uuid.UUID, error) {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return id, fault.New(fault.NotFound, "there is nothing at this address")
	}
	return id, nil
}
