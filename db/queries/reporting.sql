-- name: RunTally :many
-- One pass over the run; every figure about its messages is a sum of these rows. waits_until is Go's zero time for none.
SELECT state, reason, error_code, count(*) AS messages,
       coalesce(min(waits_until) FILTER (WHERE state = 'pending'), '0001-01-01 00:00:00+00')::timestamptz AS waits_until,
       count(delivered_at) AS timed, coalesce(sum(extract(epoch FROM delivered_at - accepted_at)), 0)::float8 AS delivery_seconds
FROM messages WHERE run_id = @run_id GROUP BY state, reason, error_code;

-- name: RunPlaces :many
SELECT coalesce(u.region, '')::text AS region, left(coalesce(u.attributes ->> 'city', ''), 100)::text AS city, count(*) AS messages,
       count(*) FILTER (WHERE m.state IN ('delivered', 'read')) AS delivered
FROM messages m LEFT JOIN users u ON u.id = m.user_id
WHERE m.run_id = @run_id
GROUP BY 1, 2 ORDER BY messages DESC, 1, 2 LIMIT @at_most;

-- name: RunRegions :many
SELECT coalesce(u.region, '')::text AS region, count(*) AS messages, count(*) FILTER (WHERE m.state IN ('delivered', 'read')) AS delivered
FROM messages m LEFT JOIN users u ON u.id = m.user_id
WHERE m.run_id = @run_id
GROUP BY 1 ORDER BY messages DESC, 1 LIMIT @at_most;

-- name: RunHistory :many
-- When the run's messages were accepted, delivered, read and failed, in steps of time from since on.
SELECT x.what::text AS what, date_bin(make_interval(secs => sqlc.arg(step_seconds)::integer), x.at, @since::timestamptz)::timestamptz AS at, count(*) AS messages
FROM messages m CROSS JOIN LATERAL (SELECT unnest(ARRAY['accepted', 'delivered', 'read', 'failed']) AS what,
    unnest(ARRAY[m.accepted_at, coalesce(m.delivered_at, m.read_at), m.read_at, CASE WHEN m.state IN ('failed', 'undelivered') THEN m.ended_at END]) AS at) x
WHERE m.run_id = @run_id AND x.at >= @since::timestamptz AND x.at < @until::timestamptz
GROUP BY 1, 2;

-- name: RunReplies :many
-- What people of the run wrote within a while after their message was accepted, by what the engine took it for.
SELECT i.intent, count(DISTINCT i.user_id) AS people, count(DISTINCT i.id) AS messages
FROM inbound_messages i JOIN messages m ON m.run_id = @run_id AND m.user_id = i.user_id
WHERE i.received_at >= m.accepted_at AND i.received_at < m.accepted_at + make_interval(secs => sqlc.arg(within_seconds)::integer)
  AND i.received_at >= @since::timestamptz AND i.received_at < @until::timestamptz
GROUP BY i.intent;

-- name: RunRepliesPeople :one
SELECT count(DISTINCT i.user_id) FROM inbound_messages i JOIN messages m ON m.run_id = @run_id AND m.user_id = i.user_id
WHERE i.received_at >= m.accepted_at AND i.received_at < m.accepted_at + make_interval(secs => sqlc.arg(within_seconds)::integer)
  AND i.received_at >= @since::timestamptz AND i.received_at < @until::timestamptz;

-- name: RunRepliesList :many
SELECT i.id, i.channel, i.intent, i.body, i.media_count, i.repeats, i.received_at, u.phone_number
FROM inbound_messages i JOIN users u ON u.id = i.user_id
WHERE i.received_at >= @since::timestamptz AND i.received_at < @until::timestamptz AND (sqlc.narg(before)::bigint IS NULL OR i.id < sqlc.narg(before))
  AND EXISTS (SELECT 1 FROM messages m WHERE m.run_id = @run_id AND m.user_id = i.user_id AND m.accepted_at <= i.received_at
    AND i.received_at < m.accepted_at + make_interval(secs => sqlc.arg(within_seconds)::integer))
ORDER BY i.id DESC LIMIT @at_most;

-- name: RunOptOuts :one
-- People of the run's audience who withdrew their consent within a span of time.
SELECT count(DISTINCT e.user_id) FROM consent_events e
JOIN messages m ON m.run_id = @run_id AND m.user_id = e.user_id
WHERE e.state IN ('OPT_OUT', 'STOP') AND e.created_at >= @since AND e.created_at <= @until;

-- name: RunWaits :many
-- How many of the run's messages ever waited, and how often they did, by reason.
SELECT k.reason, count(DISTINCT k.message_id) AS messages, count(*) AS waits
FROM compliance_checks k JOIN messages m ON m.id = k.message_id
WHERE m.run_id = @run_id AND k.action = 'wait' GROUP BY k.reason;
