package ui

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/throttle"
	"github.com/event-stream-engine/ese/internal/user"
)

type monitoringStore interface {
	Dashboard(ctx context.Context, now time.Time) (report.Dashboard, error)
	// History tells when messages were accepted, delivered, read and failed since then, and when people wrote.
	History(ctx context.Context, since, now time.Time) (report.History, error)
	// Rates tells how much happens at the moment, and how much waits.
	Rates(ctx context.Context, now time.Time) (report.Rates, error)
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

// overview is the state of the whole, which takes long to count where much was sent.
type overview struct {
	report.Dashboard
	OptedIn int
	Chart   string // of the last report.Window, for the script that draws it
}

func (u *UI) overview(ctx context.Context) (*overview, error) {
	found, known, err := u.overviews.get(ctx, u.patience, "", func(ctx context.Context) (*overview, error) {
		now := u.Now()
		d, err := u.Store.Dashboard(ctx, now)
		if err != nil {
			return nil, err
		}
		h, err := u.Store.History(ctx, now.Add(-report.Window), now)
		return &overview{Dashboard: d, OptedIn: d.Users[user.OptIn], Chart: chartOf(h, true)}, err
	})
	if err != nil || !known {
		return nil, err
	}
	return found, nil
}

// rates is how much happens now, and how the parts of the engine are.
type rates struct {
	report.Rates
	Queues      []report.Queue
	QueuesKnown bool
	Checks      []Check
}

// Every is a number within the rates' span, each minute.
func (r rates) Every(n int) string { return fmt.Sprintf("%.1f", float64(n)/r.Span.Minutes()) }

func (u *UI) rates(ctx context.Context) (*rates, error) {
	found, known, err := u.allRates.get(ctx, u.patience, "", func(ctx context.Context) (*rates, error) {
		r := &rates{Checks: u.Health(ctx)}
		var err error
		if r.Rates, err = u.Store.Rates(ctx, u.Now()); err != nil {
			return nil, err
		}
		r.Queues, err = u.Queues(ctx)
		r.QueuesKnown = err == nil
		r.Checks = append(r.Checks, workersCheck(r.Queues, err), providerCheck(r.Rates))
		return r, nil
	})
	if err != nil || !known {
		return nil, err
	}
	return found, nil
}

// workersCheck judges the workers by whether they ask for work.
func workersCheck(queues []report.Queue, err error) Check {
	c := Check{Name: "Workers", Up: err == nil && len(queues) > 0}
	if err != nil {
		c.Detail = "Temporal does not tell"
		return c
	}
	for _, q := range queues {
		if q.Workers == 0 {
			c.Up, c.Detail = false, "none asks for "+q.Kind
		} else if c.Up {
			c.Detail = fmt.Sprintf("%d at work", q.Workers)
		}
	}
	return c
}

// providerCheck judges the provider by what came of the messages of the last minutes.
func providerCheck(r report.Rates) Check {
	switch {
	case r.Accepted == 0 && r.Trouble > 0:
		return Check{Name: "Twilio", Detail: fmt.Sprintf("took none of the last messages; %s are in trouble", number(r.Trouble))}
	case r.Accepted == 0 && r.Receipts == 0:
		return Check{Name: "Twilio", Up: true, Detail: "nothing was sent in the last 5 minutes"}
	default:
		return Check{Name: "Twilio", Up: true, Detail: fmt.Sprintf("took %s messages in the last 5 minutes", number(r.Accepted))}
	}
}

// figures are the overview and the rates, each as far as it is known, waited for together.
func (u *UI) figures(ctx context.Context) (o *overview, r *rates, err error) {
	var of, rf error
	var both sync.WaitGroup
	both.Go(func() { o, of = u.overview(ctx) })
	both.Go(func() { r, rf = u.rates(ctx) })
	both.Wait()
	return o, r, errors.Join(of, rf)
}

type dashboardBody struct {
	Overview  *overview // nil: it is being counted
	Rates     *rates    // likewise
	Campaigns []campaignRow
	Inbound   []report.Inbound
}

func (u *UI) dashboard(c *gin.Context) error {
	ctx, now := c.Request.Context(), u.Now()
	body := dashboardBody{}
	var err error
	if body.Overview, body.Rates, err = u.figures(ctx); err != nil {
		return err
	}
	recent, _, err := u.Store.Campaigns(ctx, "", nil, recentRows)
	if err != nil {
		return err
	}
	if body.Campaigns, err = u.campaignRows(ctx, recent); err != nil {
		return err
	}
	if body.Inbound, _, err = u.Store.InboundMessages(ctx, now.Add(-report.Window), nil, recentRows); err != nil {
		return err
	}
	return u.render(c, 200, "dashboard", view{Title: "Dashboard", Section: "/", Poll: pollSeconds, Body: body, Scripts: chartScripts})
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
	Overview  *overview // nil: it is being counted
	Rates     *rates    // likewise
	Consents  []consentCount
	Campaigns []campaignRow
	Senders   []senderRow
	Account   int // messages a second
	Periods   []period
	Period    period
	Inbound   []report.Inbound
	Pager     pager
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
	body := monitoringBody{Periods: periods}
	if body.Period, err = periodOf(c.Query("hours")); err != nil {
		return err
	}
	if body.Overview, body.Rates, err = u.figures(ctx); err != nil {
		return err
	}
	if body.Overview != nil {
		body.Consents = consentCounts(body.Overview.Users)
	}
	recent, _, err := u.Store.Campaigns(ctx, "", nil, recentRows)
	if err != nil {
		return err
	}
	if body.Campaigns, err = u.campaignRows(ctx, recent); err != nil {
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
	return u.render(c, 200, "monitoring", view{Title: "Monitoring", Section: "/monitoring", Poll: pollSeconds, Body: body, Scripts: chartScripts})
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
