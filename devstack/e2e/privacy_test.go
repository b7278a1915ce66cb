package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// dump is every value of every column of the product's database that could hold a text.
func (w *world) dump() string {
	w.t.Helper()
	ctx := w.t.Context()
	conn, err := pgx.Connect(ctx, w.DatabaseURL())
	require.NoError(w.t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `SELECT format('SELECT coalesce(string_agg(%s, E''\n''), '''') FROM %I',
			string_agg(CASE data_type WHEN 'bytea' THEN format('coalesce(encode(%I, ''escape''), '''')', column_name)
				ELSE format('coalesce(%I::text, '''')', column_name) END, ' || E''\t'' || '), table_name)
		FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name`)
	require.NoError(w.t, err)
	queries, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w.t, err)
	var all strings.Builder
	for _, sql := range queries {
		var text string
		require.NoError(w.t, conn.QueryRow(ctx, sql).Scan(&text), sql)
		all.WriteString(text + "\n")
	}
	return all.String()
}

// histories is all that Temporal keeps of all workflows.
func (w *world) histories() string {
	w.t.Helper()
	ctx, c := w.t.Context(), w.temporal()
	var all strings.Builder
	var page []byte
	for {
		list, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000, NextPageToken: page})
		require.NoError(w.t, err)
		for _, e := range list.Executions {
			all.WriteString(prototext.Format(e))
			events := c.GetWorkflowHistory(ctx, e.Execution.WorkflowId, e.Execution.RunId, false, 0)
			for events.HasNext() {
				event, err := events.Next()
				require.NoError(w.t, err)
				all.WriteString(prototext.Format(event))
			}
		}
		if page = list.NextPageToken; len(page) == 0 {
			return all.String()
		}
	}
}

// simulated is all that the simulated provider shows, and what it keeps on disk.
func (w *world) simulated() string {
	w.t.Helper()
	var all strings.Builder
	for _, path := range []string{"/sim/stats", "/sim/recipients", "/sim/messages", "/sim/callbacks"} {
		var page json.RawMessage
		w.sim("GET", path, nil, &page)
		all.Write(page)
	}
	journal, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(w.LogFile(stack.API))), "simulator", "journal.jsonl"))
	require.NoError(w.t, err)
	all.Write(journal)
	return all.String()
}

// erase erases a person and returns where the erasure is found.
func (w *world) erase(number string) string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodDelete, w.URL()+"/api/v1/users/"+url.PathEscape(number), http.NoBody)
	require.NoError(w.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	require.Equal(w.t, http.StatusNoContent, resp.StatusCode)
	return resp.Header.Get("Location")
}

// People are erased in the middle of a campaign: one who has a message, one whose message is just being sent, and one who
// still waits. When the erasures are complete nothing anywhere tells of them; imported again, they are not written to.
func TestErasureInMidCampaign(t *testing.T) {
	w := newWorld(t, map[stack.Role]map[string]string{stack.Simulator: {"SIMULATOR_DELAYS": "3s,1s,1s"}})
	const n = 60
	persons := w.people("+9477", "Lethe", n)
	c := w.campaign("Lethe", object{"rate_limit_per_second": 5})
	w.sim("PUT", "/sim/faults", object{"latency_ms": 300}, nil)
	w.trigger(c)
	w.until("some to be accepted", func() bool { return w.accepted() >= 10 })

	var written, flying, waiting string
	w.query(`SELECT u.phone_number FROM messages m JOIN users u ON u.id = m.user_id WHERE m.state IN ('accepted', 'sent', 'delivered', 'read') ORDER BY m.seq LIMIT 1`, &written)
	w.sim("POST", "/sim/inbound", object{"from": written, "to": "+14155238886", "body": "help", "profile_name": "Zebulon"}, nil)
	w.until("the reply to be accepted", func() bool {
		return w.count(`SELECT count(*) FROM messages WHERE reply = 'help' AND state IN ('accepted', 'sent', 'delivered', 'read')`) == 1
	})
	w.query(`SELECT u.phone_number FROM messages m JOIN users u ON u.id = m.user_id WHERE m.state = 'pending' ORDER BY m.seq DESC LIMIT 1`, &waiting)
	w.until("one to be on the way", func() bool {
		return w.count(`SELECT count(*) FROM messages WHERE state = 'sending'`) > 0
	})
	w.query(`SELECT u.phone_number FROM messages m JOIN users u ON u.id = m.user_id WHERE m.state IN ('sending', 'accepted') AND u.phone_number <> '`+written+`' ORDER BY m.seq DESC LIMIT 1`, &flying)
	record := w.api("GET", "/api/v1/users/"+url.PathEscape(written)+"/export", nil)
	require.Len(t, record["messages"], 2, "the campaign's and the reply")
	require.Len(t, record["inbound_messages"], 1)

	erased := []string{written, flying, waiting}
	var erasures []string
	for _, number := range erased {
		erasures = append(erasures, w.erase(number))
		status, _ := w.call("GET", w.URL()+"/api/v1/users/"+url.PathEscape(number), nil)
		require.Equal(t, http.StatusNotFound, status)
	}
	for _, path := range erasures {
		w.until("the provider to have nothing any more", func() bool { return w.api("GET", path, nil)["status"] == "COMPLETED" })
	}
	w.until("the campaign to end", func() bool { return w.status(c) == "COMPLETED" })
	w.sumsUp(c, n)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM messages WHERE state = 'cancelled' AND reason = 'user_erased'`))

	places := map[string]string{"PostgreSQL": w.dump(), "Temporal": w.histories(), "the simulator": w.simulated()}
	var witness string // somebody who was not erased: the search finds what is there
	for _, p := range persons {
		traced := false
		for _, number := range erased {
			traced = traced || number == p.number
		}
		if !traced {
			witness = p.number
			continue
		}
		for place, text := range places {
			require.NotContains(t, text, p.number[1:], place)
			require.NotContains(t, text, p.name+"\"", place)
			require.NotContains(t, text, p.name+",", place)
		}
	}
	require.Contains(t, places["PostgreSQL"], witness)
	require.Contains(t, places["the simulator"], witness)
	require.Contains(t, places["Temporal"], fmt.Sprintf("campaign/%d/run/1", c))

	w.importUsers([]object{{"phone_number": waiting, "name": "Zebulon", "city": "Styx", "consent_state": "OPT_IN"}})
	require.Equal(t, []any{"global"}, w.api("GET", "/api/v1/users/"+url.PathEscape(waiting), nil)["suppressed"])
	accepted := w.accepted()
	again := w.campaign("Styx", nil)
	w.trigger(again)
	w.until("the second campaign to end", func() bool { return w.status(again) == "COMPLETED" })
	require.Equal(t, accepted, w.accepted())
	require.Equal(t, 1, w.count(fmt.Sprintf(`SELECT count(*) FROM messages m JOIN campaign_runs r ON r.id = m.run_id
		WHERE r.campaign_id = %d AND m.state = 'suppressed' AND m.reason = 'suppressed'`, again)))
}

// What was kept for long enough is emptied by the schedule that the worker made.
func TestRetention(t *testing.T) {
	w := newWorld(t, map[stack.Role]map[string]string{stack.Worker: {"RETENTION_PAYLOAD_DAYS": "30"}})
	persons := w.people("+9477", "Mnemosyne", 2)
	c := w.campaign("Mnemosyne", nil)
	w.trigger(c)
	w.awaitDelivered(c, len(persons))
	w.exec(`UPDATE receipts SET received_at = received_at - interval '31 days' WHERE id = (SELECT min(id) FROM receipts)`)
	require.NoError(t, w.Restart(t.Context(), stack.Worker), "its schedule is there already")
	emptied := func() int { return w.count(`SELECT count(*) FROM receipts WHERE payload = '{}'`) }
	require.Zero(t, emptied())
	schedule := w.temporal().ScheduleClient()
	w.until("the schedule to be there", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return schedule.GetHandle(ctx, "retention").Trigger(ctx, client.ScheduleTriggerOptions{}) == nil
	})
	w.until("the old to be emptied", func() bool { return emptied() > 0 })
	require.Equal(t, 1, emptied(), "the young stays")
}
