package api

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
)

// A body must come within bodyGrace, plus the time that it takes at bodyRate. So a large upload may take as long as it
// needs, and nobody holds a connection open by sending next to nothing.
const (
	bodyGrace = 30 * time.Second
	bodyRate  = 16 << 10 // bytes a second
)

func demandPace(c *gin.Context) { paceBody(c.Writer, c.Request, bodyGrace, bodyRate) }

// paceBody has the connection closed to a body that comes too slowly, whether a handler reads it or the server does
// after the answer.
func paceBody(w http.ResponseWriter, r *http.Request, grace time.Duration, rate int64) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	body := &pacedBody{ReadCloser: r.Body, conn: http.NewResponseController(w), due: time.Now().Add(grace), rate: rate}
	body.extend(0)
	r.Body = body
}

// pacedBody tells its own errors from those of everything else that is read.
type pacedBody struct {
	io.ReadCloser
	conn *http.ResponseController
	due  time.Time // when the next bytes must be here
	rate int64
}

func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		_ = b.conn.SetReadDeadline(time.Time{}) // else the server would take the request for abandoned
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = refuse(http.StatusRequestTimeout, "the body comes too slowly")
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = refuse(http.StatusBadRequest, "the body ends early")
	default:
		b.extend(n)
	}
	return n, err
}

// extend gives the time that n bytes have earned. What is no connection has no deadlines.
func (b *pacedBody) extend(n int) {
	b.due = b.due.Add(time.Duration(n) * time.Second / time.Duration(b.rate))
	_ = b.conn.SetReadDeadline(b.due)
}
