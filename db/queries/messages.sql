-- name: RecipientList :many
-- The ledger of one run, in order.
SELECT sqlc.embed(m), u.phone_number, r.number AS run_number, r.campaign_id
FROM messages m
JOIN campaign_runs r ON r.id = m.run_id
LEFT JOIN users u ON u.id = m.user_id
WHERE m.run_id = @run_id AND m.seq > @after
  AND (sqlc.narg(state)::text IS NULL OR m.state = sqlc.narg(state)) AND (sqlc.narg(reason)::text IS NULL OR m.reason = sqlc.narg(reason))
  AND (sqlc.narg(error_code)::integer IS NULL OR m.error_code = sqlc.narg(error_code))
ORDER BY m.seq LIMIT @at_most;

-- name: RecipientCount :one
SELECT count(*) FROM messages m WHERE m.run_id = @run_id
  AND (sqlc.narg(state)::text IS NULL OR m.state = sqlc.narg(state)) AND (sqlc.narg(reason)::text IS NULL OR m.reason = sqlc.narg(reason))
  AND (sqlc.narg(error_code)::integer IS NULL OR m.error_code = sqlc.narg(error_code));

-- name: MessageList :many
-- Walks from the newest, which is quick where many fit. Ids are in the order of created_at to the millisecond, so that a
-- range of time lies within a range of ids.
SELECT sqlc.embed(m), u.phone_number, r.number AS run_number, r.campaign_id
FROM messages m
JOIN campaign_runs r ON r.id = m.run_id
LEFT JOIN users u ON u.id = m.user_id
WHERE m.id >= @first_id AND m.id < @before_id
  AND (sqlc.narg(since)::timestamptz IS NULL OR m.created_at >= sqlc.narg(since)) AND (sqlc.narg(until)::timestamptz IS NULL OR m.created_at < sqlc.narg(until))
  AND (sqlc.narg(state)::text IS NULL OR m.state = sqlc.narg(state))
ORDER BY m.id DESC LIMIT @at_most;

-- name: MessageListSparse :many
-- Finds all that fit and sorts them, which is quick where few fit.
WITH fitting AS MATERIALIZED (
    SELECT m.id FROM messages m
    WHERE m.id >= @first_id AND m.id < @before_id
      AND (sqlc.narg(since)::timestamptz IS NULL OR m.created_at >= sqlc.narg(since)) AND (sqlc.narg(until)::timestamptz IS NULL OR m.created_at < sqlc.narg(until))
      AND m.run_id IN (SELECT cr.id FROM campaign_runs cr WHERE sqlc.narg(campaign_id)::integer IS NULL OR cr.campaign_id = sqlc.narg(campaign_id))
      AND (sqlc.narg(state)::text IS NULL OR m.state = sqlc.narg(state))
), page AS (
    SELECT fitting.id FROM fitting ORDER BY fitting.id DESC LIMIT @at_most
)
SELECT sqlc.embed(m), u.phone_number, r.number AS run_number, r.campaign_id
FROM page
JOIN messages m ON m.id = page.id
JOIN campaign_runs r ON r.id = m.run_id
LEFT JOIN users u ON u.id = m.user_id
ORDER BY m.id DESC;

-- name: MessageStates :many
SELECT m.state, count(*) AS messages FROM messages m
WHERE m.id >= @first_id AND m.id < @before_id
  AND (sqlc.narg(since)::timestamptz IS NULL OR m.created_at >= sqlc.narg(since)) AND (sqlc.narg(until)::timestamptz IS NULL OR m.created_at < sqlc.narg(until))
  AND (sqlc.narg(campaign_id)::integer IS NULL OR m.run_id IN (SELECT id FROM campaign_runs cr WHERE cr.campaign_id = sqlc.narg(campaign_id)))
  AND (sqlc.narg(state)::text IS NULL OR m.state = sqlc.narg(state))
GROUP BY m.state;

-- name: MessageRead :one
SELECT sqlc.embed(m), u.phone_number, r.number AS run_number, r.campaign_id
FROM messages m
JOIN campaign_runs r ON r.id = m.run_id
LEFT JOIN users u ON u.id = m.user_id
WHERE m.id = @id;

-- name: MessageAttempts :many
SELECT * FROM attempts WHERE message_id = ANY(@message_ids::uuid[]) ORDER BY message_id, number;

-- name: AttemptReceipts :many
SELECT * FROM receipts WHERE attempt_id = ANY(@attempt_ids::uuid[]) ORDER BY id;

-- name: MessageListUnknown :many
SELECT sqlc.embed(m), u.phone_number, r.number AS run_number, r.campaign_id
FROM messages m
JOIN campaign_runs r ON r.id = m.run_id
LEFT JOIN users u ON u.id = m.user_id
WHERE m.state = 'unknown' AND m.id < @before_id
ORDER BY m.id DESC LIMIT @at_most;

-- name: MessageCountUnknown :one
SELECT count(*) FROM messages WHERE state = 'unknown';

-- name: MessageLock :one
SELECT state, reason, waits_until, error_code, accepted_at, sent_at, delivered_at, read_at, ended_at FROM messages WHERE id = @id FOR UPDATE;

-- name: AttemptsUnknownAbsent :exec
-- A person found that the provider never had them. Their message is locked already.
UPDATE attempts SET state = 'absent' WHERE message_id = @message_id AND state = 'unknown';

-- name: MessageChecks :many
SELECT * FROM compliance_checks WHERE message_id = @message_id ORDER BY id;
