package db

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/access"
)

// forgetBatch bounds how many expired answers one request cleans up.
const forgetBatch = 20

// LockIdempotencyKey keeps a key until the transaction that ctx carries ends; false when another one holds it.
func (s *Store) LockIdempotencyKey(ctx context.Context, principal, key string) (bool, error) {
	locked, err := s.q(ctx).IdempotencyLock(ctx, principal+"\n"+key)
	return locked, translate(err, "idempotency key")
}

// IdempotentAnswer finds what a key was answered since then.
func (s *Store) IdempotentAnswer(ctx context.Context, principal, key string, since time.Time) (access.Answer, error) {
	row, err := s.q(ctx).IdempotencyGet(ctx, dbsqlc.IdempotencyGetParams{Principal: principal, Key: key, Since: since})
	return access.Answer{
		RequestSHA256: row.RequestSha256, Status: int(row.ResponseStatus), Type: row.ResponseType, Body: row.ResponseBody,
	}, translate(err, "idempotency key")
}

// SaveIdempotentAnswer keeps an answer, in place of one from before since, and forgets some other old ones.
func (s *Store) SaveIdempotentAnswer(ctx context.Context, principal, key string, answer access.Answer, now, since time.Time) error {
	if answer.Body == nil {
		answer.Body = []byte{}
	}
	if err := s.q(ctx).IdempotencySave(ctx, dbsqlc.IdempotencySaveParams{
		Principal: principal, Key: key, RequestSha256: answer.RequestSHA256, ResponseStatus: int32(answer.Status),
		ResponseType: answer.Type, ResponseBody: answer.Body, Now: now,
	}); err != nil {
		return translate(err, "idempotency key")
	}
	return translate(s.q(ctx).IdempotencyForget(ctx, dbsqlc.IdempotencyForgetParams{Since: since, AtMost: forgetBatch}), "idempotency keys")
}
