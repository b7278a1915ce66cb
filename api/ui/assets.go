package ui

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
)

// staticPath is where styles and scripts are served.
const staticPath = "/ui/static/"

// assets are the embedded styles and scripts. Their addresses change with their content, so that browsers may keep them.
type assets struct {
	files   map[string]asset
	built   bool // the vendored packages are there
	styles  []string
	scripts []string // of all pages
}

type asset struct {
	content []byte
	gzipped []byte // nil where that is no shorter
	kind    string
	version string
}

// loadAssets reads what is embedded, once: it compresses all of it as well as it can.
var loadAssets = sync.OnceValues(func() (*assets, error) {
	a := &assets{files: map[string]asset{}}
	err := fs.WalkDir(embedded, "static", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(file)
		if err != nil {
			return err
		}
		gzipped, err := compress(content)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		kind := cmp.Or(mime.TypeByExtension(path.Ext(file)), "text/plain; charset=utf-8")
		a.files[strings.TrimPrefix(file, "static/")] = asset{content, gzipped, kind, hex.EncodeToString(sum[:6])}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("static files: %w", err)
	}
	_, tabler := a.files["vendor/tabler.min.css"]
	_, htmx := a.files["vendor/htmx.min.js"]
	a.built = tabler && htmx
	if a.built {
		a.styles = []string{a.url("vendor/tabler.min.css"), a.url("app.css")}
		a.scripts = []string{a.url("vendor/htmx.min.js"), a.url("vendor/hx-sse.min.js"), a.url("live.js"), a.url("app.js")}
	} else {
		a.styles = []string{a.url("plain.css"), a.url("app.css")}
		a.scripts = []string{a.url("app.js")}
	}
	return a, nil
})

func compress(content []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if b.Len() >= len(content) {
		return nil, nil
	}
	return b.Bytes(), nil
}

func (a *assets) url(name string) string { return staticPath + name + "?v=" + a.files[name].version }

// link is the address of a file; "" for one that this build does not have.
func (a *assets) link(name string) string {
	if len(a.known([]string{name})) == 0 {
		return ""
	}
	return a.url(name)
}

// known drops those of the names that this build does not have.
func (a *assets) known(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, found := a.files[name]
		return !found
	})
}

// serve answers with a file. Under the address of its content it may be kept for good; under its bare name, by which one
// module imports another, it is asked for again and confirmed.
func (a *assets) serve(c *gin.Context) {
	file, found := a.files[strings.TrimPrefix(c.Param("file"), "/")]
	if !found {
		c.Status(http.StatusNotFound)
		return
	}
	tag := `"` + file.version + `"`
	c.Header("ETag", tag)
	c.Header("Vary", "Accept-Encoding")
	c.Header("Cache-Control", "no-cache")
	if c.Query("v") == file.version {
		c.Header("Cache-Control", "public, max-age=31536000, immutable")
	}
	if c.GetHeader("If-None-Match") == tag {
		c.Status(http.StatusNotModified)
		return
	}
	if file.gzipped != nil && strings.Contains(c.GetHeader("Accept-Encoding"), "gzip") {
		c.Header("Content-Encoding", "gzip")
		c.Data(http.StatusOK, file.kind, file.gzipped)
		return
	}
	c.Data(http.StatusOK, file.kind, file.content)
}
