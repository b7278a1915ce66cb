package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/config"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/suppression"
)

func env(pairs ...string) func(string) string {
	vars := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		vars[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return vars[name] }
}

// least is what cannot be guessed.
func least(more ...string) func(string) string {
	return env(append([]string{
		"DATABASE_URL", "postgres://ese@db/ese", "PUBLIC_URL", "https://campaigns.example.com/", "TWILIO_ACCOUNT_SID", "AC00",
		"TWILIO_AUTH_TOKEN", "token", "TWILIO_PHONE_NUMBER", "whatsapp:+14155238886",
		"SUPPRESSION_KEY", suppressionKey,
	}, more...)...)
}

const suppressionKey = "0123456789abcdef0123456789abcdef"

func TestDefaults(t *testing.T) {
	t.Parallel()
	account := config.Twilio{AccountSID: "AC00", AuthToken: "token", PhoneNumber: phone.Number("+14155238886")}

	c, err := config.Load(config.API, least())
	require.NoError(t, err)
	require.Equal(t, config.Config{
		DatabaseURL: "postgres://ese@db/ese", LogLevel: slog.LevelInfo, ShutdownGrace: 20 * time.Second,
		ListenAddr: "127.0.0.1:8000", PublicURL: "https://campaigns.example.com", MaxUploadBytes: 200 << 20, Twilio: account,
		PagesURL: "https://campaigns.example.com", OIDC: config.OIDC{Name: "single sign-on", Role: "viewer"},
		SuppressionKeys: suppression.NewKeys(suppressionKey),
	}, c, "closed by default, and on loopback")

	c, err = config.Load(config.Worker, least())
	require.NoError(t, err)
	require.Equal(t, 12*time.Hour, c.ReceiptDeadline)
	require.Equal(t, []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}, c.ResolveLooks)
	require.Equal(t, 2*time.Minute, c.StuckAfter)
	require.Equal(t, time.Hour, c.TemplateSyncInterval)
	require.Equal(t, account, c.Twilio)

	c, err = config.Load(config.Simulator, env("TWILIO_ACCOUNT_SID", "AC00", "TWILIO_AUTH_TOKEN", "token", "TWILIO_PHONE_NUMBER", "+14155238886"))
	require.NoError(t, err, "the simulator needs no database")
	require.Equal(t, "127.0.0.1:8010", c.SimulatorAddr)
	require.Equal(t, account, c.Twilio, "with or without its channel")

	c, err = config.Load(config.Admin, env("DATABASE_URL", "postgres://ese@db/ese"))
	require.NoError(t, err, "the administrator needs no account")
	require.Empty(t, c.Twilio)
}

func TestGiven(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.API, least("LOG_LEVEL", "debug", "SHUTDOWN_GRACE", " 5s ", "LISTEN_ADDR", ":80", "AUTH", "local",
		"TEMPORAL_UI_URL", "http://127.0.0.1:8233/", "MAX_UPLOAD_MB", "1", "DEFAULT_REGION", "LK", "TEMPLATE_OPT_OUT_LINE", "require",
		"TWILIO_AUTH_TOKEN_NEXT", "one, two,", "TWILIO_BASE_URL", "http://127.0.0.1:8010"))
	require.NoError(t, err)
	require.Equal(t, slog.LevelDebug, c.LogLevel)
	require.Equal(t, 5*time.Second, c.ShutdownGrace)
	require.True(t, c.LocalAuth)
	require.True(t, c.RequireOptOut)
	require.Equal(t, "http://127.0.0.1:8233", c.TemporalUIURL)
	require.EqualValues(t, 1<<20, c.MaxUploadBytes)
	require.Equal(t, []string{"one", "two"}, c.Twilio.NextAuthTokens)
	require.Equal(t, "http://127.0.0.1:8010", c.Twilio.BaseURL)

	c, err = config.Load(config.Worker, least("RESOLVE_LOOKS", "1s, 3s,10s", "RECEIPT_DEADLINE", "20s", "STUCK_AFTER", "1m",
		"RETENTION_PAYLOAD_DAYS", "90", "RETENTION_BODY_DAYS", "30", "RETENTION_IMPORT_DAYS", "7", "TEMPLATE_SYNC_INTERVAL", "0"))
	require.NoError(t, err)
	require.Equal(t, []int{90, 30, 7}, []int{c.PayloadDays, c.BodyDays, c.ImportDays})
	require.Zero(t, c.TemplateSyncInterval)
	require.Equal(t, []time.Duration{time.Second, 3 * time.Second, 10 * time.Second}, c.ResolveLooks)
	require.Equal(t, 20*time.Second, c.ReceiptDeadline)
	require.Equal(t, time.Minute, c.StuckAfter)
}

func TestSuppressionKeyInAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(suppressionKey+"\n"), 0o600))
	c, err := config.Load(config.Worker, least("SUPPRESSION_KEY", "", "SUPPRESSION_KEY_FILE", file, "SUPPRESSION_KEY_PREVIOUS", "one, two"))
	require.NoError(t, err)
	require.Equal(t, suppression.NewKeys(suppressionKey, "one", "two"), c.SuppressionKeys)

	require.NoError(t, os.WriteFile(file, []byte("short"), 0o600))
	for _, name := range []string{file, file + "x"} {
		_, err = config.Load(config.Worker, least("SUPPRESSION_KEY", "", "SUPPRESSION_KEY_FILE", name))
		require.Equal(t, []string{"SUPPRESSION_KEY_FILE"}, mistakes(t, err))
	}
}

// mistakes returns the names of the variables that an error complains of, in order.
func mistakes(t *testing.T, err error) []string {
	t.Helper()
	require.Error(t, err)
	var names []string
	for line := range strings.Lines(err.Error()) {
		name, _, found := strings.Cut(line, ":")
		require.True(t, found, line)
		names = append(names, name)
	}
	return names
}

func TestEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		role config.Role
		want []string
	}{
		{config.API, []string{"DATABASE_URL", "PUBLIC_URL", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER", "SUPPRESSION_KEY"}},
		{config.Worker, []string{"DATABASE_URL", "PUBLIC_URL", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER", "SUPPRESSION_KEY"}},
		{config.Simulator, []string{"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER"}},
		{config.Admin, []string{"DATABASE_URL"}},
	} {
		_, err := config.Load(tt.role, env())
		require.Equal(t, tt.want, mistakes(t, err), tt.role)
	}

	_, err := config.Load(config.API, env("LOG_LEVEL", "loud", "SHUTDOWN_GRACE", "0s", "DATABASE_URL", "postgres://db/ese",
		"PUBLIC_URL", "campaigns.example.com", "AUTH", "off", "TEMPORAL_UI_URL", "ftp://ui", "MAX_UPLOAD_MB", "0", "DEFAULT_REGION", "Ceylon", "TEMPLATE_OPT_OUT_LINE", "no",
		"TWILIO_ACCOUNT_SID", "AC00", "TWILIO_AUTH_TOKEN", "token", "TWILIO_BASE_URL", "https://twilio.example.com/?a=b", "TWILIO_PHONE_NUMBER", "12", "SUPPRESSION_KEY", "short"))
	require.Equal(t, []string{"LOG_LEVEL", "SHUTDOWN_GRACE", "PUBLIC_URL", "AUTH", "TEMPORAL_UI_URL", "TEMPLATE_OPT_OUT_LINE", "MAX_UPLOAD_MB", "DEFAULT_REGION", "TWILIO_BASE_URL",
		"TWILIO_PHONE_NUMBER", "SUPPRESSION_KEY"}, mistakes(t, err))

	_, err = config.Load(config.Worker, least("RECEIPT_DEADLINE", "soon", "RESOLVE_LOOKS", "10s,5s", "STUCK_AFTER", "-1m",
		"SUPPRESSION_KEY_FILE", "/else/where", "RETENTION_PAYLOAD_DAYS", "-1", "RETENTION_BODY_DAYS", "a year",
		"RETENTION_IMPORT_DAYS", "36501", "TEMPLATE_SYNC_INTERVAL", "30s"))
	require.Equal(t, []string{"RECEIPT_DEADLINE", "RESOLVE_LOOKS", "STUCK_AFTER", "SUPPRESSION_KEY", "RETENTION_PAYLOAD_DAYS", "RETENTION_BODY_DAYS",
		"RETENTION_IMPORT_DAYS", "TEMPLATE_SYNC_INTERVAL"}, mistakes(t, err))
}

// TestErrorsKeepSecrets fills every variable with a secret: whatever is wrong with it, it is never repeated.
func TestErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	const secret = "hunter2 hunter2"
	for _, role := range []config.Role{config.API, config.Worker, config.Simulator, config.Admin} {
		_, err := config.Load(role, func(string) string { return secret })
		if role != config.Admin { // which takes any text for a URL
			require.Error(t, err, role)
		}
		if err != nil {
			require.NotContains(t, err.Error(), "hunter2", role)
		}
	}
}

func TestSimulatedPhonesAreForTheLocalStack(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.API, least("AUTH", "local", "SIMULATOR_URL", "http://127.0.0.1:8010/"))
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:8010", c.SimulatorURL)
	_, err = config.Load(config.API, least("SIMULATOR_URL", "http://127.0.0.1:8010"))
	require.ErrorContains(t, err, "SIMULATOR_URL: is for AUTH=local alone")
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.API, least("PAGES_URL", "https://pages.example/", "TRUSTED_PROXIES", "10.0.0.0/8, ::1",
		"OIDC_ISSUER", "https://id.example", "OIDC_CLIENT_ID", "ese", "OIDC_CLIENT_SECRET", "secret", "OIDC_NAME", "Example", "OIDC_DOMAINS", "@Example.com, example.org",
		"OIDC_ROLE", "editor"))
	require.NoError(t, err)
	require.Equal(t, "https://pages.example", c.PagesURL)
	require.Equal(t, []string{"10.0.0.0/8", "::1"}, c.TrustedProxies)
	require.Equal(t, config.OIDC{
		Issuer: "https://id.example", ClientID: "ese", ClientSecret: "secret", Name: "Example", Domains: []string{"example.com", "example.org"}, Role: "editor",
	}, c.OIDC)
	_, err = config.Load(config.API, least("TRUSTED_PROXIES", "the proxy", "OIDC_ISSUER", "https://id.example", "OIDC_ROLE", "owner"))
	for _, name := range []string{"TRUSTED_PROXIES", "OIDC_CLIENT_ID", "OIDC_ROLE"} {
		require.ErrorContains(t, err, name)
	}
}
