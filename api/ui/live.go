package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/access"
)

// How pages stay fresh.
//
// A page that sets view.Poll and defines the template "live" is live: its browser opens the page's own address again with
// liveParam and gets, as server-sent events, its live part each time that it changed. The handler of the page makes the
// part; it needs to know nothing of it. However many watch an address, the part is made once a tick for everybody who has
// the same role, and only while somebody watches. What takes long is made less often: looks take at most one part in
// lookShare of the time.
//
// Events: a message without a name is the part; "beat" says that the stream lives, "stale" that the part cannot be made at
// the moment, "over" that nothing will change any more, "leave" that the visitor may not see it any longer.
const (
	liveParam  = "live"
	lookShare  = 5
	beatEvery  = 15 * time.Second
	writeLimit = 10 * time.Second // for one event; who does not take it by then is let go
	lookLimit  = 20 * time.Second
	maxWatched = 500 // addresses at a time
	maxViewers = 5000
)

// Watches reports whether a request watches a live page: however long it is open, nobody need be there.
func Watches(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has(liveParam) }

// hub makes the live parts that somebody watches. Its zero value is ready.
type hub struct {
	mu      sync.Mutex
	feeds   map[string]*feed
	viewers int
}

// feed is one live part and who watches it.
type feed struct {
	viewers map[*viewer]struct{}
	part    []byte // the newest, as an event; nil before the first
	stale   bool   // the last look failed
	stop    context.CancelFunc
}

// viewer gets events, of which only the newest is kept until it is fetched.
type viewer struct {
	events chan []byte // of room for one; closed when there will be none any more
}

// look makes a live part and says after how long it is worth another look; 0: it will not change any more.
type look func(ctx context.Context) (part []byte, every time.Duration, err error)

var errFull = errors.New("too many live pages are open")

// watch joins those who watch what key names. The first one's look, with the values of its ctx, serves everybody. leave must
// be called.
func (h *hub) watch(ctx context.Context, key string, l look) (events <-chan []byte, leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[key]
	if h.viewers >= maxViewers || f == nil && len(h.feeds) >= maxWatched {
		return nil, nil, errFull
	}
	v := &viewer{events: make(chan []byte, 1)}
	h.viewers++
	if f == nil {
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		f = &feed{viewers: map[*viewer]struct{}{}, stop: stop}
		if h.feeds == nil {
			h.feeds = map[string]*feed{}
		}
		h.feeds[key] = f
		go h.follow(ctx, key, f, l)
	} else if f.part != nil {
		v.put(f.part)
	}
	f.viewers[v] = struct{}{}
	return v.events, func() { h.leave(key, f, v) }, nil
}

func (h *hub) leave(key string, f *feed, v *viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.viewers--
	delete(f.viewers, v)
	if len(f.viewers) == 0 {
		f.stop()
		if h.feeds[key] == f {
			delete(h.feeds, key)
		}
	}
}

// follow looks again and again until nobody watches, or nothing will change.
func (h *hub) follow(ctx context.Context, key string, f *feed, l look) {
	var part []byte
	every := time.Second
	for {
		began := time.Now()
		fresh, next, err := l(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			every = next
		}
		switch {
		case err != nil:
			h.publish(f, nil)
		case !bytes.Equal(fresh, part) || f.stale: // only this goroutine writes stale
			part = fresh
			h.publish(f, asEvent(part))
		}
		if err == nil && every <= 0 {
			h.finish(key, f)
			return
		}
		timer := time.NewTimer(max(every, lookShare*time.Since(began)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

var (
	eventStale = []byte("event: stale\ndata: yes\n\n")
	eventBeat  = []byte("event: beat\ndata: yes\n\n")
	eventOver  = []byte("event: over\ndata: yes\n\n")
	eventLeave = []byte("event: leave\ndata: yes\n\n")
)

// publish gives an event to everybody who watches; nil says that there is none to give.
func (h *hub) publish(f *feed, event []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.stale = event == nil
	if event == nil {
		event = eventStale
	} else {
		f.part = event
	}
	for v := range f.viewers {
		v.put(event)
	}
}

// finish ends the feed: whoever asks from now on starts another.
func (h *hub) finish(key string, f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.feeds[key] == f {
		delete(h.feeds, key)
	}
	for v := range f.viewers {
		close(v.events)
	}
}

// put replaces what was not fetched. The hub's lock is held.
func (v *viewer) put(event []byte) {
	select {
	case <-v.events:
	default:
	}
	v.events <- event
}

// asEvent writes a part as an event without a name.
func asEvent(part []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(part) {
		b.WriteString("data: ")
		b.Write(bytes.TrimRight(line, "\r\n"))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// liveKey is where a handler that is asked for a live part finds what to fill.
const liveKey = "ui.live"

// livePart is what a handler made instead of the whole page.
type livePart struct {
	content []byte
	every   time.Duration // 0: it will not change any more
}

// stream sends the live part of a page until the visitor leaves, may not see it any more, or the process stops.
func (u *UI) stream(c *gin.Context, scope access.Scope, h handler) error {
	query := c.Request.URL.Query()
	query.Del(liveParam)
	page := c.Copy() // c is given to another request when this one ends, while others may watch on
	page.Request = c.Request.Clone(c.Request.Context())
	page.Request.URL.RawQuery = query.Encode()

	key := fmt.Sprint(u.Visitor(c.Request).Scopes, " ", page.Request.URL.RequestURI()) // who may do the same sees the same
	events, leave, err := u.hub.watch(c.Request.Context(), key, u.lookAt(page, h))
	if err != nil {
		c.Header("Retry-After", "30")
		c.String(http.StatusServiceUnavailable, err.Error())
		return nil
	}
	defer leave()

	conn := http.NewResponseController(c.Writer)
	defer func() { _ = conn.SetWriteDeadline(time.Time{}) }() // the connection may serve other requests
	send := func(event []byte) bool {
		_ = conn.SetWriteDeadline(time.Now().Add(writeLimit))
		if _, err := c.Writer.Write(event); err != nil {
			return false
		}
		return conn.Flush() == nil
	}
	c.Header("Content-Type", "text/event-stream")
	c.Header("X-Accel-Buffering", "no") // proxies must not wait for more
	c.Status(http.StatusOK)
	if !send(eventBeat) {
		return nil
	}
	beat := time.NewTicker(u.beat)
	defer beat.Stop()
	for {
		select {
		case <-c.Request.Context().Done():
			return nil
		case <-u.Stopping:
			return nil
		case event, more := <-events:
			if !more {
				send(eventOver)
				return nil
			}
			if !send(event) {
				return nil
			}
		case <-beat.C:
			if u.Authorize(c, scope) != nil {
				send(eventLeave)
				return nil
			}
			if !send(eventBeat) {
				return nil
			}
		}
	}
}

// lookAt has the handler of a page make its live part.
func (u *UI) lookAt(page *gin.Context, h handler) look {
	return func(ctx context.Context) (part []byte, every time.Duration, err error) {
		ctx, cancel := context.WithTimeout(ctx, lookLimit)
		defer cancel()
		c := page.Copy()
		c.Request = page.Request.Clone(ctx)
		made, err := protect(func() (*livePart, error) {
			made := &livePart{}
			c.Set(liveKey, made)
			return made, h(c)
		})
		if err != nil {
			if ctx.Err() == nil {
				u.Log.ErrorContext(ctx, "live part of a page", "route", page.FullPath(), "error", err)
			}
			return nil, 0, err
		}
		return made.content, made.every, nil
	}
}
