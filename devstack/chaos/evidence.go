package chaos

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// collect reads what the database and the simulated Twilio hold at the end.
func (d *driver) collect(ctx context.Context) (Evidence, error) {
	e := Evidence{People: d.schedule.People, Stops: d.stops, Answered: d.answered, Receipts: map[Receipt]bool{}, Inbound: map[string]bool{}}
	conn, err := pgx.Connect(ctx, d.DatabaseURL())
	if err != nil {
		return Evidence{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for c, plan := range d.plans {
		k := CampaignFacts{ID: plan.id, Quiet: d.quiet[c]}
		err := conn.QueryRow(ctx, `SELECT status, coalesce((SELECT audience_size FROM campaign_runs WHERE campaign_id = c.id), 0)
			FROM campaigns c WHERE id = $1`, plan.id).Scan(&k.Status, &k.Audience)
		if err != nil {
			return Evidence{}, err
		}
		e.Campaigns = append(e.Campaigns, k)
	}
	if e.Messages, err = rows(ctx, conn, `
		SELECT m.id::text, coalesce(u.phone_number, ''), m.state, m.reason, r.campaign_id, coalesce(m.error_code, 0)
		FROM messages m JOIN campaign_runs r ON r.id = m.run_id LEFT JOIN users u ON u.id = m.user_id ORDER BY m.id`,
		func(row pgx.CollectableRow) (m MessageRow, err error) {
			return m, row.Scan(&m.ID, &m.Number, &m.State, &m.Reason, &m.CampaignID, &m.ErrorCode)
		}); err != nil {
		return Evidence{}, err
	}
	if e.Attempts, err = rows(ctx, conn, `
		SELECT id::text, message_id::text, state, coalesce(provider_sid, ''), detail, number, coalesce(http_status, 0), coalesce(error_code, 0),
		       started_at, lease_until, ended_at
		FROM attempts ORDER BY id`,
		func(row pgx.CollectableRow) (a AttemptRow, err error) {
			var ended *time.Time
			err = row.Scan(&a.ID, &a.MessageID, &a.State, &a.SID, &a.Detail, &a.Number, &a.HTTPStatus, &a.ErrorCode, &a.StartedAt, &a.LeaseUntil, &ended)
			if ended != nil {
				a.EndedAt = *ended
			}
			return a, err
		}); err != nil {
		return Evidence{}, err
	}
	receipts, err := rows(ctx, conn, `SELECT provider_sid, status, error_code FROM receipts`,
		func(row pgx.CollectableRow) (r Receipt, err error) {
			return r, row.Scan(&r.SID, &r.Status, &r.ErrorCode)
		})
	if err != nil {
		return Evidence{}, err
	}
	for _, r := range receipts {
		e.Receipts[r] = true
	}
	inbound, err := rows(ctx, conn, `SELECT provider_sid FROM inbound_messages`, pgx.RowTo[string])
	if err != nil {
		return Evidence{}, err
	}
	for _, sid := range inbound {
		e.Inbound[sid] = true
	}
	err = d.collectProvider(ctx, &e)
	return e, err
}

func rows[T any](ctx context.Context, conn *pgx.Conn, sql string, scan pgx.RowToFunc[T]) ([]T, error) {
	found, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, scan)
}

// collectProvider adds what the simulated Twilio knows.
func (d *driver) collectProvider(ctx context.Context, e *Evidence) error {
	var recipients []struct {
		To       string
		Messages []struct {
			SID, Status    string
			ErrorCode      int       `json:"error_code"`
			StatusCallback string    `json:"status_callback"`
			AcceptedAt     time.Time `json:"accepted_at"`
		}
	}
	if err := d.ask(ctx, http.MethodGet, d.SimulatorURL()+"/sim/recipients", nil, &recipients); err != nil {
		return err
	}
	for _, r := range recipients {
		for _, m := range r.Messages {
			callback, err := url.Parse(m.StatusCallback)
			if err != nil {
				return err
			}
			e.Accepted = append(e.Accepted, Accepted{
				SID: m.SID, Number: strings.TrimPrefix(r.To, "whatsapp:"), AttemptID: callback.Query().Get("attempt"),
				Status: m.Status, ErrorCode: m.ErrorCode, At: m.AcceptedAt,
			})
		}
	}
	var callbacks []struct {
		SID, Status string
		ErrorCode   int `json:"error_code"`
	}
	if err := d.ask(ctx, http.MethodGet, d.SimulatorURL()+"/sim/callbacks", nil, &callbacks); err != nil {
		return err
	}
	for _, c := range callbacks {
		e.Callbacks = append(e.Callbacks, Receipt{SID: c.SID, Status: c.Status, ErrorCode: c.ErrorCode})
	}
	return nil
}

// summary tells how much happened: a judge who found nothing may have had nothing to look at.
func (e Evidence) summary(w io.Writer) {
	states := map[string]int{}
	for _, m := range e.Messages {
		states["messages "+m.State]++
	}
	for _, a := range e.Attempts {
		states["attempts "+a.State]++
	}
	for _, what := range slices.Sorted(maps.Keys(states)) {
		fmt.Fprintf(w, "%-22s %5d\n", what, states[what])
	}
	fmt.Fprintf(w, "%-22s %5d\n%-22s %5d\n", "accepted by Twilio", len(e.Accepted), "receipts", len(e.Receipts))
}
