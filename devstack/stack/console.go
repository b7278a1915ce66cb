package stack

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// Console merges the output of several roles into one stream, a line at a
// time, each line named by its role.
type Console struct {
	mu    sync.Mutex
	out   io.Writer
	color bool
}

// NewConsole writes to out, in colour if asked.
func NewConsole(out io.Writer, color bool) *Console {
	return &Console{out: out, color: color}
}

// width of the name column: that of the longest role.
const width = len("simulator")

var colors = map[Role]string{
	Postgres:  "34",
	Temporal:  "35",
	Simulator: "33",
	API:       "32",
	Worker:    "36",
}

func (c *Console) line(name string, text []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if code, ok := colors[Role(name).Kind()]; ok && c.color {
		fmt.Fprintf(c.out, "\x1b[%sm%-*s |\x1b[0m %s\n", code, width, name, text)
		return
	}
	fmt.Fprintf(c.out, "%-*s | %s\n", width, name, text)
}

// Writer returns a writer whose lines appear under name. A line is shown when
// it is complete; Close shows what is left.
func (c *Console) Writer(name string) io.WriteCloser {
	return &lineWriter{emit: func(line []byte) { c.line(name, line) }}
}

// lineWriter cuts what is written into lines.
type lineWriter struct {
	mu   sync.Mutex
	rest []byte
	emit func(line []byte)
}

// maxLine bounds what one unfinished line may hold back.
const maxLine = 64 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 && len(w.rest) < maxLine {
			return len(p), nil
		}
		if i < 0 {
			w.emit(w.rest)
			w.rest = nil
			return len(p), nil
		}
		w.emit(bytes.TrimSuffix(w.rest[:i], []byte{'\r'}))
		w.rest = w.rest[i+1:]
	}
}

func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) > 0 {
		w.emit(w.rest)
		w.rest = nil
	}
	return nil
}
