package ui_test

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func request(method, path string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, path, http.NoBody)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestShell(t *testing.T) {
	t.Parallel()
	s := open(t)
	page := s.get(t, "/segments")
	require.Regexp(t, `href="/segments" aria-current="page"`, page)
	require.Equal(t, 1, strings.Count(page, `aria-current="page"`), "one entry is where one is")
	require.Contains(t, page, `<a class="skip-link" href="#main">`)
	require.Contains(t, page, `<main class="page-body" id="main"`)
	require.Less(t, strings.Index(page, "early.js"), strings.Index(page, "stylesheet"), "the colours are known before anything is painted")
	require.NotRegexp(t, `early\.js[^>]*(defer|module)`, page)
}

func TestAssetsAreCompressed(t *testing.T) {
	t.Parallel()
	s := open(t)
	script := regexp.MustCompile(`src="(/ui/static/app\.js[^"]+)"`).FindStringSubmatch(s.get(t, "/"))[1]
	plain := s.do(request(http.MethodGet, script))
	require.Empty(t, plain.Header().Get("Content-Encoding"))
	packed := s.do(request(http.MethodGet, script, "Accept-Encoding", "gzip, br"))
	require.Equal(t, "gzip", packed.Header().Get("Content-Encoding"))
	require.Equal(t, "Accept-Encoding", packed.Header().Get("Vary"))
	require.Less(t, packed.Body.Len(), plain.Body.Len())
	unpacked, err := gzip.NewReader(packed.Body)
	require.NoError(t, err)
	content, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	require.Equal(t, plain.Body.String(), string(content))

	bare := s.do(request(http.MethodGet, "/ui/static/app.js"))
	require.Equal(t, "no-cache", bare.Header().Get("Cache-Control"), "its content may change under this address")
	again := s.do(request(http.MethodGet, "/ui/static/app.js", "If-None-Match", bare.Header().Get("ETag")))
	require.Equal(t, http.StatusNotModified, again.Code)
	require.Empty(t, again.Body.Bytes())
}

// All scripts together stay small, as they travel.
func TestScriptsAreSmall(t *testing.T) {
	t.Parallel()
	s := open(t)
	total := 0
	require.NoError(t, fs.WalkDir(os.DirFS("static"), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".js") {
			return err
		}
		w := s.do(request(http.MethodGet, "/ui/static/"+path, "Accept-Encoding", "gzip"))
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Contains(t, w.Header().Get("Content-Type"), "javascript", path)
		total += w.Body.Len()
		return nil
	}))
	require.Positive(t, total)
	require.Less(t, total, 250_000)
}
