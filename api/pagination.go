package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
)

const defaultLimit = 50

// page is the part of a list that a request asks for: the rows that follow the one with the key after.
type page struct {
	limit  int
	after  string // "" for the first page
	filter string // identifies the list, so that its cursor is refused by another
}

// cursor is what next_cursor holds. Callers must not look into it: it may change.
type cursor struct {
	After  string `json:"a"`
	Filter string `json:"f"`
}

// newPage reads limit and cursor; filter is everything else that makes the list what it is.
func newPage(limit *openapi.Limit, encoded *openapi.Cursor, filter ...any) (page, error) {
	p := page{limit: defaultLimit}
	if limit != nil {
		p.limit = *limit
	}
	text, err := json.Marshal(filter)
	if err != nil {
		return page{}, fmt.Errorf("list filter: %w", err)
	}
	sum := sha256.Sum256(text)
	p.filter = hex.EncodeToString(sum[:6])
	if encoded == nil {
		return p, nil
	}
	var c cursor
	raw, err := base64.RawURLEncoding.DecodeString(*encoded)
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return page{}, badCursor("must be the next_cursor of an earlier answer")
	}
	if c.Filter != p.filter {
		return page{}, badCursor("belongs to a list with other filters")
	}
	p.after = c.After
	return p, nil
}

func badCursor(detail string) error {
	return refuse(http.StatusBadRequest, "cursor: "+detail, fault.Field{Name: "cursor", Detail: detail})
}

// fetch is how many rows to ask the store for: one more than shown, which tells whether there is a next page.
func (p page) fetch() int { return p.limit + 1 }

// afterID returns the key as a number; nil for the first page.
func (p page) afterID() (*int64, error) {
	if p.after == "" {
		return nil, nil
	}
	id, err := strconv.ParseInt(p.after, 10, 64)
	if err != nil {
		return nil, badCursor("must be the next_cursor of an earlier answer")
	}
	return &id, nil
}

// afterUUID returns the key as a UUID; nil for the first page.
func (p page) afterUUID() (*uuid.UUID, error) {
	if p.after == "" {
		return nil, nil
	}
	id, err := uuid.Parse(p.after)
	if err != nil {
		return nil, badCursor("must be the next_cursor of an earlier answer")
	}
	return &id, nil
}

// cut shortens rows to the page and returns the cursor of the next one; nil when there is none.
func cut[T, K any](p page, rows []T, key func(T) K) ([]T, *string) {
	if len(rows) <= p.limit {
		return rows, nil
	}
	rows = rows[:p.limit]
	raw, err := json.Marshal(cursor{After: fmt.Sprint(key(rows[p.limit-1])), Filter: p.filter})
	if err != nil {
		return rows, nil // two strings always marshal
	}
	return rows, ptr(base64.RawURLEncoding.EncodeToString(raw))
}

// each converts rows; never to nil, which JSON would call null.
func each[T, U any](rows []T, convert func(T) U) []U {
	out := make([]U, len(rows))
	for i, row := range rows {
		out[i] = convert(row)
	}
	return out
}

func sizeText(bytes int64) string {
	if bytes >= 1<<20 {
		return strconv.FormatInt(bytes>>20, 10) + " MiB"
	}
	return strconv.FormatInt(bytes, 10) + " bytes"
}
