-- name: KeywordsMatch :many
SELECT * FROM keywords WHERE text = ANY(@texts::text[]);

-- name: KeywordList :many
SELECT * FROM keywords ORDER BY action, locale, text;

-- name: KeywordsReplace :exec
-- Makes the given words all there are.
WITH given AS (
    SELECT unnest(@texts::text[]) AS text, unnest(@actions::text[]) AS action, unnest(@locales::text[]) AS locale
), gone AS (
    DELETE FROM keywords k WHERE NOT EXISTS (SELECT 1 FROM given g WHERE g.text = k.text)
)
INSERT INTO keywords (text, action, locale) SELECT g.text, g.action, g.locale FROM given g
ON CONFLICT (text) DO UPDATE SET action = excluded.action, locale = excluded.locale;
