-- name: RunAtFault :one
-- What a fault met by the campaign's active run may concern.
SELECT id, sender_id FROM campaign_runs WHERE campaign_id = @campaign_id AND finished_at IS NULL AND kind <> 'test';

-- name: AttemptsAtFault :many
-- What a fault reported of an attempt may concern. None of it ever changes, so nothing is locked.
SELECT a.id, a.started_at, m.run_id, r.sender_id
FROM attempts a JOIN messages m ON m.id = a.message_id JOIN campaign_runs r ON r.id = m.run_id
WHERE a.id = ANY(@attempt_ids::uuid[]);

-- name: CampaignsAtFault :many
-- The running campaigns that faults concern, in the order in which they are to be locked.
SELECT c.id FROM campaigns c JOIN campaign_runs r ON r.campaign_id = c.id AND r.finished_at IS NULL AND r.kind <> 'test'
WHERE c.status = 'RUNNING' AND (@account::boolean OR r.id = ANY(@run_ids::bigint[]) OR r.sender_id = ANY(@sender_ids::integer[]))
ORDER BY c.id;

-- name: CampaignsAtFaultLock :many
-- Those that are still running, locked.
SELECT c.id, r.id AS run_id, r.sender_id, r.breaker_since
FROM campaigns c JOIN campaign_runs r ON r.campaign_id = c.id AND r.finished_at IS NULL AND r.kind <> 'test'
WHERE c.id = ANY(@ids::integer[]) AND c.status = 'RUNNING'
ORDER BY c.id FOR UPDATE OF c;

-- name: RunResumed :exec
-- A resume is the operator's word: what was decided before it is not judged again, and a canary that failed is overruled. A
-- run that is not frozen has no outcomes; its row is left alone, for the freeze holds it when it asks for the campaign's.
UPDATE campaign_runs r SET breaker_since = @now,
    canary_passed_at = CASE WHEN starts_with(c.status_reason, @canary_reason) THEN @now ELSE r.canary_passed_at END
FROM campaigns c WHERE r.id = @id AND c.id = r.campaign_id AND r.frozen_at IS NOT NULL;

-- name: RunBreaker :one
SELECT c.failure_threshold_percent, c.canary_percent, r.breaker_since, r.canary_passed_at
FROM campaign_runs r JOIN campaigns c ON c.id = r.campaign_id WHERE r.id = @id;

-- name: RunFailures :many
-- When the newest failures happened. Whoever does not want messages is no failure of the campaign's.
SELECT ended_at::timestamptz AS ended_at FROM messages
WHERE run_id = @run_id AND state IN ('failed', 'undelivered') AND ended_at > @since AND reason <> @opted_out
ORDER BY ended_at DESC LIMIT @at_most;

-- name: RunDeliveries :one
-- Counts deliveries since a moment, up to a limit. Nothing is delivered after its row was last touched.
SELECT count(*) FROM (
    SELECT 1 FROM messages
    WHERE run_id = @run_id AND state IN ('delivered', 'read') AND updated_at > @since AND delivered_at > @since LIMIT @at_most
) d;

-- name: RunOutcomes :one
-- The newest outcomes, and the commonest code among their failures; 0 when none has one.
WITH newest AS (
    (SELECT f.ended_at AS at, true AS failed, f.error_code FROM messages f
     WHERE f.run_id = @run_id AND f.state IN ('failed', 'undelivered') AND f.ended_at > @since AND f.reason <> @opted_out
     ORDER BY f.ended_at DESC LIMIT @at_most)
    UNION ALL
    (SELECT d.delivered_at, false, NULL FROM messages d
     WHERE d.run_id = @run_id AND d.state IN ('delivered', 'read') AND d.delivered_at > @since
     ORDER BY d.delivered_at DESC LIMIT @at_most)
    ORDER BY at DESC, failed DESC LIMIT @at_most
)
SELECT count(*) AS decided, count(*) FILTER (WHERE failed) AS failed, coalesce(mode() WITHIN GROUP (ORDER BY error_code), 0)::integer AS error_code
FROM newest;

-- name: RunDispatched :one
-- How many may be sent to at all, and how many of them are in a batch.
SELECT coalesce(sum(seq_to - seq_from + 1), 0)::bigint AS sendable, coalesce(sum(next_seq - seq_from), 0)::bigint AS dispatched
FROM cohorts WHERE run_id = @run_id;

-- name: RunCanary :one
-- How the messages in batches stand: those that are still to decide, when the last of them moved and the first of them is
-- due, and the outcomes of the others since the given moment.
SELECT count(*) FILTER (WHERE w.waits) AS waiting,
       coalesce(max(m.updated_at) FILTER (WHERE w.waits), @now)::timestamptz AS last_moved,
       coalesce(min(coalesce(m.waits_until, m.updated_at)) FILTER (WHERE w.waits), @now)::timestamptz AS first_due,
       count(*) FILTER (WHERE f.failed OR m.delivered_at > @since AND m.state IN ('delivered', 'read')) AS decided,
       count(*) FILTER (WHERE f.failed) AS failed,
       coalesce(mode() WITHIN GROUP (ORDER BY m.error_code) FILTER (WHERE f.failed), 0)::integer AS error_code
FROM cohorts c
JOIN messages m ON m.run_id = c.run_id AND m.seq BETWEEN c.seq_from AND c.next_seq - 1
CROSS JOIN LATERAL (SELECT m.state IN ('pending', 'sending')
    OR m.state IN ('accepted', 'sent') AND m.reason = '' AND m.accepted_at > @accepted_after AS waits) w
CROSS JOIN LATERAL (SELECT m.state IN ('failed', 'undelivered') AND m.ended_at > @since AND m.reason <> @opted_out AS failed) f
WHERE c.run_id = @run_id;

-- name: RunCanaryPassed :exec
UPDATE campaign_runs SET canary_passed_at = @now WHERE id = @id AND canary_passed_at IS NULL;
