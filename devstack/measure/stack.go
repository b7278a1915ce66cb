// Package measure is what the measuring commands share: a stack of its own for the measurement, an audience and campaigns
// to it, and what the stack's processes used meanwhile. It judges nothing.
package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// Stack is a running stack to measure.
type Stack struct {
	*stack.Stack
	DB *pgxpool.Pool // the product's database

	dir string
}

// Start builds the product and runs it on free ports, with an empty database and so many workers, whose settings worker adds
// to. Close it. ctx bounds the start alone.
func Start(ctx context.Context, workers int, worker map[string]string) (_ *Stack, err error) {
	root, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", "ese")); err != nil {
		root = filepath.Dir(root) // called from devstack/
	}
	binaries, err := stack.Build(ctx, root, os.Stderr)
	if err != nil {
		return nil, err
	}
	s := &Stack{}
	if s.dir, err = os.MkdirTemp("", "ese-measure-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := os.Chmod(s.dir, 0o755); err != nil { // PostgreSQL's own user must reach its folder
		return nil, err
	}
	if s.Stack, err = stack.Start(ctx, stack.Options{
		Binaries: binaries, Dir: s.dir, Workers: workers, Env: map[stack.Role]map[string]string{stack.Worker: worker},
	}); err != nil {
		return nil, err
	}
	s.DB, err = pgxpool.New(ctx, s.DatabaseURL())
	return s, err
}

// Close stops everything and deletes its data.
func (s *Stack) Close() error {
	var err error
	if s.DB != nil {
		s.DB.Close()
	}
	if s.Stack != nil {
		err = s.Stop()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// Object is a JSON object to send.
type Object = map[string]any

// Call sends a request with a JSON body (nil for none) and decodes the answer into out (nil to ignore it). An answer of
// 300 and above is an error.
func Call(ctx context.Context, method, url string, body, out any) error {
	var reader io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %d: %s", method, url, resp.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// SetFaults replaces the simulator's faults, which also starts its measurements anew.
func (s *Stack) SetFaults(ctx context.Context, faults Object) error {
	return Call(ctx, http.MethodPut, s.SimulatorURL()+"/sim/faults", faults, nil)
}

// Simulated is what the simulator tells of itself.
type Simulated struct {
	Accepted        int            `json:"accepted"`
	Recipients      map[string]int `json:"recipients"` // by address; only when asked for
	FirstAcceptedAt time.Time      `json:"first_accepted_at"`
	LastAcceptedAt  time.Time      `json:"last_accepted_at"`
	MaxPerSecond    map[string]int `json:"max_per_second"`
	Callbacks       struct {
		Owed    int `json:"owed"`
		Failed  int `json:"failed"`
		Latency struct {
			P50 float64 `json:"p50"`
			P99 float64 `json:"p99"`
			Max float64 `json:"max"`
		} `json:"latency_ms"`
	} `json:"callbacks"`
}

// Simulated asks the simulator for its totals; query narrows them, such as "by_recipient=false" or "to=%2B94771234567".
func (s *Stack) Simulated(ctx context.Context, query string) (stats Simulated, err error) {
	err = Call(ctx, http.MethodGet, s.SimulatorURL()+"/sim/stats?"+query, nil, &stats)
	return stats, err
}

// Until asks for a condition at the given interval until it holds.
func Until(ctx context.Context, every time.Duration, condition func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := condition(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
