package ui_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// upload sends a file and fields to action, as a page's form does.
func upload(t *testing.T, action, name, content string, fields ...string) *http.Request {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	require.NoError(t, form.WriteField("form_token", uuid.NewString()))
	for i := 0; i < len(fields); i += 2 {
		require.NoError(t, form.WriteField(fields[i], fields[i+1]))
	}
	part, err := form.CreateFormFile("file", name)
	require.NoError(t, err)
	_, err = io.WriteString(part, content)
	require.NoError(t, err)
	require.NoError(t, form.Close())
	r := httptest.NewRequest(http.MethodPost, action, &b)
	r.Header.Set("Content-Type", form.FormDataContentType())
	return r
}

// process takes an import in, as a worker does.
func (s *site) process(t *testing.T, place string) {
	t.Helper()
	imports := &activities.Imports{Store: s.Store, Now: func() time.Time { return noon }}
	require.NoError(t, imports.ProcessImport(t.Context(), outbox.Import{ImportID: uuid.MustParse(strings.TrimPrefix(place, "/imports/"))}))
}

func TestImport(t *testing.T) {
	t.Parallel()
	s := open(t)
	w := s.do(upload(t, "/imports", "people.csv", "phone_number,name\n+94771234567,Ann\n12,Bob\n"))
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	place := w.Header().Get("Location")

	waiting := s.get(t, place)
	require.Contains(t, text(waiting), "people.csv")
	require.Contains(t, text(waiting), "waiting 0.0 % 0 of 2 rows")
	require.Contains(t, waiting, `hx-sse:connect=`)
	require.Contains(t, s.get(t, "/imports"), `hx-sse:connect=`)

	s.process(t, place)
	over := s.get(t, place)
	for _, says := range []string{"completed", " 2 of 2 rows, 100.0 %", "Taken over 1", "Refused 1", "3 phone_number must be"} {
		require.Contains(t, text(over), says)
	}
	require.Contains(t, over, `href="/api/v1`+place+`/errors.csv"`)
	require.NotContains(t, over, "hx-sse:connect", "what is over is not asked for again")

	w = s.do(upload(t, "/imports", "people.pdf", "x"))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "must be named .csv, .json or .jsonl")
	w = s.do(post("/imports", url.Values{}))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	w = s.do(upload(t, "/imports", "people.csv", "phone_number\n+94771234567\n", "policy", "destroy"))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "must be chosen from the list")
	require.Equal(t, http.StatusNotFound, s.do(httptest.NewRequest(http.MethodGet, "/imports/"+uuid.NewString(), http.NoBody)).Code)
	require.Equal(t, http.StatusNotFound, s.do(httptest.NewRequest(http.MethodGet, "/imports/1", http.NoBody)).Code)
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM imports`))
}

func TestImportCountsOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	const once = "0191d1a2-3b4c-7d5e-8f60-718293a4b5c6"
	var places []string
	for range 2 {
		r := upload(t, "/imports", "people.csv", "phone_number\n+94771234567\n", "again", "no")
		var b bytes.Buffer
		_, err := b.ReadFrom(r.Body)
		require.NoError(t, err)
		// The same token, as when a button is clicked twice.
		body := b.Bytes()
		at := bytes.Index(body, []byte("name=\"form_token\"\r\n\r\n")) + len("name=\"form_token\"\r\n\r\n")
		copy(body[at:], once)
		r.Body = io.NopCloser(bytes.NewReader(body))
		w := s.do(r)
		require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
		places = append(places, w.Header().Get("Location"))
	}
	require.Equal(t, places[0], places[1])
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM imports`))
}

func TestImportColumns(t *testing.T) {
	t.Parallel()
	s := open(t)
	const file = "Mobile;Agreed;Town;Points;Notes\n0771234567;OPT_IN;Galle;7;x\n"
	peek := func(name, content string) string {
		w := s.do(upload(t, "/imports/columns", name, content))
		require.Equal(t, http.StatusOK, w.Code)
		requireSound(t, w)
		return w.Body.String()
	}
	columns := peek("people.csv", file)
	require.Contains(t, text(columns), "5 in people.csv")
	require.Contains(t, columns, `name="column" value="Mobile"`)
	require.Regexp(t, `(?s)value="Mobile".*?value="phone_number" selected`, columns, "what looks like a number is suggested as one")
	require.Contains(t, text(columns), "Galle")
	require.Contains(t, text(peek("people.pdf", "x")), "must be named")
	require.Contains(t, text(peek("people.csv", "")), "is empty")
	const evil = `<img src=x onerror=alert(1)>`
	require.NotContains(t, peek("people.csv", evil+";"+evil+"2\n"+evil+"\n"), "<img")

	fields := []string{"default_region", "lk"}
	for _, c := range [][4]string{
		{"Mobile", "phone_number", "", ""}, {"Agreed", "consent_state", "", ""}, {"Town", "attribute", "address.city", "text"}, {"Points", "attribute", "points", "number"},
		{"Notes", "-", "Notes", ""},
	} {
		fields = append(fields, "column", c[0], "to", c[1], "attribute", c[2], "type", c[3])
	}
	w := s.do(upload(t, "/imports", "people.csv", file, fields...))
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	s.process(t, w.Header().Get("Location"))
	require.Equal(t, 1, s.count(t, `SELECT count(*) FROM users WHERE phone_number = '+94771234567' AND consent_state = 'OPT_IN'
		AND attributes = '{"address": {"city": "Galle"}, "points": 7}'`))
	require.Contains(t, text(s.get(t, w.Header().Get("Location"))), "Town → address.city (text)")

	fields[7] = "phone_number" // of the second column as well
	fields = append(fields, "to", "phone_number")
	w = s.do(upload(t, "/imports", "people.csv", file, fields...))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "Mapping: is incomplete")
}

func TestImportCheck(t *testing.T) {
	t.Parallel()
	s := open(t)
	const file = "phone_number,name\n+94771234567,Ann\n12,Bob\n"
	r := upload(t, "/imports/check", "people.csv", file)
	r.Header.Set("HX-Request", "true")
	w := s.do(r)
	require.Equal(t, http.StatusOK, w.Code)
	var id string
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT id::text FROM imports WHERE dry_run`).Scan(&id))
	require.Contains(t, w.Body.String(), `hx-sse:connect="/imports/`+id+`?live=yes"`)
	s.process(t, "/imports/"+id)
	page := text(s.get(t, "/imports/"+id))
	require.Contains(t, page, "Would be taken over 1")
	require.Contains(t, page, "Would be refused 1")
	require.Zero(t, s.count(t, `SELECT count(*) FROM users`))

	r = upload(t, "/imports/check", "people.csv", "")
	r.Header.Set("HX-Request", "true")
	require.Contains(t, text(s.do(r).Body.String()), "is empty")
	w = s.do(upload(t, "/imports/check", "people.csv", file))
	require.Equal(t, http.StatusSeeOther, w.Code, "without scripts the dry run has a page")
	require.Contains(t, w.Header().Get("Location"), "/imports/")
}

func TestImports(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Contains(t, text(s.get(t, "/imports")), "Nothing was imported yet")
	for range 26 {
		require.Equal(t, http.StatusSeeOther, s.do(upload(t, "/imports", "people.csv", "phone_number\n+94771234567\n")).Code)
	}
	first := s.get(t, "/imports")
	require.Contains(t, text(first), "26 in all")
	_, rest, found := strings.Cut(first, `href="/imports?after=`)
	require.True(t, found)
	key, _, _ := strings.Cut(rest, `"`)
	require.Equal(t, 1, strings.Count(s.get(t, "/imports?after="+key), ">people.csv<"))
	require.Equal(t, http.StatusUnprocessableEntity, s.do(httptest.NewRequest(http.MethodGet, "/imports?after=x", http.NoBody)).Code)
}
