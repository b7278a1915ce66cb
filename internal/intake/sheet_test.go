package intake_test

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/intake"
)

// workbook writes cells, and lets fill do the rest.
func workbook(t *testing.T, rows [][]any, fill func(*excelize.File)) *bytes.Reader {
	t.Helper()
	book := excelize.NewFile()
	for i, row := range rows {
		cell, err := excelize.CoordinatesToCellName(1, i+1)
		require.NoError(t, err)
		require.NoError(t, book.SetSheetRow("Sheet1", cell, &row))
	}
	if fill != nil {
		fill(book)
	}
	var out bytes.Buffer
	require.NoError(t, book.Write(&out))
	require.NoError(t, book.Close())
	return bytes.NewReader(out.Bytes())
}

func TestWorkbook(t *testing.T) {
	t.Parallel()
	born := time.Date(1990, 5, 17, 0, 0, 0, 0, time.UTC)
	file := workbook(t, [][]any{
		{},
		{"phone", "name", "age", "vip", "born", "share"},
		{447400123456, "A, \"B\"\nC", 41, true, born, 0.1 + 0.2},
		{},
		{"+94771234562", "=SUM(1)", 1.5, false},
		{"0771234563", nil, "07"},
		{"9", nil, "07"},
		{94771234564},
	}, func(book *excelize.File) {
		_, err := book.NewSheet("Other")
		require.NoError(t, err)
		require.NoError(t, book.SetCellValue("Other", "A1", "not read"))
		padded, err := book.NewStyle(&excelize.Style{CustomNumFmt: ptr("+0")})
		require.NoError(t, err)
		require.NoError(t, book.SetCellStyle("Sheet1", "A8", "A8", padded))
	})
	rows, err := read(t, intake.Import{Format: intake.XLSX, DefaultRegion: "GB"}, file)
	require.NoError(t, err)
	require.Equal(t, []string{
		`3 +447400123456 {"age":41,"born":"1990-05-17","name":"A, \"B\"\nC","share":0.3,"vip":true}`,
		`5 +94771234562 {"age":1.5,"name":"=SUM(1)","vip":false}`,
		`6 +44771234563 {"age":"07"}`,
		`7 phone_number: is not a telephone number with a known country code, such as +94771234567`,
		`8 +94771234564 {}`,
	}, rows)
}

func ptr[T any](v T) *T { return &v }

func TestWorkbookRefused(t *testing.T) {
	t.Parallel()
	parts := func(sizes map[string]int) *bytes.Reader {
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		for name, size := range sizes {
			part, err := w.Create(name)
			require.NoError(t, err)
			_, err = part.Write(bytes.Repeat([]byte{'x'}, size))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return bytes.NewReader(out.Bytes())
	}
	many := map[string]int{}
	for i := range 2001 {
		many[strings.Repeat("x", i+1)] = 0
	}
	for name, tt := range map[string]struct {
		file   *bytes.Reader
		detail string
	}{
		"a bomb":          {parts(map[string]int{"xl/worksheets/sheet1.xml": 64 << 20}), "is packed too tightly"},
		"too many parts":  {parts(many), "has too many parts"},
		"another archive": {parts(map[string]int{"a.txt": 1}), "is not a workbook"},
		"an empty sheet":  {workbook(t, nil, nil), "is empty"},
		"no number":       {workbook(t, [][]any{{"name"}, {"A"}}, nil), "needs a header with a column phone_number"},
	} {
		_, err := read(t, intake.Import{Format: intake.XLSX}, tt.file)
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", name, err)
		require.ErrorContains(t, err, tt.detail, name)
	}
}
