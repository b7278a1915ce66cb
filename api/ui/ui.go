// Package ui is the pages of the engine: plain HTML from the same store as the JSON API, so that a page shows nothing
// that the API cannot. Pages are complete without JavaScript; with it their figures change in place as they change in the
// database, by server-sent events (live.go), and a button that was pressed rests. That a form counts once is the server's
// doing.
//
// A page is live by defining the template "live", which {{template "refresh" .}} puts into its content, and by setting
// view.Poll, the seconds between two looks at it. Its handler is asked again for the live part alone, once for all who watch
// the same address in the same role: it must not write anything, and what it shows must depend on nothing else.
//
// Their looks (Tabler) and the refreshing (htmx) are pinned npm packages, which npm ci && npm run build copies into
// static/vendor, from where they are embedded. A build without that folder is complete, but plain.
package ui

import (
	"context"
	"errors"
	"log/slog"
	"mime/multipart"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/price"
	"github.com/event-stream-engine/ese/internal/report"
)

// Deps is what the pages need of their surroundings. All but the marked are required.
type Deps struct {
	Store Store
	Now   func() time.Time
	Log   *slog.Logger

	// Authorize lets a request pass that may do what the scope says, and puts its principal into the request's context.
	Authorize func(c *gin.Context, scope access.Scope) error
	// Stopping is closed when the process is about to end, which ends what is kept open; optional.
	Stopping <-chan struct{}
	// Visitor is who makes the request: nobody before sign-in. Templates ask with may "send" what the visitor may do.
	Visitor func(r *http.Request) access.Principal
	// Explain decides the status of an error, and what the visitor is told of it.
	Explain func(ctx context.Context, err error) (status int, detail string, fields []fault.Field)
	// SameOrigin refuses a request that a browser makes for another site's page.
	SameOrigin func(r *http.Request) error
	// Cookie reads a cookie that SetCookie set; an empty value takes it away.
	Cookie    func(r *http.Request, name string) string
	SetCookie func(c *gin.Context, name, value string, life time.Duration)
	// Import takes in an upload and returns the id of its import, as the API's import does.
	Import func(ctx context.Context, upload Upload) (uuid.UUID, error)
	// Health looks at the dependencies; it bounds its own time.
	Health func(ctx context.Context) []Check
	// Queues tells how the engine's workers keep up; it bounds its own time.
	Queues func(ctx context.Context) ([]report.Queue, error)
	// ErrorMeaning says in a sentence what a provider's error code means.
	ErrorMeaning func(code int) string
	// ErrorAdvice says in a sentence what an operator can do about it.
	ErrorAdvice func(code int) string

	Prices price.Table // of messages, for estimates; optional
	// RequireOptOut refuses a marketing template that does not say how to stop.
	RequireOptOut  bool
	MaxUploadBytes int64
	TemporalUIURL  string // without a slash at the end; optional
	Namespace      string // Temporal's
	Version        string
	DefaultRegion  string // ISO 3166 alpha-2, of numbers without a country code; optional
	Phones         Phones // of the simulator; optional: without them there is no page that shows them

	PagesURL  string           // under which people reach the pages, without a slash at the end
	OIDC      OIDC             // optional
	OIDCName  string           // what people call it
	Admission access.Admission // whom it lets in who was not invited
	// ImportSuppressions takes in an upload of numbers not to be written to, as the API does.
	ImportSuppressions func(ctx context.Context, upload *multipart.Reader) (SuppressionImport, error)
	PublicURL          string // where the provider reaches us, without a slash at the end
	// PayloadDays, BodyDays and ImportDays are how long what webhooks said, what people wrote and the refused rows of imports
	// are kept; 0: for good.
	PayloadDays, BodyDays, ImportDays int
}

// Check is what is known of one dependency.
type Check struct {
	Name   string
	Up     bool
	Detail string // what is wrong; empty when up
}

// Store is what the pages ask of the database, each part declared beside the pages that use it.
type Store interface {
	formStore
	userStore
	personStore
	importStore
	segmentStore
	templateStore
	campaignStore
	reportStore
	monitoringStore
	unknownStore
	phoneStore
	signInStore
	ownStore
	accountStore
	keyStore
	auditStore
	settingStore
}

// UI answers the requests of the pages.
type UI struct {
	Deps
	pages  map[string]*page
	assets *assets
	hub    hub
	beat   time.Duration // between two signs of life of a live page

	patience   patience
	progress   memo[report.Summary] // by run
	details    memo[*details]       // by run
	forecasts  memo[*forecast]      // by draft and its last change
	overviews  memo[*overview]      // one
	allRates   memo[*rates]         // one
	states     memo[ledger.States]  // by run
	selections memo[*selection]     // by segment and its last change
	consents   memo[report.Consents]
}

// principal names who makes a request that passed.
func (u *UI) principal(r *http.Request) string { return u.Visitor(r).Name }

// New prepares the pages.
func New(deps Deps) (*UI, error) {
	switch {
	case deps.Store == nil, deps.Now == nil, deps.Log == nil, deps.Visitor == nil, deps.Explain == nil,
		deps.SameOrigin == nil, deps.Cookie == nil, deps.SetCookie == nil, deps.ImportSuppressions == nil,
		deps.Import == nil, deps.Health == nil, deps.Queues == nil, deps.ErrorMeaning == nil, deps.ErrorAdvice == nil:
		return nil, errors.New("pages: a dependency is missing")
	case deps.Authorize == nil:
		return nil, errors.New("pages: without Authorize they would be open to everyone")
	case deps.MaxUploadBytes <= 0:
		return nil, errors.New("pages: MaxUploadBytes must be above zero")
	}
	u := &UI{Deps: deps, beat: beatEvery, patience: defaultPatience}
	var err error
	if u.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	if u.pages, err = u.parsePages(); err != nil {
		return nil, err
	}
	if !u.assets.built {
		deps.Log.Warn("the pages have no styles: run npm ci && npm run build in api/ui before building")
	}
	return u, nil
}

// Register mounts the pages.
func (u *UI) Register(r gin.IRoutes) {
	r.GET(staticPath+"*file", u.assets.serve)

	get := func(path string, h handler) { r.GET(path, u.handle(access.Read, h)) }
	// ask is for a page whose only use is to ask before what post does: who may not do it is not asked.
	ask := func(path string, scope access.Scope, h handler) { r.GET(path, u.handle(scope, h)) }
	post := func(path string, scope access.Scope, h handler) { r.POST(path, u.handle(scope, h)) }

	get("/", u.dashboard)
	get("/monitoring", u.monitoring)

	get("/settings", u.settings)
	get("/settings/senders", u.senders)
	post("/settings/senders/:id", access.Send, u.changeSender)
	post("/settings/account", access.Send, u.changeAccount)
	get("/settings/topics", u.topics)
	post("/settings/topics", access.Write, u.createTopic)
	get("/settings/topics/:id", u.showTopic)
	post("/settings/topics/:id", access.Write, u.changeTopic)
	post("/settings/topics/:id/delete", access.Write, u.deleteTopic)
	get("/settings/keywords", u.keywords)
	post("/settings/keywords", access.Write, u.changeKeywords)
	get("/settings/replies", u.replies)
	post("/settings/replies", access.Write, u.changeReplies)
	get("/settings/hours", u.hours)
	get("/settings/suppressions", u.suppressions)
	post("/settings/suppressions", access.Write, u.addSuppression)
	post("/settings/suppressions/import", access.Write, u.importSuppressions)
	ask("/settings/suppressions/:id/lift", access.Write, u.confirmLift)
	post("/settings/suppressions/:id/lift", access.Write, u.liftSuppression)
	get("/settings/retention", u.retention)
	get("/settings/webhooks", u.webhooks)

	get("/unknown", u.unknown)
	ask("/unknown/:id", access.Send, u.confirmDecision)
	post("/unknown/:id", access.Send, u.decide)

	if u.Phones != nil {
		get("/phone", u.phone)
		post("/phone", access.Send, u.writeFromPhone)
	}

	get("/users", u.users)
	post("/users", access.Write, u.createUser)
	ask("/users/new", access.Write, u.newUser)
	ask("/users/number", access.Write, u.checkNumber)
	get("/users/:id", u.person)
	post("/users/:id/consent", access.Write, u.changeConsent)
	post("/users/:id/attributes", access.Write, u.changeAttributes)
	post("/users/:id/topics", access.Write, u.changeSubscription)
	ask("/users/:id/erase", access.Write, u.confirmErasure)
	post("/users/:id/erase", access.Write, u.erase)

	get("/imports", u.imports)
	post("/imports", access.Write, u.startImport)
	ask("/imports/new", access.Write, u.newImport)
	post("/imports/columns", access.Write, u.peekColumns)
	post("/imports/check", access.Write, u.checkImport)
	get("/imports/:id", u.showImport)

	get("/segments", u.segments)
	post("/segments", access.Write, u.createSegment)
	ask("/segments/new", access.Write, u.newSegment)
	post("/segments/preview", access.Read, u.previewSegment)
	get("/segments/:id", u.showSegment)
	ask("/segments/:id/edit", access.Write, u.editSegment)
	post("/segments/:id", access.Write, u.updateSegment)
	post("/segments/:id/members", access.Write, u.fillSegment)
	ask("/segments/:id/delete", access.Write, u.confirmSegmentDelete)
	post("/segments/:id/delete", access.Write, u.deleteSegment)
	get("/templates", u.templates)
	post("/templates", access.Write, u.createTemplate)
	ask("/templates/new", access.Write, u.newTemplate)
	post("/templates/preview", access.Read, u.previewTemplate)
	post("/templates/sync", access.Write, u.syncTemplates)
	get("/templates/:id", u.showTemplate)
	ask("/templates/:id/edit", access.Write, u.editTemplate)
	post("/templates/:id", access.Write, u.updateTemplate)
	post("/templates/:id/test", access.Send, u.testTemplate)
	ask("/templates/:id/delete", access.Write, u.confirmTemplateDelete)
	post("/templates/:id/delete", access.Write, u.deleteTemplate)

	get("/campaigns", u.campaigns)
	ask("/campaigns/new", access.Write, u.newCampaign)
	post("/campaigns", access.Write, u.createCampaign)
	get("/campaign/:id", u.summary)
	get("/campaign/:id/summary", u.summary)
	ask("/campaign/:id/edit", access.Write, u.editCampaign)
	post("/campaign/:id/edit", access.Write, u.updateCampaign)
	post("/campaign/:id/rate", access.Send, u.changeRest(changeRate))
	post("/campaign/:id/quiet-hours", access.Send, u.changeRest(changeQuietHours))
	ask("/campaign/:id/retry", access.Send, u.confirmRetry)
	post("/campaign/:id/retry", access.Send, u.retry)
	get("/campaign/:id/replies", u.campaignReplies)
	get("/messages/:id", u.message)
	get("/campaign/:id/recipients", u.recipients)
	ask("/campaign/:id/trigger", access.Send, u.confirmTrigger)
	post("/campaign/:id/trigger", access.Send, u.trigger)
	u.registerAccess(r, ask, post)
	for _, s := range steps {
		ask("/campaign/:id/"+s.Verb, s.Scope(), u.confirmStep(s))
		post("/campaign/:id/"+s.Verb, s.Scope(), u.take(s))
	}
}

// handler answers one request, or returns why it could not.
type handler func(c *gin.Context) error

// policy of the pages is stricter than that of the API's documentation: nothing inline, nothing from elsewhere. data:
// is for the drawings inside the style sheet.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// maxFormBytes bounds a form other than an upload.
const maxFormBytes = 1 << 20

func (u *UI) handle(scope access.Scope, h handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Content-Security-Policy", policy)
		c.Header("Vary", "HX-Request")
		err := u.Authorize(c, scope)
		switch {
		case err != nil:
		case Watches(c.Request):
			err = u.stream(c, scope, h)
		default:
			err = h(c)
		}
		if err != nil {
			u.fail(c, err)
		}
	}
}

// open answers those who are not signed in as well. What changes something must come from a page of ours.
func (u *UI) open(h handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Content-Security-Policy", policy)
		err := u.SameOrigin(c.Request)
		if err != nil {
			err = fault.New(fault.Forbidden, "this request comes from another site's page")
		} else {
			err = h(c)
		}
		if err != nil {
			u.fail(c, err)
		}
	}
}

// fail shows the error page. It is the only way an error leaves the pages.
func (u *UI) fail(c *gin.Context, err error) {
	ctx := c.Request.Context()
	status, detail, fields := u.Explain(ctx, err)
	requestID := c.Writer.Header().Get("X-Request-Id")
	if status >= http.StatusInternalServerError {
		u.Log.LogAttrs(ctx, slog.LevelError, "page failed", slog.String("route", c.Request.Method+" "+c.FullPath()),
			slog.String("request_id", requestID), slog.Int("status", status), slog.String("error", err.Error()))
	}
	c.Abort()
	if c.Writer.Written() {
		return
	}
	if status == http.StatusUnauthorized {
		u.askToSignIn(c)
		return
	}
	body := failure{Status: status, Title: http.StatusText(status), Detail: detail, Fields: fields, RequestID: requestID}
	if err := u.render(c, status, "error", view{Title: body.Title, Body: body}); err != nil {
		u.Log.ErrorContext(ctx, "error page", "error", err)
		c.String(status, detail)
	}
}

// NotFound is the answer to a browser that asks for a page that is not there.
func (u *UI) NotFound(c *gin.Context) {
	c.Header("Content-Security-Policy", policy)
	u.fail(c, fault.New(fault.NotFound, "there is nothing at this address"))
}

type failure struct {
	Status    int
	Title     string
	Detail    string
	Fields    []fault.Field
	RequestID string
}

// pathID reads the number in the path.
func pathID(c *gin.Context) (int64, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 32)
	if err != nil || id <= 0 {
		return 0, fault.New(fault.NotFound, "there is nothing at this address")
	}
	return id, nil
}
