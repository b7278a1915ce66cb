package twiliosim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childDir makes the test binary a simulator on this data folder, to be killed.
const childDir = "TWILIOSIM_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := runChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runChild(dir string) error {
	sim, err := New(Config{AccountSID: testAccount, AuthToken: testToken, DataDir: dir})
	if err != nil {
		return err
	}
	server := httptest.NewServer(sim.Handler())
	fmt.Println(server.URL)
	return errors.Join(sim.Run(context.Background()), sim.Close())
}

func TestKillForgetsNothing(t *testing.T) {
	t.Parallel()
	h := newHook(t, nil)
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	child.Stderr = os.Stderr
	require.NoError(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	s := &served{url: strings.TrimSpace(line)}
	s.faults(t, Faults{Seed: 42, Receipts: ReceiptFaults{Double: 0.1}})

	// Senders send until the kill; each knows for certain only of the messages that were answered.
	var mu sync.Mutex
	answered := map[string]string{} // SID by recipient
	var senders sync.WaitGroup
	for i := range 8 {
		senders.Go(func() {
			for n := range 1000 {
				to := fmt.Sprintf("whatsapp:+9477%d%06d", i, n)
				status, body := s.send(t, "To", to, "StatusCallback", h.URL+"#rc=3&rp=5xx,ct,rt")
				if status == 0 {
					return
				}
				mu.Lock()
				answered[to] = body["sid"].(string)
				mu.Unlock()
			}
		})
	}
	h.await(t, 100) // in the midst of callbacks
	require.NoError(t, child.Process.Kill())
	senders.Wait()
	require.NotEmpty(t, answered)

	again := serve(t, Config{DataDir: dir})
	var recipients []Recipient
	again.ask(t, http.MethodGet, "/sim/recipients", nil, &recipients)
	kept := map[string]string{}
	for _, r := range recipients {
		require.Equal(t, 1, r.Accepted)
		kept[r.To] = r.Messages[0].SID
	}
	for to, sid := range answered {
		require.Equal(t, sid, kept[to])
	}
	require.LessOrEqual(t, len(kept), len(answered)+8, "at most one unanswered message of each sender")

	require.Eventually(t, func() bool { return again.totals(t).Callbacks.Owed == 0 }, 30*time.Second, tick)
	reported := map[string]map[string]bool{}
	for _, d := range h.deliveries() {
		sid := d.form.Get("MessageSid")
		if reported[sid] == nil {
			reported[sid] = map[string]bool{}
		}
		reported[sid][d.form.Get("MessageStatus")] = true
	}
	for _, sid := range kept {
		require.Equal(t, map[string]bool{"sent": true, "delivered": true, "read": true}, reported[sid])
	}
	var faults Faults
	again.ask(t, http.MethodGet, "/sim/faults", nil, &faults)
	require.EqualValues(t, 42, faults.Seed)
}

func TestReopenWithoutClose(t *testing.T) {
	t.Parallel()
	h := newHook(t, nil)
	dir := t.TempDir()
	first, err := New(Config{AccountSID: testAccount, AuthToken: testToken, DataDir: dir, Delays: quick})
	require.NoError(t, err)
	first.state.faults.NoWindow = true
	server := httptest.NewServer(first.Handler())
	t.Cleanup(server.Close)
	s := &served{first, server.URL}
	var sids []string
	for range 4 {
		_, body := s.send(t, "StatusCallback", h.URL)
		sids = append(sids, body["sid"].(string))
	}
	path := func(i int) string { return messages + "/" + sids[i] + ".json" }
	eventuallyStatus := func(want int, method string, i int, form url.Values) {
		require.Eventually(t, func() bool {
			status, _, _ := s.call(t, method, path(i), form)
			return status == want
		}, eventually, tick)
	}
	eventuallyStatus(204, http.MethodDelete, 0, nil)
	eventuallyStatus(200, http.MethodPost, 1, url.Values{"Body": {""}})
	require.Empty(t, h.deliveries(), "nothing ran yet")

	again := serve(t, Config{DataDir: dir})
	// Of the three that are left: what the deleted message owed is withdrawn.
	require.Eventually(t, func() bool { return again.totals(t).Callbacks.CallbackCounts == CallbackCounts{Delivered: 9} }, eventually, tick)
	require.Len(t, h.deliveries(), 9)
	status, _, _ := again.call(t, http.MethodGet, path(0), nil)
	require.Equal(t, 404, status)
	_, _, body := again.call(t, http.MethodGet, path(1), nil)
	require.Empty(t, body["body"])
	_, _, body = again.call(t, http.MethodGet, path(2), nil)
	require.Equal(t, "Hello", body["body"])
}

func TestTornJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{AccountSID: testAccount, AuthToken: testToken, DataDir: dir}
	write := func() int {
		sim, err := New(cfg)
		require.NoError(t, err)
		server := httptest.NewServer(sim.Handler())
		defer server.Close()
		s := &served{sim, server.URL}
		status, _ := s.send(t)
		require.Equal(t, 201, status)
		accepted := s.totals(t).Accepted
		require.NoError(t, sim.Close())
		return accepted
	}
	require.Equal(t, 1, write())
	path := filepath.Join(dir, "journal.jsonl")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString(`{"accept":{"n":2,"sid":"SM`)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.Equal(t, 2, write(), "the torn entry is cut off")
	require.Equal(t, 3, write(), "and nothing was written behind it")

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append([]byte("damage\n"), text...), 0o600))
	_, err = New(cfg)
	require.ErrorContains(t, err, "line 1 is damaged")
}

func TestClosedSimulatorAcceptsNothing(t *testing.T) {
	t.Parallel()
	sim, err := New(Config{AccountSID: testAccount, AuthToken: testToken, DataDir: t.TempDir()})
	require.NoError(t, err)
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	require.NoError(t, sim.Close())
	require.NoError(t, sim.Close())
	status, _ := (&served{sim, server.URL}).send(t)
	require.Equal(t, 500, status)
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{
		{},
		{AccountSID: "AC1", AuthToken: "x", DataDir: t.TempDir()},
		{AccountSID: testAccount, AuthToken: "x"},
		{AccountSID: testAccount, AuthToken: "x", DataDir: t.TempDir(), Unread: 2},
	} {
		_, err := New(cfg)
		require.Error(t, err)
	}
}

// BenchmarkAccept measures accepted messages a second with 32 requests in flight, each on disk before its answer.
func BenchmarkAccept(b *testing.B) {
	sim, err := New(Config{AccountSID: testAccount, AuthToken: testToken, DataDir: b.TempDir()})
	require.NoError(b, err)
	handler := sim.Handler()
	form := url.Values{"From": {sender}, "To": {person}, "Body": {"Hello"}}.Encode()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req := httptest.NewRequest(http.MethodPost, messages+".json", strings.NewReader(form))
			req.SetBasicAuth(testAccount, testToken)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			require.Equal(b, 201, w.Code)
		}
	})
	require.NoError(b, sim.Close())
}

// BenchmarkList measures a look for one recipient among 100,000 messages.
func BenchmarkList(b *testing.B) {
	sim, err := New(Config{AccountSID: testAccount, AuthToken: testToken, DataDir: b.TempDir()})
	require.NoError(b, err)
	defer func() { _ = sim.Close() }()
	for n := range 100_000 {
		m := &record{SID: newSID(), Direction: directionAPI, From: sender, To: fmt.Sprintf("whatsapp:+9477%07d", n), Body: "Hello"}
		require.Nil(b, sim.plan(m, time.Now(), nil))
		sim.state.accept(m)
	}
	handler := sim.Handler()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodGet, messages+".json?PageSize=1000&To=whatsapp:%2B94770050000", http.NoBody)
		req.SetBasicAuth(testAccount, testToken)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		require.Equal(b, 200, w.Code)
	}
}

// BenchmarkReplay measures opening a journal of 100,000 messages with their settled callbacks.
func BenchmarkReplay(b *testing.B) {
	cfg := Config{AccountSID: testAccount, AuthToken: testToken, DataDir: b.TempDir()}
	sim, err := New(cfg)
	require.NoError(b, err)
	for n := range 100_000 {
		m := &record{
			SID: newSID(), Direction: directionAPI, From: sender, To: fmt.Sprintf("whatsapp:+9477%07d", n), Body: strings.Repeat("Hello ", 20),
			StatusCallback: "http://localhost:8000/webhooks/status?attempt=018f2f1e-7d3a-7c1b-9a52-6a2b3c4d5e6f#rc=3",
		}
		require.Nil(b, sim.plan(m, time.Now(), nil))
		_, err := sim.commit(entry{Accept: m}, true)
		require.NoError(b, err)
		for i := range m.Callbacks {
			_, err := sim.commit(entry{Settle: &settlement{SID: m.SID, Callback: i, Delivered: true}}, true)
			require.NoError(b, err)
		}
	}
	require.NoError(b, sim.Close())
	for b.Loop() {
		again, err := New(cfg)
		require.NoError(b, err)
		require.Len(b, again.state.messages, 100_000)
		require.NoError(b, again.Close())
	}
}

// TestDeletedMessagesLeaveNothing: neither a page nor the journal shows a number or a text any more, not after a restart
// either; that a message was accepted is still counted.
func TestDeletedMessagesLeaveNothing(t *testing.T) {
	t.Parallel()
	hook := newHook(t, nil)
	dir := t.TempDir()
	cfg := Config{AccountSID: testAccount, AuthToken: testToken, DataDir: dir, Delays: quick, InboundURL: hook.URL}
	first, err := New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(first.Handler())
	s := &served{first, server.URL}
	const number, text = "+94771234500", "Hello Zebulon"
	_, redacted := s.send(t, "Body", "Secret of Quuxley")
	_, sent := s.send(t, "To", "whatsapp:"+number, "Body", text)
	s.ask(t, http.MethodPost, "/sim/inbound", Phone{From: number, To: numberOf(sender), Body: text, SID: "SM00000000000000000000000000000077"}, nil)
	for _, sid := range []string{sent["sid"].(string), "SM00000000000000000000000000000077"} {
		require.Eventually(t, func() bool {
			status, _, _ := s.call(t, http.MethodDelete, messages+"/"+sid+".json", nil)
			return status == 204
		}, eventually, tick)
	}
	require.Eventually(t, func() bool {
		status, _, _ := s.call(t, http.MethodPost, messages+"/"+redacted["sid"].(string)+".json", url.Values{"Body": {""}})
		return status == 200
	}, eventually, tick)
	nothing := func(s *served) {
		t.Helper()
		journal, err := os.ReadFile(filepath.Join(dir, "journal.jsonl"))
		require.NoError(t, err)
		shown := string(journal)
		for _, path := range []string{"/sim/stats", "/sim/recipients", "/sim/messages"} {
			var page json.RawMessage
			require.Equal(t, 200, s.ask(t, http.MethodGet, path, nil, &page))
			shown += string(page)
		}
		for _, trace := range []string{number, number[1:], "Zebulon", "Quuxley"} {
			require.NotContains(t, shown, trace)
		}
		require.Equal(t, 2, s.totals(t).Accepted)
	}
	nothing(s)
	server.Close()
	require.NoError(t, first.Close())

	again := serve(t, cfg)
	nothing(again)
	status, _, _ := again.call(t, http.MethodGet, messages+"/"+sent["sid"].(string)+".json", nil)
	require.Equal(t, 404, status)
}

// TestKillBeforeTheScrub: a deletion that is on disk is carried through by the next start.
func TestKillBeforeTheScrub(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := Config{AccountSID: testAccount, AuthToken: testToken, DataDir: dir}
	path := filepath.Join(dir, "journal.jsonl")
	const sid = "SM00000000000000000000000000000078"
	require.NoError(t, os.WriteFile(path, []byte(`{"accept":{"n":1,"sid":"`+sid+`","direction":"outbound-api","from":"whatsapp:+14155238886","to":"whatsapp:+94771234500",`+
		`"body":"Hello Zebulon","steps":[{"status":"queued","at":"2026-05-01T12:00:00Z"}]}}`+"\n"+`{"delete":"`+sid+`"}`+"\n"), 0o600))
	for range 2 {
		sim, err := New(cfg)
		require.NoError(t, err)
		require.NoError(t, sim.Close())
		journal, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotContains(t, string(journal), "94771234500")
		require.NotContains(t, string(journal), "Zebulon")
	}
}
