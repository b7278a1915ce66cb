package main

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// sizes are bytes by database, and by table as database.table, indexes and all included.
type sizes map[string]int64

// databases are the stack's own: the product's, and Temporal's two.
var databases = []string{"ese", "temporal", "temporal_visibility"}

func (c *campaign) sizes(ctx context.Context) (sizes, error) {
	found := sizes{}
	for _, database := range databases {
		config, err := pgx.ParseConfig(c.DatabaseURL())
		if err != nil {
			return nil, err
		}
		config.Database = database
		if err := read(ctx, config, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func read(ctx context.Context, config *pgx.ConnConfig, into sizes) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `
SELECT current_database()::text, pg_database_size(current_database())
UNION ALL
SELECT current_database() || '.' || relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`)
	if err != nil {
		return err
	}
	var name string
	var size int64
	_, err = pgx.ForEachRow(rows, []any{&name, &size}, func() error {
		into[name] = size
		return nil
	})
	return err
}

// growth shows what the campaign added to the databases, and to each table that matters, for every recipient.
func (c *campaign) growth(ctx context.Context) error {
	after, err := c.sizes(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		grown := after[name] - c.before[name]
		if each := grown / int64(c.recipients); each >= 20 || slices.Contains(databases, name) {
			c.figure("size of "+name, "%.1f MB, %d bytes a recipient more than before", float64(after[name])/1e6, each)
		}
	}
	return nil
}
