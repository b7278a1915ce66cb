-- name: TopicInsert :one
INSERT INTO topics (keyword, name, description, created_at) VALUES (sqlc.narg(keyword), @name, @description, @now) RETURNING *;

-- name: TopicGet :one
SELECT * FROM topics WHERE id = @id;

-- name: TopicByKeyword :one
SELECT * FROM topics WHERE keyword = @keyword::text;

-- name: TopicList :many
SELECT * FROM topics WHERE sqlc.narg(after)::integer IS NULL OR id < sqlc.narg(after) ORDER BY id DESC LIMIT @at_most;

-- name: TopicTotal :one
SELECT count(*) FROM topics;

-- name: TopicUpdate :one
UPDATE topics SET keyword = sqlc.narg(keyword), name = @name, description = @description WHERE id = @id RETURNING *;

-- name: TopicDelete :execrows
DELETE FROM topics WHERE id = @id;

-- name: SubscriberList :many
-- Who is subscribed to a topic, the newest people first.
SELECT u.id, u.phone_number, u.consent_state, s.created_at
FROM subscriptions s JOIN users u ON u.id = s.user_id
WHERE s.topic_id = @topic_id AND (sqlc.narg(after)::bigint IS NULL OR s.user_id < sqlc.narg(after))
ORDER BY s.user_id DESC LIMIT @at_most;

-- name: SubscriberTotal :one
SELECT count(*) FROM subscriptions WHERE topic_id = @topic_id;

-- name: SubscriptionInsert :execrows
INSERT INTO subscriptions (topic_id, user_id, created_at) VALUES (@topic_id, @user_id, @now) ON CONFLICT DO NOTHING;

-- name: SubscriptionDelete :execrows
DELETE FROM subscriptions WHERE topic_id = @topic_id AND user_id = @user_id;

-- name: SubscriptionEventInsert :exec
INSERT INTO subscription_events (topic_id, user_id, subscribed, source, evidence, actor, created_at)
VALUES (@topic_id, @user_id, @subscribed, @source, @evidence, @actor, @now);

-- name: SubscriptionsOfUser :many
-- What a person last said, or had said for them, about each topic.
SELECT DISTINCT ON (e.topic_id) e.topic_id, e.subscribed, e.source, e.evidence, e.actor, e.created_at, t.keyword, t.name
FROM subscription_events e JOIN topics t ON t.id = e.topic_id
WHERE e.user_id = @user_id AND (sqlc.narg(topic_id)::integer IS NULL OR e.topic_id = sqlc.narg(topic_id))
ORDER BY e.topic_id, e.id DESC;

-- name: SubscriptionEvents :many
-- All that a person said, or had said for them, about topics, newest first.
SELECT e.topic_id, e.subscribed, e.source, e.evidence, e.actor, e.created_at, t.keyword, t.name
FROM subscription_events e JOIN topics t ON t.id = e.topic_id
WHERE e.user_id = @user_id ORDER BY e.id DESC;

-- name: TopicMessagesWithdraw :many
-- Ends what a person still waits for of the campaigns to a topic's subscribers. The caller holds the person's row.
WITH waiting AS (
    SELECT m.id FROM messages m JOIN campaign_runs r ON r.id = m.run_id JOIN campaigns c ON c.id = r.campaign_id
    WHERE m.user_id = @user_id::bigint AND m.state = 'pending' AND c.subscription_topic_id = @topic_id::integer
    ORDER BY m.id FOR UPDATE OF m
), ended AS (
    UPDATE messages m SET state = 'suppressed', reason = @reason, waits_until = NULL, ended_at = @now, updated_at = @now
    FROM waiting w, campaign_runs r
    WHERE m.id = w.id AND m.state = 'pending' AND r.id = m.run_id
    RETURNING m.id, m.run_id, r.campaign_id, r.number, m.seq
), judged AS (
    INSERT INTO compliance_checks (message_id, action, reason, steps, created_at)
    SELECT e.id, 'suppress', @reason, jsonb_build_array(jsonb_build_object('step', 'consent', 'result', 'failed', 'detail', @reason::text)), @now FROM ended e
)
SELECT e.run_id, e.campaign_id, e.number, e.seq FROM ended e;
