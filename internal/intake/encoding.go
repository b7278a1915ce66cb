package intake

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Source is an upload as it was received. It is read more than once.
type Source interface {
	io.ReaderAt
	Size() int64
}

// A mark at the beginning, which some programs write.
var (
	markUTF8    = []byte("\xef\xbb\xbf")
	markUTF16LE = []byte("\xff\xfe")
	markUTF16BE = []byte("\xfe\xff")
)

// text reads a source as UTF-8, whatever it is written in. What it cannot tell is left as it is, for the records that hold
// it to be refused.
func text(source Source) (io.Reader, error) {
	start := make([]byte, 4096)
	whole := io.NewSectionReader(source, 0, source.Size())
	n, err := io.ReadFull(whole, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	start = start[:n]
	whole = io.NewSectionReader(source, 0, source.Size())
	switch {
	case bytes.HasPrefix(start, markUTF8):
		return io.NewSectionReader(source, int64(len(markUTF8)), source.Size()-int64(len(markUTF8))), nil
	case bytes.HasPrefix(start, markUTF16LE), bytes.HasPrefix(start, markUTF16BE):
		return decoded(whole, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)), nil
	}
	if order, found := wide(start); found {
		return decoded(whole, unicode.UTF16(order, unicode.IgnoreBOM)), nil
	}
	western, err := isWestern(io.NewSectionReader(source, 0, source.Size())) // read once more, from the beginning
	if err != nil {
		return nil, err
	}
	if western {
		return decoded(whole, charmap.Windows1252), nil
	}
	return whole, nil
}

func decoded(r io.Reader, from encoding.Encoding) io.Reader {
	return transform.NewReader(r, from.NewDecoder())
}

// wide tells UTF-16 without a mark by its zeros: ASCII, of which a header is mostly made, has one in every second byte.
func wide(start []byte) (order unicode.Endianness, found bool) {
	pairs := len(start) / 2
	if pairs < 4 {
		return unicode.BigEndian, false
	}
	var zeros [2]int
	for i, b := range start[:2*pairs] {
		if b == 0 {
			zeros[i%2]++
		}
	}
	most := pairs * 3 / 4
	switch {
	case zeros[1] >= most && zeros[0] <= pairs/8:
		return unicode.LittleEndian, true
	case zeros[0] >= most && zeros[1] <= pairs/8:
		return unicode.BigEndian, true
	default:
		return unicode.BigEndian, false
	}
}

// isWestern tells the encoding of Western European programs, Windows-1252 and with it Latin-1, from UTF-8: most of what is
// not ASCII is not UTF-8 either. Where most of it is, the file is UTF-8 with some broken rows.
func isWestern(r io.Reader) (bool, error) {
	block := make([]byte, 256<<10)
	kept, good, bad := 0, 0, 0
	for {
		n, err := io.ReadFull(r, block[kept:])
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return false, err
		}
		seen, cut := block[:kept+n], 0
		if !last {
			cut = unfinished(seen)
		}
		whole := seen[:len(seen)-cut]
		if utf8.Valid(whole) {
			good += len(whole) - utf8.RuneCount(whole)
		} else {
			for rest := whole; len(rest) > 0; {
				c, size := utf8.DecodeRune(rest)
				if c == utf8.RuneError && size == 1 {
					bad++
				}
				good += size - 1
				rest = rest[size:]
			}
		}
		if last {
			return bad > good, nil
		}
		kept = copy(block, seen[len(whole):])
	}
}

// unfinished returns how many bytes at the end belong to a character that goes on behind it.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
