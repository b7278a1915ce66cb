package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// looks is how somebody looks at the pages.
type looks struct {
	width, height int64
	dark          bool
	zone          string // of their clock; "" for the machine's
}

var desktop = looks{width: 1600, height: 1000}

// tab is a tab of the browser, in the hands of somebody who finds things by what they are called.
type tab struct {
	*product
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string // errors on the console and breaches of the content security policy
}

func newTab(t *testing.T, p *product, l looks) *tab {
	t.Helper()
	browser := chromium()
	require.NoError(t, chromedp.Do(browser)) // starts it with the first tab
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	b := &tab{product: p, t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, b.hear))
	_, err := chromedp.Call(ctx, audits.Enable, cdp.Empty{})
	require.NoError(t, err)
	b.look(l)
	return b
}

// hear notes what must not happen on any page.
func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		// An answer that says that something is refused is no fault of the page.
		if e.Entry.Level == "error" && e.Entry.Source != "network" {
			b.faults = append(b.faults, fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		b.faults = append(b.faults, text)
	case *audits.EventIssueAdded:
		if d := e.Issue.Details.ContentSecurityPolicyIssueDetails; d != nil {
			b.faults = append(b.faults, fmt.Sprintf("content security policy: %s %s", d.ViolatedDirective, d.BlockedURL))
		}
	}
}

// requireClean fails on what went wrong unseen since the last look.
func (b *tab) requireClean() {
	b.t.Helper()
	b.mu.Lock()
	faults := b.faults
	b.faults = nil
	b.mu.Unlock()
	require.Empty(b.t, faults, "%s", b.place())
}

func (b *tab) look(l looks) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 500,
	})
	require.NoError(b.t, err)
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	require.NoError(b.t, err)
	if l.zone != "" {
		_, err = chromedp.Call(b.ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: l.zone})
		require.NoError(b.t, err)
	}
}

func (b *tab) open(path string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(b.url+path)), path)
}

// place is the path that the tab shows.
func (b *tab) place() string {
	address, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(address, b.url)
}

// text is what the page says.
func (b *tab) text() string {
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body?.innerText ?? ""`))
	if err != nil {
		return "" // between two pages
	}
	return text
}

// sees waits until the page says something that fits.
func (b *tab) sees(pattern string) string {
	b.t.Helper()
	wanted := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		text := b.text()
		if found := wanted.FindString(text); found != "" {
			return found
		}
		select {
		case <-deadline:
			require.FailNow(b.t, fmt.Sprintf("waited in vain for %q at %s, which says\n%s", pattern, b.place(), text))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// node is something on the page as assistive technology tells of it.
type node struct {
	role, name string
	id         cdp.BackendNodeID
}

func plain(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var text string
	if json.Unmarshal(v.Value, &text) != nil {
		return ""
	}
	return text
}

// nodes are those of a role whose name fits.
func (b *tab) nodes(role, name string) []node {
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		return nil // between two pages
	}
	roles, wanted := regexp.MustCompile("^(?:"+role+")$"), regexp.MustCompile(name)
	var found []node
	for _, n := range tree.Nodes {
		at := node{plain(n.Role), plain(n.Name), n.BackendDOMNodeID}
		if !n.Ignored && at.id != 0 && roles.MatchString(at.role) && wanted.MatchString(at.name) {
			found = append(found, at)
		}
	}
	return found
}

// find waits for the first node of a role whose name fits. Both are regular expressions; the role must fit as a whole.
func (b *tab) find(role, name string) node {
	b.t.Helper()
	var found []node
	deadline := time.After(patience)
	for {
		if found = b.nodes(role, name); len(found) > 0 {
			return found[0]
		}
		select {
		case <-deadline:
			var all []string
			for _, n := range b.nodes("button|link|textbox|combobox|searchbox|spinbutton|checkbox|radio|heading|DisclosureTriangle", "") {
				all = append(all, n.role+" "+n.name)
			}
			require.FailNow(b.t, fmt.Sprintf("there is no %s %q at %s, only\n%s\n\n%s", role, name, b.place(), strings.Join(all, "\n"), b.text()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// middle is the middle of a node, in sight.
func (b *tab) middle(n node) (x, y float64, err error) {
	if _, err := chromedp.Call(b.ctx, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: n.id}); err != nil {
		return 0, 0, err
	}
	box, err := chromedp.Call(b.ctx, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: n.id})
	if err != nil {
		return 0, 0, err
	}
	if len(box.Quads) == 0 {
		return 0, 0, fmt.Errorf("%s %q has no place on the page", n.role, n.name)
	}
	quad := box.Quads[0]
	return (quad[0] + quad[4]) / 2, (quad[1] + quad[5]) / 2, nil
}

// click presses the mouse on something; clicks says how often in quick succession.
func (b *tab) click(role, name string) { b.t.Helper(); b.press(role, name, 1) }

func (b *tab) doubleClick(role, name string) { b.t.Helper(); b.press(role, name, 2) }

func (b *tab) press(role, name string, clicks int64) {
	b.t.Helper()
	x, y := -1.0, -1.0
	until(b.t, fmt.Sprintf("%s %q to stand still", role, name), func() bool {
		wasX, wasY := x, y
		var err error
		x, y, err = b.middle(b.find(role, name)) // a refresh may have put another in its place
		return err == nil && x == wasX && y == wasY
	})
	for n := range clicks {
		for _, kind := range []input.DispatchMouseEventType{chromedp.MousePressed, chromedp.MouseReleased} {
			require.NoError(b.t, chromedp.Do(b.ctx, chromedp.MouseEvent(kind, x, y, chromedp.ButtonLeft, chromedp.ClickCount(int(n+1)))))
		}
	}
}

// call runs a function of JavaScript with the node as this.
func (b *tab) call(n node, function string, arguments ...string) {
	b.t.Helper()
	resolved, err := chromedp.Call(b.ctx, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: n.id})
	require.NoError(b.t, err)
	params := runtime.CallFunctionOnParams{FunctionDeclaration: function, ObjectID: resolved.Object.ObjectID}
	for _, argument := range arguments {
		raw, err := json.Marshal(argument)
		require.NoError(b.t, err)
		params.Arguments = append(params.Arguments, &runtime.CallArgument{Value: raw})
	}
	result, err := chromedp.Call(b.ctx, runtime.CallFunctionOn, params)
	require.NoError(b.t, err)
	require.Nil(b.t, result.ExceptionDetails, "%s %q", n.role, n.name)
}

// fill replaces what an input holds, as typing does.
func (b *tab) fill(name, value string) {
	b.t.Helper()
	b.call(b.find("textbox|searchbox|spinbutton|combobox", name), `function() { this.focus(); this.select?.(); }`)
	_, err := chromedp.Call(b.ctx, input.InsertText, input.InsertTextParams{Text: value})
	require.NoError(b.t, err)
}

// choose takes the option of a list whose text begins so.
func (b *tab) choose(name, option string) {
	b.t.Helper()
	b.call(b.find("combobox|listbox", name), `function(text) {
		const option = [...this.options].find((option) => option.text.trim().startsWith(text));
		if (!option) throw new Error("there is no option " + text);
		this.value = option.value;
		for (const kind of ["input", "change"]) this.dispatchEvent(new Event(kind, { bubbles: true }));
	}`, option)
}

// drop lets a file fall on something, as from a file manager.
func (b *tab) drop(role, name, file, content string) {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), file)
	require.NoError(b.t, os.WriteFile(path, []byte(content), 0o644))
	x, y, err := b.middle(b.find(role, name))
	require.NoError(b.t, err)
	for _, kind := range []input.DispatchDragEventType{
		input.DispatchDragEventTypeDragEnter, input.DispatchDragEventTypeDragOver, input.DispatchDragEventTypeDrop,
	} {
		_, err := chromedp.Call(b.ctx, input.DispatchDragEvent, input.DispatchDragEventParams{
			Type: kind, X: x, Y: y, Data: &input.DragData{Items: []*input.DragDataItem{}, Files: []string{path}, DragOperationsMask: 1},
		})
		require.NoError(b.t, err)
	}
}
