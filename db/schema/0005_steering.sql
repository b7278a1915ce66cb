-- +goose Up
-- Steering a run: shared throttles that slow down and recover, retries, the circuit breaker and the canary.

ALTER TABLE senders ADD COLUMN messages_per_second integer NOT NULL DEFAULT 80,
    ADD CONSTRAINT senders_rate_bounds CHECK (messages_per_second BETWEEN 1 AND 1000);
UPDATE senders SET messages_per_second = 10 WHERE channel = 'sms';

ALTER TABLE campaigns ADD COLUMN priority text NOT NULL DEFAULT 'bulk',  -- who goes first where campaigns share a sender
    ADD COLUMN failure_threshold_percent smallint NOT NULL DEFAULT 20,   -- of the last outcomes; 0: the breaker is off
    ADD COLUMN canary_percent smallint NOT NULL DEFAULT 0,               -- of the audience, sent and awaited first; 0: none
    ADD CONSTRAINT campaigns_priority_known CHECK (priority IN ('transactional', 'bulk')),
    ADD CONSTRAINT campaigns_failure_threshold_bounds CHECK (failure_threshold_percent BETWEEN 0 AND 100),
    ADD CONSTRAINT campaigns_canary_bounds CHECK (canary_percent BETWEEN 0 AND 50);

ALTER TABLE campaign_runs ADD COLUMN retry_states text[],  -- of a retry: which messages of the runs before it sends again
    ADD COLUMN retry_error_codes integer[],                -- and with which of the provider's codes; NULL or empty: any
    ADD COLUMN canary_passed_at timestamptz,               -- NULL: not yet, or there is none
    ADD COLUMN breaker_since timestamptz,                  -- the breaker judges outcomes after it; NULL: all
    DROP CONSTRAINT campaign_runs_kind_known,
    ADD CONSTRAINT campaign_runs_kind_known CHECK (kind IN ('trigger', 'retry')),
    ADD CONSTRAINT campaign_runs_retry_selects CHECK (kind <> 'retry' OR cardinality(retry_states) > 0);

CREATE INDEX messages_unknown ON messages (id DESC) WHERE state = 'unknown';  -- for whoever decides them
CREATE INDEX messages_failures ON messages (run_id, ended_at DESC) WHERE state IN ('failed', 'undelivered');

ALTER TABLE attempts ADD COLUMN granted_at timestamptz;  -- the moment that the throttles gave it

-- A throttle that the provider asked to slow down goes on at slowed_rate from slowed_at, and recovers from there.
ALTER TABLE throttles ADD COLUMN slowed_at timestamptz,
    ADD COLUMN slowed_rate real,
    ADD CONSTRAINT throttles_slowed_both CHECK ((slowed_at IS NULL) = (slowed_rate IS NULL));

-- +goose Down
ALTER TABLE throttles DROP COLUMN slowed_rate, DROP COLUMN slowed_at;
ALTER TABLE attempts DROP COLUMN granted_at;
DROP INDEX messages_failures;
DROP INDEX messages_unknown;
UPDATE campaign_runs SET kind = 'trigger' WHERE kind = 'retry';
ALTER TABLE campaign_runs DROP CONSTRAINT campaign_runs_kind_known, DROP CONSTRAINT campaign_runs_retry_selects,
    DROP COLUMN breaker_since, DROP COLUMN canary_passed_at, DROP COLUMN retry_error_codes, DROP COLUMN retry_states,
    ADD CONSTRAINT campaign_runs_kind_known CHECK (kind IN ('trigger'));
ALTER TABLE campaigns DROP COLUMN canary_percent, DROP COLUMN failure_threshold_percent, DROP COLUMN priority;
ALTER TABLE senders DROP COLUMN messages_per_second;
