-- name: UserInsert :one
INSERT INTO users (phone_number, attributes, consent_state, region, zones, zone_source, created_at, updated_at)
VALUES (@phone_number, @attributes, @consent_state, @region, @zones, @zone_source, @now, @now)
RETURNING *;

-- name: UserGet :one
SELECT * FROM users WHERE phone_number = @phone_number;

-- name: UserLock :one
SELECT * FROM users WHERE phone_number = @phone_number FOR UPDATE;

-- name: UserGetByID :one
SELECT * FROM users WHERE id = @id;

-- name: UserRegions :many
-- Leaps from one country to the next instead of reading everybody.
WITH RECURSIVE leap AS (
    (SELECT region FROM users ORDER BY region LIMIT 1)
    UNION ALL
    SELECT (SELECT u.region FROM users u WHERE u.region > leap.region ORDER BY u.region LIMIT 1) FROM leap WHERE leap.region IS NOT NULL
)
SELECT region::text FROM leap WHERE region <> '' ORDER BY region;

-- name: UserTimeline :many
-- What happened with a person, newest first; of what happened at the same time each kind has its place.
SELECT x.at::timestamptz AS at, x.place::text AS place, x.kind::text AS kind, x.state::text AS state, x.previous::text AS previous, x.source::text AS source,
       x.evidence::text AS evidence, x.wording::text AS wording, x.actor::text AS actor, x.channel::text AS channel, x.body::text AS body,
       x.about::text AS about, x.campaign_id::integer AS campaign_id, x.error_code::integer AS error_code, x.media_count::integer AS media_count
FROM (
    (SELECT e.created_at AS at, 'consent/' || lpad(e.id::text, 19, '0') AS place, 'consent' AS kind, e.state, lag(e.state, 1, '') OVER (ORDER BY e.id) AS previous, e.source,
            e.evidence, e.wording, e.actor, '' AS channel, '' AS body, '' AS about, 0 AS campaign_id, 0 AS error_code, 0 AS media_count
     FROM consent_events e WHERE e.user_id = @user_id)
    UNION ALL
    (SELECT s.created_at, 'topic/' || lpad(s.id::text, 19, '0'), 'topic', CASE WHEN s.subscribed THEN 'subscribed' ELSE 'unsubscribed' END, '', s.source,
            s.evidence, '', s.actor, '', '', t.name, 0, 0, 0
     FROM subscription_events s JOIN topics t ON t.id = s.topic_id WHERE s.user_id = @user_id)
    UNION ALL
    (SELECT coalesce(m.accepted_at, m.ended_at, m.created_at), 'message/' || m.id, 'message', m.state, m.reason, '', m.id::text, '', '', m.channel, '', c.topic,
            c.id, coalesce(m.error_code, 0), 0
     FROM messages m JOIN campaign_runs r ON r.id = m.run_id JOIN campaigns c ON c.id = r.campaign_id WHERE m.user_id = @user_id)
    UNION ALL
    (SELECT i.received_at, 'inbound/' || lpad(i.id::text, 19, '0'), 'inbound', i.intent, '', '', i.provider_sid, '', '', i.channel, i.body, '', 0, 0, i.media_count
     FROM inbound_messages i WHERE i.user_id = @user_id)
) x
WHERE sqlc.narg(before_at)::timestamptz IS NULL OR (x.at, x.place) < (sqlc.narg(before_at), @before_place::text)
ORDER BY x.at DESC, x.place DESC LIMIT @at_most;

-- name: UserTimelineCounts :one
SELECT (SELECT count(*) FROM consent_events e WHERE e.user_id = @user_id) + (SELECT count(*) FROM subscription_events s WHERE s.user_id = @user_id)
       AS decisions,
       (SELECT count(*) FROM messages m WHERE m.user_id = @user_id::bigint) AS messages,
       (SELECT count(*) FROM messages m WHERE m.user_id = @user_id::bigint AND m.state IN ('pending', 'sending')) AS waiting,
       (SELECT count(*) FROM inbound_messages i WHERE i.user_id = @user_id::bigint) AS inbound;

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
