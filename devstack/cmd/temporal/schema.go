package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"go.temporal.io/server/common/auth"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql" // the plugin postgres12_pgx
	"go.temporal.io/server/tools/common/schema"
	"go.temporal.io/server/tools/sql"
)

// stores are the two databases of a Temporal server, on one PostgreSQL.
type stores struct {
	history, visibility config.SQL
}

// connect turns the connection string into Temporal's own settings.
func connect(opts options) (stores, error) {
	u, err := url.Parse(opts.databaseURL)
	if err != nil || u.Hostname() == "" {
		return stores{}, errors.New("-database-url must be a URL such as postgres://user@127.0.0.1:5432/postgres")
	}
	port := u.Port()
	if port == "" {
		port = "5432"
	}
	password, _ := u.User.Password()
	store := config.SQL{
		PluginName:      "postgres12_pgx",
		ConnectProtocol: "tcp",
		ConnectAddr:     net.JoinHostPort(u.Hostname(), port),
		User:            u.User.Username(),
		Password:        password,
		MaxConns:        20,
		MaxIdleConns:    20,
	}
	switch u.Query().Get("sslmode") {
	case "", "disable", "allow", "prefer":
	default:
		store.TLS = &auth.TLS{Enabled: true, EnableHostVerification: u.Query().Get("sslmode") == "verify-full"}
	}
	s := stores{history: store, visibility: store}
	s.history.DatabaseName = opts.database
	s.visibility.DatabaseName = opts.visibilityDatabase
	return s, nil
}

// migrate makes both databases when they are missing and brings their schema
// to the version this server was built with.
func migrate(s stores) error {
	for _, store := range []struct {
		config config.SQL
		schema string
	}{
		{s.history, "postgresql/v12/temporal"},
		{s.visibility, "postgresql/v12/visibility"},
	} {
		if err := migrateOne(store.config, store.schema); err != nil {
			return fmt.Errorf("database %s: %w", store.config.DatabaseName, err)
		}
	}
	return nil
}

func migrateOne(store config.SQL, name string) error {
	logger := log.NewNoopLogger()
	create := store
	if err := sql.DoCreateDatabase(&create, "postgres", logger); err != nil {
		return err
	}
	conn, err := sql.NewConnection(&store, logger)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ReadSchemaVersion(); err != nil {
		setup := schema.SetupConfig{InitialVersion: "0.0"}
		if err := schema.NewSetupSchemaTask(conn, &setup, logger).Run(); err != nil {
			return err
		}
	}
	update := schema.UpdateConfig{DBName: store.DatabaseName, SchemaName: name}
	if err := schema.NewUpdateSchemaTask(conn, &update, logger).Run(); err != nil {
		return err
	}
	return conn.Exec(dropUnusedIndexes)
}

// dropUnusedIndexes leaves the visibility table, and that alone, the indexes
// that lists of workflows are found by here: by id, type, status, time, parent
// and root. The schema has 73, most for search attributes that nothing sets,
// and every workflow is written to each of them twice: 40 % of PostgreSQL's
// work for a recipient. Other filters still work, by looking at more rows.
const dropUnusedIndexes = `
DO $$ DECLARE unused text; BEGIN
    FOR unused IN SELECT indexname FROM pg_indexes
        WHERE schemaname = current_schema() AND tablename = 'executions_visibility' AND indexname NOT IN (
            'executions_visibility_pkey', 'default_idx', 'by_execution_time', 'by_workflow_id', 'by_workflow_type',
            'by_status', 'by_parent_workflow_id', 'by_root_workflow_id', 'by_temporal_namespace_division')
    LOOP
        EXECUTE format('DROP INDEX %I', unused);
    END LOOP;
END $$`
