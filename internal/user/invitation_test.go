package user_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/user"
)

func TestInvitationRulesCheck(t *testing.T) {
	t.Parallel()
	valid := func() user.InvitationRules {
		return user.InvitationRules{ConfirmWithin: time.Hour, InviteAgain: 24 * time.Hour, Words: []string{"Count  ME in!", "👍 sure"}}
	}
	rules := valid()
	require.NoError(t, rules.Check())
	require.Equal(t, []string{"count me in", "sure"}, rules.Words)
	for want, change := range map[string]func(*user.InvitationRules){
		"confirm_within_hours: must be from 1 to 720":    func(r *user.InvitationRules) { r.ConfirmWithin = 0 },
		"invite_again_after_days: must be from 1 to 365": func(r *user.InvitationRules) { r.InviteAgain = 366 * 24 * time.Hour },
		"words: must be at most 100 words":               func(r *user.InvitationRules) { r.Words = make([]string, 101) },
		"words[0]: must be 1 to 100 letters":             func(r *user.InvitationRules) { r.Words = []string{"!!"} },
		"words[0]: is a word that stops or starts":       func(r *user.InvitationRules) { r.Words = []string{"Cancel"} },
		"words[1]: is the same as words[0]":              func(r *user.InvitationRules) { r.Words = []string{"sure", "SURE"} },
	} {
		rules := valid()
		change(&rules)
		require.ErrorContains(t, rules.Check(), want)
	}
}

func TestConfirms(t *testing.T) {
	t.Parallel()
	rules := user.InvitationRules{Words: []string{"count me in"}}
	for _, tt := range []struct{ body, button, keyword string }{
		{"YES", "", "yes"}, {" yes!! ", "", "yes"}, {"Sí", "", "sí"}, {"ja", "", "ja"}, {"J’accepte", "", "j accepte"},
		{"Yes, I agree", "Yes, I agree", "yes i agree"}, {"Count me in", "", "count me in"}, {"whatever", "Confirm", "confirm"},
		{"no", "", ""}, {"yes and no", "", ""}, {"", "", ""}, {"stop", "", ""},
	} {
		intent, ok := rules.Confirms(tt.body, tt.button)
		require.Equal(t, tt.keyword != "", ok, tt.body)
		require.Equal(t, tt.keyword, intent.Keyword, tt.body)
		if ok {
			require.Equal(t, user.ActionStart, intent.Action)
		}
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	rules := user.InvitationRules{InviteAgain: 24 * time.Hour}
	require.NoError(t, rules.Refuse(user.Pending, false, time.Time{}, now))
	require.NoError(t, rules.Refuse(user.Pending, false, now.Add(-24*time.Hour), now))
	require.ErrorContains(t, rules.Refuse(user.Pending, false, now.Add(-time.Hour), now), "again from 2026-11-23T11:00:00Z on")
	require.ErrorContains(t, rules.Refuse(user.Pending, true, time.Time{}, now), "suppressions")
	for _, state := range []user.ConsentState{user.OptIn, user.OptOut, user.Stop} {
		require.Error(t, rules.Refuse(state, false, time.Time{}, now), state)
	}
}
