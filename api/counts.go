package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/ledger"
)

// Counting the messages of a large run takes some ten milliseconds, and more while the machine is busy sending them. Who
// polls its progress is answered at once with the newest count, and has the next one made.
const (
	largeRun = 10_000          // messages; smaller runs are counted for each call
	countAge = 5 * time.Second // how old a count may be
)

// counts are the newest counts of large runs that are being sent. Its zero value is empty.
type counts struct {
	mu    sync.Mutex
	byRun map[int64]*count
}

type count struct {
	states ledger.States
	at     time.Time
	making bool // a newer one
}

// runStates counts the run's messages by state and says as of when.
func (s *server) runStates(ctx context.Context, run campaign.Run, status campaign.Status) (ledger.States, time.Time, error) {
	now := s.Now()
	if status != campaign.Running || run.AudienceSize <= largeRun {
		states, err := s.Store.RunStates(ctx, run.ID)
		return states, now, err
	}
	s.counts.mu.Lock()
	c := s.counts.byRun[run.ID]
	if c == nil || now.Sub(c.at) > countAge {
		s.counts.mu.Unlock()
		return s.countRun(ctx, run.ID, now)
	}
	defer s.counts.mu.Unlock()
	if !c.making {
		c.making = true
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countAge)
			defer cancel()
			if _, _, err := s.countRun(ctx, run.ID, now); err != nil {
				s.Log.WarnContext(ctx, "count of a run's messages", slog.Int64("run_id", run.ID), slog.Any("error", err))
			}
		}()
	}
	return c.states, c.at, nil
}

// countRun counts now, and keeps the count for whoever asks next.
func (s *server) countRun(ctx context.Context, runID int64, now time.Time) (ledger.States, time.Time, error) {
	states, err := s.Store.RunStates(ctx, runID)
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	if err != nil {
		delete(s.counts.byRun, runID)
		return nil, now, err
	}
	if s.counts.byRun == nil {
		s.counts.byRun = map[int64]*count{}
	}
	for id, c := range s.counts.byRun { // nobody asks about them any more
		if now.Sub(c.at) > countAge {
			delete(s.counts.byRun, id)
		}
	}
	s.counts.byRun[runID] = &count{states: states, at: now}
	return states, now, nil
}
