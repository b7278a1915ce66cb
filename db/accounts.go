package db

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

// Accounts lists every account, oldest first, disabled ones included.
func (s *Store) Accounts(ctx context.Context) ([]access.Account, error) {
	rows, err := s.q(ctx).AccountList(ctx)
	if err != nil {
		return nil, translate(err, "accounts")
	}
	accounts := make([]access.Account, len(rows))
	for i, row := range rows {
		accounts[i] = toAccess(row)
	}
	return accounts, nil
}

// SignInAccount reads an account.
func (s *Store) SignInAccount(ctx context.Context, id int64) (access.Account, error) {
	row, err := s.q(ctx).AccountGet(ctx, int32(id))
	return toAccess(row), translate(err, "this account")
}

// AccountByEmail finds the account with a normalised address.
func (s *Store) AccountByEmail(ctx context.Context, email string) (access.Account, error) {
	row, err := s.q(ctx).AccountByEmail(ctx, email)
	return toAccess(row), translate(err, "this account")
}

// InviteAccount makes an account with a role, and the link by which it gets its name and password. fault.Conflict when the
// address has one.
func (s *Store) InviteAccount(ctx context.Context, email string, role access.Role, by string, now time.Time) (a access.Account, token string, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		if a, err = s.insertAccount(ctx, access.Account{Email: email, Role: role}, by, "account.invite", now); err != nil {
			return err
		}
		token, err = s.newLink(ctx, access.Invitation, &a.ID, now)
		return err
	})
	return a, token, err
}

// AdmitAccount finds the account of somebody whom the identity provider vouches for. A newcomer gets one when role is not "",
// else fault.Forbidden. Who was invited needs the invitation no longer.
func (s *Store) AdmitAccount(ctx context.Context, email, name string, role access.Role, now time.Time) (a access.Account, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		a, err = s.AccountByEmail(ctx, email)
		switch {
		case fault.Is(err, fault.NotFound) && role == "":
			return fault.New(fault.Forbidden, "nobody invited this e-mail address: ask an admin")
		case fault.Is(err, fault.NotFound):
			a, err = s.insertAccount(ctx, access.Account{Email: email, Name: name, Role: role}, "", "account.admit", now)
			return err
		case err != nil || a.Name != "" || a.DisabledAt != nil:
			return err
		}
		a.Name = name
		if err := s.q(ctx).AccountSetPassword(ctx, dbsqlc.AccountSetPasswordParams{ID: int32(a.ID), Name: name, PasswordHash: a.PasswordHash}); err != nil {
			return translate(err, "account")
		}
		if err := s.q(ctx).LinksDelete(ctx, dbsqlc.LinksDeleteParams{AccountID: narrow(&a.ID), Now: now}); err != nil {
			return translate(err, "links")
		}
		return s.audit(ctx, a.Principal(), "account.join", accountSubject(a.ID), map[string]any{"by": "oidc"}, now)
	})
	return a, err
}

// insertAccount makes an account; by is "" for one that makes itself.
func (s *Store) insertAccount(ctx context.Context, a access.Account, by, action string, now time.Time) (access.Account, error) {
	row, err := s.q(ctx).AccountInsert(ctx, dbsqlc.AccountInsertParams{
		Email: a.Email, Name: a.Name, Role: string(a.Role), PasswordHash: a.PasswordHash, Now: now,
	})
	if err != nil {
		return a, translate(err, "account")
	}
	a = toAccess(row)
	if by == "" {
		by = a.Principal()
	}
	return a, s.audit(ctx, by, action, accountSubject(a.ID), map[string]any{"role": a.Role}, now)
}

// ChangeAccess changes what an account may do: its role, and whether it may sign in at all. Its sessions and, with the latter,
// its links end. fault.Conflict when nobody would be left who may change accounts.
func (s *Store) ChangeAccess(ctx context.Context, id int64, role *access.Role, disabled *bool, by string, now time.Time) (a access.Account, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.q(ctx).AccountsLock(ctx); err != nil {
			return translate(err, "accounts")
		}
		row, err := s.q(ctx).AccountLock(ctx, int32(id))
		if err != nil {
			return translate(err, "this account")
		}
		a = toAccess(row)
		detail := changes{}
		if role != nil {
			detail.note("role", a.Role, *role)
			a.Role = *role
		}
		if disabled != nil && *disabled != (a.DisabledAt != nil) {
			detail.note("disabled", a.DisabledAt != nil, *disabled)
			if a.DisabledAt = nil; *disabled {
				a.DisabledAt = &now
			}
		}
		if len(detail) == 0 {
			return nil
		}
		if err := s.q(ctx).AccountSetAccess(ctx, dbsqlc.AccountSetAccessParams{ID: int32(id), Role: string(a.Role), DisabledAt: a.DisabledAt}); err != nil {
			return translate(err, "account")
		}
		admins, err := s.q(ctx).AccountAdmins(ctx)
		if err != nil {
			return translate(err, "admins")
		}
		if admins == 0 && access.Role(row.Role) == access.Administrator && row.DisabledAt == nil {
			return fault.New(fault.Conflict, "this is the last admin: make another account one first")
		}
		if err := s.endSessions(ctx, id, nil); err != nil {
			return err
		}
		if a.DisabledAt != nil {
			if err := s.q(ctx).LinksDelete(ctx, dbsqlc.LinksDeleteParams{AccountID: narrow(&id), Now: now}); err != nil {
				return translate(err, "links")
			}
		}
		return s.audit(ctx, by, "account.change", accountSubject(id), detail, now)
	})
	return a, err
}

// ResetAccount makes a link by which an account gets another password, or its first when it has none. Links made before are
// good no longer; its password and its sessions are, until the link is used.
func (s *Store) ResetAccount(ctx context.Context, id int64, by string, now time.Time) (kind access.LinkKind, token string, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).AccountLock(ctx, int32(id))
		if err != nil {
			return translate(err, "this account")
		}
		if row.DisabledAt != nil {
			return fault.New(fault.Conflict, "this account is disabled: enable it first")
		}
		if kind = access.Reset; row.PasswordHash == "" {
			kind = access.Invitation
		}
		if token, err = s.newLink(ctx, kind, cast[int64](&row.ID), now); err != nil {
			return err
		}
		return s.audit(ctx, by, "account.reset", accountSubject(id), map[string]any{"link": kind}, now)
	})
	return kind, token, err
}

// SetupLink makes the link to the first admin's account; ok is false when there is an admin.
func (s *Store) SetupLink(ctx context.Context, now time.Time) (token string, ok bool, err error) {
	admins, err := s.q(ctx).AccountAdmins(ctx)
	if err != nil || admins > 0 {
		return "", false, translate(err, "admins")
	}
	token = access.NewToken()
	err = s.q(ctx).LinkInsert(ctx, dbsqlc.LinkInsertParams{ // those of other processes stay good
		TokenSha256: access.Hash(token), Kind: string(access.Setup), ExpiresAt: now.Add(access.Setup.Life()),
	})
	return token, err == nil, translate(err, "link")
}

func (s *Store) newLink(ctx context.Context, kind access.LinkKind, account *int64, now time.Time) (string, error) {
	if err := s.q(ctx).LinksDelete(ctx, dbsqlc.LinksDeleteParams{AccountID: narrow(account), Now: now}); err != nil {
		return "", translate(err, "links")
	}
	token := access.NewToken()
	return token, translate(s.q(ctx).LinkInsert(ctx, dbsqlc.LinkInsertParams{
		TokenSha256: access.Hash(token), Kind: string(kind), AccountID: narrow(account), ExpiresAt: now.Add(kind.Life()),
	}), "link")
}

// Link reads what a link is for. fault.NotFound when it was used, or its time is over.
func (s *Store) Link(ctx context.Context, token string, now time.Time) (access.Link, error) {
	row, err := s.q(ctx).LinkGet(ctx, dbsqlc.LinkGetParams{TokenSha256: access.Hash(token), Now: now})
	if err != nil {
		return access.Link{}, translate(err, "this link")
	}
	link := access.Link{Kind: access.LinkKind(row.Kind), ExpiresAt: row.ExpiresAt}
	if row.AccountID != nil {
		link.Account, err = s.SignInAccount(ctx, int64(*row.AccountID))
	}
	return link, err
}

// TakeLink uses a link up: the account gets the name and the password, its sessions end. For Setup the address says whose account is
// made. fault.NotFound as with Link; fault.Conflict when there is an admin already.
func (s *Store) TakeLink(ctx context.Context, token, email, name, passwordHash string, now time.Time) (a access.Account, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		link, err := s.Link(ctx, token, now)
		if err != nil {
			return err
		}
		if link.Kind != access.Setup { // before the link, as whoever makes another one does
			if _, err := s.q(ctx).AccountLock(ctx, int32(link.Account.ID)); err != nil {
				return translate(err, "this account")
			}
		}
		if _, err := s.q(ctx).LinkTake(ctx, dbsqlc.LinkTakeParams{TokenSha256: access.Hash(token), Now: now}); err != nil {
			return translate(err, "this link")
		}
		if link.Kind == access.Setup {
			a, err = s.firstAdmin(ctx, access.Account{Email: email, Name: name, Role: access.Administrator, PasswordHash: passwordHash}, now)
			return err
		}
		a = link.Account
		if err := s.setPassword(ctx, a.ID, name, passwordHash, nil); err != nil {
			return err
		}
		a.Name, a.PasswordHash = name, passwordHash
		action := "account.join"
		if link.Kind == access.Reset {
			action = "account.password"
		}
		return s.audit(ctx, a.Principal(), action, accountSubject(a.ID), nil, now)
	})
	return a, err
}

func (s *Store) firstAdmin(ctx context.Context, a access.Account, now time.Time) (access.Account, error) {
	if err := s.q(ctx).AccountsLock(ctx); err != nil {
		return a, translate(err, "accounts")
	}
	admins, err := s.q(ctx).AccountAdmins(ctx)
	if err != nil {
		return a, translate(err, "admins")
	}
	if admins > 0 {
		return a, fault.New(fault.Conflict, "there is an admin already, who invites others")
	}
	if a, err = s.insertAccount(ctx, a, "", "account.setup", now); err != nil {
		return a, err
	}
	return a, translate(s.q(ctx).LinksDelete(ctx, dbsqlc.LinksDeleteParams{Now: now}), "links")
}

// setPassword ends every session of the account but the one to keep.
func (s *Store) setPassword(ctx context.Context, id int64, name, hash string, keep *uuid.UUID) error {
	if err := s.q(ctx).AccountSetPassword(ctx, dbsqlc.AccountSetPasswordParams{ID: int32(id), Name: name, PasswordHash: hash}); err != nil {
		return translate(err, "account")
	}
	return s.endSessions(ctx, id, keep)
}

// lockAsSeen holds the account's row, if its password and second factor are what the caller checked.
func (s *Store) lockAsSeen(ctx context.Context, seen access.Account) error {
	row, err := s.q(ctx).AccountLock(ctx, int32(seen.ID))
	if err != nil {
		return translate(err, "this account")
	}
	if row.PasswordHash != seen.PasswordHash || row.TotpSecret != seen.TOTPSecret || row.DisabledAt != nil {
		return fault.New(fault.Conflict, "the account was changed meanwhile: try again")
	}
	return nil
}

// ChangePassword gives an account another password, and ends its other sessions. seen is the account whose password was
// checked.
func (s *Store) ChangePassword(ctx context.Context, seen access.Account, hash string, keep uuid.UUID, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.lockAsSeen(ctx, seen); err != nil {
			return err
		}
		if err := s.setPassword(ctx, seen.ID, seen.Name, hash, &keep); err != nil {
			return err
		}
		return s.audit(ctx, seen.Principal(), "account.password", accountSubject(seen.ID), nil, now)
	})
}

// SetFactor gives an account a second factor, whose first code was of that step, and its recovery codes; its other sessions end.
func (s *Store) SetFactor(ctx context.Context, seen access.Account, secret string, step int64, codes []string, keep uuid.UUID, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.lockAsSeen(ctx, seen); err != nil {
			return err
		}
		hashes := make([][]byte, len(codes))
		for i, code := range codes {
			hashes[i] = access.HashRecoveryCode(code)
		}
		if err := s.dropFactor(ctx, seen.ID); err != nil {
			return err
		}
		if err := s.q(ctx).AccountSetFactor(ctx, dbsqlc.AccountSetFactorParams{ID: int32(seen.ID), TotpSecret: secret, TotpStep: step}); err != nil {
			return translate(err, "account")
		}
		if err := s.q(ctx).RecoveryCodesInsert(ctx, dbsqlc.RecoveryCodesInsertParams{AccountID: int32(seen.ID), Codes: hashes}); err != nil {
			return translate(err, "recovery codes")
		}
		if err := s.endSessions(ctx, seen.ID, &keep); err != nil {
			return err
		}
		return s.audit(ctx, seen.Principal(), "account.second_factor", accountSubject(seen.ID),
			changes{"second_factor": true, "was": map[string]any{"second_factor": seen.TOTPSecret != ""}}, now)
	})
}

// RemoveFactor takes an account's second factor and recovery codes away.
func (s *Store) RemoveFactor(ctx context.Context, id int64, by string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).AccountLock(ctx, int32(id))
		if err != nil {
			return translate(err, "this account")
		}
		if row.TotpSecret == "" {
			return fault.New(fault.Conflict, "this account has no second factor")
		}
		if err := s.dropFactor(ctx, id); err != nil {
			return err
		}
		return s.audit(ctx, by, "account.second_factor", accountSubject(id),
			changes{"second_factor": false, "was": map[string]any{"second_factor": true}}, now)
	})
}

func (s *Store) dropFactor(ctx context.Context, id int64) error {
	if err := s.q(ctx).RecoveryCodesDelete(ctx, int32(id)); err != nil {
		return translate(err, "recovery codes")
	}
	return translate(s.q(ctx).AccountSetFactor(ctx, dbsqlc.AccountSetFactorParams{ID: int32(id)}), "account")
}

// UseStep notes that the code of a time step was used; false when that or a later one was before.
func (s *Store) UseStep(ctx context.Context, id, step int64) (bool, error) {
	rows, err := s.q(ctx).AccountUseStep(ctx, dbsqlc.AccountUseStepParams{ID: int32(id), Step: step})
	return rows == 1, translate(err, "account")
}

// UseRecoveryCode uses one up; false when the account has no such code.
func (s *Store) UseRecoveryCode(ctx context.Context, id int64, code string, now time.Time) (used bool, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.q(ctx).RecoveryCodeUse(ctx, dbsqlc.RecoveryCodeUseParams{AccountID: int32(id), CodeSha256: access.HashRecoveryCode(code)})
		if err != nil || rows == 0 {
			return translate(err, "recovery codes")
		}
		used = true
		return s.audit(ctx, access.AccountPrincipal(id), "account.recovery_code", accountSubject(id), nil, now)
	})
	return used, err
}

// RecoveryCodesLeft counts the recovery codes that were not used.
func (s *Store) RecoveryCodesLeft(ctx context.Context, id int64) (int, error) {
	n, err := s.q(ctx).RecoveryCodesLeft(ctx, int32(id))
	return int(n), translate(err, "recovery codes")
}

func accountSubject(id int64) string { return fmt.Sprintf("account/%d", id) }

func toAccess(row dbsqlc.Account) access.Account {
	return access.Account{
		ID: int64(row.ID), Email: row.Email, Name: row.Name, Role: access.Role(row.Role), PasswordHash: row.PasswordHash,
		TOTPSecret: row.TotpSecret, TOTPStep: row.TotpStep, CreatedAt: row.CreatedAt, SignedInAt: row.SignedInAt, DisabledAt: row.DisabledAt,
	}
}
