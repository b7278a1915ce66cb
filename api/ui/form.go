package ui

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
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

type formStore interface {
	// InTx runs f in a transaction that all store methods called with f's context take part in.
	InTx(ctx context.Context, f func(ctx context.Context) error) error
	// LockIdempotencyKey keeps the key until the transaction ends; false when another one holds it.
	LockIdempotencyKey(ctx context.Context, principal, key string) (bool, error)
	// IdempotentAnswer finds what the key was answered since then; fault.NotFound when it was not.
	IdempotentAnswer(ctx context.Context, principal, key string, since time.Time) (access.Answer, error)
	SaveIdempotentAnswer(ctx context.Context, principal, key string, answer access.Answer, now, since time.Time) error
}

// form is what a visitor entered, and what was wrong with it.
type form struct {
	Token  string // makes the form count once, however often it is sent
	Values url.Values
	Detail string // what is wrong as a whole; "" when nothing is
	Fields []fault.Field
}

// tokenField is the hidden input that holds the token. Called form, it would hide the property of that name from scripts.
const tokenField = "form_token"

// newForm is a form with these values in it, pair by pair.
func newForm(pairs ...string) *form {
	f := &form{Token: uuid.NewString(), Values: url.Values{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		f.Values.Set(pairs[i], pairs[i+1])
	}
	return f
}

// readFormOf reads the form that was sent about what the path names.
func readFormOf(c *gin.Context) (id int64, f *form, err error) {
	if id, err = pathID(c); err == nil {
		f, err = readForm(c)
	}
	return id, f, err
}

// readForm reads the form that was sent.
func readForm(c *gin.Context) (*form, error) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxFormBytes)
	if err := c.Request.ParseForm(); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, err
		}
		return nil, fault.New(fault.Invalid, "the form cannot be read")
	}
	f := &form{Token: c.Request.PostForm.Get(tokenField), Values: c.Request.PostForm}
	if _, err := uuid.Parse(f.Token); err != nil {
		return nil, fault.New(fault.Invalid, "the form is incomplete: load the page anew and fill it in again")
	}
	for name, values := range f.Values {
		for i, value := range values {
			values[i] = strings.ReplaceAll(value, "\r\n", "\n") // browsers write line ends so
			if strings.ContainsRune(value, 0) {
				f.Fields = append(f.Fields, fault.Field{Name: name, Detail: "must not hold a NUL character"})
			}
		}
	}
	return f, fault.Fields(f.Fields...)
}

// Get returns what a field holds, without the space around it.
func (f *form) Get(name string) string { return strings.TrimSpace(f.Values.Get(name)) }

// Problem says what is wrong with a field; it answers for parts of the field as well.
func (f *form) Problem(name string) string {
	var details []string
	for _, field := range f.Fields {
		if rest, ok := strings.CutPrefix(field.Name, name); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			details = append(details, strings.TrimSpace(strings.TrimLeft(rest, ".")+" "+field.Detail))
		}
	}
	return strings.Join(details, "; ")
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

// id reads a field that holds a number of the database; nil when it is empty.
func (f *form) id(name string) (*int64, error) {
	text := f.Get(name)
	if text == "" {
		return nil, nil
	}
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return nil, fault.Refuse(name, "must be chosen from the list")
	}
	return &id, nil
}

// whole reads a field that holds a whole number; otherwise is what an empty one means.
func (f *form) whole(name string, otherwise int) (int, error) {
	text := f.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fault.Refuse(name, "must be a whole number")
	}
	return n, nil
}

// optional writes a limit that may be none.
func optional(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// within reads a whole number of the form between two bounds.
func (f *form) within(name string, least, most int) (int, error) {
	n, err := strconv.Atoi(f.Get(name))
	if err != nil || n < least || n > most {
		return 0, fault.Refuse(name, "must be a whole number from %d to %d", least, most)
	}
	return n, nil
}

// atMost is within for a limit that may be left empty: nil for none.
func (f *form) atMost(name string, most int) (*int, error) {
	if f.Get(name) == "" {
		return nil, nil
	}
	n, err := f.within(name, 1, most)
	return &n, err
}

// rows reads fields that repeat row by row; the shortest tells how many there are.
func (f *form) rows(names ...string) [][]string {
	var rows [][]string
	for i := 0; ; i++ {
		row := make([]string, len(names))
		for n, name := range names {
			if i >= len(f.Values[name]) {
				return rows
			}
			row[n] = strings.TrimSpace(f.Values[name][i])
		}
		rows = append(rows, row)
	}
}

// refuse notes what is wrong, for the form to be shown again, with the status to do so. Every error that the visitor
// cannot mend in the form is returned.
func (u *UI) refuse(c *gin.Context, f *form, err error) (int, error) {
	if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Conflict) {
		return 0, err
	}
	status, detail, fields := u.Explain(c.Request.Context(), err)
	f.Detail, f.Fields, f.Token = detail, fields, uuid.NewString()
	return status, nil
}

// refused shows the form again with what is wrong with it; it does nothing when nothing is.
func (u *UI) refused(c *gin.Context, f *form, err error, again func(status int) error) error {
	if err == nil || f == nil {
		return err
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return again(status)
}

// formPeriod is how long a form that was sent is known again.
const formPeriod = 24 * time.Hour

// submit does what a form asks for, once: sent again, the same form leads to the place that the first time led to.
// do returns that place.
func (u *UI) submit(c *gin.Context, f *form, do func(ctx context.Context) (place string, err error)) error {
	place, _, err := u.once(c, f, do)
	if err == nil {
		redirect(c, place)
	}
	return err
}

// once is submit without the answer, for pages that show what nobody may see twice: first is false when the form was sent
// before, and do did nothing.
func (u *UI) once(c *gin.Context, f *form, do func(ctx context.Context) (place string, err error)) (place string, first bool, err error) {
	now, principal, key := u.Now(), u.principal(c.Request), "form:"+f.Token
	since := now.Add(-formPeriod)
	sum := sha256.Sum256([]byte(c.FullPath() + "\n" + f.Values.Encode()))
	err = u.Store.InTx(c.Request.Context(), func(ctx context.Context) error {
		locked, err := u.Store.LockIdempotencyKey(ctx, principal, key)
		if err != nil {
			return err
		}
		if !locked {
			return fault.New(fault.Conflict, "this form is being sent already")
		}
		known, err := u.Store.IdempotentAnswer(ctx, principal, key, since)
		switch {
		case fault.Is(err, fault.NotFound):
		case err != nil:
			return err
		case subtle.ConstantTimeCompare(known.RequestSHA256, sum[:]) != 1:
			return fault.New(fault.Invalid, "this form was sent before with other content: load the page anew")
		default:
			place = string(known.Body)
			return nil
		}
		if place, err = do(ctx); err != nil {
			return err
		}
		first = true
		return u.Store.SaveIdempotentAnswer(ctx, principal, key, access.Answer{
			RequestSHA256: sum[:], Status: http.StatusSeeOther, Type: "text/html", Body: []byte(place),
		}, now, since)
	})
	return place, first, err
}
