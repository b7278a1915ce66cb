package ui_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/user"
)

// watcher is a browser that has a live page open.
type watcher struct {
	lines *bufio.Scanner
	leave context.CancelFunc
}

type event struct{ name, data string }

func watch(t *testing.T, address string) *watcher {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, "text/event-stream", answer.Header.Get("Content-Type"))
	w := &watcher{lines: bufio.NewScanner(answer.Body), leave: cancel}
	w.lines.Buffer(nil, 1<<20)
	return w
}

// next returns the next event; ok is false when the stream ended.
func (w *watcher) next() (e event, ok bool) {
	var data []string
	for w.lines.Scan() {
		line := w.lines.Text()
		switch name, value, _ := strings.Cut(line, ": "); {
		case line == "":
			return event{e.name, strings.Join(data, "\n")}, true
		case name == "event":
			e.name = value
		case name == "data":
			data = append(data, value)
		}
	}
	return e, false
}

// await returns the first event that fits, and fails when the stream ends before.
func (w *watcher) await(t *testing.T, what string, fits func(event) bool) event {
	t.Helper()
	for {
		e, ok := w.next()
		require.True(t, ok, "the stream ended before: %s", what)
		if fits(e) {
			return e
		}
	}
}

func part(says string) func(event) bool {
	return func(e event) bool { return e.name == "" && strings.Contains(text(e.data), says) }
}

func named(name string) func(event) bool { return func(e event) bool { return e.name == name } }

func TestLivePages(t *testing.T) {
	t.Parallel()
	s := open(t)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	address := server.URL + "/campaigns?status=DRAFT&live=yes"
	require.Contains(t, s.get(t, "/campaigns?status=DRAFT"), `hx-sse:connect="/campaigns?live=yes&amp;status=DRAFT"`)

	one, other := watch(t, address), watch(t, address)
	first := one.await(t, "the part as it is", part("None is DRAFT."))
	require.NotContains(t, first.data, "<html")
	require.NotContains(t, first.data, "live=yes", "links lead to pages, not to streams")
	require.Equal(t, first, other.await(t, "the same part", part("None is DRAFT.")))

	s.plan(t, "Spring")
	require.Equal(t, one.await(t, "what changed", part("Spring")), other.await(t, "what changed", part("Spring")))

	other.leave()
	s.plan(t, "Summer")
	one.await(t, "what changed after somebody left", part("Summer"))
}

func TestLivePagesOfMany(t *testing.T) {
	t.Parallel()
	s := open(t)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	s.plan(t, "Spring")
	before := s.looks.Load()
	var all []*watcher
	for range 50 {
		all = append(all, watch(t, server.URL+"/?live=yes"))
	}
	for _, w := range all {
		w.await(t, "the part", part("Spring"))
	}
	s.plan(t, "Summer")
	for _, w := range all {
		w.await(t, "the change", part("Summer"))
	}
	require.Less(t, s.looks.Load()-before, int64(20), "each look serves all who watch")
}

func TestLivePagesEnd(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.pages.SetBeat(10 * time.Millisecond)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)

	w := watch(t, server.URL+"/?live=yes")
	w.await(t, "a sign of life", named("beat"))
	s.refuse(access.Read)
	w.await(t, "a word of farewell to who was signed out", named("leave"))
	_, more := w.next()
	require.False(t, more)
	refused, err := http.Get(server.URL + "/?live=yes")
	require.NoError(t, err)
	require.NoError(t, refused.Body.Close())
	require.Equal(t, http.StatusUnauthorized, refused.StatusCode)

	s.refuse("")
	w = watch(t, server.URL+"/?live=yes")
	w.await(t, "the part", part("Users"))
	close(s.stopping)
	for more := true; more; {
		_, more = w.next() // ends by itself, or the test does not
	}
}

func TestLivePageIsStale(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, nil)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	w := watch(t, server.URL+"/campaigns?live=yes")
	w.await(t, "the part", part("No campaigns"))
	s.exec(t, `ALTER TABLE campaigns RENAME TO campaigns_away`)
	w.await(t, "that the part is not fresh", named("stale"))
	s.exec(t, `ALTER TABLE campaigns_away RENAME TO campaigns`)
	w.await(t, "the part again, though nothing changed", part("No campaigns"))
}

func TestLivePageIsOver(t *testing.T) {
	t.Parallel()
	s := open(t)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	w := watch(t, server.URL+"/users?live=yes")
	w.await(t, "that nothing will change by itself", named("over"))
	_, more := w.next()
	require.False(t, more)
}
