package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/devstack/measure"
	"github.com/event-stream-engine/ese/devstack/stack"
)

// A file of fifty thousand rows: the API is killed in the middle of its upload, which leaves nothing; then it is uploaded
// again, and the worker is killed twice while chunks are just being taken in. Nothing is lost, nothing is doubled.
func TestImportSurvivesKills(t *testing.T) {
	w := newWorld(t, nil)
	list, err := measure.WriteList(t.TempDir(), 50_000)
	require.NoError(t, err)

	body, half := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL()+"/api/v1/users/bulk", body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	answered := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			err = fmt.Errorf("answered %d", resp.StatusCode)
		}
		answered <- err
	}()
	_, err = io.WriteString(half, "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\nphone,name\n"+strings.Repeat("+94771234567,A\n", 1<<16))
	require.NoError(t, err, "the API takes the beginning in")
	require.NoError(t, w.Kill(stack.API))
	_ = half.CloseWithError(io.ErrUnexpectedEOF)
	require.Error(t, <-answered)
	require.NoError(t, w.Start(t.Context(), stack.API))
	require.Zero(t, w.count(`SELECT (SELECT count(*) FROM imports) + (SELECT count(*) FROM import_chunks) + (SELECT count(*) FROM users)`))

	m := &measure.Stack{Stack: w.Stack}
	id, err := m.Upload(t.Context(), list, "")
	require.NoError(t, err)
	for _, rows := range []int{1, 20_000} {
		w.until(fmt.Sprint(rows, " rows to be in"), func() bool {
			return w.count(`SELECT processed FROM imports`) >= rows
		})
		w.killHolding(`SELECT status FROM imports FOR NO KEY UPDATE`) // chunks wait for it before they commit
	}
	end, err := m.AwaitImport(t.Context(), id, 0)
	require.NoError(t, err)
	require.Equal(t, []int{list.Rows, list.Rows, list.Rows - list.Bad, list.Bad, list.Again},
		[]int{end.Total, end.Processed, end.Succeeded, end.Failed, end.DuplicatesMerged})
	require.Equal(t, list.People, w.count(`SELECT count(*) FROM users`))
	require.Equal(t, list.OptIn, w.count(`SELECT count(*) FROM users WHERE consent_state = 'OPT_IN'`))
	require.Equal(t, list.People, w.count(`SELECT count(DISTINCT user_id) FROM consent_events`))
	require.Equal(t, list.Bad, w.count(`SELECT count(*) FROM import_errors`))
	require.Zero(t, w.count(`SELECT count(*) FROM import_chunks`))

	status, csv := w.call(http.MethodGet, w.URL()+"/api/v1/imports/"+id+"/errors.csv", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, list.Bad+1, strings.Count(string(csv), "\r\n"))
	status, lines := w.call(http.MethodGet, w.URL()+"/api/v1/users.jsonl", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, list.People, strings.Count(string(lines), "\n"), "who came in goes out")
}

// killHolding kills the worker while a transaction holds what a statement locks, and starts it again.
func (w *world) killHolding(statement string) {
	w.t.Helper()
	ctx := w.t.Context()
	conn, err := pgx.Connect(ctx, w.DatabaseURL())
	require.NoError(w.t, err)
	defer func() { _ = conn.Close(ctx) }()
	tx, err := conn.Begin(ctx)
	require.NoError(w.t, err)
	var status string
	require.NoError(w.t, tx.QueryRow(ctx, statement).Scan(&status))
	require.Equal(w.t, "RUNNING", status)
	w.until("a chunk to wait", func() bool {
		return w.count(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%ImportAdvance%'`) > 0
	})
	require.NoError(w.t, w.Kill(stack.Worker))
	require.NoError(w.t, tx.Rollback(ctx))
	require.NoError(w.t, w.Start(ctx, stack.Worker))
}
