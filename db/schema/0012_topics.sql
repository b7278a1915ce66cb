-- +goose Up
-- Topics that people subscribe to, the words that count as keywords, and what answers them.

ALTER TABLE topics ADD COLUMN keyword text,  -- what follows SUBSCRIBE; NULL: nobody can subscribe by a message
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD CONSTRAINT topics_keyword_unique UNIQUE (keyword);
CREATE INDEX campaigns_subscription_topic ON campaigns (subscription_topic_id) WHERE subscription_topic_id IS NOT NULL;

-- Append-only: every subscription and its end, and who said so.
CREATE TABLE subscription_events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic_id   integer NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
    user_id    bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    subscribed boolean NOT NULL,
    source     text NOT NULL,
    evidence   text NOT NULL DEFAULT '',  -- message SID, an operator's words
    actor      text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT subscription_events_source_known CHECK (source IN ('api', 'keyword', 'operator'))
);
CREATE INDEX subscription_events_user ON subscription_events (user_id, topic_id, id DESC);
CREATE INDEX subscription_events_topic ON subscription_events (topic_id);

-- Words that count as keywords besides those that always do.
CREATE TABLE keywords (
    text   text PRIMARY KEY,  -- normalised: what a message is compared with
    action text NOT NULL,
    locale text NOT NULL,
    CONSTRAINT keywords_action_known CHECK (action IN ('stop', 'start', 'help'))
);

ALTER TABLE inbound_messages ADD COLUMN keyword text NOT NULL DEFAULT '',  -- what matched; '' when nothing or the provider said so
    ADD COLUMN keyword_locale text NOT NULL DEFAULT '',
    DROP CONSTRAINT inbound_messages_intent_known,
    ADD CONSTRAINT inbound_messages_intent_known CHECK (intent IN ('stop', 'start', 'help', 'subscribe', 'unsubscribe', 'none'));

-- +goose Down
UPDATE inbound_messages SET intent = 'none' WHERE intent IN ('subscribe', 'unsubscribe');
ALTER TABLE inbound_messages DROP CONSTRAINT inbound_messages_intent_known,
    ADD CONSTRAINT inbound_messages_intent_known CHECK (intent IN ('stop', 'start', 'help', 'none')),
    DROP COLUMN keyword_locale, DROP COLUMN keyword;
DROP TABLE keywords;
DROP TABLE subscription_events;
DROP INDEX campaigns_subscription_topic;
ALTER TABLE topics DROP CONSTRAINT topics_keyword_unique, DROP COLUMN description, DROP COLUMN keyword;
