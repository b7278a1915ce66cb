package ui

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

// accountStore is what admins do with the accounts of all.
type accountStore interface {
	Accounts(ctx context.Context) ([]access.Account, error)
	SignInAccount(ctx context.Context, id int64) (access.Account, error)
	InviteAccount(ctx context.Context, email string, role access.Role, by string, now time.Time) (a access.Account, token string, err error)
	// ChangeAccess changes what is not nil.
	ChangeAccess(ctx context.Context, id int64, role *access.Role, disabled *bool, by string, now time.Time) (access.Account, error)
	ResetAccount(ctx context.Context, id int64, by string, now time.Time) (kind access.LinkKind, token string, err error)
}

type keyStore interface {
	CreateKey(ctx context.Context, name string, scopes []string, by string, now time.Time) (key access.Key, secret string, err error)
	Keys(ctx context.Context, after *int64, atMost int) ([]access.Key, error)
	KeyTotal(ctx context.Context) (int64, error)
	RevokeKey(ctx context.Context, id int64, by string, now time.Time) (access.Key, error)
}

type auditStore interface {
	AuditEvents(ctx context.Context, f access.EventFilter, after *int64, atMost int) ([]access.Event, error)
	AuditTerms(ctx context.Context) (actions, principals []string, err error)
}

const (
	accountsPage = "/settings/accounts"
	keysPage     = "/settings/keys"
	auditPage    = "/settings/audit"
)

type accountsBody struct {
	Accounts []access.Account
	Roles    []access.Role
	Form     *form
	Link     *madeLink
}

// madeLink is a one-time link, shown once.
type madeLink struct {
	Address string
	Email   string // of whom it is for
	Kind    access.LinkKind
	Until   time.Time
}

func (u *UI) madeLink(kind access.LinkKind, token, email string) *madeLink {
	return &madeLink{Address: u.PagesURL + "/link/" + token, Email: email, Kind: kind, Until: u.Now().Add(kind.Life())}
}

func (u *UI) accounts(c *gin.Context) error {
	return u.renderAccounts(c, http.StatusOK, newForm("role", string(access.Viewer)), nil)
}

func (u *UI) renderAccounts(c *gin.Context, status int, f *form, link *madeLink) error {
	accounts, err := u.Store.Accounts(c.Request.Context())
	if err != nil {
		return err
	}
	return u.render(c, status, "accounts", view{Title: "Accounts", Section: settingsPage, Body: accountsBody{
		Accounts: accounts, Roles: access.Roles(), Form: f, Link: link,
	}})
}

func (u *UI) inviteAccount(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	email, badEmail := access.NormalizeEmail(f.Get("email"))
	role, badRole := access.ParseRole(f.Get("role"))
	var token string
	first := false
	if err = together(badEmail, badRole); err == nil {
		_, first, err = u.once(c, f, func(ctx context.Context) (string, error) {
			_, token, err = u.Store.InviteAccount(ctx, email, role, u.principal(c.Request), u.Now())
			return accountsPage, err
		})
	}
	switch {
	case err != nil:
		status, err := u.refuse(c, f, err)
		if err != nil {
			return err
		}
		return u.renderAccounts(c, status, f, nil)
	case !first:
		c.Redirect(http.StatusSeeOther, accountsPage)
		return nil
	default:
		return u.renderAccounts(c, http.StatusOK, newForm("role", string(access.Viewer)), u.madeLink(access.Invitation, token, email))
	}
}

type accountBody struct {
	Account access.Account
	Roles   []access.Role
	Form    *form
	Link    *madeLink
}

func (u *UI) showAccount(c *gin.Context) error {
	account, err := u.accountOf(c)
	if err != nil {
		return err
	}
	return u.renderAccount(c, http.StatusOK, account, newForm("role", string(account.Role)), nil)
}

func (u *UI) accountOf(c *gin.Context) (access.Account, error) {
	id, err := pathID(c)
	if err != nil {
		return access.Account{}, err
	}
	return u.Store.SignInAccount(c.Request.Context(), id)
}

func (u *UI) renderAccount(c *gin.Context, status int, account access.Account, f *form, link *madeLink) error {
	return u.render(c, status, "account_change", view{Title: fmt.Sprintf("Account %d", account.ID), Section: settingsPage, Body: accountBody{
		Account: account, Roles: access.Roles(), Form: f, Link: link,
	}})
}

// changeAccess changes the role, or with the button's own value whether the account may sign in.
func (u *UI) changeAccess(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	account, err := u.accountOf(c)
	if err != nil {
		return err
	}
	var role *access.Role
	var disabled *bool
	switch f.Get("disabled") {
	case "true", "false":
		off := f.Get("disabled") == "true"
		disabled = &off
	default:
		var chosen access.Role
		chosen, err = access.ParseRole(f.Get("role"))
		role = &chosen
	}
	if err == nil {
		err = u.submit(c, f, func(ctx context.Context) (string, error) {
			_, err := u.Store.ChangeAccess(ctx, account.ID, role, disabled, u.principal(c.Request), u.Now())
			return fmt.Sprintf("%s/%d", accountsPage, account.ID), err
		})
	}
	if err != nil {
		status, err := u.refuse(c, f, err)
		if err != nil {
			return err
		}
		return u.renderAccount(c, status, account, f, nil)
	}
	return nil
}

func (u *UI) resetAccount(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	account, err := u.accountOf(c)
	if err != nil {
		return err
	}
	var kind access.LinkKind
	var token string
	place, first, err := u.once(c, f, func(ctx context.Context) (string, error) {
		kind, token, err = u.Store.ResetAccount(ctx, account.ID, u.principal(c.Request), u.Now())
		return fmt.Sprintf("%s/%d", accountsPage, account.ID), err
	})
	if err != nil {
		status, err := u.refuse(c, f, err)
		if err != nil {
			return err
		}
		return u.renderAccount(c, status, account, f, nil)
	}
	if !first {
		c.Redirect(http.StatusSeeOther, place)
		return nil
	}
	return u.renderAccount(c, http.StatusOK, account, newForm("role", string(account.Role)), u.madeLink(kind, token, account.Email))
}

func (u *UI) removeFactorOf(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	account, err := u.accountOf(c)
	if err != nil {
		return err
	}
	return u.submit(c, f, func(ctx context.Context) (string, error) {
		return fmt.Sprintf("%s/%d", accountsPage, account.ID), u.Store.RemoveFactor(ctx, account.ID, u.principal(c.Request), u.Now())
	})
}

type keysBody struct {
	Keys   []access.Key
	Scopes []scopeChoice
	Pager  pager
	Form   *form
	Made   *access.Key // just now, with
	Secret string      // its text, shown once
}

type scopeChoice struct {
	Scope  access.Scope
	Means  string
	Chosen bool
}

var scopeMeanings = map[access.Scope]string{
	access.Read: "look", access.Write: "change people, segments, templates and drafts",
	access.Send: "start and steer campaigns, set how fast is sent", access.Admin: "everything, accounts and keys among it",
}

func (u *UI) keys(c *gin.Context) error {
	return u.renderKeys(c, http.StatusOK, newForm("scopes", string(access.Read)), keysBody{})
}

func (u *UI) renderKeys(c *gin.Context, status int, f *form, body keysBody) error {
	ctx := c.Request.Context()
	last, err := after(c)
	if err != nil {
		return err
	}
	rows, err := u.Store.Keys(ctx, last, listSize+1)
	if err != nil {
		return err
	}
	total, err := u.Store.KeyTotal(ctx)
	if err != nil {
		return err
	}
	body.Form = f
	body.Keys, body.Pager = paginate(c, rows, int(total), func(k access.Key) int64 { return k.ID })
	for _, scope := range access.Scopes() {
		choice := scopeChoice{Scope: scope, Means: scopeMeanings[scope]}
		for _, name := range f.Values["scopes"] {
			choice.Chosen = choice.Chosen || name == string(scope)
		}
		body.Scopes = append(body.Scopes, choice)
	}
	return u.render(c, status, "keys", view{Title: "API keys", Section: settingsPage, Body: body})
}

func (u *UI) createKey(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	var key access.Key
	var secret string
	place, first, err := u.once(c, f, func(ctx context.Context) (string, error) {
		key, secret, err = u.Store.CreateKey(ctx, f.Get("name"), f.Values["scopes"], u.principal(c.Request), u.Now())
		return keysPage, err
	})
	if err != nil {
		status, err := u.refuse(c, f, err)
		if err != nil {
			return err
		}
		return u.renderKeys(c, status, f, keysBody{})
	}
	if !first {
		c.Redirect(http.StatusSeeOther, place)
		return nil
	}
	return u.renderKeys(c, http.StatusOK, newForm("scopes", string(access.Read)), keysBody{Made: &key, Secret: secret})
}

type revokeBody struct {
	Form *form
	Key  access.Key
}

// confirmRevoke asks before a key is useless for good.
func (u *UI) confirmRevoke(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	below := id + 1
	found, err := u.Store.Keys(c.Request.Context(), &below, 1)
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].ID != id || found[0].RevokedAt != nil {
		return fault.New(fault.NotFound, "a valid API key with this id does not exist")
	}
	return u.render(c, http.StatusOK, "key_revoke", view{Title: "Revoke " + found[0].Name + "?", Section: settingsPage, Body: revokeBody{Form: newForm(), Key: found[0]}})
}

func (u *UI) revokeKey(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	id, err := pathID(c)
	if err != nil {
		return err
	}
	return u.submit(c, f, func(ctx context.Context) (string, error) {
		_, err := u.Store.RevokeKey(ctx, id, u.principal(c.Request), u.Now())
		return keysPage, err
	})
}

type auditBody struct {
	Events     []auditRow
	Filter     map[string]string
	Actions    []string
	Principals []auditActor
	Next       string
	First      string
	Problem    string
}

type auditActor struct{ Name, Label string }

type auditRow struct {
	access.Event
	Who    string
	Change []auditField
}

// auditField is a field of an entry: what it is now, and what it was when that is told.
type auditField struct {
	Name    string
	Was, Is any
	HadWas  bool
	HasIs   bool
}

func (u *UI) audit(c *gin.Context) error {
	ctx := c.Request.Context()
	names, err := u.accountNames(ctx)
	if err != nil {
		return err
	}
	body := auditBody{Filter: map[string]string{}}
	for _, field := range []string{"principal", "action", "subject", "since", "until"} {
		body.Filter[field] = c.Query(field)
	}
	filter := access.EventFilter{Principal: c.Query("principal"), Action: c.Query("action"), Subject: c.Query("subject")}
	status := http.StatusOK
	if filter.Since, filter.Until, err = auditDays(c); err != nil {
		f := newForm()
		if status, err = u.refuse(c, f, err); err != nil {
			return err
		}
		body.Problem = f.Detail
	}
	last, err := after(c)
	if err != nil {
		return err
	}
	events, err := u.Store.AuditEvents(ctx, filter, last, listSize+1)
	if err != nil {
		return err
	}
	events, way := paginate(c, events, 0, func(e access.Event) int64 { return e.ID })
	body.First, body.Next = way.First, way.Next
	for _, e := range events {
		body.Events = append(body.Events, auditRow{Event: e, Who: names.label(e.Principal), Change: auditFields(e.Detail)})
	}
	var principals []string
	if body.Actions, principals, err = u.Store.AuditTerms(ctx); err != nil {
		return err
	}
	for _, name := range principals {
		if name != "" {
			body.Principals = append(body.Principals, auditActor{name, names.label(name)})
		}
	}
	return u.render(c, status, "audit", view{Title: "Audit log", Section: settingsPage, Body: body})
}

// auditDays reads the days between which to look, both included, in UTC.
func auditDays(c *gin.Context) (since, until *time.Time, err error) {
	day := func(field string) (*time.Time, error) {
		text := c.Query(field)
		if text == "" {
			return nil, nil
		}
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return nil, fault.Refuse(field, "must be a day such as 2026-11-24")
		}
		return &at, nil
	}
	if since, err = day("since"); err != nil {
		return nil, nil, err
	}
	if until, err = day("until"); err != nil || until == nil {
		return since, nil, err
	}
	end := until.AddDate(0, 0, 1)
	return since, &end, nil
}

// accountNames are the names of accounts by principal.
type accountNames map[string]string

func (u *UI) accountNames(ctx context.Context) (accountNames, error) {
	accounts, err := u.Store.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	names := accountNames{}
	for _, a := range accounts {
		names[a.Principal()] = a.Name
		if a.Name == "" {
			names[a.Principal()] = a.Email
		}
	}
	return names, nil
}

func (n accountNames) label(principal string) string {
	if name := n[principal]; name != "" {
		return name + " (" + principal + ")"
	}
	return principal
}

// auditFields puts what a field is beside what it was, by name.
func auditFields(detail map[string]any) []auditField {
	was, _ := detail["was"].(map[string]any)
	var fields []auditField
	for _, name := range slices.Sorted(maps.Keys(detail)) {
		if name == "was" && was != nil {
			continue
		}
		old, had := was[name]
		fields = append(fields, auditField{Name: name, Was: old, HadWas: had, Is: detail[name], HasIs: true})
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if _, has := detail[name]; !has {
			fields = append(fields, auditField{Name: name, Was: was[name], HadWas: true})
		}
	}
	return fields
}
