package db

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed schema/*.sql
var schema embed.FS

// Migrate brings the schema to the newest version, or with target >= 0 up or down to that one. Several processes may
// call it at once: an advisory lock lets one work while the others wait. It returns the version before and after.
func (s *Store) Migrate(ctx context.Context, target int64) (from, to int64, err error) {
	err = s.withProvider(func(p *goose.Provider) error {
		if from, err = p.GetDBVersion(ctx); err != nil {
			return fmt.Errorf("schema version: %w", err)
		}
		switch {
		case target < 0:
			_, err = p.Up(ctx)
		case target < from:
			_, err = p.DownTo(ctx, target)
		default:
			_, err = p.UpTo(ctx, target)
		}
		if err != nil {
			return fmt.Errorf("migration: %w", err)
		}
		to, err = p.GetDBVersion(ctx)
		return err
	})
	return from, to, err
}

// Migrated reports whether every migration of this program has been applied. It changes nothing.
func (s *Store) Migrated(ctx context.Context) (bool, error) {
	var pending bool
	err := s.withProvider(func(p *goose.Provider) (err error) {
		pending, err = p.HasPending(ctx)
		return err
	})
	return err == nil && !pending, err
}

func (s *Store) withProvider(f func(*goose.Provider) error) error {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("migration lock: %w", err)
	}
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return fmt.Errorf("embedded schema: %w", err)
	}
	sqlDB := stdlib.OpenDBFromPool(s.pool)
	defer func(c *sql.DB) { _ = c.Close() }(sqlDB)
	provider, err := goose.NewProvider(goose.DialectPostgres, sqlDB, files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	return f(provider)
}
