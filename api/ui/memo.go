package ui

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// patience is how pages treat figures that take long to count: they are kept, counted anew in the background, and left out
// of a page that would have to wait for the first of them. A live page shows them as soon as they are known.
type patience struct {
	age   time.Duration // how old a figure may be
	share int           // how much longer than its counting took it may be kept
	wait  time.Duration // how long a page waits for a first figure
	old   time.Duration // what is older than that is not shown, but waited for
}

var defaultPatience = patience{age: 2 * time.Second, share: 20, wait: 150 * time.Millisecond, old: time.Minute}

// after is the patience that is left of p for a page whose making began then: all of its figures together are waited for no
// longer than one.
func (p patience) after(began time.Time) patience {
	p.wait = max(0, p.wait-time.Since(began))
	return p
}

// settled is p for figures that hardly change any more.
func (p patience) settled() patience {
	if p.age > 0 {
		p.age, p.old = time.Minute, time.Hour
	}
	return p
}

const (
	countLimit = time.Minute // for one count
	maxKept    = 1000
)

// memo keeps figures by key. Its zero value is empty.
type memo[V any] struct {
	mu   sync.Mutex
	kept map[string]*figure[V]
}

type figure[V any] struct {
	value  V
	at     time.Time // zero: not known yet
	took   time.Duration
	err    error         // of the last count
	making chan struct{} // closed when a count that is under way ends; nil: none is
}

// get returns the figure that count makes; ok is false when it is not known yet.
func (m *memo[V]) get(ctx context.Context, p patience, key string, count func(ctx context.Context) (V, error)) (v V, ok bool, err error) {
	m.mu.Lock()
	if m.kept == nil {
		m.kept = map[string]*figure[V]{}
	}
	f := m.kept[key]
	if f == nil {
		m.forget(p)
		f = &figure[V]{}
		m.kept[key] = f
	}
	if !f.at.IsZero() && time.Since(f.at) < max(p.age, time.Duration(p.share)*f.took) {
		defer m.mu.Unlock()
		return f.value, true, nil
	}
	if f.making == nil {
		f.making = make(chan struct{})
		go m.count(context.WithoutCancel(ctx), f, count)
	}
	making := f.making
	if !f.at.IsZero() && time.Since(f.at) < p.old {
		defer m.mu.Unlock()
		return f.value, true, nil
	}
	m.mu.Unlock()

	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case <-making:
	case <-timer.C:
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.err != nil {
		return v, false, f.err
	}
	return f.value, !f.at.IsZero(), nil
}

func (m *memo[V]) count(ctx context.Context, f *figure[V], count func(ctx context.Context) (V, error)) {
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	began := time.Now()
	v, err := protect(func() (V, error) { return count(ctx) })
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.err = err; err == nil {
		f.value, f.at, f.took = v, time.Now(), time.Since(began)
	}
	close(f.making)
	f.making = nil
}

// protect turns a panic into an error: outside of a request's goroutine it would end the process. What it says may hold anything,
// where it was may not.
func protect[V any](f func() (V, error)) (v V, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic of type %T\n%s", problem, debug.Stack())
		}
	}()
	return f()
}

// forget makes room. The lock is held.
func (m *memo[V]) forget(p patience) {
	if len(m.kept) < maxKept {
		return
	}
	for key, f := range m.kept {
		if f.making == nil && time.Since(f.at) > p.old {
			delete(m.kept, key)
		}
	}
}
