package ui

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

// signInStore lets people in.
type signInStore interface {
	AccountByEmail(ctx context.Context, email string) (access.Account, error)
	// AdmitAccount finds an account, or makes one when role is not "".
	AdmitAccount(ctx context.Context, email, name string, role access.Role, now time.Time) (access.Account, error)
	// CountTry counts a try under each limit; where one was reached, it returns when to try again, else zero.
	CountTry(ctx context.Context, limits []access.Limit, now time.Time) (again time.Time, err error)
	ForgetTry(ctx context.Context, limits []access.Limit) error
	// StartSession returns the content of the session's cookie.
	StartSession(ctx context.Context, session access.Session, how string, now time.Time) (token string, err error)
	SessionRefused(ctx context.Context, account int64, why string, now time.Time) error
	SessionByToken(ctx context.Context, token string) (access.Session, error)
	EndSession(ctx context.Context, account int64, id uuid.UUID, now time.Time) error
	// UseStep and UseRecoveryCode report whether what they use up was there.
	UseStep(ctx context.Context, id, step int64) (bool, error)
	UseRecoveryCode(ctx context.Context, id int64, code string, now time.Time) (bool, error)
	Link(ctx context.Context, token string, now time.Time) (access.Link, error)
	TakeLink(ctx context.Context, token, email, name, passwordHash string, now time.Time) (access.Account, error)
}

// OIDC is an identity provider that people sign in with.
type OIDC interface {
	// Begin returns where to send the browser, and what Finish wants to know again.
	Begin(ctx context.Context) (address, state string, err error)
	// Finish reads the answer that the browser brings back. fault.Invalid when it does not belong to state.
	Finish(ctx context.Context, state string, answer url.Values) (access.Identity, error)
}

// Cookies of the pages.
const (
	SessionCookie = "ese_session"
	oidcCookie    = "ese_oidc"
)

const signInPath = "/sign-in"

// oidcDue is how long somebody may take at the identity provider.
const oidcDue = 10 * time.Minute

type signInBody struct {
	Form *form
	Next string // where to go then
	OIDC string // what people call the identity provider; "" for none
}

func (u *UI) registerAccess(r gin.IRoutes, ask, post func(path string, scope access.Scope, h handler)) {
	r.GET(signInPath, u.open(u.showSignIn))
	r.POST(signInPath, u.open(u.signIn))
	r.GET(signInPath+"/code", u.open(u.showCode))
	r.POST(signInPath+"/code", u.open(u.enterCode))
	r.GET(signInPath+"/oidc", u.open(u.beginOIDC))
	r.GET(signInPath+"/oidc/callback", u.open(u.finishOIDC))
	r.POST("/sign-out", u.open(u.signOut))
	r.GET("/link/:token", u.open(u.showLink))
	r.POST("/link/:token", u.open(u.takeLink))

	ask("/account", access.Read, u.own(u.showOwn))
	post("/account/password", access.Read, u.own(u.changePassword))
	ask("/account/second-factor", access.Read, u.own(u.showFactor))
	post("/account/second-factor", access.Read, u.own(u.setFactor))
	post("/account/second-factor/remove", access.Read, u.own(u.removeFactor))
	post("/account/sessions/:session/end", access.Read, u.own(u.endSession))
	post("/account/sessions/end", access.Read, u.own(u.endSessions))

	ask("/settings/accounts", access.Admin, u.accounts)
	post("/settings/accounts", access.Admin, u.inviteAccount)
	ask("/settings/accounts/:id", access.Admin, u.showAccount)
	post("/settings/accounts/:id", access.Admin, u.changeAccess)
	post("/settings/accounts/:id/reset", access.Admin, u.resetAccount)
	post("/settings/accounts/:id/second-factor/remove", access.Admin, u.removeFactorOf)
	ask("/settings/keys", access.Admin, u.keys)
	post("/settings/keys", access.Admin, u.createKey)
	ask("/settings/keys/:id/revoke", access.Admin, u.confirmRevoke)
	post("/settings/keys/:id/revoke", access.Admin, u.revokeKey)
	ask("/settings/audit", access.Admin, u.audit)
}

// askToSignIn answers a page that nobody is signed in for. Where a page only refreshes, htmx is told to load it whole.
func (u *UI) askToSignIn(c *gin.Context) {
	next := "/"
	if c.Request.Method == http.MethodGet {
		next = c.Request.URL.RequestURI()
	}
	c.Header("HX-Refresh", "true")
	if err := u.renderSignIn(c, http.StatusUnauthorized, newForm("next", next)); err != nil {
		u.Log.ErrorContext(c.Request.Context(), "sign-in page", "error", err)
		c.String(http.StatusUnauthorized, "sign in")
	}
}

func (u *UI) renderSignIn(c *gin.Context, status int, f *form) error {
	body := signInBody{Form: f, Next: ownPath(f.Get("next"))}
	if u.OIDC != nil {
		body.OIDC = u.OIDCName
	}
	return u.render(c, status, "sign_in", view{Title: "Sign in", Body: body})
}

// ownPath is an address of ours to go to: what might lead elsewhere becomes the dashboard.
func ownPath(text string) string {
	place, err := url.Parse(text)
	if err != nil || place.Scheme != "" || place.Host != "" || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") ||
		strings.ContainsAny(text, "\\\r\n\t") {
		return "/"
	}
	return text
}

func (u *UI) showSignIn(c *gin.Context) error {
	return u.renderSignIn(c, http.StatusOK, newForm("next", c.Query("next")))
}

// notRight does not tell whether there is such an account.
const notRight = "the e-mail address or the password is not right"

func (u *UI) signIn(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	ctx, now, password := c.Request.Context(), u.Now(), f.Values.Get("password")
	f.Values.Del("password")
	email, malformed := access.NormalizeEmail(f.Get("email"))
	if malformed != nil {
		email = strings.ToLower(f.Get("email"))
	}
	limits := access.Limits(email, access.AddressOf(ctx))
	if again, err := u.Store.CountTry(ctx, limits, now); err != nil || !again.IsZero() {
		return u.tooMany(c, again, err, func(detail string) error {
			f.Detail = detail
			return u.renderSignIn(c, http.StatusTooManyRequests, f)
		})
	}
	account, err := u.Store.AccountByEmail(ctx, email)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	right := access.SamePassword(account.PasswordHash, password) // the same work for whoever is asked for
	if !right || account.DisabledAt != nil {
		why := "password"
		if right {
			why = "disabled"
		}
		if err := u.Store.SessionRefused(ctx, account.ID, why, now); err != nil {
			return err
		}
		f.Detail = notRight
		return u.renderSignIn(c, http.StatusUnauthorized, f)
	}
	next := ownPath(f.Get("next"))
	if account.TOTPSecret != "" {
		if err := u.startSession(c, account, true, "password"); err != nil {
			return err
		}
		c.Redirect(http.StatusSeeOther, signInPath+"/code?"+url.Values{"next": {next}}.Encode())
		return nil
	}
	if err := u.startSession(c, account, false, "password"); err != nil {
		return err
	}
	if err := u.Store.ForgetTry(ctx, limits); err != nil {
		return err
	}
	c.Redirect(http.StatusSeeOther, next)
	return nil
}

// tooMany shows a page that says when to try again.
func (u *UI) tooMany(c *gin.Context, again time.Time, err error, show func(detail string) error) error {
	if err != nil {
		return err
	}
	wait := again.Sub(u.Now())
	c.Header("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
	return show(fmt.Sprintf("there were too many tries: try again in %d minutes", int(wait.Minutes())+1))
}

const maxBrowserRunes = 200

// startSession signs the browser in anew, whatever it was signed in as before.
func (u *UI) startSession(c *gin.Context, account access.Account, half bool, how string) error {
	ctx, now := c.Request.Context(), u.Now()
	if err := u.forgetSession(c); err != nil {
		return err
	}
	browser := strings.ToValidUTF8(strings.ReplaceAll(c.Request.UserAgent(), "\x00", ""), "")
	if runes := []rune(browser); len(runes) > maxBrowserRunes {
		browser = string(runes[:maxBrowserRunes])
	}
	token, err := u.Store.StartSession(ctx, access.Session{
		Account: account, Half: half, Address: access.AddressOf(ctx), Browser: browser,
	}, how, now)
	if err != nil {
		return err
	}
	life := access.SessionLife
	if half {
		life = access.SecondFactorDue
	}
	u.SetCookie(c, SessionCookie, token, life)
	return nil
}

// forgetSession ends the session that the browser's cookie names, if there is one.
func (u *UI) forgetSession(c *gin.Context) error {
	token := u.Cookie(c.Request, SessionCookie)
	if token == "" {
		return nil
	}
	ctx := c.Request.Context()
	session, err := u.Store.SessionByToken(ctx, token)
	if err == nil {
		err = u.Store.EndSession(ctx, session.Account.ID, session.ID, u.Now())
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

func (u *UI) signOut(c *gin.Context) error {
	if err := u.forgetSession(c); err != nil {
		return err
	}
	u.SetCookie(c, SessionCookie, "", 0)
	c.Redirect(http.StatusSeeOther, signInPath)
	return nil
}

// halfSession is the session of who gave the password and owes the code.
func (u *UI) halfSession(c *gin.Context) (access.Session, error) {
	session, err := u.Store.SessionByToken(c.Request.Context(), u.Cookie(c.Request, SessionCookie))
	if err == nil && (!session.Half || !session.Live(u.Now())) {
		err = fault.New(fault.NotFound, "this session is over")
	}
	return session, err
}

type codeBody struct {
	Form *form
	Next string
}

func (u *UI) renderCode(c *gin.Context, status int, f *form) error {
	return u.render(c, status, "sign_in_code", view{Title: "Second factor", Body: codeBody{Form: f, Next: ownPath(f.Get("next"))}})
}

func (u *UI) showCode(c *gin.Context) error {
	_, err := u.halfSession(c)
	if fault.Is(err, fault.NotFound) {
		c.Redirect(http.StatusSeeOther, signInPath)
		return nil
	} else if err != nil {
		return err
	}
	return u.renderCode(c, http.StatusOK, newForm("next", c.Query("next")))
}

func (u *UI) enterCode(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	ctx, now, code := c.Request.Context(), u.Now(), f.Get("code")
	f.Values.Del("code")
	session, err := u.halfSession(c)
	if fault.Is(err, fault.NotFound) {
		c.Redirect(http.StatusSeeOther, signInPath)
		return nil
	} else if err != nil {
		return err
	}
	account := session.Account
	limits := access.Limits(account.Email, access.AddressOf(ctx))
	if again, err := u.Store.CountTry(ctx, limits, now); err != nil || !again.IsZero() {
		return u.tooMany(c, again, err, func(detail string) error {
			f.Detail = detail
			return u.renderCode(c, http.StatusTooManyRequests, f)
		})
	}
	how, err := u.secondFactor(ctx, account, code)
	if err != nil {
		return err
	}
	if how == "" {
		if err := u.Store.SessionRefused(ctx, account.ID, "code", now); err != nil {
			return err
		}
		f.Detail = "this code is not right, or it was used before"
		return u.renderCode(c, http.StatusUnauthorized, f)
	}
	if err := u.startSession(c, account, false, how); err != nil {
		return err
	}
	if err := u.Store.ForgetTry(ctx, limits); err != nil {
		return err
	}
	c.Redirect(http.StatusSeeOther, ownPath(f.Get("next")))
	return nil
}

// secondFactor uses up a code of the authenticator, or a recovery code, and names which; "" when it is neither.
func (u *UI) secondFactor(ctx context.Context, account access.Account, code string) (how string, err error) {
	if step, ok := access.CodeStep(account.TOTPSecret, code, account.TOTPStep, u.Now()); ok {
		if fresh, err := u.Store.UseStep(ctx, account.ID, step); err != nil || !fresh {
			return "", err
		}
		return "password and code", nil
	}
	if used, err := u.Store.UseRecoveryCode(ctx, account.ID, code, u.Now()); err != nil || !used {
		return "", err
	}
	return "password and recovery code", nil
}

func (u *UI) beginOIDC(c *gin.Context) error {
	if u.OIDC == nil {
		return fault.New(fault.NotFound, "no identity provider is set up")
	}
	address, state, err := u.OIDC.Begin(c.Request.Context())
	if err != nil {
		u.Log.ErrorContext(c.Request.Context(), "identity provider", "error", err)
		return fault.New(fault.Unavailable, "the identity provider does not answer: try again")
	}
	u.SetCookie(c, oidcCookie, state, oidcDue)
	c.Redirect(http.StatusSeeOther, address)
	return nil
}

// finishOIDC is where the identity provider sends the browser back to.
func (u *UI) finishOIDC(c *gin.Context) error {
	if u.OIDC == nil {
		return fault.New(fault.NotFound, "no identity provider is set up")
	}
	ctx, now := c.Request.Context(), u.Now()
	state := u.Cookie(c.Request, oidcCookie)
	u.SetCookie(c, oidcCookie, "", 0)
	account, err := u.admit(ctx, state, c.Request.URL.Query())
	if err == nil && account.DisabledAt != nil {
		err = fault.New(fault.Forbidden, "this account is disabled: ask an admin")
	}
	if kind := fault.KindOf(err); err != nil && (kind == fault.Invalid || kind == fault.Forbidden) {
		if err := u.Store.SessionRefused(ctx, account.ID, "oidc", now); err != nil {
			return err
		}
		f := newForm()
		f.Detail = err.Error()
		return u.renderSignIn(c, http.StatusUnauthorized, f)
	}
	if err != nil {
		return err
	}
	if err := u.startSession(c, account, false, "oidc"); err != nil {
		return err
	}
	c.Redirect(http.StatusSeeOther, "/")
	return nil
}

func (u *UI) admit(ctx context.Context, state string, answer url.Values) (access.Account, error) {
	identity, err := u.OIDC.Finish(ctx, state, answer)
	if err != nil {
		return access.Account{}, err
	}
	email, err := identity.VerifiedEmail()
	if err != nil {
		return access.Account{}, err
	}
	name, err := access.CheckName(identity.Name)
	if err != nil {
		name, _, _ = strings.Cut(email, "@")
	}
	return u.Store.AdmitAccount(ctx, email, name, u.Admission.RoleFor(email), u.Now())
}

type linkBody struct {
	Form  *form
	Setup bool // makes the account of the first admin
	Join  bool // gives an account its name as well as its password
	Email string
}

func (u *UI) link(c *gin.Context) (access.Link, error) {
	link, err := u.Store.Link(c.Request.Context(), c.Param("token"), u.Now())
	if fault.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "this link was used, or its time is over: ask an admin for another one")
	}
	return link, err
}

func (u *UI) renderLink(c *gin.Context, status int, link access.Link, f *form) error {
	return u.render(c, status, "link", view{Title: "Your account", Body: linkBody{
		Form: f, Setup: link.Kind == access.Setup, Join: link.Kind != access.Reset, Email: link.Account.Email,
	}})
}

func (u *UI) showLink(c *gin.Context) error {
	link, err := u.link(c)
	if err != nil {
		return err
	}
	return u.renderLink(c, http.StatusOK, link, newForm("name", link.Account.Name))
}

func (u *UI) takeLink(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	link, err := u.link(c)
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	password, again := takePasswords(f)
	email, name, problems := link.Account.Email, link.Account.Name, []error(nil)
	if link.Kind == access.Setup {
		email, err = access.NormalizeEmail(f.Get("email"))
		problems = append(problems, err)
	}
	if link.Kind != access.Reset {
		name, err = access.CheckName(f.Get("name"))
		problems = append(problems, err)
	}
	problems = append(problems, access.CheckPassword("password", password, email), sameAgain(password, again))
	var account access.Account
	if err = together(problems...); err == nil {
		var hash string
		if hash, err = access.HashPassword(password); err != nil {
			return err
		}
		account, err = u.Store.TakeLink(ctx, c.Param("token"), email, name, hash, u.Now())
	}
	if err != nil {
		status, err := u.refuse(c, f, err)
		if err != nil {
			return err
		}
		return u.renderLink(c, status, link, f)
	}
	if account.TOTPSecret != "" { // the code is due like at any other time
		c.Redirect(http.StatusSeeOther, signInPath)
		return nil
	}
	if err := u.startSession(c, account, false, "link"); err != nil {
		return err
	}
	c.Redirect(http.StatusSeeOther, "/")
	return nil
}

// takePasswords reads a new password and its repetition, and keeps them out of the page that may be shown again.
func takePasswords(f *form) (password, again string) {
	password, again = f.Values.Get("password"), f.Values.Get("password_again")
	f.Values.Del("password")
	f.Values.Del("password_again")
	return password, again
}

func sameAgain(password, again string) error {
	if password != again {
		return fault.Refuse("password_again", "must be the same as above")
	}
	return nil
}

// together makes one fault of those about fields.
func together(errs ...error) error {
	var fields []fault.Field
	for _, err := range errs {
		if f, ok := err.(*fault.Fault); ok && f != nil { //nolint:errorlint // they are made here and never wrapped
			fields = append(fields, f.Fields...)
		}
	}
	return fault.Fields(fields...)
}
