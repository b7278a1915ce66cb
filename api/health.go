package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
)

type healthStore interface {
	Ping(ctx context.Context) error
	// Migrated reports whether the schema is the one this program needs.
	Migrated(ctx context.Context) (bool, error)
}

// checkTimeout bounds one look at a dependency; a balancer asks every few seconds.
const checkTimeout = 2 * time.Second

func (s *server) GetHealth(context.Context, openapi.GetHealthRequestObject) (openapi.GetHealthResponseObject, error) {
	return openapi.GetHealth200JSONResponse{Status: "healthy", Version: s.Version}, nil
}

func (s *server) GetHealthV1(context.Context, openapi.GetHealthV1RequestObject) (openapi.GetHealthV1ResponseObject, error) {
	return openapi.GetHealthV1200JSONResponse{Status: "healthy", Version: s.Version}, nil
}

// GetReadiness looks at all dependencies at once. Temporal may be down: requests and webhooks are taken all the same.
func (s *server) GetReadiness(ctx context.Context, _ openapi.GetReadinessRequestObject) (openapi.GetReadinessResponseObject, error) {
	ready := s.readiness(ctx)
	if ready.Status == openapi.ReadinessStatusUnavailable {
		return openapi.GetReadiness503JSONResponse(ready), nil
	}
	return openapi.GetReadiness200JSONResponse(ready), nil
}

func (s *server) readiness(ctx context.Context) openapi.Readiness {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var checks openapi.ReadinessChecks
	var wg sync.WaitGroup
	wg.Go(func() { checks.Postgres = s.check("PostgreSQL does not answer", s.Store.Ping(ctx)) })
	wg.Go(func() { checks.Migrations = s.check("the schema cannot be read", s.migrated(ctx)) })
	wg.Go(func() { checks.Temporal = s.check("Temporal does not answer", s.TemporalHealth(ctx)) })
	wg.Wait()

	ready := openapi.Readiness{Status: openapi.ReadinessStatusReady, Checks: checks}
	switch openapi.CheckStatusDown {
	case checks.Postgres.Status, checks.Migrations.Status:
		ready.Status = openapi.ReadinessStatusUnavailable
	case checks.Temporal.Status:
		ready.Status = openapi.ReadinessStatusDegraded
	}
	return ready
}

var errSchemaOld = errors.New("migrations are missing: run ese migrate")

func (s *server) migrated(ctx context.Context) error {
	done, err := s.Store.Migrated(ctx)
	if err == nil && !done {
		return errSchemaOld
	}
	return err
}

// check gives its verdict; the error itself may tell addresses and goes to the log alone.
func (s *server) check(detail string, err error) openapi.Check {
	if err == nil {
		return openapi.Check{Status: openapi.CheckStatusUp}
	}
	s.Log.Warn("not ready", "what", detail, "error", err)
	if errors.Is(err, errSchemaOld) {
		detail = err.Error()
	}
	return openapi.Check{Status: openapi.CheckStatusDown, Detail: detail}
}
