-- name: InboundRepeat :one
-- No row: the message is new.
UPDATE inbound_messages SET repeats = repeats + 1 WHERE provider_sid = @provider_sid RETURNING user_id, intent;

-- name: InboundTake :one
-- Keeps a message, and with a new one what it changes about its sender, whose row the caller has locked.
WITH m AS (
    INSERT INTO inbound_messages AS i (provider_sid, user_id, channel, intent, body, media_count, payload, received_at)
    VALUES (@provider_sid, sqlc.narg(user_id), @channel, @intent, @body, @media_count, @payload, @now)
    ON CONFLICT (provider_sid) DO UPDATE SET repeats = i.repeats + 1
    RETURNING i.user_id, i.intent, (i.xmax = 0)::boolean AS inserted
), sender AS (
    UPDATE users SET last_inbound_at = greatest(last_inbound_at, @now::timestamptz), consent_state = @consent_state,
        updated_at = CASE WHEN consent_state = @consent_state THEN updated_at ELSE @now::timestamptz END
    FROM m WHERE users.id = sqlc.narg(user_id) AND m.inserted
)
SELECT m.user_id, m.intent, m.inserted FROM m;

-- name: InboundSenderLock :one
-- The person whose number it is, else the one whose number is their WhatsApp id.
SELECT id, consent_state FROM users WHERE phone_number IN (@phone_number, @other_number)
ORDER BY (phone_number = @phone_number) DESC LIMIT 1 FOR UPDATE;

-- name: InboundSenderInsert :exec
-- Somebody who wrote first: known, but not yet asked whether they may be written to.
WITH u AS (
    INSERT INTO users (phone_number, consent_state, region, zones, zone_source, last_inbound_at, created_at, updated_at)
    VALUES (@phone_number, 'PENDING', @region, @zones, @zone_source, @now::timestamptz, @now::timestamptz, @now::timestamptz)
    ON CONFLICT (phone_number) DO NOTHING RETURNING id
)
INSERT INTO consent_events (user_id, state, source, evidence, actor, created_at)
SELECT u.id, 'PENDING', @source, @evidence, @actor, @now::timestamptz FROM u;

-- name: InboundChangedConsent :one
-- Whether a message, named by its SID, changed its sender's consent.
SELECT EXISTS (SELECT 1 FROM consent_events
    WHERE user_id = @user_id AND source IN ('keyword', 'button') AND evidence = @evidence AND state <> 'PENDING');
