package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
type product struct {
	url  string
	stop func() error
}

var start = sync.OnceValues(func() (*product, error) {
	if running := os.Getenv("ESE_URL"); running != "" { // such as that of make dev
		return &product{url: running, stop: func() error { return nil }}, nil
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
	return &product{url: s.URL(), stop: func() error {
		err := s.Stop()
		_ = os.RemoveAll(dir)
		return err
	}}, nil
})

// chromium is the browser that all tests share; each opens tabs of its own.
var chromium = sync.OnceValues(func() (context.Context, func()) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browserPath()), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	return ctx, func() { stop(); stopAllocator() }
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
	if browserPath() == "" {
		fmt.Println("the tests of the pages are SKIPPED: no Chromium is installed (apt-get install chromium) or named by BROWSER_PATH")
		os.Exit(0)
	}
	code := m.Run()
	if _, stop := chromium(); stop != nil {
		stop()
	}
	if p, err := start(); err == nil {
		if err := p.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// open starts the product, or finds it running.
func open(t *testing.T) *product {
	t.Helper()
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
