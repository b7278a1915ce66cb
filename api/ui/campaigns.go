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

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/preflight"
	"github.com/event-stream-engine/ese/internal/render"
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
	// Steer pauses, resumes or cancels. When a pause or a cancel returns, no send is under way.
	Steer(ctx context.Context, campaignID int64, to campaign.Status, by, reason string, now time.Time) (campaign.Steering, error)
	// Preflight foretells what a run triggered now would do, and shows up to samples of its messages. It writes nothing.
	Preflight(ctx context.Context, campaignID int64, samples int, now time.Time) (preflight.Forecast, error)
	RunStates(ctx context.Context, runID int64) (ledger.States, error)
}

// campaignRow is a campaign in a list. What became of its messages is counted for some only.
type campaignRow struct {
	campaign.Overview
	Began   *time.Time
	Counted bool
	Bars    []bar
	Done    int     // messages that are neither pending nor sending
	Total   int     // the audience
	Percent float64 // done of total
}

// campaignRows counts the messages of those campaigns whose status asks for it.
func (u *UI) campaignRows(ctx context.Context, campaigns []campaign.Overview, counted func(campaign.Status) bool) ([]campaignRow, error) {
	rows := make([]campaignRow, len(campaigns))
	for i, c := range campaigns {
		rows[i].Overview = c
		if c.Run == nil {
			continue
		}
		rows[i].Began, rows[i].Total = c.Run.Began(u.Now()), c.Run.AudienceSize
		if !counted(c.Status) {
			continue
		}
		states, err := u.Store.RunStates(ctx, c.Run.ID)
		if err != nil {
			return nil, err
		}
		rows[i].Counted = true
		rows[i].Bars = stack(states)
		rows[i].Done = states.Total() - states[message.Pending] - states[message.Sending]
		rows[i].Percent = report.Percent(rows[i].Done, rows[i].Total)
	}
	return rows, nil
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
	if body.Campaigns, err = u.campaignRows(ctx, rows, campaign.Status.Active); err != nil {
		return err
	}
	return u.render(c, http.StatusOK, "campaigns", view{Title: "Campaigns", Section: "/campaigns", Poll: pollSeconds, Body: body})
}

// choices is how many templates and segments a form offers, the newest first.
const choices = 500

type campaignFormBody struct {
	Form      *form
	Templates []render.Saved
	Segments  []segment.Saved
	MaxRate   int
	MaxCanary int
	Priority  []campaign.Priority
}

func (u *UI) newCampaign(c *gin.Context) error {
	f := newForm("rate_limit_per_second", strconv.Itoa(campaign.DefaultRate), "timezone", campaign.DefaultTimezone,
		"priority", string(campaign.Bulk), "failure_threshold_percent", strconv.Itoa(campaign.DefaultFailureThreshold), "canary_percent", "0",
		"template_id", c.Query("template_id"), "segment_id", c.Query("segment_id"))
	return u.campaignForm(c, http.StatusOK, f)
}

func (u *UI) campaignForm(c *gin.Context, status int, f *form) error {
	body := campaignFormBody{Form: f, MaxRate: campaign.MaxRate, MaxCanary: campaign.MaxCanary, Priority: campaign.Priorities()}
	var err error
	if body.Templates, err = u.Store.Templates(c.Request.Context(), nil, choices); err != nil {
		return err
	}
	if body.Segments, err = u.Store.Segments(c.Request.Context(), nil, choices); err != nil {
		return err
	}
	return u.render(c, status, "campaign_new", view{Title: "New campaign", Section: "/campaigns", Body: body})
}

func (u *UI) createCampaign(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		plan, err := readPlan(f)
		if err != nil {
			return "", err
		}
		plan.CreatedBy = u.Principal(c.Request)
		created, err := u.Store.CreateCampaign(ctx, plan, u.Now())
		return fmt.Sprintf("/campaign/%d/summary", created.ID), err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.campaignForm(c, status, f)
}

// readPlan reads the plan that a form describes. Of what the store checks it refuses only what cannot be read.
func readPlan(f *form) (campaign.Campaign, error) {
	plan := campaign.Campaign{Topic: f.Get("topic"), Timezone: f.Get("timezone")}
	var refused []fault.Field
	note := func(err error) { refused = append(refused, fieldsOf(err)...) }

	template, err := f.id("template_id")
	note(err)
	if template != nil {
		plan.TemplateID = *template
	}
	plan.SegmentID, err = f.id("segment_id")
	note(err)
	plan.RatePerSecond, err = f.whole("rate_limit_per_second", campaign.DefaultRate)
	note(err)
	plan.Priority = campaign.Priority(f.Get("priority"))
	plan.FailureThreshold, err = f.whole("failure_threshold_percent", campaign.DefaultFailureThreshold)
	note(err)
	plan.Canary, err = f.whole("canary_percent", 0)
	note(err)
	quiet, err := compliance.ParseQuietHours(f.Get("quiet_hours_start"), f.Get("quiet_hours_end"))
	note(err)
	if !quiet.IsZero() {
		plan.QuietStart, plan.QuietEnd = &quiet.Start, &quiet.End
	}
	plan.ScheduleTime, err = localTime("schedule_time", f.Get("schedule_time"), plan.Timezone)
	note(err)
	return plan, fault.Fields(refused...)
}

// localLayout is how browsers write a date with a time.
const localLayout = "2006-01-02T15:04"

// localTime reads a wall clock's time in a zone; nil for an empty text.
func localTime(field, text, zone string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	location, err := user.LoadZone(zone)
	if err != nil {
		return nil, err
	}
	t, err := time.ParseInLocation(localLayout, text, location)
	if err != nil {
		return nil, fault.Refuse(field, "must be a date and a time such as 2026-11-21T22:38")
	}
	if t.Format(localLayout) != text {
		return nil, fault.Refuse(field, "does not exist in %s: clocks skip it on that day", zone)
	}
	return &t, nil
}

// audience is what a dry run found.
type audience struct {
	Total    int
	Reached  int // would be sent to, now or later
	Waiting  int // of these would wait first
	Excluded int // would not be sent to
	Verdicts []campaign.VerdictCount
}

func tally(verdicts []campaign.VerdictCount) audience {
	a := audience{Verdicts: verdicts}
	for _, v := range verdicts {
		a.Total += v.Count
		switch compliance.Action(v.Action) {
		case compliance.Proceed:
			a.Reached += v.Count
		case compliance.Wait:
			a.Reached += v.Count
			a.Waiting += v.Count
		case compliance.Suppress:
			a.Excluded += v.Count
		}
	}
	return a
}

type triggerBody struct {
	campaign.Overview
	Audience audience
	Content  string // of the template
	Later    bool   // it would be scheduled, not begin at once
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
	saved, err := u.Store.Template(ctx, body.TemplateID)
	if err != nil {
		return err
	}
	body.Content = saved.Content
	forecast, err := u.Store.Preflight(ctx, id, 0, now)
	if err != nil {
		return err
	}
	body.Audience = tally(forecast.Verdicts)
	return u.render(c, status, "trigger", view{Title: "Send campaign", Section: "/campaigns", Body: body})
}

func (u *UI) trigger(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	_, err = u.Store.StartRun(c.Request.Context(), id, u.Principal(c.Request), u.Now())
	if fault.Is(err, fault.Conflict) {
		status, detail, _ := u.Explain(c.Request.Context(), err)
		return u.triggerPage(c, status, detail)
	} else if err != nil {
		return err
	}
	c.Redirect(http.StatusSeeOther, fmt.Sprintf("/campaign/%d/summary", id))
	return nil
}

// step is a move of a campaign that an operator confirms.
type step struct {
	Verb   string // its path
	Button string
	to     campaign.Status
	From   []campaign.Status
	Effect string // what will be true afterwards
	Tone   string
}

var steps = []step{
	{
		"pause", "Pause", campaign.Paused, []campaign.Status{campaign.Running, campaign.Scheduled},
		"No message of this campaign is sent until it is resumed. Messages already handed to the provider are not called back.", "yellow",
	},
	{
		"resume", "Resume", campaign.Running, []campaign.Status{campaign.Paused},
		"Sending goes on where it stopped. Nobody is sent to twice.", "primary",
	},
	{
		"cancel", "Cancel campaign", campaign.Cancelled, []campaign.Status{campaign.Running, campaign.Scheduled, campaign.Paused},
		"Whoever still waits is not sent to. This cannot be undone. Messages already handed to the provider are not called back.", "red",
	},
}

// stepsOf lists what an operator may do with a campaign in a status.
func stepsOf(status campaign.Status) []step {
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return !slices.Contains(s.From, status) })
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
		_, err = u.Store.Steer(c.Request.Context(), id, s.to, u.Principal(c.Request), "", u.Now())
		if fault.Is(err, fault.Conflict) {
			status, detail, _ := u.Explain(c.Request.Context(), err)
			return u.stepPage(c, s, status, detail)
		} else if err != nil {
			return err
		}
		c.Redirect(http.StatusSeeOther, fmt.Sprintf("/campaign/%d/summary", id))
		return nil
	}
}

// describeSegment puts a definition in words, as far as it can be read.
func describeSegment(definition json.RawMessage) string {
	expr, err := segment.Parse("definition", definition)
	if err != nil {
		return string(definition)
	}
	return segment.Describe(expr)
}
