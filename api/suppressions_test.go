package api_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSuppressionAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const list = "/api/v1/suppressions"
	e.call(t, 201, "POST", "/api/v1/users", `{"phone_number": "+94771234567", "consent_state": "OPT_IN"}`)
	made := e.call(t, 201, "POST", list, `{"phone_number": "whatsapp:+94 77 123 4567", "reason": "complaint", "evidence": "ticket 7"}`)
	require.Len(t, made["number_hmac"], 64)
	delete(made, "number_hmac")
	require.Equal(t, map[string]any{
		"id": 1.0, "masked_phone": "+94…4567", "scope": "global", "reason": "complaint", "evidence": "ticket 7", "source": "api", "actor": "local",
		"created_at": "2026-03-02T12:00:00Z", "lifted_at": nil, "lifted_by": nil, "lifted_evidence": nil,
	}, made)
	e.call(t, 409, "POST", list, `{"phone_number": "+94771234567"}`)
	stranger := e.call(t, 201, "POST", list, `{"phone_number": "+94771234568", "scope": "channel:sms"}`)
	require.Equal(t, []any{nil, "other", "channel:sms"}, []any{stranger["masked_phone"], stranger["reason"], stranger["scope"]})
	require.Equal(t, []any{"global"}, e.call(t, 200, "GET", "/api/v1/users/+94771234567", "")["suppressed"])

	for body, field := range map[string]string{
		`{"phone_number": "hello"}`: "phone_number",
		`{}`:                        "phone_number",
		`{"phone_number": "+94771234567", "scope": "everything"}`:                  "scope",
		`{"phone_number": "+94771234567", "scope": "topic:9"}`:                     "scope",
		`{"phone_number": "+94771234567", "reason": "erased"}`:                     "reason",
		`{"phone_number": "+94771234567", "evidence": "", "scope": "channel:sms"}`: "evidence",
	} {
		require.Equal(t, []string{field}, fields(e.call(t, 422, "POST", list, body)), body)
	}

	page := e.call(t, 200, "GET", list+"?limit=1", "")
	require.Equal(t, 2.0, page["total"])
	require.Equal(t, stranger["id"], page["suppressions"].([]any)[0].(map[string]any)["id"])
	page = e.call(t, 200, "GET", list+"?limit=1&cursor="+page["next_cursor"].(string), "")
	require.Equal(t, 1.0, page["suppressions"].([]any)[0].(map[string]any)["id"])
	for query, total := range map[string]float64{
		"?scope=channel:sms": 1, "?phone_number=%2B94771234568": 1, "?phone_number=94771234568": 1, "?phone_number=%2B94771234569": 0, "?scope=topic:1": 0,
	} {
		require.Equal(t, total, e.call(t, 200, "GET", list+query, "")["total"], query)
	}
	e.call(t, 400, "GET", list+"?scope=sms", "")
	e.call(t, 422, "GET", list+"?phone_number=12345", "")

	require.Equal(t, []string{"evidence"}, fields(e.call(t, 422, "POST", list+"/1/lift", `{"evidence": "  "}`)))
	lifted := e.call(t, 200, "POST", list+"/1/lift", `{"evidence": "a letter"}`)
	require.Equal(t, []any{"local", "a letter", "2026-03-02T12:00:00Z"}, []any{lifted["lifted_by"], lifted["lifted_evidence"], lifted["lifted_at"]})
	e.call(t, 409, "POST", list+"/1/lift", `{"evidence": "a letter"}`)
	e.call(t, 404, "POST", list+"/9/lift", `{"evidence": "a letter"}`)
	require.Equal(t, 1.0, e.call(t, 200, "GET", list, "")["total"])
	require.Equal(t, 2.0, e.call(t, 200, "GET", list+"?lifted=true", "")["total"])
	require.Equal(t, []any{}, e.call(t, 200, "GET", "/api/v1/users/+94771234567", "")["suppressed"])
}

// sendFile uploads a file from this machine.
func (e *engine) sendFile(t *testing.T, target, name, content string) *httptest.ResponseRecorder {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, err := w.CreateFormFile("file", name)
	require.NoError(t, err)
	_, err = part.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return e.send("POST", target, w.FormDataContentType(), body.String())
}

func TestSuppressionImportAndExport(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const target = "/api/v1/suppressions/import?default_region=LK"
	const n = 1200 // some batches
	var file strings.Builder
	file.WriteString("phone_number;scope;reason;evidence\n")
	for i := range n {
		fmt.Fprintf(&file, "+9477%07d;;do_not_contact;list of 2026\n", i)
	}
	file.WriteString("077 000 0001;;;\n;;;\n+94770000001;channel:sms;legal;42\n+94770000002;topic:5;;\n+94770000003;all;;\n+94770000004;;bored;\n")
	w := e.sendFile(t, target, "list.csv", file.String())
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	require.Equal(t, []any{n + 6.0, n + 1.0, 1.0, 4.0}, []any{jsonAt(t, w, "total"), jsonAt(t, w, "added"), jsonAt(t, w, "known"), jsonAt(t, w, "failed")})
	var lines []any
	for _, refused := range jsonAt(t, w, "errors").([]any) {
		lines = append(lines, refused.(map[string]any)["line"], refused.(map[string]any)["field"])
	}
	require.ElementsMatch(t, []any{n + 3.0, "phone_number", n + 5.0, "scope", n + 6.0, "scope", n + 7.0, "reason"}, lines)
	w = e.sendFile(t, target, "list.csv", file.String())
	require.Equal(t, []any{0.0, n + 2.0}, []any{jsonAt(t, w, "added"), jsonAt(t, w, "known")}, "again does no harm")

	require.Equal(t, 422, e.sendFile(t, target, "list.csv", "phone_number\n").Code)
	require.Equal(t, 422, e.sendFile(t, target, "list.csv", "number\n+94771234567\n").Code)
	require.Equal(t, 422, e.sendFile(t, target, "list.pdf", "x").Code)
	require.Equal(t, 415, e.send("POST", target, "application/json", `[]`).Code)

	w = e.send("GET", "/api/v1/suppressions/export", "", "")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, `attachment; filename="suppressions.csv"`, w.Header().Get("Content-Disposition"))
	rows, err := csv.NewReader(w.Body).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, n+2)
	require.Equal(t, "id", rows[0][0])
	newest := rows[1]
	require.Len(t, newest[1], 64)
	require.Equal(t, []string{"channel:sms", "legal", "42", "import", "local", "2026-03-02T12:00:00Z", "", "", ""}, newest[4:])
}
