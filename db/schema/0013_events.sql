-- +goose Up
-- Messages to one person, outside of an audience that is frozen at once.

-- An event run takes messages one by one, for as long as it is open.
ALTER TABLE campaign_runs ADD COLUMN closed_at timestamptz,  -- of an event run: since when it takes no more messages
    ADD COLUMN next_start_at timestamptz,                    -- of an event run: when the next recipient may be started
    DROP CONSTRAINT campaign_runs_kind_known,
    ADD CONSTRAINT campaign_runs_kind_known CHECK (kind IN ('trigger', 'retry', 'recurrence', 'event'));

ALTER TABLE messages ADD COLUMN variables jsonb;  -- of the event that it is about; they go before the person's attributes

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
ALTER TABLE messages DROP COLUMN variables;
UPDATE campaign_runs SET kind = 'trigger' WHERE kind = 'event';
ALTER TABLE campaign_runs DROP COLUMN next_start_at, DROP COLUMN closed_at;
