-- name: SenderEnsure :exec
-- A new sender of WhatsApp belongs to the oldest portfolio.
INSERT INTO senders (channel, address, messages_per_second, portfolio_id, created_at)
VALUES (@channel, @address, @messages_per_second, (SELECT min(p.id) FROM portfolios p WHERE @channel = 'whatsapp'), @now)
ON CONFLICT ON CONSTRAINT senders_address_unique DO NOTHING;

-- name: CampaignGatesClose :exec
-- Waits for every send of the campaigns that is just beginning; none begins before the transaction ends. The ids are in
-- ascending order.
SELECT campaign_gate_close(id) FROM unnest(@ids::integer[]) AS id;

-- name: CampaignLock :one
SELECT c.id, c.status, c.template_id, c.schedule_time, c.schedule_local_time, c.rate_limit_per_second, c.trigger, c.reply_sender_id, t.version AS template_version, t.channel,
       c.recurrence_cron, c.recurrence_timezone, c.start_within_minutes,
       c.created_by, c.changed_by, c.approved_at, c.approved_template_version
FROM campaigns c JOIN templates t ON t.id = c.template_id
WHERE c.id = @id
FOR UPDATE OF c;

-- name: CampaignSetStatus :exec
UPDATE campaigns SET status = @status, status_reason = @status_reason, updated_at = @now WHERE id = @id;

-- name: RunInsert :one
INSERT INTO campaign_runs (campaign_id, number, kind, template_id, template_version, sender_id, started_by, started_at, not_before,
    occurrence_at, retry_states, retry_error_codes)
SELECT @campaign_id, coalesce(max(r.number), 0) + 1, @kind, @template_id, @template_version, s.id, @started_by, @now, sqlc.narg(not_before),
    sqlc.narg(occurrence_at), sqlc.narg(retry_states)::text[], sqlc.narg(retry_error_codes)::integer[]
FROM (SELECT id FROM senders WHERE channel = @channel ORDER BY id DESC LIMIT 1) s
LEFT JOIN campaign_runs r ON r.campaign_id = @campaign_id
GROUP BY s.id
RETURNING id, number;

-- name: RunActive :one
SELECT id, number, not_before FROM campaign_runs WHERE campaign_id = @campaign_id AND finished_at IS NULL AND kind <> 'test';

-- name: RunOfOccurrence :one
SELECT * FROM campaign_runs WHERE campaign_id = @campaign_id AND occurrence_at = @occurrence_at::timestamptz;

-- name: RunsUnsettled :many
-- A settled run counts as well while something is to be sent in it: a receipt may take a message back just as it settles.
SELECT r.id, r.campaign_id, r.number FROM campaign_runs r
WHERE r.started_at <= @started_before AND (r.settled_at IS NULL
    OR EXISTS (SELECT 1 FROM messages m WHERE m.run_id = r.id AND m.state IN ('pending', 'sending')))
ORDER BY r.id;

-- name: RunGet :one
-- With it come the approvals of what its template says in each language; none where free text may do as well.
SELECT sqlc.embed(r), c.status, c.status_reason, c.rate_limit_per_second, c.priority, c.quiet_start, c.quiet_end, c.timezone,
       c.schedule_local_time, c.start_within_minutes,
       coalesce(p.id, 0)::integer AS portfolio_id,
       EXISTS (SELECT 1 FROM enrolments e WHERE e.run_id = r.id AND e.state = 'active') AS enrolled,
       ARRAY(SELECT v.approval FROM template_variants v
             WHERE v.template_id = r.template_id AND v.version = r.template_version AND c.window_policy = 'template')::text[] AS approvals,
       coalesce((SELECT min(v.approval_reason) FROM template_variants v
                 WHERE v.template_id = r.template_id AND v.version = r.template_version AND v.approval_reason <> ''), '')::text AS approval_reason
FROM campaign_runs r JOIN campaigns c ON c.id = r.campaign_id
JOIN senders s ON s.id = r.sender_id
LEFT JOIN portfolios p ON p.id = s.portfolio_id AND p.messaging_limit IS NOT NULL
WHERE r.id = @id;

-- name: RunByNumber :one
SELECT * FROM campaign_runs WHERE campaign_id = @campaign_id AND number = @number;

-- name: RunList :many
SELECT * FROM campaign_runs WHERE campaign_id = @campaign_id AND (sqlc.narg(before)::integer IS NULL OR number < sqlc.narg(before))
ORDER BY number DESC LIMIT @at_most;

-- name: RunCount :one
SELECT count(*) FROM campaign_runs WHERE campaign_id = @campaign_id;

-- name: RunsStates :many
SELECT run_id, state, count(*) AS messages FROM messages WHERE run_id = ANY(@run_ids::bigint[]) GROUP BY run_id, state;

-- name: RetryCount :one
-- The people whose newest message of the campaign is in one of the states and, when codes are given, has one of them.
SELECT count(*) FROM (
    SELECT DISTINCT ON (m.user_id) m.state, m.error_code
    FROM messages m JOIN campaign_runs r ON r.id = m.run_id
    WHERE r.campaign_id = @campaign_id AND r.kind <> 'test' AND m.user_id IS NOT NULL
    ORDER BY m.user_id, r.number DESC, m.id DESC) n
WHERE n.state = ANY(@states::text[]) AND (cardinality(@error_codes::integer[]) = 0 OR n.error_code = ANY(@error_codes::integer[]));

-- name: RetryStates :many
-- The people of the campaign by the state of their newest message.
SELECT n.state, count(*) AS people FROM (
    SELECT DISTINCT ON (m.user_id) m.state
    FROM messages m JOIN campaign_runs r ON r.id = m.run_id
    WHERE r.campaign_id = @campaign_id AND r.kind <> 'test' AND m.user_id IS NOT NULL
    ORDER BY m.user_id, r.number DESC, m.id DESC) n
WHERE n.state = ANY(@states::text[]) GROUP BY n.state;

-- name: RunLock :one
-- Lets one freeze at a time work on the run.
SELECT * FROM campaign_runs WHERE id = @id FOR UPDATE;

-- name: AudienceSource :one
-- What an audience is selected and judged by: that of the run, or with run 0 of the run that a trigger would start.
SELECT c.subscription_topic_id, coalesce(c.segment_query, s.definition)::jsonb AS definition, c.exclude_segment_ids, t.channel
FROM campaigns c
LEFT JOIN campaign_runs r ON r.id = @run_id AND r.campaign_id = c.id
JOIN templates t ON t.id = coalesce(r.template_id, c.template_id)
LEFT JOIN segments s ON s.id = c.segment_id
WHERE c.id = @campaign_id;

-- name: RunFreezeNobody :exec
UPDATE campaign_runs SET frozen_at = @now WHERE id = @id;

-- name: RunScheduleReached :exec
UPDATE campaigns SET status = 'RUNNING', updated_at = @now WHERE id = @campaign_id AND status = 'SCHEDULED';

-- name: CohortsRemaining :many
SELECT number, next_seq, seq_to, zones, jurisdiction, waits_until FROM cohorts WHERE run_id = @run_id AND next_seq <= seq_to ORDER BY number;

-- name: RunBacklog :one
-- Messages of batches already cut: those that are to be sent within the given moment, and those being sent. Counted cohort by
-- cohort, so that those in no batch yet, most of a large run, are never looked at.
SELECT coalesce(sum(b.waiting), 0)::bigint AS waiting, coalesce(sum(b.sending), 0)::bigint AS sending FROM cohorts c
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'pending') AS waiting, count(*) FILTER (WHERE state = 'sending') AS sending FROM messages m
    WHERE m.run_id = c.run_id AND m.seq BETWEEN c.seq_from AND c.next_seq - 1
      AND m.state IN ('pending', 'sending') AND (m.waits_until IS NULL OR m.waits_until <= @due_before)
) b
WHERE c.run_id = @run_id;

-- name: BatchGet :one
SELECT seqs FROM batches WHERE run_id = @run_id AND number = @number;

-- name: CohortHold :exec
-- Notes on the messages of a cohort that sleeps until when they wait; once for each opening.
WITH c AS (
    UPDATE cohorts SET waits_until = @until WHERE cohorts.run_id = @run_id AND number = @number AND waits_until IS DISTINCT FROM @until
    RETURNING cohorts.run_id, next_seq, seq_to
), m AS (
    UPDATE messages SET reason = @reason, waits_until = @until, updated_at = @now
    FROM c WHERE messages.run_id = c.run_id AND seq BETWEEN c.next_seq AND c.seq_to AND state = 'pending' RETURNING messages.id
)
INSERT INTO compliance_checks (message_id, action, reason, until, steps, created_at)
SELECT m.id, 'wait', @reason, @until, @steps, @now FROM m;

-- name: CohortAdvance :exec
UPDATE cohorts SET next_seq = @next_seq WHERE run_id = @run_id AND number = @number;

-- name: BatchCut :one
-- The range's messages that are still pending, as a batch.
INSERT INTO batches (run_id, number, seqs, created_at)
SELECT @run_id, @number, coalesce(array_agg(seq ORDER BY seq), '{}')::integer[], @now
FROM messages WHERE messages.run_id = @run_id AND seq BETWEEN @seq_from AND @seq_to AND state = 'pending'
RETURNING seqs;

-- name: BatchCutDue :many
-- Messages of cut batches that nobody drives though they ought to move: the time of their retry has come, unless the
-- campaign is paused, or they have not moved for a while and whoever drove them is gone. Those of a batch that was just
-- cut have only begun to be driven, however long ago they were frozen. Touching what is taken keeps the next look from
-- taking it again at once. Cohort by cohort, so that messages in no batch yet are never looked at.
WITH due AS (
    SELECT o.id FROM cohorts c
    CROSS JOIN LATERAL (
        SELECT m.id FROM messages m
        WHERE m.run_id = c.run_id AND m.seq BETWEEN c.seq_from AND c.next_seq - 1 AND m.state IN ('pending', 'sending')
          AND (m.reason = 'provider_retry' AND m.waits_until <= @now AND NOT @paused::boolean
              OR m.reason <> 'provider_retry' AND m.updated_at <= @untouched_since AND (m.waits_until IS NULL OR m.waits_until <= @untouched_since)
                 AND m.seq NOT IN (SELECT unnest(b.seqs) FROM batches b WHERE b.run_id = @run_id AND b.created_at > @untouched_since))
        ORDER BY m.seq LIMIT @at_most
        FOR UPDATE SKIP LOCKED
    ) o
    WHERE c.run_id = @run_id LIMIT @at_most
), touched AS (
    UPDATE messages m SET updated_at = @now, reason = CASE m.reason WHEN 'provider_retry' THEN '' ELSE m.reason END,
        waits_until = CASE m.reason WHEN 'provider_retry' THEN NULL ELSE m.waits_until END
    FROM due WHERE m.id = due.id RETURNING m.seq
)
INSERT INTO batches (run_id, number, seqs, created_at)
SELECT @run_id, @number, array_agg(seq ORDER BY seq)::integer[], @now FROM touched HAVING count(*) > 0
RETURNING number;

-- name: ReceiptsOverdue :many
-- Accepted messages whose decisive receipt is overdue and that nobody has asked the provider about, each with the newest
-- attempt that the provider took and the carrier did not fail.
SELECT m.id AS message_id, coalesce(a.id, '00000000-0000-0000-0000-000000000000')::uuid AS attempt_id, coalesce(a.provider_sid, '')::text AS provider_sid
FROM messages m LEFT JOIN LATERAL (
    SELECT o.id, o.provider_sid FROM attempts o
    WHERE o.message_id = m.id AND o.state = 'accepted' AND o.carrier NOT IN ('failed', 'undelivered') ORDER BY o.number DESC LIMIT 1
) a ON true
WHERE m.run_id = @run_id AND m.state IN ('accepted', 'sent') AND m.accepted_at <= @accepted_before AND m.reason = ''
ORDER BY m.accepted_at LIMIT @at_most;

-- name: RunOpen :one
-- What is left to do, and when the first of it is due.
SELECT count(*) AS open, min(coalesce(waits_until, updated_at))::timestamptz AS first_due
FROM messages WHERE run_id = @run_id AND state IN ('pending', 'sending') HAVING count(*) > 0;

-- name: RunUndecided :one
SELECT count(*) AS undecided, min(accepted_at)::timestamptz AS oldest
FROM messages WHERE run_id = @run_id AND state IN ('accepted', 'sent') AND reason = '' HAVING count(*) > 0;

-- name: RunFinish :exec
UPDATE campaign_runs SET finished_at = @now WHERE id = @id AND finished_at IS NULL;

-- name: RunSettle :exec
UPDATE campaign_runs SET settled_at = @now WHERE id = @id AND settled_at IS NULL;

-- name: RunStates :many
SELECT state, count(*) AS messages FROM messages WHERE run_id = @run_id GROUP BY state;

-- name: RunCancelPending :exec
-- Of the run, and of those before it in which something was to be sent again: a later retry must not send it after all.
UPDATE messages SET state = 'cancelled', reason = 'campaign_cancelled', waits_until = NULL, ended_at = @now, updated_at = @now
WHERE messages.run_id IN (SELECT o.id FROM campaign_runs o JOIN campaign_runs r ON r.campaign_id = o.campaign_id WHERE r.id = @run_id)
  AND messages.state = 'pending';

-- name: RunSignalDispatched :exec
-- Tells every recipient's workflow that a batch has started and whose message is in one of the states, one after the
-- other, in the order of sending and spacing_seconds apart. One that is to be sent waits until then and no longer.
WITH told AS (
    SELECT r.id AS run_id, r.campaign_id, r.number, m.id, m.seq,
           sqlc.arg(now)::timestamptz + make_interval(0, 0, 0, 0, 0, 0, @spacing_seconds) * (row_number() OVER (ORDER BY m.seq) - 1) AS at
    FROM campaign_runs r
    JOIN cohorts c ON c.run_id = r.id
    JOIN messages m ON m.run_id = r.id AND m.seq BETWEEN c.seq_from AND c.next_seq - 1
    WHERE r.id = @run_id AND m.state = @state AND (@reason::text = '' OR m.reason = @reason)
), released AS (
    UPDATE messages SET waits_until = told.at, updated_at = @now FROM told WHERE messages.id = told.id AND messages.state = 'pending'
)
INSERT INTO outbox (kind, payload, created_at, next_attempt_at)
SELECT 'recipient.signal', jsonb_build_object('run_id', run_id, 'campaign_id', campaign_id, 'number', number, 'seq', seq), @now, at
FROM told ORDER BY at;

-- name: RunReleaseWaits :exec
-- Has every message of the run that waits for one of the reasons judged anew. Those in no batch are just set free; the workflows
-- of the others are told one after the other, spacing_seconds apart, and until then wait for the rate. While the campaign
-- is paused they are left asleep, as paused ones that the resume tells.
WITH held AS (
    SELECT m.id, m.seq FROM messages m
    WHERE m.run_id = @run_id AND m.state = 'pending' AND m.reason = ANY(@reasons::text[])
    ORDER BY m.id FOR UPDATE
), driven AS (
    SELECT h.id, h.seq, row_number() OVER (ORDER BY h.seq) - 1 AS place
    FROM held h JOIN cohorts c ON c.run_id = @run_id AND h.seq BETWEEN c.seq_from AND c.next_seq - 1
), released AS (
    UPDATE messages m SET updated_at = @now,
        reason = CASE WHEN d.id IS NULL THEN '' WHEN @paused::boolean THEN 'paused' ELSE 'rate_limit' END,
        waits_until = CASE WHEN d.id IS NULL THEN NULL WHEN @paused::boolean THEN m.waits_until
            ELSE sqlc.arg(now)::timestamptz + make_interval(0, 0, 0, 0, 0, 0, @spacing_seconds) * d.place END
    FROM held h LEFT JOIN driven d ON d.id = h.id WHERE m.id = h.id
), woken AS (
    UPDATE cohorts SET waits_until = NULL WHERE cohorts.run_id = @run_id AND cohorts.waits_until IS NOT NULL
)
INSERT INTO outbox (kind, payload, created_at, next_attempt_at)
SELECT 'recipient.signal', jsonb_build_object('run_id', r.id, 'campaign_id', r.campaign_id, 'number', r.number, 'seq', d.seq), @now,
       sqlc.arg(now)::timestamptz + make_interval(0, 0, 0, 0, 0, 0, @spacing_seconds) * d.place
FROM driven d JOIN campaign_runs r ON r.id = @run_id
WHERE NOT @paused::boolean ORDER BY d.place;

-- name: RunLeases :one
-- Requests that may be under way, of the run and of those before it in which something is sent again.
SELECT count(*) AS requests FROM attempts a JOIN messages m ON m.id = a.message_id
WHERE m.run_id IN (SELECT o.id FROM campaign_runs o JOIN campaign_runs r ON r.campaign_id = o.campaign_id WHERE r.id = @run_id) AND a.state = 'open' AND a.lease_until > @now;

-- name: RunLastBatch :one
SELECT coalesce(max(number), 0)::integer AS number FROM batches WHERE run_id = @run_id;

-- name: RunReopen :many
-- A settled run in which something has to be sent again is not settled.
UPDATE campaign_runs SET settled_at = NULL WHERE id = ANY(@ids::bigint[]) AND settled_at IS NOT NULL
RETURNING id, campaign_id, number;

-- name: RunHoldForTemplate :exec
-- Notes on the run's messages that no batch holds yet that they wait for the template's approval; once, until it is decided.
WITH held AS (
    UPDATE campaign_runs SET awaits_template = true WHERE campaign_runs.id = @run_id AND NOT awaits_template RETURNING campaign_runs.id
), m AS (
    UPDATE messages SET reason = @reason, waits_until = NULL, updated_at = @now
    FROM held JOIN cohorts c ON c.run_id = held.id
    WHERE messages.run_id = held.id AND messages.seq BETWEEN c.next_seq AND c.seq_to AND messages.state = 'pending' RETURNING messages.id
)
INSERT INTO compliance_checks (message_id, action, reason, steps, created_at)
SELECT m.id, 'wait', @reason, @steps, @now FROM m;

-- name: RunReleaseTemplate :exec
-- The messages of a run that wait for a decision about their template and are in no batch are just set free.
WITH freed AS (
    UPDATE campaign_runs SET awaits_template = false WHERE campaign_runs.id = @run_id AND awaits_template RETURNING campaign_runs.id
)
UPDATE messages SET reason = '', waits_until = NULL, updated_at = @now
FROM freed JOIN cohorts c ON c.run_id = freed.id
WHERE messages.run_id = freed.id AND messages.seq BETWEEN c.next_seq AND c.seq_to AND messages.state = 'pending' AND messages.reason = @reason;

-- name: RunsOfTemplate :many
-- The runs under way that send a version of a template.
SELECT r.id, r.campaign_id, r.number, c.rate_limit_per_second FROM campaign_runs r JOIN campaigns c ON c.id = r.campaign_id
WHERE r.finished_at IS NULL AND (r.template_id = @template_id AND r.template_version = @version
    OR r.id IN (SELECT s.run_id FROM run_steps s WHERE s.template_id = @template_id AND s.template_version = @version)) ORDER BY r.id;
