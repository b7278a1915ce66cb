package activities

import (
	"context"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/internal/campaign"
)

// Occurrence is a moment at which a campaign recurs, and the recurrence that said so.
type Occurrence struct {
	CampaignID int64               `json:"campaign_id"`
	Recurrence campaign.Recurrence `json:"recurrence"`
	At         time.Time           `json:"at"`
}

// StartOccurrence opens the run of an occurrence, once, unless there is a reason not to. It tells in words what came of it.
func (a *Dispatch) StartOccurrence(ctx context.Context, in Occurrence) (string, error) {
	run, skipped, err := a.Store.StartOccurrence(ctx, in.CampaignID, in.Recurrence, in.At, a.Now())
	if err != nil {
		return "", err
	}
	if skipped != "" {
		a.Log.WarnContext(ctx, "occurrence left out", "campaign_id", in.CampaignID, "occurrence_at", in.At, "reason", skipped)
		return "left out: " + skipped, nil
	}
	return fmt.Sprintf("run %d", run.Number), nil
}
