-- +goose Up
-- The ledger: one message per person and run, every attempt at it, and what the provider said.

-- uuid_v7 makes a UUID (RFC 9562, version 7) whose order is that of at, to the millisecond.
CREATE FUNCTION uuid_v7(at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

CREATE TABLE messages (
    id            uuid PRIMARY KEY,
    run_id        bigint NOT NULL REFERENCES campaign_runs (id),
    user_id       bigint REFERENCES users (id) ON DELETE SET NULL,  -- NULL: the person was erased
    dedupe_key    text NOT NULL DEFAULT '',
    seq           integer NOT NULL,  -- 1…n within the run; people of one cohort are neighbours
    channel       text NOT NULL,
    state         text NOT NULL,
    reason        text NOT NULL DEFAULT '',  -- why it waits, or why it was not sent
    waits_until   timestamptz,               -- with a reason on pending
    error_code    integer,                   -- the provider's
    attempt_count smallint NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL,
    accepted_at   timestamptz,
    sent_at       timestamptz,
    delivered_at  timestamptz,
    read_at       timestamptz,
    ended_at      timestamptz,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT messages_once_per_run UNIQUE (run_id, user_id, dedupe_key),
    CONSTRAINT messages_seq_unique UNIQUE (run_id, seq),
    CONSTRAINT messages_channel_known CHECK (channel IN ('whatsapp', 'sms')),
    CONSTRAINT messages_state_known CHECK (state IN ('pending', 'sending', 'accepted', 'sent', 'delivered', 'read',
        'failed', 'undelivered', 'suppressed', 'cancelled', 'unknown')),
    CONSTRAINT messages_unsent_has_reason CHECK (reason <> '' OR
        state NOT IN ('failed', 'undelivered', 'suppressed', 'cancelled', 'unknown')),
    CONSTRAINT messages_delivered_was_accepted CHECK (accepted_at IS NOT NULL OR
        state NOT IN ('accepted', 'sent', 'delivered', 'read'))
);
CREATE INDEX messages_run_state ON messages (run_id, state);
CREATE INDEX messages_open ON messages (run_id, seq) WHERE state IN ('pending', 'sending');
CREATE INDEX messages_without_receipt ON messages (run_id, accepted_at) WHERE state IN ('accepted', 'sent');
CREATE INDEX messages_user ON messages (user_id);
CREATE INDEX messages_errors ON messages (id DESC) WHERE error_code IS NOT NULL;
CREATE INDEX messages_updated_at ON messages USING brin (updated_at);  -- for windows of time; costs a send next to nothing

CREATE TABLE attempts (
    id           uuid PRIMARY KEY,
    message_id   uuid NOT NULL REFERENCES messages (id),
    number       smallint NOT NULL,
    state        text NOT NULL,
    carrier      text NOT NULL DEFAULT '',  -- the best the carrier reported of it
    lease_until  timestamptz NOT NULL,      -- no request of this attempt is under way after it
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz,               -- when the outcome was known
    provider_sid text,
    http_status  integer,
    error_code   integer,
    detail       text NOT NULL DEFAULT '',
    body_sha256  bytea NOT NULL,
    looks        smallint NOT NULL DEFAULT 0,  -- at the provider's list, while the outcome is unknown
    failed_looks smallint NOT NULL DEFAULT 0,
    CONSTRAINT attempts_number_unique UNIQUE (message_id, number),
    CONSTRAINT attempts_provider_sid_unique UNIQUE (provider_sid),
    CONSTRAINT attempts_state_known CHECK (state IN ('open', 'accepted', 'refused', 'absent', 'unknown')),
    CONSTRAINT attempts_carrier_known CHECK (carrier IN ('', 'sent', 'delivered', 'read', 'failed', 'undelivered')),
    CONSTRAINT attempts_accepted_has_sid CHECK (state <> 'accepted' OR provider_sid IS NOT NULL)
);
CREATE UNIQUE INDEX attempts_one_open ON attempts (message_id) WHERE state = 'open';
CREATE INDEX attempts_open_lease ON attempts (lease_until) WHERE state = 'open';

-- Status callbacks as they came. One row per thing said; repeats counts how often it was said again.
CREATE TABLE receipts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_sid text NOT NULL,
    attempt_id   uuid REFERENCES attempts (id),  -- NULL: not known yet, or not ours
    status       text NOT NULL,                  -- the provider's word
    error_code   integer NOT NULL DEFAULT 0,
    payload      jsonb NOT NULL,
    repeats      integer NOT NULL DEFAULT 0,
    received_at  timestamptz NOT NULL,
    CONSTRAINT receipts_said_once UNIQUE (provider_sid, status, error_code)
);
CREATE INDEX receipts_attempt ON receipts (attempt_id, id);

-- The verdict on each step of every compliance check.
CREATE TABLE compliance_checks (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid NOT NULL REFERENCES messages (id),
    attempt_id uuid REFERENCES attempts (id),  -- the attempt that a 'proceed' led to
    action     text NOT NULL,
    reason     text NOT NULL,
    until      timestamptz,
    steps      jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT compliance_checks_action_known CHECK (action IN ('proceed', 'wait', 'suppress'))
);
CREATE INDEX compliance_checks_message ON compliance_checks (message_id, id);
CREATE INDEX compliance_checks_waits ON compliance_checks (message_id, reason) WHERE action = 'wait';

-- Neighbouring seq numbers of people who share zones, region and channel: they wait and wake together.
CREATE TABLE cohorts (
    run_id   bigint NOT NULL REFERENCES campaign_runs (id),
    number   integer NOT NULL,
    seq_from integer NOT NULL,
    seq_to   integer NOT NULL,
    next_seq integer NOT NULL,  -- the first that no batch holds
    zones    text[] NOT NULL,
    region   text NOT NULL,
    waits_until timestamptz,     -- the opening that its messages were last told to wait for
    PRIMARY KEY (run_id, number),
    CONSTRAINT cohorts_range CHECK (seq_from <= seq_to AND next_seq BETWEEN seq_from AND seq_to + 1)
);

CREATE TABLE batches (
    run_id     bigint NOT NULL REFERENCES campaign_runs (id),
    number     integer NOT NULL,
    seqs       integer[] NOT NULL,  -- pending when the batch was cut
    created_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, number)
);

-- When the next send of a rate-limited thing may be granted.
CREATE TABLE throttles (
    key           text PRIMARY KEY,
    next_grant_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE throttles;
DROP TABLE batches;
DROP TABLE cohorts;
DROP TABLE compliance_checks;
DROP TABLE receipts;
DROP TABLE attempts;
DROP TABLE messages;
DROP FUNCTION uuid_v7(timestamptz);
