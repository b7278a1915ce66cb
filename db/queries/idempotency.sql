-- name: IdempotencyLock :one
-- Two keys may share a lock, which then serves both in turn.
SELECT pg_try_advisory_xact_lock(hashtextextended(@name::text, 7165));

-- name: IdempotencyGet :one
SELECT request_sha256, response_status, response_type, response_body FROM idempotency_keys
WHERE principal = @principal AND key = @key AND created_at >= @since;

-- name: IdempotencySave :exec
-- An answer that is still there has expired: the lock kept everyone else away.
INSERT INTO idempotency_keys (principal, key, request_sha256, response_status, response_type, response_body, created_at)
VALUES (@principal, @key, @request_sha256, @response_status, @response_type, @response_body, @now)
ON CONFLICT (principal, key) DO UPDATE SET request_sha256 = excluded.request_sha256,
    response_status = excluded.response_status, response_type = excluded.response_type,
    response_body = excluded.response_body, created_at = excluded.created_at;

-- name: IdempotencyForget :exec
DELETE FROM idempotency_keys WHERE (principal, key) IN (
    SELECT old.principal, old.key FROM idempotency_keys old WHERE old.created_at < @since
    ORDER BY old.created_at LIMIT @at_most FOR UPDATE SKIP LOCKED);
