-- +goose Up
-- Messages to one person, outside of an audience that is frozen at once.

-- An event run takes messages one by one, for as long as it is open.
ALTER TABLE campaign_runs ADD COLUMN closed_at timestamptz,  -- of an event run: since when it takes no more messages
    ADD COLUMN next_start_at timestamptz,                    -- of an event run: when the next recipient may be started
    DROP CONSTRAINT campaign_runs_kind_known,
    ADD CONSTRAINT campaign_runs_kind_known CHECK (kind IN ('trigger', 'retry', 'recurrence', 'event', 'test'));
DROP INDEX campaign_runs_one_active;  -- tests go on beside
CREATE UNIQUE INDEX campaign_runs_one_active ON campaign_runs (campaign_id) WHERE finished_at IS NULL AND kind <> 'test';

ALTER TABLE messages ADD COLUMN variables jsonb;  -- of the event that it is about; they go before the person's attributes

-- An event leads to one message of a campaign for ever, whatever became of the person whom it named.
CREATE UNIQUE INDEX messages_event ON messages (run_id, dedupe_key) WHERE starts_with(dedupe_key, 'event/');

-- What starts a campaign's messages: an operator, for the whole audience, or what happens to one person.
ALTER TABLE campaigns ADD COLUMN trigger text NOT NULL DEFAULT 'manual',
    ADD COLUMN trigger_name text NOT NULL DEFAULT '',  -- the name of the event, or the keyword as it is compared
    ADD CONSTRAINT campaigns_trigger_known CHECK (trigger IN ('manual', 'event', 'keyword', 'user_created')),
    ADD CONSTRAINT campaigns_trigger_named CHECK ((trigger IN ('event', 'keyword')) = (trigger_name <> '')),
    DROP CONSTRAINT campaigns_has_audience,
    ADD CONSTRAINT campaigns_has_audience CHECK (num_nonnulls(segment_id, segment_query) = CASE trigger WHEN 'manual' THEN 1 ELSE 0 END);
CREATE INDEX campaigns_triggered ON campaigns (trigger, trigger_name) WHERE trigger <> 'manual' AND status IN ('RUNNING', 'PAUSED');

-- +goose Down
DROP INDEX campaigns_triggered;
UPDATE campaigns SET segment_query = '{}' WHERE trigger <> 'manual';  -- whom they were for is not known any more
ALTER TABLE campaigns DROP CONSTRAINT campaigns_has_audience, DROP CONSTRAINT campaigns_trigger_named, DROP CONSTRAINT campaigns_trigger_known,
    DROP COLUMN trigger_name, DROP COLUMN trigger,
    ADD CONSTRAINT campaigns_has_audience CHECK (num_nonnulls(segment_id, segment_query) = 1);
DROP INDEX messages_event;
ALTER TABLE messages DROP COLUMN variables;
DROP INDEX campaign_runs_one_active;
UPDATE campaign_runs SET finished_at = coalesce(finished_at, started_at) WHERE kind = 'test';
UPDATE campaign_runs SET kind = 'trigger' WHERE kind IN ('event', 'test');
CREATE UNIQUE INDEX campaign_runs_one_active ON campaign_runs (campaign_id) WHERE finished_at IS NULL;
ALTER TABLE campaign_runs DROP COLUMN next_start_at, DROP COLUMN closed_at;
