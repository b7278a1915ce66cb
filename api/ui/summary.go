package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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
	// CampaignProgress counts the messages of the run of that number; 0 stands for the newest.
	CampaignProgress(ctx context.Context, campaignID int64, run int, now time.Time) (report.Summary, error)
	// AddDetails adds to a summary what takes longer to count.
	AddDetails(ctx context.Context, sum *report.Summary) error
	// CampaignHistory tells when the run's messages were accepted, delivered, read and failed.
	CampaignHistory(ctx context.Context, campaignID int64, run int, now time.Time) (report.History, error)
	// Steps tells what became of the steps of a run, in their order, and how many enrolments are in which state.
	Steps(ctx context.Context, runID int64) ([]report.Step, []report.EnrolmentCount, error)
	// CampaignReplies lists up to limit of what people wrote after the run sent to them, with ids below before, newest first, and
	// counts all.
	CampaignReplies(ctx context.Context, campaignID int64, run int, before *int64, limit int, now time.Time) ([]report.Inbound, int, error)
	// Recipients lists up to limit messages of a run with numbers above after, in order, and counts all that fit.
	Recipients(ctx context.Context, campaignID int64, filter report.RecipientFilter, after, limit int) ([]report.Message, int, error)
	// Runs lists up to limit runs with numbers below before, newest first, each counted, and counts all.
	Runs(ctx context.Context, campaignID int64, before *int64, limit int) ([]report.Run, int, error)
}

// details are the figures of a run that take long to count.
type details struct {
	report.Summary
	history report.History
	Chart   string // the history, for the script that draws it
	Newest  []report.Inbound

	Steps      []report.Step // of a drip
	Enrolments []report.EnrolmentCount
}

type summaryBody struct {
	report.Summary
	Counted  bool     // the messages are; else nothing of the following is known yet
	Details  *details // nil: they are being counted
	Draft    bool
	Over     bool   // nothing is left to be done or awaited
	Segment  string // the audience in words
	Excluded []string
	Total    int
	Open     int // pending or sending
	Done     int
	Read     int
	Failed   int
	Lost     int     // undelivered
	Percent  float64 // done of total
	Left     time.Duration
	Bars     []bar
	Funnel   []stage
	Steps    []step
	Runs     []report.Run // when there are several
	Only     int          // the run that was asked for; 0: the newest
	Rate     form
	Quiet    form
	MaxRate  int
	Next     []time.Time // of a campaign that recurs
}

// stage is one line of a funnel.
type stage struct {
	Name  string
	Count int
	Share float64 // percent of the audience
	Of    string  // what else it is a share of, in words
	State string  // whose colour it has, and which recipients it leads to; "" for none
	Known bool
}

// shownRuns is how many runs a campaign's page lists.
const shownRuns = 10

func (u *UI) summary(c *gin.Context) error {
	ctx := c.Request.Context()
	id, err := pathID(c)
	if err != nil {
		return err
	}
	run, err := runNumber(c)
	if err != nil {
		return err
	}
	body := summaryBody{Only: run, MaxRate: campaign.MaxRate}
	began := time.Now()
	if body.Summary, body.Counted, err = u.campaignProgress(ctx, id, run); err != nil {
		return err
	}
	plan := body.Summary.Campaign
	body.Draft, body.Steps = plan.Status == campaign.Draft, stepsOf(plan)
	body.Total = body.States.Total()
	body.Open = body.States[message.Pending] + body.States[message.Sending]
	body.Done = body.Total - body.Open
	body.Percent = report.Percent(body.Done, body.Total)
	body.Bars = stack(body.States)
	body.Read, body.Failed, body.Lost = body.States.Read(), body.States[message.Failed], body.States[message.Undelivered]
	if plan.Status == campaign.Running && body.Open > 0 {
		body.Left = time.Duration((body.Open+plan.RatePerSecond-1)/plan.RatePerSecond) * time.Second
	}
	body.Next = plan.NextOccurrences(u.Now(), 3)
	if body.Segment, body.Excluded, err = u.audienceText(ctx, plan); err != nil {
		return err
	}
	if plan.Run != nil {
		if body.Counted {
			if body.Details, err = u.runDetails(ctx, u.patience.after(began), body.Summary); err != nil {
				return err
			}
		}
		runs, total, err := u.Store.Runs(ctx, id, nil, shownRuns)
		if err != nil {
			return err
		}
		if total > 1 {
			body.Runs = runs
		}
	}
	body.Funnel = funnel(body)
	body.Rate = *newForm("rate_limit_per_second", strconv.Itoa(plan.RatePerSecond))
	body.Quiet = *newForm("quiet_hours_start", clock(plan.QuietStart), "quiet_hours_end", clock(plan.QuietEnd))
	body.Over = plan.Status == campaign.Draft || !plan.Status.Active() && (plan.Run == nil || plan.Run.SettledAt != nil)
	v := view{Title: plan.Topic, Section: "/campaigns", Poll: campaignSeconds, Body: body,
		Scripts: append([]string{"campaigns.js"}, chartScripts...)}
	if body.Over && (plan.Run == nil || body.Details != nil) {
		v.Poll = pollSeconds // somebody may send it, or retry it
	}
	return u.render(c, http.StatusOK, "summary", v)
}

// campaignSeconds is how often a campaign under way is looked at.
const campaignSeconds = 1

// runNumber reads which run is asked for; 0: the newest.
func runNumber(c *gin.Context) (int, error) {
	text := c.Query("run")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n <= 0 {
		return 0, fault.Refuse("run", "must be a whole number above zero")
	}
	return int(n), nil
}

// campaignProgress is Store.CampaignProgress, counted at most once a second whoever asks; known is false while the first count
// takes long. How the campaign itself stands is always told as it is.
func (u *UI) campaignProgress(ctx context.Context, id int64, run int) (sum report.Summary, known bool, err error) {
	c, err := u.Store.CampaignRun(ctx, id, run)
	if err != nil || c.Run == nil {
		return report.Summarise(c, nil, u.Now()), true, err
	}
	p := u.patience
	switch {
	case c.Run.SettledAt != nil:
		p = p.settled()
	case p.age > 0:
		p.age, p.share, p.old = time.Second, lookShare, 10*time.Second
	}
	sum, known, err = u.progress.get(ctx, p, strconv.FormatInt(c.Run.ID, 10), func(ctx context.Context) (report.Summary, error) {
		return u.Store.CampaignProgress(ctx, id, c.Run.Number, u.Now())
	})
	if !known {
		sum = report.Summarise(c, nil, u.Now())
	}
	sum.Campaign = c
	return sum, known, err
}

// runDetails are the figures of a summary's run that take long to count; nil while they are counted for the first time.
func (u *UI) runDetails(ctx context.Context, p patience, sum report.Summary) (*details, error) {
	run := sum.Campaign.Run
	if run.SettledAt != nil {
		p = p.settled()
	}
	known, ok, err := u.details.get(ctx, p, strconv.FormatInt(run.ID, 10), func(ctx context.Context) (*details, error) {
		d := &details{Summary: sum}
		if err := u.Store.AddDetails(ctx, &d.Summary); err != nil {
			return nil, err
		}
		var err error
		if d.history, err = u.Store.CampaignHistory(ctx, run.CampaignID, run.Number, sum.At); err != nil {
			return nil, err
		}
		d.Chart = chartOf(d.history, false)
		if d.Newest, _, err = u.Store.CampaignReplies(ctx, run.CampaignID, run.Number, nil, recentRows, sum.At); err != nil {
			return nil, err
		}
		if sum.Campaign.Drip() {
			d.Steps, d.Enrolments, err = u.Store.Steps(ctx, run.ID)
		}
		return d, err
	})
	if err != nil || !ok {
		return nil, err
	}
	return known, nil
}

// funnel tells how many of an audience came how far.
func funnel(b summaryBody) []stage {
	s := b.States
	at := func(name string, n int, of string, whole int, state message.State) stage {
		line := stage{Name: name, Count: n, Share: report.Percent(n, b.Total), State: string(state), Known: true}
		if of != "" && whole > 0 {
			line.Of = fmt.Sprintf("%.1f %% of %s", report.Percent(n, whole), of)
		}
		return line
	}
	sent := s.Sent()
	lines := []stage{
		at("Audience", b.Total, "", 0, ""),
		at("Sent", sent, "", 0, message.Sent),
		at("Delivered", s.Delivered(), "the sent", sent, message.Delivered),
		at("Read", s.Read(), "the delivered", s.Delivered(), message.Read),
	}
	replied := stage{Name: "Replied"}
	if b.Details != nil {
		replied = at("Replied", b.Details.Replies.People, "the sent", sent, "")
	}
	lines = append(lines, replied, at("Failed", s.Failed(), "", 0, message.Failed), at("Suppressed", s[message.Suppressed], "", 0, message.Suppressed))
	for _, state := range []message.State{message.Cancelled, message.Unknown} {
		if s[state] > 0 {
			lines = append(lines, at(strings.ToUpper(string(state[:1]))+string(state[1:]), s[state], "", 0, state))
		}
	}
	return lines
}

// chartScripts are what pages with charts need.
var chartScripts = []string{"vendor/chart.umd.min.js", "charts.js"}

// chartOf writes a history as the script that draws it reads it.
func chartOf(h report.History, withInbound bool) string {
	type series struct {
		Name   string `json:"name"`
		Colour string `json:"colour"`
		Counts []int  `json:"counts"`
	}
	all := []series{{Name: "Accepted", Colour: "sent"}, {Name: "Delivered", Colour: "delivered"}, {Name: "Read", Colour: "read"}, {Name: "Failed", Colour: "failed"}}
	if withInbound {
		all = append(all, series{Name: "From people", Colour: "unknown"})
	}
	times := make([]int64, len(h.Steps))
	for i, step := range h.Steps {
		times[i] = step.At.UnixMilli()
		for j, n := range []int{step.Accepted, step.Delivered, step.Read, step.Failed, step.Inbound}[:len(all)] {
			all[j].Counts = append(all[j].Counts, n)
		}
	}
	text, _ := json.Marshal(map[string]any{"times": times, "step": h.Step.Milliseconds(), "series": all}) // numbers and words alone
	return string(text)
}

// audienceText says whom a campaign is for, and whom it leaves out.
func (u *UI) audienceText(ctx context.Context, plan campaign.Overview) (text string, excluded []string, err error) {
	for _, id := range plan.ExcludeSegmentIDs {
		saved, err := u.Store.Segment(ctx, id)
		if err != nil {
			return "", nil, err
		}
		excluded = append(excluded, saved.Name)
	}
	if plan.Trigger.PerPerson() {
		return "one person at a time: " + plan.Trigger.Describe(plan.TriggerName), excluded, nil
	}
	if plan.SegmentID == nil {
		return describeSegment(plan.SegmentQuery), excluded, nil
	}
	saved, err := u.Store.Segment(ctx, *plan.SegmentID)
	if err != nil {
		return "", nil, err
	}
	return saved.Name + ": " + describeSegment(saved.Definition), excluded, nil
}

type recipientsBody struct {
	campaign.Overview
	Only       report.RecipientFilter
	States     []stateLink
	Reasons    []string // that messages of the run wait or were not sent for
	Download   string
	JSON       string
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
	sum, _, err := u.campaignProgress(ctx, id, body.Only.Run)
	if err != nil {
		return err
	}
	body.Reasons = reasonsOf(sum, body.Only.Reason)
	for _, state := range append([]message.State{""}, message.States()...) {
		other := body.Only
		other.State = state
		body.States = append(body.States, stateLink{state, filtered(fmt.Sprintf("/campaign/%d/recipients", id), other)})
	}
	body.JSON = filtered(fmt.Sprintf("/api/v1/campaigns/%d/recipients", id), body.Only)
	body.Download = filtered(fmt.Sprintf("/api/v1/campaigns/%d/recipients.csv", id), body.Only)
	rows, total, err := u.Store.Recipients(ctx, id, body.Only, seq, listSize+1)
	if err != nil {
		return err
	}
	body.Recipients, body.Pager = paginate(c, rows, total, func(m report.Message) int64 { return int64(m.Seq) })
	return u.render(c, http.StatusOK, "recipients", view{Title: "Recipients", Section: "/campaigns", Poll: pollSeconds, Body: body})
}

// reasonsOf lists the reasons that a summary counts, and the one that is chosen.
func reasonsOf(sum report.Summary, chosen string) []string {
	found := []string{chosen}
	for _, w := range sum.Waiting {
		found = append(found, w.Reason)
	}
	for _, r := range sum.Suppressed {
		found = append(found, r.Reason)
	}
	slices.Sort(found)
	return slices.DeleteFunc(slices.Compact(found), func(reason string) bool { return reason == "" })
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
