package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Peers are the roles that a worker talks to over the network.
var Peers = []Role{Postgres, Temporal, Simulator}

// Link is the network between one worker and one of its peers. It has at most
// one fault at a time, a new one replaces the old. Its methods return once the
// fault is in force and may be called from several goroutines; they do their
// work even when ctx has ended.
type Link struct {
	Worker, Peer Role

	mu    sync.Mutex
	proxy *toxiproxy.Proxy
}

// Delay makes every answer of the peer late by latency, give or take jitter.
func (l *Link) Delay(ctx context.Context, latency, jitter time.Duration) error {
	return l.fault(ctx, "latency", []string{"downstream"},
		fmt.Sprintf(`{"latency": %d, "jitter": %d}`, latency.Milliseconds(), jitter.Milliseconds()))
}

// Reset ends every connection, old or new, with the next bytes that pass, which
// are lost.
func (l *Link) Reset(ctx context.Context) error {
	return l.fault(ctx, "reset_peer", []string{"upstream", "downstream"}, `{"timeout": 0}`)
}

// Partition loses all that is said in both directions without a word to either
// side. Connections that were open meanwhile are closed by Heal.
func (l *Link) Partition(ctx context.Context) error {
	return l.fault(ctx, "timeout", []string{"upstream", "downstream"}, `{"timeout": 0}`)
}

// Refuse closes every connection and refuses new ones.
func (l *Link) Refuse() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxy.Stop()
	return nil
}

// Heal ends the fault.
func (l *Link) Heal(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heal(ctx)
}

// heal ends the fault. The caller holds mu.
func (l *Link) heal(ctx context.Context) error {
	l.proxy.Toxics.ResetToxics(ctx)
	if err := l.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return fmt.Errorf("link from %s to %s: %w", l.Worker, l.Peer, err)
	}
	return nil
}

func (l *Link) fault(ctx context.Context, kind string, directions []string, attributes string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.heal(ctx); err != nil {
		return err
	}
	for _, direction := range directions {
		toxic := fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": %s}`, kind, direction, attributes)
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return fmt.Errorf("link from %s to %s: %w", l.Worker, l.Peer, err)
		}
	}
	return nil
}

// network is every link of a stack.
type network struct{ links []*Link }

// startNetwork opens a link from each worker of the stack to each of its peers.
func startNetwork(s *Stack) (_ *network, err error) {
	n := &network{}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	database, err := url.Parse(s.DatabaseURL())
	if err != nil || database.Hostname() == "" {
		return nil, errors.New("DATABASE_URL: a network that can be broken needs a URL with a host")
	}
	if database.Port() == "" {
		database.Host = net.JoinHostPort(database.Hostname(), "5432")
	}
	upstream := map[Role]string{
		Postgres:  database.Host,
		Temporal:  s.TemporalAddress(),
		Simulator: address(s.ports.Simulator),
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	for _, role := range s.Roles() {
		if role.Kind() != Worker {
			continue
		}
		for _, peer := range Peers {
			proxy := toxiproxy.NewProxy(server, fmt.Sprintf("%s to %s", role, peer), address(0), upstream[peer])
			if err := proxy.Start(); err != nil {
				return nil, err
			}
			n.links = append(n.links, &Link{Worker: role, Peer: peer, proxy: proxy})
		}
	}
	return n, nil
}

// address is where a worker finds a peer.
func (n *network) address(worker, peer Role) string {
	for _, l := range n.links {
		if l.Worker == worker && l.Peer == peer {
			return l.proxy.Listen // settled when it started first
		}
	}
	return ""
}

// settings lead a worker through its links.
func (n *network) settings(s *Stack, worker Role) map[string]string {
	database, err := url.Parse(s.DatabaseURL())
	if err != nil {
		return nil // startNetwork has parsed it
	}
	database.Host = n.address(worker, Postgres)
	return map[string]string{
		"DATABASE_URL":     database.String(),
		"TEMPORAL_ADDRESS": n.address(worker, Temporal),
		"TWILIO_BASE_URL":  "http://" + n.address(worker, Simulator),
	}
}

func (n *network) close() {
	for _, l := range n.links {
		l.mu.Lock()
		l.proxy.Stop()
		l.mu.Unlock()
	}
}

// Links are the stack's links, none without Options.Network.
func (s *Stack) Links() []*Link {
	if s.network == nil {
		return nil
	}
	return s.network.links
}

// Link is the network between a worker and one of its Peers; nil when there is
// no such link.
func (s *Stack) Link(worker, peer Role) *Link {
	for _, l := range s.Links() {
		if l.Worker == worker && l.Peer == peer {
			return l
		}
	}
	return nil
}

// Heal ends every fault of the network.
func (s *Stack) Heal(ctx context.Context) error {
	var errs []error
	for _, l := range s.Links() {
		errs = append(errs, l.Heal(ctx))
	}
	return errors.Join(errs...)
}
