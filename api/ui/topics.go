package ui

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/user"
)

type topicsBody struct {
	Topics []user.Topic
	Pager  pager
	Form   *form
}

func (u *UI) topics(c *gin.Context) error { return u.listTopics(c, http.StatusOK, newForm()) }

func (u *UI) listTopics(c *gin.Context, status int, f *form) error {
	ctx := c.Request.Context()
	key, err := after(c)
	if err != nil {
		return err
	}
	topics, err := u.Store.Topics(ctx, key, listSize+1)
	if err != nil {
		return err
	}
	total, err := u.Store.TopicTotal(ctx)
	if err != nil {
		return err
	}
	body := topicsBody{Form: f}
	body.Topics, body.Pager = paginate(c, topics, int(total), func(t user.Topic) int64 { return t.ID })
	return u.renderSetting(c, status, "topics", "Topics", body)
}

// topic is what the form says a topic is to be.
func (f *form) topic(id int64) (user.Topic, error) {
	t := user.Topic{ID: id, Name: f.Get("name"), Keyword: f.Get("keyword"), Description: f.Get("description")}
	return t, t.Check()
}

func (u *UI) createTopic(c *gin.Context) error {
	f, err := readForm(c)
	if err == nil {
		var t user.Topic
		if t, err = f.topic(0); err == nil {
			flash(c, "The topic is saved.")
			err = u.submit(c, f, func(ctx context.Context) (string, error) {
				_, err := u.Store.CreateTopic(ctx, t, u.principal(c.Request), u.Now())
				return "/settings/topics", err
			})
		}
	}
	return u.refused(c, f, err, func(status int) error { return u.listTopics(c, status, f) })
}

type topicBody struct {
	user.Topic
	Subscribers int
	Form        *form
}

func (u *UI) showTopic(c *gin.Context) error { return u.editTopic(c, http.StatusOK, nil) }

func (u *UI) editTopic(c *gin.Context, status int, f *form) error {
	ctx := c.Request.Context()
	id, err := pathID(c)
	if err != nil {
		return err
	}
	t, err := u.Store.Topic(ctx, id)
	if err != nil {
		return err
	}
	_, subscribers, err := u.Store.Subscribers(ctx, id, nil, 1)
	if err != nil {
		return err
	}
	if f == nil {
		f = newForm("name", t.Name, "keyword", t.Keyword, "description", t.Description)
	}
	return u.renderSetting(c, status, "topic", t.Name, topicBody{t, int(subscribers), f})
}

func (u *UI) changeTopic(c *gin.Context) error {
	id, f, err := readFormOf(c)
	if err == nil {
		var t user.Topic
		if t, err = f.topic(id); err == nil {
			flash(c, "The topic is saved.")
			err = u.submit(c, f, func(ctx context.Context) (string, error) {
				_, err := u.Store.UpdateTopic(ctx, t, u.principal(c.Request), u.Now())
				return "/settings/topics", err
			})
		}
	}
	return u.refused(c, f, err, func(status int) error { return u.editTopic(c, status, f) })
}

func (u *UI) deleteTopic(c *gin.Context) error {
	id, f, err := readFormOf(c)
	if err != nil {
		return err
	}
	flash(c, "The topic is deleted.")
	return u.submit(c, f, func(ctx context.Context) (string, error) {
		return "/settings/topics", u.Store.DeleteTopic(ctx, id, u.principal(c.Request), u.Now())
	})
}
