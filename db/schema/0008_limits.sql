-- +goose Up
-- When and how often a person may be written to: the law of where they are, caps, the pair rate and the portfolio's tier.

-- jurisdiction_of is the place whose law a person is under: their region, with the part of it (ISO 3166-2) that they state
-- where that is a code, or the name or code of a state of the United States.
CREATE FUNCTION jurisdiction_of(region text, state text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN state IS NULL OR region = '' THEN region
        WHEN upper(btrim(state)) ~ '^[A-Z]{2}-[A-Z0-9]{1,3}$' AND left(upper(btrim(state)), 2) = region THEN upper(btrim(state))
        WHEN region = 'US' THEN coalesce('US-' || ('{
            "AL": "AL", "ALABAMA": "AL", "AK": "AK", "ALASKA": "AK", "AZ": "AZ", "ARIZONA": "AZ", "AR": "AR", "ARKANSAS": "AR",
            "CA": "CA", "CALIFORNIA": "CA", "CO": "CO", "COLORADO": "CO", "CT": "CT", "CONNECTICUT": "CT", "DE": "DE", "DELAWARE": "DE",
            "DC": "DC", "DISTRICT OF COLUMBIA": "DC", "WASHINGTON DC": "DC", "WASHINGTON, DC": "DC", "WASHINGTON D.C.": "DC",
            "FL": "FL", "FLORIDA": "FL", "GA": "GA", "GEORGIA": "GA", "HI": "HI", "HAWAII": "HI", "ID": "ID", "IDAHO": "ID",
            "IL": "IL", "ILLINOIS": "IL", "IN": "IN", "INDIANA": "IN", "IA": "IA", "IOWA": "IA", "KS": "KS", "KANSAS": "KS",
            "KY": "KY", "KENTUCKY": "KY", "LA": "LA", "LOUISIANA": "LA", "ME": "ME", "MAINE": "ME", "MD": "MD", "MARYLAND": "MD",
            "MA": "MA", "MASSACHUSETTS": "MA", "MI": "MI", "MICHIGAN": "MI", "MN": "MN", "MINNESOTA": "MN", "MS": "MS", "MISSISSIPPI": "MS",
            "MO": "MO", "MISSOURI": "MO", "MT": "MT", "MONTANA": "MT", "NE": "NE", "NEBRASKA": "NE", "NV": "NV", "NEVADA": "NV",
            "NH": "NH", "NEW HAMPSHIRE": "NH", "NJ": "NJ", "NEW JERSEY": "NJ", "NM": "NM", "NEW MEXICO": "NM", "NY": "NY", "NEW YORK": "NY",
            "NC": "NC", "NORTH CAROLINA": "NC", "ND": "ND", "NORTH DAKOTA": "ND", "OH": "OH", "OHIO": "OH", "OK": "OK", "OKLAHOMA": "OK",
            "OR": "OR", "OREGON": "OR", "PA": "PA", "PENNSYLVANIA": "PA", "RI": "RI", "RHODE ISLAND": "RI", "SC": "SC", "SOUTH CAROLINA": "SC",
            "SD": "SD", "SOUTH DAKOTA": "SD", "TN": "TN", "TENNESSEE": "TN", "TX": "TX", "TEXAS": "TX", "UT": "UT", "UTAH": "UT",
            "VT": "VT", "VERMONT": "VT", "VA": "VA", "VIRGINIA": "VA", "WA": "WA", "WASHINGTON": "WA", "WV": "WV", "WEST VIRGINIA": "WV",
            "WI": "WI", "WISCONSIN": "WI", "WY": "WY", "WYOMING": "WY"}'::jsonb ->> upper(btrim(state))), region)
        ELSE region
    END
$$;

ALTER TABLE users ADD COLUMN jurisdiction text NOT NULL GENERATED ALWAYS AS (jurisdiction_of(region, attributes ->> 'state')) STORED;

ALTER TABLE cohorts ADD COLUMN jurisdiction text NOT NULL DEFAULT '';  -- the place whose law its people share; '' for none

ALTER TABLE campaigns ADD COLUMN frequency_cap_count smallint,  -- nobody who had so many bulk messages
    ADD COLUMN frequency_cap_days smallint,                     -- within so many days gets one of this campaign; both or neither
    ADD CONSTRAINT campaigns_frequency_cap CHECK ((frequency_cap_count IS NULL AND frequency_cap_days IS NULL) OR
        (frequency_cap_count BETWEEN 1 AND 100 AND frequency_cap_days BETWEEN 1 AND 90));

ALTER TABLE account_limits ADD COLUMN pair_interval_seconds smallint NOT NULL DEFAULT 6,  -- between two messages to one person; 0: none
    ADD COLUMN person_messages_per_day smallint,         -- bulk messages to one person within 24 hours; NULL: any number
    ADD COLUMN person_messages_per_week smallint,
    ADD COLUMN person_topic_messages_per_day smallint,   -- and of one subscription topic
    ADD COLUMN person_topic_messages_per_week smallint,
    ADD CONSTRAINT account_limits_pair_bounds CHECK (pair_interval_seconds BETWEEN 0 AND 600),
    ADD CONSTRAINT account_limits_person_bounds CHECK (person_messages_per_day BETWEEN 1 AND 1000 AND person_messages_per_week BETWEEN 1 AND 1000
        AND person_topic_messages_per_day BETWEEN 1 AND 1000 AND person_topic_messages_per_week BETWEEN 1 AND 1000);

-- reached_at is when a message went to its person: one that is being sent goes now, whatever became of it before.
CREATE FUNCTION reached_at(state text, accepted_at timestamptz, updated_at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN state = 'sending' OR accepted_at IS NULL THEN updated_at ELSE accepted_at END
$$;

-- The messages that a person got or may yet get, by when.
CREATE INDEX messages_reached ON messages (user_id, reached_at(state, accepted_at, updated_at))
    WHERE state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown');

-- capped_until is when the person will have had fewer bulk messages, this one aside, than each of the caps allows that hold
-- for the campaign. NULL: they never had as many.
CREATE FUNCTION capped_until(person bigint, campaign integer, message uuid) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT max(newest.at + cap.hours * interval '1 hour')
    FROM campaigns c CROSS JOIN account_limits l
    CROSS JOIN LATERAL (VALUES
        (c.frequency_cap_count, 24 * c.frequency_cap_days, false),
        (l.person_messages_per_day, 24, false), (l.person_messages_per_week, 168, false),
        (l.person_topic_messages_per_day, 24, true), (l.person_topic_messages_per_week, 168, true)) AS cap (most, hours, of_topic)
    CROSS JOIN LATERAL (
        SELECT reached_at(m.state, m.accepted_at, m.updated_at) AS at
        FROM messages m JOIN campaign_runs r ON r.id = m.run_id JOIN campaigns o ON o.id = r.campaign_id
        WHERE m.user_id = person AND m.id <> message AND m.state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown')
          AND o.priority = 'bulk' AND (NOT cap.of_topic OR o.subscription_topic_id = c.subscription_topic_id)
        ORDER BY 1 DESC OFFSET cap.most - 1 LIMIT 1) AS newest
    WHERE c.id = campaign AND cap.most IS NOT NULL AND (NOT cap.of_topic OR c.subscription_topic_id IS NOT NULL)
$$;

-- A business portfolio at Meta: its senders share one limit on how many people are reached within 24 hours outside their
-- service window.
CREATE TABLE portfolios (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL,
    messaging_limit integer,                      -- NULL: unlimited
    places_taken    integer NOT NULL DEFAULT 0,   -- rows of portfolio_places; changed with the row locked
    created_at      timestamptz NOT NULL,
    CONSTRAINT portfolios_name_unique UNIQUE (name),
    CONSTRAINT portfolios_limit_bounds CHECK (messaging_limit >= 1)
);
INSERT INTO portfolios (name, created_at) VALUES ('default', now());

-- Who counts towards a portfolio's limit, and how long. No reference to users: an erased person still counts.
CREATE TABLE portfolio_places (
    portfolio_id integer NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    user_id      bigint NOT NULL,
    until        timestamptz NOT NULL,
    PRIMARY KEY (portfolio_id, user_id)
);
CREATE INDEX portfolio_places_until ON portfolio_places (portfolio_id, until);

ALTER TABLE senders ADD COLUMN portfolio_id integer REFERENCES portfolios (id);  -- of a WhatsApp sender
UPDATE senders SET portfolio_id = (SELECT min(id) FROM portfolios) WHERE channel = 'whatsapp';
CREATE INDEX senders_portfolio ON senders (portfolio_id);

-- +goose StatementBegin
-- take_place gives the person a place among those whom the portfolio may reach in a day, or makes theirs last anew; false
-- when all are taken. Each place that is over is somebody else's: they are cleared away some at a time.
CREATE FUNCTION take_place(portfolio integer, person bigint, moment timestamptz) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    most integer;
    taken integer;
    over integer;
BEGIN
    SELECT p.messaging_limit, p.places_taken INTO most, taken FROM portfolios p WHERE p.id = portfolio FOR NO KEY UPDATE;
    IF most IS NULL THEN
        RETURN true;
    END IF;
    UPDATE portfolio_places x SET until = moment + interval '24 hours' WHERE x.portfolio_id = portfolio AND x.user_id = person AND x.until > moment;
    IF FOUND THEN
        RETURN true;
    END IF;
    DELETE FROM portfolio_places x WHERE x.portfolio_id = portfolio AND x.until <= moment AND (x.user_id = person
        OR x.user_id IN (SELECT o.user_id FROM portfolio_places o WHERE o.portfolio_id = portfolio AND o.until <= moment ORDER BY o.until LIMIT 100));
    GET DIAGNOSTICS over = ROW_COUNT;
    taken := taken - over;
    IF taken < most THEN
        INSERT INTO portfolio_places (portfolio_id, user_id, until) VALUES (portfolio, person, moment + interval '24 hours');
        UPDATE portfolios SET places_taken = taken + 1 WHERE id = portfolio;
        RETURN true;
    END IF;
    UPDATE portfolios SET places_taken = taken WHERE id = portfolio AND over > 0;
    RETURN false;
END $$;

-- send_room says what keeps a message from being sent at the moment; '' for nothing. The caller has locked the person's row:
-- what is read here is as of then. portfolio is 0 where no limit of it holds.
CREATE FUNCTION send_room(person bigint, campaign integer, message uuid, pair_seconds integer, capped boolean, portfolio integer, moment timestamptz)
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

-- +goose Down
DROP FUNCTION send_room(bigint, integer, uuid, integer, boolean, integer, timestamptz);
DROP FUNCTION take_place(integer, bigint, timestamptz);
ALTER TABLE senders DROP COLUMN portfolio_id;
DROP TABLE portfolio_places;
DROP TABLE portfolios;
DROP FUNCTION capped_until(bigint, integer, uuid);
DROP INDEX messages_reached;
DROP FUNCTION reached_at(text, timestamptz, timestamptz);
ALTER TABLE account_limits DROP COLUMN person_topic_messages_per_week, DROP COLUMN person_topic_messages_per_day,
    DROP COLUMN person_messages_per_week, DROP COLUMN person_messages_per_day, DROP COLUMN pair_interval_seconds;
ALTER TABLE campaigns DROP COLUMN frequency_cap_days, DROP COLUMN frequency_cap_count;
ALTER TABLE cohorts DROP COLUMN jurisdiction;
ALTER TABLE users DROP COLUMN jurisdiction;
DROP FUNCTION jurisdiction_of(text, text);
