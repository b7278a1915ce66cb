// Package outbox names what must happen in Temporal because of a change in PostgreSQL. An item is written in the
// change's transaction and relayed after its commit, at least once; the ids of workflows make that harmless.
package outbox

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
)

// Kind says what an item asks for.
type Kind string

// The kinds of items, each with the type of its payload.
const (
	StartCampaign   Kind = "campaign.start"   // Run
	WakeCampaign    Kind = "campaign.wake"    // Run: something it waits for may have changed
	StartRecipient  Kind = "recipient.start"  // Recipient: of a message that no batch holds
	SignalRecipient Kind = "recipient.signal" // Recipient: its ledger row changed
	StartImport     Kind = "import.start"     // Import
	SyncRecurrence  Kind = "campaign.recur"   // Recurrence: its schedule in Temporal may have to be made, changed or removed
	StartErasure    Kind = "erasure.start"    // Erasure
	StartApproval   Kind = "template.approve" // Template: it has to be submitted, or looked at
	SyncTemplates   Kind = "templates.sync"   // Sync
	StartEnrolment  Kind = "enrolment.start"  // Enrolment
	WakeEnrolment   Kind = "enrolment.wake"   // Enrolment: it has ended, or what it waits for may have changed
)

// Run names a run of a campaign.
type Run struct {
	RunID      int64 `json:"run_id"`
	CampaignID int64 `json:"campaign_id"`
	Number     int   `json:"number"`
}

// Recipient names one message of a run.
type Recipient struct {
	Run
	Seq int `json:"seq"`
}

// Enrolment names one person's way through the steps of a run.
type Enrolment struct {
	Run
	EnrolmentID int64 `json:"enrolment_id"`
}

// Import names a bulk import of users.
type Import struct {
	ImportID uuid.UUID `json:"import_id"`
}

// Recurrence names a campaign that recurs.
type Recurrence struct {
	CampaignID int64 `json:"campaign_id"`
}

// Erasure names the erasure of a person.
type Erasure struct {
	ErasureID uuid.UUID `json:"erasure_id"`
}

// Template names what a version of a template says in one language.
type Template struct {
	TemplateID int64  `json:"template_id"`
	Version    int    `json:"version"`
	Locale     string `json:"locale"`
}

// SyncID is the id of the workflow that looks at all of the provider's templates; there is one at a time.
const SyncID = "templates/sync"

// Sync asks for a look at all of the provider's templates. It names nothing: there is one at a time.
type Sync struct{}

// Item is one entry of the outbox.
type Item struct {
	ID       int64
	Kind     Kind
	Payload  json.RawMessage
	Attempts int // failed deliveries so far
}

// Decode reads the payload of an item as T.
func Decode[T any](item Item) (T, error) {
	var v T
	if err := json.Unmarshal(item.Payload, &v); err != nil {
		return v, fmt.Errorf("outbox item %d (%s): %w", item.ID, item.Kind, err)
	}
	return v, nil
}
