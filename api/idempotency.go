package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

type idempotencyStore interface {
	// InTx runs f in a transaction that all store methods called with f's context take part in.
	InTx(ctx context.Context, f func(ctx context.Context) error) error
	// LockIdempotencyKey keeps the key until the transaction ends; false when another one holds it.
	LockIdempotencyKey(ctx context.Context, principal, key string) (bool, error)
	// IdempotentAnswer finds what the key was answered since then; fault.NotFound when it was not.
	IdempotentAnswer(ctx context.Context, principal, key string, since time.Time) (access.Answer, error)
	// SaveIdempotentAnswer also forgets some answers from before since.
	SaveIdempotentAnswer(ctx context.Context, principal, key string, answer access.Answer, now, since time.Time) error
}

// idempotencyPeriod is how long an answer is kept.
const idempotencyPeriod = 24 * time.Hour

// errNotKept rolls back a request that was refused; its answer is already in the recorder.
var errNotKept = errors.New("the answer is not kept")

// once gives a POST with an Idempotency-Key the same answer each time. The answer is stored in the transaction of the
// request's effect and leaves after its commit, so that one never exists without the other.
func (s *server) once(c *gin.Context) {
	key := c.GetHeader("Idempotency-Key")
	if c.Request.Method != http.MethodPost || key == "" {
		return
	}
	if op := s.operations[c.Request.Method+" "+c.FullPath()]; !op.repeatable {
		s.fail(c, refuse(http.StatusBadRequest, "Idempotency-Key: is not taken here: the answer holds a secret, which is not kept",
			fault.Field{Name: "Idempotency-Key", Detail: "is not taken here: the answer holds a secret, which is not kept"}))
		return
	}
	sum, release, err := hashRequest(c.Request)
	defer release()
	if err != nil {
		s.fail(c, err)
		return
	}
	direct := c.Writer
	rec := &recorder{ResponseWriter: direct, status: http.StatusOK}
	request := c.Request
	err = s.Store.InTx(request.Context(), func(ctx context.Context) error {
		c.Request, c.Writer = request.WithContext(ctx), rec
		defer func() { c.Request, c.Writer = request, direct }() // after a panic as well: what answers it must not be recorded
		return s.answerOnce(ctx, c, rec, key, sum)
	})
	c.Abort()
	if err != nil && !errors.Is(err, errNotKept) {
		s.fail(c, err)
		return
	}
	rec.flush()
}

func (s *server) answerOnce(ctx context.Context, c *gin.Context, rec *recorder, key string, sum []byte) error {
	now, principal := s.Now(), principalOf(ctx).Name
	locked, err := s.Store.LockIdempotencyKey(ctx, principal, key)
	if err != nil {
		return err
	}
	if !locked {
		return refuse(http.StatusConflict, "the first request with this Idempotency-Key is still under way")
	}
	since := now.Add(-idempotencyPeriod)
	known, err := s.Store.IdempotentAnswer(ctx, principal, key, since)
	switch {
	case isNotFound(err):
	case err != nil:
		return err
	case subtle.ConstantTimeCompare(known.RequestSHA256, sum) != 1:
		return refuse(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request")
	default:
		rec.Header().Set("Content-Type", known.Type)
		rec.Header().Set("Idempotent-Replayed", "true")
		rec.status = known.Status
		rec.body.Write(known.Body)
		return nil
	}
	c.Next()
	if rec.status >= http.StatusBadRequest {
		return errNotKept
	}
	return s.Store.SaveIdempotentAnswer(ctx, principal, key, access.Answer{
		RequestSHA256: sum, Status: rec.status, Type: rec.Header().Get("Content-Type"), Body: rec.body.Bytes(),
	}, now, since)
}

// recorder holds an answer back until it is known to be true.
type recorder struct {
	gin.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int)               { r.status = status }
func (r *recorder) WriteHeaderNow()                      {}
func (r *recorder) Write(b []byte) (int, error)          { return r.body.Write(b) }
func (r *recorder) WriteString(text string) (int, error) { return r.body.WriteString(text) }
func (r *recorder) Status() int                          { return r.status }
func (r *recorder) Size() int                            { return r.body.Len() }
func (r *recorder) Written() bool                        { return r.body.Len() > 0 }
func (r *recorder) Flush()                               {}

func (r *recorder) flush() {
	r.ResponseWriter.WriteHeader(r.status)
	_, _ = r.ResponseWriter.Write(r.body.Bytes()) // the caller may be gone; the effect stands
}

// hashRequest identifies what a request asks for, and leaves its body to be read. An upload is spooled to a file,
// which release removes. Two uploads of the same parts are the same whatever their boundary.
func hashRequest(r *http.Request) (sum []byte, release func(), err error) {
	h := sha256.New()
	frame(h, []byte(r.Method), []byte(r.URL.Path), []byte(r.URL.RawQuery))
	kind, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != typeMultipart {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, func() {}, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		frame(h, body)
		return h.Sum(nil), func() {}, nil
	}
	spool, err := os.CreateTemp("", "ese-upload-*")
	if err != nil {
		return nil, func() {}, fmt.Errorf("upload spool: %w", err)
	}
	release = func() {
		_ = spool.Close()
		_ = os.Remove(spool.Name())
	}
	if _, err := io.Copy(spool, r.Body); err != nil {
		return nil, release, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return nil, release, fmt.Errorf("upload spool: %w", err)
	}
	if err := hashParts(h, multipart.NewReader(spool, parameters["boundary"])); err != nil {
		return nil, release, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return nil, release, fmt.Errorf("upload spool: %w", err)
	}
	r.Body = io.NopCloser(spool)
	return h.Sum(nil), release, nil
}

func hashParts(h hash.Hash, parts *multipart.Reader) error {
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return refuse(http.StatusBadRequest, "the multipart body cannot be read")
		}
		content := sha256.New()
		if _, err := io.Copy(content, part); err != nil {
			return refuse(http.StatusBadRequest, "the multipart body cannot be read")
		}
		frame(h, []byte(part.FormName()), []byte(part.FileName()), content.Sum(nil))
	}
}

// frame writes values so that no two lists of values give the same bytes.
func frame(h hash.Hash, values ...[]byte) {
	for _, v := range values {
		_ = binary.Write(h, binary.BigEndian, uint64(len(v))) // a hash never fails
		_, _ = h.Write(v)
	}
}
