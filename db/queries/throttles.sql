-- name: ThrottlesEnsure :exec
INSERT INTO throttles (key, next_grant_at) SELECT unnest(@keys::text[]), @now ON CONFLICT (key) DO NOTHING;

-- name: ThrottlesLock :many
-- The limits that bound the sends of some campaigns through one sender, each with the rate that is configured now.
SELECT t.key, t.next_grant_at, t.slowed_at, t.slowed_rate, l.rate, l.campaign_id, l.urgent
FROM throttles t JOIN (
    SELECT 'account' AS key, a.messages_per_second AS rate, 0 AS campaign_id, false AS urgent FROM account_limits a
    UNION ALL
    SELECT 'sender/' || s.id, s.messages_per_second, 0, false FROM senders s WHERE s.id = @sender_id
    UNION ALL
    SELECT 'campaign/' || c.id, c.rate_limit_per_second, c.id, c.priority = 'transactional' FROM campaigns c WHERE c.id = ANY(@campaign_ids::integer[])
) l ON l.key = t.key
ORDER BY t.key FOR UPDATE OF t;

-- name: ThrottlesSave :exec
UPDATE throttles t SET next_grant_at = x.next_grant_at
FROM (SELECT unnest(@keys::text[]) AS key, unnest(@next_grants_at::timestamptz[]) AS next_grant_at) x WHERE t.key = x.key;

-- name: ThrottleSlow :exec
UPDATE throttles SET next_grant_at = @next_grant_at, slowed_at = @slowed_at, slowed_rate = @slowed_rate WHERE key = @key;
