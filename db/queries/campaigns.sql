-- name: CampaignInsert :one
INSERT INTO campaigns (topic, template_id, segment_id, segment_query, rate_limit_per_second, priority,
    failure_threshold_percent, canary_percent, frequency_cap_count, frequency_cap_days, quiet_start, quiet_end, timezone, schedule_time, window_policy, exclude_segment_ids,
    subscription_topic_id, trigger, trigger_name,
    schedule_local_time, start_within_minutes, recurrence_cron, recurrence_timezone, exit_on_reply, exit_on_read, exit_segment_id, created_by, created_at, updated_at)
VALUES (@topic, @template_id, sqlc.narg(segment_id), sqlc.narg(segment_query), @rate_limit_per_second, @priority,
    @failure_threshold_percent, @canary_percent, sqlc.narg(frequency_cap_count), sqlc.narg(frequency_cap_days), sqlc.narg(quiet_start), sqlc.narg(quiet_end), @timezone,
    sqlc.narg(schedule_time), @window_policy, @exclude_segment_ids, sqlc.narg(subscription_topic_id), @trigger, @trigger_name,
    @schedule_local_time, sqlc.narg(start_within_minutes), @recurrence_cron, @recurrence_timezone, @exit_on_reply, @exit_on_read, sqlc.narg(exit_segment_id), @created_by, @now, @now)
RETURNING id;

-- name: CampaignReferences :one
-- Whether what a campaign names exists; what it does not name counts as existing.
SELECT EXISTS (SELECT 1 FROM templates t WHERE t.id = @template_id) AS template_exists,
       (sqlc.narg(segment_id)::integer IS NULL OR EXISTS (SELECT 1 FROM segments s WHERE s.id = sqlc.narg(segment_id)))::boolean AS segment_exists,
       (sqlc.narg(topic_id)::integer IS NULL OR EXISTS (SELECT 1 FROM topics t WHERE t.id = sqlc.narg(topic_id)))::boolean AS topic_exists;

-- name: CampaignGet :one
SELECT sqlc.embed(c), sqlc.embed(t) FROM campaigns c JOIN templates t ON t.id = c.template_id WHERE c.id = @id;

-- name: CampaignList :many
-- Those that people made; the built-in ones are not among them.
SELECT sqlc.embed(c), sqlc.embed(t) FROM campaigns c JOIN templates t ON t.id = c.template_id
WHERE c.reply_sender_id IS NULL AND (sqlc.narg(status)::text IS NULL OR c.status = sqlc.narg(status)) AND (sqlc.narg(before)::integer IS NULL OR c.id < sqlc.narg(before))
ORDER BY c.id DESC LIMIT @at_most;

-- name: RunsNewest :many
-- The newest run of each of the campaigns that has one; a test does not count.
SELECT DISTINCT ON (campaign_id) * FROM campaign_runs WHERE campaign_id = ANY(@campaign_ids::integer[]) AND kind <> 'test' ORDER BY campaign_id, number DESC;

-- name: CampaignCount :one
SELECT count(*) FROM campaigns WHERE reply_sender_id IS NULL AND (sqlc.narg(status)::text IS NULL OR status = sqlc.narg(status));

-- name: CampaignLockPlan :one
SELECT * FROM campaigns WHERE id = @id FOR UPDATE;

-- name: CampaignUpdate :exec
UPDATE campaigns SET topic = @topic, template_id = @template_id, segment_id = sqlc.narg(segment_id), segment_query = sqlc.narg(segment_query),
    rate_limit_per_second = @rate_limit_per_second, priority = @priority, failure_threshold_percent = @failure_threshold_percent,
    canary_percent = @canary_percent, frequency_cap_count = sqlc.narg(frequency_cap_count), frequency_cap_days = sqlc.narg(frequency_cap_days), quiet_start = sqlc.narg(quiet_start), quiet_end = sqlc.narg(quiet_end), timezone = @timezone,
    schedule_time = sqlc.narg(schedule_time), window_policy = @window_policy, exclude_segment_ids = @exclude_segment_ids,
    subscription_topic_id = sqlc.narg(subscription_topic_id), trigger = @trigger, trigger_name = @trigger_name,
    schedule_local_time = @schedule_local_time, start_within_minutes = sqlc.narg(start_within_minutes),
    recurrence_cron = @recurrence_cron, recurrence_timezone = @recurrence_timezone,
    exit_on_reply = @exit_on_reply, exit_on_read = @exit_on_read, exit_segment_id = sqlc.narg(exit_segment_id), changed_by = @changed_by, approved_by = '', approved_at = NULL,
    approved_template_version = NULL, updated_at = @now
WHERE id = @id;

-- name: CampaignApprove :exec
UPDATE campaigns c SET approved_by = @approved_by, approved_at = @now, approved_template_version = t.version, updated_at = @now
FROM templates t WHERE c.id = @id AND t.id = c.template_id;

-- name: CampaignsRecurring :many
SELECT id FROM campaigns WHERE recurrence_cron <> '' AND status IN ('SCHEDULED', 'RUNNING', 'PAUSED') ORDER BY id;

-- name: CampaignDelete :exec
DELETE FROM campaigns WHERE id = @id;

-- name: CampaignRunsExist :one
SELECT EXISTS (SELECT 1 FROM campaign_runs WHERE campaign_id = @id);
