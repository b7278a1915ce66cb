-- name: AccountInsert :one
INSERT INTO accounts (email, name, role, password_hash, created_at)
VALUES (@email, @name, @role, @password_hash, @now)
RETURNING *;

-- name: AccountGet :one
SELECT * FROM accounts WHERE id = @id;

-- name: AccountLock :one
SELECT * FROM accounts WHERE id = @id FOR UPDATE;

-- name: AccountByEmail :one
SELECT * FROM accounts WHERE email = @email;

-- name: AccountList :many
SELECT * FROM accounts ORDER BY id LIMIT 1000;

-- name: AccountsLock :exec
-- One transaction at a time decides by all accounts: which is the first, which the last admin.
SELECT pg_advisory_xact_lock(16, 0);

-- name: AccountAdmins :one
SELECT count(*) FROM accounts WHERE role = 'admin' AND disabled_at IS NULL;

-- name: AccountSetAccess :exec
UPDATE accounts SET role = @role, disabled_at = @disabled_at WHERE id = @id;

-- name: AccountSetPassword :exec
UPDATE accounts SET password_hash = @password_hash, name = @name WHERE id = @id;

-- name: AccountSetFactor :exec
UPDATE accounts SET totp_secret = @totp_secret, totp_step = @totp_step WHERE id = @id;

-- name: AccountSignedIn :exec
UPDATE accounts SET signed_in_at = @now WHERE id = @id;

-- name: RecoveryCodesDelete :exec
DELETE FROM recovery_codes WHERE account_id = @account_id;

-- name: RecoveryCodesInsert :exec
INSERT INTO recovery_codes (account_id, code_sha256) SELECT @account_id, unnest(@codes::bytea[]);

-- name: RecoveryCodeUse :execrows
DELETE FROM recovery_codes WHERE account_id = @account_id AND code_sha256 = @code_sha256;

-- name: RecoveryCodesLeft :one
SELECT count(*) FROM recovery_codes WHERE account_id = @account_id;

-- name: LinkInsert :exec
INSERT INTO account_links (token_sha256, kind, account_id, expires_at) VALUES (@token_sha256, @kind, @account_id, @expires_at);

-- name: LinkGet :one
SELECT * FROM account_links WHERE token_sha256 = @token_sha256 AND expires_at > @now;

-- name: LinkTake :one
DELETE FROM account_links WHERE token_sha256 = @token_sha256 AND expires_at > @now RETURNING *;

-- name: LinksDelete :exec
-- Those of an account, or with NULL those that make the first one; and whatever expired.
DELETE FROM account_links WHERE account_id IS NOT DISTINCT FROM sqlc.narg(account_id)::integer OR expires_at <= @now;

-- name: AccountUseStep :execrows
UPDATE accounts SET totp_step = @step WHERE id = @id AND totp_step < @step;
