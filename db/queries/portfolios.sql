-- name: PortfolioRoom :one
-- How many more people the portfolio may reach at the moment, and when the next place is free, the epoch for never; no row
-- without a limit.
SELECT (p.messaging_limit - p.places_taken + o.over)::integer AS free, coalesce((
    SELECT x.until FROM portfolio_places x WHERE x.portfolio_id = p.id AND x.until > @now
    ORDER BY x.until OFFSET greatest(p.places_taken - o.over - p.messaging_limit, 0) LIMIT 1), 'epoch')::timestamptz AS frees_at
FROM portfolios p CROSS JOIN LATERAL (SELECT count(*) AS over FROM portfolio_places x WHERE x.portfolio_id = p.id AND x.until <= @now) o
WHERE p.id = @id AND p.messaging_limit IS NOT NULL;

-- name: PortfolioEnsure :one
INSERT INTO portfolios (name, messaging_limit, created_at) VALUES (@name, sqlc.narg(messaging_limit), @now)
ON CONFLICT (name) DO UPDATE SET messaging_limit = excluded.messaging_limit RETURNING id;

-- name: PortfolioCampaigns :many
-- The campaigns of which something may be waiting for a place in one of the portfolios, in the order in which they are locked.
SELECT DISTINCT r.campaign_id FROM campaign_runs r JOIN senders s ON s.id = r.sender_id JOIN portfolios p ON p.id = s.portfolio_id
WHERE p.name = ANY(@names::text[]) AND (r.finished_at IS NULL OR EXISTS (SELECT 1 FROM messages m WHERE m.run_id = r.id AND m.state = 'pending'))
ORDER BY r.campaign_id;

-- name: SenderSetPortfolio :exec
UPDATE senders SET portfolio_id = @portfolio_id WHERE id = @id;

-- name: PortfolioCount :exec
-- Counts who was reached within the last 24 hours through the portfolio's senders. Whoever was in their service window then
-- counts as well: that is not known any more.
WITH reached AS (
    INSERT INTO portfolio_places AS x (portfolio_id, user_id, until)
    SELECT @id, m.user_id, max(reached_at(m.state, m.accepted_at, m.updated_at)) + interval '24 hours'
    FROM messages m JOIN campaign_runs r ON r.id = m.run_id JOIN senders s ON s.id = r.sender_id
    WHERE s.portfolio_id = @id AND m.user_id IS NOT NULL AND m.updated_at > sqlc.arg(now)::timestamptz - interval '24 hours'
      AND m.state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown')
      AND reached_at(m.state, m.accepted_at, m.updated_at) > sqlc.arg(now)::timestamptz - interval '24 hours'
    GROUP BY m.user_id
    ON CONFLICT (portfolio_id, user_id) DO UPDATE SET until = greatest(x.until, excluded.until)
    RETURNING (x.xmax = 0) AS added
)
UPDATE portfolios SET places_taken = places_taken + (SELECT count(*) FROM reached WHERE added) WHERE portfolios.id = @id;

-- name: RunsPending :many
-- The runs of the campaigns of which something may wait.
SELECT r.id, r.number, r.campaign_id, c.status, c.rate_limit_per_second FROM campaign_runs r JOIN campaigns c ON c.id = r.campaign_id
WHERE r.campaign_id = ANY(@campaign_ids::integer[]) AND (r.finished_at IS NULL OR EXISTS (SELECT 1 FROM messages m WHERE m.run_id = r.id AND m.state = 'pending'))
ORDER BY r.id;
