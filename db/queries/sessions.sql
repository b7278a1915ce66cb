-- name: SessionInsert :exec
INSERT INTO sessions (id, token_sha256, account_id, half, created_at, seen_at, expires_at, address, browser)
VALUES (@id, @token_sha256, @account_id, @half, @now, @now, @expires_at, @address, @browser);

-- name: SessionByToken :one
SELECT sqlc.embed(s), sqlc.embed(a) FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.token_sha256 = @token_sha256;

-- name: SessionSeen :exec
UPDATE sessions SET seen_at = @now WHERE id = @id;

-- name: SessionRotate :execrows
UPDATE sessions SET token_sha256 = @token_sha256 WHERE id = @id;

-- name: SessionList :many
SELECT * FROM sessions WHERE account_id = @account_id AND NOT half AND expires_at > @now AND seen_at > @idle_since
ORDER BY created_at DESC, id LIMIT 100;

-- name: SessionDelete :execrows
DELETE FROM sessions WHERE id = @id AND account_id = @account_id;

-- name: SessionsDelete :execrows
-- Of an account, all but the one to keep.
DELETE FROM sessions WHERE account_id = @account_id AND id IS DISTINCT FROM sqlc.narg(keep)::uuid;

-- name: SessionsExpire :exec
DELETE FROM sessions WHERE id IN (SELECT e.id FROM sessions e WHERE e.expires_at <= @now LIMIT 100 FOR UPDATE SKIP LOCKED);

-- name: TryCount :one
-- Counts a try before it is made, so that no two can pass as the last one.
INSERT INTO sign_in_tries AS t (subject, tries, since) VALUES (@subject, 1, @now)
ON CONFLICT (subject) DO UPDATE SET
    tries = CASE WHEN t.since <= @window_since THEN 1 ELSE t.tries + 1 END,
    since = CASE WHEN t.since <= @window_since THEN @now ELSE t.since END
RETURNING tries, since;

-- name: TriesForget :exec
DELETE FROM sign_in_tries WHERE subject = @subject;

-- name: TryTakeBack :exec
UPDATE sign_in_tries SET tries = tries - 1 WHERE subject = @subject AND tries > 0;

-- name: TriesExpire :exec
DELETE FROM sign_in_tries WHERE subject IN (SELECT e.subject FROM sign_in_tries e WHERE e.since <= @window_since LIMIT 100 FOR UPDATE SKIP LOCKED);
