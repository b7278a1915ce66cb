package db

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/segment"
)

// CreateCampaign stores a plan as a DRAFT. The plan is checked, and what it refers to must exist.
func (s *Store) CreateCampaign(ctx context.Context, c campaign.Campaign, now time.Time) (created campaign.Overview, err error) {
	if err := c.Check(now); err != nil {
		return campaign.Overview{}, err
	}
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.checkReferences(ctx, c); err != nil {
			return err
		}
		id, err := s.q(ctx).CampaignInsert(ctx, dbsqlc.CampaignInsertParams{
			Topic: c.Topic, TemplateID: int32(c.TemplateID), SegmentID: cast[int32](c.SegmentID), SegmentQuery: c.SegmentQuery,
			RateLimitPerSecond: int32(c.RatePerSecond), Priority: string(cmp.Or(c.Priority, campaign.Bulk)), FailureThresholdPercent: int16(c.FailureThreshold),
			CanaryPercent: int16(c.Canary), FrequencyCapCount: none(int16(c.FrequencyCap.Count)), FrequencyCapDays: none(int16(c.FrequencyCap.Days)), QuietStart: cast[int16](c.QuietStart), QuietEnd: cast[int16](c.QuietEnd),
			Timezone: c.Timezone, ScheduleTime: c.ScheduleTime, WindowPolicy: string(cmp.Or(c.WindowPolicy, campaign.ByTemplate)), ExcludeSegmentIds: toInt32(c.ExcludeSegmentIDs),
			SubscriptionTopicID: cast[int32](c.SubscriptionTopicID),
			Trigger:             string(cmp.Or(c.Trigger, campaign.ByOperator)), TriggerName: c.TriggerName,
			ScheduleLocalTime: c.LocalTime.String(), StartWithinMinutes: minutes(c.StartWithin),
			RecurrenceCron: c.Recurrence.Cron, RecurrenceTimezone: c.Recurrence.Timezone,
			ExitOnReply: c.ExitOn.Reply, ExitOnRead: c.ExitOn.Read, ExitSegmentID: cast[int32](c.ExitOn.SegmentID), CreatedBy: c.CreatedBy, Now: now,
		})
		if err != nil {
			return translate(err, "campaign")
		}
		if err := s.noteAudience(ctx, id, c); err != nil {
			return err
		}
		if err := s.setSteps(ctx, id, c.Steps); err != nil {
			return err
		}
		if created, err = s.Campaign(ctx, int64(id)); err != nil {
			return err
		}
		return s.audit(ctx, cmp.Or(c.CreatedBy, access.CallerOf(ctx)), "campaign.create", fmt.Sprintf("campaign/%d", id), planOf(c), now)
	})
	return created, err
}

// Campaign returns a campaign with its template and its newest run.
func (s *Store) Campaign(ctx context.Context, id int64) (campaign.Overview, error) {
	row, err := s.q(ctx).CampaignGet(ctx, int32(id))
	if err != nil {
		return campaign.Overview{}, translate(err, fmt.Sprintf("campaign %d", id))
	}
	found := []campaign.Overview{toOverview(row.Campaign, row.Template)}
	if err := s.addRuns(ctx, found); err != nil {
		return campaign.Overview{}, err
	}
	return found[0], nil
}

// CampaignRun is Campaign with the run of that number in place of the newest; 0 stands for the newest.
func (s *Store) CampaignRun(ctx context.Context, id int64, number int) (campaign.Overview, error) {
	c, err := s.Campaign(ctx, id)
	if err != nil || number == 0 || c.Run != nil && c.Run.Number == number {
		return c, err
	}
	row, err := s.q(ctx).RunByNumber(ctx, dbsqlc.RunByNumberParams{CampaignID: int32(id), Number: int32(number)})
	if err != nil {
		return c, translate(err, fmt.Sprintf("run %d of campaign %d", number, id))
	}
	run := toRun(row)
	c.Run = &run
	return c, nil
}

// Runs returns up to limit runs of the campaign with numbers below before (nil: from the newest), newest first, each with
// what became of its messages, and how many runs there are at all.
func (s *Store) Runs(ctx context.Context, campaignID int64, before *int64, limit int) ([]report.Run, int, error) {
	if _, err := s.Campaign(ctx, campaignID); err != nil {
		return nil, 0, err
	}
	rows, err := s.q(ctx).RunList(ctx, dbsqlc.RunListParams{CampaignID: int32(campaignID), Before: cast[int32](before), AtMost: int32(limit)})
	if err != nil {
		return nil, 0, translate(err, "runs")
	}
	runs, ids, at := make([]report.Run, len(rows)), make([]int64, len(rows)), map[int64]int{}
	for i, r := range rows {
		runs[i], ids[i], at[r.ID] = report.Run{Run: toRun(r), States: report.States{}}, r.ID, i
	}
	counts, err := s.q(ctx).RunsStates(ctx, ids)
	if err != nil {
		return nil, 0, translate(err, "states of the runs")
	}
	for _, c := range counts {
		runs[at[c.RunID]].States[message.State(c.State)] = int(c.Messages)
	}
	total, err := s.q(ctx).RunCount(ctx, int32(campaignID))
	return runs, int(total), translate(err, "runs")
}

// Campaigns returns up to limit campaigns with ids below before (nil: from the newest), newest first, and how many
// there are at all. An empty status means every status.
func (s *Store) Campaigns(ctx context.Context, status campaign.Status, before *int64, limit int) ([]campaign.Overview, int, error) {
	rows, err := s.q(ctx).CampaignList(ctx, dbsqlc.CampaignListParams{
		Status: none(string(status)), Before: cast[int32](before), AtMost: int32(limit),
	})
	if err != nil {
		return nil, 0, translate(err, "campaigns")
	}
	found := make([]campaign.Overview, len(rows))
	for i, row := range rows {
		found[i] = toOverview(row.Campaign, row.Template)
	}
	if err := s.addRuns(ctx, found); err != nil {
		return nil, 0, err
	}
	total, err := s.q(ctx).CampaignCount(ctx, none(string(status)))
	return found, int(total), translate(err, "campaigns")
}

// UpdateCampaign changes a campaign's plan: change gets it as it stands and returns what it becomes, or why it must not.
// A run under way obeys the new plan at once: it is woken, and when the quiet hours or the window policy changed,
// or whether the law's hours hold,
// whoever waits because of them is judged anew.
func (s *Store) UpdateCampaign(
	ctx context.Context, id int64, by string, change func(campaign.Campaign) (campaign.Campaign, error), now time.Time,
) (updated campaign.Overview, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.q(ctx).CampaignGatesClose(ctx, []int32{int32(id)}); err != nil {
			return translate(err, "gate of the campaign")
		}
		row, err := s.q(ctx).CampaignLockPlan(ctx, int32(id))
		if err != nil {
			return translate(err, fmt.Sprintf("campaign %d", id))
		}
		was := toCampaign(row)
		steps, err := s.stepsOf(ctx, []int32{int32(id)})
		if err != nil {
			return err
		}
		was.Steps = steps[id]
		c, err := change(was)
		if err != nil {
			return err
		}
		if err := s.checkReferences(ctx, c); err != nil {
			return err
		}
		if err := s.q(ctx).CampaignUpdate(ctx, dbsqlc.CampaignUpdateParams{
			ID: int32(c.ID), Topic: c.Topic, TemplateID: int32(c.TemplateID), SegmentID: cast[int32](c.SegmentID), SegmentQuery: c.SegmentQuery,
			RateLimitPerSecond: int32(c.RatePerSecond), Priority: string(cmp.Or(c.Priority, campaign.Bulk)), FailureThresholdPercent: int16(c.FailureThreshold),
			CanaryPercent: int16(c.Canary), FrequencyCapCount: none(int16(c.FrequencyCap.Count)), FrequencyCapDays: none(int16(c.FrequencyCap.Days)), QuietStart: cast[int16](c.QuietStart), QuietEnd: cast[int16](c.QuietEnd),
			Timezone: c.Timezone, ScheduleTime: c.ScheduleTime, WindowPolicy: string(cmp.Or(c.WindowPolicy, campaign.ByTemplate)), ExcludeSegmentIds: toInt32(c.ExcludeSegmentIDs),
			SubscriptionTopicID: cast[int32](c.SubscriptionTopicID),
			Trigger:             string(cmp.Or(c.Trigger, campaign.ByOperator)), TriggerName: c.TriggerName,
			ScheduleLocalTime: c.LocalTime.String(), StartWithinMinutes: minutes(c.StartWithin),
			RecurrenceCron: c.Recurrence.Cron, RecurrenceTimezone: c.Recurrence.Timezone,
			ExitOnReply: c.ExitOn.Reply, ExitOnRead: c.ExitOn.Read, ExitSegmentID: cast[int32](c.ExitOn.SegmentID), ChangedBy: by, Now: now,
		}); err != nil {
			return translate(err, "campaign")
		}
		if err := s.noteAudience(ctx, int32(id), c); err != nil {
			return err
		}
		if err := s.setSteps(ctx, int32(id), c.Steps); err != nil {
			return err
		}
		changes := was.Changes(c)
		if err := s.audit(ctx, by, "campaign.change", fmt.Sprintf("campaign/%d", id), planChanges(was, c), now); err != nil {
			return err
		}
		if updated, err = s.Campaign(ctx, c.ID); err != nil || !c.Status.Active() {
			return err
		}
		if !c.Recurrence.IsZero() {
			if err := s.enqueue(ctx, outbox.SyncRecurrence, outbox.Recurrence{CampaignID: c.ID}, now); err != nil {
				return err
			}
		}
		if updated.Run == nil { // it awaits its first occurrence
			return nil
		}
		if slices.ContainsFunc(changes, func(name string) bool {
			return name == "quiet_hours_start" || name == "quiet_hours_end" || name == "priority"
		}) {
			if err := s.releaseHours(ctx, updated, now); err != nil {
				return err
			}
		}
		if slices.Contains(changes, "window_policy") {
			if err := s.signalWaiting(ctx, updated.Run.ID, updated.RatePerSecond, now); err != nil {
				return err
			}
		}
		if c.Trigger.PerPerson() && c.RatePerSecond != was.RatePerSecond {
			if err := s.respace(ctx, updated.Run.ID, was.RatePerSecond, c.RatePerSecond, now); err != nil {
				return err
			}
		}
		run := outbox.Run{RunID: updated.Run.ID, CampaignID: c.ID, Number: updated.Run.Number}
		return s.enqueue(ctx, outbox.WakeCampaign, run, now)
	})
	return updated, err
}

// ApproveCampaign records that by agrees to the plan of a DRAFT as it stands; see campaign.Campaign.MayApprove. Every change
// of the plan withdraws it.
func (s *Store) ApproveCampaign(ctx context.Context, id int64, by string, now time.Time) (approved campaign.Overview, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).CampaignLockPlan(ctx, int32(id))
		if err != nil {
			return translate(err, fmt.Sprintf("campaign %d", id))
		}
		if err := toCampaign(row).MayApprove(by); err != nil {
			return err
		}
		if err := s.q(ctx).CampaignApprove(ctx, dbsqlc.CampaignApproveParams{ID: int32(id), ApprovedBy: by, Now: &now}); err != nil {
			return translate(err, "approval")
		}
		if err := s.audit(ctx, by, "campaign.approve", fmt.Sprintf("campaign/%d", id), nil, now); err != nil {
			return err
		}
		approved, err = s.Campaign(ctx, id)
		return err
	})
	return approved, err
}

// releaseHours has the messages judged anew that wait for quiet hours to end or for the hours that the law allows, be it that
// they were told to wait for their time first.
func (s *Store) releaseHours(ctx context.Context, c campaign.Overview, now time.Time) error {
	if err := s.unbounded(ctx); err != nil {
		return err
	}
	return translate(s.q(ctx).RunReleaseWaits(ctx, dbsqlc.RunReleaseWaitsParams{
		RunID: c.Run.ID, Reasons: []string{string(compliance.InQuietHours), string(compliance.LegalWindow), string(compliance.NotYet)}, Paused: c.Status == campaign.Paused, SpacingSeconds: 1 / float64(c.RatePerSecond), Now: now,
	}), "waits for quiet hours")
}

// DeleteCampaign removes a campaign that was never triggered; every other one gives a Conflict.
func (s *Store) DeleteCampaign(ctx context.Context, id int64, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).CampaignLockPlan(ctx, int32(id))
		if err != nil {
			return translate(err, fmt.Sprintf("campaign %d", id))
		}
		triggered, err := s.q(ctx).CampaignRunsExist(ctx, int32(id))
		if err != nil {
			return translate(err, "runs of the campaign")
		}
		if triggered || campaign.Status(row.Status) != campaign.Draft {
			return fault.New(fault.Conflict, "a campaign that was triggered cannot be deleted: its messages are kept")
		}
		if err := s.q(ctx).CampaignDelete(ctx, int32(id)); err != nil {
			return translate(err, "campaign")
		}
		return s.audit(ctx, access.CallerOf(ctx), "campaign.delete", fmt.Sprintf("campaign/%d", id), map[string]any{"was": planOf(toCampaign(row))}, now)
	})
}

func (s *Store) checkReferences(ctx context.Context, c campaign.Campaign) error {
	found, err := s.q(ctx).CampaignReferences(ctx, dbsqlc.CampaignReferencesParams{
		TemplateID: int32(c.TemplateID), SegmentID: cast[int32](c.SegmentID), TopicID: cast[int32](c.SubscriptionTopicID),
	})
	if err != nil {
		return translate(err, "what the campaign names")
	}
	var missing []fault.Field
	if !found.TemplateExists {
		missing = append(missing, fault.Field{Name: "template_id", Detail: fmt.Sprintf("there is no template %d", c.TemplateID)})
	}
	if !found.SegmentExists {
		missing = append(missing, fault.Field{Name: "segment_id", Detail: fmt.Sprintf("there is no segment %d", *c.SegmentID)})
	}
	if !found.TopicExists {
		missing = append(missing, fault.Field{Name: "subscription_topic_id", Detail: fmt.Sprintf("there is no topic %d", *c.SubscriptionTopicID)})
	}
	missing, err = s.checkSteps(ctx, c, missing)
	if err != nil {
		return err
	}
	return s.checkAudience(ctx, c, missing)
}

// checkAudience refuses a plan whose audience cannot be told, or that has what is missing besides.
func (s *Store) checkAudience(ctx context.Context, c campaign.Campaign, missing []fault.Field) error {
	known, err := s.q(ctx).SegmentsKnown(ctx, toInt32(c.ExcludeSegmentIDs))
	if err != nil {
		return translate(err, "segments")
	}
	for i, id := range c.ExcludeSegmentIDs {
		if !slices.Contains(known, int32(id)) {
			missing = append(missing, fault.Field{Name: fmt.Sprintf("exclude_segment_ids[%d]", i), Detail: fmt.Sprintf("there is no segment %d", id)})
		}
	}
	if err := fault.Fields(missing...); err != nil || len(c.SegmentQuery) == 0 {
		return err
	}
	expr, err := segment.Parse("segment_query", c.SegmentQuery)
	if err != nil {
		return err
	}
	return s.checkDefinition(ctx, "segment_query", expr, segment.MaxConditions+segment.MaxReferences*segment.MaxResolved)
}

// noteAudience records which segments the campaign's plan uses.
func (s *Store) noteAudience(ctx context.Context, id int32, c campaign.Campaign) error {
	var expr segment.Expr
	if len(c.SegmentQuery) > 0 {
		var err error
		if expr, err = segment.Parse("segment_query", c.SegmentQuery); err != nil {
			return err
		}
	}
	return s.noteUses(ctx, nil, &id, expr, c.ExcludeSegmentIDs...)
}

// addRuns adds to campaigns their newest runs, and their steps.
func (s *Store) addRuns(ctx context.Context, campaigns []campaign.Overview) error {
	ids := make([]int32, len(campaigns))
	for i, c := range campaigns {
		ids[i] = int32(c.ID)
	}
	rows, err := s.q(ctx).RunsNewest(ctx, ids)
	if err != nil {
		return translate(err, "runs of the campaigns")
	}
	newest := make(map[int64]*campaign.Run, len(rows))
	for _, r := range rows {
		run := toRun(r)
		newest[run.CampaignID] = &run
	}
	steps, err := s.stepsOf(ctx, ids)
	if err != nil {
		return err
	}
	for i := range campaigns {
		campaigns[i].Run, campaigns[i].Steps = newest[campaigns[i].ID], steps[campaigns[i].ID]
	}
	return nil
}

func toOverview(c dbsqlc.Campaign, t dbsqlc.Template) campaign.Overview {
	return campaign.Overview{
		Campaign: toCampaign(c),
		Template: campaign.Template{ID: int64(t.ID), Name: t.Name, Channel: message.Channel(t.Channel), Version: int(t.Version)},
	}
}

func toCampaign(c dbsqlc.Campaign) campaign.Campaign {
	return campaign.Campaign{
		ID: int64(c.ID), Topic: c.Topic, TemplateID: int64(c.TemplateID), SegmentID: cast[int64](c.SegmentID), SegmentQuery: c.SegmentQuery,
		ExcludeSegmentIDs: toInt64(c.ExcludeSegmentIds), SubscriptionTopicID: cast[int64](c.SubscriptionTopicID), BuiltIn: c.ReplySenderID != nil,
		Status: campaign.Status(c.Status), StatusReason: c.StatusReason,
		RatePerSecond: int(c.RateLimitPerSecond), Priority: campaign.Priority(c.Priority), FailureThreshold: int(c.FailureThresholdPercent),
		Canary: int(c.CanaryPercent), FrequencyCap: campaign.Cap{Count: int(deref(c.FrequencyCapCount)), Days: int(deref(c.FrequencyCapDays))}, QuietStart: cast[int](c.QuietStart), QuietEnd: cast[int](c.QuietEnd), Timezone: c.Timezone,
		ScheduleTime: c.ScheduleTime, WindowPolicy: campaign.WindowPolicy(c.WindowPolicy),
		Trigger: campaign.Trigger(c.Trigger), TriggerName: c.TriggerName,
		LocalTime: toLocalTime(c.ScheduleLocalTime), StartWithin: fromMinutes(c.StartWithinMinutes),
		Recurrence: campaign.Recurrence{Cron: c.RecurrenceCron, Timezone: c.RecurrenceTimezone},
		ExitOn:     campaign.ExitOn{Reply: c.ExitOnReply, Read: c.ExitOnRead, SegmentID: cast[int64](c.ExitSegmentID)},
		CreatedBy:  c.CreatedBy, ChangedBy: c.ChangedBy, ApprovedBy: c.ApprovedBy, ApprovedAt: c.ApprovedAt,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
}

// toLocalTime reads what the database checked.
func toLocalTime(text string) campaign.LocalTime {
	local, _ := campaign.ParseLocalTime(text)
	return local
}

// minutes is a duration as the database keeps it; nil for none.
func minutes(d time.Duration) *int32 { return nonZero(int(d / time.Minute)) }

func fromMinutes(n *int32) time.Duration { return time.Duration(value(n)) * time.Minute }

// cast converts an optional number; nil stays nil.
func cast[To, From int | int16 | int32 | int64](p *From) *To {
	if p == nil {
		return nil
	}
	n := To(*p)
	return &n
}
