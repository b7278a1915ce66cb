package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/event-stream-engine/ese/devstack/measure"
)

// pages measures what open live pages cost a campaign: pairs of campaigns of equal size, one with nobody looking and one
// with so many pages open, the order changing from pair to pair. Half of the pages are the campaign's own.
func (b *bench) pages(ctx context.Context) error {
	var slower []float64
	var seen sightings
	for pair := range b.pairs {
		var took [2]time.Duration // without and with
		for _, watched := range [][2]bool{{false, true}, {true, false}}[pair%2] {
			part, one, err := b.watchedCampaign(ctx, pair, watched)
			if err != nil {
				return err
			}
			if watched {
				took[1] = part
				seen.add(one)
			} else {
				took[0] = part
			}
		}
		slower = append(slower, 100*(took[1].Seconds()/took[0].Seconds()-1))
		b.row(fmt.Sprintf("pages, pair %d", pair+1), "%.1f s without, %.1f s with %d open pages: %+.1f %%", took[0].Seconds(), took[1].Seconds(), b.open, slower[pair])
	}
	slices.Sort(slower)
	b.row("pages: the campaign took longer by", "%+.1f %% (median of %d pairs)", slower[len(slower)/2], len(slower))
	b.row("pages: progress reached all pages of a campaign within", "%s of the first", measure.Millis(seen.spread))
	b.row("pages: longest time between two changes of the progress", "%s", measure.Millis(seen.gap))
	return nil
}

// watchedCampaign sends one campaign and tells how long it took and, when pages were open, what they showed.
func (b *bench) watchedCampaign(ctx context.Context, pair int, watched bool) (time.Duration, sightings, error) {
	city := fmt.Sprintf("Pageville %d %v", pair, watched)
	prefix := fmt.Sprintf("+9478%d", 2*pair)
	if watched {
		prefix = fmt.Sprintf("+9478%d", 2*pair+1)
	}
	if err := b.People(ctx, prefix, city, b.recipients); err != nil {
		return 0, sightings{}, err
	}
	id, err := b.Campaign(ctx, city, b.rate)
	if err != nil {
		return 0, sightings{}, err
	}
	watching, leave := context.WithCancel(ctx)
	defer leave()
	var viewers viewers
	if watched {
		if err := viewers.open(watching, b.URL(), id, b.open); err != nil {
			return 0, sightings{}, err
		}
	}
	run, err := b.Trigger(ctx, id)
	if err != nil {
		return 0, sightings{}, err
	}
	if err := b.AwaitReceipts(ctx, run); err != nil {
		return 0, sightings{}, err
	}
	outcome, err := b.Outcome(ctx, run)
	if err != nil {
		return 0, sightings{}, err
	}
	leave()
	viewers.left.Wait()
	if viewers.broken > 0 {
		return 0, sightings{}, fmt.Errorf("%d of %d pages lost their connection", viewers.broken, b.open)
	}
	return outcome.Took(run), viewers.sightings(), nil
}

// viewers are open live pages.
type viewers struct {
	left   sync.WaitGroup
	mu     sync.Mutex
	broken int
	seen   map[string][]time.Time // when pages of the campaign came to show a progress
}

// progress is what a campaign's page says of how far it is.
var progress = regexp.MustCompile(`[0-9,]+ of [0-9,]+ done`)

// open opens n pages: every second one the campaign's, the others the dashboard, the list and monitoring.
func (v *viewers) open(ctx context.Context, address string, campaign, n int) error {
	v.seen = map[string][]time.Time{}
	others := []string{"/", "/campaigns", "/monitoring"}
	client := &http.Client{Transport: &http.Transport{}} // each page has a connection of its own
	for i := range n {
		path := fmt.Sprintf("/campaign/%d", campaign)
		if i%2 == 1 {
			path = others[i/2%len(others)]
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path+"?live=yes", http.NoBody)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK {
			return errors.Join(fmt.Errorf("%s: %s", path, answer.Status), answer.Body.Close())
		}
		v.left.Go(func() {
			defer func() { _ = answer.Body.Close() }()
			lines := bufio.NewScanner(answer.Body)
			lines.Buffer(nil, 1<<20)
			shown := map[string]bool{} // the same progress comes again when another figure changes
			for lines.Scan() {
				if found := progress.FindString(lines.Text()); found != "" && !shown[found] && strings.HasPrefix(path, "/campaign/") {
					shown[found] = true
					v.note(found, time.Now())
				}
			}
			if ctx.Err() == nil {
				v.mu.Lock()
				defer v.mu.Unlock()
				v.broken++
			}
		})
	}
	return nil
}

func (v *viewers) note(progress string, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen[progress] = append(v.seen[progress], at)
}

// sightings is how close together the pages of a campaign showed the same.
type sightings struct {
	spread time.Duration // the most between the first and the last page that came to show a progress
	gap    time.Duration // the most between two of them
}

func (v *viewers) sightings() (s sightings) {
	var firsts []time.Time
	for _, times := range v.seen {
		slices.SortFunc(times, time.Time.Compare)
		firsts = append(firsts, times[0])
		s.spread = max(s.spread, times[len(times)-1].Sub(times[0]))
	}
	slices.SortFunc(firsts, time.Time.Compare)
	for i := 1; i < len(firsts); i++ {
		s.gap = max(s.gap, firsts[i].Sub(firsts[i-1]))
	}
	return s
}

func (s *sightings) add(other sightings) {
	s.spread, s.gap = max(s.spread, other.spread), max(s.gap, other.gap)
}
