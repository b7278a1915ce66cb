package twiliosim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// entry is one change of the simulator's state; exactly one field is set. State changes through entries only, so a
// journal read again gives the state that was.
type entry struct {
	Accept *record     `json:"accept,omitempty"`
	Settle *settlement `json:"settle,omitempty"`
	Cancel *withdrawal `json:"cancel,omitempty"`
	Redact string      `json:"redact,omitempty"` // a SID
	Delete string      `json:"delete,omitempty"` // a SID
	Faults *Faults     `json:"faults,omitempty"`

	Content     *content `json:"content,omitempty"`
	Approve     *verdict `json:"approve,omitempty"`
	DropContent string   `json:"drop_content,omitempty"` // a SID
}

// verdict is what WhatsApp says, or will say, of a content.
type verdict struct {
	SID      string   `json:"sid"`
	Approval approval `json:"approval"`
}

// settlement ends one callback of a message.
type settlement struct {
	SID       string `json:"sid"`
	Callback  int    `json:"callback"` // its index
	Delivered bool   `json:"delivered"`
}

type withdrawal struct {
	SID string    `json:"sid"`
	At  time.Time `json:"at"`
}

// place is where in the file an entry's line lies, the line feed aside.
type place struct{ offset, length int64 }

// lazyFlush is the longest that an entry nobody waits for stays in memory.
const lazyFlush = 100 * time.Millisecond

// journal is an append-only file of entries. Entries that arrive while the disk is busy reach it together, so that a
// hundred requests in flight cost one fsync and not a hundred.
type journal struct {
	file  *os.File
	patch *os.File // the same file, for what is written elsewhere than at its end

	writing sync.Mutex // held while the file is written

	mu      sync.Mutex
	end     int64 // of the file, once what is pending is written
	pending []byte
	batch   *batch // of the pending bytes
	closed  bool

	wake    chan struct{}
	stop    chan struct{}
	stopped chan struct{}
}

type batch struct {
	done chan struct{}
	err  error // set before done is closed
}

// wait returns once the batch is on disk.
func (b *batch) wait() error {
	<-b.done
	return b.err
}

// openJournal hands every entry of the folder's journal to apply. What a kill left of a last, unfinished entry is cut
// off: nobody was told that it was kept.
func openJournal(dir string, apply func(entry, place)) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	path := filepath.Join(dir, "journal.jsonl")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	end, err := replay(file, apply)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), file.Close())
	}
	patch, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %w", err), file.Close())
	}
	j := &journal{
		file:    file,
		patch:   patch,
		end:     end,
		batch:   newBatch(),
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	go j.run()
	return j, nil
}

// replay returns the length of what is good.
func replay(file *os.File, apply func(entry, place)) (good int64, err error) {
	in := bufio.NewReaderSize(file, 1<<20)
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return good, file.Truncate(good)
		} else if err != nil {
			return 0, err
		}
		var e entry
		if err := json.Unmarshal(text, &e); err != nil {
			if _, err := in.Peek(1); errors.Is(err, io.EOF) {
				return good, file.Truncate(good)
			}
			return 0, fmt.Errorf("line %d is damaged", line)
		}
		apply(e, place{good, int64(len(text)) - 1})
		good += int64(len(text))
	}
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// append takes an entry and returns where it will lie and the batch to wait for. An entry that nobody waits for is lazy: it
// is written with the next batch, or within lazyFlush.
func (j *journal) append(e entry, lazy bool) (place, *batch, error) {
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(e); err != nil { // ends with a line feed
		return place{}, nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return place{}, nil, os.ErrClosed
	}
	at := place{j.end, int64(line.Len()) - 1}
	j.end += int64(line.Len())
	j.pending = append(j.pending, line.Bytes()...)
	if !lazy {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
	return at, j.batch, nil
}

// scrub takes out of an accepted message, which is on disk, what change takes out of it. Nothing of it stays in the file.
func (j *journal) scrub(at place, change func(*record)) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	line := make([]byte, at.length)
	if _, err := j.patch.ReadAt(line, at.offset); err != nil {
		return err
	}
	var e entry
	if err := json.Unmarshal(line, &e); err != nil || e.Accept == nil {
		return fmt.Errorf("no message lies at %d: %w", at.offset, err)
	}
	change(e.Accept)
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if len(text) > len(line) {
		return fmt.Errorf("a scrubbed message is longer than it was: %d bytes, not %d", len(text), len(line))
	}
	text = append(text, bytes.Repeat([]byte(" "), len(line)-len(text))...)
	if bytes.Equal(text, line) {
		return nil
	}
	if _, err := j.patch.WriteAt(text, at.offset); err != nil {
		return err
	}
	return j.patch.Sync()
}

func (j *journal) run() {
	defer close(j.stopped)
	ticker := time.NewTicker(lazyFlush)
	defer ticker.Stop()
	for {
		select {
		case <-j.wake:
		case <-ticker.C:
		case <-j.stop:
			j.flush()
			return
		}
		j.flush()
	}
}

func (j *journal) flush() {
	j.writing.Lock()
	defer j.writing.Unlock()
	text, b := j.take()
	if len(text) == 0 {
		return
	}
	_, b.err = j.file.Write(text)
	if b.err == nil {
		b.err = j.file.Sync()
	}
	close(b.done)
}

func (j *journal) take() ([]byte, *batch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) == 0 {
		return nil, nil
	}
	text, b := j.pending, j.batch
	j.pending, j.batch = nil, newBatch()
	return text, b
}

// reset empties the journal. Entries that were waiting for the disk are forgotten with the rest.
func (j *journal) reset() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if _, b := j.take(); b != nil {
		close(b.done)
	}
	if err := j.file.Truncate(0); err != nil {
		return err
	}
	j.mu.Lock()
	j.end = 0
	j.mu.Unlock()
	return j.file.Sync()
}

// close writes what is pending and gives up the file. It may be called once.
func (j *journal) close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	close(j.stop)
	<-j.stopped
	return errors.Join(j.file.Close(), j.patch.Close())
}
