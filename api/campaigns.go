package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
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
	// Campaigns lists up to limit campaigns with ids below before, newest first, and counts all. "" is every status.
	Campaigns(ctx context.Context, status campaign.Status, before *int64, limit int) ([]campaign.Overview, int, error)
	// UpdateCampaign stores what change makes of the campaign's plan; a run under way obeys it at once.
	UpdateCampaign(ctx context.Context, id int64, by string, change func(campaign.Campaign) (campaign.Campaign, error), now time.Time) (campaign.Overview, error)
	DeleteCampaign(ctx context.Context, id int64, now time.Time) error
	// ApproveCampaign records that by agrees to a DRAFT as it stands.
	ApproveCampaign(ctx context.Context, id int64, by string, now time.Time) (campaign.Overview, error)
	StartRun(ctx context.Context, campaignID int64, by string, now time.Time) (campaign.Run, error)
	// RetryRun starts a run to some of the people again. Its AudienceSize is how many they are.
	RetryRun(ctx context.Context, campaignID int64, retry campaign.Retry, by string, now time.Time) (campaign.Run, error)
	// RetryCount is how many people RetryRun would send to again.
	RetryCount(ctx context.Context, campaignID int64, retry campaign.Retry) (int, error)
	// Runs lists up to limit runs with numbers below before, newest first, and counts all.
	Runs(ctx context.Context, campaignID int64, before *int64, limit int) ([]report.Run, int, error)
	// CampaignRun is Campaign with the run of that number in place of the newest; 0 stands for the newest.
	CampaignRun(ctx context.Context, id int64, number int) (campaign.Overview, error)
	// RunStates counts the run's messages by state.
	RunStates(ctx context.Context, runID int64) (ledger.States, error)
	// Steer pauses, resumes or cancels. When a pause or a cancel returns, no send is under way.
	Steer(ctx context.Context, campaignID int64, to campaign.Status, by, reason string, now time.Time) (campaign.Steering, error)
	// Preflight foretells what a run triggered now would do, and shows up to samples of its messages. It writes nothing.
	Preflight(ctx context.Context, campaignID int64, samples int, now time.Time) (preflight.Forecast, error)
}

func (s *server) ListCampaigns(ctx context.Context, r openapi.ListCampaignsRequestObject) (openapi.ListCampaignsResponseObject, error) {
	status := campaign.Status(value(r.Params.Status))
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "campaigns", status)
	if err != nil {
		return nil, err
	}
	before, err := p.afterID()
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.Campaigns(ctx, status, before, p.fetch())
	if err != nil {
		return nil, err
	}
	rows, next := cut(p, rows, func(c campaign.Overview) int64 { return c.ID })
	return openapi.ListCampaigns200JSONResponse{Campaigns: each(rows, s.campaign), NextCursor: next, Total: int64(total)}, nil
}

func (s *server) CreateCampaign(ctx context.Context, r openapi.CreateCampaignRequestObject) (openapi.CreateCampaignResponseObject, error) {
	plan, err := readPlan(*r.Body)
	if err != nil {
		return nil, err
	}
	plan.CreatedBy = principalOf(ctx).Name
	c, err := s.Store.CreateCampaign(ctx, plan, s.Now())
	return openapi.CreateCampaign201JSONResponse(s.campaign(c)), err
}

func (s *server) GetCampaign(ctx context.Context, r openapi.GetCampaignRequestObject) (openapi.GetCampaignResponseObject, error) {
	c, err := s.Store.Campaign(ctx, r.ID)
	return openapi.GetCampaign200JSONResponse(s.campaign(c)), err
}

func (s *server) UpdateCampaign(ctx context.Context, r openapi.UpdateCampaignRequestObject) (openapi.UpdateCampaignResponseObject, error) {
	plan, err := readPlan(*r.Body)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	c, err := s.Store.UpdateCampaign(ctx, r.ID, principalOf(ctx).Name, func(was campaign.Campaign) (campaign.Campaign, error) {
		if err := maySteer(ctx, was); err != nil {
			return was, err
		}
		return was.Replace(plan, now)
	}, now)
	return openapi.UpdateCampaign200JSONResponse(s.campaign(c)), err
}

func (s *server) PatchCampaign(ctx context.Context, r openapi.PatchCampaignRequestObject) (openapi.PatchCampaignResponseObject, error) {
	patch := r.ApplicationMergePatchPlusJSONBody
	if patch == nil {
		patch = r.JSONBody
	}
	now := s.Now()
	c, err := s.Store.UpdateCampaign(ctx, r.ID, principalOf(ctx).Name, func(was campaign.Campaign) (campaign.Campaign, error) {
		if err := maySteer(ctx, was); err != nil {
			return was, err
		}
		plan, err := patchPlan(was, *patch)
		if err != nil {
			return was, err
		}
		return was.Edit(plan, now)
	}, now)
	return openapi.PatchCampaign200JSONResponse(s.campaign(c)), err
}

// maySteer refuses those who may plan and not send to change a campaign that is under way.
func maySteer(ctx context.Context, was campaign.Campaign) error {
	if was.Status.Active() && !principalOf(ctx).May(access.Send) {
		return fault.New(fault.Forbidden, "a campaign that is %s is steered by those who may send: the scope %q is lacking", was.Status, access.Send)
	}
	return nil
}

// patchPlan applies a merge patch to a plan. Every field is of one piece: a query is replaced, not merged.
func patchPlan(c campaign.Campaign, patch json.RawMessage) (campaign.Campaign, error) {
	w := openapi.CampaignWrite{
		Topic: c.Topic, TemplateID: c.TemplateID, SegmentID: clone(c.SegmentID), SegmentQuery: slices.Clone(c.SegmentQuery), RateLimitPerSecond: &c.RatePerSecond,
		Priority: ptr(openapi.CampaignPriority(c.Priority)), FailureThresholdPercent: &c.FailureThreshold, CanaryPercent: &c.Canary,
		FrequencyCap: frequencyCap(c.FrequencyCap), QuietHoursStart: clock(c.QuietStart), QuietHoursEnd: clock(c.QuietEnd), Timezone: &c.Timezone, ScheduleTime: clone(c.ScheduleTime),
		WindowPolicy:        ptr(openapi.WindowPolicy(cmp.Or(c.WindowPolicy, campaign.ByTemplate))),
		ExcludeSegmentIds:   ptr(slices.Clone(c.ExcludeSegmentIDs)),
		SubscriptionTopicID: clone(c.SubscriptionTopicID),
		Trigger:             ptr(openapi.CampaignTriggerKind(c.Trigger)), TriggerName: none(c.TriggerName),
		ScheduleLocalTime: none(c.LocalTime.String()), StartWithinMinutes: none(int(c.StartWithin / time.Minute)),
		RecurrenceCron: none(c.Recurrence.Cron), RecurrenceTimezone: none(c.Recurrence.Timezone),
		Steps: ptr(showSteps(c.Steps)), ExitOn: showExitOn(c.ExitOn),
	}
	if err := json.Unmarshal(patch, &w); err != nil { // what it does not name keeps its value, and null becomes nil
		return c, unreadable(err)
	}
	if w.RecurrenceCron == nil && value(w.RecurrenceTimezone) == c.Recurrence.Timezone { // its zone went with it
		w.RecurrenceTimezone = nil
	}
	return readPlan(w)
}

func (s *server) DeleteCampaign(ctx context.Context, r openapi.DeleteCampaignRequestObject) (openapi.DeleteCampaignResponseObject, error) {
	return openapi.DeleteCampaign204Response{}, s.Store.DeleteCampaign(ctx, r.ID, s.Now())
}

func (s *server) ApproveCampaign(ctx context.Context, r openapi.ApproveCampaignRequestObject) (openapi.ApproveCampaignResponseObject, error) {
	c, err := s.Store.ApproveCampaign(ctx, r.ID, principalOf(ctx).Name, s.Now())
	return openapi.ApproveCampaign200JSONResponse(s.campaign(c)), err
}

func (s *server) TriggerCampaign(ctx context.Context, r openapi.TriggerCampaignRequestObject) (openapi.TriggerCampaignResponseObject, error) {
	if r.Body != nil && value(r.Body.DryRun) {
		return s.rehearse(ctx, r.ID)
	}
	now := s.Now()
	run, err := s.Store.StartRun(ctx, r.ID, principalOf(ctx).Name, now)
	if err != nil {
		return nil, err
	}
	status := campaign.Running
	if run.Number == 0 { // it recurs: its occurrences open the runs
		return openapi.TriggerCampaign200JSONResponse{CampaignID: r.ID, Status: openapi.CampaignStatus(campaign.Scheduled)}, nil
	}
	if run.Began(now) == nil {
		status = campaign.Scheduled
	}
	return openapi.TriggerCampaign200JSONResponse{
		CampaignID: r.ID, Status: openapi.CampaignStatus(status), RunNumber: &run.Number,
		TaskID: ptr(campaign.WorkflowID(r.ID, run.Number)),
	}, nil
}

func (s *server) RetryCampaign(ctx context.Context, r openapi.RetryCampaignRequestObject) (openapi.RetryCampaignResponseObject, error) {
	retry := campaign.Retry{
		States:     each(r.Body.States, func(state openapi.MessageState) message.State { return message.State(state) }),
		ErrorCodes: value(r.Body.ErrorCodes),
	}
	if value(r.Body.DryRun) {
		c, err := s.Store.Campaign(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		n, err := s.Store.RetryCount(ctx, r.ID, retry)
		return openapi.RetryCampaign200JSONResponse{CampaignID: r.ID, Status: openapi.CampaignStatus(c.Status), DryRun: true, AudienceSize: ptr(int64(n))}, err
	}
	run, err := s.Store.RetryRun(ctx, r.ID, retry, principalOf(ctx).Name, s.Now())
	return openapi.RetryCampaign200JSONResponse{
		CampaignID: r.ID, Status: openapi.CampaignStatus(campaign.Running), RunNumber: &run.Number,
		TaskID: ptr(campaign.WorkflowID(r.ID, run.Number)), AudienceSize: ptr(int64(run.AudienceSize)),
	}, err
}

func (s *server) ListRuns(ctx context.Context, r openapi.ListRunsRequestObject) (openapi.ListRunsResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "runs", r.ID)
	if err != nil {
		return nil, err
	}
	before, err := p.afterID()
	if err != nil {
		return nil, err
	}
	rows, total, err := s.Store.Runs(ctx, r.ID, before, p.fetch())
	if err != nil {
		return nil, err
	}
	rows, next := cut(p, rows, func(run report.Run) int { return run.Number })
	return openapi.ListRuns200JSONResponse{Runs: each(rows, s.toRun), NextCursor: next, Total: int64(total)}, nil
}

func (s *server) toRun(r report.Run) openapi.Run {
	task := campaign.WorkflowID(r.CampaignID, r.Number)
	out := openapi.Run{
		Number: r.Number, Kind: openapi.RunKind(r.Kind), TemplateVersion: r.TemplateVersion, StartedBy: r.StartedBy, StartedAt: r.StartedAt,
		NotBefore: r.NotBefore, FrozenAt: r.FrozenAt, FinishedAt: r.FinishedAt, SettledAt: r.SettledAt, States: stateCounts(r.States),
		TaskID: task, TemporalURL: s.workflowURL(task),
	}
	if r.FrozenAt != nil {
		out.AudienceSize = ptr(int64(r.AudienceSize))
	}
	if r.Kind == campaign.ByRetry {
		out.Retry = &openapi.CampaignRetry{
			States: each(r.Retry.States, func(state message.State) openapi.MessageState { return openapi.MessageState(state) }),
		}
		if len(r.Retry.ErrorCodes) > 0 {
			out.Retry.ErrorCodes = &r.Retry.ErrorCodes
		}
	}
	return out
}

func (s *server) GetProgress(ctx context.Context, r openapi.GetProgressRequestObject) (openapi.GetProgressResponseObject, error) {
	c, err := s.Store.Campaign(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	out := openapi.GetProgress200JSONResponse{
		AsOf: s.Now(), CampaignID: c.ID, Status: openapi.CampaignStatus(c.Status), StatusReason: none(c.StatusReason), RateLimitPerSecond: c.RatePerSecond,
		States: openapi.StateCounts{},
	}
	if c.Run == nil {
		return out, nil
	}
	states, at, err := s.runStates(ctx, *c.Run, c.Status)
	if err != nil {
		return nil, err
	}
	out.AsOf = at
	out.RunNumber, out.StartedAt, out.CompletedAt = &c.Run.Number, c.Run.Began(s.Now()), c.Run.FinishedAt
	out.States, out.Sent = stateCounts(report.States(states)), int64(states.Accepted())
	remaining := int64(states[message.Pending] + states[message.Sending])
	out.Remaining = remaining
	if c.Run.FrozenAt != nil {
		out.AudienceSize = ptr(int64(c.Run.AudienceSize))
		if c.Status == campaign.Running {
			rate := int64(c.RatePerSecond)
			out.EstimatedSecondsLeft = ptr((remaining + rate - 1) / rate)
		}
	}
	return out, nil
}

func (s *server) PauseCampaign(ctx context.Context, r openapi.PauseCampaignRequestObject) (openapi.PauseCampaignResponseObject, error) {
	progress, err := s.steer(ctx, r.ID, campaign.Paused)
	return openapi.PauseCampaign200JSONResponse(progress), err
}

func (s *server) ResumeCampaign(ctx context.Context, r openapi.ResumeCampaignRequestObject) (openapi.ResumeCampaignResponseObject, error) {
	progress, err := s.steer(ctx, r.ID, campaign.Running)
	return openapi.ResumeCampaign200JSONResponse(progress), err
}

func (s *server) CancelCampaign(ctx context.Context, r openapi.CancelCampaignRequestObject) (openapi.CancelCampaignResponseObject, error) {
	progress, err := s.steer(ctx, r.ID, campaign.Cancelled)
	return openapi.CancelCampaign200JSONResponse(progress), err
}

func (s *server) steer(ctx context.Context, id int64, to campaign.Status) (openapi.CampaignProgress, error) {
	done, err := s.Store.Steer(ctx, id, to, principalOf(ctx).Name, "", s.Now())
	return openapi.CampaignProgress{
		CampaignID: id, Status: openapi.CampaignStatus(done.Status), Sent: int64(done.Sent), Remaining: int64(done.Remaining),
		Unresolved: int64(done.Unresolved),
	}, err
}

// readPlan reads a plan and refuses what its text alone shows to be wrong.
func readPlan(w openapi.CampaignWrite) (campaign.Campaign, error) {
	c := campaign.Campaign{
		Topic: w.Topic, TemplateID: w.TemplateID, SegmentID: w.SegmentID, ScheduleTime: w.ScheduleTime,
		RatePerSecond:    or(w.RateLimitPerSecond, campaign.DefaultRate),
		Priority:         campaign.Priority(or(w.Priority, openapi.CampaignPriority(campaign.Bulk))),
		FailureThreshold: or(w.FailureThresholdPercent, campaign.DefaultFailureThreshold),
		Canary:           value(w.CanaryPercent),

		ExcludeSegmentIDs:   value(w.ExcludeSegmentIds),
		SubscriptionTopicID: w.SubscriptionTopicID,
		Timezone:            or(w.Timezone, campaign.DefaultTimezone),
		WindowPolicy:        campaign.WindowPolicy(or(w.WindowPolicy, openapi.WindowPolicy(campaign.ByTemplate))),
		Trigger:             campaign.Trigger(or(w.Trigger, openapi.CampaignTriggerKind(campaign.ByOperator))),
		TriggerName:         value(w.TriggerName),
		StartWithin:         time.Duration(value(w.StartWithinMinutes)) * time.Minute,
	}
	if cron, zone := value(w.RecurrenceCron), value(w.RecurrenceTimezone); cron != "" || zone != "" {
		c.Recurrence = campaign.Recurrence{Cron: cron, Timezone: cmp.Or(zone, c.Timezone)}
	}
	c.Steps, c.ExitOn = readSteps(w)
	if limit := w.FrequencyCap; limit != nil {
		c.FrequencyCap = campaign.Cap{Count: limit.Count, Days: limit.Days}
	}
	if word := user.Keyword(c.TriggerName); c.Trigger == campaign.OnKeyword && word != "" {
		c.TriggerName = word
	}
	var refused []fault.Field
	var ok bool
	if c.LocalTime, ok = campaign.ParseLocalTime(value(w.ScheduleLocalTime)); !ok {
		refused = append(refused, fault.Field{Name: "schedule_local_time", Detail: "must be a date and a time without a zone, such as 2026-12-01T10:00"})
	}
	if quiet, err := compliance.ParseQuietHours(value(w.QuietHoursStart), value(w.QuietHoursEnd)); err != nil {
		refused = append(refused, fieldsOf(err)...)
	} else if !quiet.IsZero() {
		c.QuietStart, c.QuietEnd = &quiet.Start, &quiet.End
	}
	if query := w.SegmentQuery; len(query) > 0 && string(query) != "null" {
		expr, err := segment.Parse("segment_query", query)
		if err != nil {
			refused = append(refused, fieldsOf(err)...)
		} else if expr.IsZero() {
			refused = append(refused, fault.Field{Name: "segment_query", Detail: "selects nobody"})
		}
		c.SegmentQuery = query
	}
	return c, fault.Fields(refused...)
}

// clone points to a copy of what p points to, so that writing to it leaves p's alone.
func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return ptr(*p)
}

// or is what p points to, else what holds when it is left out.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// fieldsOf returns the refused fields that err names.
func fieldsOf(err error) []fault.Field {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f.Fields
	}
	return []fault.Field{{Detail: err.Error()}}
}

func (s *server) campaign(c campaign.Overview) openapi.Campaign {
	out := openapi.Campaign{
		ID:                      c.ID,
		Topic:                   c.Topic,
		TemplateID:              c.TemplateID,
		Template:                openapi.TemplateSummary{ID: c.Template.ID, Name: c.Template.Name, Channel: openapi.Channel(c.Template.Channel), Version: c.Template.Version},
		SegmentID:               c.SegmentID,
		SegmentQuery:            c.SegmentQuery,
		ExcludeSegmentIds:       c.ExcludeSegmentIDs,
		SubscriptionTopicID:     c.SubscriptionTopicID,
		BuiltIn:                 c.BuiltIn,
		Status:                  openapi.CampaignStatus(c.Status),
		StatusReason:            none(c.StatusReason),
		RateLimitPerSecond:      c.RatePerSecond,
		Priority:                openapi.CampaignPriority(c.Priority),
		FailureThresholdPercent: c.FailureThreshold,
		CanaryPercent:           c.Canary,
		FrequencyCap:            frequencyCap(c.FrequencyCap),
		QuietHoursStart:         clock(c.QuietStart),
		QuietHoursEnd:           clock(c.QuietEnd),
		Timezone:                c.Timezone,
		ScheduleTime:            c.ScheduleTime,
		WindowPolicy:            openapi.WindowPolicy(c.WindowPolicy),
		Trigger:                 openapi.CampaignTriggerKind(cmp.Or(c.Trigger, campaign.ByOperator)),
		TriggerName:             none(c.TriggerName),
		Steps:                   showSteps(c.Steps),
		ExitOn:                  *showExitOn(c.ExitOn),
		ScheduleLocalTime:       none(c.LocalTime.String()),
		StartWithinMinutes:      none(int(c.StartWithin / time.Minute)),
		RecurrenceCron:          none(c.Recurrence.Cron),
		RecurrenceTimezone:      none(c.Recurrence.Timezone),
		NextOccurrences:         c.NextOccurrences(s.Now(), nextOccurrences),
		Channel:                 openapi.Channel(c.Template.Channel),
		CreatedBy:               none(c.CreatedBy),
		ApprovedBy:              none(c.ApprovedBy),
		ApprovedAt:              c.ApprovedAt,
		CreatedAt:               c.CreatedAt,
		UpdatedAt:               c.UpdatedAt,
	}
	if len(out.SegmentQuery) == 0 {
		out.SegmentQuery = json.RawMessage("null")
	}
	if c.Run != nil {
		out.StartedAt, out.CompletedAt = c.Run.Began(s.Now()), c.Run.FinishedAt
		if c.Run.FrozenAt != nil {
			out.AudienceSize = ptr(int64(c.Run.AudienceSize))
		}
	}
	return out
}

// nextOccurrences is how many of a recurring campaign's occurrences are shown.
const nextOccurrences = 5

// frequencyCap is nil for no cap.
func frequencyCap(c campaign.Cap) *openapi.FrequencyCap {
	if c.IsZero() {
		return nil
	}
	return &openapi.FrequencyCap{Count: c.Count, Days: c.Days}
}

// clock writes minutes after midnight as 22:00; nil stays nil.
func clock(minutes *int) *string {
	if minutes == nil {
		return nil
	}
	return ptr(fmt.Sprintf("%02d:%02d", *minutes/60, *minutes%60))
}
