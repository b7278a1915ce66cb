-- name: SegmentsLock :exec
-- One change of segments at a time: what one refers to must not change while it is checked.
SELECT pg_advisory_xact_lock(3, 0);

-- name: SegmentInsert :one
-- A static segment's definition is that one is in it, so it needs its own id.
WITH fresh AS (SELECT nextval(pg_get_serial_sequence('segments', 'id'))::integer AS id)
INSERT INTO segments (id, name, kind, definition, created_at, updated_at) OVERRIDING SYSTEM VALUE
SELECT fresh.id, @name, @kind, coalesce(sqlc.narg(definition)::jsonb, jsonb_build_object('operator', 'in_segment', 'value', fresh.id)), @now, @now
FROM fresh
RETURNING *;

-- name: SegmentGet :one
SELECT * FROM segments WHERE id = @id;

-- name: SegmentList :many
SELECT * FROM segments WHERE sqlc.narg(after)::integer IS NULL OR id < sqlc.narg(after) ORDER BY id DESC LIMIT @at_most;

-- name: SegmentTotal :one
SELECT count(*) FROM segments;

-- name: SegmentUpdate :one
UPDATE segments SET name = @name, definition = coalesce(sqlc.narg(definition)::jsonb, definition), updated_at = @now WHERE id = @id RETURNING *;

-- name: SegmentDelete :execrows
DELETE FROM segments WHERE id = @id;

-- name: SegmentUsesForget :exec
DELETE FROM segment_uses WHERE by_segment_id = sqlc.narg(by_segment_id) OR by_campaign_id = sqlc.narg(by_campaign_id);

-- name: SegmentUsesInsert :exec
INSERT INTO segment_uses (segment_id, by_segment_id, by_campaign_id)
SELECT DISTINCT id, sqlc.narg(by_segment_id)::integer, sqlc.narg(by_campaign_id)::integer FROM unnest(@segment_ids::integer[]) AS id;

-- name: SegmentsUsing :many
-- The segments that refer to this one, directly or through others.
WITH RECURSIVE users_of AS (
    SELECT su.by_segment_id AS id FROM segment_uses su WHERE su.segment_id = @id AND su.by_segment_id IS NOT NULL
    UNION
    SELECT su.by_segment_id FROM users_of u JOIN segment_uses su ON su.segment_id = u.id WHERE su.by_segment_id IS NOT NULL
)
SELECT s.* FROM segments s JOIN users_of ON users_of.id = s.id ORDER BY s.id;

-- name: CampaignPartsChanged :one
-- When the last of the segments was changed that a campaign selects by, leaves out or ends its steps by, those included that they
-- refer to, or the last text of its steps was; the epoch when there are none.
WITH RECURSIVE used AS (
    SELECT c.segment_id AS id FROM campaigns c WHERE c.id = @campaign_id AND c.segment_id IS NOT NULL
    UNION
    SELECT c.exit_segment_id FROM campaigns c WHERE c.id = @campaign_id AND c.exit_segment_id IS NOT NULL
    UNION
    SELECT cu.segment_id FROM segment_uses cu WHERE cu.by_campaign_id = @campaign_id
    UNION
    SELECT su.segment_id FROM used u JOIN segment_uses su ON su.by_segment_id = u.id
)
SELECT greatest('epoch',
    (SELECT max(s.updated_at) FROM segments s JOIN used ON used.id = s.id),
    (SELECT max(v.created_at) FROM campaign_steps cs JOIN template_versions v USING (template_id) WHERE cs.campaign_id = @campaign_id))::timestamptz;

-- name: SegmentsKnown :many
SELECT id FROM segments WHERE id = ANY(@ids::integer[]);

-- name: CampaignsKnown :many
SELECT id FROM campaigns WHERE id = ANY(@ids::integer[]);

-- name: TopicsKnown :many
SELECT id, name FROM topics WHERE id = ANY(@ids::integer[]) OR name = ANY(@names::text[]);

-- name: SegmentFill :one
-- Begins an upload; one at a time.
UPDATE segments SET updated_at = @now WHERE id = @id RETURNING kind;

-- name: SegmentMembersClear :exec
DELETE FROM segment_members WHERE segment_id = @segment_id;

-- name: SegmentMembersAdd :many
-- Puts the people with these numbers in, and returns the places, from 0, of the numbers that nobody has.
WITH given AS (
    SELECT n.number, n.place, u.id FROM unnest(@numbers::text[]) WITH ORDINALITY AS n(number, place)
    LEFT JOIN users u ON u.phone_number = n.number
), added AS (
    INSERT INTO segment_members (segment_id, user_id)
    SELECT @segment_id::integer, given.id FROM given WHERE given.id IS NOT NULL ON CONFLICT DO NOTHING
)
SELECT (place - 1)::integer AS place FROM given WHERE id IS NULL ORDER BY place;

-- name: SegmentMembersTotal :one
SELECT count(*) FROM segment_members WHERE segment_id = @segment_id;

-- name: SegmentsOfMember :many
-- The static segments that a person is in.
SELECT s.id, s.name FROM segment_members sm JOIN segments s ON s.id = sm.segment_id WHERE sm.user_id = @user_id ORDER BY s.id;
