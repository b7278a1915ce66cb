// Package handset speaks to the simulator's control API about its phones: what one of them shows, and what its owner
// writes. It is for the local stack, where people are simulated.
package handset

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Message is a message on a phone.
type Message struct {
	SID       string    `json:"sid"`
	Direction string    `json:"direction"`
	From      string    `json:"from"` // an address, as Twilio writes it
	To        string    `json:"to"`
	Body      string    `json:"body"`
	At        time.Time `json:"accepted_at"`
}

// Mine tells whether the phone's owner wrote it.
func (m Message) Mine() bool { return m.Direction == "inbound" }

// Channel is what the message went over: whatsapp or sms.
func (m Message) Channel() string {
	if strings.HasPrefix(m.From, "whatsapp:") {
		return "whatsapp"
	}
	return "sms"
}

// Ours is the number of our sender.
func (m Message) Ours() string {
	if m.Mine() {
		return strings.TrimPrefix(m.To, "whatsapp:")
	}
	return strings.TrimPrefix(m.From, "whatsapp:")
}

// Talk is a phone and what it showed last.
type Talk struct {
	Number string  `json:"number"` // E.164
	Last   Message `json:"last"`
}

// Writing is what a phone's owner writes to one of our senders.
type Writing struct {
	From          string `json:"from"` // E.164
	To            string `json:"to"`   // E.164
	Channel       string `json:"channel"`
	Body          string `json:"body"`
	SID           string `json:"sid"` // the same again is the same message
	ButtonText    string `json:"button_text,omitempty"`
	ButtonPayload string `json:"button_payload,omitempty"`
}

// Client reaches the simulator.
type Client struct {
	BaseURL string // without a slash at the end
	HTTP    *http.Client
}

// Talks lists the phones that showed something last, the latest first.
func (c Client) Talks(ctx context.Context) (talks []Talk, err error) {
	err = c.call(ctx, http.MethodGet, "/sim/phones", nil, &talks)
	return talks, err
}

// Messages is what a phone shows, oldest first.
func (c Client) Messages(ctx context.Context, number string) (messages []Message, err error) {
	err = c.call(ctx, http.MethodGet, "/sim/phones/"+url.PathEscape(number), nil, &messages)
	return messages, err
}

// Write has a phone's owner write to us. It returns when our webhook has answered; the error tells if it refused.
func (c Client) Write(ctx context.Context, w Writing) error {
	var answer struct {
		Status int `json:"status"` // that of our webhook
	}
	if err := c.call(ctx, http.MethodPost, "/sim/inbound", w, &answer); err != nil {
		return err
	}
	if answer.Status != http.StatusOK {
		return fmt.Errorf("simulated phone: our webhook answered %d", answer.Status)
	}
	return nil
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

func (c Client) call(ctx context.Context, method, path string, body, into any) error {
	var content io.Reader = http.NoBody
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("simulated phone: %w", err)
		}
		content = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.BaseURL+path, content)
	if err != nil {
		return fmt.Errorf("simulated phone: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.HTTP.Do(r)
	if err != nil {
		return fmt.Errorf("simulated phone: the simulator does not answer: %w", withoutAddress(err))
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("simulated phone: the simulator answered %d", answer.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("simulated phone: %w", err)
	}
	return nil
}

// withoutAddress leaves the address out of an error, for it names a phone.
func withoutAddress(err error) error {
	if failed, ok := err.(*url.Error); ok { //nolint:errorlint // the client returns no other
		return failed.Err
	}
	return err
}
