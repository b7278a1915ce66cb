// Package db keeps everything in PostgreSQL. It is the only package that sees SQL and generated rows; its methods take
// and return domain types. One file per noun, each beside its queries/*.sql.
package db

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/suppression"
)

// Store is the database. Make one with Open; it is safe for concurrent use.
type Store struct {
	// ApprovalsRequired has StartRun refuse campaigns that nobody approved as they stand. Set it before the first use.
	ApprovalsRequired bool

	pool *pgxpool.Pool
	keys suppression.Keys
	law  compliance.Law
}

// Option changes how Open connects, and what the store knows.
type Option func(*options)

type options struct {
	*pgxpool.Config
	keys suppression.Keys
}

// StatementTimeout bounds every statement: the server ends one that takes longer. Without it none is bounded.
func StatementTimeout(limit time.Duration) Option {
	return func(o *options) {
		o.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(limit.Milliseconds(), 10)
	}
}

// SuppressionKeys are what numbers in the list of suppressions are hashed under. Without them nobody is suppressed or
// erased, and, while anybody is suppressed, nobody is added.
func SuppressionKeys(keys suppression.Keys) Option {
	return func(o *options) { o.keys = keys }
}

// defaultConns bounds the connections of one process where its URL does not say how many.
const defaultConns = 16

// Open connects to the database at url, a postgres:// URL whose pool_max_conns may bound the connections. It does not
// migrate.
func Open(ctx context.Context, url string, opts ...Option) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("DATABASE_URL is not a valid PostgreSQL URL") // err may repeat the password
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = "ese"
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	if !strings.Contains(url, "pool_max_conns") { // the library's default is meant for less concurrency
		cfg.MaxConns = defaultConns
	}
	cfg.MaxConnIdleTime = 5 * time.Minute
	o := options{Config: cfg}
	for _, option := range opts {
		option(&o)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connection pool: %w", err)
	}
	return &Store{pool: pool, keys: o.keys, law: compliance.ListedLaw()}, nil
}

// Obey has another law hold than the listed one. It is called before anything else is asked of the store.
func (s *Store) Obey(law compliance.Law) { s.law = law }

// Law is what bounds the hours in which people are written to.
func (s *Store) Law() compliance.Law { return s.law }

// Close waits for queries under way and closes every connection.
func (s *Store) Close() { s.pool.Close() }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

type txKey struct{}

// InTx runs f in a transaction that every Store method called with f's context takes part in. It commits when f
// returns nil, else rolls back. Within a transaction it joins that one.
func (s *Store) InTx(ctx context.Context, f func(ctx context.Context) error) error {
	if _, ok := ctx.Value(txKey{}).(pgx.Tx); ok {
		return f(ctx)
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		return f(context.WithValue(ctx, txKey{}, tx))
	})
}

// conn is what a pool and a transaction have in common.
type conn interface {
	dbsqlc.DBTX
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error)
}

// conn returns the transaction that ctx carries, else the pool.
func (s *Store) conn(ctx context.Context) conn {
	if tx, ok := ctx.Value(txKey{}).(pgx.Tx); ok {
		return tx
	}
	return s.pool
}

// q returns the generated queries on the connection that ctx asks for.
func (s *Store) q(ctx context.Context) *dbsqlc.Queries { return dbsqlc.New(s.conn(ctx)) }

// conflicts says in the caller's words what the violation of a named constraint means.
var conflicts = map[string]string{
	"users_pkey":                                      "a user with this phone number exists",
	"segments_name_unique":                            "a segment with this name exists",
	"templates_name_unique":                           "a template with this name exists",
	"api_keys_name_unique":                            "an API key with this name exists",
	"campaign_runs_one_active":                        "the campaign is running already",
	"campaigns_template_id_fkey":                      "a campaign uses this template",
	"campaigns_segment_id_fkey":                       "a campaign uses this segment",
	"campaigns_exit_segment_id_fkey":                  "a campaign's steps end by this segment",
	"campaign_steps_template_id_fkey":                 "a step of a campaign uses this template",
	"run_steps_template_id_template_version_fkey":     "a step was sent with this template",
	"segment_uses_segment_id_fkey":                    "a campaign or another segment uses this segment",
	"campaigns_subscription_topic_id_fkey":            "a campaign goes to this topic's subscribers",
	"accounts_email_unique":                           "this e-mail address has an account",
	"topics_name_unique":                              "a topic with this name exists",
	"topics_keyword_unique":                           "a topic with this keyword exists",
	"campaign_runs_template_id_template_version_fkey": "a campaign was sent with this template",
}

// translate turns a driver's error into the domain's terms; what names the thing asked for, without personal data.
func translate(err error, what string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.NotFound, "%s does not exist", what)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		if text := conflicts[pg.ConstraintName]; text != "" {
			return fault.New(fault.Conflict, "%s", text)
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

func isNoRows(err error) bool { return errors.Is(err, pgx.ErrNoRows) }
