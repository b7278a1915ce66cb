package ui

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/user"
)

// SuppressionImport tells what came of an imported list.
type SuppressionImport struct {
	Total, Added, Known, Failed int
	Errors                      []intake.RowError // the first ones
}

type suppressionsBody struct {
	Entries []suppression.Entry
	Pager   pager
	Number  string // the filter
	Problem string // with it
	Lifted  bool
	Form    *form
	Upload  *form
	Result  *SuppressionImport // of a list that was just imported
	Reasons []suppression.Reason
	Topics  []user.Topic
}

var suppressionReasons = []suppression.Reason{
	suppression.Complaint, suppression.DoNotContact, suppression.InvalidNumber, suppression.Legal, suppression.Other,
}

func (u *UI) suppressions(c *gin.Context) error {
	return u.listSuppressions(c, http.StatusOK, suppressionsBody{Form: newForm("scope", string(suppression.Global)), Upload: newForm()})
}

// mostTopics bounds the topics offered as a scope.
const mostTopics = 200

func (u *UI) listSuppressions(c *gin.Context, status int, body suppressionsBody) error {
	ctx := c.Request.Context()
	before, err := after(c)
	if err != nil {
		return err
	}
	body.Number, body.Lifted, body.Reasons = strings.TrimSpace(c.Query("number")), c.Query("lifted") != "", suppressionReasons
	filter := suppression.Filter{WithLifted: body.Lifted}
	if body.Number != "" {
		if filter.Phone, err = phone.Parse(body.Number, u.DefaultRegion); err != nil {
			status, body.Problem, _ = u.Explain(ctx, err)
		}
	}
	if body.Problem == "" {
		entries, total, err := u.Store.Suppressions(ctx, filter, before, listSize+1)
		if err != nil {
			return err
		}
		body.Entries, body.Pager = paginate(c, entries, int(total), func(e suppression.Entry) int64 { return e.ID })
	}
	if body.Topics, err = u.Store.Topics(ctx, nil, mostTopics); err != nil {
		return err
	}
	return u.renderSetting(c, status, "suppressions", "Suppression list", body)
}

func (u *UI) addSuppression(c *gin.Context) error {
	f, err := readForm(c)
	if err == nil {
		var n suppression.New
		if n, err = u.suppressionOf(f); err == nil {
			flash(c, "The number is suppressed. What waited to be sent to it is withdrawn.")
			err = u.submit(c, f, func(ctx context.Context) (string, error) {
				added, err := u.Store.AddSuppressions(ctx, []suppression.New{n}, suppression.FromAPI, u.principal(c.Request), u.Now())
				if err == nil && len(added) == 0 {
					err = fault.New(fault.Conflict, "this number is suppressed for this scope already")
				}
				return "/settings/suppressions", err
			})
		}
	}
	return u.refused(c, f, err, func(status int) error {
		return u.listSuppressions(c, status, suppressionsBody{Form: f, Upload: newForm()})
	})
}

func (u *UI) suppressionOf(f *form) (n suppression.New, err error) {
	n.Phone, err = phone.Parse(f.Get("phone_number"), u.DefaultRegion)
	refused := fieldsOf(err)
	n.Scope, err = suppression.ParseScope("scope", f.Get("scope"))
	refused = append(refused, fieldsOf(err)...)
	n.Reason, err = suppression.ParseReason("reason", f.Get("reason"))
	refused = append(refused, fieldsOf(err)...)
	if n.Evidence = f.Get("evidence"); len([]rune(n.Evidence)) > maxEvidence {
		refused = append(refused, fault.Field{Name: "evidence", Detail: fmt.Sprintf("must have at most %d characters", maxEvidence)})
	}
	return n, fault.Fields(refused...)
}

func (u *UI) importSuppressions(c *gin.Context) error {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, u.MaxUploadBytes)
	upload, err := c.Request.MultipartReader()
	if err != nil {
		return fault.Refuse("file", "must be sent as a file")
	}
	body := suppressionsBody{Form: newForm("scope", string(suppression.Global)), Upload: newForm()}
	result, err := u.ImportSuppressions(c.Request.Context(), upload)
	status := http.StatusOK
	if err != nil {
		if status, err = u.refuse(c, body.Upload, err); err != nil {
			return err
		}
	} else {
		body.Result = &result
	}
	return u.listSuppressions(c, status, body)
}

type liftBody struct {
	suppression.Entry
	Form *form
}

func (u *UI) confirmLift(c *gin.Context) error { return u.showLift(c, http.StatusOK, newForm()) }

func (u *UI) showLift(c *gin.Context, status int, f *form) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	next := id + 1
	entries, _, err := u.Store.Suppressions(c.Request.Context(), suppression.Filter{WithLifted: true}, &next, 1)
	if err != nil {
		return err
	}
	if len(entries) == 0 || entries[0].ID != id {
		return fault.New(fault.NotFound, "this entry does not exist")
	}
	return u.renderSetting(c, status, "lift", "Lift a suppression", liftBody{entries[0], f})
}

func (u *UI) liftSuppression(c *gin.Context) error {
	id, f, err := readFormOf(c)
	if err == nil {
		evidence := f.Get("evidence")
		if n := len([]rune(evidence)); n == 0 || n > maxEvidence {
			err = fault.Refuse("evidence", "must have 1 to %d characters", maxEvidence)
		} else {
			flash(c, "The suppression is lifted.")
			err = u.submit(c, f, func(ctx context.Context) (string, error) {
				_, err := u.Store.LiftSuppression(ctx, id, evidence, u.principal(c.Request), u.Now())
				return "/settings/suppressions", err
			})
		}
	}
	return u.refused(c, f, err, func(status int) error { return u.showLift(c, status, f) })
}
