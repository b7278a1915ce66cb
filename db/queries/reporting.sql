-- name: RunTally :many
-- One pass over the run; every figure about its messages is a sum of these rows.
SELECT state, reason, error_code, count(*) AS messages,
       count(delivered_at) AS timed, coalesce(sum(extract(epoch FROM delivered_at - accepted_at)), 0)::float8 AS delivery_seconds
FROM messages WHERE run_id = @run_id GROUP BY state, reason, error_code;

-- name: RunPlaces :many
SELECT coalesce(u.region, '')::text AS region, left(coalesce(u.attributes ->> 'city', ''), 100)::text AS city, count(*) AS messages,
       count(*) FILTER (WHERE m.state IN ('delivered', 'read')) AS delivered
FROM messages m LEFT JOIN users u ON u.id = m.user_id
WHERE m.run_id = @run_id
GROUP BY 1, 2 ORDER BY messages DESC, 1, 2 LIMIT @at_most;

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
