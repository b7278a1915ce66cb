package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/event-stream-engine/ese/devstack/stack"
)

var binaries stack.Binaries

func TestMain(m *testing.M) {
	root, err := filepath.Abs("../..")
	if err == nil {
		binaries, err = stack.Build(context.Background(), root, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// world is the product, running for one test, and what a person can do to it.
type world struct {
	*stack.Stack
	t *testing.T
}

// patience is how long a story may take to come true; all waiting ends there.
const patience = 8 * time.Minute

// newWorld starts the product with nothing in it. env adds to the environment of roles.
func newWorld(t *testing.T, env map[stack.Role]map[string]string) *world {
	t.Helper()
	return startWorld(t, stack.Options{Env: env})
}

// startWorld is newWorld with all that a stack can be told, but for its programs and its folder.
func startWorld(t *testing.T, options stack.Options) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "ese-e2e-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) // PostgreSQL's own user must reach its folder
	options.Binaries, options.Dir = binaries, dir
	s, err := stack.Start(t.Context(), options)
	require.NoError(t, err)
	w := &world{Stack: s, t: t}
	t.Cleanup(func() {
		if t.Failed() {
			for _, role := range s.Roles() {
				out, _ := s.Output(role)
				t.Logf("last words of %s:\n%s", role, out[max(0, len(out)-4000):])
			}
		}
		require.NoError(t, s.Stop())
		_ = os.RemoveAll(dir)
	})
	return w
}

type object = map[string]any

// call sends a request with a JSON body (nil for none) and returns the answer's status and body.
func (w *world) call(method, url string, body any) (int, []byte) {
	w.t.Helper()
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(w.t, err)
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, url, reader)
	require.NoError(w.t, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode, raw
}

// api calls the product and expects success.
func (w *world) api(method, path string, body any) object {
	w.t.Helper()
	status, raw := w.call(method, w.URL()+path, body)
	require.Less(w.t, status, 300, "%s %s: %s", method, path, raw)
	var out object
	if len(raw) > 0 {
		require.NoError(w.t, json.Unmarshal(raw, &out), "%s", raw)
	}
	return out
}

// sim calls the simulator's control API and decodes its answer into out, which may be nil.
func (w *world) sim(method, path string, body, out any) {
	w.t.Helper()
	status, raw := w.call(method, w.SimulatorURL()+path, body)
	require.Less(w.t, status, 300, "%s %s: %s", method, path, raw)
	if out != nil {
		require.NoError(w.t, json.Unmarshal(raw, out), "%s", raw)
	}
}

// until waits for a condition.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-deadline:
			require.FailNow(w.t, "waited in vain for "+what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// person is somebody invented.
type person struct{ number, name string }

// people invents n persons whose numbers begin with a prefix, and imports them with consent. tag is their city.
func (w *world) people(prefix, tag string, n int) []person {
	w.t.Helper()
	persons := make([]person, n)
	rows := make([]object, n)
	for i := range persons {
		persons[i] = person{number: fmt.Sprintf("%s%0*d", prefix, 12-len(prefix), i), name: fmt.Sprintf("Zebulon%dQuuxley", i)}
		rows[i] = object{"phone_number": persons[i].number, "name": persons[i].name, "city": tag, "consent_state": "OPT_IN"}
	}
	w.importUsers(rows)
	return persons
}

func (w *world) importUsers(rows []object) {
	w.t.Helper()
	task := w.api("POST", "/api/v1/users/bulk", rows)["task_id"].(string)
	w.until("the import to finish", func() bool {
		return w.api("GET", "/api/v1/ingest/status/"+task, nil)["status"] == "COMPLETED"
	})
}

// campaign makes a campaign to everyone of a city. more overrides its fields.
func (w *world) campaign(city string, more object) int {
	w.t.Helper()
	segment := w.api("POST", "/api/v1/segments", object{
		"name": "People of " + city, "definition_json": object{"attribute": "city", "operator": "equals", "value": city},
	})["id"]
	template := w.api("POST", "/api/v1/templates", object{
		"name": "Greeting for " + city, "content": "Hello {name}, xylophone news from {city}! Reply STOP to opt out.", "variables": []string{"name", "city"},
		"category": "utility", // some are in the United States
	})["id"]
	body := object{"topic": "News for " + city, "template_id": template, "segment_id": segment, "rate_limit_per_second": 1000}
	for k, v := range more {
		body[k] = v
	}
	return int(w.api("POST", "/api/v1/campaigns", body)["id"].(float64))
}

func (w *world) trigger(campaign int) {
	w.t.Helper()
	require.Equal(w.t, "RUNNING", w.api("POST", fmt.Sprintf("/api/v1/campaigns/%d/trigger", campaign), object{})["status"])
}

func (w *world) summary(campaign int) object {
	w.t.Helper()
	return w.api("GET", fmt.Sprintf("/api/v1/reporting/campaigns/%d/summary", campaign), nil)
}

func (w *world) status(campaign int) string {
	w.t.Helper()
	return w.api("GET", fmt.Sprintf("/api/v1/campaigns/%d", campaign), nil)["status"].(string)
}

// awaitDelivered waits until all n messages of a campaign are delivered and the campaign is completed.
func (w *world) awaitDelivered(campaign, n int) {
	w.t.Helper()
	w.until(fmt.Sprintf("campaign %d to deliver %d messages", campaign, n), func() bool {
		return w.summary(campaign)["messages_delivered"] == float64(n) && w.status(campaign) == "COMPLETED"
	})
}

// accepted counts all messages that the simulator accepted.
func (w *world) accepted() int {
	w.t.Helper()
	var stats struct{ Accepted int }
	w.sim("GET", "/sim/stats?by_recipient=false", nil, &stats)
	return stats.Accepted
}

// accepts is when the simulator accepted each message.
func (w *world) accepts() []time.Time {
	w.t.Helper()
	var messages []struct {
		AcceptedAt time.Time `json:"accepted_at"`
	}
	w.sim("GET", "/sim/messages?direction=outbound-api", nil, &messages)
	moments := make([]time.Time, len(messages))
	for i, m := range messages {
		moments[i] = m.AcceptedAt
	}
	return moments
}

// judge checks that the provider accepted exactly one message for each person, and none for anybody else.
func (w *world) judge(persons []person) {
	w.t.Helper()
	var recipients []struct {
		To       string
		Accepted int
	}
	w.sim("GET", "/sim/recipients", nil, &recipients)
	got := map[string]int{}
	for _, r := range recipients {
		got[strings.TrimPrefix(r.To, "whatsapp:")] = r.Accepted
	}
	for _, p := range persons {
		require.Equal(w.t, 1, got[p.number], "messages accepted for one person")
		delete(got, p.number)
	}
	require.Empty(w.t, got, "messages to people who were to get none")
}

// sumsUp checks that the summary's states add up to the audience.
func (w *world) sumsUp(campaign, n int) {
	w.t.Helper()
	summary := w.summary(campaign)
	sum := 0.0
	for _, count := range summary["states"].(object) {
		sum += count.(float64)
	}
	require.EqualValues(w.t, n, sum, "%v", summary["states"])
	require.EqualValues(w.t, n, summary["total_recipients"])
}

// query reads one row from the product's database.
func (w *world) query(sql string, into ...any) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.DatabaseURL())
	require.NoError(w.t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(w.t.Context())) }()
	require.NoError(w.t, conn.QueryRow(w.t.Context(), sql).Scan(into...))
}

// exec changes what the product offers no other way to change.
func (w *world) exec(sql string) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.DatabaseURL())
	require.NoError(w.t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(w.t.Context())) }()
	_, err = conn.Exec(w.t.Context(), sql)
	require.NoError(w.t, err)
}

func (w *world) count(sql string) int {
	w.t.Helper()
	var n int
	w.query(sql, &n)
	return n
}

// form posts a form as a provider would, with the given signature when it is not empty.
func (w *world) form(path, signature string, values url.Values) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.URL()+path, strings.NewReader(values.Encode()))
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if signature != "" {
		req.Header.Set("X-Twilio-Signature", signature)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode, string(raw)
}

// temporal connects to Temporal as a reader of its Web UI would.
func (w *world) temporal() client.Client {
	w.t.Helper()
	c, err := client.Dial(client.Options{HostPort: w.TemporalAddress()})
	require.NoError(w.t, err)
	w.t.Cleanup(c.Close)
	return c
}
