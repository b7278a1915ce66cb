package report

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/message"
)

// Summarise says what the tallies of a campaign's newest run amount to. The figures that tallies do not hold (opt-outs,
// past waits, places) stay zero. Without a run everything does.
func Summarise(c campaign.Overview, tallies []Tally, now time.Time) Summary {
	s := Summary{Campaign: c, At: now, States: States{}}
	if c.Run == nil {
		return s
	}
	s.Began, s.Ended = c.Run.Began(now), c.Run.FinishedAt

	errors, reasons, waits := map[int]int{}, map[string]int{}, map[string]Waiting{}
	withError, timed, seconds := 0, 0, 0.0
	for _, t := range tallies {
		s.States[t.State] += t.Count
		timed += t.Timed
		seconds += t.DeliverySecs
		if t.ErrorCode != 0 {
			errors[t.ErrorCode] += t.Count
			withError += t.Count
		}
		if t.State == message.Pending {
			w := waits[t.Reason]
			w.Reason, w.Count = t.Reason, w.Count+t.Count
			if t.WaitsUntil != nil && t.Reason != "" && (w.Until == nil || t.WaitsUntil.Before(*w.Until)) {
				w.Until = t.WaitsUntil
			}
			waits[t.Reason] = w
		}
		switch {
		case t.State == message.Pending && compliance.Reason(t.Reason) == compliance.InQuietHours:
			s.QuietHoursWaiting += t.Count
		case t.State == message.Pending && compliance.Reason(t.Reason) == compliance.LegalWindow:
			s.LegalWaiting += t.Count
		case t.State == message.Suppressed:
			reasons[t.Reason] += t.Count
			switch compliance.Reason(t.Reason) {
			case compliance.MissingVariable, compliance.EmptyBody, compliance.TooLong, compliance.InvalidVariable:
				s.TemplateErrors += t.Count
			}
		}
	}

	total, sent := s.States.Total(), s.States.Sent()
	s.DeliveryRate = Percent(s.States.Delivered(), sent)
	s.ReadRate = Percent(s.States[message.Read], s.States.Delivered())
	s.SuccessRate = Percent(sent-s.States[message.Undelivered], total)
	s.FailureRate = Percent(s.States[message.Failed]+s.States[message.Undelivered], total)
	if timed > 0 {
		average := time.Duration(seconds / float64(timed) * float64(time.Second))
		s.AverageDelivery = &average
	}
	if s.Began != nil {
		end := now
		if s.Ended != nil {
			end = *s.Ended
		}
		duration := max(0, end.Sub(*s.Began))
		s.Duration = &duration
		if duration > 0 {
			s.PerMinute = float64(sent) / duration.Minutes()
		}
	}
	for code, n := range errors {
		s.Errors = append(s.Errors, CodeCount{Code: code, Count: n, Percentage: Percent(n, withError)})
	}
	slices.SortFunc(s.Errors, func(a, b CodeCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code))
	})
	s.Errors = s.Errors[:min(len(s.Errors), MaxErrors)]
	for reason, n := range reasons {
		s.Suppressed = append(s.Suppressed, ReasonCount{Reason: reason, Count: n})
	}
	slices.SortFunc(s.Suppressed, func(a, b ReasonCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	s.Waiting = slices.SortedFunc(maps.Values(waits), func(a, b Waiting) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return s
}

// Percent is part of whole in percent, 0 when there is no whole.
func Percent(part, whole int) float64 {
	if whole <= 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}
