package segment

import (
	"encoding/json"
	"time"
)

// Saved is a definition that an operator keeps under a name.
type Saved struct {
	ID         int64
	Name       string
	Definition json.RawMessage // as written; Parse reads it
	CreatedAt  time.Time
	UpdatedAt  time.Time
}
