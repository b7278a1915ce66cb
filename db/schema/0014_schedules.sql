-- +goose Up
-- When a campaign is sent: by each person's own clock, again and again, never too late, and not before somebody else agreed.

ALTER TABLE campaigns ADD COLUMN start_within_minutes integer,               -- later than that after its time it is not sent; NULL: however late
    ADD COLUMN schedule_local_time text NOT NULL DEFAULT '',                 -- a wall clock of everyone's own zone, 2026-12-01T10:00
    ADD COLUMN recurrence_cron text NOT NULL DEFAULT '',                     -- five fields; '': it is sent once
    ADD COLUMN recurrence_timezone text NOT NULL DEFAULT '',                 -- whose clock the expression means
    ADD COLUMN created_by text NOT NULL DEFAULT '',                          -- the principal; '': before it was kept
    ADD COLUMN changed_by text NOT NULL DEFAULT '',                          -- who changed the plan last; '': nobody
    ADD COLUMN approved_by text NOT NULL DEFAULT '',
    ADD COLUMN approved_at timestamptz,                                      -- NULL: not approved as it stands
    ADD COLUMN approved_template_version integer,                            -- what was read then
    ADD CONSTRAINT campaigns_start_within_bounds CHECK (start_within_minutes BETWEEN 1 AND 10080),
    ADD CONSTRAINT campaigns_local_time_form CHECK (schedule_local_time = '' OR schedule_local_time ~ '^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$'),
    ADD CONSTRAINT campaigns_recurrence_zone CHECK ((recurrence_cron = '') = (recurrence_timezone = '')),
    ADD CONSTRAINT campaigns_one_schedule CHECK ((schedule_time IS NOT NULL)::int + (schedule_local_time <> '')::int + (recurrence_cron <> '')::int <= 1),
    ADD CONSTRAINT campaigns_approval_whole CHECK ((approved_at IS NULL) = (approved_by = '') AND (approved_at IS NULL) = (approved_template_version IS NULL));
CREATE INDEX campaigns_recurring ON campaigns (id) WHERE recurrence_cron <> '' AND status IN ('SCHEDULED', 'RUNNING', 'PAUSED');

-- An occurrence is started once, however often it is asked for.
ALTER TABLE campaign_runs ADD COLUMN occurrence_at timestamptz,
    DROP CONSTRAINT campaign_runs_kind_known,
    ADD CONSTRAINT campaign_runs_kind_known CHECK (kind IN ('trigger', 'retry', 'recurrence', 'event', 'test')),
    ADD CONSTRAINT campaign_runs_occurrence CHECK ((kind = 'recurrence') = (occurrence_at IS NOT NULL));
CREATE UNIQUE INDEX campaign_runs_occurrence_once ON campaign_runs (campaign_id, occurrence_at) WHERE occurrence_at IS NOT NULL;

-- +goose Down
ALTER TABLE campaign_runs DROP CONSTRAINT campaign_runs_occurrence;
UPDATE campaign_runs SET kind = 'trigger' WHERE kind = 'recurrence';
DROP INDEX campaign_runs_occurrence_once;
ALTER TABLE campaign_runs DROP COLUMN occurrence_at;
DROP INDEX campaigns_recurring;
ALTER TABLE campaigns DROP CONSTRAINT campaigns_approval_whole, DROP CONSTRAINT campaigns_one_schedule, DROP CONSTRAINT campaigns_recurrence_zone,
    DROP COLUMN approved_template_version, DROP COLUMN approved_at, DROP COLUMN approved_by, DROP COLUMN changed_by, DROP COLUMN created_by,
    DROP COLUMN recurrence_timezone, DROP COLUMN recurrence_cron, DROP COLUMN schedule_local_time, DROP COLUMN start_within_minutes;
