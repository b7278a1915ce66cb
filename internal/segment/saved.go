package segment

import (
	"encoding/json"
	"time"
)

// Kind says how a saved segment selects.
type Kind string

// The kinds.
const (
	Dynamic Kind = "dynamic" // whoever its definition is true of, at any moment
	Static  Kind = "static"  // whoever was put into it
)

// Saved is a definition that an operator keeps under a name.
type Saved struct {
	ID         int64
	Name       string
	Kind       Kind
	Definition json.RawMessage // as written; Parse reads it. A static segment's is its own Membership
	CreatedAt  time.Time
	UpdatedAt  time.Time
}
