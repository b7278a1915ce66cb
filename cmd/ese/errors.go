package main

import (
	"encoding/json"
	"io"

	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/twilio"
)

// errorPolicy is a line of the error table.
type errorPolicy struct {
	Code         int           `json:"code"`
	Class        message.Class `json:"class"`
	Scope        message.Scope `json:"scope,omitempty"`         // with class stop
	DelaySeconds float64       `json:"delay_seconds,omitempty"` // with class retry: before the first
	Retries      int           `json:"retries,omitempty"`       // with class retry
	Meaning      string        `json:"meaning"`
}

// printErrors writes what the engine does about each of Twilio's error codes, a JSON object a line.
func printErrors(out io.Writer) error {
	lines := json.NewEncoder(out)
	for code, p := range twilio.Policies() {
		line := errorPolicy{Code: code, Class: p.Class, Scope: p.Scope, DelaySeconds: p.Delay.Seconds(), Retries: p.Retries, Meaning: p.Meaning}
		if err := lines.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
