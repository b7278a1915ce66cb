package access_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func TestRoles(t *testing.T) {
	t.Parallel()
	for role, may := range map[access.Role][]access.Scope{
		access.Viewer:        {access.Read},
		access.Editor:        {access.Read, access.Write},
		access.Operator:      {access.Read, access.Write, access.Send},
		access.Administrator: {access.Read, access.Write, access.Send, access.Admin},
		"":                   nil,
		"owner":              nil,
	} {
		var got []access.Scope
		for _, scope := range access.Scopes() {
			if (access.Principal{Scopes: role.Scopes()}).May(scope) {
				got = append(got, scope)
			}
		}
		require.Equal(t, may, got, role)
		_, err := access.ParseRole(" " + strings.ToUpper(string(role)))
		require.Equal(t, may == nil, fault.Is(err, fault.Invalid), role)
	}
	require.Len(t, access.Roles(), 4)
}

func TestNormalizeEmail(t *testing.T) {
	t.Parallel()
	email, err := access.NormalizeEmail(" Kamala.Perera@Example.COM ")
	require.NoError(t, err)
	require.Equal(t, "kamala.perera@example.com", email)
	for _, wrong := range []string{"", "kamala", "@example.com", "kamala@", "Kamala <kamala@example.com>", "a@b.example, c@d.example", "a\n@b.example", strings.Repeat("a", 250) + "@b.example"} {
		_, err := access.NormalizeEmail(wrong)
		require.True(t, fault.Is(err, fault.Invalid), wrong)
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	for password, ok := range map[string]bool{
		"seven green kettles": true, "ஏழு பச்சை கெண்டிகள்": true, "short": false, "aaaaaaaaaaaaaaaa": false, "kamala@example.com": false, "Kamala@Example.com": false,
		strings.Repeat("ab", 128): true, strings.Repeat("ab", 129): false, "": false,
	} {
		err := access.CheckPassword("password", password, "kamala@example.com")
		require.Equal(t, ok, err == nil, "%q: %v", password, err)
	}
	hash, err := access.HashPassword("seven green kettles")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$"), hash)
	again, err := access.HashPassword("seven green kettles")
	require.NoError(t, err)
	require.NotEqual(t, hash, again, "each has its own salt")
	require.True(t, access.SamePassword(hash, "seven green kettles"))
	for _, wrong := range []string{"", "Seven green kettles", strings.Repeat("x", 100_000)} {
		require.False(t, access.SamePassword(hash, wrong))
		require.False(t, access.SamePassword("", wrong), "without an account")
	}
	require.False(t, access.SamePassword("not a hash", "seven green kettles"))
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	s := access.Session{SeenAt: noon, ExpiresAt: noon.Add(access.SessionLife)}
	require.True(t, s.Live(noon.Add(access.SessionIdle-time.Nanosecond)))
	require.False(t, s.Live(noon.Add(access.SessionIdle)), "idle")
	s.SeenAt = noon.Add(access.SessionLife)
	require.False(t, s.Live(s.ExpiresAt), "over")
	s.SeenAt, s.Account.DisabledAt = noon, &noon
	require.False(t, s.Live(noon), "disabled")
	require.False(t, access.Session{}.Live(noon), "the zero value lets nobody in")
}

func TestCodes(t *testing.T) {
	t.Parallel()
	factor, err := access.NewFactor("kamala@example.com")
	require.NoError(t, err)
	require.NotEmpty(t, factor.PNG)
	same, err := access.FactorOf(factor.Secret, "kamala@example.com")
	require.NoError(t, err)
	require.Equal(t, factor, same)
	for _, wrong := range []string{"", "AAAA", "not base32!", factor.Secret + "AAAAAAAA"} {
		_, err := access.FactorOf(wrong, "kamala@example.com")
		require.True(t, fault.Is(err, fault.Invalid), wrong)
	}

	// RFC 6238, appendix B, with its six last digits.
	const rfc = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"} {
		step, ok := access.CodeStep(rfc, code, 0, time.Unix(at, 0))
		require.True(t, ok, at)
		require.Equal(t, at/30, step)
		_, ok = access.CodeStep(rfc, code, step, time.Unix(at, 0))
		require.False(t, ok, "a code counts once")
	}
	for _, tt := range []struct {
		late time.Duration
		ok   bool
	}{{-31 * time.Second, true}, {31 * time.Second, true}, {-61 * time.Second, false}, {61 * time.Second, false}} {
		_, ok := access.CodeStep(rfc, "081804", 0, time.Unix(1111111095, 0).Add(tt.late)) // the middle of its step
		require.Equal(t, tt.ok, ok, tt.late)
	}
	_, ok := access.CodeStep(rfc, "", 0, noon)
	require.False(t, ok)

	codes := access.NewRecoveryCodes()
	require.Len(t, codes, 10)
	require.Equal(t, access.HashRecoveryCode(codes[0]), access.HashRecoveryCode(" "+strings.ToUpper(strings.ReplaceAll(codes[0], "-", " "))))
	require.NotEqual(t, access.HashRecoveryCode(codes[0]), access.HashRecoveryCode(codes[1]))
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	a := access.Admission{Domains: []string{"example.com"}, Role: access.Editor}
	require.Equal(t, access.Editor, a.RoleFor("kamala@example.com"))
	for _, other := range []string{"kamala@example.com.evil.example", "kamala@sub.example.com", "example.com", ""} {
		require.Empty(t, a.RoleFor(other), other)
	}
	require.Empty(t, access.Admission{}.RoleFor("kamala@example.com"), "the zero value lets in nobody")
	_, err := access.Identity{Email: "kamala@example.com"}.VerifiedEmail()
	require.True(t, fault.Is(err, fault.Forbidden), "the provider must vouch for it")
}
