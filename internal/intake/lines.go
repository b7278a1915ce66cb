package intake

import (
	"bytes"
	"errors"
	"io"
)

// maxRowBytes bounds one record. It is far more than a person's attributes may have.
const maxRowBytes = 256 << 10

// lines hands out a text piece by piece and holds no more of it than one record may have.
type lines struct {
	r      io.Reader
	err    error // of r; io.EOF at the end
	buffer []byte
	start  int // of what is not handed out yet
	number int // of the line that begins there, from 1
}

func newLines(r io.Reader) *lines {
	return &lines{r: r, buffer: make([]byte, 0, 2*maxRowBytes), number: 1}
}

// rest is what was read and not handed out.
func (l *lines) rest() []byte { return l.buffer[l.start:] }

// more reads on, and reports whether there was anything to read. There always is room: nobody asks for more when rest is
// longer than a record may be.
func (l *lines) more() bool {
	if l.err != nil {
		return false
	}
	if l.start > 0 && len(l.buffer) == cap(l.buffer) {
		l.buffer = l.buffer[:copy(l.buffer, l.buffer[l.start:])]
		l.start = 0
	}
	n, err := l.r.Read(l.buffer[len(l.buffer):cap(l.buffer)])
	l.buffer, l.err = l.buffer[:len(l.buffer)+n], err
	return n > 0 || err == nil
}

// take hands out n bytes. They are good until the next call.
func (l *lines) take(n int) []byte {
	piece := l.buffer[l.start : l.start+n]
	l.start += n
	l.number += bytes.Count(piece, []byte{'\n'})
	return piece
}

// failed returns the error that ended the text; nil at its proper end, and before it.
func (l *lines) failed() error {
	if errors.Is(l.err, io.EOF) {
		return nil
	}
	return l.err
}

// line finds the end of the line that begins from bytes behind the start, line break included. whole is false when it is
// longer than a record may be; size is what is there of it then. At the end of the text size is what is left.
func (l *lines) line(from int) (size int, whole bool) {
	seen := from
	for {
		if at := bytes.IndexByte(l.rest()[seen:], '\n'); at >= 0 {
			return seen + at + 1, seen+at < maxRowBytes
		}
		if seen = len(l.rest()); seen > maxRowBytes {
			return seen, false
		}
		if !l.more() {
			return len(l.rest()), true
		}
	}
}

// skipLine passes over the rest of a line that is too long.
func (l *lines) skipLine() {
	for {
		if at := bytes.IndexByte(l.rest(), '\n'); at >= 0 {
			l.take(at + 1)
			return
		}
		l.take(len(l.rest()))
		if !l.more() {
			return
		}
	}
}

// record finds the end of the CSV record that begins here: of its line, or of the line on which its last quotation mark is
// closed. closed is false when one is closed nowhere within what a record may have; then size is that of the first line.
func (l *lines) record(comma byte) (size int, whole, closed bool) {
	first, whole := l.line(0)
	if !whole || bytes.IndexByte(l.rest()[:first], '"') < 0 {
		return first, whole, true
	}
	var q quotes
	for size = first; ; {
		if !q.open(l.rest()[q.seen:size], comma) {
			return size, true, true
		}
		next, whole := l.line(size)
		if !whole || next == size || next > maxRowBytes {
			return first, true, false
		}
		size = next
	}
}

// quotes follows the quotation marks of a record.
type quotes struct {
	seen    int
	inside  bool
	within  bool // a cell that is not quoted: marks in it are text
	pending bool // a mark was seen inside: it closes, unless another one follows
}

// open reads on and reports whether a mark is still open.
func (q *quotes) open(piece []byte, comma byte) bool {
	q.seen += len(piece)
	for _, b := range piece {
		if q.inside {
			if b == '"' {
				q.pending = !q.pending
				continue
			}
			if !q.pending {
				continue
			}
			q.inside, q.pending, q.within = false, false, true
		}
		switch b {
		case comma, '\n':
			q.within = false
		case '"':
			q.inside = !q.within
			q.within = true
		default:
			q.within = true
		}
	}
	return q.inside && !q.pending
}
