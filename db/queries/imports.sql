-- name: ImportInsert :exec
INSERT INTO imports (id, file_name, format, default_region, policy, dry_run, invite, mapping, comma, header, status, total, created_by, created_at)
VALUES (@id, @file_name, @format, @default_region, @policy, @dry_run, @invite, @mapping, @comma, @header, 'PENDING', 0, @created_by, @now);

-- name: ImportSetTotal :exec
-- Rows that cannot be read are settled when they are stored.
UPDATE imports SET total = @total, processed = @failed, failed = @failed WHERE id = @id;

-- name: ImportChunkInsert :exec
INSERT INTO import_chunks (import_id, number, lines, records) VALUES (@import_id, @number, @lines, @records);

-- name: ImportErrorsInsert :exec
INSERT INTO import_errors (import_id, line, field, detail, record)
SELECT @import_id, unnest(@lines::integer[]), unnest(@fields::text[]), unnest(@details::text[]), unnest(@records::text[]);

-- name: ImportGet :one
SELECT * FROM imports WHERE id = @id;

-- name: ImportErrors :many
SELECT line, field, detail, record FROM import_errors
WHERE import_id = @import_id AND (sqlc.narg(after)::integer IS NULL OR line > sqlc.narg(after))
ORDER BY line LIMIT @at_most;

-- name: ImportErrorsForget :exec
-- Digits of a number say it however it is written. Everything is looked at: there is no other trace of whose row it was.
UPDATE import_errors SET record = ''
WHERE record <> '' AND position(@digits::text IN regexp_replace(record, '[^0-9]', '', 'g')) > 0;

-- name: ImportChunkNext :one
SELECT number, lines, records, revision FROM import_chunks
WHERE import_id = @import_id AND number > @after
ORDER BY number LIMIT 1;

-- name: ImportChunkTake :execrows
-- Whoever deletes a chunk takes it in. Others wait for the outcome and find nothing left, and so does whoever read it
-- before it changed.
DELETE FROM import_chunks WHERE import_id = @import_id AND number = @number AND revision = @revision;

-- name: ImportUsersInsert :many
-- A number that is known, or that someone else has just added, is left out of the answer.
INSERT INTO users (phone_number, attributes, consent_state, region, zones, zone_source, created_at, updated_at)
SELECT x.phone_number, x.attributes, x.consent_state, x.region,
       CASE WHEN x.zones = '' THEN '{}'::text[] ELSE string_to_array(x.zones, ' ') END, x.zone_source, @now, @now
FROM (SELECT unnest(@phone_numbers::text[]) AS phone_number, unnest(@attributes::jsonb[]) AS attributes,
             unnest(@consent_states::text[]) AS consent_state, unnest(@regions::text[]) AS region,
             unnest(@zones::text[]) AS zones, unnest(@zone_sources::text[]) AS zone_source) x
ON CONFLICT (phone_number) DO NOTHING
RETURNING id, phone_number;

-- name: ImportUsersLock :many
-- In the order of their ids, like everyone who locks several users.
SELECT id, phone_number, consent_state, attributes FROM users WHERE phone_number = ANY(@phone_numbers::text[])
ORDER BY id FOR UPDATE;

-- name: ImportUsersUpdate :exec
UPDATE users u SET attributes = x.attributes, consent_state = x.consent_state,
    zones = CASE WHEN x.zones = '' THEN '{}'::text[] ELSE string_to_array(x.zones, ' ') END,
    zone_source = x.zone_source, updated_at = @now
FROM (SELECT unnest(@ids::bigint[]) AS id, unnest(@attributes::jsonb[]) AS attributes,
             unnest(@consent_states::text[]) AS consent_state,
             unnest(@zones::text[]) AS zones, unnest(@zone_sources::text[]) AS zone_source) x
WHERE u.id = x.id;

-- name: ImportUsersKnown :many
SELECT phone_number, attributes FROM users WHERE phone_number = ANY(@phone_numbers::text[]);

-- name: ImportConsentEvents :exec
INSERT INTO consent_events (user_id, state, source, evidence, actor, created_at)
SELECT unnest(@user_ids::bigint[]), unnest(@states::text[]), 'import', unnest(@evidences::text[]), @actor, @now;

-- name: ImportNumbersInsert :execrows
-- Answers how many the import had not met before.
INSERT INTO import_numbers (import_id, number_hash)
SELECT @import_id, hashtextextended(n, 0) FROM unnest(@phone_numbers::text[]) n
ON CONFLICT DO NOTHING;

-- name: ImportNumbersMet :many
SELECT n::text FROM unnest(@phone_numbers::text[]) n
WHERE EXISTS (SELECT FROM import_numbers WHERE import_id = @import_id AND number_hash = hashtextextended(n, 0));

-- name: ImportNumbersForget :exec
DELETE FROM import_numbers WHERE import_id = @import_id;

-- name: ImportAdvance :execrows
-- None when the import is over. Last in its transaction: others add to the same counters.
UPDATE imports i SET status = 'RUNNING', started_at = coalesce(i.started_at, @now), processed = i.processed + x.succeeded + x.failed + x.skipped,
    succeeded = i.succeeded + x.succeeded, failed = i.failed + x.failed, skipped = i.skipped + x.skipped, merged = i.merged + x.merged
FROM (SELECT @succeeded::integer AS succeeded, @failed::integer AS failed, @skipped::integer AS skipped, @merged::integer AS merged) x
WHERE i.id = @id AND i.status IN ('PENDING', 'RUNNING');

-- name: ImportFinish :execrows
UPDATE imports SET status = 'COMPLETED', started_at = coalesce(started_at, @now), completed_at = @now
WHERE id = @id AND status IN ('PENDING', 'RUNNING') AND NOT EXISTS (SELECT FROM import_chunks WHERE import_id = @id);

-- name: ImportFail :execrows
UPDATE imports SET status = 'FAILED', status_reason = @status_reason, completed_at = @now
WHERE id = @id AND status IN ('PENDING', 'RUNNING');

-- name: ImportChunksDrop :exec
DELETE FROM import_chunks WHERE import_id = @import_id;
