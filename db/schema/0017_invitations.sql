-- +goose Up
-- Double opt-in: whoever is PENDING is invited to confirm, and their answer is their consent.

ALTER TABLE campaigns DROP CONSTRAINT campaigns_trigger_known,
    ADD CONSTRAINT campaigns_trigger_known CHECK (trigger IN ('manual', 'event', 'keyword', 'user_created', 'invitation'));

CREATE TABLE invitation_settings (
    only_row                boolean PRIMARY KEY DEFAULT true,
    confirm_within_hours    smallint NOT NULL DEFAULT 72,  -- after the provider took the invitation; a later answer is no consent
    invite_again_after_days smallint NOT NULL DEFAULT 30,  -- nobody is invited more often
    words                   text[] NOT NULL DEFAULT '{}',  -- that confirm besides those that always do, as they are compared
    CONSTRAINT invitation_settings_one_row CHECK (only_row),
    CONSTRAINT invitation_settings_bounds CHECK (confirm_within_hours BETWEEN 1 AND 720 AND invite_again_after_days BETWEEN 1 AND 365)
);
INSERT INTO invitation_settings DEFAULT VALUES;

-- A message that asks its person for consent. It goes with the person.
CREATE TABLE invitations (
    message_id           uuid PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    user_id              bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    confirm_within_hours smallint NOT NULL,
    evidence             text NOT NULL DEFAULT '',  -- why they were invited: an import and its row, an operator's words
    actor                text NOT NULL,
    created_at           timestamptz NOT NULL,
    confirmed_at         timestamptz                -- NULL: not confirmed
);
CREATE INDEX invitations_user ON invitations (user_id, created_at DESC);

ALTER TABLE consent_events ADD COLUMN invitation_id uuid;  -- the message that this answers; NULL: none
ALTER TABLE imports ADD COLUMN invite boolean NOT NULL DEFAULT false;  -- whoever is PENDING after it

ALTER TABLE replies DROP CONSTRAINT replies_kind_known,
    ADD CONSTRAINT replies_kind_known CHECK (kind IN ('stop', 'start', 'help', 'subscribed', 'unsubscribed', 'unknown_topic', 'confirmed'));

-- +goose Down
DELETE FROM replies WHERE kind = 'confirmed';
ALTER TABLE replies DROP CONSTRAINT replies_kind_known,
    ADD CONSTRAINT replies_kind_known CHECK (kind IN ('stop', 'start', 'help', 'subscribed', 'unsubscribed', 'unknown_topic'));
ALTER TABLE imports DROP COLUMN invite;
ALTER TABLE consent_events DROP COLUMN invitation_id;
DROP TABLE invitations;
DROP TABLE invitation_settings;
UPDATE campaigns SET trigger = 'event', trigger_name = 'invitation' WHERE trigger = 'invitation';
ALTER TABLE campaigns DROP CONSTRAINT campaigns_trigger_known,
    ADD CONSTRAINT campaigns_trigger_known CHECK (trigger IN ('manual', 'event', 'keyword', 'user_created'));
