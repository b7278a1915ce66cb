package stack

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/postgres"
)

// several starts a stack of two APIs and two workers.
func several(t *testing.T) *Stack {
	t.Helper()
	s, err := Start(t.Context(), Options{
		Binaries: fakes(t), Dir: reachableDir(t), APIs: 2, Workers: 2, Network: true,
		Env: map[Role]map[string]string{
			Worker:     {"RECEIPT_DEADLINE": "2s", "STUCK_AFTER": "3s"},
			WorkerN(2): {"STUCK_AFTER": "4s"},
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

// setting is the value of a variable in a role's environment.
func (s *Stack) setting(role Role, name string) string {
	for _, entry := range s.environ(role) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

func TestSeveralOfAKind(t *testing.T) {
	s := several(t)
	require.Equal(t, []Role{Postgres, Temporal, Simulator, API, "api-2", Worker, "worker-2"}, s.Roles())
	for _, role := range s.Roles() {
		require.NotZero(t, s.PID(role), role)
		require.FileExists(t, s.LogFile(role))
	}
	require.Equal(t, s.Roles(), left(s.opts.Dir))
	require.Equal(t, "2s", s.setting(WorkerN(2), "RECEIPT_DEADLINE"), "what Worker is given holds for all")
	require.Equal(t, "3s", s.setting(Worker, "STUCK_AFTER"))
	require.Equal(t, "4s", s.setting(WorkerN(2), "STUCK_AFTER"))
	require.Equal(t, "local", s.setting(APIN(2), "AUTH"))

	require.NoError(t, s.Kill(WorkerN(2)))
	require.Zero(t, s.PID(WorkerN(2)))
	require.NotZero(t, s.PID(Worker))
	require.NoError(t, s.StartAll(t.Context()))
	require.NotZero(t, s.PID(WorkerN(2)))
}

func TestBalancer(t *testing.T) {
	s := several(t)
	for _, role := range s.Roles() {
		require.Equal(t, s.URL(), s.setting(role, "PUBLIC_URL"))
	}
	type answer struct {
		Listens, Host, URI, Body string
		Headers                  http.Header
	}
	post := func() (int, answer) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/webhooks/status?attempt=1&x=%2B", strings.NewReader("A=b"))
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		var a answer
		if resp.StatusCode == http.StatusOK {
			require.NoError(t, json.NewDecoder(resp.Body).Decode(&a))
		}
		return resp.StatusCode, a
	}
	answered := func() map[string]int {
		t.Helper()
		by := map[string]int{}
		for range 6 {
			status, a := post()
			require.Equal(t, http.StatusOK, status)
			by[a.Listens]++
		}
		return by
	}
	first, second := s.setting(API, "LISTEN_ADDR"), s.setting(APIN(2), "LISTEN_ADDR")
	require.Equal(t, map[string]int{first: 3, second: 3}, answered(), "in turn")

	_, a := post()
	require.Equal(t, strings.TrimPrefix(s.URL(), "http://"), a.Host)
	require.Equal(t, "/webhooks/status?attempt=1&x=%2B", a.URI, "the signature is over it")
	require.Equal(t, "A=b", a.Body)
	for name := range a.Headers {
		require.NotContains(t, name, "Forwarded")
	}

	require.NoError(t, s.Kill(APIN(2)))
	require.Equal(t, map[string]int{first: 6}, answered())
	require.NoError(t, s.Kill(API))
	status, _ := post()
	require.Equal(t, http.StatusBadGateway, status)
	require.NoError(t, s.StartAll(t.Context()))
	require.Equal(t, map[string]int{first: 3, second: 3}, answered())
}

func TestNetworkFaults(t *testing.T) {
	s := several(t)
	require.Len(t, s.Links(), 6)
	require.Nil(t, s.Link(API, Postgres), "faults are the workers'")
	database := s.setting(WorkerN(2), "DATABASE_URL")
	require.NotEqual(t, s.DatabaseURL(), database)
	require.NotEqual(t, database, s.setting(Worker, "DATABASE_URL"))
	require.Equal(t, s.DatabaseURL(), s.setting(API, "DATABASE_URL"))
	link := s.Link(WorkerN(2), Postgres)
	reach := func(url string) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return postgres.Ping(ctx, url)
	}
	require.NoError(t, reach(database))

	for name, fault := range map[string]func(context.Context) error{
		"reset": link.Reset, "partition": link.Partition, "refuse": func(context.Context) error { return link.Refuse() },
	} {
		require.NoError(t, fault(t.Context()), name)
		require.Error(t, reach(database), name)
		require.NoError(t, reach(s.setting(Worker, "DATABASE_URL")), "%s of another link", name)
	}
	require.NoError(t, s.Heal(t.Context()))
	require.NoError(t, reach(database))

	const latency = 100 * time.Millisecond
	require.NoError(t, link.Delay(t.Context(), latency, latency/10))
	began := time.Now()
	require.NoError(t, reach(database))
	require.GreaterOrEqual(t, time.Since(began), latency)
	require.NoError(t, link.Heal(t.Context()))
	require.NoError(t, link.Heal(t.Context()), "healed already")
	require.NoError(t, reach(database))

	for worker, peer := range map[Role]Role{Worker: Temporal, WorkerN(2): Simulator} {
		name, scheme := "TEMPORAL_ADDRESS", ""
		if peer == Simulator {
			name, scheme = "TWILIO_BASE_URL", "http://"
		}
		require.Equal(t, scheme+s.network.address(worker, peer), s.setting(worker, name))
		require.NotEqual(t, s.setting(API, name), s.setting(worker, name))
	}
	require.NoError(t, httpOK(s.setting(Worker, "TWILIO_BASE_URL")+"/")(t.Context()))
}
