-- name: KeyInsert :one
INSERT INTO api_keys (name, prefix, key_sha256, scopes, created_at)
VALUES (@name, @prefix, @key_sha256, @scopes, @now)
RETURNING id;

-- name: KeyByHash :one
SELECT * FROM api_keys WHERE key_sha256 = @key_sha256;

-- name: KeyUsed :exec
UPDATE api_keys SET last_used_at = @now WHERE id = @id;

-- name: KeyList :many
SELECT * FROM api_keys ORDER BY id DESC;

-- name: KeyRevoke :one
UPDATE api_keys SET revoked_at = @now WHERE name = @name AND revoked_at IS NULL RETURNING id;
