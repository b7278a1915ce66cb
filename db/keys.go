package db

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

// CreateKey makes an API key with those scopes. Its text is returned here and never again.
func (s *Store) CreateKey(ctx context.Context, name string, scopes []string, by string, now time.Time) (key access.Key, secret string, err error) {
	if name = strings.TrimSpace(name); name == "" || len(name) > 100 {
		return access.Key{}, "", fault.Refuse("name", "must have 1 to 100 characters")
	}
	parsed, err := access.ParseScopes(scopes)
	if err != nil {
		return access.Key{}, "", err
	}
	names := make([]string, len(parsed))
	for i, scope := range parsed {
		names[i] = string(scope)
	}
	secret, prefix := access.NewSecret()
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).KeyInsert(ctx, dbsqlc.KeyInsertParams{
			Name: name, Prefix: prefix, KeySha256: access.Hash(secret), Scopes: names, CreatedBy: by, Now: now,
		})
		if err != nil {
			return translate(err, "API key")
		}
		key = toKey(row)
		return s.audit(ctx, by, "key.create", keySubject(key.ID), map[string]any{"scopes": names}, now)
	})
	if err != nil {
		return access.Key{}, "", err
	}
	return key, secret, nil
}

// Keys lists API keys, newest first, revoked ones included, with an id below after (nil for no bound).
func (s *Store) Keys(ctx context.Context, after *int64, atMost int) ([]access.Key, error) {
	rows, err := s.q(ctx).KeyList(ctx, dbsqlc.KeyListParams{After: narrow(after), AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "API keys")
	}
	keys := make([]access.Key, len(rows))
	for i, row := range rows {
		keys[i] = toKey(row)
	}
	return keys, nil
}

// KeyTotal counts API keys, revoked ones included.
func (s *Store) KeyTotal(ctx context.Context) (int64, error) {
	total, err := s.q(ctx).KeyTotal(ctx)
	return total, translate(err, "API keys")
}

// KeyByName finds a key, revoked or not.
func (s *Store) KeyByName(ctx context.Context, name string) (access.Key, error) {
	row, err := s.q(ctx).KeyByName(ctx, name)
	return toKey(row), translate(err, "an API key of this name")
}

// RevokeKey makes a key useless at once. fault.NotFound when no valid key has this id.
func (s *Store) RevokeKey(ctx context.Context, id int64, by string, now time.Time) (revoked access.Key, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).KeyRevoke(ctx, dbsqlc.KeyRevokeParams{ID: int32(id), Now: &now})
		if err != nil {
			return translate(err, "a valid API key with this id")
		}
		revoked = toKey(row)
		return s.audit(ctx, by, "key.revoke", keySubject(id), map[string]any{"was": map[string]any{"scopes": row.Scopes}}, now)
	})
	return revoked, err
}

// KeyByHash finds the key with that SHA-256, revoked or not.
func (s *Store) KeyByHash(ctx context.Context, sha256 []byte) (access.Key, error) {
	row, err := s.q(ctx).KeyByHash(ctx, sha256)
	return toKey(row), translate(err, "API key")
}

// KeyUsed records when a key was last used.
func (s *Store) KeyUsed(ctx context.Context, id int64, now time.Time) error {
	return translate(s.q(ctx).KeyUsed(ctx, dbsqlc.KeyUsedParams{ID: int32(id), Now: &now}), "API key")
}

func keySubject(id int64) string { return fmt.Sprintf("key/%d", id) }

func toKey(row dbsqlc.ApiKey) access.Key {
	scopes := make([]access.Scope, len(row.Scopes))
	for i, scope := range row.Scopes {
		scopes[i] = access.Scope(scope)
	}
	return access.Key{
		ID: int64(row.ID), Name: row.Name, Prefix: row.Prefix, SHA256: row.KeySha256, Scopes: scopes,
		CreatedBy: row.CreatedBy, CreatedAt: row.CreatedAt, LastUsedAt: row.LastUsedAt, RevokedAt: row.RevokedAt,
	}
}
