-- name: DeliveryGet :one
-- Everything that one send needs to know. The epoch stands for a moment that there is none of; what the template says in
-- each language comes as one JSON array.
SELECT m.id, m.state, m.reason, m.waits_until, m.user_id, m.channel, m.accepted_at, m.attempt_count, m.variables, m.reply, m.created_at,
       r.id AS run_id, r.number AS run_number, r.campaign_id, r.sender_id, (r.kind = 'test')::boolean AS test, (c.trigger = 'invitation' AND r.kind <> 'test')::boolean AS invitation,
       CASE WHEN r.kind IN ('trigger', 'recurrence') THEN c.schedule_local_time ELSE '' END::text AS schedule_local_time, c.start_within_minutes, coalesce(r.frozen_at, r.started_at)::timestamptz AS began_at,
       c.status AS campaign_status, c.rate_limit_per_second, c.priority, c.quiet_start, c.quiet_end, c.timezone, c.subscription_topic_id,
       u.phone_number, u.attributes, u.consent_state, u.zones, u.jurisdiction, u.last_inbound_at,
       suppression_scopes(m.channel, c.subscription_topic_id)::text[] AS scopes,
       coalesce(u.suppressed && suppression_scopes(m.channel, c.subscription_topic_id), false)::boolean AS suppressed,
       l.pair_interval_seconds, coalesce(other.last_at, 'epoch')::timestamptz AS last_message_at,
       k.capped, coalesce(cap.capped_until, 'epoch')::timestamptz AS capped_until,
       p.id AS portfolio_id, p.messaging_limit, coalesce(place.frees_at, 'epoch')::timestamptz AS place_frees_at,
       EXISTS (SELECT 1 FROM subscriptions s WHERE s.topic_id = c.subscription_topic_id AND s.user_id = m.user_id) AS subscribed,
       tv.content, sn.address AS sender,
       c.window_policy, tv.category, tv.collapse_whitespace, u.region, m.error_code,
       (SELECT jsonb_agg(to_jsonb(v) - 'variables' ORDER BY v.position) FROM template_variants v
        WHERE v.template_id = tv.template_id AND v.version = tv.version)::jsonb AS variants
FROM messages m
JOIN campaign_runs r ON r.id = m.run_id
JOIN campaigns c ON c.id = r.campaign_id
LEFT JOIN run_steps st ON st.run_id = m.run_id AND st.number = m.step
JOIN template_versions tv ON tv.template_id = coalesce(st.template_id, r.template_id) AND tv.version = coalesce(st.template_version, r.template_version)
JOIN senders sn ON sn.id = r.sender_id
CROSS JOIN account_limits l
CROSS JOIN LATERAL (SELECT (c.priority = 'bulk' AND num_nonnulls(c.frequency_cap_count, l.person_messages_per_day, l.person_messages_per_week,
    l.person_topic_messages_per_day, l.person_topic_messages_per_week) > 0)::boolean AS capped) k
LEFT JOIN LATERAL (SELECT reached_at(o.state, o.accepted_at, o.updated_at) AS last_at FROM messages o
    WHERE l.pair_interval_seconds > 0 AND o.user_id = m.user_id AND o.id <> m.id AND o.reply IS NULL AND o.state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown')
    ORDER BY 1 DESC LIMIT 1) other ON true
LEFT JOIN LATERAL (SELECT capped_until(m.user_id, c.id, m.id) WHERE k.capped) cap ON true
LEFT JOIN portfolios p ON p.id = sn.portfolio_id AND p.messaging_limit IS NOT NULL
LEFT JOIN LATERAL (SELECT x.until AS frees_at FROM portfolio_places x
    WHERE p.places_taken >= p.messaging_limit AND x.portfolio_id = p.id
      AND NOT EXISTS (SELECT 1 FROM portfolio_places mine WHERE mine.portfolio_id = p.id AND mine.user_id = m.user_id)
    ORDER BY x.until OFFSET greatest(p.places_taken - p.messaging_limit, 0) LIMIT 1) place ON true
LEFT JOIN users u ON u.id = m.user_id
WHERE m.run_id = @run_id AND m.seq = @seq;

-- name: DeliveriesPlanned :many
-- What DeliveryGet would say of each of these people, were the campaign triggered: column for column the same, so that a
-- send and its forecast judge by the same things.
SELECT coalesce(m.id, '00000000-0000-0000-0000-000000000000')::uuid AS id, 'pending'::text AS state, ''::text AS reason, m.waits_until, u.id AS user_id, t.channel, m.accepted_at, 0::smallint AS attempt_count, m.variables, m.reply, c.created_at,
       0::bigint AS run_id, 0::integer AS run_number, c.id AS campaign_id, coalesce(sn.id, 0)::integer AS sender_id, false::boolean AS test, (c.trigger = 'invitation')::boolean AS invitation,
       c.schedule_local_time::text AS schedule_local_time, c.start_within_minutes, @began_at::timestamptz AS began_at,
       c.status AS campaign_status, c.rate_limit_per_second, c.priority, c.quiet_start, c.quiet_end, c.timezone, c.subscription_topic_id,
       u.phone_number, u.attributes, u.consent_state, u.zones, u.jurisdiction, u.last_inbound_at,
       suppression_scopes(t.channel, c.subscription_topic_id)::text[] AS scopes,
       coalesce(u.suppressed && suppression_scopes(t.channel, c.subscription_topic_id), false)::boolean AS suppressed,
       l.pair_interval_seconds, coalesce(other.last_at, 'epoch')::timestamptz AS last_message_at,
       k.capped, coalesce(cap.capped_until, 'epoch')::timestamptz AS capped_until,
       p.id AS portfolio_id, p.messaging_limit, coalesce(place.frees_at, 'epoch')::timestamptz AS place_frees_at,
       EXISTS (SELECT 1 FROM subscriptions s WHERE s.topic_id = c.subscription_topic_id AND s.user_id = u.id) AS subscribed,
       tv.content, coalesce(sn.address, '')::text AS sender,
       c.window_policy, tv.category, tv.collapse_whitespace, u.region, m.error_code,
       (SELECT jsonb_agg(to_jsonb(v) - 'variables' ORDER BY v.position) FROM template_variants v
        WHERE v.template_id = tv.template_id AND v.version = tv.version)::jsonb AS variants
FROM campaigns c
JOIN templates t ON t.id = c.template_id
JOIN template_versions tv ON tv.template_id = t.id AND tv.version = t.version
LEFT JOIN senders sn ON sn.id = (SELECT max(n.id) FROM senders n WHERE n.channel = t.channel)
CROSS JOIN account_limits l
CROSS JOIN LATERAL (SELECT (c.priority = 'bulk' AND num_nonnulls(c.frequency_cap_count, l.person_messages_per_day, l.person_messages_per_week,
    l.person_topic_messages_per_day, l.person_topic_messages_per_week) > 0)::boolean AS capped) k
CROSS JOIN unnest(@user_ids::bigint[]) who(id)
LEFT JOIN LATERAL (SELECT reached_at(o.state, o.accepted_at, o.updated_at) AS last_at FROM messages o
    WHERE l.pair_interval_seconds > 0 AND o.user_id = who.id AND o.reply IS NULL AND o.state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown')
    ORDER BY 1 DESC LIMIT 1) other ON true
LEFT JOIN LATERAL (SELECT capped_until(who.id, c.id, '00000000-0000-0000-0000-000000000000') WHERE k.capped) cap ON true
LEFT JOIN portfolios p ON p.id = sn.portfolio_id AND p.messaging_limit IS NOT NULL
LEFT JOIN LATERAL (SELECT x.until AS frees_at FROM portfolio_places x
    WHERE p.places_taken >= p.messaging_limit AND x.portfolio_id = p.id
      AND NOT EXISTS (SELECT 1 FROM portfolio_places mine WHERE mine.portfolio_id = p.id AND mine.user_id = who.id)
    ORDER BY x.until OFFSET greatest(p.places_taken - p.messaging_limit, 0) LIMIT 1) place ON true
LEFT JOIN users u ON u.id = who.id
LEFT JOIN messages m ON false
WHERE c.id = @campaign_id;

-- name: MessageWait :execrows
-- Only while the campaign, its window policy and the portfolio's limit are what the wait was judged by; whoever changes
-- those tells whoever waits already, not whoever comes after.
WITH m AS (
    UPDATE messages SET reason = @reason, waits_until = @until, updated_at = @now
    FROM campaigns c
    WHERE messages.id = @id AND state = 'pending' AND c.id = @campaign_id AND c.status = @campaign_status
      AND coalesce(c.quiet_start, 0) = sqlc.arg(quiet_start)::integer
      AND coalesce(c.quiet_end, 0) = sqlc.arg(quiet_end)::integer
      AND c.priority = @priority
      AND (@reason <> 'messaging_tier' OR EXISTS (SELECT 1 FROM campaign_runs r JOIN senders s ON s.id = r.sender_id JOIN portfolios p ON p.id = s.portfolio_id
          WHERE r.id = messages.run_id AND p.id = sqlc.arg(portfolio_id)::integer AND p.messaging_limit = sqlc.arg(messaging_limit)::integer))
      AND c.window_policy = @window_policy
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
-- statement, and locking in the order campaign, person, portfolio, message, it looks at what may have changed, the
-- campaign's status, the person's consent and suppressions and what else was sent to them, and holds them until the
-- attempt is recorded.
WITH gate AS MATERIALIZED (
    SELECT campaign_gate(@campaign_id) AS status
), person AS MATERIALIZED (
    SELECT u.id, u.consent_state, coalesce(u.suppressed && @scopes::text[], u.suppressed <> '{}') AS suppressed
    FROM gate JOIN users u ON u.id = @user_id WHERE gate.status = ANY(@sending_statuses::text[]) FOR NO KEY UPDATE OF u
), room AS MATERIALIZED (
    SELECT person.consent_state, person.suppressed,
        CASE WHEN @limited::boolean AND person.consent_state = ANY(@sendable_consents::text[]) AND NOT person.suppressed
        THEN send_room(person.id, @campaign_id, @message_id, @pair_seconds, @capped, @portfolio_id, @now) ELSE '' END AS refusal
    FROM person
), m AS (
    UPDATE messages SET state = 'sending', reason = '', waits_until = NULL, attempt_count = attempt_count + 1, updated_at = @now
    FROM room WHERE messages.id = @message_id AND state = 'pending' AND room.consent_state = ANY(@sendable_consents::text[])
      AND NOT room.suppressed AND room.refusal = ''
    RETURNING messages.id, attempt_count
), a AS (
    INSERT INTO attempts (id, message_id, number, state, lease_until, started_at, granted_at, body_sha256, content_sid)
    SELECT @attempt_id, m.id, m.attempt_count, 'open', @lease_until, @now, @granted_at, @body_sha256, sqlc.narg(content_sid) FROM m RETURNING attempts.id, attempts.message_id
), k AS (
    INSERT INTO compliance_checks (message_id, attempt_id, action, reason, steps, created_at)
    SELECT a.message_id, a.id, 'proceed', '', @steps, @now FROM a
)
SELECT coalesce((SELECT status FROM gate), '')::text AS campaign_status, coalesce((SELECT consent_state FROM person), '')::text AS consent_state,
       coalesce((SELECT suppressed FROM person), false)::boolean AS suppressed,
       coalesce((SELECT refusal FROM room), '')::text AS refusal,
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
SELECT id, number, lease_until, started_at, body_sha256, content_sid, looks, failed_looks FROM attempts WHERE message_id = @message_id AND state = 'open';

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
