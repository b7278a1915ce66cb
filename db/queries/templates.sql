-- name: TemplateInsert :one
INSERT INTO templates (name, channel, locale, created_at, updated_at) VALUES (@name, @channel, @locale, @now, @now)
RETURNING id;

-- name: TemplateVersionInsert :exec
INSERT INTO template_versions (template_id, version, content, variables, created_at)
VALUES (@template_id, @version, @content, @variables, @now);

-- name: TemplateGet :one
SELECT t.*, v.content, v.variables FROM templates t
JOIN template_versions v ON v.template_id = t.id AND v.version = t.version
WHERE t.id = @id;

-- name: TemplateLock :one
SELECT t.version, v.content FROM templates t
JOIN template_versions v ON v.template_id = t.id AND v.version = t.version
WHERE t.id = @id FOR UPDATE OF t;

-- name: TemplateList :many
SELECT t.*, v.content, v.variables FROM templates t
JOIN template_versions v ON v.template_id = t.id AND v.version = t.version
WHERE sqlc.narg(after)::integer IS NULL OR t.id < sqlc.narg(after)
ORDER BY t.id DESC LIMIT @at_most;

-- name: TemplateTotal :one
SELECT count(*) FROM templates;

-- name: TemplateUpdate :exec
UPDATE templates SET name = @name, version = @version, channel = @channel, locale = @locale, updated_at = @now
WHERE id = @id;

-- name: TemplateDelete :execrows
DELETE FROM templates WHERE id = @id;
