package campaign_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
)

func TestMove(t *testing.T) {
	t.Parallel()
	allowed := map[campaign.Status][]campaign.Status{
		campaign.Draft:     {campaign.Scheduled, campaign.Running},
		campaign.Scheduled: {campaign.Running, campaign.Paused, campaign.Cancelled, campaign.Failed},
		campaign.Running:   {campaign.Paused, campaign.Completed, campaign.Cancelled, campaign.Failed},
		campaign.Paused:    {campaign.Running, campaign.Scheduled, campaign.Cancelled, campaign.Failed},
	}
	for _, from := range campaign.Statuses() {
		for _, to := range campaign.Statuses() {
			err := from.Move(to)
			if slices.Contains(allowed[from], to) {
				require.NoError(t, err, "%s to %s", from, to)
			} else {
				require.True(t, fault.Is(err, fault.Conflict), "%s to %s", from, to)
			}
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	var active, sending []campaign.Status
	for _, s := range campaign.Statuses() {
		if s.Active() {
			active = append(active, s)
		}
		if s.MaySend() {
			sending = append(sending, s)
		}
	}
	require.Equal(t, []campaign.Status{campaign.Scheduled, campaign.Running, campaign.Paused}, active)
	require.Equal(t, []campaign.Status{campaign.Scheduled, campaign.Running, campaign.Completed}, sending)
}

func TestWorkflowID(t *testing.T) {
	t.Parallel()
	require.Equal(t, "campaign/7/run/2", campaign.WorkflowID(7, 2))
}
