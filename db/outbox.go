package db

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// enqueue writes what must happen in Temporal once the transaction that ctx carries has committed.
func (s *Store) enqueue(ctx context.Context, kind outbox.Kind, payload any, now time.Time) error {
	raw, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("outbox payload: %w", err)
	}
	return s.q(ctx).OutboxInsert(ctx, dbsqlc.OutboxInsertParams{Kind: string(kind), Payload: raw, Now: now})
}

// Relay hands up to atMost due items, written before writtenBefore, to deliver, which returns an error for each it
// could not deliver (nil for the others). Delivered items are gone afterwards; the others come again after a backoff
// that grows to a minute. Items another relay works on are passed over. It returns how many were delivered, and how
// many not.
func (s *Store) Relay(ctx context.Context, atMost int, writtenBefore, now time.Time, deliver func([]outbox.Item) []error) (delivered, failed int, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.q(ctx).OutboxDue(ctx, dbsqlc.OutboxDueParams{Now: now, WrittenBefore: writtenBefore, AtMost: int32(atMost)})
		if err != nil {
			return fmt.Errorf("due outbox items: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		items := make([]outbox.Item, len(rows))
		for i, r := range rows {
			items[i] = outbox.Item{ID: r.ID, Kind: outbox.Kind(r.Kind), Payload: r.Payload, Attempts: int(r.Attempts)}
		}
		var done []int64
		for i, problem := range deliver(items) {
			if problem == nil {
				done = append(done, items[i].ID)
				continue
			}
			failed++
			wait := min(time.Minute, time.Second<<min(items[i].Attempts, 6))
			if err := s.q(ctx).OutboxPostpone(ctx, dbsqlc.OutboxPostponeParams{
				ID: items[i].ID, LastError: problem.Error(), NextAttemptAt: now.Add(wait),
			}); err != nil {
				return fmt.Errorf("postpone outbox item: %w", err)
			}
		}
		delivered = len(done)
		return s.q(ctx).OutboxDelete(ctx, done)
	})
	return delivered, failed, err
}

// OutboxBacklog tells how many items wait, and since when the oldest does (zero time for none).
func (s *Store) OutboxBacklog(ctx context.Context) (waiting int64, oldest time.Time, err error) {
	row, err := s.q(ctx).OutboxBacklog(ctx)
	if isNoRows(err) {
		return 0, time.Time{}, nil
	}
	return row.Waiting, row.Oldest, translate(err, "outbox backlog")
}
