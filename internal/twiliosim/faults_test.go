package twiliosim

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRequestFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault    RequestFault
		status   int // of the third request; 0: no whole answer
		accepted int // of three requests
	}{
		"Throttle":      {RequestFault{Fault: "throttle", RetryAfterSeconds: 2}, 429, 2},
		"ErrorBefore":   {RequestFault{Fault: "error_before"}, 503, 2},
		"ErrorAfter":    {RequestFault{Fault: "error_after", Status: 502}, 502, 3},
		"ResetBefore":   {RequestFault{Fault: "reset_before"}, 0, 2},
		"ResetAfter":    {RequestFault{Fault: "reset_after"}, 0, 3},
		"HangBefore":    {RequestFault{Fault: "hang_before", HangMS: 1}, 0, 2},
		"HangAfter":     {RequestFault{Fault: "hang_after", HangMS: 1}, 0, 3},
		"TruncatedOnce": {RequestFault{Fault: "truncate"}, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, Config{})
			tc.fault.Every = 3
			s.faults(t, Faults{Requests: []RequestFault{tc.fault}})
			for range 2 {
				status, _ := s.send(t)
				require.Equal(t, 201, status)
			}
			form := map[string][]string{"From": {sender}, "To": {person}, "Body": {"Hello"}}
			status, header, _ := s.call(t, http.MethodPost, messages+".json", form)
			require.Equal(t, tc.status, status)
			if tc.fault.RetryAfterSeconds > 0 {
				require.Equal(t, "2", header.Get("Retry-After"))
			}
			require.Equal(t, tc.accepted, s.totals(t).Accepted)
		})
	}
}

func TestFaultsOfReading(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	s.faults(t, Faults{Requests: []RequestFault{{Fault: "error_before", On: "list", Every: 1, Limit: 1}}})
	status, _ := s.send(t)
	require.Equal(t, 201, status)
	status, _, _ = s.call(t, http.MethodGet, messages+".json", nil)
	require.Equal(t, 503, status)
	status, _, _ = s.call(t, http.MethodGet, messages+".json", nil)
	require.Equal(t, 200, status, "the limit is reached")
}

func TestRefusedMessageIsNotLostAfterAcceptance(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	s.faults(t, Faults{Requests: []RequestFault{{Fault: "error_after", Every: 1}}})
	status, _ := s.send(t, "Body", "")
	require.Equal(t, 400, status)
}

func TestNumberFaults(t *testing.T) {
	t.Parallel()
	h := newHook(t, nil)
	s := serve(t, Config{Delays: quick})
	s.faults(t, Faults{Numbers: map[string]NumberFault{
		"+94770000001": {Code: 21610, Sync: true},
		"+94770000002": {Code: 63024},
		"+94770000003": {Code: 30003, Status: "undelivered", Times: 1},
	}})
	status, body := s.send(t, "To", "whatsapp:+94770000001")
	require.Equal(t, 400, status)
	require.EqualValues(t, 21610, body["code"])

	s.send(t, "To", "whatsapp:+94770000002", "StatusCallback", h.URL)
	failed := h.await(t, 1)[0].form
	require.Equal(t, "failed", failed.Get("MessageStatus"))
	require.Equal(t, "63024", failed.Get("ErrorCode"))

	for _, end := range []string{"undelivered", "read"} {
		_, body = s.send(t, "To", "whatsapp:+94770000003")
		path := messages + "/" + body["sid"].(string) + ".json"
		require.Eventually(t, func() bool {
			_, _, body = s.call(t, http.MethodGet, path, nil)
			return body["status"] == end
		}, eventually, tick)
	}
}

func TestReceiptFaults(t *testing.T) {
	t.Parallel()
	const n = 40
	run := func(t *testing.T, receipts ReceiptFaults) (map[string][]string, CallbackCounts) {
		t.Helper()
		h := newHook(t, nil)
		// Steps far apart: what arrives out of order was sent out of order.
		s := serve(t, Config{Delays: Delays{Sent: 50 * time.Millisecond, Delivered: 150 * time.Millisecond, Read: 150 * time.Millisecond}})
		s.faults(t, Faults{Seed: 7, Receipts: receipts})
		for i := range n {
			s.send(t, "To", fmt.Sprintf("whatsapp:+9477000%04d", i), "StatusCallback", h.URL)
		}
		require.Eventually(t, func() bool { return s.totals(t).Callbacks.Owed == 0 }, eventually, tick)
		got := map[string][]string{}
		for _, d := range h.deliveries() {
			got[d.form.Get("To")] = append(got[d.form.Get("To")], d.form.Get("MessageStatus"))
		}
		return got, s.totals(t).Callbacks.CallbackCounts
	}
	t.Run("Drop", func(t *testing.T) {
		t.Parallel()
		_, stats := run(t, ReceiptFaults{Drop: 0.2})
		require.Equal(t, 3*n, stats.Delivered+stats.Dropped)
		require.InDelta(t, 0.2*3*n, stats.Dropped, 15)
		_, again := run(t, ReceiptFaults{Drop: 0.2})
		require.Equal(t, stats, again, "the same seed drops the same")
	})
	t.Run("DropAll", func(t *testing.T) {
		t.Parallel()
		got, stats := run(t, ReceiptFaults{Drop: 1})
		require.Empty(t, got)
		require.Equal(t, CallbackCounts{Dropped: 3 * n}, stats)
	})
	t.Run("Double", func(t *testing.T) {
		t.Parallel()
		_, stats := run(t, ReceiptFaults{Double: 1})
		require.Equal(t, 6*n, stats.Delivered)
	})
	t.Run("Reorder", func(t *testing.T) {
		t.Parallel()
		got, _ := run(t, ReceiptFaults{Reorder: 1})
		inOrder := 0
		for _, statuses := range got {
			require.ElementsMatch(t, []string{"sent", "delivered", "read"}, statuses)
			if slices.Equal([]string{"sent", "delivered", "read"}, statuses) {
				inOrder++ // whoever listens may be slow enough to hear both at once
			}
		}
		require.Less(t, inOrder, len(got)/2)
	})
}

func TestListLag(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	s.faults(t, Faults{ListLagMS: 300})
	_, body := s.send(t)
	_, _, list := s.call(t, http.MethodGet, messages+".json", nil)
	require.Empty(t, list["messages"])
	status, _, _ := s.call(t, http.MethodGet, messages+"/"+body["sid"].(string)+".json", nil)
	require.Equal(t, 200, status, "the list alone lags")
	require.Eventually(t, func() bool {
		_, _, list = s.call(t, http.MethodGet, messages+".json", nil)
		return len(list["messages"].([]any)) == 1
	}, eventually, tick)
}

func TestSenderSpeed(t *testing.T) {
	t.Parallel()
	h := newHook(t, nil)
	s := serve(t, Config{Delays: quick})
	s.faults(t, Faults{MPS: 0.5})
	s.send(t)
	s.send(t, "ValidityPeriod", "1", "StatusCallback", h.URL) // its turn comes after two seconds
	require.Equal(t, "30036", h.await(t, 1)[0].form.Get("ErrorCode"))

	s.faults(t, Faults{MPS: 0.00005}) // one in five and a half hours
	status, body := s.send(t)
	require.Equal(t, 400, status)
	require.EqualValues(t, 21611, body["code"])
}

func TestFaultsAreValidated(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	for name, body := range map[string]any{
		"UnknownKey":     map[string]any{"lag": 3},
		"UnknownFault":   Faults{Requests: []RequestFault{{Fault: "flood", Every: 2}}},
		"NeitherShare":   Faults{Requests: []RequestFault{{Fault: "throttle"}}},
		"BothShares":     Faults{Requests: []RequestFault{{Fault: "throttle", Every: 2, Probability: 0.5}}},
		"AcceptedList":   Faults{Requests: []RequestFault{{Fault: "error_after", On: "list", Every: 1}}},
		"UnknownTarget":  Faults{Requests: []RequestFault{{Fault: "throttle", On: "delete", Every: 1}}},
		"StatusNot5xx":   Faults{Requests: []RequestFault{{Fault: "error_before", Status: 400, Every: 1}}},
		"NumberNotE164":  Faults{Numbers: map[string]NumberFault{"077": {Code: 1}}},
		"NumberWithout":  Faults{Numbers: map[string]NumberFault{"+94771234567": {}}},
		"StatusOfNumber": Faults{Numbers: map[string]NumberFault{"+94771234567": {Code: 1, Status: "read"}}},
		"ShareTooLarge":  Faults{Receipts: ReceiptFaults{Drop: 1.5}},
		"NegativeMPS":    Faults{MPS: -1},
		"NegativeDelay":  Faults{Approvals: ApprovalFaults{DelayMS: -1}},
	} {
		require.Equal(t, 400, s.ask(t, http.MethodPut, "/sim/faults", body, nil), name)
	}
	want := Faults{Seed: 3, NoWindow: true, LatencyMS: 20, Requests: []RequestFault{{Fault: "throttle", Every: 3}}}
	s.faults(t, want)
	var got Faults
	s.ask(t, http.MethodGet, "/sim/faults", nil, &got)
	require.Equal(t, want, got)
	began := time.Now()
	s.send(t)
	require.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond)
	require.Equal(t, 200, s.ask(t, http.MethodDelete, "/sim/faults", nil, &got))
	require.Equal(t, 200, s.ask(t, http.MethodGet, "/sim/faults", nil, &got))
}

func TestChanceIsFairAndRepeats(t *testing.T) {
	t.Parallel()
	hits := 0
	for n := range 10_000 {
		drawn := chance(1, "fair", n, 0.1)
		if drawn {
			hits++
		}
		again := chance(1, "fair", n, 0.1)
		require.Equal(t, drawn, again)
		require.True(t, chance(1, "certain", n, 1))
		require.False(t, chance(1, "never", n, 0))
	}
	require.InDelta(t, 1000, hits, 150)
}
