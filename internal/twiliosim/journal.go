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

// lazyFlush is the longest that an entry nobody waits for stays in memory.
const lazyFlush = 100 * time.Millisecond

// journal is an append-only file of entries. Entries that arrive while the disk is busy reach it together, so that a
// hundred requests in flight cost one fsync and not a hundred.
type journal struct {
	file *os.File

	writing sync.Mutex // held while the file is written

	mu      sync.Mutex
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
func openJournal(dir string, apply func(entry)) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	path := filepath.Join(dir, "journal.jsonl")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := replay(file, apply); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), file.Close())
	}
	j := &journal{
		file:    file,
		batch:   newBatch(),
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	go j.run()
	return j, nil
}

func replay(file *os.File, apply func(entry)) error {
	in := bufio.NewReaderSize(file, 1<<20)
	var good int64
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return file.Truncate(good)
		} else if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(text, &e); err != nil {
			if _, err := in.Peek(1); errors.Is(err, io.EOF) {
				return file.Truncate(good)
			}
			return fmt.Errorf("line %d is damaged", line)
		}
		apply(e)
		good += int64(len(text))
	}
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// append takes an entry and returns the batch to wait for. An entry that nobody waits for is lazy: it is written with
// the next batch, or within lazyFlush.
func (j *journal) append(e entry, lazy bool) (*batch, error) {
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(e); err != nil { // ends with a line feed
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, os.ErrClosed
	}
	j.pending = append(j.pending, line.Bytes()...)
	if !lazy {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
	return j.batch, nil
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
	return j.file.Sync()
}

// close writes what is pending and gives up the file. It may be called once.
func (j *journal) close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	close(j.stop)
	<-j.stopped
	return j.file.Close()
}
