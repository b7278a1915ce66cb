package ui

import (
	"context"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/report"
)

// removal is the page that asks before something is deleted.
type removal struct {
	Noun, Name string
	Title      string // of the list
	Path       string // of what is deleted
	List       string // the list that it is in
	Uses       []report.Use
	Problem    string // why it was refused
	Form       *form
}

// remove deletes what the path names and leads to the list that it was in; again shows the question once more, with what is in
// the way.
func (u *UI) remove(
	c *gin.Context, list, done string, from func(ctx context.Context, id int64, now time.Time) error,
	again func(c *gin.Context, status int, f *form, problem string) error,
) error {
	id, f, err := readFormOf(c)
	if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		flash(c, done)
		return list, from(ctx, id, u.Now())
	})
	if err == nil || !fault.Is(err, fault.Conflict) {
		return err
	}
	return u.refused(c, f, err, func(status int) error { return again(c, status, f, f.Detail) })
}
