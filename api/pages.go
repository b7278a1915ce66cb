package api

import (
	"context"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/klauspost/compress/gzhttp"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/api/ui"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/intake"
)

// mountPages adds the pages. They pass the same sign-in and are told the same of an error as callers of the API.
func (s *server) mountPages(r *gin.Engine) error {
	pages, err := ui.New(ui.Deps{
		Store: s.Store, Now: s.Now, Log: s.Log, RequireOptOut: s.RequireOptOut,
		Authorize:  s.authorize,
		Stopping:   s.Stopping,
		Visitor:    func(r *http.Request) access.Principal { return principalOf(r.Context()) },
		Explain:    explain,
		SameOrigin: crossOrigin.Check,
		Cookie:     readCookie,
		SetCookie:  setCookie,
		PagesURL:   s.PagesURL, OIDC: s.OIDC, OIDCName: s.OIDCName, Admission: s.Admission,
		Import:         s.importUpload,
		Health:         s.pageHealth,
		Queues:         s.queues,
		ErrorMeaning:   s.ErrorMeaning,
		ErrorAdvice:    s.ErrorAdvice,
		Prices:         s.Prices,
		MaxUploadBytes: s.MaxUploadBytes, TemporalUIURL: s.TemporalUIURL, Namespace: s.Namespace, Version: s.Version,
		DefaultRegion: s.DefaultRegion,
		Phones:        s.Phones,
		PublicURL:     s.PublicURL, PayloadDays: s.PayloadDays, BodyDays: s.BodyDays, ImportDays: s.ImportDays,
		ImportSuppressions: func(ctx context.Context, upload *multipart.Reader) (ui.SuppressionImport, error) {
			result, err := s.importSuppressions(ctx, s.DefaultRegion, upload)
			return ui.SuppressionImport{
				Total: int(result.Total), Added: int(result.Added), Known: int(result.Known), Failed: int(result.Failed),
				Errors: each(result.Errors, func(e openapi.ImportError) intake.RowError {
					return intake.RowError{Line: int(e.Line), Field: e.Field, Detail: e.Detail}
				}),
			}, err
		},
	})
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	pages.Register(r)
	r.NoRoute(func(c *gin.Context) {
		if strings.Contains(c.GetHeader("Accept"), "text/html") && !strings.HasPrefix(c.Request.URL.Path, "/api/") {
			pages.NotFound(c)
			return
		}
		s.fail(c, refuse(http.StatusNotFound, "there is nothing at this address"))
	})
	return nil
}

// importUpload takes in a file that was chosen on a page.
func (s *server) importUpload(ctx context.Context, upload ui.Upload) (uuid.UUID, error) {
	mapping := string(upload.Mapping)
	imp, err := s.newImport(ctx, openapi.ImportUsersParams{
		DefaultRegion: none(upload.DefaultRegion), Policy: none(openapi.ImportPolicy(upload.Policy)), DryRun: &upload.DryRun, Mapping: none(mapping),
	})
	if err != nil {
		return uuid.Nil, err
	}
	if err := nameFile(&imp, upload.FileName, upload.Type); err != nil {
		return uuid.Nil, err
	}
	accepted, err := s.importFile(ctx, imp, upload.File)
	return accepted.TaskID, err
}

// compressPages compresses what browsers are shown. The API and the webhooks answer programs, mostly near ones, and shortly.
func compressPages(next http.Handler) (http.Handler, error) {
	wrap, err := gzhttp.NewWrapper(gzhttp.ContentTypes([]string{"text/html"}), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, fmt.Errorf("compression: %w", err)
	}
	compressed := wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/webhooks/") {
			next.ServeHTTP(w, r)
			return
		}
		compressed.ServeHTTP(w, r)
	}), nil
}

// pageHealth is GetReadiness as the pages show it.
func (s *server) pageHealth(ctx context.Context) []ui.Check {
	checks := s.readiness(ctx).Checks
	row := func(name string, c openapi.Check) ui.Check {
		return ui.Check{Name: name, Up: c.Status == openapi.CheckStatusUp, Detail: c.Detail}
	}
	return []ui.Check{row("PostgreSQL", checks.Postgres), row("Migrations", checks.Migrations), row("Temporal", checks.Temporal)}
}
