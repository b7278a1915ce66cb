-- name: SuppressionsShare :exec
-- Before people are added: no number is suppressed while they are looked for in the list. Taken before people are locked.
SELECT pg_advisory_xact_lock_shared(2, 0);

-- name: SuppressionsOwn :exec
-- Before numbers are suppressed: nobody is being added who would be passed by. Taken before people are locked.
SELECT pg_advisory_xact_lock(2, 0);

-- name: SuppressionsExist :one
SELECT EXISTS (SELECT 1 FROM suppressions WHERE lifted_at IS NULL);

-- name: SuppressionsRekey :exec
-- Brings entries of these numbers that were made under an earlier key to the present one.
UPDATE suppressions s SET number_hmac = x.number_hmac, key_id = @key_id
FROM (SELECT unnest(@earlier_hmacs::bytea[]) AS earlier_hmac, unnest(@number_hmacs::bytea[]) AS number_hmac) x
WHERE s.number_hmac = x.earlier_hmac;

-- name: UsersSuppress :exec
-- Notes on people who were just added what their numbers are suppressed for.
WITH concerned AS (
    SELECT u.id, s.id AS suppression_id, s.scope
    FROM (SELECT unnest(@phone_numbers::text[]) AS phone_number, unnest(@number_hmacs::bytea[]) AS number_hmac) x
    JOIN suppressions s ON s.number_hmac = x.number_hmac AND s.lifted_at IS NULL
    JOIN users u ON u.phone_number = x.phone_number
), named AS (
    UPDATE suppressions s SET user_id = c.id FROM concerned c WHERE s.id = c.suppression_id AND s.user_id IS DISTINCT FROM c.id
)
UPDATE users u SET suppressed = c.scopes
FROM (SELECT concerned.id, array_agg(scope ORDER BY scope) AS scopes FROM concerned GROUP BY concerned.id) c
WHERE u.id = c.id;

-- name: UsersByNumberLock :many
-- In the order of their ids, like everyone who locks several users.
SELECT id, phone_number FROM users WHERE phone_number = ANY(@phone_numbers::text[]) ORDER BY id FOR UPDATE;

-- name: UserByIDLock :exec
SELECT id FROM users WHERE id = @id FOR UPDATE;

-- name: SuppressionsAdd :many
-- A number that is suppressed for the scope already is left out of the answer.
INSERT INTO suppressions (number_hmac, key_id, scope, user_id, reason, evidence, source, actor, created_at)
SELECT x.number_hmac, @key_id, x.scope, nullif(x.user_id, 0), x.reason, x.evidence, @source, @actor, @now
FROM (SELECT unnest(@number_hmacs::bytea[]) AS number_hmac, unnest(@scopes::text[]) AS scope, unnest(@user_ids::bigint[]) AS user_id,
             unnest(@reasons::text[]) AS reason, unnest(@evidences::text[]) AS evidence) x
ON CONFLICT (number_hmac, scope) WHERE lifted_at IS NULL DO NOTHING
RETURNING *;

-- name: UsersSuppressAgain :exec
-- Counts anew what these people, whose rows the caller holds, are suppressed for.
UPDATE users u SET suppressed = coalesce((
    SELECT array_agg(s.scope ORDER BY s.scope) FROM suppressions s WHERE s.user_id = u.id AND s.lifted_at IS NULL), '{}')
WHERE u.id = ANY(@user_ids::bigint[]);

-- name: SuppressionGet :one
SELECT sqlc.embed(s), u.phone_number FROM suppressions s LEFT JOIN users u ON u.id = s.user_id WHERE s.id = @id;

-- name: SuppressionLift :one
UPDATE suppressions SET lifted_at = @now, lifted_by = @lifted_by, lifted_evidence = @lifted_evidence
WHERE id = @id AND lifted_at IS NULL RETURNING *;

-- name: SuppressionsOfErasureLift :execrows
-- A person whose number was suppressed because they were erased asks, by themselves, to be written to again.
UPDATE suppressions SET lifted_at = @now, lifted_by = @lifted_by, lifted_evidence = @lifted_evidence
WHERE user_id = @user_id::bigint AND source = 'erasure' AND lifted_at IS NULL;

-- name: SuppressionList :many
SELECT sqlc.embed(s), u.phone_number
FROM suppressions s LEFT JOIN users u ON u.id = s.user_id
WHERE (@with_lifted::boolean OR s.lifted_at IS NULL)
  AND (sqlc.narg(scope)::text IS NULL OR s.scope = sqlc.narg(scope))
  AND (sqlc.narg(number_hmac)::bytea IS NULL OR s.number_hmac = sqlc.narg(number_hmac))
  AND (sqlc.narg(before)::bigint IS NULL OR s.id < sqlc.narg(before))
ORDER BY s.id DESC LIMIT @at_most;

-- name: SuppressionCount :one
SELECT count(*) FROM suppressions s
WHERE (@with_lifted::boolean OR s.lifted_at IS NULL)
  AND (sqlc.narg(scope)::text IS NULL OR s.scope = sqlc.narg(scope))
  AND (sqlc.narg(number_hmac)::bytea IS NULL OR s.number_hmac = sqlc.narg(number_hmac));

-- name: SuppressionKeys :many
-- The keys that entries were made under. Lifted ones count as well: they are evidence.
SELECT DISTINCT key_id FROM suppressions;

-- name: TopicIDsKnown :many
SELECT id FROM topics WHERE id = ANY(@ids::integer[]);
