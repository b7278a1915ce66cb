// Package archtest holds the map of who may import whom. It reads the source and needs nothing compiled.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/event-stream-engine/ese"

// domain is the pure part: it knows no database, no provider, no Temporal and no HTTP framework.
var domain = []string{
	"internal/access", "internal/campaign", "internal/compliance", "internal/fault", "internal/inbound", "internal/intake",
	"internal/ledger", "internal/message", "internal/outbox", "internal/phone", "internal/preflight", "internal/price", "internal/privacy", "internal/render", "internal/report",
	"internal/segment", "internal/suppression", "internal/throttle", "internal/user",
}

// may is what a package may import besides the standard library.
type may struct {
	own     []string // packages of this module
	modules []string // others, by the beginning of their path; "*" for any
}

var (
	uuid     = "github.com/google/uuid"
	text     = "golang.org/x/text"
	errgroup = "golang.org/x/sync/errgroup"
	temporal = []string{"go.temporal.io/sdk", "go.temporal.io/api"}
)

// architecture is the map. A package that is not on it has no place yet: give it one.
var architecture = func() map[string]may {
	m := map[string]may{
		"cmd/ese": {join(domain, "api", "api/ui", "worker", "workflows", "activities", "db", "internal/config", "internal/handset", "internal/telemetry",
			"internal/relay", "internal/twilio", "internal/twiliosim"), []string{"*"}},
		"worker":     {join(domain, "workflows", "activities", "internal/telemetry"), join(temporal, errgroup)},
		"workflows":  {join(domain, "activities"), join(temporal, uuid)},
		"activities": {domain, join(temporal, uuid, errgroup)},

		// internal/twilio: webhooks are checked and read by whoever speaks for Twilio.
		"api": {join(domain, "api/internal/openapi", "api/ui", "internal/handset", "internal/telemetry", "internal/twilio"),
			[]string{uuid, "github.com/gin-gonic/gin", "github.com/getkin/kin-openapi", "github.com/klauspost/compress/gzhttp"}},
		"api/ui": {join(domain, "internal/handset"), []string{uuid, "github.com/gin-gonic/gin"}},
		"api/internal/openapi": {nil, []string{
			"github.com/gin-gonic/gin", "github.com/getkin/kin-openapi", "github.com/oapi-codegen/runtime"}},

		"db":                 {join(domain, "db/internal/dbsqlc"), []string{uuid, "github.com/jackc/pgx/v5", "github.com/pressly/goose/v3"}},
		"db/internal/dbsqlc": {nil, []string{uuid, "github.com/jackc/pgx/v5"}},
		"db/dbtest":          {[]string{"db", "internal/suppression"}, []string{uuid, "github.com/jackc/pgx/v5", "github.com/stretchr/testify"}},

		"internal/relay":     {join(domain, "workflows"), join(temporal, errgroup, uuid)},
		"internal/config":    {[]string{"internal/phone", "internal/suppression"}, nil},
		"internal/telemetry": {domain, []string{"*"}},
		"internal/twilio":    {domain, []string{uuid, "github.com/twilio/twilio-go"}},
		"internal/handset":   {nil, nil},
		"internal/twiliosim": {nil, nil}, // shares nothing with the client, so that no mistake hides another
	}
	for _, name := range domain {
		m[name] = may{domain, []string{uuid, text}}
	}
	m["internal/campaign"] = may{domain, []string{uuid, text, "github.com/robfig/cron/v3"}}
	m["internal/intake"] = may{domain, []string{uuid, text, "github.com/xuri/excelize/v2"}}
	m["internal/phone"] = may{domain, []string{text, "github.com/nyaruka/phonenumbers"}}
	return m
}()

func join(list []string, more ...string) []string { return append(slices.Clone(list), more...) }

// allows reports whether the path may be imported; the standard library always may.
func (m may) allows(path string) bool {
	if own, ok := strings.CutPrefix(path, module+"/"); ok {
		return slices.Contains(m.own, own)
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return true
	}
	return slices.ContainsFunc(m.modules, func(allowed string) bool {
		return allowed == "*" || path == allowed || strings.HasPrefix(path, allowed+"/")
	})
}

// source is a Go file of the product, tests aside.
type source struct {
	pkg, file string
	imports   []string
}

// sources reads the imports of every file of the module; nested modules are not part of it.
func sources(t *testing.T, root string) []source {
	t.Helper()
	var found []source
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			if name := entry.Name(); path != root && (nested == nil || name == "testdata" || name == "node_modules" || strings.HasPrefix(name, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s := source{pkg: filepath.ToSlash(filepath.Dir(file)), file: filepath.ToSlash(file)}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imported)
		}
		found = append(found, s)
		return nil
	})
	require.NoError(t, err)
	return found
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	files := sources(t, filepath.Join("..", ".."))
	require.Greater(t, len(files), 50, "the module's source was found")
	for _, s := range files {
		rule, known := architecture[s.pkg]
		if !known {
			t.Errorf("%s: package %s is not on the map of the architecture", s.file, s.pkg)
			continue
		}
		for _, imported := range s.imports {
			if !rule.allows(imported) {
				t.Errorf("%s: package %s may not import %s", s.file, s.pkg, imported)
			}
		}
	}
}

// TestMapForbids holds the sentences that the map is to say, so that an entry added in haste cannot unsay them.
func TestMapForbids(t *testing.T) {
	t.Parallel()
	for _, name := range domain {
		for _, path := range []string{module + "/db", module + "/api", module + "/internal/twilio", "github.com/jackc/pgx/v5", "go.temporal.io/sdk/workflow", "github.com/gin-gonic/gin"} {
			require.False(t, architecture[name].allows(path), "%s knows nothing of %s", name, path)
		}
		require.Equal(t, name == "internal/phone", architecture[name].allows("github.com/nyaruka/phonenumbers"), name)
	}
	for name, rule := range architecture {
		require.False(t, rule.allows(module+"/cmd/ese"), "nobody imports the program: %s", name)
		require.False(t, rule.allows(module+"/internal/archtest"), name)
		require.Equal(t, name == "db", rule.allows(module+"/db/internal/dbsqlc"), "generated rows stay within db: %s", name)
		if name == "cmd/ese" {
			continue
		}
		require.Equal(t, name == "db/dbtest", rule.allows(module+"/db"), "who needs the database declares an interface: %s", name)
		require.Equal(t, name == "api", rule.allows(module+"/internal/twilio"), "who needs the provider declares an interface: %s", name)
		if !slices.Contains([]string{"internal/telemetry"}, name) {
			require.Equal(t, name == "api" || name == "api/ui" || name == "api/internal/openapi", rule.allows("github.com/gin-gonic/gin"), name)
			require.Equal(t, name == "internal/twilio", rule.allows("github.com/twilio/twilio-go/client"), name)
		}
	}
	require.False(t, architecture["workflows"].allows(module+"/internal/config"), "workflows read no environment")
}

func TestAllows(t *testing.T) {
	t.Parallel()
	m := may{[]string{"internal/fault"}, []string{"github.com/google/uuid"}}
	for path, want := range map[string]bool{
		"net/http":                      true,
		"github.com/google/uuid":        true,
		"github.com/google/uuid/sub":    true,
		"github.com/google/uuidx":       false,
		module + "/internal/fault":      true,
		module + "/internal/fault/more": false,
		module + "/internal/user":       false,
	} {
		require.Equal(t, want, m.allows(path), path)
	}
}
