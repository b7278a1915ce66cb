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
	x := &recipientExport{name: fmt.Sprintf("campaign-%d-recipients.csv", c.ID)}
	x.page = func(int) ([]report.Message, error) { return nil, nil }
	if c.Run != nil {
		x.name = fmt.Sprintf("campaign-%d-run-%d-recipients.csv", c.ID, c.Run.Number)
		x.page = func(after int) ([]report.Message, error) {
			return s.Store.RunRecipients(ctx, c.Run.ID, filter, after, exportPage)
		}
	}
	x.write(recipientColumns...)
	if err := x.more(); err != nil { // the first page now, while an error can still be told
		return nil, err
	}
	return openapi.ExportRecipients200TextCsvResponse{
		Body: x, Headers: openapi.ExportRecipients200ResponseHeaders{ContentDisposition: `attachment; filename="` + x.name + `"`},
	}, nil
}

// exportPage is how many recipients an export holds in memory.
const exportPage = 2000

var recipientColumns = []string{
	"seq", "message_id", "masked_phone", "state", "reason", "waits_until", "attempt_count", "error_code",
	"created_at", "accepted_at", "sent_at", "delivered_at", "read_at", "ended_at", "updated_at",
}

// recipientExport reads as CSV. It asks for a page when the one before was taken, each in a statement of its own: none takes
// long, however long the caller takes, and none is asked for once the caller is gone.
type recipientExport struct {
	name  string
	page  func(after int) ([]report.Message, error)
	text  bytes.Buffer // not taken yet
	after int
	done  bool
}

func (x *recipientExport) Read(p []byte) (int, error) {
	if x.text.Len() == 0 && !x.done {
		if err := x.more(); err != nil {
			return 0, err
		}
	}
	if x.text.Len() == 0 {
		return 0, io.EOF
	}
	return x.text.Read(p)
}

// more writes the next page.
func (x *recipientExport) more() error {
	rows, err := x.page(x.after)
	if err != nil {
		return err
	}
	x.done = len(rows) < exportPage
	for _, m := range rows {
		x.after = m.Seq
		x.write(
			strconv.Itoa(m.Seq), m.ID.String(), value(masked(m.Phone)), string(m.State), m.Reason, timeCell(m.WaitsUntil),
			strconv.Itoa(m.AttemptCount), numberCell(m.ErrorCode), timeCell(&m.CreatedAt), timeCell(m.AcceptedAt), timeCell(m.SentAt),
			timeCell(m.DeliveredAt), timeCell(m.ReadAt), timeCell(m.EndedAt), timeCell(&m.UpdatedAt),
		)
	}
	return nil
}

func (x *recipientExport) write(cells ...string) { writeCSV(&x.text, cells...) }

// writeCSV writes one record.
func writeCSV(text *bytes.Buffer, cells ...string) {
	safe := make([]string, len(cells))
	for i, cell := range cells {
		safe[i] = harmless(cell)
	}
	w := csv.NewWriter(text)
	w.UseCRLF = true
	_ = w.Write(safe) // a buffer never fails
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
