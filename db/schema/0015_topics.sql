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
    CONSTRAINT subscription_events_source_known CHECK (source IN ('api', 'keyword', 'button', 'operator'))
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

-- Texts of automatic replies that stand for the standard ones.
CREATE TABLE replies (
    kind   text NOT NULL,
    locale text NOT NULL,
    text   text NOT NULL,  -- '': nothing is replied
    PRIMARY KEY (kind, locale),
    CONSTRAINT replies_kind_known CHECK (kind IN ('stop', 'start', 'help', 'subscribed', 'unsubscribed', 'unknown_topic'))
);

-- Replies are messages of the ledger like any other, of one built-in campaign for each sender that they come from.
ALTER TABLE campaigns ADD COLUMN reply_sender_id integer REFERENCES senders (id),  -- NULL: not a built-in one
    ADD CONSTRAINT campaigns_one_for_replies UNIQUE (reply_sender_id);
ALTER TABLE messages ADD COLUMN reply text;  -- the kind of the reply that it is; NULL: none
CREATE INDEX messages_replies ON messages (user_id, created_at) WHERE reply IS NOT NULL;

-- +goose StatementBegin
-- As before, but a reply keeps no other message waiting.
CREATE OR REPLACE FUNCTION send_room(person bigint, campaign integer, message uuid, pair_seconds integer, capped boolean, portfolio integer, moment timestamptz)
RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pair_seconds > 0 AND EXISTS (SELECT 1 FROM messages m
        WHERE m.user_id = person AND m.id <> message AND m.reply IS NULL AND m.state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown')
          AND reached_at(m.state, m.accepted_at, m.updated_at) > moment - pair_seconds * interval '1 second') THEN
        RETURN 'pair_rate';
    END IF;
    IF capped AND capped_until(person, campaign, message) > moment THEN
        RETURN 'frequency_cap';
    END IF;
    IF portfolio <> 0 AND NOT take_place(portfolio, person, moment) THEN
        RETURN 'messaging_tier';
    END IF;
    RETURN '';
END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION send_room(person bigint, campaign integer, message uuid, pair_seconds integer, capped boolean, portfolio integer, moment timestamptz)
RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pair_seconds > 0 AND EXISTS (SELECT 1 FROM messages m
        WHERE m.user_id = person AND m.id <> message AND m.state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown')
          AND reached_at(m.state, m.accepted_at, m.updated_at) > moment - pair_seconds * interval '1 second') THEN
        RETURN 'pair_rate';
    END IF;
    IF capped AND capped_until(person, campaign, message) > moment THEN
        RETURN 'frequency_cap';
    END IF;
    IF portfolio <> 0 AND NOT take_place(portfolio, person, moment) THEN
        RETURN 'messaging_tier';
    END IF;
    RETURN '';
END $$;
-- +goose StatementEnd
DROP INDEX messages_replies;
ALTER TABLE messages DROP COLUMN reply;
ALTER TABLE campaigns DROP CONSTRAINT campaigns_one_for_replies, DROP COLUMN reply_sender_id;
DROP TABLE replies;
UPDATE inbound_messages SET intent = 'none' WHERE intent IN ('subscribe', 'unsubscribe');
ALTER TABLE inbound_messages DROP CONSTRAINT inbound_messages_intent_known,
    ADD CONSTRAINT inbound_messages_intent_known CHECK (intent IN ('stop', 'start', 'help', 'none')),
    DROP COLUMN keyword_locale, DROP COLUMN keyword;
DROP TABLE keywords;
DROP TABLE subscription_events;
DROP INDEX campaigns_subscription_topic;
ALTER TABLE topics DROP CONSTRAINT topics_keyword_unique, DROP COLUMN description, DROP COLUMN keyword;
