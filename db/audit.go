package db

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/access"
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
