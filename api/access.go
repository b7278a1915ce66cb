package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/access"
)

type accountStore interface {
	Accounts(ctx context.Context) ([]access.Account, error)
	SignInAccount(ctx context.Context, id int64) (access.Account, error)
	InviteAccount(ctx context.Context, email string, role access.Role, by string, now time.Time) (a access.Account, token string, err error)
	// ChangeAccess changes what is not nil.
	ChangeAccess(ctx context.Context, id int64, role *access.Role, disabled *bool, by string, now time.Time) (access.Account, error)
	ResetAccount(ctx context.Context, id int64, by string, now time.Time) (kind access.LinkKind, token string, err error)
	RemoveFactor(ctx context.Context, id int64, by string, now time.Time) error
	CreateKey(ctx context.Context, name string, scopes []string, by string, now time.Time) (key access.Key, secret string, err error)
	Keys(ctx context.Context, after *int64, atMost int) ([]access.Key, error)
	KeyTotal(ctx context.Context) (int64, error)
	RevokeKey(ctx context.Context, id int64, by string, now time.Time) (access.Key, error)
}

type auditStore interface {
	AuditEvents(ctx context.Context, f access.EventFilter, after *int64, atMost int) ([]access.Event, error)
	AuditTotal(ctx context.Context, f access.EventFilter) (int64, error)
}

func (s *server) GetAccounts(ctx context.Context, _ openapi.GetAccountsRequestObject) (openapi.GetAccountsResponseObject, error) {
	accounts, err := s.Store.Accounts(ctx)
	return openapi.GetAccounts200JSONResponse{Accounts: each(accounts, showAccount)}, err
}

func (s *server) GetAccount(ctx context.Context, r openapi.GetAccountRequestObject) (openapi.GetAccountResponseObject, error) {
	a, err := s.Store.SignInAccount(ctx, r.ID)
	return openapi.GetAccount200JSONResponse(showAccount(a)), err
}

func (s *server) InviteAccount(ctx context.Context, r openapi.InviteAccountRequestObject) (openapi.InviteAccountResponseObject, error) {
	email, err := access.NormalizeEmail(r.Body.Email)
	if err != nil {
		return nil, err
	}
	a, token, err := s.Store.InviteAccount(ctx, email, access.Role(r.Body.Role), principalOf(ctx).Name, s.Now())
	return openapi.InviteAccount201JSONResponse(s.accountLink(a, access.Invitation, token)), err
}

func (s *server) PatchAccount(ctx context.Context, r openapi.PatchAccountRequestObject) (openapi.PatchAccountResponseObject, error) {
	patch := r.ApplicationMergePatchPlusJSONBody
	if patch == nil {
		patch = r.JSONBody
	}
	var change struct {
		Role     *access.Role `json:"role"`
		Disabled *bool        `json:"disabled"`
	}
	if err := json.Unmarshal(*patch, &change); err != nil {
		return nil, unreadable(err)
	}
	a, err := s.Store.ChangeAccess(ctx, r.ID, change.Role, change.Disabled, principalOf(ctx).Name, s.Now())
	return openapi.PatchAccount200JSONResponse(showAccount(a)), err
}

func (s *server) ResetAccount(ctx context.Context, r openapi.ResetAccountRequestObject) (openapi.ResetAccountResponseObject, error) {
	a, err := s.Store.SignInAccount(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	kind, token, err := s.Store.ResetAccount(ctx, r.ID, principalOf(ctx).Name, s.Now())
	return openapi.ResetAccount201JSONResponse(s.accountLink(a, kind, token)), err
}

func (s *server) RemoveSecondFactor(ctx context.Context, r openapi.RemoveSecondFactorRequestObject) (openapi.RemoveSecondFactorResponseObject, error) {
	return openapi.RemoveSecondFactor204Response{}, s.Store.RemoveFactor(ctx, r.ID, principalOf(ctx).Name, s.Now())
}

func showAccount(a access.Account) openapi.Account {
	return openapi.Account{
		ID: a.ID, Email: a.Email, Name: none(a.Name), Role: openapi.Role(a.Role), SecondFactor: a.TOTPSecret != "", Disabled: a.DisabledAt != nil,
		CreatedAt: a.CreatedAt, SignedInAt: a.SignedInAt,
	}
}

func (s *server) accountLink(a access.Account, kind access.LinkKind, token string) openapi.AccountLink {
	return openapi.AccountLink{
		Account: showAccount(a), Kind: openapi.AccountLinkKind(kind), URL: s.PagesURL + "/link/" + token, ExpiresAt: s.Now().Add(kind.Life()),
	}
}

func (s *server) ListKeys(ctx context.Context, r openapi.ListKeysRequestObject) (openapi.ListKeysResponseObject, error) {
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "keys")
	if err != nil {
		return nil, err
	}
	after, err := p.afterID()
	if err != nil {
		return nil, err
	}
	keys, err := s.Store.Keys(ctx, after, p.fetch())
	if err != nil {
		return nil, err
	}
	total, err := s.Store.KeyTotal(ctx)
	keys, next := cut(p, keys, func(k access.Key) int64 { return k.ID })
	return openapi.ListKeys200JSONResponse{Keys: each(keys, showKey), NextCursor: next, Total: total}, err
}

func (s *server) CreateKey(ctx context.Context, r openapi.CreateKeyRequestObject) (openapi.CreateKeyResponseObject, error) {
	scopes := each(r.Body.Scopes, func(scope openapi.Scope) string { return string(scope) })
	key, secret, err := s.Store.CreateKey(ctx, r.Body.Name, scopes, principalOf(ctx).Name, s.Now())
	return openapi.CreateKey201JSONResponse{Key: showKey(key), Secret: secret}, err
}

func (s *server) RevokeKey(ctx context.Context, r openapi.RevokeKeyRequestObject) (openapi.RevokeKeyResponseObject, error) {
	_, err := s.Store.RevokeKey(ctx, r.ID, principalOf(ctx).Name, s.Now())
	return openapi.RevokeKey204Response{}, err
}

func showKey(k access.Key) openapi.Key {
	return openapi.Key{
		ID: k.ID, Name: k.Name, Prefix: k.Prefix, CreatedBy: k.CreatedBy, CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsedAt, RevokedAt: k.RevokedAt,
		Scopes: each(k.Scopes, func(scope access.Scope) openapi.Scope { return openapi.Scope(scope) }),
	}
}

func (s *server) ListAuditEvents(ctx context.Context, r openapi.ListAuditEventsRequestObject) (openapi.ListAuditEventsResponseObject, error) {
	f := access.EventFilter{
		Principal: value(r.Params.Principal), Action: value(r.Params.Action), Subject: value(r.Params.Subject), Since: r.Params.Since, Until: r.Params.Until,
	}
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "audit", f)
	if err != nil {
		return nil, err
	}
	after, err := p.afterID()
	if err != nil {
		return nil, err
	}
	events, err := s.Store.AuditEvents(ctx, f, after, p.fetch())
	if err != nil {
		return nil, err
	}
	total, err := s.Store.AuditTotal(ctx, f)
	events, next := cut(p, events, func(e access.Event) int64 { return e.ID })
	return openapi.ListAuditEvents200JSONResponse{Events: each(events, showAuditEvent), NextCursor: next, Total: total}, err
}

func showAuditEvent(e access.Event) openapi.AuditEvent {
	return openapi.AuditEvent{
		ID: e.ID, Principal: none(e.Principal), Action: e.Action, Subject: e.Subject, Detail: e.Detail, Address: none(e.Address), CreatedAt: e.At,
	}
}
