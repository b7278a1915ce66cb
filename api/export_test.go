package api_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/internal/report"
)

// crowd writes a run with n pending messages, every tenth of them failed with 63016.
func (e *engine) crowd(t *testing.T, n int) (path string) {
	t.Helper()
	id := e.campaign(t)
	run := e.run(t, id)
	e.exec(t, `INSERT INTO users (phone_number, consent_state, created_at, updated_at) SELECT '+9477' || (1000000 + i), 'OPT_IN', $2, $2 FROM generate_series(1, $1) i`, n, noon)
	e.exec(t, `INSERT INTO messages (id, run_id, user_id, seq, channel, state, reason, error_code, created_at, ended_at, updated_at)
		SELECT uuid_v7($2), $1, id, id, 'whatsapp', CASE WHEN id % 10 = 0 THEN 'failed' ELSE 'pending' END, CASE WHEN id % 10 = 0 THEN 'provider_error' ELSE '' END,
			CASE WHEN id % 10 = 0 THEN 63016 END, $2, CASE WHEN id % 10 = 0 THEN $2 END, $2 FROM users`, run, noon)
	return fmt.Sprintf("/api/v1/campaigns/%d/recipients.csv", id)
}

func TestExportRecipients(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const n = 4500 // some pages
	path := e.crowd(t, n)
	export := func(query string) [][]string {
		t.Helper()
		w := e.send("GET", path+query, "", "")
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		require.Equal(t, "text/csv", w.Header().Get("Content-Type"))
		require.Equal(t, `attachment; filename="campaign-1-run-1-recipients.csv"`, w.Header().Get("Content-Disposition"))
		rows, err := csv.NewReader(w.Body).ReadAll()
		require.NoError(t, err)
		return rows
	}
	rows := export("")
	require.Len(t, rows, n+1)
	require.Equal(t, strings.Split("seq,message_id,masked_phone,state,reason,waits_until,attempt_count,error_code,created_at,accepted_at,sent_at,delivered_at,read_at,ended_at,updated_at", ","), rows[0])
	for i, row := range rows[1:] {
		require.Equal(t, fmt.Sprint(i+1), row[0], "each once, in order")
	}
	at := "2026-03-02T12:00:00Z"
	require.Equal(t, []string{"10", rows[10][1], "'+94…0010", "failed", "provider_error", "", "0", "63016", at, "", "", "", "", at, at}, rows[10], "no formula, no number in full")
	require.Len(t, export("?error_code=63016"), n/10+1)
	require.Len(t, export("?run=1&state=pending"), n*9/10+1)
	require.Len(t, export("?reason=quiet_hours"), 1)
	require.Equal(t, 404, e.send("GET", path+"?run=2", "", "").Code)
	require.Equal(t, 400, e.send("GET", path+"?limit=1", "", "").Code)

	e.campaign(t)
	w := e.send("GET", strings.Replace(path, "/1/", "/2/", 1), "", "")
	require.Equal(t, 200, w.Code)
	require.Equal(t, 1, strings.Count(w.Body.String(), "\n"), "before the first run there is nobody")
}

// paged is a store whose pages of recipients can be watched.
type paged struct {
	api.Store
	page func(ctx context.Context, after int) error
}

func (s paged) RunRecipients(ctx context.Context, runID int64, f report.RecipientFilter, after, limit int) ([]report.Message, error) {
	if err := s.page(ctx, after); err != nil {
		return nil, err
	}
	return s.Store.RunRecipients(ctx, runID, f, after, limit)
}

// exporting asks a real server for an export whose pages are watched.
func exporting(ctx context.Context, t *testing.T, page func(ctx context.Context, after int) error) (*http.Response, error) {
	t.Helper()
	e := start(t, func(d *api.Deps) {
		local(d)
		d.Store = paged{d.Store, page}
	})
	path := e.crowd(t, 4500)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, http.NoBody)
	require.NoError(t, err)
	return server.Client().Do(r)
}

func TestExportThatFails(t *testing.T) {
	t.Parallel()
	w, err := exporting(t.Context(), t, func(_ context.Context, after int) error {
		if after > 0 {
			return errors.New("the database is gone")
		}
		return nil
	})
	require.NoError(t, err)
	defer w.Body.Close()
	require.Equal(t, 200, w.StatusCode)
	_, err = io.Copy(io.Discard, w.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "nobody takes a part for the whole")

	w, err = exporting(t.Context(), t, func(context.Context, int) error { return errors.New("the database is gone") })
	require.NoError(t, err)
	defer w.Body.Close()
	require.Equal(t, 500, w.StatusCode)
	require.Equal(t, "application/problem+json", w.Header.Get("Content-Type"))
	require.Empty(t, w.Header.Get("Content-Disposition"))
}

func TestExportEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	asked, ended := make(chan struct{}), make(chan struct{})
	w, err := exporting(ctx, t, func(ctx context.Context, after int) error {
		if after == 0 {
			return nil
		}
		close(asked)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	})
	require.NoError(t, err)
	defer w.Body.Close()
	go func() { _, _ = io.Copy(io.Discard, w.Body) }() // as far as it comes
	for what, happened := range []chan struct{}{asked, ended} {
		select {
		case <-happened:
			leave()
		case <-time.After(10 * time.Second):
			t.Fatal([]string{"the second page was not asked for", "nobody waits for the rows, and they are still asked for"}[what])
		}
	}
}
