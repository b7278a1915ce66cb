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

-- name: UserMembershipsForget :exec
DELETE FROM segment_members WHERE user_id = @user_id;

-- name: UserVariablesScrub :exec
UPDATE messages SET variables = NULL WHERE user_id = @user_id::bigint AND variables IS NOT NULL;

-- name: UserDelete :exec
DELETE FROM users WHERE id = @id;

-- name: ConsentEventInsert :exec
INSERT INTO consent_events (user_id, state, source, evidence, wording, caller_ip, actor, invitation_id, created_at)
VALUES (@user_id, @state, @source, @evidence, @wording, @caller_ip, @actor, sqlc.narg(invitation_id), @now);

-- name: ConsentEventList :many
-- Newest first, each with the state before it.
SELECT e.id, e.state, coalesce(p.state, '')::text AS previous_state, e.source, e.evidence, e.wording, e.caller_ip, e.actor, e.invitation_id, e.created_at
FROM consent_events e
LEFT JOIN LATERAL (
    SELECT o.state FROM consent_events o WHERE o.user_id = e.user_id AND o.id < e.id ORDER BY o.id DESC LIMIT 1
) p ON true
WHERE e.user_id = @user_id AND (sqlc.narg(before)::bigint IS NULL OR e.id < sqlc.narg(before))
ORDER BY e.id DESC LIMIT @at_most;

-- name: ConsentEventCount :one
SELECT count(*) FROM consent_events WHERE user_id = @user_id;

-- name: MessagesWithdraw :many
-- Ends what these people still wait for, and says why on the record of checks. The caller holds their rows.
WITH waiting AS (
    SELECT id FROM messages WHERE user_id = ANY(@user_ids::bigint[]) AND messages.state = 'pending' ORDER BY id FOR UPDATE
), ended AS (
    UPDATE messages m SET state = @state, reason = @reason, waits_until = NULL, ended_at = @now, updated_at = @now
    FROM waiting w, campaign_runs r
    WHERE m.id = w.id AND m.state = 'pending' AND r.id = m.run_id
    RETURNING m.id, m.run_id, r.campaign_id, r.number, m.seq
), judged AS (
    INSERT INTO compliance_checks (message_id, action, reason, steps, created_at)
    SELECT e.id, 'suppress', @reason, jsonb_build_array(jsonb_build_object('step', 'consent', 'result', 'failed', 'detail', @reason::text)), @now FROM ended e WHERE @state::text = 'suppressed'
)
SELECT e.run_id, e.campaign_id, e.number, e.seq FROM ended e;

-- name: MessagesSuppress :many
-- Ends what these people still wait for and a suppression of one of the scopes forbids. The caller holds their rows.
WITH waiting AS (
    SELECT o.id FROM messages o
    JOIN campaign_runs r ON r.id = o.run_id
    JOIN campaigns c ON c.id = r.campaign_id
    WHERE o.user_id = ANY(@user_ids::bigint[]) AND o.state = 'pending'
      AND suppression_scopes(o.channel, c.subscription_topic_id) && @scopes::text[]
    ORDER BY o.id FOR UPDATE OF o
), ended AS (
    UPDATE messages m SET state = 'suppressed', reason = @reason, waits_until = NULL, ended_at = @now, updated_at = @now
    FROM waiting w, campaign_runs r
    WHERE m.id = w.id AND m.state = 'pending' AND r.id = m.run_id
    RETURNING m.id, m.run_id, r.campaign_id, r.number, m.seq
), judged AS (
    INSERT INTO compliance_checks (message_id, action, reason, steps, created_at)
    SELECT e.id, 'suppress', @reason, jsonb_build_array(jsonb_build_object('step', 'consent', 'result', 'failed', 'detail', @reason::text)), @now FROM ended e
)
SELECT e.run_id, e.campaign_id, e.number, e.seq FROM ended e;
