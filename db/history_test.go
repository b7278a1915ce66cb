package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
)

func TestCampaignHistory(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.campaign(t)
	h, err := b.CampaignHistory(ctx, id, 0, noon)
	require.NoError(t, err)
	require.Empty(t, h.Steps, "nothing happened before the first run")

	run := b.run(t, id)
	b.message(t, run, 1, row{state: message.Read, delivered: 5 * time.Second})
	b.message(t, run, 2, row{state: message.Delivered, delivered: 5 * time.Second})
	b.message(t, run, 3, row{state: message.Failed, reason: "provider_error", code: 30003, at: noon.Add(7 * time.Second)})
	b.message(t, run, 4, row{state: message.Suppressed, reason: "no_consent"})
	b.message(t, run, 5, row{state: message.Pending})
	h, err = b.CampaignHistory(ctx, id, 1, noon.Add(10*time.Second))
	require.NoError(t, err)
	require.Equal(t, time.Second, h.Step)
	require.Equal(t, noon, h.Since)
	require.Len(t, h.Steps, 10, "every step of the span is there")
	require.Equal(t, report.HistoryStep{At: noon, Accepted: 2}, h.Steps[0])
	require.Equal(t, report.HistoryStep{At: noon.Add(5 * time.Second), Delivered: 2, Read: 1}, h.Steps[5])
	require.Equal(t, report.HistoryStep{At: noon.Add(7 * time.Second), Failed: 1}, h.Steps[7])

	b.exec(t, `UPDATE campaign_runs SET settled_at = $1`, noon.Add(20*time.Second))
	h, err = b.CampaignHistory(ctx, id, 0, noon.Add(time.Hour))
	require.NoError(t, err)
	require.Len(t, h.Steps, 21, "up to where all was known, not until now")
	_, err = b.CampaignHistory(ctx, 99, 0, noon)
	require.True(t, fault.Is(err, fault.NotFound))

	b.inbound(t, 0, "none", "Hello", noon.Add(time.Minute))
	h, err = b.History(ctx, noon, noon.Add(24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, report.HistoryStep{At: noon, Accepted: 2, Delivered: 2, Read: 1, Failed: 1, Inbound: 1}, h.Steps[0])
}

// inbound stores what somebody wrote; user 0 is nobody known.
func (b books) inbound(t *testing.T, user int64, intent, body string, at time.Time) {
	t.Helper()
	b.exec(t, `INSERT INTO inbound_messages (provider_sid, user_id, channel, intent, body, payload, received_at)
		VALUES (gen_random_uuid()::text, nullif($1, 0), 'whatsapp', $2, $3, '{}', $4)`, user, intent, body, at)
}

func TestCampaignReplies(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.campaign(t)
	run := b.run(t, id)
	ann, bob, eve := b.user(t, "+94770000001", "LK", `{}`, "OPT_IN"), b.user(t, "+94770000002", "LK", `{}`, "STOP"), b.user(t, "+94770000003", "LK", `{}`, "OPT_IN")
	b.message(t, run, 1, row{user: ann, state: message.Delivered})
	b.message(t, run, 2, row{user: bob, state: message.Sent})
	b.message(t, run, 3, row{user: eve, state: message.Suppressed, reason: "no_consent"})
	b.inbound(t, ann, "none", "early", noon.Add(-time.Second))
	b.inbound(t, ann, "none", "first", noon.Add(time.Minute))
	b.inbound(t, ann, "none", "second", noon.Add(time.Hour))
	b.inbound(t, bob, "stop", "STOP", noon.Add(time.Hour))
	b.inbound(t, eve, "none", "was not sent to", noon.Add(time.Hour))
	b.inbound(t, ann, "none", "late", noon.Add(report.ReplyWindow))
	b.inbound(t, 0, "none", "nobody", noon.Add(time.Hour))

	now := noon.Add(10 * 24 * time.Hour)
	s, err := b.CampaignSummary(ctx, id, 0, now)
	require.NoError(t, err)
	require.Equal(t, report.Replies{People: 2, Messages: 3, Stops: 1}, s.Replies)
	page, total, err := b.CampaignReplies(ctx, id, 0, nil, 2, now)
	require.NoError(t, err)
	require.Len(t, page, 2)
	require.Equal(t, 3, total)
	require.Equal(t, []string{"STOP", "second"}, []string{page[0].Body, page[1].Body})
	page, total, err = b.CampaignReplies(ctx, id, 1, &page[1].ID, 2, now)
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Equal(t, 3, total)
	require.Equal(t, "first", page[0].Body)

	again := b.run(t, b.campaign(t)) // the same message to somebody twice is one person who replied
	b.message(t, again, 1, row{user: ann, state: message.Delivered})
	b.exec(t, `INSERT INTO messages (id, run_id, user_id, dedupe_key, seq, channel, state, created_at, accepted_at, updated_at)
		VALUES (uuid_v7($1), $2, $3, 'event/2', 2, 'whatsapp', 'accepted', $1, $1, $1)`, noon, again, ann)
	s, err = b.CampaignSummary(ctx, 2, 0, now)
	require.NoError(t, err)
	require.Equal(t, report.Replies{People: 1, Messages: 2}, s.Replies)
}

func TestWaitsOfASummary(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.campaign(t)
	run := b.run(t, id)
	for seq := 1; seq <= 4; seq++ {
		b.message(t, run, seq, row{state: message.Pending, reason: map[bool]string{true: "quiet_hours"}[seq <= 3]})
	}
	b.exec(t, `UPDATE messages SET waits_until = $1::timestamptz + seq * interval '1 hour' WHERE reason <> ''`, noon)
	s, err := b.CampaignProgress(ctx, id, 0, noon)
	require.NoError(t, err)
	require.Len(t, s.Waiting, 2)
	require.Equal(t, "quiet_hours", s.Waiting[0].Reason)
	require.Equal(t, 3, s.Waiting[0].Count)
	require.True(t, noon.Add(time.Hour).Equal(*s.Waiting[0].Until))
	require.Equal(t, report.Waiting{Count: 1}, s.Waiting[1])
}

func TestRates(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	idle, err := b.Rates(ctx, noon)
	require.NoError(t, err)
	require.Equal(t, report.Rates{Span: report.RateSpan, At: noon}, idle)

	run := b.run(t, b.campaign(t))
	now := noon.Add(time.Minute)
	b.message(t, run, 1, row{state: message.Delivered, delivered: 2 * time.Second})
	b.message(t, run, 2, row{state: message.Delivered, delivered: 4 * time.Second})
	b.message(t, run, 3, row{state: message.Failed, reason: "provider_error", code: 63016})
	b.message(t, run, 4, row{state: message.Pending, reason: "provider_busy"})
	b.message(t, run, 5, row{state: message.Unknown, reason: "unresolved"})
	b.message(t, run, 6, row{state: message.Undelivered, reason: "provider_error", code: 30003, at: noon.Add(-time.Hour)})
	b.message(t, run, 7, row{state: message.Undelivered, reason: "provider_error", code: 30005, at: noon.Add(-25 * time.Hour)})
	b.exec(t, `INSERT INTO receipts (provider_sid, status, payload, received_at) VALUES ('SM1', 'sent', '{}', $1), ('SM1', 'delivered', '{}', $1), ('SM0', 'sent', '{}', $2)`,
		noon, noon.Add(-time.Hour))
	b.exec(t, `INSERT INTO outbox (kind, payload, created_at, next_attempt_at) VALUES ('campaign.wake', '{}', $1, $1)`, noon)
	b.inbound(t, 0, "none", "Hello", noon)

	r, err := b.Rates(ctx, now)
	require.NoError(t, err)
	require.Equal(t, []int{2, 2, 2, 1, 1, 1}, []int{r.Accepted, r.Trouble, r.Receipts, r.Inbound, r.Outbox, r.Unknown})
	require.Equal(t, 3*time.Second, r.DeliveryP50)
	require.Equal(t, 3900*time.Millisecond, r.DeliveryP95)
	require.True(t, noon.Equal(*r.OutboxSince))
	require.Equal(t, []report.CodeCount{{Code: 30003, Count: 1, Percentage: 50}, {Code: 63016, Count: 1, Percentage: 50}}, r.Errors, "of the last 24 hours")
}

func TestRetryCount(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.campaign(t)
	run := b.run(t, id)
	b.message(t, run, 1, row{user: b.user(t, "+94770000001", "LK", `{}`, "OPT_IN"), state: message.Failed, reason: "provider_error", code: 30003})
	b.message(t, run, 2, row{user: b.user(t, "+94770000002", "LK", `{}`, "OPT_IN"), state: message.Delivered})
	n, err := b.RetryCount(ctx, id, campaign.Retry{States: []message.State{message.Failed}})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	states, err := b.RetryStates(ctx, id)
	require.NoError(t, err)
	require.Equal(t, report.States{message.Failed: 1}, states, "whoever got it is nobody to retry")
	n, err = b.RetryCount(ctx, id, campaign.Retry{States: []message.State{message.Failed}, ErrorCodes: []int{1}})
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = b.RetryCount(ctx, id, campaign.Retry{States: []message.State{message.Delivered}})
	require.True(t, fault.Is(err, fault.Invalid))
}
