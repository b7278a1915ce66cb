package api_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/activities"
	"github.com/event-stream-engine/ese/internal/intake"
	"github.com/event-stream-engine/ese/internal/outbox"
)

// process takes an import in.
func (e *engine) process(t *testing.T, id uuid.UUID) {
	t.Helper()
	imports := &activities.Imports{Store: e.store, Now: func() time.Time { return noon.Add(2 * time.Second) }}
	require.NoError(t, imports.ProcessImport(t.Context(), outbox.Import{ImportID: id}))
}

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
	e.process(t, id)
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
		"not a list":     {e.send("POST", bulk, "application/json", `{"phone_number": "+94771234568"}`), 422, "must be an array"},
		"empty list":     {e.send("POST", bulk, "application/json", `[]`), 422, "at least 1 elements"},
		"another format": {upload(bulk, "file", "a.pdf", "x"), 422, "must be named .csv, .xlsx, .json or .jsonl"},
		"no workbook":    {upload(bulk, "file", "a.xlsx", "PK"), 422, "is not a workbook"},
		"another field":  {upload(bulk, "upload", "a.csv", "phone\n"), 422, "a part named file"},
		"another policy": {upload(bulk+"?policy=merge", "file", "a.csv", "phone\n"), 400, "must be one of add, update, replace"},
		"no mapping":     {upload(bulk+"?mapping=[]", "file", "a.csv", "phone\n"), 422, "must be a JSON object"},
		"another column": {upload(bulk+"?mapping="+url.QueryEscape(`{"Mobile":"phone_number"}`), "file", "a.csv", "phone\n"), 422, "is no column of the file"},
		"two files":      {e.multipart(bulk, "file", "phone\n+94771234567\n", "file", "phone\n"), 422, "must be given once"},
		"no rows":        {upload(bulk, "file", "a.csv", "phone\n"), 422, "has no records"},
		"no header":      {upload(bulk, "file", "a.csv", "name\nA\n"), 422, "phone_number"},
		"broken JSON":    {upload(bulk, "file", "a.json", "[{}, {"), 422, "not valid JSON at record 2"},
		"too large":      {upload(bulk, "file", "a.jsonl", strings.Repeat("{}\n", 1<<19)), 413, "larger than 1 MiB"},
		"cut off":        {e.send("POST", bulk, "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\nphone"), 400, "must be complete"},
		"no boundary":    {e.send("POST", bulk, "multipart/form-data", "x"), 400, "cannot be read"},
		"text":           {e.send("POST", bulk, "text/csv", "phone"), 415, "multipart/form-data"},
	} {
		require.Equal(t, refusal.status, refusal.w.Code, "%s: %s", name, refusal.w.Body)
		require.Contains(t, refusal.w.Body.String(), refusal.says, name)
	}
	require.Equal(t, int64(2), get[int64](t, e, `SELECT count(*) FROM imports`))
}

// multipart uploads parts: their names and contents in turns.
func (e *engine) multipart(target string, parts ...string) *httptest.ResponseRecorder {
	var b strings.Builder
	for i := 0; i < len(parts); i += 2 {
		file := ""
		if parts[i] == "file" {
			file = `; filename="a.csv"`
		}
		fmt.Fprintf(&b, "--b\r\nContent-Disposition: form-data; name=%q%s\r\n\r\n%s\r\n", parts[i], file, parts[i+1])
	}
	b.WriteString("--b--\r\n")
	return e.send("POST", target, "multipart/form-data; boundary=b", b.String())
}

func TestImportOptions(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const csv = "Mobile;Town;Points\n0771234561;Kandy;007\n=1+1;x;1\n+94771234562;\"a\nb\";many\n"
	const mapping = `{"Mobile": "phone_number", "Town": "address.city", "Points": {"to": "points", "type": "number"}}`
	run := func(query string, parts ...string) (id uuid.UUID, status map[string]any) {
		t.Helper()
		w := e.multipart("/api/v1/users/bulk?default_region=LK"+query, parts...)
		require.Equal(t, 202, w.Code, w.Body.String())
		id = uuid.MustParse(jsonAt(t, w, "task_id").(string))
		e.process(t, id)
		return id, e.call(t, 200, "GET", "/api/v1/imports/"+id.String(), "")
	}
	_, dry := run("&dry_run=true&policy=replace", "file", csv, "mapping", mapping)
	require.Equal(t, []any{"COMPLETED", true, "replace", 3.0, 0.0, 3.0}, []any{dry["status"], dry["dry_run"], dry["policy"], dry["processed"], dry["succeeded"], dry["failed"]})
	require.Zero(t, get[int64](t, e, `SELECT count(*) FROM users`))

	id, status := run("", "mapping", strings.Replace(mapping, "number\"}", "text\"}", 1), "file", csv)
	require.Equal(t, []any{"COMPLETED", false, "update", 3.0, 2.0, 1.0, 0.0}, []any{
		status["status"], status["dry_run"], status["policy"], status["processed"], status["succeeded"], status["failed"], status["skipped"],
	})
	require.Equal(t, []any{nil, nil}, []any{status["rows_per_second"], status["seconds_left"]}, "it took no time by this clock")
	require.JSONEq(t, `{"points": "007", "address": {"city": "Kandy"}}`, get[string](t, e, `SELECT attributes FROM users WHERE phone_number = '+94771234561'`))

	w := e.send("GET", "/api/v1/imports/"+id.String()+"/errors.csv", "", "")
	require.Equal(t, 200, w.Code, w.Body.String())
	require.Equal(t, "text/csv", w.Header().Get("Content-Type"))
	require.Equal(t, `attachment; filename="import-`+id.String()+`-errors.csv"`, w.Header().Get("Content-Disposition"))
	require.Equal(t, "line,field,reason,original\r\n3,phone_number,\"may hold digits, spaces, dashes, dots, brackets and a leading + only, such as +94 77 123 4567\",'=1+1;x;1\r\n",
		w.Body.String(), "no formula")
	require.Equal(t, 404, e.send("GET", "/api/v1/imports/"+uuid.NewString()+"/errors.csv", "", "").Code)

	_, status = run("&policy=add&mapping="+url.QueryEscape(`{"Mobile": "phone_number"}`), "file", "Mobile\n0771234561\n0771234563\n")
	require.Equal(t, []any{2.0, 1.0, 1.0}, []any{status["processed"], status["succeeded"], status["skipped"]})
}

func TestExportUsers(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const n = 1100 // some pages
	e.exec(t, `INSERT INTO users (phone_number, attributes, consent_state, region, zones, created_at, updated_at)
		SELECT '+9477' || (1000000 + i), jsonb_build_object('name', '=evil()', 'n', i), CASE WHEN i % 10 = 0 THEN 'STOP' ELSE 'OPT_IN' END, 'LK', '{Asia/Colombo}', $2, $2
		FROM generate_series(1, $1) i`, n, noon)
	w := e.send("GET", "/api/v1/users.csv", "", "")
	require.Equal(t, 200, w.Code, w.Body.String())
	require.Equal(t, `attachment; filename="users.csv"`, w.Header().Get("Content-Disposition"))
	rows, err := csv.NewReader(w.Body).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, n+1)
	at := "2026-03-02T12:00:00Z"
	require.Equal(t, []string{"phone_number", "consent_state", "region", "timezones", "created_at", "updated_at", "last_inbound_at", "name", "attributes"}, rows[0])
	require.Equal(t, []string{"+94771001100", "STOP", "LK", "Asia/Colombo", at, at, "", "'=evil()", `{"n":1100,"name":"=evil()"}`}, rows[1])
	require.Equal(t, "+94771000001", rows[n][0], "each once, newest first")

	lines := func(query string) []string {
		t.Helper()
		w := e.send("GET", "/api/v1/users.jsonl"+query, "", "")
		require.Equal(t, 200, w.Code, w.Body.String())
		require.Equal(t, "application/x-ndjson", w.Header().Get("Content-Type"))
		return strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
	}
	require.Len(t, lines(""), n)
	require.Len(t, lines("?consent_state=STOP"), n/10)
	found := lines("?q=94771000007")
	require.Len(t, found, 1)
	listed, err := json.Marshal(e.call(t, 200, "GET", "/api/v1/users?q=94771000007", "")["users"].([]any)[0])
	require.NoError(t, err)
	require.JSONEq(t, string(listed), found[0], "a line is what the list shows")
	require.Equal(t, []string{""}, lines("?q=1"))
	require.Equal(t, 400, e.send("GET", "/api/v1/users.csv?limit=1", "", "").Code)
	require.Equal(t, 200, e.send("GET", "/api/v1/users/+94771000007", "", "").Code)
}

func TestImportList(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	for _, dry := range []string{"false", "true"} {
		require.Equal(t, 202, e.send("POST", "/api/v1/users/bulk?dry_run="+dry, "application/json", `[{"phone_number": "+94771234567"}]`).Code)
	}
	first := e.call(t, 200, "GET", "/api/v1/imports?limit=1", "")
	require.Equal(t, 2.0, first["total"])
	require.Equal(t, true, first["imports"].([]any)[0].(map[string]any)["dry_run"], "the newest first")
	rest := e.call(t, 200, "GET", "/api/v1/imports?limit=1&cursor="+first["next_cursor"].(string), "")
	require.Equal(t, false, rest["imports"].([]any)[0].(map[string]any)["dry_run"])
	require.Nil(t, rest["next_cursor"])
}
