// Package twiliosim is a faithful local Twilio: the Messages API with Twilio's errors, paging and test numbers, the
// Content API with WhatsApp's approvals and its 24-hour window, signed status callbacks with Twilio's timing and retries,
// phones that write back, and faults on demand. It shares no code with the engine's client, so that a mistake in one is
// not hidden by the same mistake in the other.
//
// Each accepted message is on disk, with the callbacks it owes, before the answer 201 leaves. A killed simulator goes
// on where it was; only POST /sim/reset makes it forget. A callback that was under way when the simulator was killed is
// delivered again, as Twilio's retries would.
//
// # Control API
//
// It is served beside the Messages API, without a password, and is meant for a loopback listener. Bodies and answers
// are JSON; a refused body is answered 400 {"error": "…"}.
//
//	GET    /sim/faults      the faults in force
//	PUT    /sim/faults      replaces them (see Faults) and starts all their counters again; kept across a restart
//	DELETE /sim/faults      no more faults
//	POST   /sim/inbound     a phone writes to us (see Phone); answers what our webhook said (see Answer)
//	GET    /sim/phones      the phones that were written to or wrote last, the latest first (see PhoneTalk); ?limit=
//	GET    /sim/phones/{number}  what a phone shows: the newest ?limit= messages from and to it, oldest first
//	PUT    /sim/contents/{sid}/approval  WhatsApp decides about a content (see Review); new ones are approved at once,
//	                        unless the faults say otherwise
//	GET    /sim/stats       totals (see Stats); ?since=RFC3339 and ?to=+94771234567 narrow the accepted messages,
//	                        ?by_recipient=false keeps the answer short however many there are
//	GET    /sim/recipients  who was sent what (see Recipient); the same two filters
//	GET    /sim/messages    every message, oldest first (see Message); the same filters, ?direction= and ?limit=
//	GET    /sim/callbacks   status callbacks that our webhook answered with success (see Callback); the same two filters
//	POST   /sim/reset       forgets messages, callbacks, contents and faults
//	GET    /sim/health      {"status":"ok"}
package twiliosim
