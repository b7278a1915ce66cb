package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
)

func (s *server) ExportRecipients(ctx context.Context, r openapi.ExportRecipientsRequestObject) (openapi.ExportRecipientsResponseObject, error) {
	filter := report.RecipientFilter{
		Run: value(r.Params.Run), State: message.State(value(r.Params.State)), Reason: value(r.Params.Reason), ErrorCode: value(r.Params.ErrorCode),
	}
	c, err := s.Store.CampaignRun(ctx, r.ID, filter.Run)
	if err != nil {
		return nil, err
	}
	name, page := fmt.Sprintf("campaign-%d-recipients.csv", c.ID), func(int) ([]report.Message, error) { return nil, nil }
	if c.Run != nil {
		name = fmt.Sprintf("campaign-%d-run-%d-recipients.csv", c.ID, c.Run.Number)
		page = func(after int) ([]report.Message, error) {
			return s.Store.RunRecipients(ctx, c.Run.ID, filter, after, exportPage)
		}
	}
	x := &download{}
	x.writePlainCSV(recipientColumns...)
	after := 0
	x.page = func() (bool, error) {
		rows, err := page(after)
		for _, m := range rows {
			after = m.Seq
			x.writeCSV(recipientCells(m)...)
		}
		return len(rows) < exportPage, err
	}
	if err := x.more(); err != nil {
		return nil, err
	}
	return openapi.ExportRecipients200TextCsvResponse{
		Body: x, Headers: openapi.ExportRecipients200ResponseHeaders{ContentDisposition: attachment(name)},
	}, nil
}

func recipientCells(m report.Message) []string {
	return []string{
		strconv.Itoa(m.Seq), m.ID.String(), value(masked(m.Phone)), string(m.State), m.Reason, timeCell(m.WaitsUntil),
		strconv.Itoa(m.AttemptCount), numberCell(m.ErrorCode), timeCell(&m.CreatedAt), timeCell(m.AcceptedAt), timeCell(m.SentAt),
		timeCell(m.DeliveredAt), timeCell(m.ReadAt), timeCell(m.EndedAt), timeCell(&m.UpdatedAt),
	}
}

func attachment(name string) string { return `attachment; filename="` + name + `"` }

// exportPage is how many rows an export holds in memory.
const exportPage = 2000

var recipientColumns = []string{
	"seq", "message_id", "masked_phone", "state", "reason", "waits_until", "attempt_count", "error_code",
	"created_at", "accepted_at", "sent_at", "delivered_at", "read_at", "ended_at", "updated_at",
}

// download reads as a file that is written page by page. It asks for a page when the one before was taken, each in a
// statement of its own: none takes long, however long the caller takes, and none is asked for once the caller is gone.
// Whoever makes one asks for the first page, while an error can still be told.
type download struct {
	page func() (last bool, err error) // writes the next page
	text bytes.Buffer                  // not taken yet
	done bool
}

func (d *download) Read(p []byte) (int, error) {
	for d.text.Len() == 0 && !d.done {
		if err := d.more(); err != nil {
			return 0, err
		}
	}
	if d.text.Len() == 0 {
		return 0, io.EOF
	}
	return d.text.Read(p)
}

func (d *download) more() (err error) {
	d.done, err = d.page()
	return err
}

// writeCSV writes a line, with no cell that a spreadsheet would take for a formula.
func (d *download) writeCSV(cells ...string) {
	for i, cell := range cells {
		cells[i] = harmless(cell)
	}
	d.writePlainCSV(cells...)
}

// writePlainCSV writes cells that are known to be harmless.
func (d *download) writePlainCSV(cells ...string) {
	w := csv.NewWriter(&d.text)
	w.UseCRLF = true
	_ = w.Write(cells) // a buffer never fails
	w.Flush()
}

// harmless keeps spreadsheets from taking a cell for a formula.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n|", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func timeCell(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func numberCell(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
