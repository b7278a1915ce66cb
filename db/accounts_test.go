package db_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

// atOnce runs f some times, all at once, and counts how often it was true.
func atOnce(times int, f func() bool) int {
	var wg sync.WaitGroup
	var yes atomic.Int32
	for range times {
		wg.Go(func() {
			if f() {
				yes.Add(1)
			}
		})
	}
	wg.Wait()
	return int(yes.Load())
}

func TestWhatCountsOnceCountsOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	var links []string
	for range 4 { // of as many processes
		link, needed, err := b.SetupLink(ctx, noon)
		require.NoError(t, err)
		require.True(t, needed)
		links = append(links, link)
	}
	var next atomic.Int32
	require.Equal(t, 1, atOnce(len(links), func() bool {
		_, err := b.TakeLink(ctx, links[next.Add(1)-1], "root@example.com", "Root", "hash", noon)
		return err == nil
	}), "there is one first account")

	a, link, err := b.InviteAccount(ctx, "kamala@example.com", access.Editor, "account:1", noon)
	require.NoError(t, err)
	require.Equal(t, 1, atOnce(4, func() bool {
		_, err := b.TakeLink(ctx, link, "", "Kamala", "hash", noon)
		return err == nil
	}))
	_, err = b.TakeLink(ctx, link, "", "Kamala", "hash", noon)
	require.True(t, fault.Is(err, fault.NotFound), err)
	a, err = b.SignInAccount(ctx, a.ID)
	require.NoError(t, err)

	limits := access.Limits("kamala@example.com", "203.0.113.7")
	require.Equal(t, limits[0].Most, atOnce(3*limits[0].Most, func() bool {
		again, err := b.CountTry(ctx, limits, noon)
		return err == nil && again.IsZero()
	}), "tries of all processes are counted together")

	token, err := b.StartSession(ctx, access.Session{Account: a}, "test", noon)
	require.NoError(t, err)
	session, err := b.SessionByToken(ctx, token)
	require.NoError(t, err)
	codes := access.NewRecoveryCodes()
	require.NoError(t, b.SetFactor(ctx, a, "secret", 7, codes, session.ID, noon))
	require.Equal(t, 1, atOnce(4, func() bool {
		used, err := b.UseStep(ctx, a.ID, 8)
		return err == nil && used
	}))
	used, err := b.UseStep(ctx, a.ID, 7)
	require.NoError(t, err)
	require.False(t, used, "nor one before it")
	require.Equal(t, 1, atOnce(4, func() bool {
		used, err := b.UseRecoveryCode(ctx, a.ID, codes[0], noon)
		return err == nil && used
	}))

	// Whoever was let in by what is not true any more gets no session.
	_, err = b.StartSession(ctx, access.Session{Account: a}, "test", noon)
	require.True(t, fault.Is(err, fault.Conflict), "it has a second factor now: %v", err)
	require.True(t, fault.Is(b.ChangePassword(ctx, a, "other", session.ID, noon), fault.Conflict))
}

func TestLinksEnd(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	a, first, err := b.InviteAccount(ctx, "kamala@example.com", access.Viewer, "operator", noon)
	require.NoError(t, err)
	kind, second, err := b.ResetAccount(ctx, a.ID, "operator", noon)
	require.NoError(t, err)
	require.Equal(t, access.Invitation, kind)
	gone := func(link string, after time.Duration) bool {
		_, err := b.Link(ctx, link, noon.Add(after))
		return fault.Is(err, fault.NotFound)
	}
	require.True(t, gone(first, 0), "another took its place")
	require.False(t, gone(second, access.InvitationLife-time.Second))
	require.True(t, gone(second, access.InvitationLife), "its time is over")
	disabled := true
	_, err = b.ChangeAccess(ctx, a.ID, nil, &disabled, "operator", noon)
	require.NoError(t, err)
	require.True(t, gone(second, 0))
}
