package api

import (
	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/api/internal/openapi"
)

// Placeholders until each noun's own file declares them. Delete a line with the file that replaces it.

type campaignStore interface{}
type reportStore interface{}
type monitoringStore interface{}
type webhookStore interface{}

func (s *server) inboundWebhook(*gin.Context) {}
func (s *server) statusWebhook(*gin.Context)  {}

type userStore interface{}
type importStore interface{}
type segmentStore interface{}
type templateStore interface{}

// pendingHandlers answers for the operations that no file implements yet.
type pendingHandlers struct{ openapi.StrictServerInterface }
