package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
)

// refusal is an error of HTTP itself, which the domain has no kind for.
type refusal struct {
	status int
	detail string
	fields []fault.Field
}

func (r *refusal) Error() string { return r.detail }

// refuse makes a refusal with a message for the caller.
func refuse(status int, detail string, fields ...fault.Field) error {
	return &refusal{status: status, detail: detail, fields: fields}
}

var statusOfKind = map[fault.Kind]int{
	fault.Invalid:     http.StatusUnprocessableEntity,
	fault.NotFound:    http.StatusNotFound,
	fault.Conflict:    http.StatusConflict,
	fault.Forbidden:   http.StatusForbidden,
	fault.Unavailable: http.StatusServiceUnavailable,
}

// statusClientGone is nginx's word for a caller who did not wait; nobody reads it but our log.
const statusClientGone = 499

// fail answers a request with its error, and logs what only operators may know. It is the only way an error leaves
// the API. After it no other handler runs.
func (s *server) fail(c *gin.Context, err error) {
	p := problemOf(c, err)
	if p.Status >= http.StatusInternalServerError {
		s.Log.LogAttrs(c, slog.LevelError, "request failed", slog.String("route", route(c)),
			slog.String("request_id", requestID(c)), slog.Int("status", p.Status), slog.String("error", err.Error()))
	}
	c.Abort()
	if c.Writer.Written() {
		panic(http.ErrAbortHandler) // too late to tell the caller; a connection that breaks off does
	}
	body, err := json.Marshal(p)
	if err != nil {
		s.Log.Error("problem", "error", err)
	}
	c.Header("Content-Type", "application/problem+json") // in place of what a handler may have set
	c.Data(p.Status, "application/problem+json", body)
}

var ginParameter = regexp.MustCompile(`:(\w+)`)

func problemOf(c *gin.Context, err error) openapi.Problem {
	status, detail, fields := explain(c, err)
	p := openapi.Problem{
		Type:      "about:blank",
		Title:     cmp.Or(http.StatusText(status), "Client Closed Request"),
		Status:    status,
		Detail:    &detail,
		RequestID: ptr(requestID(c)),
	}
	if path := c.FullPath(); path != "" {
		p.Instance = ptr(ginParameter.ReplaceAllString(path, "{$1}")) // the route, not the path: a path may hold a number
	}
	if len(fields) > 0 {
		errs := make([]openapi.FieldError, len(fields))
		for i, f := range fields {
			errs[i] = openapi.FieldError{Field: f.Name, Detail: f.Detail}
		}
		p.Errors = &errs
	}
	return p
}

// explain decides what the caller is told about an error.
func explain(ctx context.Context, err error) (status int, detail string, fields []fault.Field) {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status, r.detail, r.fields
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		if status := statusOfKind[f.Kind]; status != 0 {
			return status, f.Detail, f.Fields
		}
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, "the body is larger than " + sizeText(tooLarge.Limit), nil
	}
	_, network := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return statusClientGone, "the caller went away", nil
	case network, errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF): // of the database: bodies refuse their own
		return http.StatusServiceUnavailable, "a part of the engine does not answer: try again", nil
	default:
		return http.StatusInternalServerError, "an internal error; the logs tell more under the request id", nil
	}
}

func ptr[T any](v T) *T { return &v }

// none is nil for the zero value: the API says null where the domain says "".
func none[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// value is the zero value for nil.
func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
