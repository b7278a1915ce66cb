package campaign_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

func TestRetryCheck(t *testing.T) {
	t.Parallel()
	for _, state := range message.States() {
		err := campaign.Retry{States: []message.State{message.Failed, state}}.Check()
		switch state {
		case message.Failed, message.Undelivered, message.Cancelled, message.Suppressed:
			require.NoError(t, err, state)
		case message.Unknown:
			require.ErrorContains(t, err, "decide")
		default:
			require.True(t, fault.Is(err, fault.Invalid), state)
		}
	}
	require.True(t, fault.Is(campaign.Retry{}.Check(), fault.Invalid))
	require.True(t, fault.Is(campaign.Retry{States: []message.State{"lost"}}.Check(), fault.Invalid))
	require.True(t, fault.Is(campaign.Retry{States: []message.State{message.Failed}, ErrorCodes: make([]int, campaign.MaxErrorCodes+1)}.Check(), fault.Invalid))
}

func TestRetryOfACampaign(t *testing.T) {
	t.Parallel()
	for _, s := range campaign.Statuses() {
		to, err := s.Retry()
		switch s {
		case campaign.Completed, campaign.Cancelled, campaign.Failed:
			require.NoError(t, err)
			require.Equal(t, campaign.Running, to)
		default:
			require.True(t, fault.Is(err, fault.Conflict), s)
			require.Equal(t, s, to)
		}
	}
}
