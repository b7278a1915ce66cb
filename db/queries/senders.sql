-- name: SenderList :many
-- Every sender, newest first, or the one that is named.
SELECT s.id, s.channel, s.address, s.messages_per_second, t.slowed_at, t.slowed_rate,
       p.name AS portfolio, p.messaging_limit,
       (SELECT count(*) FROM portfolio_places x WHERE x.portfolio_id = p.id AND x.until > @now) AS recipients_reached,
       (SELECT count(*) FROM campaign_runs r JOIN campaigns c ON c.id = r.campaign_id
        WHERE r.sender_id = s.id AND r.finished_at IS NULL AND c.status = 'RUNNING') AS campaigns_running
FROM senders s LEFT JOIN throttles t ON t.key = 'sender/' || s.id
LEFT JOIN portfolios p ON p.id = s.portfolio_id
WHERE sqlc.narg(id)::integer IS NULL OR s.id = sqlc.narg(id)
ORDER BY s.id DESC;

-- name: SenderSetRate :exec
UPDATE senders SET messages_per_second = @messages_per_second WHERE id = @id;

-- name: AccountLimits :one
SELECT * FROM account_limits;

-- name: AccountLimitsLock :one
SELECT * FROM account_limits FOR NO KEY UPDATE;

-- name: AccountLimitsSet :exec
UPDATE account_limits SET messages_per_second = @messages_per_second, pair_interval_seconds = @pair_interval_seconds,
    person_messages_per_day = sqlc.narg(person_messages_per_day), person_messages_per_week = sqlc.narg(person_messages_per_week),
    person_topic_messages_per_day = sqlc.narg(person_topic_messages_per_day),
    person_topic_messages_per_week = sqlc.narg(person_topic_messages_per_week);
