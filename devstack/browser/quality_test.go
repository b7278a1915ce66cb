package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// axe is the accessibility checker, as npm ci in api/ui put it there.
func axe(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("../../api/ui/node_modules/axe-core/axe.min.js")
	require.NoError(t, err, "npm ci --prefix api/ui installs it")
	return string(source)
}

// TestPagesAreAccessible has axe-core look at every page, large and small, light and dark. Nothing may be refused by the
// content security policy on the way, nor fail on the console, nor be wider than the window.
func TestPagesAreAccessible(t *testing.T) {
	source := axe(t)
	p := open(t)
	p.furnish(t)
	for _, l := range []looks{desktop, {width: 1600, height: 1000, dark: true}, {width: 360, height: 800}} {
		b := newTab(t, p, l)
		for _, path := range p.pages(t) {
			b.open(path)
			for _, finding := range b.findings(source) {
				t.Errorf("%s at %d: %s", path, l.width, finding)
			}
			wide, err := chromedp.Run(b.ctx, chromedp.Evaluate[int64](`document.documentElement.scrollWidth`))
			require.NoError(t, err)
			if wide > l.width {
				t.Errorf("%s scrolls sideways: it is %d wide in a window of %d", path, wide, l.width)
			}
			b.requireClean()
		}
	}
}

// findings are the serious and critical ones of axe-core.
func (b *tab) findings(source string) []string {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: source})
		return err
	})))
	raw, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`axe.run({ resultTypes: ["violations"] }).then((r) => JSON.stringify(
		r.violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => ({ id: v.id, help: v.help, where: v.nodes.map((n) => n.html + " " + n.failureSummary) }))))`,
		chromedp.EvalAwaitPromise))
	require.NoError(b.t, err)
	var violations []struct {
		ID, Help string
		Where    []string
	}
	require.NoError(b.t, json.Unmarshal([]byte(raw), &violations))
	var found []string
	for _, v := range violations {
		found = append(found, fmt.Sprintf("%s (%s): %s", v.ID, v.Help, strings.Join(v.Where, "\n")))
	}
	return found
}

func TestDoubleClickDoesItOnce(t *testing.T) {
	p := open(t)
	b := newTab(t, p, desktop)
	b.open("/settings/topics")
	name := "Clicked twice at " + time.Now().Format("15:04:05.000")
	b.fill("^Name$", name)
	b.doubleClick("button", "^Add$")
	b.sees("The topic is saved")
	topics := p.api(t, "GET", "/api/v1/topics?limit=200", nil)["topics"].([]any)
	count := 0
	for _, topic := range topics {
		if topic.(object)["name"] == name {
			count++
		}
	}
	require.Equal(t, 1, count)

	b.phone("+94765559999")
	said := "only once at " + time.Now().Format("15:04:05.000")
	b.fill("^Message$", said)
	b.doubleClick("button", "^Send$")
	b.sees(said)
	b.answer("and another after " + said)
	b.sees("and another after " + said)
	require.Len(t, b.nodes("listitem|StaticText", "^"+said+"$"), 1)
	b.requireClean()
}

func TestAsksBeforeDeleting(t *testing.T) {
	p := open(t)
	b := newTab(t, p, desktop)
	id := int(p.api(t, "POST", "/api/v1/topics", object{"name": "Short-lived " + time.Now().Format("15:04:05.000")})["id"].(float64))
	path := fmt.Sprintf("/settings/topics/%d", id)
	b.open(path)
	b.click("button", "^Delete$")
	b.sees("This cannot be undone")
	b.click("button", "^Back$")
	require.Equal(t, path, b.place(), "nothing was done")
	p.api(t, "GET", fmt.Sprintf("/api/v1/topics/%d", id), nil)
	b.click("button", "^Delete$")
	b.find("dialog", "Delete “Short-lived ")
	b.click("button", "^Delete$")
	b.sees("The topic is deleted")
	b.requireClean()
}

func TestColoursAreRemembered(t *testing.T) {
	p := open(t)
	b := newTab(t, p, desktop)
	shown := func() string {
		theme, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.documentElement.dataset.bsTheme`))
		require.NoError(t, err)
		return theme
	}
	b.open("/settings")
	require.Equal(t, "light", shown(), "as the system")
	b.call(b.find("radio", "^Dark$"), `function() { this.click(); }`)
	require.Equal(t, "dark", shown())
	b.open("/users")
	require.Equal(t, "dark", shown(), "on the next page as well")
	b.call(b.find("radio", "^As the system$"), `function() { this.click(); }`)
	require.Equal(t, "light", shown())
	b.requireClean()
}

func TestTimesAreTheViewers(t *testing.T) {
	p := open(t)
	b := newTab(t, p, looks{width: 1600, height: 900, zone: "Asia/Colombo"})
	b.open("/monitoring")
	b.sees(`page made \d{1,2} \w+ \d{4}, \d\d:\d\d:\d\d GMT\+5:30`)
	b.requireClean()
}

func TestNavigationOnASmallScreen(t *testing.T) {
	p := open(t)
	b := newTab(t, p, looks{width: 360, height: 800})
	b.open("/")
	require.Empty(t, b.nodes("link", "^Settings$"), "it is behind the button")
	b.click("button", "^Menu$")
	b.click("link", "^Settings$")
	b.find("heading", "^Settings$")
	require.Equal(t, "/settings", b.place())
	b.requireClean()
}
