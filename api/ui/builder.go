package ui

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/preflight"
	"github.com/event-stream-engine/ese/internal/price"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

// choices is how many templates, segments and topics a form offers.
const choices = 500

type campaignFormBody struct {
	Form      *form
	ID        int64 // of the draft that is edited; 0 for a new one
	Topic     string
	Custom    string // the plan's own audience in words, where it has no saved segment
	Steps     int    // of a drip, which the form keeps and does not show
	Templates []render.Saved
	Segments  []segment.Saved
	Topics    []user.Topic
	MaxRate   int
	MaxCanary int
	Priority  []campaign.Priority
	Triggers  []campaign.Trigger
	Policies  []campaign.WindowPolicy
	Forecast  *forecast // of the draft as it was saved; nil: it is being made
}

// Excluded tells whether the form leaves a segment out.
func (b campaignFormBody) Excluded(id int64) bool {
	return slices.Contains(b.Form.Values["exclude_segment_ids"], strconv.FormatInt(id, 10))
}

// newCampaign offers an empty plan, or a copy of another campaign's.
func (u *UI) newCampaign(c *gin.Context) error {
	plan := campaign.Campaign{
		RatePerSecond: campaign.DefaultRate, Timezone: campaign.DefaultTimezone, Priority: campaign.Bulk, FailureThreshold: campaign.DefaultFailureThreshold,
	}
	body := campaignFormBody{}
	if text := c.Query("from"); text != "" {
		id, err := strconv.ParseInt(text, 10, 32)
		if err != nil || id <= 0 {
			return fault.Refuse("from", "must be the id of a campaign")
		}
		from, err := u.Store.Campaign(c.Request.Context(), id)
		if err != nil {
			return err
		}
		plan, body.Steps, body.Custom = from.Campaign, len(from.Steps), ownAudience(from.Campaign)
		plan.ScheduleTime, plan.LocalTime = nil, campaign.LocalTime{} // they are most likely over
		plan.Topic = "Copy of " + plan.Topic
	}
	f := planForm(plan)
	for _, name := range []string{"from", "template_id", "segment_id"} {
		if id := c.Query(name); id != "" {
			f.Values.Set(name, id)
		}
	}
	body.Form = f
	return u.campaignForm(c, http.StatusOK, body)
}

func (u *UI) editCampaign(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	draft, err := u.Store.Campaign(c.Request.Context(), id)
	if err != nil {
		return err
	}
	if draft.Status != campaign.Draft {
		return fault.New(fault.Conflict, "a campaign that is %s is not edited as a whole: its page changes the rate and the quiet hours of what remains", draft.Status)
	}
	body := campaignFormBody{Form: planForm(draft.Campaign), ID: id, Topic: draft.Topic, Steps: len(draft.Steps), Custom: ownAudience(draft.Campaign)}
	if body.Forecast, err = u.forecastOf(c.Request.Context(), draft); err != nil {
		return err
	}
	return u.campaignForm(c, http.StatusOK, body)
}

func (u *UI) campaignForm(c *gin.Context, status int, body campaignFormBody) error {
	ctx := c.Request.Context()
	body.MaxRate, body.MaxCanary = campaign.MaxRate, campaign.MaxCanary
	body.Priority, body.Triggers, body.Policies = campaign.Priorities(), campaign.Triggers(), campaign.WindowPolicies()
	var err error
	if body.Templates, err = u.Store.Templates(ctx, nil, choices); err != nil {
		return err
	}
	if body.Segments, err = u.Store.Segments(ctx, nil, choices); err != nil {
		return err
	}
	if body.Topics, err = u.Store.Topics(ctx, nil, choices); err != nil {
		return err
	}
	v := view{Title: "New campaign", Section: "/campaigns", Body: body, Scripts: []string{"campaigns.js"}}
	if body.ID != 0 {
		v.Title = "Edit campaign"
		if body.Forecast == nil {
			v.Poll = campaignSeconds
		}
	}
	return u.render(c, status, "campaign_form", v)
}

func (u *UI) createCampaign(c *gin.Context) error {
	return u.saveCampaign(c, 0, func(ctx context.Context, f *form) (int64, error) {
		from, err := f.id("from")
		if err != nil {
			return 0, err
		}
		var was campaign.Campaign
		if from != nil {
			copied, err := u.Store.Campaign(ctx, *from)
			if err != nil {
				return 0, err
			}
			was = copied.Campaign
		}
		plan, err := readPlan(f, was)
		if err != nil {
			return 0, err
		}
		plan.CreatedBy = u.principal(c.Request)
		created, err := u.Store.CreateCampaign(ctx, plan, u.Now())
		return created.ID, err
	})
}

func (u *UI) updateCampaign(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	now := u.Now()
	return u.saveCampaign(c, id, func(ctx context.Context, f *form) (int64, error) {
		_, err := u.Store.UpdateCampaign(ctx, id, u.principal(c.Request), func(was campaign.Campaign) (campaign.Campaign, error) {
			if was.Status != campaign.Draft {
				return was, fault.New(fault.Conflict, "the campaign is %s by now: only a DRAFT is edited as a whole", was.Status)
			}
			plan, err := readPlan(f, was)
			if err != nil {
				return was, err
			}
			return was.Edit(plan, now)
		}, now)
		return id, err
	})
}

// saveCampaign stores the plan that was sent, and leads to the draft with its forecast.
func (u *UI) saveCampaign(c *gin.Context, id int64, save func(ctx context.Context, f *form) (int64, error)) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		saved, err := save(ctx, f)
		return fmt.Sprintf("/campaign/%d/edit", saved), err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	body := campaignFormBody{Form: f, ID: id}
	if id != 0 {
		draft, err := u.Store.Campaign(c.Request.Context(), id)
		if err != nil {
			return err
		}
		body.Topic, body.Steps, body.Custom = draft.Topic, len(draft.Steps), ownAudience(draft.Campaign)
		if body.Forecast, err = u.forecastOf(c.Request.Context(), draft); err != nil {
			return err
		}
	}
	return u.campaignForm(c, status, body)
}

// ownAudience tells in words whom a plan selects that has no saved segment; "" for one that has.
func ownAudience(c campaign.Campaign) string {
	if len(c.SegmentQuery) == 0 {
		return ""
	}
	return describeSegment(c.SegmentQuery)
}

// planForm is a form with a plan in it.
func planForm(c campaign.Campaign) *form {
	f := newForm("topic", c.Topic, "template_id", idText(&c.TemplateID), "segment_id", idText(c.SegmentID), "subscription_topic_id", idText(c.SubscriptionTopicID),
		"rate_limit_per_second", strconv.Itoa(c.RatePerSecond), "priority", string(c.Priority), "failure_threshold_percent", strconv.Itoa(c.FailureThreshold),
		"canary_percent", strconv.Itoa(c.Canary), "quiet_hours_start", clock(c.QuietStart), "quiet_hours_end", clock(c.QuietEnd), "timezone", c.Timezone,
		"window_policy", string(c.WindowPolicy), "trigger", string(c.Trigger), "trigger_name", c.TriggerName,
		"schedule_local_time", c.LocalTime.String(), "recurrence_cron", c.Recurrence.Cron, "recurrence_timezone", c.Recurrence.Timezone)
	for _, id := range c.ExcludeSegmentIDs {
		f.Values.Add("exclude_segment_ids", strconv.FormatInt(id, 10))
	}
	if c.StartWithin > 0 {
		f.Values.Set("start_within_minutes", strconv.Itoa(int(c.StartWithin/time.Minute)))
	}
	if !c.FrequencyCap.IsZero() {
		f.Values.Set("frequency_cap_count", strconv.Itoa(c.FrequencyCap.Count))
		f.Values.Set("frequency_cap_days", strconv.Itoa(c.FrequencyCap.Days))
	}
	if zone, err := time.LoadLocation(c.Timezone); c.ScheduleTime != nil && err == nil {
		f.Values.Set("schedule_time", c.ScheduleTime.In(zone).Format(localLayout))
	}
	return f
}

// idText writes the id of something chosen; "" for none.
func idText(id *int64) string {
	if id == nil || *id == 0 {
		return ""
	}
	return strconv.FormatInt(*id, 10)
}

// readPlan reads the plan that a form describes. Of what the store checks it refuses only what cannot be read. What forms do not
// show stays as it was: an audience of its own where no segment is chosen, and the steps, of which the first sends the template.
func readPlan(f *form, was campaign.Campaign) (campaign.Campaign, error) {
	plan := campaign.Campaign{
		Topic: f.Get("topic"), Timezone: f.Get("timezone"), Priority: campaign.Priority(f.Get("priority")),
		WindowPolicy: campaign.WindowPolicy(f.Get("window_policy")), Trigger: campaign.Trigger(f.Get("trigger")), TriggerName: f.Get("trigger_name"),
	}
	var refused []fault.Field
	note := func(err error) { refused = append(refused, fieldsOf(err)...) }

	template, err := f.id("template_id")
	note(err)
	if template != nil {
		plan.TemplateID = *template
	}
	plan.SegmentID, err = f.id("segment_id")
	note(err)
	if plan.SegmentID == nil && !plan.Trigger.PerPerson() {
		plan.SegmentQuery = was.SegmentQuery
	}
	if plan.Steps, plan.ExitOn = slices.Clone(was.Steps), was.ExitOn; plan.Drip() {
		plan.Steps[0].TemplateID = plan.TemplateID
	}
	for _, text := range f.Values["exclude_segment_ids"] {
		id, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			note(fault.Refuse("exclude_segment_ids", "must be chosen from the list"))
			break
		}
		plan.ExcludeSegmentIDs = append(plan.ExcludeSegmentIDs, id)
	}
	plan.SubscriptionTopicID, err = f.id("subscription_topic_id")
	note(err)
	for name, to := range map[string]struct {
		value     *int
		otherwise int
	}{
		"rate_limit_per_second":     {&plan.RatePerSecond, campaign.DefaultRate},
		"failure_threshold_percent": {&plan.FailureThreshold, campaign.DefaultFailureThreshold},
		"canary_percent":            {&plan.Canary, 0},
		"frequency_cap_count":       {&plan.FrequencyCap.Count, 0},
		"frequency_cap_days":        {&plan.FrequencyCap.Days, 0},
	} {
		*to.value, err = f.whole(name, to.otherwise)
		note(err)
	}
	minutes, err := f.whole("start_within_minutes", 0)
	note(err)
	plan.StartWithin = time.Duration(min(max(minutes, 0), 1_000_000)) * time.Minute
	quiet, err := compliance.ParseQuietHours(f.Get("quiet_hours_start"), f.Get("quiet_hours_end"))
	note(err)
	if !quiet.IsZero() {
		plan.QuietStart, plan.QuietEnd = &quiet.Start, &quiet.End
	}
	plan.ScheduleTime, err = localTime("schedule_time", f.Get("schedule_time"), plan.Timezone)
	note(err)
	var readable bool
	if plan.LocalTime, readable = campaign.ParseLocalTime(f.Get("schedule_local_time")); !readable {
		note(fault.Refuse("schedule_local_time", "must be a date and a time such as 2026-12-01T10:00"))
	}
	if plan.Recurrence.Cron = f.Get("recurrence_cron"); plan.Recurrence.Cron != "" {
		plan.Recurrence.Timezone = f.Get("recurrence_timezone")
		if plan.Recurrence.Timezone == "" {
			plan.Recurrence.Timezone = plan.Timezone
		}
	}
	if word := user.Keyword(plan.TriggerName); plan.Trigger == campaign.OnKeyword && word != "" {
		plan.TriggerName = word
	}
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

// forecast is what a draft would do, were it triggered now.
type forecast struct {
	preflight.Forecast
	PerPerson bool
	Waiting   int // of those who would be sent to would wait first
	Excluded  int // are not sent to
	Cost      price.Estimate
	Priced    bool // there is a table of prices
	Slowest   string
	Groups    []preflight.Group // the largest
}

// samples is how many messages a page shows as they would be sent.
const samples = 3

// shownGroups is how many groups of people a forecast lists.
const shownGroups = 12

// forecastOf foretells what a draft would do; nil while that takes long.
func (u *UI) forecastOf(ctx context.Context, draft campaign.Overview) (*forecast, error) {
	key := fmt.Sprintf("%d %d", draft.ID, draft.UpdatedAt.UnixMicro())
	f, known, err := u.forecasts.get(ctx, u.patience, key, func(ctx context.Context) (*forecast, error) {
		found, err := u.Store.Preflight(ctx, draft.ID, samples, u.Now())
		if err != nil {
			return nil, err
		}
		f := &forecast{Forecast: found, PerPerson: draft.Trigger.PerPerson(), Cost: u.Prices.Estimate(found.Channel, found.Units), Priced: !u.Prices.IsZero()}
		for _, v := range found.Verdicts {
			switch compliance.Action(v.Action) {
			case compliance.Wait:
				f.Waiting += v.Count
			case compliance.Suppress:
				f.Excluded += v.Count
			}
		}
		switch {
		case float64(found.CampaignRate) <= found.RatePerSecond:
			f.Slowest = "the campaign’s own rate"
		case found.SenderRate <= found.RatePerSecond:
			f.Slowest = "what the sender may send"
		default:
			f.Slowest = "what the account may send"
		}
		f.Groups = found.Groups[:min(len(found.Groups), shownGroups)]
		return f, nil
	})
	if err != nil || !known {
		return nil, err
	}
	return f, nil
}
