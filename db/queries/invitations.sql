-- name: InvitationSettingsGet :one
SELECT confirm_within_hours, invite_again_after_days, words FROM invitation_settings;

-- name: InvitationSettingsSet :exec
UPDATE invitation_settings SET confirm_within_hours = @confirm_within_hours, invite_again_after_days = @invite_again_after_days, words = @words;

-- name: InvitationPeople :many
-- What decides whether these people, whose rows the caller holds, may be invited over a channel, and when they were last
-- invited, with a message that was sent or may still be; the epoch for never.
SELECT u.id, u.consent_state, (u.suppressed && suppression_scopes(@channel, NULL))::boolean AS suppressed, coalesce(last.created_at, 'epoch')::timestamptz AS invited_at
FROM users u
LEFT JOIN LATERAL (
    SELECT i.created_at FROM invitations i JOIN messages m ON m.id = i.message_id
    WHERE i.user_id = u.id AND (m.accepted_at IS NOT NULL OR m.state NOT IN ('suppressed', 'cancelled', 'failed'))
    ORDER BY i.created_at DESC LIMIT 1
) last ON true
WHERE u.id = ANY(@user_ids::bigint[]) ORDER BY u.id;

-- name: InvitationsInsert :exec
INSERT INTO invitations (message_id, user_id, confirm_within_hours, evidence, actor, created_at)
SELECT unnest(@message_ids::uuid[]), unnest(@user_ids::bigint[]), @confirm_within_hours, unnest(@evidences::text[]), @actor, @now;

-- name: InvitationOpen :one
-- The invitation over a channel that a person may confirm now. The provider may have taken what is sending or unknown.
SELECT i.message_id, a.content_sid,
       (SELECT jsonb_agg(to_jsonb(v) - 'variables' ORDER BY v.position) FROM template_variants v
        WHERE v.template_id = r.template_id AND v.version = r.template_version)::jsonb AS variants
FROM invitations i
JOIN messages m ON m.id = i.message_id
JOIN campaign_runs r ON r.id = m.run_id
LEFT JOIN LATERAL (SELECT t.content_sid FROM attempts t WHERE t.message_id = m.id ORDER BY t.number DESC LIMIT 1) a ON true
WHERE i.user_id = @user_id AND i.confirmed_at IS NULL AND m.channel = @channel
  AND m.state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown')
  AND coalesce(m.accepted_at, m.updated_at) + make_interval(hours => i.confirm_within_hours) > sqlc.arg(now)::timestamptz
ORDER BY i.created_at DESC LIMIT 1;

-- name: InvitationConfirm :exec
UPDATE invitations SET confirmed_at = @now WHERE message_id = @message_id;

-- name: InvitationsOfUser :many
-- Newest first.
SELECT i.message_id, i.evidence, i.actor, i.created_at, i.confirmed_at, r.campaign_id, m.state, m.reason, m.waits_until, m.accepted_at, i.confirm_within_hours
FROM invitations i JOIN messages m ON m.id = i.message_id JOIN campaign_runs r ON r.id = m.run_id
WHERE i.user_id = @user_id ORDER BY i.created_at DESC, i.message_id DESC LIMIT @at_most;
