package ui

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/privacy"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
)

type personStore interface {
	UserByID(ctx context.Context, id int64) (user.User, error)
	// UpdateUser leaves attributes alone when they are nil.
	UpdateUser(ctx context.Context, number phone.Number, attributes user.Attributes, change user.Change, actor string, now time.Time) (user.User, error)
	ConsentHistory(ctx context.Context, number phone.Number, before *int64, atMost int) ([]user.Event, int64, error)
	// Timeline goes on behind the occurrence at that time and place.
	Timeline(ctx context.Context, userID int64, beforeAt time.Time, beforePlace string, atMost int) ([]report.Occurrence, error)
	TimelineCounts(ctx context.Context, userID int64) (report.PersonCounts, error)
	Topics(ctx context.Context, after *int64, atMost int) ([]user.Topic, error)
	Subscriptions(ctx context.Context, number phone.Number) ([]user.Subscription, error)
	SetSubscription(ctx context.Context, number phone.Number, topicID int64, subscribed bool, change user.Change, actor string, now time.Time) (user.Subscription, error)
	EraseUser(ctx context.Context, number phone.Number, actor string, now time.Time) (privacy.Erasure, error)
}

// personPath is the page of a person. It does not name them.
func personPath(id int64) string { return "/users/" + strconv.FormatInt(id, 10) }

const maxShownConsent = 5 // events; the timeline has them all

type personBody struct {
	user.User
	Name          string
	Path          string
	Export        string // the address of all that is held about them
	States        []user.ConsentState
	Consents      []user.Event // the newest
	ConsentTotal  int64
	Attributes    []attributeRow
	Types         []attributeType
	Subscriptions []user.Subscription
	Topics        []user.Topic
	Counts        report.PersonCounts
	Timeline      []report.Occurrence
	Newest, Older string // addresses of the timeline's parts; "" where there is none

	ConsentForm, AttributesForm, TopicForm *form
}

// personForms are what was entered on a person's page, and refused; nil where nothing was.
type personForms struct {
	consent, attributes, topic *form
	rows                       []attributeRow
}

func (u *UI) person(c *gin.Context) error {
	p, err := u.personOf(c)
	if err != nil {
		return err
	}
	return u.showPerson(c, http.StatusOK, p, personForms{})
}

// personOf finds whom the path names.
func (u *UI) personOf(c *gin.Context) (user.User, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil || id <= 0 {
		return user.User{}, fault.New(fault.NotFound, "there is nothing at this address")
	}
	return u.Store.UserByID(c.Request.Context(), id)
}

func (u *UI) showPerson(c *gin.Context, status int, p user.User, forms personForms) error {
	name, _ := p.Attributes["name"].(string)
	body := personBody{
		User: p, Name: name, Path: personPath(p.ID), States: consentStates, Types: attributeTypes, Attributes: forms.rows,
		Export:      "/api/v1/users/" + url.PathEscape(p.Phone.String()) + "/export",
		ConsentForm: forms.consent, AttributesForm: forms.attributes, TopicForm: forms.topic,
	}
	if body.ConsentForm == nil {
		body.ConsentForm = newForm("consent_state", string(p.Consent))
	}
	if body.TopicForm == nil {
		body.TopicForm = newForm()
	}
	if body.AttributesForm == nil {
		body.AttributesForm = newForm()
		var err error
		if body.Attributes, err = attributeRows(p.Attributes); err != nil {
			return err
		}
	}
	body.AttributesForm.Values.Set("as_of", p.UpdatedAt.UTC().Format(time.RFC3339Nano))
	if err := u.fillPerson(c, &body); err != nil {
		return err
	}
	title := p.Phone.String()
	return u.render(c, status, "person", view{Title: title, Section: "/users", Scripts: []string{"users.js"}, Body: body})
}

func (u *UI) fillPerson(c *gin.Context, body *personBody) (err error) {
	ctx := c.Request.Context()
	if body.Consents, body.ConsentTotal, err = u.Store.ConsentHistory(ctx, body.Phone, nil, maxShownConsent); err != nil {
		return err
	}
	if body.Subscriptions, err = u.Store.Subscriptions(ctx, body.Phone); err != nil {
		return err
	}
	if body.Topics, err = u.Store.Topics(ctx, nil, maxChoices); err != nil {
		return err
	}
	if body.Counts, err = u.Store.TimelineCounts(ctx, body.ID); err != nil {
		return err
	}
	var before time.Time
	if text := c.Query("before"); text != "" {
		if before, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return fault.Refuse("before", "must be a time, as in the address of the older part")
		}
		body.Newest = body.Path
	}
	if body.Timeline, err = u.Store.Timeline(ctx, body.ID, before, c.Query("place"), listSize+1); err != nil {
		return err
	}
	if len(body.Timeline) > listSize {
		body.Timeline = body.Timeline[:listSize]
		last := body.Timeline[listSize-1]
		body.Older = body.Path + "?" + url.Values{"before": {last.At.UTC().Format(time.RFC3339Nano)}, "place": {last.Place}}.Encode() + "#timeline"
	}
	return nil
}

// Bounds of what is said about a decision, in characters; the API has the same.
const (
	maxEvidence = 500
	maxWording  = 2000
)

// readEvidence reads how a decision is known.
func readEvidence(f *form, needed bool) (string, error) {
	evidence := f.Get("evidence")
	switch {
	case needed && evidence == "":
		return "", fault.Refuse("evidence", "must say how this is known: who said it, when, and where that can be seen")
	case utf8.RuneCountInString(evidence) > maxEvidence:
		return "", fault.Refuse("evidence", "is too long: at most %d characters", maxEvidence)
	}
	return evidence, nil
}

// changePerson reads a form about a person, does what it asks for, and shows what was refused on their page.
func (u *UI) changePerson(c *gin.Context, do func(ctx context.Context, f *form, p user.User) error, show func(f *form) personForms) error {
	p, err := u.personOf(c)
	if err != nil {
		return err
	}
	f, err := readForm(c)
	if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) { return personPath(p.ID), do(ctx, f, p) })
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.showPerson(c, status, p, show(f))
}

// changeConsent records a decision that whoever makes it answers for.
func (u *UI) changeConsent(c *gin.Context) error {
	return u.changePerson(c, func(ctx context.Context, f *form, p user.User) error {
		consent, err := user.ParseConsent("consent_state", f.Get("consent_state"))
		refused := fieldsOf(err)
		if err == nil && consent == "" {
			refused = append(refused, fault.Field{Name: "consent_state", Detail: "must be chosen from the list"})
		}
		evidence, err := readEvidence(f, true)
		refused = append(refused, fieldsOf(err)...)
		wording := f.Get("wording")
		if utf8.RuneCountInString(wording) > maxWording {
			refused = append(refused, fault.Field{Name: "wording", Detail: fmt.Sprintf("is too long: at most %d characters", maxWording)})
		}
		if err := fault.Fields(refused...); err != nil {
			return err
		}
		change := user.Change{State: consent, Source: user.SourceOperator, Evidence: evidence, Wording: wording, CallerIP: c.RemoteIP()}
		_, err = u.Store.UpdateUser(ctx, p.Phone, nil, change, u.principal(c.Request), u.Now())
		flash(c, "The decision is recorded.")
		return err
	}, func(f *form) personForms { return personForms{consent: f} })
}

func (u *UI) changeAttributes(c *gin.Context) error {
	var rows []attributeRow
	return u.changePerson(c, func(ctx context.Context, f *form, p user.User) error {
		read, attributes, err := readAttributes(f)
		rows = read
		if err != nil {
			return err
		}
		if f.Get("as_of") != p.UpdatedAt.UTC().Format(time.RFC3339Nano) {
			return fault.New(fault.Conflict, "somebody else changed this person since the page was loaded: what is entered here would undo that")
		}
		_, err = u.Store.UpdateUser(ctx, p.Phone, attributes, user.Change{Source: user.SourceAPI, CallerIP: c.RemoteIP()}, u.principal(c.Request), u.Now())
		flash(c, "The attributes are saved.")
		return err
	}, func(f *form) personForms { return personForms{attributes: f, rows: judged(rows, f)} })
}

func (u *UI) changeSubscription(c *gin.Context) error {
	return u.changePerson(c, func(ctx context.Context, f *form, p user.User) error {
		topic, err := f.id("topic_id")
		refused := fieldsOf(err)
		if err == nil && topic == nil {
			refused = append(refused, fault.Field{Name: "topic_id", Detail: "must be chosen from the list"})
		}
		evidence, err := readEvidence(f, true)
		refused = append(refused, fieldsOf(err)...)
		said := f.Get("subscribed")
		if said != "yes" && said != "no" {
			refused = append(refused, fault.Field{Name: "subscribed", Detail: "must be yes or no"})
		}
		if err := fault.Fields(refused...); err != nil {
			return err
		}
		change := user.Change{Source: user.SourceOperator, Evidence: evidence}
		_, err = u.Store.SetSubscription(ctx, p.Phone, *topic, said == "yes", change, u.principal(c.Request), u.Now())
		flash(c, "The subscription is recorded.")
		return err
	}, func(f *form) personForms { return personForms{topic: f} })
}

const confirmDigits = 4 // of the number, at its end

type eraseBody struct {
	user.User
	Path   string
	Counts report.PersonCounts
	Digits int
	Form   *form
}

func (u *UI) confirmErasure(c *gin.Context) error {
	p, err := u.personOf(c)
	if err != nil {
		return err
	}
	return u.showErasure(c, http.StatusOK, p, newForm())
}

func (u *UI) showErasure(c *gin.Context, status int, p user.User, f *form) error {
	body := eraseBody{User: p, Path: personPath(p.ID), Digits: confirmDigits, Form: f}
	var err error
	if body.Counts, err = u.Store.TimelineCounts(c.Request.Context(), p.ID); err != nil {
		return err
	}
	return u.render(c, status, "erase", view{Title: "Erase a person", Section: "/users", Body: body})
}

func (u *UI) erase(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	p, err := u.personOf(c)
	if fault.Is(err, fault.NotFound) { // the same form, sent again
		p = user.User{}
	} else if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		if p.ID == 0 {
			return "", fault.New(fault.NotFound, "this user does not exist")
		}
		number := p.Phone.String()
		if !strings.HasSuffix(number, f.Get("digits")) || len(f.Get("digits")) != confirmDigits {
			return "", fault.Refuse("digits", "must be the last %d digits of the number", confirmDigits)
		}
		_, err := u.Store.EraseUser(ctx, p.Phone, u.principal(c.Request), u.Now())
		flash(c, "The person is erased. What Twilio holds of them is being removed there.")
		return "/users", err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.showErasure(c, status, p, f)
}
