package ui

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/report"
)

type messageBody struct {
	report.MessageDetail
	Topic  string
	Events []moment
}

// moment is something that happened to a message.
type moment struct {
	At     time.Time
	What   string
	Tone   string
	Detail string
	Steps  []compliance.Finding // of a check
	Code   int                  // the provider's error; 0 for none
	Until  *time.Time           // of a wait
}

func (u *UI) message(c *gin.Context) error {
	id, err := pathUUID(c)
	if err != nil {
		return err
	}
	detail, err := u.Store.Message(c.Request.Context(), id)
	if err != nil {
		return err
	}
	body := messageBody{MessageDetail: detail, Events: timeline(detail)}
	overview, err := u.Store.Campaign(c.Request.Context(), detail.CampaignID)
	if err != nil {
		return err
	}
	body.Topic = overview.Topic
	return u.render(c, http.StatusOK, "message", view{Title: "Message", Section: "/campaigns", Poll: pollSeconds, Body: body})
}

// timeline lays what happened to a message in order.
func timeline(m report.MessageDetail) []moment {
	events := []moment{{At: m.CreatedAt, What: "Chosen", Detail: "as number " + number(m.Seq) + " of the audience"}}
	for _, k := range m.Checks {
		e := moment{At: k.CreatedAt, What: "Checked: " + k.Action, Steps: k.Steps, Until: k.Until, Tone: actionTones[k.Action]}
		if k.Reason != "" {
			e.Detail = reasonText(k.Reason)
		}
		events = append(events, e)
	}
	for _, a := range m.Attempts {
		e := moment{At: a.StartedAt, What: "Attempt " + strconv.Itoa(a.Number) + ": " + a.State, Code: a.ErrorCode, Tone: attemptTones[a.State]}
		switch {
		case a.ContentSID != "":
			e.Detail = "as the approved template"
		case a.State == "accepted":
			e.Detail = "as free text"
		}
		if a.HTTPStatus != 0 {
			e.Detail = joinWords(e.Detail, "HTTP "+strconv.Itoa(a.HTTPStatus))
		}
		if a.Looks > 0 {
			e.Detail = joinWords(e.Detail, strconv.Itoa(a.Looks)+" looks at the provider’s list")
		}
		events = append(events, e)
	}
	for _, r := range m.Receipts {
		e := moment{At: r.ReceivedAt, What: "Receipt: " + r.Status, Code: r.ErrorCode, Tone: tones[r.Status]}
		if r.Repeats > 0 {
			e.Detail = "said " + strconv.Itoa(r.Repeats) + " times more"
		}
		events = append(events, e)
	}
	slices.SortStableFunc(events, func(a, b moment) int { return a.At.Compare(b.At) })
	return events
}

var (
	actionTones  = map[string]string{"proceed": "green", "wait": "yellow", "suppress": "orange"}
	attemptTones = map[string]string{"open": "azure", "accepted": "green", "refused": "red", "absent": "orange", "unknown": "purple"}
)

func joinWords(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

type repliesBody struct {
	campaign.Overview
	Replies []report.Inbound
	First   string
	Next    string
}

// replies lists what people wrote after a campaign's run sent to them.
func (u *UI) replies(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	run, err := runNumber(c)
	if err != nil {
		return err
	}
	before, err := after(c)
	if err != nil {
		return err
	}
	body := repliesBody{}
	if body.Overview, err = u.Store.CampaignRun(c.Request.Context(), id, run); err != nil {
		return err
	}
	rows, err := u.Store.CampaignReplies(c.Request.Context(), id, run, before, listSize+1, u.Now())
	if err != nil {
		return err
	}
	var p pager
	body.Replies, p = paginate(c, rows, 0, func(m report.Inbound) int64 { return m.ID })
	body.First, body.Next = p.First, p.Next
	return u.render(c, http.StatusOK, "replies", view{Title: "Replies", Section: "/campaigns", Poll: pollSeconds, Body: body})
}
