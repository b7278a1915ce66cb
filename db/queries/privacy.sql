-- name: UserMessagesLock :exec
-- Messages before their attempts and receipts, in the order of their ids, like everyone who locks several. A receipt that
-- is just being taken in is complete afterwards.
SELECT id FROM messages WHERE user_id = @user_id::bigint ORDER BY id FOR UPDATE;

-- name: UserReceiptsScrub :exec
UPDATE receipts SET payload = '{}'
WHERE attempt_id IN (SELECT a.id FROM attempts a JOIN messages m ON m.id = a.message_id WHERE m.user_id = @user_id::bigint);

-- name: ForeignReceiptsScrub :exec
-- Callbacks that found no attempt and name the number.
UPDATE receipts SET payload = '{}' WHERE attempt_id IS NULL AND position(@digits::text IN payload::text) > 0;

-- name: UserInboundScrub :exec
UPDATE inbound_messages SET payload = '{}', body = '' WHERE user_id = @user_id::bigint;

-- name: UserAnswersForget :exec
-- Kept answers that show the person.
DELETE FROM idempotency_keys WHERE position(convert_to(@phone_number::text, 'UTF8') IN response_body) > 0;

-- name: UserSuppressionsScrub :exec
-- What operators wrote may name the person.
UPDATE suppressions SET evidence = '', lifted_evidence = '' WHERE user_id = @user_id::bigint;

-- name: ImportChunksNaming :many
-- Waiting chunks in which a row holds the last digits of a number, however they are separated.
SELECT c.import_id, c.number, c.lines, c.records, c.revision FROM import_chunks c
WHERE position(@digits::text IN regexp_replace(array_to_string(c.records, ' '), '[^0-9]', '', 'g')) > 0
ORDER BY c.import_id, c.number FOR UPDATE;

-- name: ImportRecordsForget :exec
-- The rows are refused when their turn comes.
UPDATE import_chunks c SET revision = revision + 1,
    records = ARRAY(SELECT CASE WHEN c.lines[i] = ANY(@lines::integer[]) THEN '' ELSE c.records[i] END FROM generate_subscripts(c.lines, 1) i ORDER BY i)
WHERE c.import_id = @import_id AND c.number = @number;

-- name: ErasureInsert :exec
INSERT INTO erasures (id, phone_number, requested_by, requested_at) VALUES (@id, @phone_number::text, @requested_by, @now);

-- name: ErasureCopiesOfUser :exec
-- The messages to and from the person that the provider is known to have.
INSERT INTO erasure_copies (erasure_id, provider_sid)
SELECT @erasure_id::uuid AS erasure_id, a.provider_sid FROM attempts a JOIN messages m ON m.id = a.message_id
WHERE m.user_id = @user_id::bigint AND a.provider_sid IS NOT NULL
UNION
SELECT @erasure_id::uuid, i.provider_sid FROM inbound_messages i WHERE i.user_id = @user_id::bigint
ON CONFLICT DO NOTHING;

-- name: ErasureCopiesAdd :exec
INSERT INTO erasure_copies (erasure_id, provider_sid) SELECT @erasure_id, unnest(@provider_sids::text[]) ON CONFLICT DO NOTHING;

-- name: ErasureGet :one
SELECT e.*, count(c.provider_sid) AS copies, count(c.removed_at) AS removed
FROM erasures e LEFT JOIN erasure_copies c ON c.erasure_id = e.id
WHERE e.id = @id GROUP BY e.id;

-- name: ErasureCopiesLeft :many
SELECT provider_sid FROM erasure_copies
WHERE erasure_id = @erasure_id AND removed_at IS NULL AND provider_sid > @after ORDER BY provider_sid LIMIT @at_most;

-- name: ErasureCopyRemoved :exec
UPDATE erasure_copies SET removed_at = @now WHERE erasure_id = @erasure_id AND provider_sid = @provider_sid AND removed_at IS NULL;

-- name: ErasureForget :exec
UPDATE erasures SET phone_number = NULL WHERE id = @id;

-- name: ErasureComplete :execrows
UPDATE erasures e SET completed_at = @now
WHERE e.id = @id AND e.completed_at IS NULL AND e.phone_number IS NULL
  AND NOT EXISTS (SELECT 1 FROM erasure_copies c WHERE c.erasure_id = e.id AND c.removed_at IS NULL);

-- name: ErasuresOpen :many
SELECT id FROM erasures WHERE completed_at IS NULL AND requested_at <= @requested_before ORDER BY requested_at;

-- name: SenderAddresses :many
SELECT channel, address FROM senders ORDER BY id;

-- name: UserMessages :many
SELECT sqlc.embed(m), r.number AS run_number, r.campaign_id
FROM messages m JOIN campaign_runs r ON r.id = m.run_id
WHERE m.user_id = @user_id::bigint ORDER BY m.id;

-- name: UserInbound :many
SELECT provider_sid, channel, intent, body, media_count, payload, repeats, received_at
FROM inbound_messages WHERE user_id = @user_id::bigint ORDER BY id;

-- name: UserSubscriptions :many
SELECT t.id AS topic_id, t.name, s.created_at FROM subscriptions s JOIN topics t ON t.id = s.topic_id
WHERE s.user_id = @user_id ORDER BY t.id;

-- name: UserSuppressions :many
SELECT * FROM suppressions WHERE user_id = @user_id::bigint ORDER BY id;

-- name: AttemptPayloads :many
SELECT provider_sid, status, error_code, payload FROM receipts WHERE attempt_id = ANY(@attempt_ids::uuid[]);

-- name: ImportRecordsRetire :execrows
-- Empties up to at_most refused rows of imports that ended before a moment.
UPDATE import_errors SET record = '' WHERE (import_id, line) IN (
    SELECT e.import_id, e.line FROM import_errors e JOIN imports i ON i.id = e.import_id
    WHERE e.record <> '' AND i.completed_at < @ended_before LIMIT @at_most);
