-- +goose Up
-- What comes in (messages, imports, requests), what goes out to Temporal, and who did what.

CREATE TABLE inbound_messages (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_sid text NOT NULL,
    user_id      bigint REFERENCES users (id) ON DELETE SET NULL,
    channel      text NOT NULL,
    intent       text NOT NULL,  -- what the engine took it for
    body         text NOT NULL,
    media_count  integer NOT NULL DEFAULT 0,
    payload      jsonb NOT NULL,
    repeats      integer NOT NULL DEFAULT 0,
    received_at  timestamptz NOT NULL,
    CONSTRAINT inbound_messages_provider_sid_unique UNIQUE (provider_sid),
    CONSTRAINT inbound_messages_intent_known CHECK (intent IN ('stop', 'start', 'help', 'none'))
);
CREATE INDEX inbound_messages_received_at ON inbound_messages (received_at);
CREATE INDEX inbound_messages_user ON inbound_messages (user_id, id);

CREATE TABLE imports (
    id             uuid PRIMARY KEY,
    file_name      text NOT NULL,
    format         text NOT NULL,
    default_region text NOT NULL DEFAULT '',
    status         text NOT NULL,
    status_reason  text NOT NULL DEFAULT '',
    total          integer NOT NULL,
    processed      integer NOT NULL DEFAULT 0,
    succeeded      integer NOT NULL DEFAULT 0,
    failed         integer NOT NULL DEFAULT 0,
    merged         integer NOT NULL DEFAULT 0,  -- rows about someone already known, or named again in the file
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    completed_at   timestamptz,
    CONSTRAINT imports_format_known CHECK (format IN ('csv', 'json', 'jsonl')),
    CONSTRAINT imports_status_known CHECK (status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED')),
    CONSTRAINT imports_counts_add_up CHECK (processed = succeeded + failed AND processed <= total)
);
CREATE INDEX imports_unfinished ON imports (created_at) WHERE status IN ('PENDING', 'RUNNING');

-- A row waits here until it is taken into users; a refused one stays, with the reason.
CREATE TABLE import_rows (
    import_id    uuid NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    line         integer NOT NULL,  -- in the file, from 1; for JSON arrays the element's number
    data         jsonb,             -- NULL: the line could not be read at all
    error_field  text NOT NULL DEFAULT '',
    error_detail text NOT NULL DEFAULT '',
    processed    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (import_id, line)
);
CREATE INDEX import_rows_waiting ON import_rows (import_id, line) WHERE NOT processed;

-- What has to happen in Temporal because of a change made here, written in the change's transaction.
CREATE TABLE outbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL,
    payload         jsonb NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL,
    next_attempt_at timestamptz NOT NULL
);
CREATE INDEX outbox_due ON outbox (next_attempt_at, id);

CREATE TABLE idempotency_keys (
    principal       text NOT NULL,
    key             text NOT NULL,
    request_sha256  bytea NOT NULL,
    response_status integer NOT NULL,
    response_type   text NOT NULL,
    response_body   bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

CREATE TABLE api_keys (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL,
    prefix       text NOT NULL,  -- the key's readable beginning, to tell keys apart
    key_sha256   bytea NOT NULL,
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    CONSTRAINT api_keys_key_unique UNIQUE (key_sha256),
    CONSTRAINT api_keys_name_unique UNIQUE (name),
    CONSTRAINT api_keys_scopes_known CHECK (scopes <@ ARRAY['read', 'write', 'send', 'admin'] AND cardinality(scopes) > 0)
);

CREATE TABLE audit_events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    principal  text NOT NULL,
    action     text NOT NULL,
    subject    text NOT NULL,  -- such as campaign/7; never a number or a name
    detail     jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
);
CREATE INDEX audit_events_subject ON audit_events (subject, id);

-- +goose Down
DROP TABLE audit_events;
DROP TABLE api_keys;
DROP TABLE idempotency_keys;
DROP TABLE outbox;
DROP TABLE import_rows;
DROP TABLE imports;
DROP TABLE inbound_messages;
