package ui

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
)

type reportStore interface {
	// CampaignSummary counts the run of that number; 0 stands for the newest.
	CampaignSummary(ctx context.Context, campaignID int64, run int, now time.Time) (report.Summary, error)
	// Recipients lists up to limit messages of a run with numbers above after, in order, and counts all that fit.
	Recipients(ctx context.Context, campaignID int64, filter report.RecipientFilter, after, limit int) ([]report.Message, int, error)
}

type summaryBody struct {
	report.Summary
	Draft   bool
	Segment string // the audience in words
	Total   int
	Open    int // pending or sending
	Done    int
	Read    int
	Failed  int
	Lost    int     // undelivered
	Percent float64 // done of total
	Bars    []bar
	Steps   []step
}

func (u *UI) summary(c *gin.Context) error {
	ctx := c.Request.Context()
	id, err := pathID(c)
	if err != nil {
		return err
	}
	body := summaryBody{}
	if body.Summary, err = u.Store.CampaignSummary(ctx, id, 0, u.Now()); err != nil {
		return err
	}
	plan := body.Summary.Campaign
	body.Draft, body.Steps = plan.Status == campaign.Draft, stepsOf(plan.Status)
	body.Total = body.States.Total()
	body.Open = body.States[message.Pending] + body.States[message.Sending]
	body.Done = body.Total - body.Open
	body.Percent = report.Percent(body.Done, body.Total)
	body.Bars = stack(body.States)
	body.Read, body.Failed, body.Lost = body.States[message.Read], body.States[message.Failed], body.States[message.Undelivered]
	if body.Segment, err = u.audienceText(ctx, plan); err != nil {
		return err
	}
	v := view{Title: plan.Topic, Section: "/campaigns", Poll: idlePollSeconds, Body: body}
	if plan.Status.Active() || plan.Run != nil && plan.Run.SettledAt == nil {
		v.Poll = pollSeconds
	}
	return u.render(c, http.StatusOK, "summary", v)
}

// audienceText says whom a campaign is for.
func (u *UI) audienceText(ctx context.Context, plan campaign.Overview) (string, error) {
	if plan.Trigger.PerPerson() {
		return "one person at a time: " + plan.Trigger.Describe(plan.TriggerName), nil
	}
	if plan.SegmentID == nil {
		return describeSegment(plan.SegmentQuery), nil
	}
	saved, err := u.Store.Segment(ctx, *plan.SegmentID)
	if err != nil {
		return "", err
	}
	return saved.Name + ": " + describeSegment(saved.Definition), nil
}

type recipientsBody struct {
	campaign.Overview
	Only       report.RecipientFilter
	States     []stateLink
	Download   string
	Recipients []report.Message
	Pager      pager
}

// stateLink leads to the recipients in a state; "" is every state.
type stateLink struct {
	State message.State
	URL   string
}

func (u *UI) recipients(c *gin.Context) error {
	ctx := c.Request.Context()
	id, err := pathID(c)
	if err != nil {
		return err
	}
	body := recipientsBody{}
	if body.Only, err = recipientFilter(c); err != nil {
		return err
	}
	key, err := after(c)
	if err != nil {
		return err
	}
	seq := 0
	if key != nil {
		seq = int(*key)
	}
	if body.Overview, err = u.Store.CampaignRun(ctx, id, body.Only.Run); err != nil {
		return err
	}
	for _, state := range append([]message.State{""}, message.States()...) {
		other := body.Only
		other.State = state
		body.States = append(body.States, stateLink{state, filtered(fmt.Sprintf("/campaign/%d/recipients", id), other)})
	}
	body.Download = filtered(fmt.Sprintf("/api/v1/campaigns/%d/recipients.csv", id), body.Only)
	rows, total, err := u.Store.Recipients(ctx, id, body.Only, seq, listSize+1)
	if err != nil {
		return err
	}
	body.Recipients, body.Pager = paginate(c, rows, total, func(m report.Message) int64 { return int64(m.Seq) })
	return u.render(c, http.StatusOK, "recipients", view{Title: "Recipients", Section: "/campaigns", Poll: pollSeconds, Body: body})
}

// recipientFilter reads which recipients are asked for.
func recipientFilter(c *gin.Context) (f report.RecipientFilter, err error) {
	f.State, f.Reason = message.State(c.Query("state")), c.Query("reason")
	if f.State != "" && !f.State.Valid() {
		return f, fault.Refuse("state", "is not a state of messages")
	}
	for name, to := range map[string]*int{"run": &f.Run, "error_code": &f.ErrorCode} {
		text := strings.TrimSpace(c.Query(name))
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n <= 0 {
			return f, fault.Refuse(name, "must be a whole number above zero")
		}
		*to = int(n)
	}
	return f, nil
}

// filtered is the address of a list of recipients with a filter.
func filtered(path string, f report.RecipientFilter) string {
	query := url.Values{}
	for name, value := range map[string]string{"state": string(f.State), "reason": f.Reason} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, n := range map[string]int{"run": f.Run, "error_code": f.ErrorCode} {
		if n != 0 {
			query.Set(name, strconv.Itoa(n))
		}
	}
	return (&url.URL{Path: path, RawQuery: query.Encode()}).String()
}
