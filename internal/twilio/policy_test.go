package twilio

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/message"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	want := map[message.Class][]int{
		message.Permanent: {21211, 21408, 21608, 21612, 21614, 21656, 21658, 30005, 30006, 30007, 30010, 63003, 63013, 63015, 63024, 63032},
		message.OptOut:    {21610, 30004, 63014, 63033},
		message.Retry: {14107, 20429, 21611, 30001, 30003, 30008, 30022, 30023, 30027, 30036, 30047, 30410, 30450, 63010, 63012, 63017,
			63018, 63019, 63029, 63037, 63038, 63049},
		message.Stop: {20003, 20404, 21212, 21601, 21602, 21603, 21604, 21605, 21606, 21609, 21617, 21619, 21620, 21623, 21654, 21655, 21657,
			21701, 21703, 21705, 21910, 30002, 30024, 30034, 30035, 63001, 63002, 63005, 63007, 63020, 63021, 63022, 63026, 63027, 63028,
			63030, 63040, 63041, 63042, 63051, 63062, 90007},
		message.Window:    {63016},
		message.Uncertain: {20500, 20503},
	}
	got := map[message.Class][]int{}
	for code, policy := range Policies() {
		got[policy.Class] = append(got[policy.Class], code)
		require.NotEmpty(t, policy.Meaning, code)
		require.NotEmpty(t, policy.Advice(), code)
		again := policy.Class == message.Retry || policy.Class == message.Window
		require.Equal(t, again, policy.Retries > 0, code)
		require.Equal(t, again, policy.Delay > 0, code)
		require.Equal(t, policy.Class == message.Stop, policy.Scope != "", code)
		require.Equal(t, policy, PolicyOf(code))
	}
	require.Equal(t, want, got)
}

func TestScopes(t *testing.T) {
	t.Parallel()
	want := map[message.Scope][]int{
		message.ScopeCampaign: {21602, 21603, 21604, 21605, 21617, 21619, 21620, 21623, 21654, 21655, 21910, 63005, 63021, 63027, 63028, 63030,
			63040, 63041, 63042, 90007},
		message.ScopeSender:  {21212, 21601, 21606, 21657, 21701, 21703, 21705, 30024, 30034, 30035, 63001, 63002, 63007, 63020, 63022, 63026},
		message.ScopeAccount: {20003, 20404, 21609, 30002, 63051, 63062},
	}
	got := map[message.Scope][]int{}
	for code, policy := range Policies() {
		if policy.Class == message.Stop {
			got[policy.Scope] = append(got[policy.Scope], code)
		}
	}
	require.Equal(t, want, got)
}

func TestUnknownCodeIsPermanent(t *testing.T) {
	t.Parallel()
	for _, code := range []int{0, -1, 12345} {
		require.Equal(t, message.Permanent, PolicyOf(code).Class)
		require.NotEmpty(t, PolicyOf(code).Meaning)
	}
}

func TestPolicyInTheUnitedStates(t *testing.T) {
	t.Parallel()
	require.Equal(t, message.Permanent, PolicyIn("US", 63049).Class)
	require.Equal(t, message.Retry, PolicyIn("CA", 63049).Class)
	require.Equal(t, message.Retry, PolicyIn("", 63049).Class)
	require.Equal(t, PolicyOf(30003), PolicyIn("US", 30003))
}
