package ui

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

type segmentStore interface {
	CreateSegment(ctx context.Context, name string, definition json.RawMessage, now time.Time) (segment.Saved, error)
	Segment(ctx context.Context, id int64) (segment.Saved, error)
	Segments(ctx context.Context, after *int64, atMost int) ([]segment.Saved, error)
	SegmentTotal(ctx context.Context) (int64, error)
	EvaluateSegment(ctx context.Context, expr segment.Expr, sampleSize int, now time.Time) (count, sendable int64, sample []user.User, err error)
}

type templateStore interface {
	CreateTemplate(ctx context.Context, t render.Saved, now time.Time) (render.Saved, error)
	Template(ctx context.Context, id int64) (render.Saved, error)
	Templates(ctx context.Context, after *int64, atMost int) ([]render.Saved, error)
	TemplateTotal(ctx context.Context) (int64, error)
}

// maxName bounds the names of segments and templates, in characters.
const maxName = 100

func checkName(name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > maxName {
		return fault.Refuse("name", "must have 1 to %d characters", maxName)
	}
	return nil
}

type segmentsBody struct {
	Segments []segmentRow
	Pager    pager
	Form     *form
}

type segmentRow struct {
	segment.Saved
	Text string // the definition in words
}

func (u *UI) segments(c *gin.Context) error {
	return u.listSegments(c, http.StatusOK, newForm())
}

func (u *UI) listSegments(c *gin.Context, status int, f *form) error {
	ctx := c.Request.Context()
	key, err := after(c)
	if err != nil {
		return err
	}
	saved, err := u.Store.Segments(ctx, key, listSize+1)
	if err != nil {
		return err
	}
	total, err := u.Store.SegmentTotal(ctx)
	if err != nil {
		return err
	}
	body := segmentsBody{Form: f}
	saved, body.Pager = paginate(c, saved, int(total), func(s segment.Saved) int64 { return s.ID })
	for _, s := range saved {
		body.Segments = append(body.Segments, segmentRow{s, describeSegment(s.Definition)})
	}
	return u.render(c, status, "segments", view{Title: "Segments", Section: "/segments", Body: body})
}

func (u *UI) createSegment(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		definition := json.RawMessage(f.Get("definition_json"))
		refused := fieldsOf(checkName(f.Get("name")))
		expr, err := segment.Parse("definition_json", definition)
		if err == nil && expr.IsZero() {
			err = fault.Refuse("definition_json", "selects nobody")
		}
		if err := fault.Fields(append(refused, fieldsOf(err)...)...); err != nil {
			return "", err
		}
		saved, err := u.Store.CreateSegment(ctx, f.Get("name"), definition, u.Now())
		return fmt.Sprintf("/segments/%d", saved.ID), err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.listSegments(c, status, f)
}

// sampleSize is how many people a segment's page shows.
const sampleSize = 10

type segmentBody struct {
	segmentRow
	Count    int64
	Sendable int64
	Sample   []user.User
}

func (u *UI) showSegment(c *gin.Context) error {
	ctx := c.Request.Context()
	id, err := pathID(c)
	if err != nil {
		return err
	}
	saved, err := u.Store.Segment(ctx, id)
	if err != nil {
		return err
	}
	expr, err := segment.Parse("definition_json", saved.Definition)
	if err != nil {
		return err
	}
	body := segmentBody{segmentRow: segmentRow{saved, segment.Describe(expr)}}
	if body.Count, body.Sendable, body.Sample, err = u.Store.EvaluateSegment(ctx, expr, sampleSize, u.Now()); err != nil {
		return err
	}
	return u.render(c, http.StatusOK, "segment", view{Title: saved.Name, Section: "/segments", Body: body})
}

type templatesBody struct {
	Templates []render.Saved
	Pager     pager
	Form      *form
	Channels  []message.Channel

	Categories []render.Category
}

const defaultLocale = "en_US"

func (u *UI) templates(c *gin.Context) error {
	return u.listTemplates(c, http.StatusOK, newForm("channel", string(message.WhatsApp), "locale", defaultLocale, "category", string(render.Marketing)))
}

func (u *UI) listTemplates(c *gin.Context, status int, f *form) error {
	ctx := c.Request.Context()
	key, err := after(c)
	if err != nil {
		return err
	}
	saved, err := u.Store.Templates(ctx, key, listSize+1)
	if err != nil {
		return err
	}
	total, err := u.Store.TemplateTotal(ctx)
	if err != nil {
		return err
	}
	body := templatesBody{Form: f, Channels: []message.Channel{message.WhatsApp, message.SMS}, Categories: render.Categories()}
	body.Templates, body.Pager = paginate(c, saved, int(total), func(t render.Saved) int64 { return t.ID })
	return u.render(c, status, "templates", view{Title: "Templates", Section: "/templates", Body: body})
}

func (u *UI) createTemplate(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		t, err := readTemplate(f)
		if err == nil && u.RequireOptOut {
			err = t.CheckOptOut()
		}
		if err != nil {
			return "", err
		}
		_, err = u.Store.CreateTemplate(ctx, t, u.Now())
		return "/templates", err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.listTemplates(c, status, f)
}

var localeForm = regexp.MustCompile(`^[a-z]{2,3}([_-][A-Za-z0-9]{2,8})*$`)

const maxLocale = 20 // characters

func readTemplate(f *form) (render.Saved, error) {
	t := render.Saved{
		Name: f.Get("name"), Content: f.Get("content"), Channel: message.Channel(f.Get("channel")),
		Locale: cmp.Or(f.Get("locale"), defaultLocale), Category: render.Category(f.Get("category")),
	}.Complete()
	refused := fieldsOf(checkName(t.Name))
	if len(t.Locale) > maxLocale || !localeForm.MatchString(t.Locale) {
		refused = append(refused, fault.Field{Name: "locale", Detail: "must be a language such as en or en_US"})
	}
	if t.Channel != message.WhatsApp && t.Channel != message.SMS {
		_, err := render.Parse(t.Content)
		refused = append(append(refused, fieldsOf(err)...), fault.Field{Name: "channel", Detail: "must be whatsapp or sms"})
	} else {
		refused = append(refused, fieldsOf(t.Check())...)
	}
	t.Variables = t.Variants[0].Variables
	return t, fault.Fields(refused...)
}
