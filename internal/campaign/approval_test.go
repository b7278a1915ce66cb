package campaign_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
)

func TestApproval(t *testing.T) {
	t.Parallel()
	before, after := now.Add(-time.Hour), now.Add(time.Hour)
	given := campaign.Approval{At: now, TemplateVersion: 2}
	require.NoError(t, given.Check(2, time.Time{}))
	require.NoError(t, given.Check(2, before))
	for want, err := range map[string]error{
		"nobody approved":                             campaign.Approval{}.Check(2, time.Time{}),
		"the template was changed":                    given.Check(3, time.Time{}),
		"a segment or the text of a step was changed": given.Check(2, after),
		"approved again before it i":                  given.Check(3, after),
	} {
		require.True(t, fault.Is(err, fault.Conflict), want)
		require.ErrorContains(t, err, want)
	}
}

func TestMayApprove(t *testing.T) {
	t.Parallel()
	c := plan()
	c.CreatedBy, c.ChangedBy = "key:1", "key:2"
	require.NoError(t, c.MayApprove("key:3"))
	require.True(t, fault.Is(c.MayApprove("key:1"), fault.Forbidden))
	require.True(t, fault.Is(c.MayApprove("key:2"), fault.Forbidden))
	c.Status = campaign.Scheduled
	require.True(t, fault.Is(c.MayApprove("key:3"), fault.Conflict))
}
