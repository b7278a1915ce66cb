package render

import (
	"time"

	"github.com/event-stream-engine/ese/internal/message"
)

// Saved is a template that an operator keeps under a name, in its newest version.
type Saved struct {
	ID        int64
	Name      string
	Content   string // Parse reads it
	Variables []string
	Channel   message.Channel
	Locale    string
	Version   int // counts the changes of Content, from 1; a version never changes
	CreatedAt time.Time
	UpdatedAt time.Time
}
