package compliance

import (
	"time"

	"github.com/event-stream-engine/ese/internal/user"
)

// Reply says that a message answers one that the person wrote. It needs no consent, for they have just written, and heeds no
// hours, for they are awake. It is sent soon or not at all, and as free text. A suppression of their number holds, but for
// HELP: carriers want whoever asks told whom they deal with and how to make it stop.
type Reply struct {
	Stop    bool      // it confirms a STOP: the one message that goes to somebody who said so
	Help    bool      // it answers HELP
	AskedAt time.Time // when the person wrote
}

// How long after the person's message a reply may be sent.
const (
	replyWindow = 24 * time.Hour  // in which the channel lets free text through
	stopWindow  = 5 * time.Minute // in which a confirmation counts as part of the STOP
)

// Answers tells whether the reply fits what the person last said of messages: a STOP silences every reply but its own
// confirmation, and is over with a START.
func (r Reply) Answers(consent user.ConsentState) bool {
	return consent != "" && r.Stop == (consent == user.Stop)
}

// closes is when it is too late for the reply.
func (r Reply) closes() time.Time {
	if r.Stop {
		return r.AskedAt.Add(stopWindow)
	}
	return r.AskedAt.Add(replyWindow)
}

func (r Reply) evaluate(in Input) Verdict {
	verdict := Verdict{Closes: r.closes()}
	suppress := func(step Step, reason Reason, detail string) Verdict {
		verdict.Steps = append(verdict.Steps, Finding{step, Failed, detail})
		verdict.Action, verdict.Reason = Suppress, reason
		return verdict
	}
	switch {
	case in.Consent == "":
		return suppress(StepConsent, NoConsent, string(NoConsent))
	case in.Consent == user.Stop && !r.Stop:
		return suppress(StepConsent, Stopped, string(Stopped))
	case !r.Answers(in.Consent):
		return suppress(StepConsent, ReplyOutdated, "the STOP that it confirms is over")
	case in.Suppressed && !r.Help:
		return suppress(StepConsent, Suppressed, string(Suppressed))
	case !in.Now.Before(r.closes()):
		return suppress(StepConsent, ReplyTooLate, "what it answers was written too long ago")
	case in.WhatsApp != nil && in.WhatsApp.Closed:
		return suppress(StepContent, OutsideWindow, "the provider took it for being too late")
	}
	verdict.Steps = append(verdict.Steps, Finding{StepConsent, Passed, "answers the person's message"})
	if reason, detail := in.Content.check(); reason != "" {
		return suppress(StepContent, reason, detail)
	}
	verdict.Steps = append(verdict.Steps, Finding{StepContent, Passed, ""})
	verdict.Action = Proceed
	return verdict
}
