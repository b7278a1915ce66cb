package ui

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
)

type userStore interface {
	Consents(ctx context.Context) (report.Consents, error)
	CreateUser(ctx context.Context, number phone.Number, attributes user.Attributes, change user.Change, actor string, now time.Time) (user.User, error)
	// Users and UserTotal take "" for any consent and any prefix.
	Users(ctx context.Context, consent user.ConsentState, prefix string, after *int64, atMost int) ([]user.User, error)
	UserTotal(ctx context.Context, consent user.ConsentState, prefix string) (int64, error)
}

type importStore interface {
	Import(ctx context.Context, id uuid.UUID) (intake.Import, error)
	ImportErrors(ctx context.Context, id uuid.UUID, after *int64, atMost int) ([]intake.RowError, error)
}

// consentStates are the states of consent in the order in which pages list them.
var consentStates = []user.ConsentState{user.OptIn, user.Pending, user.OptOut, user.Stop}

type consentCount struct {
	State user.ConsentState
	Count int
	Share float64 // percent of all users
	URL   string  // the list of these users
}

func consentCounts(counts report.Consents) []consentCount {
	out := make([]consentCount, len(consentStates))
	for i, state := range consentStates {
		out[i] = consentCount{
			State: state, Count: counts[state], Share: report.Percent(counts[state], counts.Total()),
			URL: "/users?" + url.Values{"consent_state": {string(state)}}.Encode(),
		}
	}
	return out
}

type usersBody struct {
	Total         int
	Consents      []consentCount
	States        []user.ConsentState
	Consent       user.ConsentState // "" for all
	Query         string
	Users         []user.User
	Pager         pager
	DefaultRegion string
	Form          *form
	Upload        *form
}

func (u *UI) users(c *gin.Context) error {
	return u.listUsers(c, http.StatusOK, newForm("consent_state", string(user.Pending)), newForm())
}

func (u *UI) listUsers(c *gin.Context, status int, add, upload *form) error {
	ctx := c.Request.Context()
	body := usersBody{States: consentStates, DefaultRegion: u.DefaultRegion, Form: add, Upload: upload, Query: strings.TrimSpace(c.Query("q"))}
	var err error
	if body.Consent, err = user.ParseConsent("consent_state", c.Query("consent_state")); err != nil {
		return err
	}
	prefix, err := numberPrefix(body.Query)
	if err != nil {
		return err
	}
	key, err := after(c)
	if err != nil {
		return err
	}
	counts, err := u.Store.Consents(ctx)
	if err != nil {
		return err
	}
	body.Total, body.Consents = counts.Total(), consentCounts(counts)
	total, err := u.Store.UserTotal(ctx, body.Consent, prefix)
	if err != nil {
		return err
	}
	users, err := u.Store.Users(ctx, body.Consent, prefix, key, listSize+1)
	if err != nil {
		return err
	}
	body.Users, body.Pager = paginate(c, users, int(total), func(v user.User) int64 { return v.ID })
	return u.render(c, status, "users", view{Title: "Users", Section: "/users", Body: body})
}

// numberPrefix reads how a number begins, as people write it; "" stays "".
func numberPrefix(text string) (string, error) {
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -.()+", r) {
			return -1
		}
		return r
	}, text)
	if text == "" {
		return "", nil
	}
	if digits == "" || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return "", fault.Refuse("q", "must be the first digits of a number, country code included, such as +9477")
	}
	return "+" + digits, nil
}

func (u *UI) createUser(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		number, err := phone.Parse(f.Get("phone_number"), u.DefaultRegion)
		refused := fieldsOf(err)
		attributes, err := user.ParseAttributes("attributes", json.RawMessage(f.Get("attributes")))
		refused = append(refused, fieldsOf(err)...)
		consent, err := user.ParseConsent("consent_state", f.Get("consent_state"))
		refused = append(refused, fieldsOf(err)...)
		if err := fault.Fields(refused...); err != nil {
			return "", err
		}
		change := user.Change{State: consent, Source: user.SourceAPI, CallerIP: c.RemoteIP()}
		_, err = u.Store.CreateUser(ctx, number, attributes, change, u.Principal(c.Request), u.Now())
		return "/users", err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.listUsers(c, status, f, newForm())
}

// fieldsOf returns the refused fields that err names; none for nil.
func fieldsOf(err error) []fault.Field {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok && len(f.Fields) > 0 {
		return f.Fields
	}
	return []fault.Field{{Detail: err.Error()}}
}

func (u *UI) startImport(c *gin.Context) error {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, u.MaxUploadBytes)
	upload, err := c.Request.MultipartReader()
	if err != nil {
		return fault.Refuse("file", "must be sent as a file")
	}
	id, err := u.Import(c.Request.Context(), upload)
	if err == nil {
		c.Redirect(http.StatusSeeOther, "/imports/"+id.String())
		return nil
	}
	f := newForm()
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.listUsers(c, status, newForm("consent_state", string(user.Pending)), f)
}

type importBody struct {
	intake.Import
	Percent   float64
	PerSecond int           // rows; 0 before the first
	Left      time.Duration // at that rate; 0 when nothing is left
	Errors    []intake.RowError
	Pager     pager
}

func (u *UI) showImport(c *gin.Context) error {
	ctx := c.Request.Context()
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return fault.New(fault.NotFound, "there is nothing at this address")
	}
	key, err := after(c)
	if err != nil {
		return err
	}
	imp, err := u.Store.Import(ctx, id)
	if err != nil {
		return err
	}
	refused, err := u.Store.ImportErrors(ctx, id, key, listSize+1)
	if err != nil {
		return err
	}
	body := importBody{Import: imp, Percent: report.Percent(imp.Processed, imp.Total)}
	perSecond, left := imp.Rate(u.Now())
	body.PerSecond, body.Left = int(perSecond), left.Round(time.Second)
	body.Errors, body.Pager = paginate(c, refused, imp.Failed, func(e intake.RowError) int64 { return int64(e.Line) })
	v := view{Title: "Import", Section: "/users", Body: body}
	if !imp.Status.Over() {
		v.Poll = 2
	}
	return u.render(c, http.StatusOK, "import", v)
}
