-- +goose Up
-- One rule for whom a run takes but never sends to, and how long refused rows of imports are kept.

-- consent_reason says why somebody whom a run takes is not sent to at all; '' when nothing forbids it. A send judges anew
-- by the same rule, in Go, which knows more. Each argument is used once, so that the planner puts the body in the place of
-- the call and looks at the later ones only where the earlier ones did not decide.
CREATE FUNCTION consent_reason(state text, suppressed boolean, unsubscribed boolean, excluded boolean)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE state
        WHEN 'PENDING' THEN 'no_consent'
        WHEN 'OPT_OUT' THEN 'opted_out'
        WHEN 'STOP' THEN 'stopped'
        ELSE CASE WHEN suppressed THEN 'suppressed' WHEN unsubscribed THEN 'not_subscribed' WHEN excluded THEN 'excluded' ELSE '' END
    END
$$;

-- Refused rows of imports are emptied once they were kept for long enough; an erasure looks at those that are not, too.
CREATE INDEX import_errors_kept ON import_errors (import_id, line) WHERE record <> '';

-- +goose Down
DROP INDEX import_errors_kept;
DROP FUNCTION consent_reason(text, boolean, boolean, boolean);
