-- name: OutboxInsert :exec
INSERT INTO outbox (kind, payload, created_at, next_attempt_at)
VALUES (@kind, @payload, @now, @now);

-- name: OutboxDue :many
-- Rows that another relay works on are passed over. min_age leaves fresh rows to whoever wrote them.
SELECT id, kind, payload, attempts FROM outbox
WHERE next_attempt_at <= @now AND created_at <= @written_before
ORDER BY next_attempt_at, id
LIMIT @at_most
FOR UPDATE SKIP LOCKED;

-- name: OutboxDelete :exec
DELETE FROM outbox WHERE id = ANY(@ids::bigint[]);

-- name: OutboxPostpone :exec
UPDATE outbox SET attempts = attempts + 1, last_error = @last_error, next_attempt_at = @next_attempt_at WHERE id = @id;

-- name: OutboxBacklog :one
SELECT count(*) AS waiting, min(created_at)::timestamptz AS oldest FROM outbox HAVING count(*) > 0;
