package message

import (
	"encoding/json"

	"github.com/google/uuid"
)

// Report is a status callback: what the provider says of one attempt.
type Report struct {
	AttemptID *uuid.UUID // from the callback's URL; nil when it named none
	SID       string
	Status    string // the provider's word
	State     State  // what the word means; "" when it says nothing new
	Code      int    // the provider's error code; 0 for none
	Policy    Policy // with a Code: what the engine does about it
	Payload   json.RawMessage
}
