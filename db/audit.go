package db

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/user"
)

// audit records who did what, and from where, in the transaction that ctx carries. subject is such as campaign/7; neither it nor
// detail holds personal data. detail may be nil.
func (s *Store) audit(ctx context.Context, principal, action, subject string, detail map[string]any, now time.Time) error {
	if detail == nil {
		detail = map[string]any{}
	}
	raw, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit detail: %w", err)
	}
	return translate(s.q(ctx).AuditInsert(ctx, dbsqlc.AuditInsertParams{
		Principal: principal, Action: action, Subject: subject, Detail: raw, Address: access.AddressOf(ctx), Now: now,
	}), "audit event")
}

// changes is what an audit event tells of a change: each field that is not what it was, and what it was.
type changes map[string]any

func (c changes) note(field string, was, to any) {
	if was == to {
		return
	}
	if c["was"] == nil {
		c["was"] = map[string]any{}
	}
	c[field], c["was"].(map[string]any)[field] = to, was
}

// elided is a JSON value without what conditions compare with: that may be somebody's name or number.
func elided(raw json.RawMessage) any {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil
	}
	return elide(value)
}

func elide(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if v[key] = elide(member); key == "value" {
				v[key] = "…"
			}
		}
	case []any:
		for i, element := range v {
			v[i] = elide(element)
		}
	}
	return value
}

// noteJSON is note for values that Go cannot compare.
func (c changes) noteJSON(field string, was, to any) {
	before, _ := json.Marshal(was) // what cannot be written cannot be audited either, and fails there
	after, _ := json.Marshal(to)
	if bytes.Equal(before, after) {
		return
	}
	if c["was"] == nil {
		c["was"] = map[string]any{}
	}
	c[field], c["was"].(map[string]any)[field] = to, was
}

// attributeChanges names the attributes that were added, changed or removed. Their values are personal data.
func attributeChanges(was, to user.Attributes) []string {
	names := []string{}
	for name := range to {
		if before, known := was[name]; !known || !reflect.DeepEqual(before, to[name]) {
			names = append(names, name)
		}
	}
	for name := range was {
		if _, kept := to[name]; !kept {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// planOf is a campaign's plan by the names of its fields.
func planOf(c campaign.Campaign) map[string]any {
	return map[string]any{
		"topic": c.Topic, "template_id": c.TemplateID, "segment_id": c.SegmentID, "segment_query": elided(c.SegmentQuery),
		"exclude_segment_ids": c.ExcludeSegmentIDs, "subscription_topic_id": c.SubscriptionTopicID, "rate_limit_per_second": c.RatePerSecond,
		"priority": c.Priority, "failure_threshold_percent": c.FailureThreshold, "canary_percent": c.Canary,
		"frequency_cap":     map[string]int{"count": c.FrequencyCap.Count, "days": c.FrequencyCap.Days},
		"quiet_hours_start": c.QuietStart, "quiet_hours_end": c.QuietEnd, "timezone": c.Timezone, "window_policy": c.WindowPolicy,
		"schedule_time": c.ScheduleTime, "schedule_local_time": c.LocalTime.String(), "recurrence_cron": c.Recurrence.Cron,
		"recurrence_timezone": c.Recurrence.Timezone, "start_within_minutes": int(c.StartWithin.Minutes()), "trigger": c.Trigger, "trigger_name": c.TriggerName,
		"steps": stepsOf(c.Steps), "exit_on": map[string]any{"reply": c.ExitOn.Reply, "read": c.ExitOn.Read, "segment_id": c.ExitOn.SegmentID},
	}
}

func stepsOf(steps []campaign.Step) []map[string]any {
	told := make([]map[string]any, len(steps))
	for i, step := range steps {
		told[i] = map[string]any{"template_id": step.TemplateID, "wait_seconds": int(step.Wait.Seconds())}
	}
	return told
}

// planChanges tells what became of the fields that differ.
func planChanges(was, to campaign.Campaign) changes {
	before, after, detail := planOf(was), planOf(to), changes{"was": map[string]any{}}
	for _, name := range was.Changes(to) {
		detail[name], detail["was"].(map[string]any)[name] = after[name], before[name]
	}
	return detail
}

// AuditEvents lists what the audit log holds, newest first, after the entry with that id (nil for the newest).
func (s *Store) AuditEvents(ctx context.Context, f access.EventFilter, after *int64, atMost int) ([]access.Event, error) {
	rows, err := s.q(ctx).AuditList(ctx, dbsqlc.AuditListParams{
		Principal: none(f.Principal), Action: none(f.Action), Subject: none(f.Subject), Since: f.Since, Until: f.Until,
		After: after, AtMost: int32(atMost),
	})
	if err != nil {
		return nil, translate(err, "audit log")
	}
	events := make([]access.Event, len(rows))
	for i, r := range rows {
		events[i] = access.Event{ID: r.ID, Principal: r.Principal, Action: r.Action, Subject: r.Subject, Address: r.Address, At: r.CreatedAt}
		if err := json.Unmarshal(r.Detail, &events[i].Detail); err != nil {
			return nil, fmt.Errorf("audit event %d: %w", r.ID, err)
		}
	}
	return events, nil
}

// AuditTotal counts the entries that fit the filter.
func (s *Store) AuditTotal(ctx context.Context, f access.EventFilter) (int64, error) {
	total, err := s.q(ctx).AuditTotal(ctx, dbsqlc.AuditTotalParams{
		Principal: none(f.Principal), Action: none(f.Action), Subject: none(f.Subject), Since: f.Since, Until: f.Until,
	})
	return total, translate(err, "audit log")
}

// AuditTerms lists the actions and the principals that the audit log knows.
func (s *Store) AuditTerms(ctx context.Context) (actions, principals []string, err error) {
	if actions, err = s.q(ctx).AuditActions(ctx); err != nil {
		return nil, nil, translate(err, "actions of the audit log")
	}
	principals, err = s.q(ctx).AuditPrincipals(ctx)
	return actions, principals, translate(err, "principals of the audit log")
}
