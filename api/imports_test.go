package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/intake"
)

func TestImports(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	upload := func(target, field, name, content string) *httptest.ResponseRecorder {
		kind, body := form(t, "b", field, name, content)
		return e.send("POST", target, kind, body)
	}
	const bulk, ingest = "/api/v1/users/bulk", "/api/v1/ingest/users/bulk"
	w := upload(ingest+"?default_region=LK", "file", `C:\lists\people.csv`, "phone,name\n0771234567,A\nx,B\n")
	require.Equal(t, 202, w.Code, w.Body.String())
	id := uuid.MustParse(jsonAt(t, w, "task_id").(string))
	require.Equal(t, "Bulk ingestion started", jsonAt(t, w, "message"))
	require.Equal(t, map[string]any{"filename": "people.csv", "records_preview": 2.0}, jsonAt(t, w, "file_info"))

	status := e.call(t, 200, "GET", "/api/v1/ingest/status/"+id.String(), "")
	require.Equal(t, []any{"PENDING", 0.0, 2.0, []any{}}, []any{status["status"], status["processed"], status["total"], status["errors"]})
	_, err := e.store.ProcessImport(t.Context(), id, 100, noon)
	require.NoError(t, err)
	status = e.call(t, 200, "GET", "/api/v1/ingest/status/"+id.String(), "")
	require.Equal(t, []any{"COMPLETED", 2.0, 1.0, 1.0}, []any{status["status"], status["processed"], status["succeeded"], status["failed"]})
	refused := status["errors"].([]any)[0].(map[string]any)
	require.Equal(t, []any{3.0, "phone_number"}, []any{refused["line"], refused["field"]})
	list := e.call(t, 200, "GET", "/api/v1/ingest/status/"+id.String()+"/errors?limit=1", "")
	require.Equal(t, []any{1.0, nil}, []any{list["total"], list["next_cursor"]})

	body := e.send("POST", bulk, "application/json", `[{"phone_number": "+94771234568"}, {"phone_number": "nul\u0000"}, null]`)
	require.Equal(t, 202, body.Code, body.Body.String())
	imp, err := e.store.Import(t.Context(), uuid.MustParse(jsonAt(t, body, "task_id").(string)))
	require.NoError(t, err)
	require.Equal(t, []any{intake.JSON, 3, "local"}, []any{imp.Format, imp.Total, imp.CreatedBy})

	for name, refusal := range map[string]struct {
		w      *httptest.ResponseRecorder
		status int
		says   string
	}{
		"not a list":    {e.send("POST", bulk, "application/json", `{"phone_number": "+94771234568"}`), 422, "must be an array"},
		"empty list":    {e.send("POST", bulk, "application/json", `[]`), 422, "at least 1 elements"},
		"spreadsheet":   {upload(bulk, "file", "a.xlsx", "PK"), 422, "must be named .csv, .json or .jsonl"},
		"another field": {upload(bulk, "upload", "a.csv", "phone\n"), 422, "one part named file"},
		"no rows":       {upload(bulk, "file", "a.csv", "phone\n"), 422, "has no records"},
		"no header":     {upload(bulk, "file", "a.csv", "name\nA\n"), 422, "phone_number"},
		"broken JSON":   {upload(bulk, "file", "a.json", "[{}, {"), 422, "not valid JSON at record 2"},
		"too large":     {upload(bulk, "file", "a.jsonl", strings.Repeat("{}\n", 1<<19)), 413, "larger than 1 MiB"},
		"cut off":       {e.send("POST", bulk, "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\nphone"), 400, "must be complete"},
		"no boundary":   {e.send("POST", bulk, "multipart/form-data", "x"), 400, "cannot be read"},
		"text":          {e.send("POST", bulk, "text/csv", "phone"), 415, "multipart/form-data"},
	} {
		require.Equal(t, refusal.status, refusal.w.Code, "%s: %s", name, refusal.w.Body)
		require.Contains(t, refusal.w.Body.String(), refusal.says, name)
	}
	require.Equal(t, int64(2), get[int64](t, e, `SELECT count(*) FROM imports`))
}
