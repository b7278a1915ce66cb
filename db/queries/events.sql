-- name: EventRunOpen :exec
-- An event run has no audience to wait for. Its one cohort counts every message that ever comes as being in a batch, for
-- each of them is driven from the moment that it is written.
WITH r AS (
    UPDATE campaign_runs SET frozen_at = @now WHERE campaign_runs.id = @id RETURNING campaign_runs.id
)
INSERT INTO cohorts (run_id, number, seq_from, seq_to, next_seq, zones, region)
SELECT r.id, 1, 1, 2147483646, 2147483647, '{}', '' FROM r;

-- name: EventRunClose :execrows
UPDATE campaign_runs SET closed_at = @now WHERE id = @id AND kind = 'event' AND closed_at IS NULL;

-- name: EnlistPeople :many
-- Holds off changes of these people's consent, and their erasure, until this transaction ends.
SELECT id FROM users WHERE id = ANY(@user_ids::bigint[]) ORDER BY id FOR KEY SHARE;

-- name: EnlistRun :one
-- Whoever holds the row is the only one who adds messages to the run.
SELECT r.campaign_id, r.number, r.kind, r.audience_size, r.next_start_at, r.closed_at, r.finished_at,
       c.status, c.rate_limit_per_second, c.subscription_topic_id, c.exclude_segment_ids, c.trigger, t.channel
FROM campaign_runs r
JOIN campaigns c ON c.id = r.campaign_id
JOIN templates t ON t.id = r.template_id
WHERE r.id = @id
FOR NO KEY UPDATE OF r;

-- name: MessagesEnlist :many
-- Adds a message for each person and key that has none, numbered on from last_seq, and has the recipients started,
-- spacing_seconds apart. Those in excluded_ids are in a segment that the campaign leaves out. The caller holds the people and
-- the run. Places count from 1; those who are gone have no row in
-- the answer.
WITH asked AS (
    SELECT unnest(@user_ids::bigint[]) AS user_id, unnest(@dedupe_keys::text[]) AS dedupe_key, unnest(@variables::jsonb[]) AS variables,
           unnest(@replies::text[]) AS reply, unnest(@steps::smallint[]) AS step,
           generate_subscripts(@user_ids::bigint[], 1) AS place
), fresh AS (
    SELECT n.user_id, n.dedupe_key, n.variables, n.reply, n.step, n.place, n.reason, row_number() OVER (ORDER BY n.place)::integer AS nth,
           CASE WHEN n.reason = '' THEN count(*) FILTER (WHERE n.reason = '') OVER (ORDER BY n.place) - 1 END AS ahead
    FROM (
        SELECT DISTINCT ON (a.user_id, a.dedupe_key) a.user_id, a.dedupe_key, a.variables, a.reply, a.step, a.place, (CASE
            WHEN a.reply <> '' THEN ''  -- judged by the message that it answers
            ELSE consent_reason(CASE WHEN @inviting::boolean AND u.consent_state = 'PENDING' THEN 'OPT_IN' ELSE u.consent_state END,
                u.suppressed && suppression_scopes(@channel, sqlc.narg(topic_id)::integer),
                sqlc.narg(topic_id)::integer IS NOT NULL AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.topic_id = sqlc.narg(topic_id) AND s.user_id = u.id),
                u.id = ANY(@excluded_ids::bigint[])) END)::text AS reason
        FROM asked a JOIN users u ON u.id = a.user_id
        WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.user_id = a.user_id AND m.run_id = @run_id AND m.dedupe_key = a.dedupe_key)
        ORDER BY a.user_id, a.dedupe_key, a.place
    ) n
), timed AS (
    SELECT f.user_id, f.dedupe_key, f.variables, f.reply, f.step, f.reason, f.nth,
           sqlc.arg(start_at)::timestamptz + make_interval(0, 0, 0, 0, 0, 0, sqlc.arg(spacing_seconds)::float8 * f.ahead) AS at
    FROM fresh f
), written AS (
    INSERT INTO messages (id, run_id, user_id, dedupe_key, variables, reply, step, seq, channel, state, reason, waits_until, created_at, ended_at, updated_at)
    SELECT uuid_v7(@now), @run_id, f.user_id, f.dedupe_key, nullif(f.variables, '{}'), nullif(f.reply, ''), nullif(f.step, 0), sqlc.arg(last_seq)::integer + f.nth, @channel,
           CASE WHEN f.reason = '' THEN 'pending' ELSE 'suppressed' END, CASE WHEN f.at > @now THEN @rate_limit::text ELSE f.reason END,
           CASE WHEN f.at > @now THEN f.at END, @now, CASE WHEN f.reason <> '' THEN sqlc.arg(now)::timestamptz END, @now
    FROM timed f
    RETURNING messages.id, messages.user_id, messages.dedupe_key, messages.seq, messages.state, messages.reason
), judged AS (
    INSERT INTO compliance_checks (message_id, action, reason, steps, created_at)
    SELECT w.id, 'suppress', w.reason, jsonb_build_array(jsonb_build_object('step', 'consent', 'result', 'failed', 'detail', w.reason)), @now
    FROM written w WHERE w.state = 'suppressed'
), grown AS (
    UPDATE campaign_runs r SET audience_size = r.audience_size + (SELECT count(*) FROM fresh)::integer,
        next_start_at = coalesce((SELECT max(f.at) FROM timed f) + make_interval(0, 0, 0, 0, 0, 0, sqlc.arg(spacing_seconds)::float8), r.next_start_at)
    WHERE r.id = @run_id AND EXISTS (SELECT 1 FROM fresh)
), started AS (
    INSERT INTO outbox (kind, payload, created_at, next_attempt_at)
    SELECT 'recipient.start', jsonb_build_object('run_id', sqlc.arg(run_id)::bigint, 'campaign_id', sqlc.arg(campaign_id)::integer,
           'number', sqlc.arg(run_number)::integer, 'seq', sqlc.arg(last_seq)::integer + f.nth), @now, greatest(f.at, @now)
    FROM timed f WHERE f.reason = '' ORDER BY f.nth
)
SELECT a.place, coalesce(w.id, m.id)::uuid AS id, coalesce(w.seq, m.seq)::integer AS seq, coalesce(w.state, m.state)::text AS state,
       coalesce(w.reason, m.reason)::text AS reason, (f.place IS DISTINCT FROM a.place)::boolean AS repeated
FROM asked a
LEFT JOIN written w ON w.user_id = a.user_id AND w.dedupe_key = a.dedupe_key
LEFT JOIN fresh f ON f.user_id = a.user_id AND f.dedupe_key = a.dedupe_key
LEFT JOIN messages m ON m.user_id = a.user_id AND m.run_id = @run_id AND m.dedupe_key = a.dedupe_key
WHERE w.id IS NOT NULL OR m.id IS NOT NULL
ORDER BY a.place;

-- name: RunRespace :exec
-- Brings the starts that are still to come of an event run's recipients as near, or as far apart, as factor says.
WITH r AS (
    UPDATE campaign_runs SET next_start_at = sqlc.arg(now)::timestamptz + (next_start_at - @now) * sqlc.arg(factor)::float8
    WHERE campaign_runs.id = @run_id AND next_start_at > @now
), m AS (
    UPDATE messages SET waits_until = sqlc.arg(now)::timestamptz + (waits_until - @now) * sqlc.arg(factor)::float8
    WHERE messages.run_id = @run_id AND state = 'pending' AND reason = @rate_limit AND waits_until > @now
)
UPDATE outbox SET next_attempt_at = sqlc.arg(now)::timestamptz + (next_attempt_at - @now) * sqlc.arg(factor)::float8
WHERE kind = 'recipient.start' AND (payload->>'run_id')::bigint = sqlc.arg(run_id)::bigint AND next_attempt_at > @now;

-- name: TriggeredRuns :many
-- The open runs of campaigns that such a thing triggers, in the order in which they are to be locked; names narrows events
-- and keywords down, campaigns_triggered finds them.
SELECT r.id, r.campaign_id, c.trigger_name, t.channel, EXISTS (SELECT 1 FROM run_steps s WHERE s.run_id = r.id) AS drip FROM campaigns c
JOIN templates t ON t.id = c.template_id
JOIN campaign_runs r ON r.campaign_id = c.id AND r.kind = 'event' AND r.finished_at IS NULL AND r.closed_at IS NULL
WHERE c.trigger = @trigger AND c.trigger <> 'manual' AND c.trigger_name = ANY(@names::text[]) AND c.status IN ('RUNNING', 'PAUSED')
ORDER BY r.id;

-- name: EventPeople :many
-- Locked as by EnlistPeople.
SELECT id, phone_number FROM users WHERE phone_number = ANY(@phone_numbers::text[]) ORDER BY id FOR KEY SHARE;

-- name: EventsKnown :many
-- Messages that some of the events led to before, whoever they were for. The caller holds the run.
SELECT m.id, m.dedupe_key, m.seq, m.state, m.reason FROM messages m
WHERE m.run_id = @run_id AND m.dedupe_key = ANY(@dedupe_keys::text[]) AND starts_with(m.dedupe_key, 'event/');
