package campaign

import (
	"time"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Approval is that somebody agreed to a plan as it stood. The zero value is that nobody did.
type Approval struct {
	At              time.Time // zero: nobody did
	TemplateVersion int       // what the template said then
}

// Check gives a Conflict unless the approval covers what would be sent now: the template's version, and the segments and texts of
// steps that the campaign depends on, of which the last was changed at that moment; zero when there are none.
func (a Approval) Check(templateVersion int, partChanged time.Time) error {
	const again = "it has to be approved again before it is triggered (POST /api/v1/campaigns/{id}/approve)"
	switch {
	case a.At.IsZero():
		return fault.New(fault.Conflict, "nobody approved the campaign as it stands: somebody other than who made or changed it has to (POST /api/v1/campaigns/{id}/approve)")
	case a.TemplateVersion != templateVersion:
		return fault.New(fault.Conflict, "the template was changed after the campaign was approved: %s", again)
	case partChanged.After(a.At):
		return fault.New(fault.Conflict, "a segment or the text of a step was changed after the campaign was approved: %s", again)
	default:
		return nil
	}
}

// MayApprove refuses the approval of a plan that is not a draft any more, and that of whoever made the plan or changed it
// last.
func (c Campaign) MayApprove(by string) error {
	switch {
	case c.Status != Draft:
		return fault.New(fault.Conflict, "a campaign that is %s was triggered already: only a DRAFT is approved", c.Status)
	case by == c.CreatedBy:
		return fault.New(fault.Forbidden, "who made the campaign cannot approve it: it takes somebody else")
	case by == c.ChangedBy:
		return fault.New(fault.Forbidden, "who changed the campaign last cannot approve it: it takes somebody else")
	default:
		return nil
	}
}
