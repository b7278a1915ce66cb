-- +goose Up
-- Who may be messaged: people, their consent, and the segments that select them.

CREATE TABLE users (
    phone_number    text PRIMARY KEY,
    id              bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    attributes      jsonb NOT NULL DEFAULT '{}',
    consent_state   text NOT NULL DEFAULT 'PENDING',
    region          text NOT NULL DEFAULT '',       -- ISO 3166-1 alpha-2, derived from the number; '' when unknown
    zones           text[] NOT NULL DEFAULT '{}',   -- candidate IANA time zones, sorted
    zone_source     text NOT NULL DEFAULT '',       -- where zones came from
    last_inbound_at timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    CONSTRAINT users_id_unique UNIQUE (id),
    CONSTRAINT users_phone_number_is_e164 CHECK (phone_number ~ '^\+[1-9][0-9]{1,14}$'),
    CONSTRAINT users_attributes_is_object CHECK (jsonb_typeof(attributes) = 'object'),
    CONSTRAINT users_consent_state_known CHECK (consent_state IN ('PENDING', 'OPT_IN', 'OPT_OUT', 'STOP')),
    CONSTRAINT users_zone_source_known CHECK (zone_source IN ('', 'attribute', 'number'))
);
CREATE INDEX users_consent_state_id ON users (consent_state, id);
CREATE INDEX users_attributes ON users USING gin (attributes jsonb_path_ops);
CREATE INDEX users_phone_number_prefix ON users (phone_number text_pattern_ops);

-- Append-only: every change of anyone's consent, and who said so.
CREATE TABLE consent_events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    state      text NOT NULL,
    source     text NOT NULL,
    evidence   text NOT NULL DEFAULT '',  -- message SID, import and line, an operator's words
    actor      text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT consent_events_state_known CHECK (state IN ('PENDING', 'OPT_IN', 'OPT_OUT', 'STOP')),
    CONSTRAINT consent_events_source_known CHECK (source IN ('import', 'api', 'keyword', 'operator', 'carrier'))
);
CREATE INDEX consent_events_user ON consent_events (user_id, id);
CREATE INDEX consent_events_created_at ON consent_events (created_at);

CREATE TABLE topics (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT topics_name_unique UNIQUE (name)
);

CREATE TABLE subscriptions (
    topic_id   integer NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (topic_id, user_id)
);
CREATE INDEX subscriptions_user ON subscriptions (user_id);

CREATE TABLE segments (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT segments_name_unique UNIQUE (name)
);

-- +goose Down
DROP TABLE segments;
DROP TABLE subscriptions;
DROP TABLE topics;
DROP TABLE consent_events;
DROP TABLE users;
