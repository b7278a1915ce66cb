-- +goose Up
-- People are looked up by the beginning of their name, as they are by that of their city, and listed by country, newest first.
CREATE INDEX users_name ON users (left(fold_case(attributes ->> 'name'), 64) text_pattern_ops);
DROP INDEX users_region;
CREATE INDEX users_region ON users (region, id);

-- +goose Down
DROP INDEX users_region;
CREATE INDEX users_region ON users (region);
DROP INDEX users_name;
