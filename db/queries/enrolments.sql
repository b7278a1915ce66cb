-- name: CampaignSteps :many
SELECT campaign_id, number, template_id, wait_seconds FROM campaign_steps WHERE campaign_id = ANY(@campaign_ids::integer[]) ORDER BY campaign_id, number;

-- name: CampaignStepsReplace :exec
WITH gone AS (
    DELETE FROM campaign_steps WHERE campaign_id = @campaign_id AND number > cardinality(@template_ids::integer[])
)
INSERT INTO campaign_steps (campaign_id, number, template_id, wait_seconds)
SELECT @campaign_id, generate_subscripts(@template_ids::integer[], 1), unnest(@template_ids::integer[]), unnest(@wait_seconds::integer[])
ON CONFLICT (campaign_id, number) DO UPDATE SET template_id = excluded.template_id, wait_seconds = excluded.wait_seconds;

-- name: StepTemplates :many
-- Those of the templates that exist, and whether they are of the channel of another one.
SELECT o.id, (o.channel = t.channel)::boolean AS of_channel FROM templates o JOIN templates t ON t.id = @template_id
WHERE o.id = ANY(@template_ids::integer[]);

-- name: RunStepsPin :exec
-- A run keeps the steps, and the versions of their templates, that were current when it started.
INSERT INTO run_steps (run_id, number, template_id, template_version, wait_seconds)
SELECT @run_id, s.number, s.template_id, t.version, s.wait_seconds
FROM campaign_steps s JOIN templates t ON t.id = s.template_id WHERE s.campaign_id = @campaign_id;

-- name: RunSteps :many
SELECT s.number, s.template_id, s.template_version, s.wait_seconds, t.name,
       (SELECT count(*) FROM enrolments e WHERE e.run_id = s.run_id AND e.state = 'active' AND e.next_step = s.number) AS waiting
FROM run_steps s JOIN templates t ON t.id = s.template_id WHERE s.run_id = @run_id ORDER BY s.number;

-- name: RunStepStates :many
SELECT coalesce(step, 0)::smallint AS step, state, count(*) AS messages FROM messages WHERE run_id = @run_id AND step IS NOT NULL GROUP BY step, state;

-- name: EnrolmentStates :many
SELECT state, reason, count(*) AS enrolments FROM enrolments WHERE run_id = @run_id GROUP BY state, reason ORDER BY state, reason;

-- name: EnrolmentsOfUser :many
-- Everything that a person was enrolled in, oldest first.
SELECT r.campaign_id, r.number AS run_number, e.state, e.reason, e.next_step, e.variables, e.created_at, e.ended_at
FROM enrolments e JOIN campaign_runs r ON r.id = e.run_id
WHERE e.user_id = @user_id::bigint ORDER BY e.id;

-- name: EnrolmentList :many
-- Newest first.
SELECT e.id, e.next_step, e.next_at, e.state, e.reason, e.created_at, e.ended_at, u.phone_number
FROM enrolments e LEFT JOIN users u ON u.id = e.user_id
WHERE e.run_id = @run_id AND e.state = @state AND (sqlc.narg(before)::bigint IS NULL OR e.id < sqlc.narg(before))
ORDER BY e.id DESC LIMIT @at_most;

-- name: EnrolmentListAll :many
-- EnrolmentList in every state.
SELECT e.id, e.next_step, e.next_at, e.state, e.reason, e.created_at, e.ended_at, u.phone_number
FROM enrolments e LEFT JOIN users u ON u.id = e.user_id
WHERE e.run_id = @run_id AND (sqlc.narg(before)::bigint IS NULL OR e.id < sqlc.narg(before))
ORDER BY e.id DESC LIMIT @at_most;

-- name: EnrolmentsKnown :many
-- Enrolments that some of the events led to before, whoever they were for. The caller holds the run.
SELECT id, dedupe_key FROM enrolments
WHERE run_id = @run_id AND dedupe_key = ANY(@dedupe_keys::text[]) AND starts_with(dedupe_key, 'event/');

-- name: EnrolmentsInsert :many
-- Enrols each person and key that is not yet, and has the workflows started, spacing_seconds apart. The caller holds the
-- people and the run. Places count from 1; those who are gone have no row in the answer.
WITH asked AS (
    SELECT unnest(@user_ids::bigint[]) AS user_id, unnest(@dedupe_keys::text[]) AS dedupe_key, unnest(@variables::jsonb[]) AS variables,
           generate_subscripts(@user_ids::bigint[], 1) AS place
), fresh AS (
    SELECT n.user_id, n.dedupe_key, n.variables, n.place,
           sqlc.arg(start_at)::timestamptz + make_interval(0, 0, 0, 0, 0, 0, sqlc.arg(spacing_seconds)::float8 * (row_number() OVER (ORDER BY n.place) - 1)) AS at
    FROM (
        SELECT DISTINCT ON (a.user_id, a.dedupe_key) a.user_id, a.dedupe_key, a.variables, a.place FROM asked a JOIN users u ON u.id = a.user_id
        WHERE NOT EXISTS (SELECT 1 FROM enrolments e WHERE e.run_id = @run_id AND e.user_id = a.user_id AND e.dedupe_key = a.dedupe_key)
        ORDER BY a.user_id, a.dedupe_key, a.place
    ) n
), written AS (
    INSERT INTO enrolments (run_id, user_id, dedupe_key, variables, next_step, next_at, state, created_at)
    SELECT @run_id, f.user_id, f.dedupe_key, nullif(f.variables, '{}'), 1,
           sqlc.arg(now)::timestamptz + make_interval(0, 0, 0, 0, 0, 0, (SELECT s.wait_seconds FROM run_steps s WHERE s.run_id = @run_id AND s.number = 1)), 'active', @now
    FROM fresh f ORDER BY f.place
    RETURNING enrolments.id, enrolments.user_id, enrolments.dedupe_key
), spaced AS (
    UPDATE campaign_runs r SET next_start_at = (SELECT max(f.at) FROM fresh f) + make_interval(0, 0, 0, 0, 0, 0, sqlc.arg(spacing_seconds)::float8)
    WHERE r.id = @run_id AND EXISTS (SELECT 1 FROM fresh)
), started AS (
    INSERT INTO outbox (kind, payload, created_at, next_attempt_at)
    SELECT 'enrolment.start', jsonb_build_object('run_id', sqlc.arg(run_id)::bigint, 'campaign_id', sqlc.arg(campaign_id)::integer,
           'number', sqlc.arg(run_number)::integer, 'enrolment_id', w.id), @now, greatest(f.at, @now)
    FROM written w JOIN fresh f ON f.user_id = w.user_id AND f.dedupe_key = w.dedupe_key ORDER BY w.id
)
SELECT a.place, coalesce(w.id, e.id)::bigint AS id, (f.place IS DISTINCT FROM a.place)::boolean AS repeated
FROM asked a
LEFT JOIN written w ON w.user_id = a.user_id AND w.dedupe_key = a.dedupe_key
LEFT JOIN enrolments e ON e.run_id = @run_id AND e.user_id = a.user_id AND e.dedupe_key = a.dedupe_key
LEFT JOIN fresh f ON f.user_id = a.user_id AND f.dedupe_key = a.dedupe_key
WHERE w.id IS NOT NULL OR e.id IS NOT NULL
ORDER BY a.place;

-- name: EnrolmentOwner :one
-- What has to be locked before the enrolment.
SELECT e.user_id, r.campaign_id FROM enrolments e JOIN campaign_runs r ON r.id = e.run_id WHERE e.id = @id;

-- name: EnrolmentLock :one
-- Whoever holds the row is the only one who takes a step. With it comes what decides about the next one; the wait is 0 after
-- the last.
SELECT e.id, e.run_id, e.user_id, e.variables, e.next_step, e.next_at, e.state, r.campaign_id, r.number, r.closed_at,
       c.status, c.exit_on_read, c.exit_segment_id, coalesce(u.consent_state, '')::text AS consent_state,
       coalesce(u.suppressed && suppression_scopes(t.channel, c.subscription_topic_id), false)::boolean AS suppressed,
       (SELECT count(*) FROM run_steps a WHERE a.run_id = e.run_id)::integer AS steps,
       coalesce((SELECT s.wait_seconds FROM run_steps s WHERE s.run_id = e.run_id AND s.number = e.next_step), 0)::integer AS wait_seconds,
       coalesce((SELECT s.wait_seconds FROM run_steps s WHERE s.run_id = e.run_id AND s.number = e.next_step + 1), 0)::integer AS following_seconds
FROM enrolments e
JOIN campaign_runs r ON r.id = e.run_id
JOIN campaigns c ON c.id = r.campaign_id
JOIN templates t ON t.id = r.template_id
LEFT JOIN users u ON u.id = e.user_id
WHERE e.id = @id FOR UPDATE OF e;

-- name: EnrolmentMessage :one
-- How the message of a step stands.
SELECT state, accepted_at, ended_at, updated_at, waits_until FROM messages
WHERE run_id = @run_id AND user_id = @user_id::bigint AND dedupe_key = @dedupe_key;

-- name: EnrolmentWasRead :one
SELECT EXISTS (SELECT 1 FROM messages WHERE run_id = @run_id AND user_id = @user_id::bigint AND dedupe_key = ANY(@dedupe_keys::text[]) AND read_at IS NOT NULL);

-- name: EnrolmentWait :exec
UPDATE enrolments SET next_step = @next_step, next_at = @next_at WHERE id = @id AND state = 'active';

-- name: EnrolmentEnd :exec
UPDATE enrolments SET state = @state, reason = @reason, next_step = @next_step, variables = NULL, ended_at = @now WHERE id = @id AND state = 'active';

-- name: EnrolmentsExit :many
-- Ends the enrolments of people whose rows the caller holds: all, or those in campaigns that a reply ends.
WITH held AS (
    SELECT e.id FROM enrolments e JOIN campaign_runs r ON r.id = e.run_id JOIN campaigns c ON c.id = r.campaign_id
    WHERE e.user_id = ANY(@user_ids::bigint[]) AND e.state = 'active' AND (NOT @by_reply::boolean OR c.exit_on_reply)
    ORDER BY e.id FOR UPDATE OF e
)
UPDATE enrolments e SET state = 'exited', reason = @reason, variables = NULL, ended_at = sqlc.arg(now)::timestamptz
FROM held, campaign_runs r
WHERE e.id = held.id AND e.state = 'active' AND r.id = e.run_id
RETURNING e.id, e.run_id, e.user_id, r.campaign_id, r.number, (r.closed_at IS NOT NULL)::boolean AS closed;

-- name: EnrolmentMessagesWithdraw :many
-- Ends the messages of steps that still wait, of enrolments that have ended. The caller holds the people.
WITH waiting AS (
    SELECT m.id FROM messages m JOIN enrolments e ON e.run_id = m.run_id AND e.user_id = m.user_id
    WHERE e.id = ANY(@enrolment_ids::bigint[]) AND m.user_id = ANY(@user_ids::bigint[]) AND m.state = 'pending' AND starts_with(m.dedupe_key, 'enrolment/' || e.id || '/')
    ORDER BY m.id FOR UPDATE OF m
)
UPDATE messages m SET state = 'suppressed', reason = @reason, waits_until = NULL, ended_at = @now, updated_at = @now
FROM waiting w, campaign_runs r
WHERE m.id = w.id AND m.state = 'pending' AND r.id = m.run_id
RETURNING m.run_id, r.campaign_id, r.number, m.seq;

-- name: EnrolmentsCancel :exec
-- Ends all enrolments of a run, and tells their workflows, spacing_seconds apart.
WITH ended AS (
    UPDATE enrolments SET state = 'cancelled', variables = NULL, ended_at = sqlc.arg(now)::timestamptz
    WHERE enrolments.run_id = @run_id AND state = 'active' RETURNING enrolments.id, enrolments.run_id
)
INSERT INTO outbox (kind, payload, created_at, next_attempt_at)
SELECT 'enrolment.wake', jsonb_build_object('run_id', e.run_id, 'campaign_id', r.campaign_id, 'number', r.number, 'enrolment_id', e.id), @now,
       sqlc.arg(now)::timestamptz + make_interval(0, 0, 0, 0, 0, 0, sqlc.arg(spacing_seconds)::float8 * (row_number() OVER (ORDER BY e.id) - 1))
FROM ended e JOIN campaign_runs r ON r.id = e.run_id;

-- name: EnrolmentsOverdue :many
-- Enrolments that nobody looks at though their time has come.
SELECT e.id, e.run_id, r.campaign_id, r.number FROM enrolments e JOIN campaign_runs r ON r.id = e.run_id
WHERE e.state = 'active' AND e.next_at <= @due_before ORDER BY e.next_at LIMIT @at_most;
