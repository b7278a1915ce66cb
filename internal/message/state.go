package message

// State is where a message is in its life.
type State string

// The states of a message. A message is open while it is Pending or Sending; Accepted and what follows is the
// provider's doing; the last five end it.
const (
	Pending     State = "pending"     // to be sent; Reason and WaitsUntil tell what it waits for
	Sending     State = "sending"     // an attempt is open: its outcome is not known yet
	Accepted    State = "accepted"    // the provider has it
	Sent        State = "sent"        // the provider handed it to the carrier
	Delivered   State = "delivered"   // it reached the handset
	Read        State = "read"        // it was opened
	Failed      State = "failed"      // the provider refused it, or gave up before the carrier had it
	Undelivered State = "undelivered" // the carrier gave up
	Suppressed  State = "suppressed"  // compliance forbids it
	Cancelled   State = "cancelled"   // an operator stopped it, or the person was erased
	Unknown     State = "unknown"     // it may have been sent; only a person can decide
)

// States lists every state in the order of a message's life.
func States() []State {
	return []State{Pending, Sending, Accepted, Sent, Delivered, Read, Failed, Undelivered, Suppressed, Cancelled, Unknown}
}

// Valid reports whether s is one of the states.
func (s State) Valid() bool {
	for _, known := range States() {
		if s == known {
			return true
		}
	}
	return false
}

// Open reports whether the message still has to be sent, or may be on its way out.
func (s State) Open() bool { return s == Pending || s == Sending }

// Undecided reports whether a receipt is still expected to decide the message.
func (s State) Undecided() bool { return s == Accepted || s == Sent }

// rank orders the carrier's reports: a later one never takes back an earlier one, and a failure is taken back by
// proof of delivery alone.
var rank = map[State]int{Accepted: 1, Sent: 2, Failed: 3, Undelivered: 3, Delivered: 4, Read: 5}

// Advance applies a carrier's report to what is known of an attempt. Reports come twice, late and out of order; one
// that does not move the attempt forward changes nothing, which is not an error.
func Advance(known, report State) (State, bool) {
	if rank[report] <= rank[known] {
		return known, false
	}
	return report, true
}

// MaxAttempts bounds how often one message is tried, whatever the reasons.
const MaxAttempts = 5

// Reasons that the engine itself gives; compliance and the provider's table have theirs.
const (
	ReasonRateLimit   = "rate_limit"      // waits for the campaign's rate
	ReasonPaused      = "paused"          // the campaign is paused
	ReasonRetry       = "provider_retry"  // waits before a new attempt
	ReasonAttempts    = "attempts_spent"  // failed: no attempt left
	ReasonProvider    = "provider_error"  // failed: see the error code
	ReasonUnresolved  = "unresolved"      // unknown: the provider's list did not tell
	ReasonAmbiguous   = "ambiguous_match" // unknown: two messages on the provider's list fit
	ReasonDecided     = "decided_sent"    // sent: a person said so; no receipt is awaited
	ReasonCancelled   = "campaign_cancelled"
	ReasonErased      = "user_erased"
	ReasonReplied     = "replied"         // suppressed: the person wrote, and that ends the steps of the campaign
	ReasonOptedOut    = "carrier_opt_out" // failed: the carrier says that the person does not want messages
	ReasonStopClass   = "campaign_fault"  // failed: credentials, sender or template are at fault
	ReasonConcurrency = "provider_busy"   // waits: the provider asked for fewer requests
)
