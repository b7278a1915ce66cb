-- +goose Up
-- Accounts that sign in, their sessions and one-time links, and where a change was asked for.

CREATE TABLE accounts (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email         text NOT NULL,             -- in lower case
    name          text NOT NULL DEFAULT '',  -- '' until its invitation is taken up
    role          text NOT NULL,
    password_hash text NOT NULL DEFAULT '',  -- argon2id; '' while it has none
    totp_secret   text NOT NULL DEFAULT '',  -- base32; '' without a second factor
    totp_step     bigint NOT NULL DEFAULT 0, -- the latest time step whose code was used
    created_at    timestamptz NOT NULL,
    signed_in_at  timestamptz,
    disabled_at   timestamptz,               -- NULL while it may sign in
    CONSTRAINT accounts_email_unique UNIQUE (email),
    CONSTRAINT accounts_role_known CHECK (role IN ('viewer', 'editor', 'operator', 'admin'))
);

-- Codes that stand in for a lost authenticator, each until it is used.
CREATE TABLE recovery_codes (
    account_id  integer NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    code_sha256 bytea NOT NULL,
    PRIMARY KEY (account_id, code_sha256)
);

-- Invitations, resets and the first admin's link, each until it is used.
CREATE TABLE account_links (
    token_sha256 bytea PRIMARY KEY,
    kind         text NOT NULL,
    account_id   integer REFERENCES accounts (id) ON DELETE CASCADE,  -- NULL for the first admin, whose account it makes
    expires_at   timestamptz NOT NULL,
    CONSTRAINT account_links_kind_known CHECK (kind IN ('setup', 'invitation', 'reset')),
    CONSTRAINT account_links_account CHECK ((kind = 'setup') = (account_id IS NULL))
);
CREATE INDEX account_links_account ON account_links (account_id);
CREATE INDEX account_links_expires_at ON account_links (expires_at);

CREATE TABLE sessions (
    id           uuid PRIMARY KEY,
    token_sha256 bytea NOT NULL,
    account_id   integer NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    half         boolean NOT NULL,           -- the second factor is still due
    created_at   timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL,       -- to the minute
    expires_at   timestamptz NOT NULL,
    address      text NOT NULL,
    browser      text NOT NULL,
    CONSTRAINT sessions_token_unique UNIQUE (token_sha256)
);
CREATE INDEX sessions_account ON sessions (account_id, created_at);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- How often was tried to sign in, by account (hashed) and by address.
CREATE TABLE sign_in_tries (
    subject  text PRIMARY KEY,
    tries    integer NOT NULL,
    since    timestamptz NOT NULL
);
CREATE INDEX sign_in_tries_since ON sign_in_tries (since);

ALTER TABLE api_keys ADD COLUMN created_by text NOT NULL DEFAULT 'operator';

ALTER TABLE audit_events ADD COLUMN address text NOT NULL DEFAULT '';  -- '' for the engine itself and its commands
DROP INDEX audit_events_subject;
CREATE INDEX audit_events_created_at ON audit_events (created_at, id);
CREATE INDEX audit_events_principal ON audit_events (principal, created_at, id);
CREATE INDEX audit_events_action ON audit_events (action, created_at, id);
CREATE INDEX audit_events_subject ON audit_events (subject, created_at, id);

-- +goose Down
DROP INDEX audit_events_subject;
DROP INDEX audit_events_action;
DROP INDEX audit_events_principal;
DROP INDEX audit_events_created_at;
CREATE INDEX audit_events_subject ON audit_events (subject, id);
ALTER TABLE audit_events DROP COLUMN address;
ALTER TABLE api_keys DROP COLUMN created_by;
DROP TABLE sign_in_tries;
DROP TABLE sessions;
DROP TABLE account_links;
DROP TABLE recovery_codes;
DROP TABLE accounts;
