-- name: AuditInsert :exec
INSERT INTO audit_events (principal, action, subject, detail, address, created_at)
VALUES (@principal, @action, @subject, @detail, @address, @now);

-- name: AuditList :many
SELECT * FROM audit_events e
WHERE (sqlc.narg(principal)::text IS NULL OR e.principal = sqlc.narg(principal))
  AND (sqlc.narg(action)::text IS NULL OR e.action = sqlc.narg(action))
  AND (sqlc.narg(subject)::text IS NULL OR e.subject = sqlc.narg(subject))
  AND (sqlc.narg(since)::timestamptz IS NULL OR e.created_at >= sqlc.narg(since))
  AND (sqlc.narg(until)::timestamptz IS NULL OR e.created_at < sqlc.narg(until))
  AND (sqlc.narg(after)::bigint IS NULL
       OR (e.created_at, e.id) < (SELECT b.created_at, b.id FROM audit_events b WHERE b.id = sqlc.narg(after)))
ORDER BY e.created_at DESC, e.id DESC
LIMIT @at_most;

-- name: AuditTotal :one
SELECT count(*) FROM audit_events e
WHERE (sqlc.narg(principal)::text IS NULL OR e.principal = sqlc.narg(principal))
  AND (sqlc.narg(action)::text IS NULL OR e.action = sqlc.narg(action))
  AND (sqlc.narg(subject)::text IS NULL OR e.subject = sqlc.narg(subject))
  AND (sqlc.narg(since)::timestamptz IS NULL OR e.created_at >= sqlc.narg(since))
  AND (sqlc.narg(until)::timestamptz IS NULL OR e.created_at < sqlc.narg(until));

-- name: AuditActions :many
-- Every action there is, by one look into the index for each.
WITH RECURSIVE found AS (
    (SELECT e.action FROM audit_events e ORDER BY e.action LIMIT 1)
    UNION ALL
    SELECT (SELECT e.action FROM audit_events e WHERE e.action > f.action ORDER BY e.action LIMIT 1) FROM found f WHERE f.action IS NOT NULL
)
SELECT f.action::text FROM found f WHERE f.action IS NOT NULL;

-- name: AuditPrincipals :many
WITH RECURSIVE found AS (
    (SELECT e.principal FROM audit_events e ORDER BY e.principal LIMIT 1)
    UNION ALL
    SELECT (SELECT e.principal FROM audit_events e WHERE e.principal > f.principal ORDER BY e.principal LIMIT 1) FROM found f WHERE f.principal IS NOT NULL
)
SELECT f.principal::text FROM found f WHERE f.principal IS NOT NULL;
