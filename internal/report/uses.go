package report

import "github.com/event-stream-engine/ese/internal/campaign"

// Use is a campaign or a segment that names a segment or a template, which cannot be deleted for as long.
type Use struct {
	Kind   UseKind
	ID     int64
	Name   string
	Status campaign.Status // of a campaign
	As     UsedAs
}

// UseKind says what uses it.
type UseKind string

// The kinds.
const (
	ByCampaign UseKind = "campaign"
	BySegment  UseKind = "segment"
)

// UsedAs says what for.
type UsedAs string

// The purposes.
const (
	AsAudience   UsedAs = "audience"   // the campaign is for its people
	AsExclusion  UsedAs = "exclusion"  // the campaign leaves its people out
	AsExit       UsedAs = "exit"       // being in it ends the campaign's steps for a person
	AsDefinition UsedAs = "definition" // a condition names it
	AsTemplate   UsedAs = "template"   // the campaign sends it
	AsStep       UsedAs = "step"       // the campaign sends it in a later step
)
