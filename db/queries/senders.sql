-- name: SenderList :many
-- Every sender, newest first, or the one that is named.
SELECT s.id, s.channel, s.address, s.messages_per_second, t.slowed_at, t.slowed_rate,
       (SELECT count(*) FROM campaign_runs r JOIN campaigns c ON c.id = r.campaign_id
        WHERE r.sender_id = s.id AND r.finished_at IS NULL AND c.status = 'RUNNING') AS campaigns_running
FROM senders s LEFT JOIN throttles t ON t.key = 'sender/' || s.id
WHERE sqlc.narg(id)::integer IS NULL OR s.id = sqlc.narg(id)
ORDER BY s.id DESC;

-- name: SenderRateLock :one
SELECT messages_per_second FROM senders WHERE id = @id FOR NO KEY UPDATE;

-- name: SenderSetRate :exec
UPDATE senders SET messages_per_second = @messages_per_second WHERE id = @id;

-- name: AccountRate :one
SELECT messages_per_second FROM account_limits;

-- name: AccountRateLock :one
SELECT messages_per_second FROM account_limits FOR NO KEY UPDATE;

-- name: AccountSetRate :exec
UPDATE account_limits SET messages_per_second = @messages_per_second;
