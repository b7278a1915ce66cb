-- +goose Up
-- What is sent, to whom and how: templates, senders, campaigns and their runs.

CREATE TABLE templates (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    version    integer NOT NULL DEFAULT 1,  -- the newest; its text is in template_versions
    channel    text NOT NULL,
    locale     text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT templates_name_unique UNIQUE (name),
    CONSTRAINT templates_channel_known CHECK (channel IN ('whatsapp', 'sms'))
);

-- A version never changes: a run pins the one it sends.
CREATE TABLE template_versions (
    template_id integer NOT NULL REFERENCES templates (id) ON DELETE CASCADE,
    version     integer NOT NULL,
    content     text NOT NULL,
    variables   text[] NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (template_id, version)
);

-- Our own addresses.
CREATE TABLE senders (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel    text NOT NULL,
    address    text NOT NULL,  -- E.164
    created_at timestamptz NOT NULL,
    CONSTRAINT senders_address_unique UNIQUE (channel, address),
    CONSTRAINT senders_channel_known CHECK (channel IN ('whatsapp', 'sms'))
);

CREATE TABLE campaigns (
    id                    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic                 text NOT NULL,  -- a title; restricts nobody
    template_id           integer NOT NULL REFERENCES templates (id),
    segment_id            integer REFERENCES segments (id),
    segment_query         jsonb,
    subscription_topic_id integer REFERENCES topics (id),
    status                text NOT NULL DEFAULT 'DRAFT',
    status_reason         text NOT NULL DEFAULT '',
    rate_limit_per_second integer NOT NULL DEFAULT 10,
    quiet_start           smallint,  -- minutes after local midnight; both or neither
    quiet_end             smallint,
    timezone              text NOT NULL DEFAULT 'UTC',  -- for people without a zone of their own
    schedule_time         timestamptz,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    CONSTRAINT campaigns_has_audience CHECK (num_nonnulls(segment_id, segment_query) = 1),
    CONSTRAINT campaigns_status_known CHECK (status IN
        ('DRAFT', 'SCHEDULED', 'RUNNING', 'PAUSED', 'COMPLETED', 'CANCELLED', 'FAILED')),
    CONSTRAINT campaigns_rate_bounds CHECK (rate_limit_per_second BETWEEN 1 AND 1000),
    CONSTRAINT campaigns_quiet_hours CHECK ((quiet_start IS NULL AND quiet_end IS NULL) OR
        (quiet_start BETWEEN 0 AND 1439 AND quiet_end BETWEEN 0 AND 1439 AND quiet_start <> quiet_end))
);
CREATE INDEX campaigns_template ON campaigns (template_id);
CREATE INDEX campaigns_segment ON campaigns (segment_id);
CREATE INDEX campaigns_status ON campaigns (status, id);

CREATE TABLE campaign_runs (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id      integer NOT NULL REFERENCES campaigns (id),
    number           integer NOT NULL,
    kind             text NOT NULL,
    template_id      integer NOT NULL,
    template_version integer NOT NULL,
    sender_id        integer NOT NULL REFERENCES senders (id),
    started_by       text NOT NULL,
    started_at       timestamptz NOT NULL,
    not_before       timestamptz,   -- the schedule; NULL: at once
    frozen_at        timestamptz,   -- when the audience was written; NULL: not yet
    audience_size    integer NOT NULL DEFAULT 0,
    finished_at      timestamptz,   -- when no message was pending or sending any more
    settled_at       timestamptz,   -- when every receipt was in, or its deadline over
    CONSTRAINT campaign_runs_number_unique UNIQUE (campaign_id, number),
    CONSTRAINT campaign_runs_kind_known CHECK (kind IN ('trigger')),
    FOREIGN KEY (template_id, template_version) REFERENCES template_versions (template_id, version)
);
CREATE UNIQUE INDEX campaign_runs_one_active ON campaign_runs (campaign_id) WHERE finished_at IS NULL;

-- +goose Down
DROP TABLE campaign_runs;
DROP TABLE campaigns;
DROP TABLE senders;
DROP TABLE template_versions;
DROP TABLE templates;
