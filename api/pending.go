package api

import (
	"github.com/event-stream-engine/ese/api/internal/openapi"
)

// Placeholders until each noun's own file declares them. Delete a line with the file that replaces it.

// pendingHandlers answers for the operations that no file implements yet.
type pendingHandlers struct{ openapi.StrictServerInterface }
