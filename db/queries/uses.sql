-- name: AttributeNames :many
-- What the newest people have, two levels deep, the most frequent first. Lists and objects within objects are named, not entered.
WITH newest AS (
    SELECT attributes FROM users ORDER BY id DESC LIMIT @people
), top AS (
    SELECT e.key AS name, e.value FROM newest CROSS JOIN LATERAL jsonb_each(newest.attributes) AS e(key, value) WHERE strpos(e.key, '.') = 0
), named AS (
    SELECT name, value FROM top WHERE jsonb_typeof(value) NOT IN ('object', 'null')
    UNION ALL
    SELECT top.name || '.' || e.key, e.value
    FROM top CROSS JOIN LATERAL jsonb_each(CASE WHEN jsonb_typeof(top.value) = 'object' THEN top.value ELSE '{}' END) AS e(key, value)
    WHERE jsonb_typeof(e.value) NOT IN ('object', 'null') AND strpos(e.key, '.') = 0
)
SELECT name::text AS name, array_agg(DISTINCT jsonb_typeof(value))::text[] AS types, count(*)::integer AS people,
       count(DISTINCT value) FILTER (WHERE jsonb_typeof(value) = 'string')::integer AS texts,
       coalesce((array_agg(DISTINCT left(value #>> '{}', 100)) FILTER (WHERE jsonb_typeof(value) = 'string'))[1:@at_most_values::integer], '{}')::text[] AS values
FROM named WHERE length(name) <= 200
GROUP BY name ORDER BY count(*) DESC, name LIMIT @at_most;

-- name: SegmentUses :many
-- The campaigns and segments that name this segment.
SELECT 'campaign'::text AS kind, c.id, c.topic AS name, c.status::text AS status,
       (CASE WHEN c.segment_id = @id::integer THEN 'audience' WHEN @id::integer = ANY (c.exclude_segment_ids) THEN 'exclusion'
             WHEN c.exit_segment_id = @id::integer THEN 'exit' ELSE 'definition' END)::text AS used_as
FROM campaigns c
WHERE c.segment_id = @id::integer OR c.exit_segment_id = @id::integer OR c.id IN (SELECT su.by_campaign_id FROM segment_uses su WHERE su.segment_id = @id::integer)
UNION ALL
SELECT DISTINCT 'segment', s.id, s.name, '', 'definition'
FROM segments s JOIN segment_uses su ON su.by_segment_id = s.id WHERE su.segment_id = @id::integer
ORDER BY kind, id DESC LIMIT @at_most;

-- name: TemplateUses :many
-- The campaigns that send a template, first or in a later step, those of the engine itself left out.
SELECT c.id, c.topic AS name, c.status, (CASE WHEN c.template_id = @id::integer THEN 'template' ELSE 'step' END)::text AS used_as
FROM campaigns c
WHERE c.reply_sender_id IS NULL
  AND (c.template_id = @id::integer OR c.id IN (SELECT st.campaign_id FROM campaign_steps st WHERE st.template_id = @id::integer))
ORDER BY c.id DESC LIMIT @at_most;

-- name: TemplateVersions :many
-- A template in each of its versions, newest first.
SELECT t.id, t.name, t.channel, t.locale, v.version, v.content, v.variables, v.category, v.collapse_whitespace, v.created_at,
       (SELECT jsonb_agg(to_jsonb(o) ORDER BY o.position) FROM template_variants o WHERE o.template_id = v.template_id AND o.version = v.version)::jsonb AS variants
FROM templates t JOIN template_versions v ON v.template_id = t.id
WHERE t.id = @id AND (sqlc.narg(before)::integer IS NULL OR v.version < sqlc.narg(before))
ORDER BY v.version DESC LIMIT @at_most;
