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
func (s *Store) CreateKey(ctx context.Context, name string, scopes []string, now time.Time) (plaintext string, err error) {
	if name = strings.TrimSpace(name); name == "" || len(name) > 100 {
		return "", fault.Refuse("name", "must have 1 to 100 characters")
	}
	parsed, err := access.ParseScopes(scopes)
	if err != nil {
		return "", err
	}
	names := make([]string, len(parsed))
	for i, scope := range parsed {
		names[i] = string(scope)
	}
	secret, prefix := access.NewSecret()
	err = s.InTx(ctx, func(ctx context.Context) error {
		id, err := s.q(ctx).KeyInsert(ctx, dbsqlc.KeyInsertParams{
			Name: name, Prefix: prefix, KeySha256: access.Hash(secret), Scopes: names, Now: now,
		})
		if err != nil {
			return translate(err, "API key")
		}
		return s.audit(ctx, "operator", "key.create", fmt.Sprintf("key/%d", id), map[string]any{"scopes": names}, now)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// Keys lists every API key, newest first, revoked ones included.
func (s *Store) Keys(ctx context.Context) ([]access.Key, error) {
	rows, err := s.q(ctx).KeyList(ctx)
	if err != nil {
		return nil, translate(err, "API keys")
	}
	keys := make([]access.Key, len(rows))
	for i, row := range rows {
		keys[i] = toKey(row)
	}
	return keys, nil
}

// RevokeKey makes a key useless at once. fault.NotFound when no valid key has this name.
func (s *Store) RevokeKey(ctx context.Context, name string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		id, err := s.q(ctx).KeyRevoke(ctx, dbsqlc.KeyRevokeParams{Name: name, Now: &now})
		if err != nil {
			return translate(err, "a valid API key of this name")
		}
		return s.audit(ctx, "operator", "key.revoke", fmt.Sprintf("key/%d", id), nil, now)
	})
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

func toKey(row dbsqlc.ApiKey) access.Key {
	scopes := make([]access.Scope, len(row.Scopes))
	for i, scope := range row.Scopes {
		scopes[i] = access.Scope(scope)
	}
	return access.Key{
		ID: int64(row.ID), Name: row.Name, Prefix: row.Prefix, SHA256: row.KeySha256, Scopes: scopes,
		CreatedAt: row.CreatedAt, LastUsedAt: row.LastUsedAt, RevokedAt: row.RevokedAt,
	}
}
