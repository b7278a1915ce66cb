-- +goose Up
-- Who said so, when and how; who is never written to; the erasure of a person; what is kept for how long.

ALTER TABLE consent_events ADD COLUMN wording text NOT NULL DEFAULT '',  -- what the person was shown, or sent
    ADD COLUMN caller_ip text NOT NULL DEFAULT '',                       -- of a change over the API
    DROP CONSTRAINT consent_events_source_known,
    ADD CONSTRAINT consent_events_source_known CHECK (source IN
        ('import', 'api', 'keyword', 'button', 'operator', 'carrier', 'unknown'));

-- From here on every person's history begins with the state they were added in.
INSERT INTO consent_events (user_id, state, source, evidence, actor, created_at)
SELECT u.id, u.consent_state, 'unknown', 'added before the first state was recorded', 'migration', u.created_at
FROM users u WHERE NOT EXISTS (SELECT 1 FROM consent_events e WHERE e.user_id = u.id);

-- +goose StatementBegin
CREATE FUNCTION consent_events_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A person's events go with the person: their row is gone when the cascade comes here.
    IF TG_OP = 'DELETE' THEN
        IF NOT EXISTS (SELECT 1 FROM users WHERE id = OLD.user_id) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'consent_events only grows: nothing in it is changed or removed' USING ERRCODE = 'restrict_violation';
END $$;
-- +goose StatementEnd
CREATE TRIGGER consent_events_only_grow BEFORE UPDATE OR DELETE ON consent_events
    FOR EACH ROW EXECUTE FUNCTION consent_events_only_grow();
CREATE TRIGGER consent_events_stay BEFORE TRUNCATE ON consent_events
    FOR EACH STATEMENT EXECUTE FUNCTION consent_events_only_grow();

-- Numbers that are not written to, whoever they belong to and however often they are added again. A number is kept as its
-- HMAC-SHA-256 under a key that the database does not have.
CREATE TABLE suppressions (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number_hmac     bytea NOT NULL,
    key_id          text NOT NULL,                                    -- tells keys apart
    scope           text NOT NULL,                                    -- global, channel:sms, topic:7
    user_id         bigint REFERENCES users (id) ON DELETE SET NULL,  -- whose number it is; NULL: nobody's that is known
    reason          text NOT NULL,
    evidence        text NOT NULL DEFAULT '',
    source          text NOT NULL,
    actor           text NOT NULL,
    created_at      timestamptz NOT NULL,
    lifted_at       timestamptz,                                      -- NULL: in force
    lifted_by       text NOT NULL DEFAULT '',
    lifted_evidence text NOT NULL DEFAULT '',
    CONSTRAINT suppressions_scope_known CHECK (scope ~ '^(global|channel:(whatsapp|sms)|topic:[1-9][0-9]{0,9})$'),
    CONSTRAINT suppressions_reason_known CHECK (reason IN
        ('complaint', 'do_not_contact', 'invalid_number', 'legal', 'erased', 'other')),
    CONSTRAINT suppressions_source_known CHECK (source IN ('api', 'import', 'erasure')),
    CONSTRAINT suppressions_lifted_by_someone CHECK ((lifted_at IS NULL) = (lifted_by = ''))
);
CREATE UNIQUE INDEX suppressions_once ON suppressions (number_hmac, scope) WHERE lifted_at IS NULL;
CREATE INDEX suppressions_number ON suppressions (number_hmac);
CREATE INDEX suppressions_user ON suppressions (user_id) WHERE user_id IS NOT NULL;

-- The scopes in force for the person's number, so that a send asks nothing but the person's own row.
ALTER TABLE users ADD COLUMN suppressed text[] NOT NULL DEFAULT '{}';

-- suppression_scopes are the scopes that forbid a message on the channel to subscribers of the topic, which may be NULL.
CREATE FUNCTION suppression_scopes(channel text, topic integer) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_remove(ARRAY['global', 'channel:' || channel, 'topic:' || topic::text], NULL)
$$;

-- The erasure of a person. The number stays until the provider's list was read for the last time, for it finds by number
-- alone; what is to be removed there is named by its SID.
CREATE TABLE erasures (
    id           uuid PRIMARY KEY,
    phone_number text,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    completed_at timestamptz,
    CONSTRAINT erasures_complete_forgets CHECK (completed_at IS NULL OR phone_number IS NULL)
);
CREATE INDEX erasures_open ON erasures (requested_at) WHERE completed_at IS NULL;

CREATE TABLE erasure_copies (
    erasure_id   uuid NOT NULL REFERENCES erasures (id) ON DELETE CASCADE,
    provider_sid text NOT NULL,
    removed_at   timestamptz,  -- NULL: the provider still has it
    PRIMARY KEY (erasure_id, provider_sid)
);
CREATE INDEX erasure_copies_left ON erasure_copies (erasure_id, provider_sid) WHERE removed_at IS NULL;

-- How far retention has come: everything up to the id was looked at and is empty.
CREATE TABLE retention_marks (
    kind    text PRIMARY KEY,
    through bigint NOT NULL DEFAULT 0,
    CONSTRAINT retention_marks_kind_known CHECK (kind IN ('receipt_payloads', 'inbound_payloads', 'inbound_bodies'))
);
INSERT INTO retention_marks (kind) VALUES ('receipt_payloads'), ('inbound_payloads'), ('inbound_bodies');

-- +goose Down
DROP TABLE retention_marks;
DROP TABLE erasure_copies;
DROP TABLE erasures;
DROP FUNCTION suppression_scopes(text, integer);
ALTER TABLE users DROP COLUMN suppressed;
DROP TABLE suppressions;
DROP TRIGGER consent_events_stay ON consent_events;
DROP TRIGGER consent_events_only_grow ON consent_events;
DROP FUNCTION consent_events_only_grow();
DELETE FROM consent_events WHERE source = 'unknown';
UPDATE consent_events SET source = 'keyword' WHERE source = 'button';
ALTER TABLE consent_events DROP CONSTRAINT consent_events_source_known,
    ADD CONSTRAINT consent_events_source_known CHECK (source IN ('import', 'api', 'keyword', 'operator', 'carrier')),
    DROP COLUMN caller_ip, DROP COLUMN wording;
