-- name: SegmentInsert :one
INSERT INTO segments (name, definition, created_at, updated_at) VALUES (@name, @definition, @now, @now) RETURNING *;

-- name: SegmentGet :one
SELECT * FROM segments WHERE id = @id;

-- name: SegmentList :many
SELECT * FROM segments WHERE sqlc.narg(after)::integer IS NULL OR id < sqlc.narg(after) ORDER BY id DESC LIMIT @at_most;

-- name: SegmentTotal :one
SELECT count(*) FROM segments;

-- name: SegmentUpdate :one
UPDATE segments SET name = @name, definition = @definition, updated_at = @now WHERE id = @id RETURNING *;

-- name: SegmentDelete :execrows
DELETE FROM segments WHERE id = @id;
