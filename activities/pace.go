package activities

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

type paceStore interface {
	// Grant hands out moments to send through a sender, up to wanted of them to each campaign, and tells when to ask for
	// more.
	Grant(ctx context.Context, senderID int64, wanted map[int64]int, now time.Time) (given map[int64][]time.Time, again time.Time, err error)
	SlowSender(ctx context.Context, senderID int64, retryAfter time.Duration, now time.Time) (perSecond float64, err error)
}

// Pace gets the moments to send for all messages that wait in this process, and bounds the requests that are under way at
// once: a moment is asked for only when there is room for its request, so that no lease runs while a request waits for a
// connection. It asks the database for some at a time, by sender, and only while somebody waits. Make one with NewPace; it
// is safe for concurrent use.
type Pace struct {
	store paceStore
	now   func() time.Time
	log   *slog.Logger

	mu    sync.Mutex
	lines map[int64]*line // by sender
	free  int             // requests that may begin now
}

// NewPace makes a Pace for so many requests at once. It does nothing until somebody waits.
func NewPace(store paceStore, now func() time.Time, log *slog.Logger, requests int) *Pace {
	return &Pace{store: store, now: now, log: log, lines: map[int64]*line{}, free: requests}
}

const (
	// maxWanted bounds what one call asks for a campaign: more than any rate allows within a call's horizon.
	maxWanted = 250
	// grantTimeout bounds one call to the database.
	grantTimeout = 10 * time.Second
	// grantRetry is the wait after a call that failed.
	grantRetry = time.Second
	// roomRetry is how often room is looked for while there is none: what has become free by then is asked for together.
	roomRetry = 50 * time.Millisecond
)

// line is who waits for one sender, by campaign, first come first served.
type line struct {
	waiting map[int64][]*waiter
	again   time.Time     // before which there is nothing to be had
	full    bool          // there was no room when it was last looked for
	joined  chan struct{} // somebody came while the line's server sleeps
}

type waiter struct {
	got chan time.Time // gets one moment at the most, and has room for it
}

// Wait returns the moment at which a message of the campaign may be sent, as soon as it is known: at most a fraction of
// a second ahead. When patience ends first, ok is false, and at is when to come back, by what is known: at perSecond, the
// campaign's rate, those who are in line before it come first. With ok, the caller owes a Release.
func (p *Pace) Wait(ctx context.Context, senderID, campaignID int64, perSecond int, patience time.Duration) (at time.Time, ok bool, err error) {
	w := &waiter{got: make(chan time.Time, 1)}
	p.join(ctx, senderID, campaignID, w)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case at = <-w.got:
		return at, true, nil
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	ahead, again, full, left := p.leave(senderID, campaignID, w)
	if !left { // it came at the same time
		if at = <-w.got; err == nil {
			return at, true, nil
		}
		p.Release()
	}
	at = p.now()
	if full { // how long it takes until there is room, nobody knows
		return at.Add(jitter(patience)), false, err
	}
	if again.After(at) {
		at = again
	}
	return at.Add(time.Duration(ahead+1) * time.Second / time.Duration(perSecond)), false, err
}

func (p *Pace) join(ctx context.Context, senderID, campaignID int64, w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[senderID]
	if l == nil {
		l = &line{waiting: map[int64][]*waiter{}, joined: make(chan struct{}, 1)}
		p.lines[senderID] = l
		go p.serve(context.WithoutCancel(ctx), senderID, l)
	}
	l.waiting[campaignID] = append(l.waiting[campaignID], w)
	if len(l.waiting[campaignID]) == 1 { // its campaign may have a moment to spare where others wait
		select {
		case l.joined <- struct{}{}:
		default:
		}
	}
}

// leave takes a waiter out of its line. left is false when it was served already.
func (p *Pace) leave(senderID, campaignID int64, w *waiter) (ahead int, again time.Time, full, left bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[senderID]
	if l == nil {
		return 0, again, false, false
	}
	ahead = slices.Index(l.waiting[campaignID], w)
	if ahead < 0 {
		return 0, again, false, false
	}
	l.remove(campaignID, ahead, ahead+1)
	return ahead, l.again, l.full, true
}

func (l *line) remove(campaignID int64, from, to int) {
	l.waiting[campaignID] = slices.Delete(l.waiting[campaignID], from, to)
	if len(l.waiting[campaignID]) == 0 {
		delete(l.waiting, campaignID)
	}
}

// serve asks for moments until nobody waits any more.
func (p *Pace) serve(ctx context.Context, senderID int64, l *line) {
	for {
		wanted, reserved := p.wanted(senderID, l)
		if wanted == nil {
			return
		}
		var given map[int64][]time.Time
		again := p.now().Add(roomRetry)
		if reserved > 0 {
			var err error
			if given, again, err = p.grant(ctx, senderID, wanted); err != nil {
				p.log.WarnContext(ctx, "no moments to send were granted; they are asked for again", "sender_id", senderID, "error", err)
				again = p.now().Add(grantRetry)
			}
		}
		p.hand(l, given, again, reserved)
		timer := time.NewTimer(again.Sub(p.now()))
		select {
		case <-timer.C:
		case <-l.joined:
			timer.Stop()
		}
	}
}

// wanted counts who waits, as far as there is room, which it reserves. When nobody waits, the line is closed.
func (p *Pace) wanted(senderID int64, l *line) (wanted map[int64]int, reserved int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(l.waiting) == 0 {
		delete(p.lines, senderID)
		return nil, 0
	}
	wanted = make(map[int64]int, len(l.waiting))
	l.full = p.free == 0
	share := max(1, p.free/len(l.waiting))
	for campaign, waiters := range l.waiting { // in any order, so that scarce room falls to each in its turn
		n := min(len(waiters), maxWanted, share, p.free)
		if n == 0 {
			continue
		}
		wanted[campaign] = n
		p.free -= n
		reserved += n
	}
	return wanted, reserved
}

func (p *Pace) grant(ctx context.Context, senderID int64, wanted map[int64]int) (map[int64][]time.Time, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, grantTimeout)
	defer cancel()
	return p.store.Grant(ctx, senderID, wanted, p.now())
}

// hand gives the moments to those who have waited longest, and the room that nobody took back. A moment that nobody takes
// any more is lost.
func (p *Pace) hand(l *line, given map[int64][]time.Time, again time.Time, reserved int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.again = again
	for campaign, moments := range given {
		n := min(len(moments), len(l.waiting[campaign]))
		for i, w := range l.waiting[campaign][:n] {
			w.got <- moments[i]
		}
		l.remove(campaign, 0, n)
		reserved -= n
	}
	p.free += reserved
}

// Release tells that the request of a granted moment is over, or is not going to be.
func (p *Pace) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
}

// Slow has everybody send more slowly through a sender for a while.
func (p *Pace) Slow(ctx context.Context, senderID int64, retryAfter time.Duration) (perSecond float64, err error) {
	return p.store.SlowSender(ctx, senderID, retryAfter, p.now())
}
