package main

import (
	"fmt"
	"io"
)

// report prints figures and judgements as they become known: a run that is broken off has told what it found.
type report struct {
	out    io.Writer
	failed int
}

func (r *report) figure(name, format string, values ...any) {
	fmt.Fprintf(r.out, "%-44s %s\n", name, fmt.Sprintf(format, values...))
}

// judge notes whether something is as it has to be; the text says what was found.
func (r *report) judge(name string, ok bool, format string, values ...any) {
	word := "ok"
	if !ok {
		word = "FAILED"
		r.failed++
	}
	fmt.Fprintf(r.out, "%-44s %-6s %s\n", "judge: "+name, word, fmt.Sprintf(format, values...))
}

func (r *report) verdict() error {
	if r.failed > 0 {
		return fmt.Errorf("%d judgements failed", r.failed)
	}
	return nil
}
