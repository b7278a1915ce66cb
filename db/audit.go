package db

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
)

// audit records who did what, in the transaction that ctx carries. subject is such as campaign/7; neither it nor detail
// holds personal data. detail may be nil.
func (s *Store) audit(ctx context.Context, principal, action, subject string, detail map[string]any, now time.Time) error {
	if detail == nil {
		detail = map[string]any{}
	}
	raw, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit detail: %w", err)
	}
	return translate(s.q(ctx).AuditInsert(ctx, dbsqlc.AuditInsertParams{
		Principal: principal, Action: action, Subject: subject, Detail: raw, Now: now,
	}), "audit event")
}
