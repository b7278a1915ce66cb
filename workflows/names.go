// Package workflows is the durable clockwork: deterministic code that keeps time and order, while activities decide by
// what the ledger says at the moment. Inputs and results carry ids alone, never personal data.
package workflows

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// TaskQueue is where every workflow and activity of the engine runs.
const TaskQueue = "ese"

// Names that reach a running workflow from outside. They are part of recorded histories.
const (
	SignalWake    = "wake"     // to a Campaign, a Recipient or an Enrolment: what you wait for may have changed; look at the ledger
	UpdatePause   = "pause"    // to a Campaign; takes who asks, answers campaign.Steering
	UpdateResume  = "resume"   // likewise
	UpdateCancel  = "cancel"   // likewise
	UpdateSetRate = "set_rate" // to a Campaign; takes and answers SetRate
	QueryPlan     = "plan"     // to a Campaign; answers activities.Plan
)

// CampaignID is the id of a run's workflow: campaign/<id>/run/<n>.
func CampaignID(r outbox.Run) string { return campaign.WorkflowID(r.CampaignID, r.Number) }

// BatchID is the id of a batch's workflow: campaign/<id>/run/<n>/batch/<b>.
func BatchID(r outbox.Run, batch int) string { return fmt.Sprintf("%s/batch/%d", CampaignID(r), batch) }

// RecipientID is the id of a message's workflow: campaign/<id>/run/<n>/recipient/<seq>.
func RecipientID(r outbox.Recipient) string {
	return fmt.Sprintf("%s/recipient/%d", CampaignID(r.Run), r.Seq)
}

// EnrolmentID is the id of an enrolment's workflow: campaign/<id>/run/<n>/enrolment/<e>.
func EnrolmentID(e outbox.Enrolment) string {
	return fmt.Sprintf("%s/enrolment/%d", CampaignID(e.Run), e.EnrolmentID)
}

// OccurrenceID is the beginning of the id of a workflow that opens a recurring campaign's run: Temporal adds the moment.
func OccurrenceID(campaignID int64) string { return fmt.Sprintf("campaign/%d/occurrence", campaignID) }

// ImportID is the id of an import's workflow: import/<uuid>.
func ImportID(id uuid.UUID) string { return "import/" + id.String() }

// ErasureID is the id of an erasure's workflow: erasure/<uuid>.
func ErasureID(id uuid.UUID) string { return "erasure/" + id.String() }

// RetentionID is the id of the schedule that starts the workflow Retention, and what the ids of those begin with.
const RetentionID = "retention"

// TemplateSyncID is likewise that of the workflow TemplateSync. One that was asked for has the id outbox.SyncID.
const TemplateSyncID = "templates-sync"
