package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestScreenshots draws every page at two widths in two colours, for people to look at. It runs where SCREENSHOTS names a
// folder, and draws those pages alone whose paths begin as one of SCREENSHOTS_OF.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		t.Skip("SCREENSHOTS names no folder")
	}
	require.NoError(t, os.MkdirAll(folder, 0o755))
	p := open(t)
	p.furnish(t)
	for _, width := range []int64{1600, 360} {
		for _, dark := range []bool{false, true} {
			b := newTab(t, p, looks{width: width, height: 900, dark: dark})
			for _, path := range p.pages(t) {
				if !wanted(path) {
					continue
				}
				b.open(path)
				image, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
				require.NoError(t, err)
				name := strings.Trim(strings.NewReplacer("/", "-", "?", "-", "=", "-", "%2B", "").Replace(path), "-")
				if name == "" {
					name = "dashboard"
				}
				tone := map[bool]string{true: "dark", false: "light"}[dark]
				file := filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, tone))
				require.NoError(t, os.WriteFile(file, image, 0o644))
			}
			b.requireClean()
		}
	}
}

func wanted(path string) bool {
	only := os.Getenv("SCREENSHOTS_OF")
	if only == "" {
		return true
	}
	for part := range strings.SplitSeq(only, ",") {
		if strings.HasPrefix(path, part) {
			return true
		}
	}
	return false
}
