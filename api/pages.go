package api

import (
	"context"
	"fmt"
	"mime/multipart"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/api/ui"
	"github.com/event-stream-engine/ese/internal/access"
)

// mountPages adds the pages. They pass the same sign-in and are told the same of an error as callers of the API.
func (s *server) mountPages(r gin.IRoutes) error {
	pages, err := ui.New(ui.Deps{
		Store: s.Store, Now: s.Now, Log: s.Log, RequireOptOut: s.RequireOptOut,
		Authorize:  s.authorize,
		Principal:  func(r *http.Request) string { return principalOf(r.Context()).Name },
		Visitor:    func(r *http.Request) access.Principal { return principalOf(r.Context()) },
		Explain:    explain,
		SameOrigin: crossOrigin.Check,
		Cookie:     readCookie,
		SetCookie:  setCookie,
		PagesURL:   s.PagesURL, OIDC: s.OIDC, OIDCName: s.OIDCName, Admission: s.Admission,
		Import: func(ctx context.Context, upload *multipart.Reader) (uuid.UUID, error) {
			accepted, err := s.acceptImport(ctx, openapi.ImportUsersParams{}, nil, upload)
			return accepted.TaskID, err
		},
		Health:         s.pageHealth,
		ErrorMeaning:   s.ErrorMeaning,
		MaxUploadBytes: s.MaxUploadBytes, TemporalUIURL: s.TemporalUIURL, Namespace: s.Namespace, Version: s.Version,
		DefaultRegion: s.DefaultRegion,
	})
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	pages.Register(r)
	return nil
}

// pageHealth is GetReadiness as the pages show it.
func (s *server) pageHealth(ctx context.Context) []ui.Check {
	checks := s.readiness(ctx).Checks
	row := func(name string, c openapi.Check) ui.Check {
		return ui.Check{Name: name, Up: c.Status == openapi.CheckStatusUp, Detail: c.Detail}
	}
	return []ui.Check{row("PostgreSQL", checks.Postgres), row("Migrations", checks.Migrations), row("Temporal", checks.Temporal)}
}
