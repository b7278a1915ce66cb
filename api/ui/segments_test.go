package ui_test

import (
	"bytes"
	"encoding/json"
	"html"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

const inColombo = `{"attribute": "city", "operator": "equals", "value": "Colombo"}`

// segmentOf saves a segment through its form and returns the address of its page.
func (s *site) segmentOf(t *testing.T, name, definition string) string {
	t.Helper()
	w := s.submit(t, "/segments/new", "/segments", "name", name, "definition_json", definition)
	require.Equal(t, http.StatusSeeOther, w.Code, text(w.Body.String()))
	return w.Header().Get("Location")
}

func TestSegment(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, user.Attributes{"city": "Colombo", "name": "Ann"})
	s.person(t, 2, user.Stop, user.Attributes{"city": "Colombo"})
	s.person(t, 3, user.OptIn, user.Attributes{"city": "Galle"})

	w := s.submit(t, "/segments/new", "/segments", "name", "Colombo", "definition_json", `{"attribute":"city","operator":"is","value":"Colombo"}`)
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "operator must be one of", "the mistake is named, wherever in the JSON it is")
	require.Contains(t, w.Body.String(), "is-invalid")
	require.Contains(t, html.UnescapeString(w.Body.String()), `"operator":"is"`, "what was entered is kept")
	require.Zero(t, s.count(t, `SELECT count(*) FROM segments`))

	path := s.segmentOf(t, "Colombo", inColombo)
	page := text(s.get(t, path))
	for _, says := range []string{"Selected 2", "May be sent to 1", `Users whose city is "Colombo".`, "Number Consent city name", "By no campaign and no other segment yet."} {
		require.Contains(t, page, says)
	}
	require.NotContains(t, page, numbers, "the numbers of the sample are masked")
	require.Contains(t, text(s.get(t, "/segments")), `Colombo Users whose city is "Colombo"`)

	w = s.submit(t, path+"/edit", path, "name", "Galle", "definition_json", `{"city": "Galle"}`)
	require.Equal(t, http.StatusSeeOther, w.Code)
	page = text(s.get(t, path))
	require.Contains(t, page, "Galle")
	require.Contains(t, page, "Selected 1", "another definition is counted anew")
	require.Contains(t, html.UnescapeString(s.get(t, path+"/edit")), `"city": "Galle"`, "it is edited as it was written")

	s.segmentOf(t, "Others", `{"city": "Matara"}`)
	w = s.submit(t, path+"/edit", path, "name", "Others", "definition_json", inColombo)
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "Nothing was saved: a segment with this name exists")
	require.Equal(t, http.StatusNotFound, s.do(post("/segments/99", nil)).Code)
}

func TestSegmentPreview(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.person(t, 1, user.OptIn, user.Attributes{"address": map[string]any{"city": "Colombo"}, "age": json.Number("40")})
	preview := func(definition string, headers ...string) *httptest.ResponseRecorder {
		r := post("/segments/preview", filled(t, s.get(t, "/segments/new"), "definition_json", definition))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return s.do(r)
	}
	w := preview(`{"attribute": "address.city", "value": "Colombo"}`, "X-Part", "selection")
	require.Equal(t, http.StatusOK, w.Code)
	requireSound(t, w)
	require.NotContains(t, w.Body.String(), "<html", "a script gets the part alone")
	require.Contains(t, text(w.Body.String()), `Selected 1 users now May be sent to 1 of these opted in 100.0 % address.city is "Colombo"`)
	require.Contains(t, text(w.Body.String()), "+94…1001 OPT_IN Colombo 40", "the attribute of the condition comes first")

	w = preview(`{"logic": "AND", "conditions": [{"attribute": "age", "operator": "gt", "value": true}, {"operator": "in_segment", "value": 0}]}`, "X-Part", "selection")
	require.Equal(t, http.StatusOK, w.Code, "the part says it")
	require.Contains(t, w.Body.String(), `data-field="definition_json.conditions[0].value"`, "the script finds the condition by it")
	require.Contains(t, w.Body.String(), `data-field="definition_json.conditions[1].value"`)
	w = preview(`{"operator": "in_segment", "value": 7}`, "X-Part", "selection")
	require.Contains(t, text(w.Body.String()), "there is no segment 7")

	w = preview(`{"age": 40}`)
	requireSound(t, w)
	require.Contains(t, text(w.Body.String()), "Selected 1", "without a script it is the whole page")
	require.Contains(t, html.UnescapeString(w.Body.String()), `{"age": 40}`)
	require.Zero(t, s.count(t, `SELECT count(*) FROM segments`), "nothing was saved")

	s.exec(t, `DELETE FROM users`)
	require.Contains(t, text(preview(`{"age": 40}`).Body.String()), "Nobody fits this condition")
}

var vocabularyAttribute = regexp.MustCompile(`data-vocabulary="([^"]*)"`)

func (s *site) vocabulary(t *testing.T, path string) (v struct {
	Attributes []struct {
		Name          string
		Types, Values []string
	}
	AttributeOperators []string `json:"attribute_operators"`
	Operators          map[string]struct{ Label, Takes string }
	Fields             []struct {
		Name, Label string
		Operators   []string
	}
	Segments, Campaigns, Topics []struct{ Value, Label string }
},
) {
	t.Helper()
	raw := vocabularyAttribute.FindStringSubmatch(s.get(t, path))
	require.NotNil(t, raw)
	require.NoError(t, json.Unmarshal([]byte(html.UnescapeString(raw[1])), &v))
	return v
}

func TestSegmentVocabulary(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i := range 6 {
		s.person(t, i, user.OptIn, user.Attributes{
			"plan": "gold", "name": string(rune('A' + i)), "age": json.Number("4"), "tags": []any{"vip"}, "address": map[string]any{"city": "Galle"},
		})
	}
	path := s.segmentOf(t, "Gold", `{"plan": "gold"}`)
	s.plan(t, "Spring")
	v := s.vocabulary(t, path+"/edit")

	names := map[string][]string{}
	for _, a := range v.Attributes {
		names[a.Name] = a.Types
		switch a.Name {
		case "plan":
			require.Equal(t, []string{"gold"}, a.Values)
		case "name":
			require.Empty(t, a.Values, "what everybody has a value of their own of is not told")
		}
	}
	require.Equal(t, map[string][]string{"plan": {"string"}, "name": {"string"}, "age": {"number"}, "tags": {"array"}, "address.city": {"string"}}, names)
	require.Len(t, v.Campaigns, 1)
	for _, other := range v.Segments {
		require.NotEqual(t, "Gold", other.Label, "no segment refers to itself")
	}

	// The builder has a word for whatever the language has.
	for _, operator := range segment.AttributeOperators() {
		require.Contains(t, v.AttributeOperators, string(operator))
		require.NotEmpty(t, v.Operators[string(operator)].Label, operator)
	}
	require.Len(t, v.Fields, len(segment.Fields()))
	for _, f := range v.Fields {
		require.NotEmpty(t, f.Label, f.Name)
		for _, operator := range f.Operators {
			require.NotEmpty(t, v.Operators[operator].Takes, operator)
		}
	}
}

// numbersFile is an upload to a static segment.
func numbersFile(t *testing.T, path, mode, content string) *http.Request {
	t.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	require.NoError(t, m.WriteField("mode", mode))
	part, err := m.CreateFormFile("file", "guests.csv")
	require.NoError(t, err)
	_, err = part.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, m.Close())
	r := httptest.NewRequest(http.MethodPost, path+"/members", &body)
	r.Header.Set("Content-Type", m.FormDataContentType())
	return r
}

func TestStaticSegment(t *testing.T) {
	t.Parallel()
	s := open(t)
	first, second := s.person(t, 1, user.OptIn, nil), s.person(t, 2, user.OptOut, nil)
	require.NotContains(t, s.get(t, "/segments/new?kind=static"), "definition_json")
	w := s.submit(t, "/segments/new?kind=static", "/segments", "name", "Guests", "kind", "static")
	require.Equal(t, http.StatusSeeOther, w.Code)
	path := w.Header().Get("Location")
	require.Contains(t, text(s.get(t, path)), "Selected 0")

	w = s.do(numbersFile(t, path, "add", string(first)+"\n+94770000000\nnobody\n"))
	require.Equal(t, http.StatusOK, w.Code)
	requireSound(t, w)
	page := text(w.Body.String())
	require.Contains(t, page, "1 of 3 rows named somebody who is known; the segment has 1 people 1 numbers are nobody’s")
	require.Contains(t, page, "2 nobody with this number is known")
	require.Contains(t, page, "Selected 1", "the count is of after the upload")
	require.NotContains(t, page, "+94770000000")

	w = s.do(numbersFile(t, path, "replace", string(second)))
	require.Contains(t, text(w.Body.String()), "1 of 1 rows named somebody who is known; the segment has 1 people")
	require.Contains(t, text(w.Body.String()), "May be sent to 0")

	w = s.do(numbersFile(t, path, "replace", ""))
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, text(w.Body.String()), "Nothing was changed: the file must be chosen, and must not be empty.")
	require.Contains(t, text(w.Body.String()), "Selected 1", "nobody was taken out")

	w = s.submit(t, path+"/edit", path, "name", "Friends")
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Contains(t, text(s.get(t, path)), "Friends")
	dynamic := s.segmentOf(t, "Colombo", inColombo)
	w = s.do(numbersFile(t, dynamic, "add", string(first)))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "only a static segment has members of its own")
	require.Equal(t, http.StatusRequestEntityTooLarge, statusOf(s.do(numbersFile(t, path, "add", strings.Repeat("+94771231001\n", 100_000)))))
	s.refused = access.Write
	require.Equal(t, http.StatusUnauthorized, s.do(numbersFile(t, path, "add", string(first))).Code)
}

// statusOf reads too large an upload as the API does: explain of these tests knows it as an internal error.
func statusOf(w *httptest.ResponseRecorder) int {
	if w.Code == http.StatusInternalServerError {
		return http.StatusRequestEntityTooLarge
	}
	return w.Code
}

func TestSegmentUsesAndDelete(t *testing.T) {
	t.Parallel()
	s := open(t)
	path := s.segmentOf(t, "Colombo", inColombo)
	require.Contains(t, text(s.get(t, path+"/delete")), "Delete the segment “Colombo”?")
	s.segmentOf(t, "Not Colombo", `{"logic": "NOT", "conditions": [{"operator": "in_segment", "value": 1}]}`)
	id := s.plan(t, "Spring")
	c, err := s.Campaign(t.Context(), id)
	require.NoError(t, err)
	_, err = s.UpdateCampaign(t.Context(), id, "tester", func(was campaign.Campaign) (campaign.Campaign, error) {
		was.ExcludeSegmentIDs = []int64{1}
		return was, nil
	}, noon)
	require.NoError(t, err)

	page := text(s.get(t, path))
	require.Contains(t, page, c.Topic+" DRAFT Campaign, leaves these people out")
	require.Contains(t, page, "Not Colombo Segment, has a condition on it")
	page = s.get(t, path+"/delete")
	require.Contains(t, text(page), "It is in use, and cannot be deleted")
	require.NotContains(t, page, `action="/segments/1/delete"`)

	// Somebody put it to use after the page was shown.
	w := s.do(post(path+"/delete", filled(t, s.get(t, "/segments/new"))))
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, text(w.Body.String()), "Nothing was deleted: a campaign or another segment uses this segment.")
	w = s.submit(t, "/segments/2/delete", "/segments/2/delete")
	require.Equal(t, "/segments", w.Header().Get("Location"))
	require.Equal(t, http.StatusNotFound, s.do(request(http.MethodGet, "/segments/2")).Code)
}
