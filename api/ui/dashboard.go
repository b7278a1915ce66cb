package ui

import (
	"context"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/throttle"
	"github.com/event-stream-engine/ese/internal/user"
)

type monitoringStore interface {
	Dashboard(ctx context.Context, now time.Time) (report.Dashboard, error)
	// Senders returns every sender, newest first, as of now.
	Senders(ctx context.Context, now time.Time) ([]throttle.Sender, error)
	// Account returns what bounds all campaigns together.
	Account(ctx context.Context) (throttle.Account, error)
	// InboundMessages lists up to limit messages received since then with ids below before, newest first, and counts all.
	InboundMessages(ctx context.Context, since time.Time, before *int64, limit int) ([]report.Inbound, int, error)
}

// pollSeconds is how often the figures of a live page are looked at.
const pollSeconds = 2

// idlePollSeconds is how often they are where nothing moves by itself.
const idlePollSeconds = 30

// recentRows is how many rows an overview shows of a list.
const recentRows = 5

type dashboardBody struct {
	report.Dashboard
	OptedIn   int
	Campaigns []campaignRow
	Inbound   []report.Inbound
	Checks    []Check
}

func (u *UI) dashboard(c *gin.Context) error {
	ctx, now := c.Request.Context(), u.Now()
	body := dashboardBody{Checks: u.Health(ctx)}
	var err error
	if body.Dashboard, err = u.Store.Dashboard(ctx, now); err != nil {
		return err
	}
	body.OptedIn = body.Users[user.OptIn]
	recent, _, err := u.Store.Campaigns(ctx, "", nil, recentRows)
	if err != nil {
		return err
	}
	if body.Campaigns, err = u.campaignRows(ctx, recent, campaign.Status.Active); err != nil {
		return err
	}
	if body.Inbound, _, err = u.Store.InboundMessages(ctx, now.Add(-report.Window), nil, recentRows); err != nil {
		return err
	}
	return u.render(c, 200, "dashboard", view{Title: "Dashboard", Section: "/", Poll: pollSeconds, Body: body})
}

// periods are the spans of time that inbound messages may be looked at for.
var periods = []period{{"1", "hour", time.Hour}, {"24", "24 hours", 24 * time.Hour}, {"168", "7 days", 7 * 24 * time.Hour}}

type period struct {
	Hours string
	Name  string
	span  time.Duration
}

func periodOf(hours string) (period, error) {
	if hours == "" {
		hours = "24"
	}
	for _, p := range periods {
		if p.Hours == hours {
			return p, nil
		}
	}
	return period{}, fault.Refuse("hours", "must be 1, 24 or 168")
}

type monitoringBody struct {
	report.Dashboard
	Consents  []consentCount
	Campaigns []campaignRow
	Senders   []senderRow
	Account   int // messages a second
	Periods   []period
	Period    period
	Inbound   []report.Inbound
	Pager     pager
	Checks    []Check
}

// senderRow is a sender as of the moment the page is made.
type senderRow struct {
	throttle.Sender
	Rate   float64 // in force
	Slowed bool
}

func (u *UI) monitoring(c *gin.Context) error {
	ctx, now := c.Request.Context(), u.Now()
	before, err := after(c)
	if err != nil {
		return err
	}
	body := monitoringBody{Checks: u.Health(ctx), Periods: periods}
	if body.Period, err = periodOf(c.Query("hours")); err != nil {
		return err
	}
	if body.Dashboard, err = u.Store.Dashboard(ctx, now); err != nil {
		return err
	}
	body.Consents = consentCounts(body.Users)
	recent, _, err := u.Store.Campaigns(ctx, "", nil, recentRows)
	if err != nil {
		return err
	}
	if body.Campaigns, err = u.campaignRows(ctx, recent, func(campaign.Status) bool { return true }); err != nil {
		return err
	}
	senders, err := u.Store.Senders(ctx, now)
	if err != nil {
		return err
	}
	for _, sender := range senders {
		body.Senders = append(body.Senders, senderRow{sender, sender.Limit.Rate(now), sender.Limit.Slowed(now)})
	}
	account, err := u.Store.Account(ctx)
	if err != nil {
		return err
	}
	body.Account = account.PerSecond
	rows, total, err := u.Store.InboundMessages(ctx, now.Add(-body.Period.span), before, listSize+1)
	if err != nil {
		return err
	}
	body.Inbound, body.Pager = paginate(c, rows, total, func(m report.Inbound) int64 { return m.ID })
	return u.render(c, 200, "monitoring", view{Title: "Monitoring", Section: "/monitoring", Poll: pollSeconds, Body: body})
}

// bar is one stretch of a stacked bar.
type bar struct {
	State message.State
	Count int
	Start float64 // percent
	Share float64 // percent
}

// stackOrder has what is best on the left and what is still to be done on the right.
var stackOrder = []message.State{
	message.Read, message.Delivered, message.Sent, message.Accepted, message.Sending, message.Suppressed, message.Undelivered, message.Failed,
	message.Unknown, message.Cancelled, message.Pending,
}

// stack lays the states of messages side by side.
func stack(states map[message.State]int) []bar {
	total := 0
	for _, n := range states {
		total += n
	}
	var bars []bar
	start := 0.0
	for _, state := range stackOrder {
		if n := states[state]; n > 0 {
			share := report.Percent(n, total)
			bars = append(bars, bar{State: state, Count: n, Start: start, Share: share})
			start += share
		}
	}
	return bars
}
