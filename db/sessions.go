package db

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

// StartSession signs an account in, by the means that how names, or with half lets it go on to its second factor. The session's
// Account is the one that was checked; Address and Browser are taken over. token is the cookie's content.
func (s *Store) StartSession(ctx context.Context, session access.Session, how string, now time.Time) (token string, err error) {
	token = access.NewToken()
	life := access.SessionLife
	if session.Half {
		life = access.SecondFactorDue
	}
	err = s.InTx(ctx, func(ctx context.Context) error {
		a := session.Account
		if err := s.lockAsSeen(ctx, a); err != nil {
			return err
		}
		if err := s.q(ctx).SessionsExpire(ctx, now); err != nil {
			return translate(err, "sessions")
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		if err := s.q(ctx).SessionInsert(ctx, dbsqlc.SessionInsertParams{
			ID: id, TokenSha256: access.Hash(token), AccountID: int32(a.ID), Half: session.Half, Now: now, ExpiresAt: now.Add(life),
			Address: session.Address, Browser: session.Browser,
		}); err != nil {
			return translate(err, "session")
		}
		if session.Half {
			return nil
		}
		if err := s.q(ctx).AccountSignedIn(ctx, dbsqlc.AccountSignedInParams{ID: int32(a.ID), Now: &now}); err != nil {
			return translate(err, "account")
		}
		return s.audit(ctx, a.Principal(), "session.start", accountSubject(a.ID), map[string]any{"by": how}, now)
	})
	return token, err
}

// SessionRefused records that somebody tried to sign in as an account, and why it was refused. Of an address that has no account
// nothing is told but that.
func (s *Store) SessionRefused(ctx context.Context, account int64, why string, now time.Time) error {
	subject := "account"
	if account != 0 {
		subject = accountSubject(account)
	}
	return s.audit(ctx, "", "session.refuse", subject, map[string]any{"reason": why}, now)
}

// SessionByToken finds the session with that token, live or not.
func (s *Store) SessionByToken(ctx context.Context, token string) (access.Session, error) {
	row, err := s.q(ctx).SessionByToken(ctx, access.Hash(token))
	if err != nil {
		return access.Session{}, translate(err, "this session")
	}
	session := toSession(row.Session)
	session.Account = toAccess(row.Account)
	return session, nil
}

// SessionSeen records when a session was last used.
func (s *Store) SessionSeen(ctx context.Context, id uuid.UUID, now time.Time) error {
	return translate(s.q(ctx).SessionSeen(ctx, dbsqlc.SessionSeenParams{ID: id, Now: now}), "session")
}

// RotateSession gives a session another token.
func (s *Store) RotateSession(ctx context.Context, id uuid.UUID) (token string, err error) {
	token = access.NewToken()
	rows, err := s.q(ctx).SessionRotate(ctx, dbsqlc.SessionRotateParams{ID: id, TokenSha256: access.Hash(token)})
	if err == nil && rows == 0 {
		return "", fault.New(fault.NotFound, "this session does not exist")
	}
	return token, translate(err, "session")
}

// Sessions lists the browsers in which an account is signed in, newest first.
func (s *Store) Sessions(ctx context.Context, account int64, now time.Time) ([]access.Session, error) {
	rows, err := s.q(ctx).SessionList(ctx, dbsqlc.SessionListParams{
		AccountID: int32(account), Now: now, IdleSince: now.Add(-access.SessionIdle),
	})
	if err != nil {
		return nil, translate(err, "sessions")
	}
	sessions := make([]access.Session, len(rows))
	for i, row := range rows {
		sessions[i] = toSession(row)
	}
	return sessions, nil
}

// EndSession signs an account out in one browser. fault.NotFound when it has no such session.
func (s *Store) EndSession(ctx context.Context, account int64, id uuid.UUID, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.q(ctx).SessionDelete(ctx, dbsqlc.SessionDeleteParams{ID: id, AccountID: int32(account)})
		if err == nil && rows == 0 {
			return fault.New(fault.NotFound, "this session does not exist")
		} else if err != nil {
			return translate(err, "session")
		}
		return s.audit(ctx, access.AccountPrincipal(account), "session.end", accountSubject(account), nil, now)
	})
}

// EndSessions signs an account out everywhere.
func (s *Store) EndSessions(ctx context.Context, account int64, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.endSessions(ctx, account, nil); err != nil {
			return err
		}
		return s.audit(ctx, access.AccountPrincipal(account), "session.end_all", accountSubject(account), nil, now)
	})
}

func (s *Store) endSessions(ctx context.Context, account int64, keep *uuid.UUID) error {
	_, err := s.q(ctx).SessionsDelete(ctx, dbsqlc.SessionsDeleteParams{AccountID: int32(account), Keep: keep})
	return translate(err, "sessions")
}

// CountTry counts one try to sign in under each of the limits, which all processes share. Where one of them was reached, it
// returns when its window ends; zero otherwise.
func (s *Store) CountTry(ctx context.Context, limits []access.Limit, now time.Time) (again time.Time, err error) {
	since := now.Add(-access.LimitWindow)
	if err := s.q(ctx).TriesExpire(ctx, since); err != nil {
		return again, translate(err, "tries")
	}
	for _, limit := range limits {
		row, err := s.q(ctx).TryCount(ctx, dbsqlc.TryCountParams{Subject: limit.Subject, Now: now, WindowSince: since})
		if err != nil {
			return again, translate(err, "tries")
		}
		if end := row.Since.Add(access.LimitWindow); int(row.Tries) > limit.Most && end.After(again) {
			again = end
		}
	}
	return again, nil
}

// ForgetTry takes a try back that succeeded: those for its account are forgotten, the first of the limits; under the others it
// counts no longer.
func (s *Store) ForgetTry(ctx context.Context, limits []access.Limit) error {
	for i, limit := range limits {
		forget := s.q(ctx).TryTakeBack
		if i == 0 {
			forget = s.q(ctx).TriesForget
		}
		if err := forget(ctx, limit.Subject); err != nil {
			return translate(err, "tries")
		}
	}
	return nil
}

func toSession(row dbsqlc.Session) access.Session {
	return access.Session{
		ID: row.ID, Half: row.Half, CreatedAt: row.CreatedAt, SeenAt: row.SeenAt, ExpiresAt: row.ExpiresAt,
		Address: row.Address, Browser: row.Browser,
	}
}
