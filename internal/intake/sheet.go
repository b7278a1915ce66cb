package intake

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"

	"github.com/xuri/excelize/v2"
)

// Bounds of a workbook, which is a ZIP archive and may be a great deal larger than it looks.
const (
	maxSheetBytes   = 4 << 30   // of the sheets, unpacked; they go through the disk
	maxStringsBytes = 256 << 20 // of the table of texts; it goes through the disk as well, its index does not
	maxOtherBytes   = 32 << 20  // of everything else, which is held in memory
	maxParts        = 2000
	maxRatio        = 100      // of unpacked to packed size, of whatever is larger than
	smallPart       = 64 << 10 // and of what is held in memory though it is a sheet
)

const (
	partStrings = "xl/sharedstrings.xml"
	partSheet   = "xl/worksheets/sheet"
)

// openSheet prepares to read the first sheet of a workbook. Its rows become CSV records.
func openSheet(imp *Import, source Source) (*Reader, error) {
	if err := checkWorkbook(source); err != nil {
		return nil, err
	}
	book, err := openBook(source, excelize.Options{
		UnzipSizeLimit: maxSheetBytes + maxStringsBytes + maxOtherBytes, UnzipXMLSizeLimit: smallPart, ShortDatePattern: "yyyy-mm-dd",
	})
	if err != nil {
		return nil, unreadable("is not a workbook that can be read")
	}
	s := &sheet{book: book}
	reader := &Reader{close: s.close}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	imp.Comma = ','
	names, _, err := s.row()
	for err == nil && blank(names) {
		names, _, err = s.row()
	}
	if errors.Is(err, io.EOF) {
		err = unreadable("is empty")
	}
	if err == nil {
		err = imp.setHeader(names)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	reader.next = func() (Row, error) {
		for {
			cells, line, err := s.row()
			if err != nil {
				return Row{}, err
			}
			if blank(cells) {
				continue
			}
			record := csvRecord(cells)
			if len(record) > maxRowBytes {
				return refused(line, record, "", tooLong), nil
			}
			return imp.csvRow(line, record), nil
		}
	}
	return reader, nil
}

// openBook opens a workbook where it lies: the library would read what is no file into memory.
func openBook(source Source, options excelize.Options) (*excelize.File, error) {
	if file, ok := source.(interface{ Name() string }); ok {
		return excelize.OpenFile(file.Name(), options)
	}
	return excelize.OpenReader(io.NewSectionReader(source, 0, source.Size()), options)
}

// checkWorkbook refuses an archive that would need more memory or disk than any list of people does.
func checkWorkbook(source Source) error {
	archive, err := zip.NewReader(source, source.Size())
	if err != nil {
		return unreadable("is not a workbook (.xlsx)")
	}
	if len(archive.File) > maxParts {
		return unreadable("has too many parts: at most %d", maxParts)
	}
	var sheets, texts, other uint64
	for _, part := range archive.File {
		size, name := part.UncompressedSize64, strings.ToLower(strings.ReplaceAll(part.Name, `\`, "/"))
		switch {
		case size > smallPart && size/maxRatio > part.CompressedSize64:
			return unreadable("has a part that is packed too tightly to be a sheet")
		case size > smallPart && name == partStrings:
			texts += size
		case size > smallPart && strings.HasPrefix(name, partSheet):
			sheets += size
		default:
			other += size
		}
	}
	if sheets > maxSheetBytes || texts > maxStringsBytes || other > maxOtherBytes {
		return unreadable("is too large unpacked: at most %d MiB of sheets, %d MiB of texts and %d MiB of everything else",
			maxSheetBytes>>20, maxStringsBytes>>20, maxOtherBytes>>20)
	}
	return nil
}

// sheet reads rows twice: as they are stored and as they are shown.
type sheet struct {
	book          *excelize.File
	stored, shown *excelize.Rows
	line          int
}

func (s *sheet) open() (err error) {
	name := s.book.GetSheetName(0)
	if name == "" {
		return unreadable("has no sheet")
	}
	if s.stored, err = s.book.Rows(name); err == nil {
		s.shown, err = s.book.Rows(name)
	}
	if err != nil {
		return unreadable("has a first sheet that cannot be read")
	}
	return nil
}

func (s *sheet) close() error {
	for _, rows := range []*excelize.Rows{s.stored, s.shown} {
		if rows != nil {
			_ = rows.Close()
		}
	}
	return s.book.Close()
}

// row returns the cells of the next row as text: numbers in full, so that a phone number does not become 9.47E+10; dates
// and all else as the sheet shows them.
func (s *sheet) row() (cells []string, line int, err error) {
	if !s.stored.Next() || !s.shown.Next() {
		if s.stored.Error() != nil || s.shown.Error() != nil {
			return nil, 0, unreadable("has a first sheet that cannot be read")
		}
		return nil, 0, io.EOF
	}
	s.line++
	cells, err = s.stored.Columns(excelize.Options{RawCellValue: true})
	if err != nil {
		return nil, 0, unreadable("has a row %d that cannot be read", s.line)
	}
	shown, err := s.shown.Columns()
	if err != nil {
		return nil, 0, unreadable("has a row %d that cannot be read", s.line)
	}
	for i, stored := range cells {
		if i < len(shown) {
			cells[i] = cellText(stored, shown[i])
		}
	}
	for len(cells) > 0 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1]
	}
	return cells, s.line, nil
}

// cellText chooses between a cell as it is stored and as it is shown.
func cellText(stored, shown string) string {
	switch {
	case shown == "":
		return stored
	case !canonicalNumber.MatchString(stored), strings.HasPrefix(shown, "+"), len(shown) > 1 && shown[0] == '0' && shown[1] != '.':
		return shown // a text, a date; a number with its plus or its zeros, which are meant
	case numberLike(shown) && (!strings.Contains(stored, ".") || !canonicalNumber.MatchString(shown)):
		return stored
	default:
		return shown
	}
}

// numberLike reports whether what is shown is nothing but a number, perhaps rounded, grouped or with an exponent.
func numberLike(shown string) bool {
	text := strings.ToLower(strings.TrimPrefix(shown, "-"))
	return strings.Trim(strings.Replace(text, "e-", "e", 1), "0123456789.,e+ \u00a0") == ""
}

func blank(cells []string) bool { return strings.TrimSpace(strings.Join(cells, "")) == "" }

// csvRecord writes cells as one CSV record.
func csvRecord(cells []string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(cells) // a buffer never fails
	w.Flush()
	return trimBreak(b.Bytes())
}
