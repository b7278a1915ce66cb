package ui

import (
	"context"
	"encoding/base64"
	"html/template"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

// ownStore is what people do with their own account.
type ownStore interface {
	// ChangePassword, SetFactor: seen is the account whose password was checked; its other sessions end.
	ChangePassword(ctx context.Context, seen access.Account, hash string, keep uuid.UUID, now time.Time) error
	SetFactor(ctx context.Context, seen access.Account, secret string, step int64, codes []string, keep uuid.UUID, now time.Time) error
	RemoveFactor(ctx context.Context, id int64, by string, now time.Time) error
	RecoveryCodesLeft(ctx context.Context, id int64) (int, error)
	// RotateSession returns the content of the session's cookie from now on.
	RotateSession(ctx context.Context, id uuid.UUID) (token string, err error)
	Sessions(ctx context.Context, account int64, now time.Time) ([]access.Session, error)
	EndSessions(ctx context.Context, account int64, now time.Time) error
}

const ownPage = "/account"

// own is for the pages that only somebody with an account has.
func (u *UI) own(h func(c *gin.Context, session access.Session) error) handler {
	return func(c *gin.Context) error {
		session := u.Visitor(c.Request).Session
		if session == nil {
			return fault.New(fault.NotFound, "whoever comes by this way has no account: keys and the local stack need none")
		}
		return h(c, *session)
	}
}

type ownBody struct {
	Account       access.Account
	Session       uuid.UUID // the present one
	Sessions      []access.Session
	RecoveryCodes int // left
	Form          *form
	Removal       *form
}

func (u *UI) showOwn(c *gin.Context, session access.Session) error {
	return u.renderOwn(c, http.StatusOK, session, newForm(), newForm())
}

func (u *UI) renderOwn(c *gin.Context, status int, session access.Session, password, removal *form) error {
	ctx := c.Request.Context()
	body := ownBody{Account: session.Account, Session: session.ID, Form: password, Removal: removal}
	var err error
	if body.Sessions, err = u.Store.Sessions(ctx, session.Account.ID, u.Now()); err != nil {
		return err
	}
	if body.RecoveryCodes, err = u.Store.RecoveryCodesLeft(ctx, session.Account.ID); err != nil {
		return err
	}
	return u.render(c, status, "account", view{Title: "Your account", Section: ownPage, Body: body})
}

// presentPassword asks for the password again before something that whoever finds a browser open must not do. field names its input.
func (u *UI) presentPassword(ctx context.Context, f *form, field string, account access.Account) error {
	password := f.Values.Get(field)
	f.Values.Del(field)
	limits := access.Limits(account.Email, access.AddressOf(ctx))
	again, err := u.Store.CountTry(ctx, limits, u.Now())
	if err != nil {
		return err
	}
	if !again.IsZero() {
		return fault.Refuse(field, "was tried too often: try again in %d minutes", int(again.Sub(u.Now()).Minutes())+1)
	}
	if !access.SamePassword(account.PasswordHash, password) {
		return fault.Refuse(field, "is not your password")
	}
	return u.Store.ForgetTry(ctx, limits)
}

// rotate gives the browser another token, after what its account may do or how it signs in has changed.
func (u *UI) rotate(c *gin.Context, session access.Session) error {
	token, err := u.Store.RotateSession(c.Request.Context(), session.ID)
	if err != nil {
		return err
	}
	u.SetCookie(c, SessionCookie, token, session.ExpiresAt.Sub(u.Now()))
	return nil
}

func (u *UI) changePassword(c *gin.Context, session access.Session) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	ctx, account := c.Request.Context(), session.Account
	password, again := takePasswords(f)
	err = together(access.CheckPassword("password", password, account.Email), sameAgain(password, again))
	if err == nil {
		err = u.presentPassword(ctx, f, "present_password", account)
	}
	if err == nil {
		var hash string
		if hash, err = access.HashPassword(password); err != nil {
			return err
		}
		err = u.Store.ChangePassword(ctx, account, hash, session.ID, u.Now())
	}
	if err != nil {
		status, err := u.refuse(c, f, err)
		if err != nil {
			return err
		}
		return u.renderOwn(c, status, session, f, newForm())
	}
	if err := u.rotate(c, session); err != nil {
		return err
	}
	c.Redirect(http.StatusSeeOther, ownPage)
	return nil
}

type factorBody struct {
	Account access.Account
	Factor  access.Factor
	QR      template.URL
	Form    *form
	Codes   []string // the recovery codes, shown once; then nothing else is
}

func (u *UI) showFactor(c *gin.Context, session access.Session) error {
	factor, err := access.NewFactor(session.Account.Email)
	if err != nil {
		return err
	}
	return u.renderFactor(c, http.StatusOK, session, factor, newForm())
}

func (u *UI) renderFactor(c *gin.Context, status int, session access.Session, factor access.Factor, f *form) error {
	return u.render(c, status, "second_factor", view{Title: "Second factor", Section: ownPage, Body: factorBody{
		Account: session.Account, Factor: factor, Form: f,
		QR: template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(factor.PNG)), //nolint:gosec // G203: our own picture
	}})
}

func (u *UI) setFactor(c *gin.Context, session access.Session) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	ctx, account := c.Request.Context(), session.Account
	factor, err := access.FactorOf(f.Get("secret"), account.Email)
	if err != nil {
		return fault.New(fault.Invalid, "the form is incomplete: load the page anew and fill it in again")
	}
	codes := access.NewRecoveryCodes()
	if err = u.presentPassword(ctx, f, "present_password", account); err == nil {
		step, ok := access.CodeStep(factor.Secret, f.Get("code"), 0, u.Now())
		if !ok {
			err = fault.Refuse("code", "is not the one that the authenticator shows now: compare the clocks")
		} else {
			err = u.Store.SetFactor(ctx, account, factor.Secret, step, codes, session.ID, u.Now())
		}
	}
	f.Values.Del("code")
	if err != nil {
		status, err := u.refuse(c, f, err)
		if err != nil {
			return err
		}
		return u.renderFactor(c, status, session, factor, f)
	}
	if err := u.rotate(c, session); err != nil {
		return err
	}
	return u.render(c, http.StatusOK, "second_factor", view{Title: "Recovery codes", Section: ownPage, Body: factorBody{Account: account, Codes: codes}})
}

func (u *UI) removeFactor(c *gin.Context, session access.Session) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	ctx, account := c.Request.Context(), session.Account
	if err = u.presentPassword(ctx, f, "password_now", account); err == nil {
		err = u.Store.RemoveFactor(ctx, account.ID, account.Principal(), u.Now())
	}
	if err != nil {
		status, err := u.refuse(c, f, err)
		if err != nil {
			return err
		}
		return u.renderOwn(c, status, session, newForm(), f)
	}
	if err := u.rotate(c, session); err != nil {
		return err
	}
	c.Redirect(http.StatusSeeOther, ownPage)
	return nil
}

func (u *UI) endSession(c *gin.Context, session access.Session) error {
	id, err := uuid.Parse(c.Param("session"))
	if err != nil {
		return fault.New(fault.NotFound, "there is nothing at this address")
	}
	if err := u.Store.EndSession(c.Request.Context(), session.Account.ID, id, u.Now()); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	c.Redirect(http.StatusSeeOther, ownPage)
	return nil
}

// endSessions signs out everywhere, here among it.
func (u *UI) endSessions(c *gin.Context, session access.Session) error {
	if err := u.Store.EndSessions(c.Request.Context(), session.Account.ID, u.Now()); err != nil {
		return err
	}
	u.SetCookie(c, SessionCookie, "", 0)
	c.Redirect(http.StatusSeeOther, signInPath)
	return nil
}
