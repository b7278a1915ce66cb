-- +goose Up
-- Sending fast, and stopping exactly.

-- What the whole account may send; one row.
CREATE TABLE account_limits (
    only_row            boolean PRIMARY KEY DEFAULT true,
    messages_per_second integer NOT NULL DEFAULT 1000,
    CONSTRAINT account_limits_one_row CHECK (only_row),
    CONSTRAINT account_limits_rate_bounds CHECK (messages_per_second BETWEEN 1 AND 2000)
);
INSERT INTO account_limits DEFAULT VALUES;

-- campaign_gate lets a send of the campaign begin: it waits while a pause or a cancel is about to close the gate, and
-- returns the campaign's status as of then. Who enters holds the gate open until the end of the transaction. An advisory
-- lock is fair where a row lock is not: whoever closes is not overtaken by those who keep coming.
-- +goose StatementBegin
CREATE FUNCTION campaign_gate(campaign integer) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1, campaign);
    RETURN (SELECT c.status FROM campaigns c WHERE c.id = campaign);  -- a snapshot of its own, taken behind the lock
END $$;

-- campaign_gate_close returns once no send of the campaign is just beginning; none begins until the transaction ends.
CREATE FUNCTION campaign_gate_close(campaign integer) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(1, campaign)
$$;
-- +goose StatementEnd

-- One index serves uniqueness and the look for all of a person's messages.
ALTER TABLE messages DROP CONSTRAINT messages_once_per_run,
    ADD CONSTRAINT messages_once_per_run UNIQUE (user_id, run_id, dedupe_key);
DROP INDEX messages_user;

-- +goose Down
CREATE INDEX messages_user ON messages (user_id);
ALTER TABLE messages DROP CONSTRAINT messages_once_per_run,
    ADD CONSTRAINT messages_once_per_run UNIQUE (run_id, user_id, dedupe_key);
DROP FUNCTION campaign_gate_close(integer);
DROP FUNCTION campaign_gate(integer);
DROP TABLE account_limits;
