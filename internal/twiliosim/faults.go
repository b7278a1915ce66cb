package twiliosim

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"time"
)

// Faults is the body of PUT /sim/faults: everything that goes wrong. The zero value is a Twilio without faults, which
// enforces WhatsApp's 24-hour window as Twilio does. Chance
// is drawn from Seed and the number of the request or message alone, so that the same traffic meets the same faults.
type Faults struct {
	Seed uint64 `json:"seed"`
	// Requests are tried in order; the first that applies decides.
	Requests []RequestFault `json:"requests,omitempty"`
	// Numbers fail by recipient, in E.164.
	Numbers  map[string]NumberFault `json:"numbers,omitempty"`
	Receipts ReceiptFaults          `json:"receipts"`
	// LatencyMS delays every answer of the Messages API, in milliseconds; a message is accepted at the end of it.
	LatencyMS int `json:"latency_ms,omitempty"`
	// ListLagMS is how long a message stays absent from the list after its acceptance, in milliseconds.
	ListLagMS int `json:"list_lag_ms,omitempty"`
	// MPS is how many messages a second leave a sender's queue; 0 means without limit. A message that would wait
	// longer than it is valid fails with 30036; a queue longer than Twilio keeps refuses with 21611.
	MPS float64 `json:"mps,omitempty"`
	// NoWindow lifts WhatsApp's rule that free text to a person who did not write within 24 hours fails with 63016.
	NoWindow bool `json:"no_window,omitempty"`
	// Approvals says how WhatsApp treats contents that are submitted from now on.
	Approvals ApprovalFaults `json:"approvals,omitzero"`
}

// ApprovalFaults slow down or refuse the approval of contents. The zero value approves at once.
type ApprovalFaults struct {
	DelayMS int    `json:"delay_ms,omitempty"` // until the decision; pending meanwhile
	Reject  string `json:"reject,omitempty"`   // the reason for which each is rejected; none if empty
}

// RequestFault goes wrong with every nth request, or by chance.
type RequestFault struct {
	// Fault is one of
	//	throttle      429, with Retry-After if RetryAfterSeconds is given
	//	error_before  Status (503 if not given) without accepting
	//	error_after   Status (500 if not given) after accepting
	//	reset_before  the connection is reset without accepting
	//	reset_after   the connection is reset after accepting
	//	hang_before   no answer for HangMS (a minute if not given), without accepting
	//	hang_after    the same after accepting
	//	truncate      half the answer, then the connection breaks; the message is accepted
	Fault string `json:"fault"`
	// On is the operation: create (if not given), list or fetch of messages, or content for the whole Content API.
	On          string  `json:"on,omitempty"`
	Every       int     `json:"every,omitempty"`       // applies to every nth request of the operation
	Probability float64 `json:"probability,omitempty"` // or to this share of them
	Limit       int     `json:"limit,omitempty"`       // ends after so many; 0 means never

	Status            int `json:"status,omitempty"`
	RetryAfterSeconds int `json:"retry_after_seconds,omitempty"`
	HangMS            int `json:"hang_ms,omitempty"`
}

// NumberFault makes messages to one number fail with an error code.
type NumberFault struct {
	Code int `json:"code"`
	// Sync refuses the request; else it is accepted and fails later.
	Sync bool `json:"sync,omitempty"`
	// Status is how it fails later: failed (if not given) or undelivered, which comes after sent.
	Status string `json:"status,omitempty"`
	Times  int    `json:"times,omitempty"` // only the first so many; 0 means all
}

// ReceiptFaults are shares of status callbacks, 0 to 1. Reordered ones arrive after their successor.
type ReceiptFaults struct {
	Drop    float64 `json:"drop,omitempty"`
	Double  float64 `json:"double,omitempty"`
	Reorder float64 `json:"reorder,omitempty"`
}

// The kinds of request faults, and whether the message is accepted nevertheless.
var requestFaults = map[string]bool{
	"throttle": false, "error_before": false, "reset_before": false, "hang_before": false,
	"error_after": true, "reset_after": true, "hang_after": true, "truncate": true,
}

func (f Faults) validate() error {
	var errs []error
	for i, r := range f.Requests {
		after, known := requestFaults[r.Fault]
		refuse := func(why string) { errs = append(errs, fmt.Errorf("requests[%d]: %s", i, why)) }
		switch {
		case !known:
			refuse("unknown fault")
		case r.On != "" && r.On != "create" && r.On != "list" && r.On != "fetch" && r.On != "content":
			refuse("on: want create, list, fetch or content")
		case after && r.Fault != "truncate" && r.On != "" && r.On != "create" && r.On != "content":
			refuse("only a create, or a request to the Content API, can be accepted")
		case (r.Every > 0) == (r.Probability > 0):
			refuse("want either every or probability")
		case r.Every < 0 || !share(r.Probability) || r.Limit < 0 || r.RetryAfterSeconds < 0 || r.HangMS < 0:
			refuse("a figure is out of range")
		case r.Status != 0 && (r.Status < 500 || r.Status > 599):
			refuse("status: want 500 to 599")
		}
	}
	for number, n := range f.Numbers {
		if !isE164(number) || n.Code <= 0 || n.Times < 0 {
			errs = append(errs, errors.New("numbers: want an E.164 number, a code and times of at least 0"))
		}
		if n.Status != "" && n.Status != "failed" && n.Status != "undelivered" {
			errs = append(errs, errors.New("numbers: status: want failed or undelivered"))
		}
	}
	if !share(f.Receipts.Drop) || !share(f.Receipts.Double) || !share(f.Receipts.Reorder) {
		errs = append(errs, errors.New("receipts: want shares from 0 to 1"))
	}
	if f.LatencyMS < 0 || f.ListLagMS < 0 || f.MPS < 0 || f.Approvals.DelayMS < 0 {
		errs = append(errs, errors.New("latency_ms, list_lag_ms, mps, approvals.delay_ms: must not be negative"))
	}
	return errors.Join(errs...)
}

func share(p float64) bool { return p >= 0 && p <= 1 }

// tally counts what the faults in force have met since they were set, and what was measured under them.
type tally struct {
	requests map[string]int // by operation
	hits     map[int]int    // by index of the request fault
	numbers  map[string]int
	answered []time.Duration // how long each status callback took, in the order of their ends
}

func newTally() tally {
	return tally{requests: map[string]int{}, hits: map[int]int{}, numbers: map[string]int{}}
}

// request counts a request and returns the fault that it meets, nil for none.
func (t tally) request(f Faults, operation string) *RequestFault {
	t.requests[operation]++
	n := t.requests[operation]
	for i, r := range f.Requests {
		on := r.On
		if on == "" {
			on = "create"
		}
		if on != operation || (r.Limit > 0 && t.hits[i] >= r.Limit) {
			continue
		}
		if (r.Every > 0 && n%r.Every == 0) || chance(f.Seed, fmt.Sprintf("request %d", i), n, r.Probability) {
			t.hits[i]++
			return &r
		}
	}
	return nil
}

// number counts a message to a number and returns the fault that it meets, nil for none.
func (t tally) number(f Faults, number string) *NumberFault {
	n, ok := f.Numbers[number]
	if !ok || (n.Times > 0 && t.numbers[number] >= n.Times) {
		return nil
	}
	t.numbers[number]++
	return &n
}

// chance draws once for the nth of something.
func chance(seed uint64, what string, n int, probability float64) bool {
	if probability <= 0 {
		return false
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s %d", seed, what, n) // a hash never fails
	x := h.Sum64()
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11)/(1<<53) < probability
}

// refusal is an error of Twilio's.
type refusal struct {
	status int
	code   int
	text   string
}

func refuse(code int) *refusal {
	status := http.StatusBadRequest
	switch code {
	case 20003:
		status = http.StatusUnauthorized
	case 20404:
		status = http.StatusNotFound
	case 20009:
		status = http.StatusConflict
	case 20429:
		status = http.StatusTooManyRequests
	case 20500:
		status = http.StatusInternalServerError
	case 20503:
		status = http.StatusServiceUnavailable
	}
	return &refusal{status: status, code: code, text: explain(code)}
}

// explain is what the simulator says about a code. It covers what the simulator itself finds; codes injected by a
// fault are named by their number.
func explain(code int) string {
	if text, ok := explanations[code]; ok {
		return text
	}
	return fmt.Sprintf("Error %d", code)
}

var explanations = map[int]string{
	20001: "Bad request",
	20003: "Authenticate",
	20009: "Resource not complete",
	20404: "The requested resource was not found",
	20429: "Too Many Requests",
	20500: "An internal server error has occurred",
	20503: "Service unavailable",
	21211: "The 'To' number is not a valid phone number.",
	21212: "The 'From' number is not a valid phone number, shortcode, or alphanumeric sender ID.",
	21408: "Permission to send an SMS has not been enabled for the region indicated by the 'To' number.",
	21602: "Message body is required.",
	21603: "A 'From' phone number is required.",
	21604: "A 'To' phone number is required.",
	21606: "The 'From' phone number provided is not a valid, message-capable Twilio phone number for this destination.",
	21609: "The 'StatusCallback' URL is not a valid URL.",
	21610: "Attempt to send to unsubscribed recipient",
	21611: "This 'From' number has exceeded the maximum number of queued messages",
	21612: "Message cannot be sent with the current combination of 'To' and 'From' parameters",
	21614: "'To' number is not a valid mobile number",
	21617: "The concatenated message body exceeds the 1600 character limit.",
	21654: "ContentSid Required",
	21655: "The ContentSid is Invalid",
	21656: "The ContentVariables parameter is invalid.",
	21701: "The Messaging Service does not exist",
	21910: "Twilio could not find a Channel with the specified From address",
	30036: "Validity Period Expired",
	30400: "Only one of Body and Status may be updated",
	30409: "The message is not in a cancelable state",
	63013: "Channel policy violation",
	63016: "Failed to send freeform message because you are outside the allowed window.",
	63021: "Channel invalid content error",
	63028: "Number of parameters provided does not match the expected number of parameters",
	63040: "Template Rejected",
	63041: "Template Paused",
	63042: "Template Disabled",
	90007: "Invalid validity period value",
}

// The queues that Twilio keeps before it refuses more.
const (
	whatsAppQueue = 4 * time.Hour
	smsQueue      = 10 * time.Hour
)
