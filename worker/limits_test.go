package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/throttle"
	"github.com/event-stream-engine/ese/internal/user"
)

// TestLegalWindow sends without quiet hours on a Friday evening: in the United States each state's own law is heeded, whether
// the hours are those of a weekday or of the weekend; elsewhere nothing is.
func TestLegalWindow(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 6, 13, 0, 30, 0, 0, time.UTC) // 20:30 on Friday in New York, 19:30 in Chicago
	w := newWorld(t, begin)
	for _, people := range []struct{ prefix, state, zone string }{
		{newYork, "", "America/New_York"}, {"+1305555", "FL", "America/New_York"}, {"+1401555", "Rhode Island", "America/New_York"},
		{"+1312555", "tx", "America/Chicago"}, {colombo, "", "Asia/Colombo"},
	} {
		w.add(begin, user.Attributes{"state": people.state, "timezone": people.zone}, numbers(people.prefix, 3)...)
	}
	w.trigger(campaign.Campaign{RatePerSecond: 5})
	w.at(time.Hour, func() {
		reasons := map[string]int{}
		for _, m := range w.ledger() {
			reasons[string(m.State)+" "+m.Reason]++
		}
		require.Equal(t, map[string]int{"delivered ": 9, "pending legal_window": 6}, reasons)
	})
	w.live()

	w.requireDelivered(15)
	when := map[string]time.Time{
		newYork: begin, colombo: begin, "+1312555": begin,
		"+1305555": time.Date(2026, 6, 13, 12, 0, 0, 0, time.UTC), // eight in the morning
		"+1401555": time.Date(2026, 6, 13, 14, 0, 0, 0, time.UTC), // ten, as it is a Saturday
	}
	for _, r := range w.provider.sent {
		for prefix, from := range when {
			if len(r.To) > len(prefix) && r.To[:len(prefix)] == prefix {
				require.WithinRange(t, r.at, from, from.Add(time.Minute), prefix)
			}
		}
		if r.To[:2] == "+1" && r.at.Before(begin.Add(time.Hour)) {
			require.LessOrEqual(t, r.Validity, 90*time.Minute, "the provider is not to hold it into the night")
		}
	}
}

// TestMessagingTier sends to more people than the portfolio may reach in a day: the rest follows by itself, as places free.
func TestMessagingTier(t *testing.T) {
	t.Parallel()
	const day, limit = 24 * time.Hour, 3
	w := newWorld(t, noon)
	w.add(noon, nil, numbers(colombo, 8)...)
	most := limit
	_, err := w.store.ChangeSender(t.Context(), 1, "test", func(s throttle.Sender) (throttle.Sender, error) {
		s.MessagingLimit = &most
		return s, nil
	}, noon)
	require.NoError(t, err)
	plans := 0
	w.env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == "PlanRun" {
			plans++
		}
	})
	w.trigger(campaign.Campaign{RatePerSecond: 5})
	w.at(time.Hour, func() {
		for _, m := range w.ledger() {
			if m.State == message.Pending {
				require.Equal(t, string(compliance.MessagingTier), m.Reason, "whoever waits is told why, in a batch or not")
				require.WithinDuration(t, noon.Add(day), *m.WaitsUntil, time.Minute)
			}
		}
		require.Equal(t, map[message.State]int{message.Delivered: limit, message.Pending: 5}, w.states())
	})
	w.live()

	w.requireDelivered(8)
	days := map[int]int{}
	for _, r := range w.provider.sent {
		since := r.at.Sub(noon)
		days[int(since/day)]++
		require.Less(t, since%day, 2*time.Minute, "places are used as soon as they are free")
	}
	require.Equal(t, map[int]int{0: 3, 1: 3, 2: 2}, days)
	require.Less(t, plans, 3*288, "the plan sleeps")
}

// TestPairRate finds somebody who has just got a message of another campaign.
func TestPairRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noon)
	people := numbers(colombo, 2)
	w.add(noon, nil, people...)
	w.trigger(campaign.Campaign{RatePerSecond: 5})
	plan := w.overview().Campaign
	other, err := w.store.CreateCampaign(t.Context(), plan, noon)
	require.NoError(t, err)
	started, err := w.store.StartRun(t.Context(), other.ID, "test", noon)
	require.NoError(t, err)
	run, err := w.store.Run(t.Context(), started.ID)
	require.NoError(t, err)
	require.NoError(t, w.store.Freeze(t.Context(), run, noon))
	d, err := w.store.Delivery(t.Context(), run.ID, 1)
	require.NoError(t, err)
	before := noon.Add(-2 * time.Second)
	a := ledger.Attempt{ID: uuid.Must(uuid.NewV7()), StartedAt: before, LeaseUntil: before.Add(10 * time.Second)}
	begun, err := w.store.Begin(t.Context(), d, a, nil)
	require.NoError(t, err)
	require.Equal(t, ledger.BegunNow, begun)
	require.NoError(t, w.store.Accept(t.Context(), a.ID, "SM-other", 201, before))
	_, err = w.store.Steer(t.Context(), other.ID, campaign.Cancelled, "test", "", noon)
	require.NoError(t, err)
	w.live()

	require.Len(t, w.provider.accepted(), 2)
	for _, r := range w.provider.sent {
		if r.To == d.Phone.String() {
			require.WithinRange(t, r.at, before.Add(6*time.Second), before.Add(8*time.Second))
		} else {
			require.Less(t, r.at.Sub(noon), 3*time.Second)
		}
	}
}
