-- name: ImportInsert :exec
INSERT INTO imports (id, file_name, format, default_region, status, total, created_by, created_at)
VALUES (@id, @file_name, @format, @default_region, 'PENDING', 0, @created_by, @now);

-- name: ImportSetTotal :exec
UPDATE imports SET total = @total WHERE id = @id;

-- name: ImportGet :one
SELECT * FROM imports WHERE id = @id;

-- name: ImportLock :one
SELECT * FROM imports WHERE id = @id FOR UPDATE;

-- name: ImportErrors :many
SELECT line, error_field, error_detail FROM import_rows
WHERE import_id = @import_id AND processed AND (sqlc.narg(after)::integer IS NULL OR line > sqlc.narg(after))
ORDER BY line LIMIT @at_most;

-- name: ImportRowsNext :many
SELECT line, data, error_field, error_detail FROM import_rows
WHERE import_id = @import_id AND NOT processed
ORDER BY line LIMIT @at_most;

-- name: ImportUsersLock :many
-- In the order of their ids, like everyone who locks several users.
SELECT id, phone_number, consent_state, attributes FROM users WHERE phone_number = ANY(@phone_numbers::text[])
ORDER BY id FOR UPDATE;

-- name: ImportUsersInsert :many
-- A number that someone else has added meanwhile is left out of the answer.
INSERT INTO users (phone_number, attributes, consent_state, region, zones, zone_source, created_at, updated_at)
SELECT x.phone_number, x.attributes, x.consent_state, x.region,
       CASE WHEN x.zones = '' THEN '{}'::text[] ELSE string_to_array(x.zones, ' ') END, x.zone_source, @now, @now
FROM (SELECT unnest(@phone_numbers::text[]) AS phone_number, unnest(@attributes::jsonb[]) AS attributes,
             unnest(@consent_states::text[]) AS consent_state, unnest(@regions::text[]) AS region,
             unnest(@zones::text[]) AS zones, unnest(@zone_sources::text[]) AS zone_source) x
ON CONFLICT (phone_number) DO NOTHING
RETURNING id, phone_number;

-- name: ImportUsersUpdate :exec
UPDATE users u SET attributes = x.attributes, consent_state = x.consent_state,
    zones = CASE WHEN x.zones = '' THEN '{}'::text[] ELSE string_to_array(x.zones, ' ') END,
    zone_source = x.zone_source, updated_at = @now
FROM (SELECT unnest(@ids::bigint[]) AS id, unnest(@attributes::jsonb[]) AS attributes,
             unnest(@consent_states::text[]) AS consent_state,
             unnest(@zones::text[]) AS zones, unnest(@zone_sources::text[]) AS zone_source) x
WHERE u.id = x.id;

-- name: ImportConsentEvents :exec
INSERT INTO consent_events (user_id, state, source, evidence, actor, created_at)
SELECT unnest(@user_ids::bigint[]), unnest(@states::text[]), 'import', unnest(@evidences::text[]), @actor, @now;

-- name: ImportRowsDone :exec
DELETE FROM import_rows WHERE import_id = @import_id AND line = ANY(@lines::integer[]);

-- name: ImportRowsRefuse :exec
-- The content goes: only what was wrong with it stays.
UPDATE import_rows r SET data = NULL, processed = true, error_field = x.field, error_detail = x.detail
FROM (SELECT unnest(@lines::integer[]) AS line, unnest(@fields::text[]) AS field, unnest(@details::text[]) AS detail) x
WHERE r.import_id = @import_id AND r.line = x.line;

-- name: ImportAdvance :exec
-- The counters are the new totals: the caller holds the row.
UPDATE imports SET status = @status, started_at = @started_at, completed_at = sqlc.narg(completed_at),
    processed = @processed, succeeded = @succeeded, failed = @failed, merged = @merged
WHERE id = @id;

-- name: ImportFail :execrows
UPDATE imports SET status = 'FAILED', status_reason = @status_reason, completed_at = @now
WHERE id = @id AND status IN ('PENDING', 'RUNNING');

-- name: ImportRowsDrop :exec
DELETE FROM import_rows WHERE import_id = @import_id AND NOT processed;
