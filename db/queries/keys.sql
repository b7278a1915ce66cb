-- name: KeyInsert :one
INSERT INTO api_keys (name, prefix, key_sha256, scopes, created_by, created_at)
VALUES (@name, @prefix, @key_sha256, @scopes, @created_by, @now)
RETURNING *;

-- name: KeyByHash :one
SELECT * FROM api_keys WHERE key_sha256 = @key_sha256;

-- name: KeyUsed :exec
UPDATE api_keys SET last_used_at = @now WHERE id = @id;

-- name: KeyList :many
SELECT * FROM api_keys
WHERE (sqlc.narg(after)::integer IS NULL OR id < sqlc.narg(after))
ORDER BY id DESC LIMIT @at_most;

-- name: KeyTotal :one
SELECT count(*) FROM api_keys;

-- name: KeyByName :one
SELECT * FROM api_keys WHERE name = @name;

-- name: KeyRevoke :one
UPDATE api_keys SET revoked_at = @now WHERE id = @id AND revoked_at IS NULL RETURNING *;
