-- +goose Up
-- WhatsApp's rules: what a template says in each language, whether WhatsApp has approved it, and when it has to be used.

-- Who a template is for decides where it may be sent; a change of it makes a new version, which is approved anew.
ALTER TABLE template_versions ADD COLUMN category text NOT NULL DEFAULT 'marketing',
    ADD COLUMN collapse_whitespace boolean NOT NULL DEFAULT false,  -- of values, which WhatsApp's templates take on one line only
    ADD CONSTRAINT template_versions_category_known CHECK (category IN ('marketing', 'utility', 'authentication'));

-- What a version says in one language. The text of a template's own locale stands in template_versions as well.
CREATE TABLE template_variants (
    template_id     integer NOT NULL,
    version         integer NOT NULL,
    position        smallint NOT NULL,  -- 0 is the template's own locale; the others as they were given
    locale          text NOT NULL,
    content         text NOT NULL,
    variables       text[] NOT NULL,
    mapping         jsonb NOT NULL,     -- the provider's placeholders, each with the name of our variable
    content_sid     text,               -- the provider's template; NULL: not made yet
    given           boolean NOT NULL DEFAULT false,  -- the content was made by somebody else, who named it here
    approval        text NOT NULL,
    approval_reason text NOT NULL DEFAULT '',
    submitted_at    timestamptz,
    checked_at      timestamptz,        -- when the provider last told
    PRIMARY KEY (template_id, version, locale),
    FOREIGN KEY (template_id, version) REFERENCES template_versions (template_id, version) ON DELETE CASCADE,
    CONSTRAINT template_variants_position_unique UNIQUE (template_id, version, position),
    CONSTRAINT template_variants_mapping_is_object CHECK (jsonb_typeof(mapping) = 'object'),
    CONSTRAINT template_variants_sid_form CHECK (content_sid ~ '^HX[0-9a-fA-F]{32}$'),
    CONSTRAINT template_variants_approval_known CHECK (approval IN
        ('not_needed', 'unsubmitted', 'received', 'pending', 'approved', 'rejected', 'paused', 'disabled', 'invalid')),
    CONSTRAINT template_variants_approved_has_sid CHECK (approval <> 'approved' OR content_sid IS NOT NULL)
);
CREATE INDEX template_variants_undecided ON template_variants (template_id) WHERE approval IN ('unsubmitted', 'received', 'pending');
CREATE INDEX template_variants_content_sid ON template_variants (content_sid) WHERE content_sid IS NOT NULL;

INSERT INTO template_variants (template_id, version, position, locale, content, variables, mapping, approval)
SELECT v.template_id, v.version, 0, t.locale, v.content, v.variables,
       coalesce((SELECT jsonb_object_agg(n::text, name) FROM unnest(v.variables) WITH ORDINALITY AS u(name, n)), '{}'),
       CASE t.channel WHEN 'whatsapp' THEN 'unsubmitted' ELSE 'not_needed' END
FROM template_versions v JOIN templates t ON t.id = v.template_id;

-- What may still be sent is submitted.
INSERT INTO outbox (kind, payload, created_at, next_attempt_at)
SELECT 'template.approve', jsonb_build_object('template_id', v.template_id, 'version', v.version, 'locale', v.locale), now(), now()
FROM template_variants v JOIN templates t ON t.id = v.template_id
WHERE v.approval = 'unsubmitted' AND (v.version = t.version OR EXISTS (
    SELECT 1 FROM campaign_runs r WHERE r.template_id = v.template_id AND r.template_version = v.version AND r.finished_at IS NULL));

-- The provider's own list, as it was when last looked at.
CREATE TABLE contents (
    sid             text PRIMARY KEY,
    friendly_name   text NOT NULL,
    language        text NOT NULL,
    content_type    text NOT NULL,
    body            text NOT NULL,
    variables       jsonb NOT NULL,  -- its placeholders with their samples
    category        text NOT NULL,   -- the provider's word; '' before it was submitted
    approval        text NOT NULL,
    approval_reason text NOT NULL,
    synced_at       timestamptz NOT NULL
);

ALTER TABLE campaigns ADD COLUMN window_policy text NOT NULL DEFAULT 'template',
    ADD CONSTRAINT campaigns_window_policy_known CHECK (window_policy IN ('template', 'free_text', 'suppress'));

-- A run that waits as a whole for the approval of its template.
ALTER TABLE campaign_runs ADD COLUMN awaits_template boolean NOT NULL DEFAULT false;
CREATE INDEX campaign_runs_template ON campaign_runs (template_id, template_version) WHERE finished_at IS NULL;

ALTER TABLE attempts ADD COLUMN content_sid text;  -- the provider's template that was sent; NULL: free text

-- +goose Down
ALTER TABLE attempts DROP COLUMN content_sid;
DROP INDEX campaign_runs_template;
ALTER TABLE campaign_runs DROP COLUMN awaits_template;
ALTER TABLE campaigns DROP COLUMN window_policy;
DROP TABLE contents;
DELETE FROM outbox WHERE kind IN ('template.approve', 'templates.sync');
DROP TABLE template_variants;
ALTER TABLE template_versions DROP COLUMN collapse_whitespace, DROP COLUMN category;
