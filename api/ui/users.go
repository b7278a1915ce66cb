package ui

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

type userStore interface {
	Consents(ctx context.Context) (report.Consents, error)
	CreateUser(ctx context.Context, number phone.Number, attributes user.Attributes, change user.Change, actor string, now time.Time) (user.User, error)
	// UserByPhone gives fault.NotFound for a number that nobody has.
	UserByPhone(ctx context.Context, number phone.Number) (user.User, error)
	Users(ctx context.Context, f segment.Filter, after *int64, atMost int, now time.Time) ([]user.User, error)
	// UserTotal is exact up to exactUpTo.
	UserTotal(ctx context.Context, f segment.Filter, exactUpTo int64, now time.Time) (total int64, exact bool, err error)
	// Regions lists the countries of people's numbers.
	Regions(ctx context.Context) ([]string, error)
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

const (
	countedExactly = 2_000 // users; of more a list says about how many there are
	maxChoices     = 500   // segments, or topics, to filter by
)

// filterFields are the conditions of the list of users, as the page's address names them.
var filterFields = []string{"q", "consent_state", "segment_id", "topic_id", "region", "created_from", "created_to"}

type usersBody struct {
	Counted  bool // the consents are
	Total    int
	Consents []consentCount
	States   []user.ConsentState
	Segments []segment.Saved
	Topics   []user.Topic
	Regions  []string
	Filter   *form
	Filtered bool
	More     bool // conditions other than those of the search and of consent are set
	Users    []user.User
	Pager    pager
	CSV      string // the addresses of the filtered list in full
	JSONL    string
}

func (u *UI) users(c *gin.Context) error {
	ctx := c.Request.Context()
	body := usersBody{States: consentStates, Filter: newForm()}
	for _, name := range filterFields {
		value := strings.TrimSpace(c.Query(name))
		body.Filter.Values.Set(name, value)
		body.Filtered = body.Filtered || value != ""
		body.More = body.More || value != "" && name != "q" && name != "consent_state"
	}
	key, err := after(c)
	if err != nil {
		return err
	}
	if err := u.filterChoices(ctx, &body); err != nil {
		return err
	}
	status := http.StatusOK
	filter, err := readFilter(body.Filter)
	if err == nil {
		err = u.listUsers(c, &body, filter, key)
	}
	if err != nil {
		if status, err = u.refuse(c, body.Filter, err); err != nil {
			return err
		}
	}
	return u.render(c, status, "users", view{Title: "Users", Section: "/users", Scripts: []string{"users.js"}, Body: body})
}

// filterChoices fills in what there is to filter by, and how many are of each consent as far as that is known soon.
func (u *UI) filterChoices(ctx context.Context, body *usersBody) (err error) {
	counts, counted, err := u.consents.get(ctx, u.patience, "", u.Store.Consents)
	if err != nil {
		return err
	}
	body.Counted, body.Total, body.Consents = counted, counts.Total(), consentCounts(counts)
	if body.Segments, err = u.Store.Segments(ctx, nil, maxChoices); err != nil {
		return err
	}
	if body.Topics, err = u.Store.Topics(ctx, nil, maxChoices); err != nil {
		return err
	}
	body.Regions, err = u.Store.Regions(ctx)
	return err
}

func (u *UI) listUsers(c *gin.Context, body *usersBody, filter segment.Filter, key *int64) error {
	ctx, now := c.Request.Context(), u.Now()
	users, err := u.Store.Users(ctx, filter, key, listSize+1, now)
	if err != nil {
		return err
	}
	total, exact, err := u.Store.UserTotal(ctx, filter, countedExactly, now)
	if err != nil {
		return err
	}
	if body.Counted && filter == (segment.Filter{Consent: filter.Consent}) { // that is counted already
		total, exact = int64(body.Total), true
		for _, count := range body.Consents {
			if string(count.State) == filter.Consent {
				total = int64(count.Count)
			}
		}
	}
	body.Users, body.Pager = paginate(c, users, int(total), func(v user.User) int64 { return v.ID })
	body.Pager.About = !exact
	query := exportQuery(filter)
	body.CSV, body.JSONL = "/api/v1/users.csv"+query, "/api/v1/users.jsonl"+query
	return nil
}

// exportQuery asks the API for the people whom the filter selects.
func exportQuery(f segment.Filter) string {
	query := url.Values{}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	id := func(name string, id int64) {
		if id != 0 {
			query.Set(name, strconv.FormatInt(id, 10))
		}
	}
	moment := func(name string, t time.Time) {
		if !t.IsZero() {
			query.Set(name, t.Format(time.RFC3339))
		}
	}
	set("consent_state", f.Consent)
	set("q", f.Prefix)
	set("name", f.Name)
	set("region", f.Region)
	id("segment_id", f.SegmentID)
	id("topic_id", f.TopicID)
	moment("created_from", f.CreatedFrom)
	moment("created_before", f.CreatedBefore)
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// readFilter reads whom to list. What is searched for is how a number begins when it is made of digits, else how a name does.
func readFilter(f *form) (filter segment.Filter, err error) {
	var refused []fault.Field
	note := func(err error) { refused = append(refused, fieldsOf(err)...) }
	consent, err := user.ParseConsent("consent_state", f.Get("consent_state"))
	note(err)
	filter.Consent = string(consent)
	if search := f.Get("q"); isDigits(search) {
		filter.Prefix, err = numberPrefix(search)
		note(err)
	} else if filter.Name = search; utf8.RuneCountInString(search) > segment.MaxName || strings.ContainsRune(search, 0) {
		note(fault.Refuse("q", "must be the beginning of a number or of a name, of at most %d characters", segment.MaxName))
	}
	for name, id := range map[string]*int64{"segment_id": &filter.SegmentID, "topic_id": &filter.TopicID} {
		chosen, err := f.id(name)
		note(err)
		if chosen != nil {
			*id = *chosen
		}
	}
	if filter.Region = strings.ToUpper(f.Get("region")); filter.Region != "" && !phone.KnownRegion(filter.Region) {
		note(fault.Refuse("region", "must be chosen from the list"))
	}
	filter.CreatedFrom, err = day(f, "created_from")
	note(err)
	if filter.CreatedBefore, err = day(f, "created_to"); !filter.CreatedBefore.IsZero() {
		filter.CreatedBefore = filter.CreatedBefore.AddDate(0, 0, 1)
	}
	note(err)
	return filter, fault.Fields(refused...)
}

// day reads a date, which begins at midnight UTC; the zero time when there is none.
func day(f *form, name string) (time.Time, error) {
	text := f.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, fault.Refuse(name, "must be a date such as 2026-03-01")
	}
	return t, nil
}

// separators are what people write between the digits of a number.
const separators = " -.()+"

// isDigits reports whether a text can only be the beginning of a number.
func isDigits(text string) bool {
	return text != "" && strings.Trim(text, separators+"0123456789") == ""
}

// numberPrefix reads how a number begins, as people write it.
func numberPrefix(text string) (string, error) {
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(separators, r) {
			return -1
		}
		return r
	}, text)
	if digits == "" || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return "", fault.Refuse("q", "must be the first digits of a number, country code included, such as +9477")
	}
	return "+" + digits, nil
}

type newUserBody struct {
	Form          *form
	States        []user.ConsentState
	Attributes    []attributeRow
	Types         []attributeType
	Number        numberCheck
	DefaultRegion string
}

func (u *UI) newUser(c *gin.Context) error {
	return u.showNewUser(c, http.StatusOK, newForm("consent_state", string(user.Pending)), blankRows())
}

func (u *UI) showNewUser(c *gin.Context, status int, f *form, rows []attributeRow) error {
	body := newUserBody{Form: f, States: consentStates, Attributes: rows, Types: attributeTypes, DefaultRegion: u.DefaultRegion}
	return u.render(c, status, "user_new", view{Title: "Add a user", Section: "/users", Scripts: []string{"users.js"}, Body: body})
}

func (u *UI) createUser(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	rows, attributes, attributesErr := readAttributes(f)
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		number, err := phone.Parse(f.Get("phone_number"), u.DefaultRegion)
		refused := append(fieldsOf(err), fieldsOf(attributesErr)...)
		consent, err := user.ParseConsent("consent_state", f.Get("consent_state"))
		refused = append(refused, fieldsOf(err)...)
		evidence, err := readEvidence(f, false)
		refused = append(refused, fieldsOf(err)...)
		if err := fault.Fields(refused...); err != nil {
			return "", err
		}
		change := user.Change{State: consent, Source: user.SourceAPI, Evidence: evidence, CallerIP: c.RemoteIP()}
		added, err := u.Store.CreateUser(ctx, number, attributes, change, u.principal(c.Request), u.Now())
		flash(c, "The user is added.")
		return personPath(added.ID), err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.showNewUser(c, status, f, judged(rows, f))
}

// numberCheck is what a number that is being typed comes to.
type numberCheck struct {
	Entered bool
	Problem string // "" for a number
	Number  phone.Number
	Region  string
	Zones   []string
	Known   *user.User // whose it is already
}

// checkNumber judges a number as it is typed.
func (u *UI) checkNumber(c *gin.Context) error {
	text := strings.TrimSpace(c.Query("phone_number"))
	check := numberCheck{Entered: text != ""}
	number, err := phone.Parse(text, u.DefaultRegion)
	switch {
	case !check.Entered:
	case err != nil:
		check.Problem = fieldsOf(err)[0].Detail
	default:
		check.Number, check.Region, check.Zones = number, phone.Region(number), phone.Zones(number)
		known, err := u.Store.UserByPhone(c.Request.Context(), number)
		if err == nil {
			check.Known = &known
		} else if !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return u.renderPart(c, "user_new", "number-check", check)
}
