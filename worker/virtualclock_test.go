package worker_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/throttle"
	"github.com/event-stream-engine/ese/internal/twilio"
	"github.com/event-stream-engine/ese/internal/user"
	"github.com/event-stream-engine/ese/workflows"
)

// noon is a moment at which nothing is special.
var noon = time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)

// night is quiet from 21:00 to 09:00.
func night(p campaign.Campaign) campaign.Campaign {
	start, end := 21*60, 9*60
	p.QuietStart, p.QuietEnd = &start, &end
	return p
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

// prefixes of numbers that lie in one zone, and whose last four digits are free.
const (
	colombo   = "+9477100"
	kathmandu = "+977984100"
	newYork   = "+1212555"
	paris     = "+3361200"
)

// TestQuietHours starts on the evening before a change of clocks and sends to people on three continents, to whoever may
// be in two zones, and to whoever may be in dozens.
func TestQuietHours(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		begin   string // an evening, half a minute before nine
		zone    string // where
		prefix  string
		morning string // of the next day, by the new clock
	}{
		"summer time begins in Europe": {"2026-03-28T20:59:30", "Europe/Paris", paris, "2026-03-29T07:00:00Z"},
		"summer time begins in the US": {"2026-03-07T20:59:30", "America/New_York", newYork, "2026-03-08T13:00:00Z"},
		"summer time ends in the US":   {"2026-10-31T20:59:30", "America/New_York", newYork, "2026-11-01T14:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin, err := time.ParseInLocation("2006-01-02T15:04:05", test.begin, zone(t, test.zone))
			require.NoError(t, err)
			morning, err := time.Parse(time.RFC3339, test.morning)
			require.NoError(t, err)
			w := newWorld(t, begin.UTC())

			// What each number is held to be in is said here, not asked of the engine.
			where := map[string][]*time.Location{}
			people := func(numbers []string, attributes user.Attributes, zones ...string) {
				w.add(begin, attributes, numbers...)
				for _, number := range numbers {
					for _, name := range zones {
						where[number] = append(where[number], zone(t, name))
					}
				}
			}
			many := 40 // more than half a minute's worth at one a second
			evening := numbers(test.prefix, many)
			people(evening, nil, test.zone)
			people(numbers(colombo, 5), nil, "Asia/Colombo")
			people(numbers(kathmandu, 5), nil, "Asia/Kathmandu")
			people(numbers("+44740012", 5), user.Attributes{"timezone": "Europe/London"}, "Europe/London")
			if test.prefix != newYork {
				people(numbers(newYork, 5), nil, "America/New_York")
			}
			people([]string{"+12085551234"}, nil, "America/Boise", "America/Los_Angeles")
			people([]string{"+447400123456"}, nil, phone.Zones("+447400123456")...)
			people([]string{"+18005551234"}, nil, phone.Zones("+18005551234")...)

			// One person is put off until the next evening, and so waits for a second night.
			late := ""
			w.provider.answer = func(r request) message.Outcome {
				if late == "" && slices.Contains(evening, r.To) && !r.at.Before(morning) {
					late = r.To
					return busy(12 * time.Hour)
				}
				return message.Outcome{}
			}
			w.trigger(night(campaign.Campaign{RatePerSecond: 1}))
			w.live()

			w.requireDelivered(len(where))
			before, after := 0, 0
			for _, r := range w.provider.sent {
				for _, zone := range where[r.To] {
					hour := r.at.In(zone).Hour()
					require.True(t, 9 <= hour && hour < 21, "sent at %s to somebody who may be in %s", r.at.In(zone), zone)
				}
				// The provider knows no shorter time than a second.
				held := r.at.Add(max(r.Validity, time.Second) - time.Second)
				require.False(t, held.After(quietNext(r.at, where[r.To])), "the provider may hold it into the night: %s + %s", r.at, r.Validity)
				switch {
				case !slices.Contains(evening, r.To):
				case r.at.Before(morning):
					before++
				default:
					after++
					if r.To != late {
						require.WithinDuration(t, morning, r.at, 2*time.Minute, "nobody waits longer than the night")
					}
				}
			}
			require.Greater(t, before, 10, "some go out in the evening")
			require.Greater(t, after, 5, "the rest in the morning")
			require.NotEmpty(t, late)
			m := w.ledger()[late]
			require.Equal(t, 2, m.AttemptCount)
			require.WithinDuration(t, morning.Add(24*time.Hour), *m.AcceptedAt, 5*time.Minute, "after the second night")
		})
	}
}

// quietNext is when, minute by minute, the first of the zones next comes to 21:00.
func quietNext(at time.Time, zones []*time.Location) time.Time {
	for next := at.Truncate(time.Minute); ; next = next.Add(time.Minute) {
		for _, zone := range zones {
			if h := next.In(zone).Hour(); h >= 21 || h < 9 {
				return next
			}
		}
	}
}

func busy(retryAfter time.Duration) message.Outcome {
	return message.Outcome{Result: message.ResultRefused, HTTPStatus: 429, Code: 20429, RetryAfter: retryAfter, Policy: twilio.PolicyOf(20429)}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 60)...)
	w.trigger(campaign.Campaign{RatePerSecond: 5})
	w.live()

	w.requireDelivered(60)
	granted := slices.SortedFunc(slices.Values(w.grants.granted), time.Time.Compare)
	require.GreaterOrEqual(t, len(granted), 60, "one for each, and another for whoever came too late for it")
	for i := 5; i < len(granted); i++ {
		require.GreaterOrEqual(t, granted[i].Sub(granted[i-5]), time.Second, "six moments in one second")
	}
	var sent []time.Time
	for _, r := range w.provider.sent {
		sent = append(sent, r.at)
		// The environment's clock stands still while an activity waits for its moment: a send looks early by as much.
		require.True(t, slices.ContainsFunc(granted, func(at time.Time) bool { return at.Sub(r.at).Abs() < throttle.Horizon }), "a send without a moment: %s", r.at)
	}
	slices.SortFunc(sent, time.Time.Compare)
	require.Less(t, sent[59].Sub(sent[0]), 20*time.Second, "the rate is used")
}

// TestSTOP has two people say STOP at night: one whose workflow waits for the morning, one who is in no batch yet.
func TestSTOP(t *testing.T) {
	t.Parallel()
	evening := time.Date(2026, 6, 10, 20, 59, 55, 0, zone(t, "Asia/Colombo")).UTC()
	w := newWorld(t, evening)
	w.add(evening, nil, numbers(colombo, 30)...)
	w.trigger(night(campaign.Campaign{RatePerSecond: 1}))
	var waiting, later string
	w.at(time.Hour, func() {
		dispatched := w.dispatched()
		for number, m := range w.ledger() {
			switch {
			case m.State != message.Pending:
				continue
			case dispatched[m.Seq]:
				waiting = number
			default:
				later = number
			}
			require.Equal(t, string(compliance.InQuietHours), m.Reason, "whoever waits for the morning is told so, in a batch or not")
			require.Equal(t, evening.Add(12*time.Hour+5*time.Second), m.WaitsUntil.UTC())
		}
		require.NotEmpty(t, waiting, "somebody's workflow waits for the morning")
		require.NotEmpty(t, later, "somebody is in no batch yet")
		for sid, from := range map[string]string{"SM-stop-1": waiting, "SM-stop-2": later} {
			_, err := w.store.Receive(t.Context(), inbound.Message{
				SID: sid, Channel: message.WhatsApp, From: phone.Number(from), Body: "STOP", Payload: []byte(`{}`),
			}, w.env.Now())
			require.NoError(t, err)
		}
		w.relay()
	})
	w.live()

	ledger := w.ledger()
	for _, number := range []string{waiting, later} {
		require.Equal(t, message.Suppressed, ledger[number].State)
		require.Equal(t, string(compliance.Stopped), ledger[number].Reason)
		require.Zero(t, w.provider.perPerson()[number])
	}
	require.Equal(t, map[message.State]int{message.Delivered: 28, message.Suppressed: 2}, w.states())
	require.Equal(t, campaign.Completed, w.overview().Status)
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 60)...)
	w.trigger(campaign.Campaign{RatePerSecond: 5})
	var paused, resumed time.Time
	var steering campaign.Steering
	w.at(4*time.Second, func() {
		w.update(workflows.UpdatePause, "", func(_ campaign.Steering, err error) {
			require.ErrorContains(t, err, "say who")
		})
		w.update(workflows.UpdatePause, "operator", func(s campaign.Steering, err error) {
			require.NoError(t, err)
			steering, paused = s, w.env.Now()
		})
	})
	w.at(time.Hour, func() {
		require.Equal(t, campaign.Paused, w.overview().Status)
		require.Len(t, w.provider.sent, steering.Sent, "sends while the campaign is paused")
		w.update(workflows.UpdateResume, "operator", func(_ campaign.Steering, err error) {
			require.NoError(t, err)
			resumed = w.env.Now()
		})
	})
	w.live()

	w.requireDelivered(60)
	require.Equal(t, campaign.Paused, steering.Status)
	require.Equal(t, 60, steering.Sent+steering.Remaining+steering.Unresolved)
	require.Greater(t, steering.Sent, 5)
	require.Greater(t, steering.Remaining, 5)
	require.WithinDuration(t, noon.Add(time.Hour), resumed, time.Second)
	var last time.Time
	for _, r := range w.provider.sent {
		require.False(t, r.at.After(paused) && r.at.Before(resumed), "sent at %s", r.at)
		if r.at.After(last) {
			last = r.at
		}
	}
	require.Less(t, last.Sub(resumed), time.Minute, "the rest goes out at once after the resume")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 60)...)
	w.trigger(campaign.Campaign{RatePerSecond: 5})
	var steering campaign.Steering
	w.at(4*time.Second, func() {
		w.update(workflows.UpdateCancel, "operator", func(s campaign.Steering, err error) {
			require.NoError(t, err)
			steering = s
		})
	})
	w.live()

	require.Equal(t, campaign.Cancelled, w.overview().Status)
	require.NotNil(t, w.overview().Run.SettledAt)
	require.Zero(t, steering.Remaining)
	require.Greater(t, steering.Sent, 5)
	require.Less(t, steering.Sent, 55)
	require.Len(t, w.provider.sent, steering.Sent, "sends after the cancel")
	require.Equal(t, map[message.State]int{message.Delivered: steering.Sent, message.Cancelled: 60 - steering.Sent}, w.states())
}

// TestSchedule has the audience frozen at the campaign's time, not when it is triggered.
func TestSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 5)...)
	when := noon.Add(36 * time.Hour)
	w.trigger(campaign.Campaign{RatePerSecond: 5, ScheduleTime: &when})
	require.Equal(t, campaign.Scheduled, w.overview().Status)
	w.at(30*time.Hour, func() {
		require.Empty(t, w.provider.sent)
		w.add(w.env.Now(), nil, numbers(kathmandu, 2)...)
	})
	w.at(36*time.Hour+time.Minute, func() { w.add(w.env.Now(), nil, numbers(newYork, 2)...) })
	w.live()

	w.requireDelivered(7)
	for _, r := range w.provider.sent {
		require.WithinRange(t, r.at, when, when.Add(time.Minute))
	}
}

func TestPauseAndCancelBeforeTheSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 5)...)
	when := noon.Add(36 * time.Hour)
	w.trigger(campaign.Campaign{RatePerSecond: 5, ScheduleTime: &when})
	ok := func(_ campaign.Steering, err error) { require.NoError(t, err) }
	w.at(time.Hour, func() { w.update(workflows.UpdatePause, "operator", ok) })
	w.at(40*time.Hour, func() {
		require.Empty(t, w.provider.sent, "its time came while it was paused")
		w.update(workflows.UpdateCancel, "operator", ok)
	})
	w.live()

	require.Equal(t, campaign.Cancelled, w.overview().Status)
	require.NotNil(t, w.overview().Run.SettledAt)
	require.Empty(t, w.provider.sent)
}

// TestUnknownOutcome loses the answer to everybody's first request: half of them the provider has, half it has not.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	people := numbers(colombo, 20)
	w.add(noon, nil, people...)
	w.provider.mute = true
	w.provider.remote = message.Delivered
	w.provider.answer = func(r request) message.Outcome {
		if r.nth == 1 {
			return message.Outcome{Result: message.ResultUnknown, Detail: "no answer"}
		}
		return message.Outcome{}
	}
	w.provider.keeps = func(r request) bool { return slices.Index(people, r.To)%2 == 0 }
	w.trigger(campaign.Campaign{RatePerSecond: 20})
	w.live()

	w.requireDelivered(20)
	ledger := w.ledger()
	for i, number := range people {
		want, after := 1, 10*time.Second+looks[0]
		if i%2 == 1 {
			want, after = 2, 10*time.Second+looks[len(looks)-1]
		}
		require.Equal(t, want, w.provider.requests[number])
		require.Equal(t, want, ledger[number].AttemptCount)
		require.GreaterOrEqual(t, ledger[number].AcceptedAt.Sub(noon), after, "looked for as long as promised")
	}
}

// TestUnknownForGood never gets an answer, and the provider never has the message: there is an end to trying.
func TestUnknownForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 2)...)
	w.provider.answer = func(request) message.Outcome {
		return message.Outcome{Result: message.ResultUnknown, Detail: "no answer"}
	}
	w.trigger(campaign.Campaign{RatePerSecond: 20})
	w.live()

	require.Equal(t, map[message.State]int{message.Failed: 2}, w.states())
	require.Equal(t, campaign.Completed, w.overview().Status)
	for number, m := range w.ledger() {
		require.Equal(t, message.ReasonAttempts, m.Reason)
		require.Equal(t, message.MaxAttempts, w.provider.requests[number])
	}
}

// TestBusyProvider is told "too many requests" more often than a message may be tried.
func TestBusyProvider(t *testing.T) {
	t.Parallel()
	const refusals = message.MaxAttempts + 2
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 10)...)
	w.provider.answer = func(r request) message.Outcome {
		if r.nth <= refusals {
			return busy(3 * time.Second)
		}
		return message.Outcome{}
	}
	w.trigger(campaign.Campaign{RatePerSecond: 10})
	w.live()

	w.requireDelivered(10)
	last := map[string]time.Time{}
	for _, r := range w.provider.sent {
		if before, again := last[r.To]; again {
			require.GreaterOrEqual(t, r.at.Sub(before), 3*time.Second, "sooner than the provider asked for")
		}
		last[r.To] = r.at
		require.LessOrEqual(t, r.nth, refusals+1)
	}
}

// TestCarrierFailure has the carrier give everybody's first message back after the run is over: it is sent once more.
func TestCarrierFailure(t *testing.T) {
	t.Parallel()
	const code = 63010 // worth another attempt
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 5)...)
	w.provider.mute = true
	w.provider.remote = message.Delivered
	w.trigger(campaign.Campaign{RatePerSecond: 5})
	w.at(time.Hour, func() {
		require.Equal(t, campaign.Completed, w.overview().Status)
		for i, r := range slices.Clone(w.provider.sent) {
			_, err := w.store.RecordReceipts(t.Context(), []message.Report{{
				AttemptID: &r.AttemptID, SID: w.provider.has[i].SID, Status: "failed", State: message.Failed, Code: code,
				Policy: twilio.PolicyOf(code), Payload: []byte(`{}`),
			}}, w.env.Now())
			require.NoError(t, err)
		}
		w.provider.mute = false
		w.relay()
	})
	w.live()

	require.Equal(t, map[message.State]int{message.Delivered: 5}, w.states())
	for number, n := range w.provider.perPerson() {
		require.Equal(t, 2, n)
		require.Equal(t, 2, w.ledger()[number].AttemptCount)
	}
	require.NotNil(t, w.overview().Run.SettledAt)
}

// TestTerminatedByHand ends workflows that wait for the morning. Whoever drove a message is of no importance: the ledger
// knows what is left to do.
func TestTerminatedByHand(t *testing.T) {
	t.Parallel()
	evening := time.Date(2026, 6, 10, 20, 59, 55, 0, zone(t, "Asia/Colombo")).UTC()
	morning := time.Date(2026, 6, 11, 9, 0, 0, 0, zone(t, "Asia/Colombo"))
	for name, campaignToo := range map[string]bool{"recipients": false, "the campaign as well": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, evening)
			w.add(evening, nil, numbers(colombo, 30)...)
			w.trigger(night(campaign.Campaign{RatePerSecond: 1}))
			var terminated []string
			w.at(time.Hour, func() {
				dispatched := w.dispatched()
				for number, m := range w.ledger() {
					if m.Reason == string(compliance.InQuietHours) && dispatched[m.Seq] {
						terminated = append(terminated, number)
						w.terminate(workflows.RecipientID(outbox.Recipient{Run: w.run, Seq: m.Seq}))
					}
				}
				require.NotEmpty(t, terminated)
				if campaignToo {
					w.terminate(workflows.CampaignID(w.run))
					w.at(30*time.Second, func() { // what relay.Keep does
						runs, err := w.store.UnsettledRuns(t.Context(), w.env.Now())
						require.NoError(t, err)
						require.Equal(t, []outbox.Run{w.run}, runs)
						require.NoError(t, w.startCampaign(w.run))
					})
				}
			})
			w.live()

			w.requireDelivered(30)
			ledger := w.ledger()
			for _, number := range terminated {
				require.WithinRange(t, *ledger[number].AcceptedAt, morning.Add(stuckAfter), morning.Add(stuckAfter+10*time.Minute))
			}
		})
	}
}

// TestOverdueReceipts never hears from the provider by itself.
func TestOverdueReceipts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		remote message.State
		state  message.State
		reason string
	}{
		"the provider knows":            {message.Delivered, message.Delivered, ""},
		"the provider knows no more":    {message.Accepted, message.Accepted, "receipt_overdue"},
		"the provider knows a bit more": {message.Sent, message.Sent, "receipt_overdue"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, noon)
			w.add(noon, nil, numbers(colombo, 5)...)
			w.provider.mute, w.provider.remote = true, test.remote
			w.trigger(campaign.Campaign{RatePerSecond: 5})
			w.at(receiptDeadline-time.Minute, func() { require.Zero(t, w.provider.fetched, "asked too early") })
			w.live()

			require.Equal(t, map[message.State]int{test.state: 5}, w.states())
			for _, m := range w.ledger() {
				require.Equal(t, test.reason, m.Reason)
			}
			require.Equal(t, 5, w.provider.fetched, "asked once each")
			run := w.overview().Run
			require.WithinDuration(t, noon, *run.FinishedAt, time.Minute, "completed long before")
			require.WithinRange(t, *run.SettledAt, noon.Add(receiptDeadline), noon.Add(receiptDeadline+time.Hour))
		})
	}
}

func TestManyBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 600)...)
	w.trigger(campaign.Campaign{RatePerSecond: 100})
	w.live()

	w.requireDelivered(600)
	last, err := w.store.LastBatch(t.Context(), w.run.RunID)
	require.NoError(t, err)
	require.GreaterOrEqual(t, last, 3)
}

// TestContinueAsNew begins a new history after every step of the campaign. The environment follows a history's children
// to their end before it lets the next begin, which a server does not: here each history finds its recipients done.
func TestContinueAsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 60)...)
	w.trigger(campaign.Campaign{RatePerSecond: 5})
	w.provider.mute = true
	in := workflows.CampaignInput{Run: w.run}
	histories, batches := 0, []int{0}
	for {
		w.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: workflows.CampaignID(w.run), TaskQueue: workflows.TaskQueue})
		w.env.SetContinueAsNewSuggested(true)
		w.env.ExecuteWorkflow(workflows.Campaign, in)
		histories++
		var next *workflow.ContinueAsNewError
		if !errors.As(w.env.GetWorkflowError(), &next) {
			break
		}
		for i, r := range w.provider.accepted() { // the environment that ended took the receipts along
			w.receipt(r, w.provider.has[i].SID)
		}
		in = workflows.CampaignInput{}
		require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &in))
		require.Equal(t, w.run, in.Run)
		if in.Batches != batches[len(batches)-1] {
			batches = append(batches, in.Batches)
		}
		require.Less(t, histories, 100)
		w.renew(w.env.Now())
	}
	require.NoError(t, w.env.GetWorkflowError())
	w.requireDelivered(60)
	for i, number := range batches {
		require.Equal(t, i, number, "each batch is started once, by whichever history")
	}
	require.Greater(t, len(batches), 3)
	require.Greater(t, histories, 4)
}
