-- name: TemplateInsert :one
INSERT INTO templates (name, channel, locale, created_at, updated_at) VALUES (@name, @channel, @locale, @now, @now)
RETURNING id;

-- name: TemplateVersionInsert :exec
INSERT INTO template_versions (template_id, version, content, variables, category, collapse_whitespace, created_at)
VALUES (@template_id, @version, @content, @variables, @category, @collapse_whitespace, @now);

-- name: TemplateVariantInsert :batchexec
INSERT INTO template_variants (template_id, version, position, locale, content, variables, mapping, content_sid, given, approval)
VALUES (@template_id, @version, @position, @locale, @content, @variables, @mapping, sqlc.narg(content_sid), @given, @approval);

-- name: TemplateGet :one
SELECT t.*, v.content, v.variables, v.category, v.collapse_whitespace,
       (SELECT jsonb_agg(to_jsonb(o) ORDER BY o.position) FROM template_variants o WHERE o.template_id = v.template_id AND o.version = v.version)::jsonb AS variants
FROM templates t JOIN template_versions v ON v.template_id = t.id AND v.version = t.version
WHERE t.id = @id;

-- name: TemplateLock :one
SELECT t.id, EXISTS (SELECT 1 FROM campaigns c WHERE c.template_id = t.id AND c.reply_sender_id IS NOT NULL)::boolean AS built_in
FROM templates t WHERE t.id = @id FOR UPDATE;

-- name: TemplateList :many
-- Those that people made: the built-in ones of the replies are not listed.
SELECT t.*, v.content, v.variables, v.category, v.collapse_whitespace,
       (SELECT jsonb_agg(to_jsonb(o) ORDER BY o.position) FROM template_variants o WHERE o.template_id = v.template_id AND o.version = v.version)::jsonb AS variants
FROM templates t JOIN template_versions v ON v.template_id = t.id AND v.version = t.version
WHERE (sqlc.narg(after)::integer IS NULL OR t.id < sqlc.narg(after)) AND t.id <> ALL (ARRAY(SELECT c.template_id FROM campaigns c WHERE c.reply_sender_id IS NOT NULL))
ORDER BY t.id DESC LIMIT @at_most;

-- name: TemplateTotal :one
SELECT count(*) FROM templates t WHERE t.id <> ALL (ARRAY(SELECT c.template_id FROM campaigns c WHERE c.reply_sender_id IS NOT NULL));

-- name: TemplateUpdate :exec
UPDATE templates SET name = @name, version = @version, channel = @channel, locale = @locale, updated_at = @now
WHERE id = @id;

-- name: TemplateDelete :execrows
DELETE FROM templates WHERE id = @id;

-- name: VariantGet :one
SELECT v.*, tv.category FROM template_variants v
JOIN template_versions tv ON tv.template_id = v.template_id AND tv.version = v.version
WHERE v.template_id = @template_id AND v.version = @version AND v.locale = @locale;

-- name: VariantSubmitted :exec
UPDATE template_variants SET content_sid = coalesce(content_sid, @content_sid), submitted_at = coalesce(submitted_at, @now)
WHERE template_id = @template_id AND version = @version AND locale = @locale;

-- name: VariantApproval :execrows
-- No row: it was so before.
UPDATE template_variants SET approval = @approval, approval_reason = @approval_reason
WHERE template_id = @template_id AND version = @version AND locale = @locale
  AND (approval, approval_reason) IS DISTINCT FROM (sqlc.arg(approval)::text, sqlc.arg(approval_reason)::text);

-- name: VariantChecked :exec
UPDATE template_variants SET checked_at = @now WHERE template_id = @template_id AND version = @version AND locale = @locale;

-- name: VariantsWithContent :many
-- Those that may still be sent: of the newest versions and of runs under way.
SELECT v.template_id, v.version, v.locale, v.content, v.mapping, v.content_sid, v.given, v.approval FROM template_variants v
JOIN templates t ON t.id = v.template_id
WHERE v.content_sid IS NOT NULL AND v.approval <> 'unsubmitted' AND (v.version = t.version OR EXISTS (
    SELECT 1 FROM campaign_runs r WHERE r.template_id = v.template_id AND r.template_version = v.version AND r.finished_at IS NULL) OR EXISTS (
    SELECT 1 FROM run_steps s JOIN campaign_runs r ON r.id = s.run_id
    WHERE s.template_id = v.template_id AND s.template_version = v.version AND r.finished_at IS NULL))
ORDER BY v.template_id, v.version, v.position;

-- name: ContentsDelete :exec
DELETE FROM contents WHERE synced_at < @synced_at;

-- name: ContentPut :batchexec
INSERT INTO contents (sid, friendly_name, language, content_type, body, variables, category, approval, approval_reason, synced_at)
VALUES (@sid, @friendly_name, @language, @content_type, @body, @variables, @category, @approval, @approval_reason, @synced_at)
ON CONFLICT (sid) DO UPDATE SET friendly_name = excluded.friendly_name, language = excluded.language, content_type = excluded.content_type,
    body = excluded.body, variables = excluded.variables, category = excluded.category, approval = excluded.approval,
    approval_reason = excluded.approval_reason, synced_at = excluded.synced_at;

-- name: ContentList :many
SELECT sqlc.embed(c), coalesce((SELECT min(v.template_id) FROM template_variants v WHERE v.content_sid = c.sid), 0)::integer AS template_id
FROM contents c WHERE (@after::text = '' OR c.sid > @after) ORDER BY c.sid LIMIT @at_most;

-- name: ContentCount :one
SELECT count(*) FROM contents;

-- name: ContentGet :one
SELECT * FROM contents WHERE sid = @sid;

-- name: VariantsUndecided :many
-- Those that may still be sent: of the newest versions and of runs under way.
SELECT v.template_id, v.version, v.locale FROM template_variants v JOIN templates t ON t.id = v.template_id
WHERE v.approval IN ('unsubmitted', 'received', 'pending') AND (v.version = t.version OR EXISTS (
    SELECT 1 FROM campaign_runs r WHERE r.template_id = v.template_id AND r.template_version = v.version AND r.finished_at IS NULL) OR EXISTS (
    SELECT 1 FROM run_steps s JOIN campaign_runs r ON r.id = s.run_id
    WHERE s.template_id = v.template_id AND s.template_version = v.version AND r.finished_at IS NULL))
ORDER BY v.template_id, v.version, v.position;
