-- +goose Up
-- People are looked up by the beginning of their name, as they are by that of their city.
CREATE INDEX users_name ON users (left(fold_case(attributes ->> 'name'), 64) text_pattern_ops);

-- +goose Down
DROP INDEX users_name;
