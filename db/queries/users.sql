-- name: UserInsert :one
INSERT INTO users (phone_number, attributes, consent_state, region, zones, zone_source, created_at, updated_at)
VALUES (@phone_number, @attributes, @consent_state, @region, @zones, @zone_source, @now, @now)
RETURNING *;

-- name: UserGet :one
SELECT * FROM users WHERE phone_number = @phone_number;

-- name: UserLock :one
SELECT * FROM users WHERE phone_number = @phone_number FOR UPDATE;

-- name: UserList :many
SELECT * FROM users
WHERE (sqlc.narg(consent_state)::text IS NULL OR consent_state = sqlc.narg(consent_state))
  AND (sqlc.narg(prefix)::text IS NULL OR phone_number LIKE sqlc.narg(prefix) || '%')
  AND (sqlc.narg(after)::bigint IS NULL OR id < sqlc.narg(after))
ORDER BY id DESC
LIMIT @at_most;

-- name: UserTotal :one
SELECT count(*) FROM users
WHERE (sqlc.narg(consent_state)::text IS NULL OR consent_state = sqlc.narg(consent_state))
  AND (sqlc.narg(prefix)::text IS NULL OR phone_number LIKE sqlc.narg(prefix) || '%');

-- name: UserUpdate :one
UPDATE users SET attributes = @attributes, consent_state = @consent_state, region = @region, zones = @zones,
    zone_source = @zone_source, updated_at = @now
WHERE id = @id
RETURNING *;

-- name: UserDelete :exec
DELETE FROM users WHERE id = @id;

-- name: ConsentEventInsert :exec
INSERT INTO consent_events (user_id, state, source, evidence, actor, created_at)
VALUES (@user_id, @state, @source, @evidence, @actor, @now);

-- name: MessagesWithdraw :many
-- Ends what these people still wait for. The caller holds their rows.
WITH waiting AS (
    SELECT id FROM messages WHERE user_id = ANY(@user_ids::bigint[]) AND messages.state = 'pending' ORDER BY id FOR UPDATE
)
UPDATE messages m SET state = @state, reason = @reason, waits_until = NULL, ended_at = @now, updated_at = @now
FROM waiting w, campaign_runs r
WHERE m.id = w.id AND m.state = 'pending' AND r.id = m.run_id
RETURNING m.run_id, r.campaign_id, r.number, m.seq;

-- name: UserMessagesLock :exec
-- Messages before their attempts and receipts, in the order of their ids, like everyone who locks several. A receipt that
-- is just being taken in is complete afterwards.
SELECT id FROM messages WHERE user_id = @user_id::bigint ORDER BY id FOR UPDATE;

-- name: UserReceiptsScrub :exec
UPDATE receipts SET payload = '{}'
WHERE attempt_id IN (SELECT a.id FROM attempts a JOIN messages m ON m.id = a.message_id WHERE m.user_id = @user_id::bigint);

-- name: UserVariablesScrub :exec
UPDATE messages SET variables = NULL WHERE user_id = @user_id::bigint AND variables IS NOT NULL;

-- name: UserInboundScrub :exec
UPDATE inbound_messages SET payload = '{}', body = '' WHERE user_id = @user_id::bigint;

-- name: UserAnswersForget :exec
-- Kept answers that show the person.
DELETE FROM idempotency_keys WHERE position(convert_to(@phone_number::text, 'UTF8') IN response_body) > 0;
