package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestStartTest(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.campaign(t)
	b.exec(t, `UPDATE account_limits SET pair_interval_seconds = 0`)
	b.people(t, 2, "OPT_IN", "LK", "Asia/Colombo")
	b.people(t, 1, "PENDING", "LK", "Asia/Colombo")
	numbers := []phone.Number{"+94771000002", "+94771000003", "+94771000001"}
	try := func() (ledger.Run, []ledger.Enlisted) {
		t.Helper()
		run, enlisted, err := b.StartTest(ctx, id, numbers, user.Attributes{"city": "Galle"}, "tester", noon)
		require.NoError(t, err)
		return b.load(t, run.ID), enlisted
	}
	_, _, err := b.StartTest(ctx, id, numbers, nil, "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict), "no sender")
	b.sender(t)

	run, enlisted := try()
	require.Equal(t, []string{"1 pending ", "2 suppressed no_consent", "3 pending rate_limit"}, shown(enlisted))
	require.Equal(t, []string{"recipient.start 1", "recipient.start 3", "campaign.start"}, b.outbox(t))
	require.Equal(t, campaign.ByTest, run.Kind)
	require.Equal(t, 3, run.AudienceSize)
	require.Equal(t, campaign.Draft, b.status(t, id))
	require.Equal(t, "Galle", b.delivery(t, run, 1).Attributes["city"])
	b.accepted(t, run, 1)
	require.Equal(t, "accepted", b.stands(t, run, 1), "a draft's test is sent")

	_, _, err = b.StartTest(ctx, id, []phone.Number{"+94771000001", "+94771999999"}, nil, "tester", noon)
	require.ErrorContains(t, err, "phone_numbers[1]")
	_, _, err = b.StartTest(ctx, 99, numbers, nil, "tester", noon)
	require.True(t, fault.Is(err, fault.NotFound))

	// The campaign itself knows nothing of it.
	c, err := b.Campaign(ctx, id)
	require.NoError(t, err)
	require.Nil(t, c.Run)
	whole, err := b.StartRun(ctx, id, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, 2, whole.Number)
	require.NoError(t, b.Freeze(ctx, b.load(t, whole.ID), noon))
	second, _ := try()
	sum, err := b.CampaignSummary(ctx, id, 0, noon)
	require.NoError(t, err)
	require.Equal(t, 2, sum.Campaign.Run.Number)
	require.Equal(t, 3, sum.States.Total())

	// Nor does it wait for it, or end with it.
	_, err = b.Steer(ctx, id, campaign.Paused, "tester", "", noon.Add(time.Hour))
	require.NoError(t, err)
	_, attempt, begun := b.begin(t, second, 1, noon, time.Second)
	require.Equal(t, ledger.BegunNow, begun)
	require.NoError(t, b.Accept(ctx, attempt.ID, "SMx", 201, noon))
	require.NoError(t, b.FinishRun(ctx, run, noon))
	require.NotNil(t, b.load(t, run.ID).FinishedAt)
	require.Equal(t, campaign.Paused, b.status(t, id))
	_, err = b.Steer(ctx, id, campaign.Running, "tester", "", noon)
	require.NoError(t, err)
	require.NoError(t, b.FinishRun(ctx, second, noon))
	require.Equal(t, campaign.Running, b.status(t, id))

	_, err = b.Steer(ctx, id, campaign.Cancelled, "tester", "", noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "cancelled campaign_cancelled", b.stands(t, second, 3), "what is cancelled sends nothing more")
	require.NoError(t, b.FinishRun(ctx, b.load(t, whole.ID), noon))
	_, enlisted = try()
	require.Equal(t, message.Pending, enlisted[0].State)
	retried, err := b.RetryRun(ctx, id, campaign.Retry{States: []message.State{message.Cancelled}}, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, 2, retried.AudienceSize, "whom a test reached since is still to be sent to")
	require.NoError(t, b.Freeze(ctx, b.load(t, retried.ID), noon))
	require.Equal(t, 2, b.load(t, retried.ID).AudienceSize)
}
