package ui

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"
)

// What was just done is told on the page that is shown after it: the redirect carries it in a cookie, which that page takes.
// It must name nobody, for browsers keep it.

const (
	flashCookie  = "ese_flash"
	flashKey     = "ui.flash"
	flashSeconds = 60
)

// flash has the page after the redirect tell what was done, such as "The topic is saved."
func flash(c *gin.Context, text string) { c.Set(flashKey, text) }

// redirect leads to a page after something was done.
func redirect(c *gin.Context, place string) {
	if text := c.GetString(flashKey); text != "" {
		setFlash(c, url.QueryEscape(text), flashSeconds)
	}
	c.Redirect(http.StatusSeeOther, place)
}

// takeFlash returns what there is to tell, once.
func takeFlash(c *gin.Context) string {
	cookie, err := c.Request.Cookie(flashCookie)
	if err != nil {
		return ""
	}
	setFlash(c, "", -1)
	text, err := url.QueryUnescape(cookie.Value)
	if err != nil {
		return ""
	}
	return text
}

// setFlash writes the cookie. It holds no secret, and on the local stack there is no TLS.
func setFlash(c *gin.Context, value string, maxAge int) {
	http.SetCookie(c.Writer, &http.Cookie{ //nolint:gosec // see above
		Name: flashCookie, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.Request.TLS != nil,
	})
}
