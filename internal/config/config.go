// Package config reads the environment, once, and reports every mistake at once. Temporal's own variables
// (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_*) are read by its client library.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/suppression"
)

// Role is a part of the engine that runs as a process of its own.
type Role string

// The roles.
const (
	API       Role = "api"
	Worker    Role = "worker"
	Simulator Role = "simulator"
	Admin     Role = "admin" // migrate, keys
)

// Config is what the engine can be told. Which parts a role needs, Load knows.
type Config struct {
	DatabaseURL   string
	LogLevel      slog.Level
	ShutdownGrace time.Duration // for requests and activities under way

	ListenAddr     string // host:port of the API
	PublicURL      string // under which Twilio reaches the API, without a slash at the end
	PagesURL       string // under which people reach the pages, likewise
	LocalAuth      bool
	TrustedProxies []string // networks whose X-Forwarded-For is believed
	OIDC           OIDC
	TemporalUIURL  string
	MaxUploadBytes int64
	RequireOptOut  bool   // of marketing templates: a line that says how to stop
	DefaultRegion  string // ISO 3166, of numbers without a country code
	// ApprovalsRequired has a campaign approved by somebody else before it can be triggered.
	ApprovalsRequired bool
	PriceTable        string // the file that holds what messages cost; "" for none

	Twilio Twilio

	SuppressionKeys  suppression.Keys
	PayloadDays      int    // how long what webhooks said is kept; 0: for good
	BodyDays         int    // likewise what people wrote
	ImportDays       int    // likewise the refused rows of imports
	LegalWindowsFile string // JSON, see compliance.ParseLaw; "": only what is listed

	MaxRequests     int // to Twilio, of one worker, that are under way at once
	ReceiptDeadline time.Duration
	ResolveLooks    []time.Duration
	StuckAfter      time.Duration
	// TemplateSyncInterval is between two looks at all of Twilio's templates; 0 for none.
	TemplateSyncInterval time.Duration

	SimulatorURL string // of the simulator's control API, for the page of simulated phones; "" for none

	SimulatorAddr       string
	SimulatorData       string
	SimulatorInboundURL string
	SimulatorDelays     []time.Duration // from accepted to sent, on to delivered, on to read
}

// OIDC is the identity provider that people sign in with; without an Issuer there is none.
type OIDC struct {
	Issuer       string
	ClientID     string
	ClientSecret string
	Name         string   // what people call it
	Domains      []string // of e-mail addresses that need no invitation
	Role         string   // of those
}

// Twilio is our account there.
type Twilio struct {
	AccountSID     string
	AuthToken      string
	NextAuthTokens []string     // accepted as well on webhooks, while a token is being rotated
	PhoneNumber    phone.Number // the sender
	BaseURL        string       // empty: Twilio
}

// Load reads what the role needs. The error names every variable that is missing or wrong.
func Load(role Role, getenv func(string) string) (Config, error) {
	p := parser{getenv: getenv}
	c := Config{
		LogLevel:      p.level("LOG_LEVEL", slog.LevelInfo),
		ShutdownGrace: p.duration("SHUTDOWN_GRACE", 20*time.Second),
	}
	switch role {
	case API:
		c.DatabaseURL = p.required("DATABASE_URL")
		c.ListenAddr = p.text("LISTEN_ADDR", "127.0.0.1:8000")
		c.PublicURL = strings.TrimSuffix(p.url("PUBLIC_URL", true), "/")
		c.LocalAuth = p.oneOf("AUTH", "", "local") == "local"
		c.SimulatorURL = strings.TrimSuffix(p.url("SIMULATOR_URL", false), "/")
		if c.SimulatorURL != "" && !c.LocalAuth {
			p.fail("SIMULATOR_URL", "is for AUTH=local alone: whoever may look at pages could write as anybody")
		}
		if c.PagesURL = strings.TrimSuffix(p.url("PAGES_URL", false), "/"); c.PagesURL == "" {
			c.PagesURL = c.PublicURL
		}
		c.TrustedProxies = p.networks("TRUSTED_PROXIES")
		c.OIDC = p.oidc()
		c.TemporalUIURL = strings.TrimSuffix(p.url("TEMPORAL_UI_URL", false), "/")
		c.RequireOptOut = p.oneOf("TEMPLATE_OPT_OUT_LINE", "warn", "require") == "require"
		c.MaxUploadBytes = int64(p.integer("MAX_UPLOAD_MB", 200, 1, 10_000)) << 20
		if c.DefaultRegion = p.text("DEFAULT_REGION", ""); c.DefaultRegion != "" && !phone.KnownRegion(c.DefaultRegion) {
			p.fail("DEFAULT_REGION", "must be a country such as LK")
		}
		c.ApprovalsRequired = p.oneOf("APPROVALS_REQUIRED", "false", "true") == "true"
		c.PriceTable = p.text("PRICE_TABLE", "")
		c.LegalWindowsFile = p.text("LEGAL_WINDOWS", "")
		c.Twilio = p.twilio()
		c.SuppressionKeys = p.suppressionKeys()
		c.PayloadDays, c.BodyDays, c.ImportDays = p.retention() // to show them
	case Worker:
		c.DatabaseURL = p.required("DATABASE_URL")
		c.PublicURL = strings.TrimSuffix(p.url("PUBLIC_URL", true), "/")
		c.Twilio = p.twilio()
		c.MaxRequests = p.integer("TWILIO_MAX_REQUESTS", 256, 1, 2000)
		c.ReceiptDeadline = p.duration("RECEIPT_DEADLINE", 12*time.Hour)
		c.ResolveLooks = p.durations("RESOLVE_LOOKS", 5*time.Second, 30*time.Second, 2*time.Minute, 10*time.Minute)
		if !slices.IsSorted(c.ResolveLooks) {
			p.fail("RESOLVE_LOOKS", "must be ascending: each is counted from the end of the lease")
		}
		c.StuckAfter = p.duration("STUCK_AFTER", 2*time.Minute)
		c.SuppressionKeys = p.suppressionKeys()
		c.PayloadDays, c.BodyDays, c.ImportDays = p.retention()
		c.TemplateSyncInterval = p.interval("TEMPLATE_SYNC_INTERVAL", time.Hour)
		c.LegalWindowsFile = p.text("LEGAL_WINDOWS", "")
	case Simulator:
		c.Twilio = p.twilio()
		c.SimulatorAddr = p.text("SIMULATOR_ADDR", "127.0.0.1:8010")
		c.SimulatorData = p.text("SIMULATOR_DATA", ".local/simulator")
		c.SimulatorInboundURL = p.url("SIMULATOR_INBOUND_URL", false)
		c.SimulatorDelays = p.durations("SIMULATOR_DELAYS", 50*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond)
		if len(c.SimulatorDelays) != 3 {
			p.fail("SIMULATOR_DELAYS", "must be three durations: until sent, delivered and read")
		}
	case Admin:
		c.DatabaseURL = p.required("DATABASE_URL")
	}
	return c, errors.Join(p.errs...)
}

const maxRetentionDays = 36_500

// parser reads variables and collects what is wrong with them.
type parser struct {
	getenv func(string) string
	errs   []error
}

func (p *parser) fail(name, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
}

func (p *parser) text(name, fallback string) string {
	if v := strings.TrimSpace(p.getenv(name)); v != "" {
		return v
	}
	return fallback
}

func (p *parser) required(name string) string {
	v := p.text(name, "")
	if v == "" {
		p.fail(name, "is not set")
	}
	return v
}

func (p *parser) oneOf(name string, allowed ...string) string {
	v := p.text(name, allowed[0])
	for _, a := range allowed {
		if v == a {
			return v
		}
	}
	p.fail(name, "must be one of %q", allowed)
	return allowed[0]
}

func (p *parser) integer(name string, fallback, least, most int) int {
	v := p.text(name, "")
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		p.fail(name, "must be a whole number from %d to %d", least, most)
	}
	return n
}

func (p *parser) duration(name string, fallback time.Duration) time.Duration {
	v := p.text(name, "")
	if v == "" {
		return fallback
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		p.fail(name, "must be a duration such as 20s or 12h")
	}
	return d
}

// interval is a duration between things that are done again and again; 0 for not at all.
func (p *parser) interval(name string, fallback time.Duration) time.Duration {
	v := p.text(name, "")
	if v == "" {
		return fallback
	}
	d, err := time.ParseDuration(v)
	if err != nil || d != 0 && d < time.Minute {
		p.fail(name, "must be a duration of a minute or more such as 30m, or 0 for never")
	}
	return d
}

func (p *parser) durations(name string, fallback ...time.Duration) []time.Duration {
	v := p.text(name, "")
	if v == "" {
		return fallback
	}
	var out []time.Duration
	for part := range strings.SplitSeq(v, ",") {
		d, err := time.ParseDuration(strings.TrimSpace(part))
		if err != nil || d < 0 {
			p.fail(name, "must be durations such as 5s,30s,2m")
			return fallback
		}
		out = append(out, d)
	}
	return out
}

func (p *parser) url(name string, required bool) string {
	v := p.text(name, "")
	if v == "" {
		if required {
			p.fail(name, "is not set")
		}
		return ""
	}
	if u, err := url.Parse(v); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		p.fail(name, "must be an http or https URL without query, such as https://campaigns.example.com")
	}
	return v
}

func (p *parser) retention() (payloadDays, bodyDays, importDays int) {
	days := func(name string) int { return p.integer(name, 0, 0, maxRetentionDays) }
	return days("RETENTION_PAYLOAD_DAYS"), days("RETENTION_BODY_DAYS"), days("RETENTION_IMPORT_DAYS")
}

func (p *parser) level(name string, fallback slog.Level) slog.Level {
	v := p.text(name, "")
	if v == "" {
		return fallback
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(v)); err != nil {
		p.fail(name, "must be DEBUG, INFO, WARN or ERROR")
	}
	return level
}

// networks reads addresses and networks such as 10.0.0.0/8.
func (p *parser) networks(name string) []string {
	list := p.list(name)
	for _, one := range list {
		_, badNetwork := netip.ParsePrefix(one)
		if _, badAddress := netip.ParseAddr(one); badNetwork != nil && badAddress != nil {
			p.fail(name, "must be addresses or networks such as 10.0.0.0/8, separated by commas")
			return nil
		}
	}
	return list
}

func (p *parser) list(name string) []string {
	var list []string
	for one := range strings.SplitSeq(p.text(name, ""), ",") {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, one)
		}
	}
	return list
}

func (p *parser) oidc() OIDC {
	o := OIDC{
		Issuer: p.url("OIDC_ISSUER", false), ClientID: p.text("OIDC_CLIENT_ID", ""), ClientSecret: p.text("OIDC_CLIENT_SECRET", ""),
		Name: p.text("OIDC_NAME", "single sign-on"), Domains: p.list("OIDC_DOMAINS"),
		Role: p.oneOf("OIDC_ROLE", "viewer", "editor", "operator", "admin"),
	}
	for i, domain := range o.Domains {
		o.Domains[i] = strings.ToLower(strings.TrimPrefix(domain, "@"))
	}
	if o.Issuer != "" && o.ClientID == "" {
		p.fail("OIDC_CLIENT_ID", "is not set, and OIDC_ISSUER is")
	}
	return o
}

func (p *parser) twilio() Twilio {
	t := Twilio{
		AccountSID: p.required("TWILIO_ACCOUNT_SID"),
		AuthToken:  p.required("TWILIO_AUTH_TOKEN"),
		BaseURL:    p.url("TWILIO_BASE_URL", false),
	}
	for next := range strings.SplitSeq(p.text("TWILIO_AUTH_TOKEN_NEXT", ""), ",") {
		if next = strings.TrimSpace(next); next != "" {
			t.NextAuthTokens = append(t.NextAuthTokens, next)
		}
	}
	if raw := p.required("TWILIO_PHONE_NUMBER"); raw != "" {
		number, err := phone.Parse(raw, "")
		if err != nil {
			p.fail("TWILIO_PHONE_NUMBER", "must be a number such as whatsapp:+14155238886")
		}
		t.PhoneNumber = number
	}
	return t
}

// suppressionKeys reads the present key, from the environment or a file, and those before it.
func (p *parser) suppressionKeys() suppression.Keys {
	present, file := p.text("SUPPRESSION_KEY", ""), p.text("SUPPRESSION_KEY_FILE", "")
	switch {
	case present != "" && file != "":
		p.fail("SUPPRESSION_KEY", "is set, and so is SUPPRESSION_KEY_FILE: one of them is meant")
	case file != "":
		content, err := os.ReadFile(file)
		if err != nil {
			p.fail("SUPPRESSION_KEY_FILE", "cannot be read")
			return nil
		}
		if present = strings.TrimSpace(string(content)); len(present) < suppression.MinKeyBytes {
			p.fail("SUPPRESSION_KEY_FILE", "must hold at least %d characters", suppression.MinKeyBytes)
		}
	case present == "":
		p.fail("SUPPRESSION_KEY", "is not set")
	case len(present) < suppression.MinKeyBytes:
		p.fail("SUPPRESSION_KEY", "must have at least %d characters", suppression.MinKeyBytes)
	}
	var earlier []string
	for key := range strings.SplitSeq(p.text("SUPPRESSION_KEY_PREVIOUS", ""), ",") {
		if key = strings.TrimSpace(key); key != "" {
			earlier = append(earlier, key)
		}
	}
	return suppression.NewKeys(present, earlier...)
}
