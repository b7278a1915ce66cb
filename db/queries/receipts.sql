-- name: AttemptsOfReports :many
SELECT id, provider_sid FROM attempts WHERE id = ANY(@ids::uuid[]) OR provider_sid = ANY(@sids::text[]);

-- name: ReceiptInsert :many
-- One row per thing said; inserted tells news from repetition. A repetition may know the attempt that the first did not.
INSERT INTO receipts AS r (provider_sid, attempt_id, status, error_code, payload, received_at)
SELECT x.provider_sid, nullif(x.attempt_id, '00000000-0000-0000-0000-000000000000'), x.status, x.error_code, x.payload, @now
FROM (SELECT unnest(@provider_sids::text[]) AS provider_sid, unnest(@attempt_ids::uuid[]) AS attempt_id, unnest(@statuses::text[]) AS status,
    unnest(@error_codes::integer[]) AS error_code, unnest(@payloads::jsonb[]) AS payload) x
ON CONFLICT ON CONSTRAINT receipts_said_once DO UPDATE SET repeats = r.repeats + 1, attempt_id = coalesce(r.attempt_id, excluded.attempt_id)
RETURNING r.provider_sid, r.status, r.error_code, (xmax = 0)::boolean AS inserted;

-- name: UsersOfAttemptsLock :many
SELECT u.id, u.consent_state FROM users u
WHERE u.id IN (SELECT m.user_id FROM attempts a JOIN messages m ON m.id = a.message_id WHERE a.id = ANY(@attempt_ids::uuid[]))
ORDER BY u.id FOR UPDATE;

-- name: MessagesOfAttemptsLock :many
SELECT m.id, m.user_id, m.state, m.reason, m.waits_until, m.error_code, m.accepted_at, m.sent_at, m.delivered_at, m.read_at, m.ended_at,
       m.seq, m.run_id, r.campaign_id, r.sender_id, r.number AS run_number
FROM messages m JOIN campaign_runs r ON r.id = m.run_id
WHERE m.id IN (SELECT a.message_id FROM attempts a WHERE a.id = ANY(@attempt_ids::uuid[]))
ORDER BY m.id FOR UPDATE OF m;

-- name: AttemptsOfMessages :many
-- Read after their messages are locked.
SELECT id, message_id, number, state, carrier, provider_sid, error_code, ended_at FROM attempts
WHERE message_id = ANY(@message_ids::uuid[]) ORDER BY message_id, number;

-- name: AttemptsUpdate :exec
UPDATE attempts a SET state = x.state, carrier = x.carrier, provider_sid = coalesce(a.provider_sid, nullif(x.provider_sid, '')),
    error_code = coalesce(nullif(x.error_code, 0), a.error_code), ended_at = coalesce(a.ended_at, @now)
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@states::text[]) AS state, unnest(@carriers::text[]) AS carrier,
    unnest(@provider_sids::text[]) AS provider_sid, unnest(@error_codes::integer[]) AS error_code) x
WHERE a.id = x.id;

-- name: MessageUpdate :batchexec
UPDATE messages SET state = @state, reason = @reason, waits_until = @waits_until, error_code = @error_code, accepted_at = @accepted_at,
    sent_at = @sent_at, delivered_at = @delivered_at, read_at = @read_at, ended_at = @ended_at, updated_at = @now
WHERE id = @id;

-- name: UserOptOutByCarrier :execrows
-- The person's row is locked already. Who opted out by themselves is left as they are.
UPDATE users SET consent_state = 'OPT_OUT', updated_at = @now WHERE id = @id AND consent_state = 'OPT_IN';
