package twiliosim

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"
)

// Config says who the simulator is and how fast its phones are.
type Config struct {
	AccountSID string // AC and 32 hexadecimal digits
	AuthToken  string
	DataDir    string // holds the journal; made if absent
	// InboundURL is the webhook for messages that phones write; without it POST /sim/inbound is refused.
	InboundURL string
	Delays     Delays
	// Unread is the share of people without read receipts: 0 everyone reads, 1 nobody does.
	Unread float64
	// Now is the clock; nil means time.Now. It may be off, but must go at about the real speed.
	Now    func() time.Time
	Logger *slog.Logger // nil means none; holds no numbers and no texts
}

// Delays are the times a message takes from one status to the next. Zero means the default, negative none.
type Delays struct {
	Sent      time.Duration // from acceptance; 50 ms
	Delivered time.Duration // from sent; 100 ms
	Read      time.Duration // from delivered; 300 ms
}

// Simulator is one Twilio account with its senders and everybody's phones. Handler serves it; Run delivers what it owes.
type Simulator struct {
	account, token string
	inboundURL     string
	delays         Delays
	unread         float64
	now            func() time.Time
	log            *slog.Logger
	journal        *journal
	http           *http.Client
	wake           chan struct{} // the queue has a new head
	done           chan struct{} // closed by Close
	closing        sync.Once

	mu    sync.Mutex
	state *state
	tally tally
	queue queue // owed callbacks that wait for their time
}

var accountPattern = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)

// New opens the simulator with all that its data folder remembers. Close it.
func New(cfg Config) (*Simulator, error) {
	if !accountPattern.MatchString(cfg.AccountSID) || cfg.AuthToken == "" || cfg.DataDir == "" {
		return nil, errors.New("simulator: want an account SID, an auth token and a data folder")
	}
	if cfg.Unread < 0 || cfg.Unread > 1 {
		return nil, errors.New("simulator: the share of unread messages is from 0 to 1")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Simulator{
		account:    cfg.AccountSID,
		token:      cfg.AuthToken,
		inboundURL: cfg.InboundURL,
		delays: Delays{
			Sent:      max(0, cmp.Or(cfg.Delays.Sent, 50*time.Millisecond)),
			Delivered: max(0, cmp.Or(cfg.Delays.Delivered, 100*time.Millisecond)),
			Read:      max(0, cmp.Or(cfg.Delays.Read, 300*time.Millisecond)),
		},
		unread: cfg.Unread,
		now:    cfg.Now,
		log:    cfg.Logger,
		http:   newWebhookClient(),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		state:  newState(),
		tally:  newTally(),
	}
	var err error
	if s.journal, err = openJournal(cfg.DataDir, s.state.apply); err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	for _, r := range s.state.messages {
		s.enqueue(r)
		if err := s.scrub(r); err != nil { // a kill may have come between
			return nil, errors.Join(fmt.Errorf("simulator: %w", err), s.journal.close())
		}
	}
	s.log.Info("simulator opened", "messages", len(s.state.messages), "callbacks_owed", s.state.owed)
	return s, nil
}

// Close ends requests that hang, writes what is pending and gives up the journal. Stop Run and the HTTP server first.
func (s *Simulator) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.done)
		s.http.CloseIdleConnections()
		err = s.journal.close()
	})
	return err
}

// commit changes the state and returns the batch that makes the change durable. s.mu is held.
func (s *Simulator) commit(e entry, lazy bool) (*batch, error) {
	at, b, err := s.journal.append(e, lazy)
	if err != nil {
		return nil, err
	}
	s.state.apply(e, at)
	return b, nil
}

// durably commits the change that build makes from the state under s.mu, and returns once it is on disk.
func (s *Simulator) durably(build func(now time.Time) (entry, *refusal)) *refusal {
	s.mu.Lock()
	e, refused := build(s.now())
	if refused != nil {
		s.mu.Unlock()
		return refused
	}
	b, err := s.commit(e, false)
	s.mu.Unlock()
	if err == nil {
		err = b.wait()
	}
	if err != nil {
		s.log.Error("journal not written", "error", err)
		return refuse(20500)
	}
	return nil
}

// scrub leaves nothing in the journal of what was deleted or redacted, once that is on disk.
func (s *Simulator) scrub(r *record) error {
	switch {
	case r.deleted:
		return s.journal.scrub(r.place, (*record).forget)
	case r.redacted:
		return s.journal.scrub(r.place, (*record).redact)
	default:
		return nil
	}
}

// accept keeps a message and starts its journey once it is on disk.
func (s *Simulator) accept(r *record, check func(now time.Time) *refusal) *refusal {
	refused := s.durably(func(now time.Time) (entry, *refusal) {
		if refused := check(now); refused != nil {
			return entry{}, refused
		}
		return entry{Accept: r}, nil
	})
	if refused != nil {
		return refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enqueue(r)
	return nil
}

// plan decides a message's future. s.mu is held. It refuses what would wait in a full queue.
func (s *Simulator) plan(r *record, now time.Time, fault *NumberFault) *refusal {
	r.Ordinal = len(s.state.messages) + 1
	r.Steps = []step{{Status: "queued", At: now}}
	leaves := now.Add(s.delays.Sent)
	if mps := s.state.faults.MPS; mps > 0 {
		slot := s.state.lastSent[r.From].Add(time.Duration(float64(time.Second) / mps))
		if slot.Sub(now) > queueOf(r.From) {
			return refuse(21611)
		}
		if slot.After(leaves) {
			leaves = slot
		}
	}
	next := func(status string, at time.Time, code int) {
		r.Steps = append(r.Steps, step{Status: status, At: at, Code: code})
	}
	declined := s.decline(r, now)
	switch {
	case r.Validity > 0 && leaves.Sub(now) > r.Validity:
		next("failed", now.Add(r.Validity), 30036)
	case fault == nil && declined != 0:
		next("failed", leaves, declined)
	case fault != nil && fault.Status != "undelivered":
		next("failed", leaves, fault.Code)
	case fault != nil:
		next("sent", leaves, 0)
		next("undelivered", leaves.Add(s.delays.Delivered), fault.Code)
	default:
		next("sent", leaves, 0)
		arrives := leaves.Add(s.delays.Delivered)
		next("delivered", arrives, 0)
		if channelOf(r.From) == "whatsapp" && !chance(s.state.faults.Seed, "unread", r.Ordinal, s.unread) {
			next("read", arrives.Add(s.delays.Read), 0)
		}
	}
	if r.StatusCallback != "" {
		s.planCallbacks(r)
	}
	return nil
}

// overtaken is how long after its successor a reordered callback leaves, and after its twin a doubled one.
const overtaken = 50 * time.Millisecond

// planCallbacks owes one callback for every status but the first, of which Twilio never tells, and lets the receipt
// faults have their share of them.
func (s *Simulator) planCallbacks(r *record) {
	faults := s.state.faults
	steps := r.Steps[1:]
	for i, st := range steps {
		meets := func(what string, probability float64) bool {
			return chance(faults.Seed, what+" "+st.Status, r.Ordinal, probability)
		}
		if meets("drop", faults.Receipts.Drop) {
			r.Dropped++
			continue
		}
		due := st.At
		if i+1 < len(steps) && meets("reorder", faults.Receipts.Reorder) {
			due = steps[i+1].At.Add(overtaken)
		}
		r.Callbacks = append(r.Callbacks, callback{Step: st, Due: due})
		if meets("double", faults.Receipts.Double) {
			r.Callbacks = append(r.Callbacks, callback{Step: st, Due: due.Add(overtaken)})
		}
	}
}

// fillContent gives a message that names a content its text. s.mu is held.
func (s *Simulator) fillContent(r *record) *refusal {
	if r.ContentSID == "" {
		return nil
	}
	c := s.state.contents[r.ContentSID]
	if c == nil {
		return refuse(21655)
	}
	variables, _ := parseVariables(r.ContentVariables) // checked before
	r.Body, _ = c.fill(variables)
	return nil
}

// decline tells with which code WhatsApp fails the message, 0 for none: free text outside of the 24 hours after the
// person's own message, or a content that it does not take. s.mu is held.
func (s *Simulator) decline(r *record, now time.Time) int {
	if channelOf(r.From) != "whatsapp" {
		return 0
	}
	open := s.state.faults.NoWindow || now.Sub(s.state.lastSeen[conversation{sender: r.From, person: r.To}]) <= 24*time.Hour
	if c := s.state.contents[r.ContentSID]; c != nil {
		variables, _ := parseVariables(r.ContentVariables)
		text, complete := c.fill(variables)
		return c.decline(variables, text, complete, open, now)
	}
	if !open {
		return 63016
	}
	return 0
}

func queueOf(sender string) time.Duration {
	if channelOf(sender) == "whatsapp" {
		return whatsAppQueue
	}
	return smsQueue
}

func newSID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: see crypto/rand
	return "SM" + hex.EncodeToString(id[:])
}

// owed is a callback in the queue.
type owed struct {
	due    time.Time
	record *record
	index  int // in record.Callbacks
}

// queue is a heap of owed callbacks, the earliest first.
type queue []owed

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, k int) bool { return q[i].due.Before(q[k].due) }
func (q queue) Swap(i, k int)      { q[i], q[k] = q[k], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(owed)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// enqueue queues a message's open callbacks that are not queued yet. s.mu is held, or nobody else knows s.
func (s *Simulator) enqueue(r *record) {
	if s.state.bySID[r.SID] != r {
		return // forgotten by a reset meanwhile
	}
	for i := r.queued; i < len(r.Callbacks); i++ {
		if !r.Callbacks[i].settled {
			heap.Push(&s.queue, owed{due: r.Callbacks[i].Due, record: r, index: i})
		}
	}
	r.queued = len(r.Callbacks)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// drain is how long callbacks that are under way may still take when Run is to end.
const drain = 2 * time.Second

// Run delivers callbacks until ctx ends, and then for a moment those that are under way. What is still owed is
// delivered by the next Run, of this or of a later process.
func (s *Simulator) Run(ctx context.Context) error {
	const parallel = 32
	free := make(chan struct{}, parallel)
	work, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	context.AfterFunc(ctx, func() { time.AfterFunc(drain, abandon) })
	var running sync.WaitGroup
	defer running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		for {
			o, wait, ok := s.next()
			if ok {
				running.Go(func() {
					s.deliver(work, o)
					<-free
				})
				break
			}
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-s.wake:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// next takes the first callback that is due. When none is, it says how long to wait.
func (s *Simulator) next() (o owed, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		first := s.queue[0]
		if wait := first.due.Sub(s.now()); wait > 0 {
			return owed{}, wait, false
		}
		heap.Pop(&s.queue)
		if !first.record.Callbacks[first.index].settled {
			return first, 0, true
		}
	}
	return owed{}, time.Hour, false
}

// parseWebhookURL accepts what Twilio accepts as the address of a webhook.
func parseWebhookURL(raw string) (*url.URL, bool) {
	u, err := url.Parse(raw)
	return u, err == nil && u.Hostname() != "" && (u.Scheme == "http" || u.Scheme == "https")
}
