// Package api is the HTTP side of the engine: the JSON API that openapi.yaml describes, the provider's webhooks and the
// pages. It is the only package that knows Gin. One file per noun; each declares what it needs of the store.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/api/ui"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/price"
	"github.com/event-stream-engine/ese/internal/report"
)

// Deps is what the API needs of its surroundings. All but the marked are required.
type Deps struct {
	Store Store
	Now   func() time.Time
	Log   *slog.Logger
	// Wake tells the outbox relay that there may be work. It must not block.
	Wake func()
	// TemporalHealth returns nil when Temporal answers. It is called with a deadline.
	TemporalHealth func(ctx context.Context) error
	// Queues tells how Temporal serves the engine's task queue. It is called with a deadline.
	Queues func(ctx context.Context) ([]report.Queue, error)
	// Stopping is closed when the process is about to end, which ends the live pages; optional.
	Stopping      <-chan struct{}
	TemporalUIURL string // of the Web UI, without a slash at the end; optional
	Namespace     string // Temporal's
	PublicURL     string // where the provider reaches us, without a slash at the end; signatures cover it
	// LocalAuth lets requests from this machine in without a key or a signature. Refused unless ListenAddr is loopback.
	LocalAuth  bool
	ListenAddr string // host:port
	PagesURL   string // under which people reach the pages, without a slash at the end
	// TrustedProxies are the networks, or addresses, whose X-Forwarded-For is believed; none: the peer is the caller.
	TrustedProxies []string
	OIDC           ui.OIDC          // the identity provider to sign in with; nil without
	OIDCName       string           // what people call it
	Admission      access.Admission // whom it lets in who was not invited
	MaxUploadBytes int64
	Version        string
	DefaultRegion  string      // ISO 3166 alpha-2, of numbers without a country code; optional
	AccountSID     string      // the provider's account that webhooks must come from
	TwilioTokens   []string    // that may have signed a webhook: the present one first, then those being rotated out
	Prices         price.Table // of messages, for estimates; optional
	// RequireOptOut refuses a marketing template that does not say how to stop; else it is saved with a warning.
	RequireOptOut bool
	// Phones are those of the simulator, for a page that shows them; optional. Refused without LocalAuth.
	Phones ui.Phones
	// PayloadDays, BodyDays and ImportDays are how long what webhooks said, what people wrote and the refused rows of imports
	// are kept; 0: for good. They are shown.
	PayloadDays, BodyDays, ImportDays int
	// ErrorMeaning says in one plain sentence what the provider's error code means.
	ErrorMeaning func(code int) string
	// ErrorAdvice says in one plain sentence what an operator can do about it.
	ErrorAdvice func(code int) string
}

// Store is everything the API asks of the database, each part declared beside the handlers that use it.
type Store interface {
	healthStore
	keyStore
	sessionStore
	accountStore
	auditStore
	idempotencyStore
	userStore
	privacyStore
	suppressionStore
	importStore
	segmentStore
	useStore
	topicStore
	keywordStore
	replyStore
	invitationStore
	enrolmentStore
	templateStore
	campaignStore
	triggerStore
	senderStore
	reportStore
	monitoringStore
	ui.Store
	messageStore
	webhookStore
}

// server answers requests. Its methods implement openapi.StrictServerInterface.
type server struct {
	Deps
	operations map[string]*operation // by method and route
	reports    reportQueue
	counts     counts
}

// New builds the handler of the whole HTTP side.
func New(deps Deps) (http.Handler, error) {
	r, err := newEngine(deps)
	if err != nil {
		return nil, err
	}
	return compressPages(headAsGet(r))
}

func newEngine(deps Deps) (*gin.Engine, error) {
	if deps.LocalAuth && !loopbackHost(deps.ListenAddr) {
		return nil, fmt.Errorf("AUTH=local needs a listener on a loopback address such as 127.0.0.1:8000, not %q", deps.ListenAddr)
	}
	if deps.Phones != nil && !deps.LocalAuth {
		return nil, errors.New("simulated phones are for AUTH=local alone")
	}
	document, err := openapi.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	s := &server{Deps: deps}
	if s.operations, err = operations(document); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	docs, err := documentation(document)
	if err != nil {
		return nil, fmt.Errorf("documentation page: %w", err)
	}

	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.ContextWithFallback = true // what a handler gets as context is the request's
	r.HandleMethodNotAllowed = true
	if err := r.SetTrustedProxies(deps.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted proxies: %w", err)
	}
	s.routes(r, docs)
	if err := s.mountPages(r); err != nil {
		return nil, err
	}
	return r, nil
}

// headAsGet answers HEAD like GET; the HTTP server leaves the body out.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			get := *r
			get.Method, r = http.MethodGet, &get
		}
		next.ServeHTTP(w, r)
	})
}

// isWebhook reports whether the request is one of the provider's.
func isWebhook(c *gin.Context) bool { return strings.HasPrefix(c.FullPath(), "/webhooks/") }

// routes says which handler answers what, and what a request passes before.
func (s *server) routes(r *gin.Engine, docs http.Handler) {
	r.Use(identifyRequest, s.logRequest, s.recoverPanic, secureHeaders, demandPace, s.wakeRelay)
	r.NoMethod(func(c *gin.Context) {
		s.fail(c, refuse(http.StatusMethodNotAllowed, "this address answers "+c.Writer.Header().Get("Allow")))
	})

	r.GET("/openapi.yaml", serveDocument)
	r.GET("/docs", gin.WrapH(docs))

	r.POST("/webhooks/inbound", s.inboundWebhook)
	r.POST("/webhooks/status", s.statusWebhook)

	documented := r.Group("/", s.admit, s.once)
	openapi.RegisterHandlersWithOptions(documented, openapi.NewStrictHandlerWithOptions(s,
		[]openapi.StrictMiddlewareFunc{ownContext},
		openapi.StrictGinServerOptions{
			RequestErrorHandlerFunc:  func(c *gin.Context, err error) { s.fail(c, unreadable(err)) },
			HandlerErrorFunc:         s.fail,
			ResponseErrorHandlerFunc: s.fail,
		}), openapi.GinServerOptions{
		ErrorHandler: func(c *gin.Context, err error, _ int) { s.fail(c, refuse(http.StatusBadRequest, err.Error())) },
	})
}

// ownContext gives a handler a context that outlives the request: Gin uses its own again for another one, while a
// driver may still look at it.
func ownContext(next openapi.StrictHandlerFunc, _ string) openapi.StrictHandlerFunc {
	return func(c *gin.Context, request any) (any, error) { return next(c.Copy(), request) }
}

type requestIDKey struct{}

var saneRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// identifyRequest takes over the caller's X-Request-Id, or makes one.
func identifyRequest(c *gin.Context) {
	id := c.GetHeader("X-Request-Id")
	if !saneRequestID.MatchString(id) {
		id = uuid.NewString()
	}
	c.Header("X-Request-Id", id)
	ctx := access.WithAddress(c.Request.Context(), c.ClientIP())
	c.Request = c.Request.WithContext(context.WithValue(ctx, requestIDKey{}, id))
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// route is what logs call a request: its path may hold a phone number.
func route(c *gin.Context) string {
	if path := c.FullPath(); path != "" {
		return c.Request.Method + " " + path
	}
	return "unknown"
}

func (s *server) logRequest(c *gin.Context) {
	start := time.Now()
	c.Next()
	level := slog.LevelInfo
	if isWebhook(c) && c.Writer.Status() < http.StatusBadRequest {
		level = slog.LevelDebug // several for every message: the ledger keeps them
	}
	s.Log.LogAttrs(c, level, "request",
		slog.String("route", route(c)),
		slog.Int("status", c.Writer.Status()),
		slog.Duration("took", time.Since(start).Round(time.Microsecond)),
		slog.String("principal", principalOf(c).Name),
		slog.String("request_id", requestID(c)))
}

func (s *server) recoverPanic(c *gin.Context) {
	defer func() {
		switch problem := recover(); problem {
		case nil:
		case http.ErrAbortHandler:
			panic(problem)
		default:
			s.Log.LogAttrs(c, slog.LevelError, "panic", slog.String("route", route(c)), slog.String("request_id", requestID(c)),
				slog.String("stack", string(debug.Stack())))
			s.fail(c, fmt.Errorf("panic of type %T", problem)) // its text may hold anything
		}
	}()
	c.Next()
}

func secureHeaders(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
}

// wakeRelay has the outbox looked at after every change.
func (s *server) wakeRelay(c *gin.Context) {
	c.Next()
	if c.Request.Method != http.MethodGet && c.Writer.Status() < http.StatusBadRequest {
		s.Wake()
	}
}

func isNotFound(err error) bool { return fault.Is(err, fault.NotFound) }

// unreadable is what a body gets that passed the document's schema and still could not be bound. To the schema 10.0 and
// 1e1 are whole numbers, to Go they are not.
func unreadable(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && mismatch.Field != "" {
		return fault.Refuse(mismatch.Field, "must be a whole number in digits alone, without a point or an exponent")
	}
	return refuse(http.StatusBadRequest, "the body cannot be read")
}
