-- +goose Up
-- Drip sequences: step after step for everybody who is enrolled, with a wait before each.

CREATE TABLE campaign_steps (
    campaign_id  integer NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    number       smallint NOT NULL,  -- 1…n
    template_id  integer NOT NULL REFERENCES templates (id),
    wait_seconds integer NOT NULL,   -- since the step before, or the enrolment
    PRIMARY KEY (campaign_id, number),
    CONSTRAINT campaign_steps_bounds CHECK (number BETWEEN 1 AND 20 AND wait_seconds BETWEEN 0 AND 31536000)
);
CREATE INDEX campaign_steps_template ON campaign_steps (template_id);
ALTER TABLE campaigns ADD COLUMN exit_on_reply boolean NOT NULL DEFAULT false,
    ADD COLUMN exit_on_read boolean NOT NULL DEFAULT false,
    ADD COLUMN exit_segment_id integer REFERENCES segments (id);
CREATE INDEX campaigns_exit_segment ON campaigns (exit_segment_id) WHERE exit_segment_id IS NOT NULL;

-- What a run's steps say, as of its start.
CREATE TABLE run_steps (
    run_id           bigint NOT NULL REFERENCES campaign_runs (id),
    number           smallint NOT NULL,
    template_id      integer NOT NULL,
    template_version integer NOT NULL,
    wait_seconds     integer NOT NULL,
    PRIMARY KEY (run_id, number),
    FOREIGN KEY (template_id, template_version) REFERENCES template_versions (template_id, version)
);
CREATE INDEX run_steps_template ON run_steps (template_id, template_version);
ALTER TABLE messages ADD COLUMN step smallint;  -- of the run, whose template goes before the run's; NULL: none

CREATE TABLE enrolments (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     bigint NOT NULL REFERENCES campaign_runs (id),
    user_id    bigint REFERENCES users (id) ON DELETE SET NULL,  -- NULL: the person was erased
    dedupe_key text NOT NULL,
    variables  jsonb,              -- of the event; gone with the end
    next_step  smallint NOT NULL,  -- the one after the last when all are taken
    next_at    timestamptz NOT NULL,  -- when it is looked at next
    state      text NOT NULL,
    reason     text NOT NULL DEFAULT '',  -- why it was left
    created_at timestamptz NOT NULL,
    ended_at   timestamptz,
    CONSTRAINT enrolments_once UNIQUE (run_id, user_id, dedupe_key),
    CONSTRAINT enrolments_state_known CHECK (state IN ('active', 'completed', 'exited', 'cancelled')),
    CONSTRAINT enrolments_exit_has_reason CHECK ((state = 'exited') = (reason <> '')),
    CONSTRAINT enrolments_end CHECK ((state = 'active') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX enrolments_event ON enrolments (run_id, dedupe_key) WHERE starts_with(dedupe_key, 'event/');
CREATE INDEX enrolments_run_state ON enrolments (run_id, state, id);
CREATE INDEX enrolments_run ON enrolments (run_id, id);
CREATE INDEX enrolments_user ON enrolments (user_id);
CREATE INDEX enrolments_due ON enrolments (next_at) WHERE state = 'active';

-- +goose Down
DELETE FROM outbox WHERE kind IN ('enrolment.start', 'enrolment.wake');
DROP TABLE enrolments;
ALTER TABLE messages DROP COLUMN step;
DROP TABLE run_steps;
DROP INDEX campaigns_exit_segment;
ALTER TABLE campaigns DROP COLUMN exit_segment_id, DROP COLUMN exit_on_read, DROP COLUMN exit_on_reply;
DROP TABLE campaign_steps;
