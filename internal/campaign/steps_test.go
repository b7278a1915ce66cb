package campaign_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
)

func TestCheckSteps(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	valid := func() campaign.Campaign {
		return campaign.Campaign{
			Topic: "Welcome", TemplateID: 1, RatePerSecond: 10, Timezone: "UTC", Trigger: campaign.OnEvent, TriggerName: "signed.up",
			Steps:  []campaign.Step{{TemplateID: 1}, {TemplateID: 2, Wait: campaign.MaxWait}},
			ExitOn: campaign.ExitOn{Reply: true, Read: true},
		}
	}
	require.NoError(t, valid().Check(now))
	require.True(t, valid().Drip())
	segment := int64(3)
	for want, change := range map[string]func(*campaign.Campaign){
		"exit_on: ends a sequence": func(c *campaign.Campaign) { c.Steps = nil },
		"exit_on: ends":            func(c *campaign.Campaign) { c.Steps, c.ExitOn = nil, campaign.ExitOn{SegmentID: &segment} },
		"steps: are taken by whoever": func(c *campaign.Campaign) {
			c.Trigger, c.TriggerName, c.SegmentID = campaign.ByOperator, "", &segment
		},
		"steps: are taken by":                  func(c *campaign.Campaign) { c.Trigger, c.TriggerName = campaign.OnInvitation, "" },
		"steps: must be at most 20":            func(c *campaign.Campaign) { c.Steps = append(c.Steps, make([]campaign.Step, 19)...) },
		"steps[1].template_id: must name":      func(c *campaign.Campaign) { c.Steps[1].TemplateID = 0 },
		"steps[1].wait_seconds: must be":       func(c *campaign.Campaign) { c.Steps[1].Wait += time.Second },
		"steps[0].wait_seconds: must be":       func(c *campaign.Campaign) { c.Steps[0].Wait = -time.Second },
		"template_id: must be that of the fir": func(c *campaign.Campaign) { c.TemplateID = 2 },
	} {
		c := valid()
		change(&c)
		require.ErrorContains(t, c.Check(now), want)
	}
	other := valid()
	other.Steps[1].Wait, other.ExitOn.Reply = time.Hour, false
	require.Equal(t, []string{"steps", "exit_on"}, valid().Changes(other))
}
