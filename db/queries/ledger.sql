-- name: DeliveryGet :one
-- Everything that one send needs to know.
SELECT m.id, m.state, m.reason, m.waits_until, m.user_id, m.channel, m.accepted_at, m.attempt_count,
       r.id AS run_id, r.number AS run_number, r.campaign_id, r.sender_id,
       CASE r.kind WHEN 'retry' THEN '' ELSE c.schedule_local_time END::text AS schedule_local_time, c.start_within_minutes, coalesce(r.frozen_at, r.started_at)::timestamptz AS began_at,
       c.status AS campaign_status, c.rate_limit_per_second, c.quiet_start, c.quiet_end, c.timezone, c.subscription_topic_id,
       u.phone_number, u.attributes, u.consent_state, u.zones,
       EXISTS (SELECT 1 FROM subscriptions s WHERE s.topic_id = c.subscription_topic_id AND s.user_id = m.user_id) AS subscribed,
       tv.content, sn.address AS sender
FROM messages m
JOIN campaign_runs r ON r.id = m.run_id
JOIN campaigns c ON c.id = r.campaign_id
JOIN template_versions tv ON tv.template_id = r.template_id AND tv.version = r.template_version
JOIN senders sn ON sn.id = r.sender_id
LEFT JOIN users u ON u.id = m.user_id
WHERE m.run_id = @run_id AND m.seq = @seq;

-- name: DeliveriesPlanned :many
-- What DeliveryGet would say of each of these people, were the campaign triggered: column for column the same, so that a
-- send and its forecast judge by the same things.
SELECT coalesce(m.id, '00000000-0000-0000-0000-000000000000')::uuid AS id, 'pending'::text AS state, ''::text AS reason, m.waits_until, u.id AS user_id, t.channel, m.accepted_at, 0::smallint AS attempt_count,
       0::bigint AS run_id, 0::integer AS run_number, c.id AS campaign_id, coalesce(sn.id, 0)::integer AS sender_id,
       c.schedule_local_time::text AS schedule_local_time, c.start_within_minutes, @began_at::timestamptz AS began_at,
       c.status AS campaign_status, c.rate_limit_per_second, c.quiet_start, c.quiet_end, c.timezone, c.subscription_topic_id,
       u.phone_number, u.attributes, u.consent_state, u.zones,
       EXISTS (SELECT 1 FROM subscriptions s WHERE s.topic_id = c.subscription_topic_id AND s.user_id = u.id) AS subscribed,
       tv.content, coalesce(sn.address, '')::text AS sender
FROM campaigns c
JOIN templates t ON t.id = c.template_id
JOIN template_versions tv ON tv.template_id = t.id AND tv.version = t.version
LEFT JOIN senders sn ON sn.id = (SELECT max(n.id) FROM senders n WHERE n.channel = t.channel)
CROSS JOIN unnest(@user_ids::bigint[]) p(id)
LEFT JOIN users u ON u.id = p.id
LEFT JOIN messages m ON false
WHERE c.id = @campaign_id;

-- name: MessageWait :execrows
-- Only while the campaign is what the wait was judged by; whoever changes that tells those that wait already, not those
-- that come after.
WITH m AS (
    UPDATE messages SET reason = @reason, waits_until = @until, updated_at = @now
    FROM campaigns c
    WHERE messages.id = @id AND state = 'pending' AND c.id = @campaign_id AND c.status = @campaign_status
      AND coalesce(c.quiet_start, 0) = sqlc.arg(quiet_start)::integer
      AND coalesce(c.quiet_end, 0) = sqlc.arg(quiet_end)::integer
    RETURNING messages.id
)
INSERT INTO compliance_checks (message_id, action, reason, until, steps, created_at)
SELECT m.id, 'wait', @reason, @until, @steps, @now FROM m;

-- name: MessageSuppress :exec
WITH m AS (
    UPDATE messages SET state = 'suppressed', reason = @reason, waits_until = NULL, ended_at = @now, updated_at = @now
    WHERE messages.id = @id AND state = 'pending' RETURNING messages.id
)
INSERT INTO compliance_checks (message_id, action, reason, steps, created_at)
SELECT m.id, 'suppress', @reason, @steps, @now FROM m;

-- name: MessageCancel :exec
UPDATE messages SET state = 'cancelled', reason = @reason, waits_until = NULL, ended_at = @now, updated_at = @now
WHERE id = @id AND state = 'pending';

-- name: CampaignGate :one
-- The campaign's status, which no pause or cancel changes before this transaction ends.
SELECT coalesce(campaign_gate(@id), '')::text AS status;

-- name: UserShare :one
-- Holds off a change of consent, and an erasure, until this transaction ends.
SELECT consent_state FROM users WHERE id = @id FOR SHARE;

-- name: AttemptBegin :one
-- The one way from pending to sending: no attempt count means that the message is somebody else's, or done. In one
-- statement, and locking in the order campaign, person, message, it looks at what may have changed, the campaign's status
-- and the person's consent, and holds both until the attempt is recorded.
WITH gate AS MATERIALIZED (
    SELECT campaign_gate(@campaign_id) AS status
), person AS MATERIALIZED (
    SELECT u.consent_state FROM gate JOIN users u ON u.id = @user_id WHERE gate.status = ANY(@sending_statuses::text[]) FOR SHARE OF u
), m AS (
    UPDATE messages SET state = 'sending', reason = '', waits_until = NULL, attempt_count = attempt_count + 1, updated_at = @now
    FROM person WHERE messages.id = @message_id AND state = 'pending' AND person.consent_state = ANY(@sendable_consents::text[])
    RETURNING messages.id, attempt_count
), a AS (
    INSERT INTO attempts (id, message_id, number, state, lease_until, started_at, granted_at, body_sha256)
    SELECT @attempt_id, m.id, m.attempt_count, 'open', @lease_until, @now, @granted_at, @body_sha256 FROM m RETURNING attempts.id, attempts.message_id
), k AS (
    INSERT INTO compliance_checks (message_id, attempt_id, action, reason, steps, created_at)
    SELECT a.message_id, a.id, 'proceed', '', @steps, @now FROM a
)
SELECT coalesce((SELECT status FROM gate), '')::text AS campaign_status, coalesce((SELECT consent_state FROM person), '')::text AS consent_state,
       coalesce((SELECT attempt_count FROM m), 0)::smallint AS attempt_number;

-- name: AttemptAccepted :exec
-- Changes nothing when a receipt told it first. The message is locked before its attempt, as receipts do. A message whose
-- newer attempt is open stays sending: that outcome has to be found out first.
WITH held AS (
    SELECT m.id FROM messages m WHERE m.id = (SELECT o.message_id FROM attempts o WHERE o.id = @id) FOR UPDATE
), a AS (
    UPDATE attempts SET state = 'accepted', provider_sid = @provider_sid, http_status = sqlc.narg(http_status), ended_at = @now
    FROM held WHERE attempts.message_id = held.id AND attempts.id = @id AND state IN ('open', 'unknown', 'absent') RETURNING attempts.message_id
)
UPDATE messages SET state = 'accepted', accepted_at = @now, reason = '', waits_until = NULL, error_code = NULL, ended_at = NULL, updated_at = @now
FROM a WHERE messages.id = a.message_id AND state IN ('pending', 'sending', 'unknown')
  AND NOT EXISTS (SELECT 1 FROM attempts o WHERE o.message_id = a.message_id AND o.state = 'open' AND o.id <> @id);

-- name: MessageOfAttemptLock :one
SELECT m.id, m.state, m.reason, m.waits_until, m.error_code, m.accepted_at, m.sent_at, m.delivered_at, m.read_at, m.ended_at
FROM messages m WHERE m.id = (SELECT o.message_id FROM attempts o WHERE o.id = @attempt_id) FOR UPDATE;

-- name: AttemptEnd :execrows
-- What was answered when the outcome was still unknown is kept.
UPDATE attempts SET state = @state, http_status = coalesce(sqlc.narg(http_status), http_status), error_code = sqlc.narg(error_code), detail = @detail, ended_at = @now
WHERE id = @id AND state = 'open';

-- name: AttemptUncertain :exec
-- Notes what is known of a request whose outcome is not; the attempt stays open.
UPDATE attempts SET http_status = sqlc.narg(http_status), detail = @detail WHERE id = @id AND state = 'open';

-- name: AttemptOpen :one
SELECT id, number, lease_until, started_at, body_sha256, looks, failed_looks FROM attempts WHERE message_id = @message_id AND state = 'open';

-- name: AttemptStanding :one
-- The newest attempt that the provider took and the carrier did not fail.
SELECT id, provider_sid FROM attempts
WHERE message_id = @message_id AND state = 'accepted' AND carrier NOT IN ('failed', 'undelivered')
ORDER BY number DESC LIMIT 1;

-- name: AttemptLooked :exec
UPDATE attempts SET looks = looks + @looked, failed_looks = failed_looks + @failed WHERE id = @id;

-- name: AttemptsCounted :one
-- Attempts that used up one of the tries; those that the provider turned away at its door did not.
SELECT count(*) FROM attempts WHERE message_id = @message_id AND state <> 'refused';

-- name: AttemptsRefusedWith :one
SELECT count(*) FROM attempts WHERE message_id = @message_id AND state = 'refused' AND error_code IS NOT DISTINCT FROM sqlc.narg(error_code);

-- name: SIDsTaken :many
SELECT provider_sid FROM attempts WHERE provider_sid = ANY(@sids::text[]) AND id <> @id;

-- name: MessageOverdue :exec
-- Notes that the provider was asked and knew nothing decisive.
UPDATE messages SET reason = 'receipt_overdue', updated_at = @now WHERE id = @id AND state IN ('accepted', 'sent') AND reason = '';
