-- name: UserConsentCounts :many
SELECT consent_state, count(*) AS users FROM users GROUP BY consent_state;

-- name: CampaignStatusCounts :many
SELECT status, count(*) AS campaigns FROM campaigns WHERE reply_sender_id IS NULL GROUP BY status;

-- name: MessagesRecent :one
-- What happened since a moment. updated_at is never before the times it is asked with, and has the index.
SELECT count(*) FILTER (WHERE state IN ('sent', 'delivered', 'read', 'undelivered') AND coalesce(sent_at, delivered_at, ended_at) >= @since::timestamptz) AS sent,
       count(*) FILTER (WHERE state IN ('delivered', 'read') AND coalesce(sent_at, delivered_at) >= @since::timestamptz) AS delivered,
       count(*) FILTER (WHERE state IN ('failed', 'undelivered') AND ended_at >= @since::timestamptz) AS failed
FROM messages WHERE updated_at >= @since::timestamptz;

-- name: MessageStatesEver :many
SELECT state, count(*) AS messages FROM messages GROUP BY state;

-- name: MessageErrorsRecent :many
SELECT m.id, m.error_code, m.updated_at, u.phone_number, r.campaign_id
FROM messages m
JOIN campaign_runs r ON r.id = m.run_id
LEFT JOIN users u ON u.id = m.user_id
WHERE m.error_code IS NOT NULL
ORDER BY m.id DESC LIMIT @at_most;

-- name: RunAverageSeconds :one
-- Over completed campaigns; no row when there is none.
SELECT avg(extract(epoch FROM r.finished_at - greatest(r.started_at, r.not_before)))::float8 AS seconds
FROM campaign_runs r JOIN campaigns c ON c.id = r.campaign_id
WHERE c.status = 'COMPLETED' AND r.finished_at IS NOT NULL AND r.kind <> 'test' HAVING count(*) > 0;

-- name: InboundCount :one
SELECT count(*) FROM inbound_messages WHERE received_at >= @since;

-- name: InboundList :many
SELECT i.id, i.channel, i.intent, i.body, i.media_count, i.repeats, i.received_at, u.phone_number
FROM inbound_messages i LEFT JOIN users u ON u.id = i.user_id
WHERE i.received_at >= @since AND (sqlc.narg(before)::bigint IS NULL OR i.id < sqlc.narg(before))
ORDER BY i.id DESC LIMIT @at_most;

-- name: MessagesHistory :many
-- When messages of all campaigns were accepted, delivered, read and failed. updated_at is never before these times.
SELECT x.what::text AS what, date_bin(make_interval(secs => sqlc.arg(step_seconds)::integer), x.at, @since::timestamptz)::timestamptz AS at, count(*) AS messages
FROM messages m CROSS JOIN LATERAL (SELECT unnest(ARRAY['accepted', 'delivered', 'read', 'failed']) AS what,
    unnest(ARRAY[m.accepted_at, coalesce(m.delivered_at, m.read_at), m.read_at, CASE WHEN m.state IN ('failed', 'undelivered') THEN m.ended_at END]) AS at) x
WHERE m.updated_at >= @since::timestamptz AND x.at >= @since::timestamptz AND x.at < @until::timestamptz
GROUP BY 1, 2;

-- name: InboundHistory :many
SELECT date_bin(make_interval(secs => sqlc.arg(step_seconds)::integer), received_at, @since::timestamptz)::timestamptz AS at, count(*) AS messages
FROM inbound_messages WHERE received_at >= @since::timestamptz AND received_at < @until::timestamptz GROUP BY 1;

-- name: MessageErrorCodes :many
-- The provider's errors that messages met since a moment.
SELECT error_code, count(*) AS messages FROM messages
WHERE error_code IS NOT NULL AND updated_at >= @since::timestamptz AND coalesce(ended_at, updated_at) >= @since::timestamptz
GROUP BY error_code ORDER BY messages DESC, error_code LIMIT @at_most;

-- name: ReceiptsCount :one
SELECT count(*) FROM receipts WHERE received_at >= @since::timestamptz;

-- name: MessagesPace :one
-- What happened since a moment, and how long the provider took to deliver.
SELECT count(*) FILTER (WHERE accepted_at >= @since::timestamptz) AS accepted,
       count(*) FILTER (WHERE delivered_at >= @since::timestamptz) AS delivered,
       coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM delivered_at - accepted_at)) FILTER (WHERE delivered_at >= @since::timestamptz), 0)::float8 AS median_seconds,
       coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM delivered_at - accepted_at)) FILTER (WHERE delivered_at >= @since::timestamptz), 0)::float8 AS p95_seconds
FROM messages WHERE updated_at >= @since::timestamptz;
