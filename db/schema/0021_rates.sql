-- +goose Up
-- For windows of time over what came in; costs a webhook next to nothing.
CREATE INDEX receipts_received_at ON receipts USING brin (received_at) WITH (autosummarize = on);

-- +goose Down
DROP INDEX receipts_received_at;
