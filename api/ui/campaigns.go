package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/preflight"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

type campaignStore interface {
	// CreateCampaign checks a plan and stores it as a DRAFT.
	CreateCampaign(ctx context.Context, plan campaign.Campaign, now time.Time) (campaign.Overview, error)
	Campaign(ctx context.Context, id int64) (campaign.Overview, error)
	// CampaignRun is Campaign with the run of that number in place of the newest; 0 stands for the newest.
	CampaignRun(ctx context.Context, id int64, number int) (campaign.Overview, error)
	// Campaigns lists up to limit campaigns with ids below before, newest first, and counts all. "" is every status.
	Campaigns(ctx context.Context, status campaign.Status, before *int64, limit int) ([]campaign.Overview, int, error)
	StartRun(ctx context.Context, campaignID int64, by string, now time.Time) (campaign.Run, error)
	// UpdateCampaign stores what change makes of the campaign's plan; a run under way obeys it at once.
	UpdateCampaign(ctx context.Context, id int64, by string, change func(campaign.Campaign) (campaign.Campaign, error), now time.Time) (campaign.Overview, error)
	DeleteCampaign(ctx context.Context, id int64, now time.Time) error
	// ApproveCampaign records that by agrees to a DRAFT as it stands.
	ApproveCampaign(ctx context.Context, id int64, by string, now time.Time) (campaign.Overview, error)
	// RetryRun starts a run to some of the people again.
	RetryRun(ctx context.Context, campaignID int64, retry campaign.Retry, by string, now time.Time) (campaign.Run, error)
	// RetryStates counts the people whom a retry might select, by the state of their newest message.
	RetryStates(ctx context.Context, campaignID int64) (report.States, error)
	// CloseRun has a triggered campaign complete once what it took is sent.
	CloseRun(ctx context.Context, campaignID int64, by string, now time.Time) error
	// Topics lists up to limit topics with ids above after.
	Topics(ctx context.Context, after *int64, limit int) ([]user.Topic, error)
	// Steer pauses, resumes or cancels. When a pause or a cancel returns, no send is under way.
	Steer(ctx context.Context, campaignID int64, to campaign.Status, by, reason string, now time.Time) (campaign.Steering, error)
	// Preflight foretells what a run triggered now would do, and shows up to samples of its messages. It writes nothing.
	Preflight(ctx context.Context, campaignID int64, samples int, now time.Time) (preflight.Forecast, error)
	RunStates(ctx context.Context, runID int64) (ledger.States, error)
}

// campaignRow is a campaign in a list.
type campaignRow struct {
	campaign.Overview
	Began   *time.Time
	Counted bool // what became of its messages is known
	Bars    []bar
	Done    int     // messages that are neither pending nor sending
	Total   int     // the audience
	Percent float64 // done of total
}

// campaignRows counts the messages of the campaigns' newest runs.
func (u *UI) campaignRows(ctx context.Context, campaigns []campaign.Overview) ([]campaignRow, error) {
	rows := make([]campaignRow, len(campaigns))
	for i, c := range campaigns {
		rows[i].Overview = c
		if c.Run == nil {
			continue
		}
		rows[i].Began, rows[i].Total = c.Run.Began(u.Now()), c.Run.AudienceSize
		states, known, err := u.runStates(ctx, *c.Run)
		if err != nil {
			return nil, err
		}
		if !known {
			continue
		}
		rows[i].Counted = true
		rows[i].Bars = stack(states)
		rows[i].Done = states.Total() - states[message.Pending] - states[message.Sending]
		rows[i].Percent = report.Percent(rows[i].Done, rows[i].Total)
	}
	return rows, nil
}

// runStates counts the messages of a run; known is false while that takes long. A run that is over is rarely counted anew.
func (u *UI) runStates(ctx context.Context, run campaign.Run) (_ ledger.States, known bool, err error) {
	p := u.patience
	if run.SettledAt != nil {
		p = p.settled()
	}
	return u.states.get(ctx, p, strconv.FormatInt(run.ID, 10), func(ctx context.Context) (ledger.States, error) { return u.Store.RunStates(ctx, run.ID) })
}

type campaignsBody struct {
	Statuses  []campaign.Status
	Status    campaign.Status // "" for all
	Campaigns []campaignRow
	Pager     pager
}

func (u *UI) campaigns(c *gin.Context) error {
	ctx := c.Request.Context()
	body := campaignsBody{Statuses: campaign.Statuses(), Status: campaign.Status(c.Query("status"))}
	if body.Status != "" && !slices.Contains(body.Statuses, body.Status) {
		return fault.Refuse("status", "is not a status of campaigns")
	}
	before, err := after(c)
	if err != nil {
		return err
	}
	rows, total, err := u.Store.Campaigns(ctx, body.Status, before, listSize+1)
	if err != nil {
		return err
	}
	rows, body.Pager = paginate(c, rows, total, func(v campaign.Overview) int64 { return v.ID })
	if body.Campaigns, err = u.campaignRows(ctx, rows); err != nil {
		return err
	}
	return u.render(c, http.StatusOK, "campaigns", view{Title: "Campaigns", Section: "/campaigns", Poll: pollSeconds, Body: body})
}

type triggerBody struct {
	campaign.Overview
	Content  string    // of the template
	Forecast *forecast // nil: it is being made
	Later    bool      // it would be scheduled, not begin at once
	Next     []time.Time
	Problem  string
}

func (u *UI) confirmTrigger(c *gin.Context) error { return u.triggerPage(c, http.StatusOK, "") }

func (u *UI) triggerPage(c *gin.Context, status int, problem string) error {
	ctx, now := c.Request.Context(), u.Now()
	id, err := pathID(c)
	if err != nil {
		return err
	}
	body := triggerBody{Problem: problem}
	if body.Overview, err = u.Store.Campaign(ctx, id); err != nil {
		return err
	}
	notBefore := body.NotBefore()
	body.Later = notBefore != nil && notBefore.After(now) || !body.Recurrence.IsZero()
	body.Next = body.NextOccurrences(now, 1)
	saved, err := u.Store.Template(ctx, body.TemplateID)
	if err != nil {
		return err
	}
	body.Content = saved.Content
	v := view{Title: "Send campaign", Section: "/campaigns"}
	if body.Status == campaign.Draft {
		if body.Forecast, err = u.forecastOf(ctx, body.Overview); err != nil {
			return err
		}
		if body.Forecast == nil {
			v.Poll = campaignSeconds
		}
	}
	v.Body = body
	return u.render(c, status, "trigger", v)
}

func (u *UI) trigger(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	_, err = u.Store.StartRun(c.Request.Context(), id, u.principal(c.Request), u.Now())
	if fault.Is(err, fault.Conflict) {
		status, detail, _ := u.Explain(c.Request.Context(), err)
		return u.triggerPage(c, status, detail)
	} else if err != nil {
		return err
	}
	c.Redirect(http.StatusSeeOther, campaignPage(id))
	return nil
}

// step is a move of a campaign that an operator confirms.
type step struct {
	Verb   string // its path
	Button string
	Effect string // what will be true afterwards
	Tone   string
	fits   func(campaign.Overview) bool
	do     func(ctx context.Context, s Store, id int64, by string, now time.Time) error
	place  func(id int64) string // where it leads to
}

// Scope is the right that the step takes, as in the JSON API.
func (s step) Scope() access.Scope {
	if s.Verb == "delete" {
		return access.Write
	}
	return access.Send
}

// steer is a step to another status.
func steer(to campaign.Status) func(context.Context, Store, int64, string, time.Time) error {
	return func(ctx context.Context, s Store, id int64, by string, now time.Time) error {
		_, err := s.Steer(ctx, id, to, by, "", now)
		return err
	}
}

func fromStatus(from ...campaign.Status) func(campaign.Overview) bool {
	return func(c campaign.Overview) bool { return slices.Contains(from, c.Status) }
}

func campaignPage(id int64) string { return fmt.Sprintf("/campaign/%d", id) }

var steps = []step{
	{
		"pause", "Pause", "No message of this campaign is sent until it is resumed. Messages already handed to the provider are not called back.", "yellow",
		fromStatus(campaign.Running, campaign.Scheduled), steer(campaign.Paused), campaignPage,
	},
	{
		"resume", "Resume", "Sending goes on where it stopped. Nobody is sent to twice.", "primary",
		fromStatus(campaign.Paused), steer(campaign.Running), campaignPage,
	},
	{
		"complete", "Complete", "Nothing triggers it any more. What was triggered is still sent; then the campaign is completed. This cannot be undone.", "primary",
		func(c campaign.Overview) bool { return c.Trigger.PerPerson() && c.Run != nil && c.Run.Open() },
		func(ctx context.Context, s Store, id int64, by string, now time.Time) error {
			return s.CloseRun(ctx, id, by, now)
		}, campaignPage,
	},
	{
		"cancel", "Cancel campaign", "Whoever still waits is not sent to. This cannot be undone. Messages already handed to the provider are not called back.", "red",
		fromStatus(campaign.Running, campaign.Scheduled, campaign.Paused), steer(campaign.Cancelled), campaignPage,
	},
	{
		"approve", "Approve", "You agree to the plan as it stands: its text, its audience and its time. Every later change of the plan withdraws that. Nothing is sent yet.", "primary",
		func(c campaign.Overview) bool { return c.Status == campaign.Draft && c.ApprovedAt == nil },
		func(ctx context.Context, s Store, id int64, by string, now time.Time) error {
			_, err := s.ApproveCampaign(ctx, id, by, now)
			return err
		}, campaignPage,
	},
	{
		"delete", "Delete draft", "The draft is gone for good. It was sent to nobody.", "red", fromStatus(campaign.Draft),
		func(ctx context.Context, s Store, id int64, _ string, now time.Time) error {
			return s.DeleteCampaign(ctx, id, now)
		},
		func(int64) string { return "/campaigns" },
	},
}

// stepsOf lists what an operator may do with a campaign as it stands.
func stepsOf(c campaign.Overview) []step {
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return !s.fits(c) })
}

type stepBody struct {
	step
	campaign.Overview
	Open    int // messages still to be sent
	Problem string
}

func (u *UI) confirmStep(s step) handler {
	return func(c *gin.Context) error { return u.stepPage(c, s, http.StatusOK, "") }
}

func (u *UI) stepPage(c *gin.Context, s step, status int, problem string) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	overview, err := u.Store.Campaign(c.Request.Context(), id)
	if err != nil {
		return err
	}
	body := stepBody{step: s, Overview: overview, Problem: problem}
	if overview.Run != nil {
		states, err := u.Store.RunStates(c.Request.Context(), overview.Run.ID)
		if err != nil {
			return err
		}
		body.Open = states[message.Pending] + states[message.Sending]
	}
	return u.render(c, status, "step", view{Title: s.Button, Section: "/campaigns", Body: body})
}

func (u *UI) take(s step) handler {
	return func(c *gin.Context) error {
		id, err := pathID(c)
		if err != nil {
			return err
		}
		err = s.do(c.Request.Context(), u.Store, id, u.principal(c.Request), u.Now())
		if fault.Is(err, fault.Conflict) || fault.Is(err, fault.Forbidden) {
			status, detail, _ := u.Explain(c.Request.Context(), err)
			return u.stepPage(c, s, status, detail)
		} else if err != nil {
			return err
		}
		c.Redirect(http.StatusSeeOther, s.place(id))
		return nil
	}
}

// changeRest stores what change makes of the plan of a campaign that is under way: it holds for what remains to be sent.
func (u *UI) changeRest(change func(f *form, was campaign.Campaign) (campaign.Campaign, error)) handler {
	return func(c *gin.Context) error {
		id, f, err := readFormOf(c)
		if err != nil {
			return err
		}
		now := u.Now()
		return u.submit(c, f, func(ctx context.Context) (string, error) {
			_, err := u.Store.UpdateCampaign(ctx, id, u.principal(c.Request), func(was campaign.Campaign) (campaign.Campaign, error) {
				to, err := change(f, was)
				if err != nil {
					return was, err
				}
				return was.Edit(to, now)
			}, now)
			return campaignPage(id), err
		})
	}
}

func changeRate(f *form, c campaign.Campaign) (_ campaign.Campaign, err error) {
	c.RatePerSecond, err = f.whole("rate_limit_per_second", c.RatePerSecond)
	return c, err
}

func changeQuietHours(f *form, c campaign.Campaign) (campaign.Campaign, error) {
	quiet, err := compliance.ParseQuietHours(f.Get("quiet_hours_start"), f.Get("quiet_hours_end"))
	if err != nil {
		return c, err
	}
	c.QuietStart, c.QuietEnd = nil, nil
	if !quiet.IsZero() {
		c.QuietStart, c.QuietEnd = &quiet.Start, &quiet.End
	}
	return c, nil
}

type retryBody struct {
	campaign.Overview
	Form    *form
	Choices []retryChoice
}

// retryChoice is a state whose people may be sent to again.
type retryChoice struct {
	State  message.State
	People int
	Chosen bool
}

func (u *UI) confirmRetry(c *gin.Context) error {
	return u.retryPage(c, http.StatusOK, newForm())
}

func (u *UI) retryPage(c *gin.Context, status int, f *form) error {
	ctx := c.Request.Context()
	id, err := pathID(c)
	if err != nil {
		return err
	}
	body := retryBody{Form: f}
	if body.Overview, err = u.Store.Campaign(ctx, id); err != nil {
		return err
	}
	people, err := u.Store.RetryStates(ctx, id)
	if err != nil {
		return err
	}
	for _, state := range campaign.Retryable() {
		n := people[state]
		chosen := slices.Contains(f.Values["states"], string(state)) || len(f.Values) == 0 && (state == message.Failed || state == message.Undelivered) && n > 0
		body.Choices = append(body.Choices, retryChoice{state, n, chosen})
	}
	return u.render(c, status, "retry", view{Title: "Retry", Section: "/campaigns", Body: body})
}

func (u *UI) retry(c *gin.Context) error {
	id, f, err := readFormOf(c)
	if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		var retry campaign.Retry
		for _, state := range f.Values["states"] {
			retry.States = append(retry.States, message.State(state))
		}
		_, err := u.Store.RetryRun(ctx, id, retry, u.principal(c.Request), u.Now())
		return campaignPage(id), err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.retryPage(c, status, f)
}

// describeSegment puts a definition in words, as far as it can be read.
func describeSegment(definition json.RawMessage) string {
	expr, err := segment.Parse("definition", definition)
	if err != nil {
		return string(definition)
	}
	return segment.Describe(expr)
}
