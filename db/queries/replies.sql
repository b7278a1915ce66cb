-- name: ReplyTexts :many
SELECT * FROM replies ORDER BY kind, locale;

-- name: ReplyTextsReplace :exec
-- Makes the given texts all there are.
WITH given AS (
    SELECT unnest(@kinds::text[]) AS kind, unnest(@locales::text[]) AS locale, unnest(@texts::text[]) AS text
), gone AS (
    DELETE FROM replies r WHERE NOT EXISTS (SELECT 1 FROM given g WHERE g.kind = r.kind AND g.locale = r.locale)
)
INSERT INTO replies (kind, locale, text) SELECT g.kind, g.locale, g.text FROM given g
ON CONFLICT (kind, locale) DO UPDATE SET text = excluded.text;

-- name: RepliesSince :one
-- How many replies a person was to get since a moment.
SELECT count(*) FROM messages WHERE user_id = @user_id::bigint AND reply IS NOT NULL AND created_at > @since;

-- name: ReplyRun :one
-- The run that the replies from a sender belong to.
SELECT r.id FROM senders s
JOIN campaigns c ON c.reply_sender_id = s.id
JOIN campaign_runs r ON r.campaign_id = c.id AND r.finished_at IS NULL
WHERE s.channel = @channel AND s.address = @address;

-- name: SenderByAddress :one
SELECT id FROM senders WHERE channel = @channel AND address = @address;

-- name: ReplyCampaignInsert :one
-- No row: somebody else has just made it.
WITH t AS (
    INSERT INTO templates (name, channel, locale, created_at, updated_at) VALUES (@template_name, @channel, 'en', @now, @now)
    ON CONFLICT (name) DO UPDATE SET name = excluded.name
    RETURNING id, version
), v AS (
    INSERT INTO template_versions (template_id, version, content, variables, category, created_at)
    SELECT t.id, t.version, '{text}', '{text}', 'utility', @now FROM t ON CONFLICT DO NOTHING
), tv AS (  -- free text, within 24 hours of what it answers: there is nothing to approve
    INSERT INTO template_variants (template_id, version, position, locale, content, variables, mapping, approval)
    SELECT t.id, t.version, 0, 'en', '{text}', '{text}', '{"1": "text"}', 'not_needed' FROM t ON CONFLICT DO NOTHING
), c AS (
    INSERT INTO campaigns (topic, template_id, reply_sender_id, status, rate_limit_per_second, priority, failure_threshold_percent,
        window_policy, trigger, trigger_name, created_at, updated_at)
    SELECT 'Automatic replies', t.id, @sender_id::integer, 'RUNNING', @rate_limit_per_second, 'transactional', 0,
        'suppress', 'event', @trigger_name, @now, @now FROM t
    ON CONFLICT (reply_sender_id) DO NOTHING
    RETURNING id, template_id
)
INSERT INTO campaign_runs (campaign_id, number, kind, template_id, template_version, sender_id, started_by, started_at)
SELECT c.id, 1, 'event', t.id, t.version, @sender_id::integer, @started_by, @now FROM c JOIN t ON t.id = c.template_id
RETURNING id, campaign_id, number;
