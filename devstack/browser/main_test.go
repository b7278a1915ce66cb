package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// patience is how long anything may take to come true.
const patience = time.Minute

// product is the whole product, running for all tests of the package.
type product struct{ url string }

// stops ends what was started, the last first.
var stops []func() error

var start = sync.OnceValues(func() (*product, error) {
	if running := os.Getenv("ESE_URL"); running != "" { // such as that of make dev
		return &product{running}, nil
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	binaries, err := stack.Build(context.Background(), root, os.Stderr)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ese-browser-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's own user must reach its folder
		return nil, err
	}
	s, err := stack.Start(context.Background(), stack.Options{Binaries: binaries, Dir: dir})
	if err != nil {
		return nil, err
	}
	stops = append(stops, func() error { return errors.Join(s.Stop(), os.RemoveAll(dir)) })
	return &product{s.URL()}, nil
})

// chromium is the browser that all tests share; each opens tabs of its own.
var chromium = sync.OnceValue(func() context.Context {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browserPath()), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	stops = append(stops, func() error { stop(); stopAllocator(); return nil })
	return ctx
})

// browserPath finds a Chromium; "" when there is none.
func browserPath() string {
	for _, name := range []string{os.Getenv("BROWSER_PATH"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range slices.Backward(stops) {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// open starts the product, or finds it running. Without a browser the test is skipped, except where CI is set: what installs one
// there is broken then.
func open(t *testing.T) *product {
	t.Helper()
	if browserPath() == "" {
		require.Empty(t, os.Getenv("CI"), "no Chromium is installed")
		t.Skip("no Chromium is installed (apt-get install chromium) or named by BROWSER_PATH")
	}
	p, err := start()
	require.NoError(t, err)
	return p
}

type object = map[string]any

// api prepares what a test is not about, and reads what the pages do not say.
func (p *product) api(t *testing.T, method, path string, body any) object {
	t.Helper()
	var content io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		content = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, p.url+path, content)
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Less(t, answer.StatusCode, 300, "%s %s: %s", method, path, raw)
	var out object
	if len(raw) > 0 {
		require.NoError(t, json.Unmarshal(raw, &out), "%s", raw)
	}
	return out
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-deadline:
			require.FailNow(t, "waited in vain for "+what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
