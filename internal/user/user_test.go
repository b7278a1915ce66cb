package user_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestParseConsent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]user.ConsentState{
		"OPT_IN": user.OptIn, " opt_in ": user.OptIn, "Opt-In": user.OptIn, "opt out": user.OptOut,
		"stop": user.Stop, "pending": user.Pending, "": "",
	} {
		got, err := user.ParseConsent("consent_state", text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"yes", "true", "opted_in", "OPT__IN", "1"} {
		_, err := user.ParseConsent("consent_state", text)
		require.True(t, fault.Is(err, fault.Invalid), text)
	}
}

func TestConsentAfter(t *testing.T) {
	t.Parallel()
	const evidence = "asked at the counter on 3 May"
	tests := []struct {
		name     string
		from     user.ConsentState
		change   user.Change
		want     user.ConsentState
		conflict bool
	}{
		{"NewUserWithoutConsentIsPending", "", user.Change{Source: user.SourceImport}, user.Pending, false},
		{"NewUserWithConsent", "", user.Change{State: user.OptIn, Source: user.SourceImport}, user.OptIn, false},
		{"NewUserWhoWritesStop", "", user.Change{State: user.Stop, Source: user.SourceKeyword}, user.Stop, false},
		{"ImportWithoutConsentKeeps", user.OptIn, user.Change{Source: user.SourceImport}, user.OptIn, false},
		{"ImportWithoutConsentKeepsStop", user.Stop, user.Change{Source: user.SourceImport}, user.Stop, false},
		{"ImportOfPendingKeeps", user.OptIn, user.Change{State: user.Pending, Source: user.SourceImport}, user.OptIn, false},
		{"ImportOptsIn", user.Pending, user.Change{State: user.OptIn, Source: user.SourceImport}, user.OptIn, false},
		{"ImportStops", user.OptIn, user.Change{State: user.Stop, Source: user.SourceImport}, user.Stop, false},
		{"ImportNeverRevivesStop", user.Stop, user.Change{State: user.OptIn, Source: user.SourceImport}, user.Stop, false},
		{"ImportNeverSoftensStop", user.Stop, user.Change{State: user.OptOut, Source: user.SourceImport}, user.Stop, false},
		{"EditChanges", user.OptIn, user.Change{State: user.OptOut, Source: user.SourceAPI}, user.OptOut, false},
		{"EditBackToPending", user.OptIn, user.Change{State: user.Pending, Source: user.SourceAPI}, user.Pending, false},
		{"EditWithoutConsentKeepsStop", user.Stop, user.Change{Source: user.SourceAPI}, user.Stop, false},
		{"EditThatRepeatsStop", user.Stop, user.Change{State: user.Stop, Source: user.SourceAPI}, user.Stop, false},
		{"EditNeverRevivesStop", user.Stop, user.Change{State: user.OptIn, Source: user.SourceAPI, Evidence: evidence}, user.Stop, true},
		{"EditNeverTurnsStopToPending", user.Stop, user.Change{State: user.Pending, Source: user.SourceAPI}, user.Stop, true},
		{"KeywordStops", user.OptIn, user.Change{State: user.Stop, Source: user.SourceKeyword}, user.Stop, false},
		{"KeywordStartLiftsStop", user.Stop, user.Change{State: user.OptIn, Source: user.SourceKeyword}, user.OptIn, false},
		{"KeywordStartLiftsOptOut", user.OptOut, user.Change{State: user.OptIn, Source: user.SourceKeyword}, user.OptIn, false},
		{"OperatorWithEvidence", user.Stop, user.Change{State: user.OptIn, Source: user.SourceOperator, Evidence: evidence}, user.OptIn, false},
		{"OperatorWithoutEvidence", user.Stop, user.Change{State: user.OptIn, Source: user.SourceOperator, Evidence: " "}, user.Stop, true},
		{"OperatorOnOptOut", user.OptOut, user.Change{State: user.OptIn, Source: user.SourceOperator}, user.OptIn, false},
		{"ProviderBlocks", user.OptIn, user.Change{State: user.OptOut, Source: user.SourceCarrier}, user.OptOut, false},
		{"ProviderKeepsStop", user.Stop, user.Change{State: user.OptOut, Source: user.SourceCarrier}, user.Stop, false},
		{"ProviderNeverOptsIn", user.OptOut, user.Change{State: user.OptIn, Source: user.SourceCarrier}, user.OptOut, false},
		{"ProviderNeverOptsInNew", "", user.Change{State: user.OptIn, Source: user.SourceCarrier}, user.Pending, false},
		{"UnknownSourceNeverRevivesStop", user.Stop, user.Change{State: user.OptIn, Source: "?", Evidence: evidence}, user.Stop, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.from.After(tt.change)
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.conflict, fault.Is(err, fault.Conflict), "%v", err)
		})
	}
}

func TestResolveZones(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		attributes user.Attributes
		want       []string
		source     user.ZoneSource
	}{
		{"Stated", user.Attributes{"timezone": "Asia/Kathmandu"}, []string{"Asia/Kathmandu"}, user.ZonesFromAttribute},
		{"Trimmed", user.Attributes{"timezone": " Europe/London "}, []string{"Europe/London"}, user.ZonesFromAttribute},
		{"Number", user.Attributes{}, []string{"Asia/Colombo"}, user.ZonesFromNumber},
		{"Nil", nil, []string{"Asia/Colombo"}, user.ZonesFromNumber},
		{"Unknown", user.Attributes{"timezone": "Mars/Olympus"}, []string{"Asia/Colombo"}, user.ZonesFromNumber},
		{"TheServersOwn", user.Attributes{"timezone": "Local"}, []string{"Asia/Colombo"}, user.ZonesFromNumber},
		{"Empty", user.Attributes{"timezone": ""}, []string{"Asia/Colombo"}, user.ZonesFromNumber},
		{"Path", user.Attributes{"timezone": "../../etc/passwd"}, []string{"Asia/Colombo"}, user.ZonesFromNumber},
		{"NotText", user.Attributes{"timezone": json.Number("5")}, []string{"Asia/Colombo"}, user.ZonesFromNumber},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			zones, source := user.ResolveZones(tt.attributes, "+94771234576")
			require.Equal(t, tt.want, zones)
			require.Equal(t, tt.source, source)
		})
	}
	zones, source := user.ResolveZones(nil, "+999123456")
	require.Empty(t, zones)
	require.Equal(t, user.ZonesUnknown, source)
}

func TestParseAttributes(t *testing.T) {
	t.Parallel()
	got, err := user.ParseAttributes("attributes", json.RawMessage(`{"n":12345678901234567890.10,"b":false,"o":{"x":[1,null]},"s":"é"}`))
	require.NoError(t, err)
	require.Equal(t, user.Attributes{
		"n": json.Number("12345678901234567890.10"), "b": false, "s": "é",
		"o": map[string]any{"x": []any{json.Number("1"), nil}},
	}, got)

	for _, empty := range []string{"", "null", " {} "} {
		got, err := user.ParseAttributes("attributes", json.RawMessage(empty))
		require.NoError(t, err)
		require.Equal(t, user.Attributes{}, got)
	}
	for _, bad := range []string{
		`[]`, `"x"`, `1`, `{`, `{} {}`, `{"a":"\u0000"}`, `{"a\u0000":1}`, `{"a":[{"b":"x\u0000"}]}`, `{"a":1e400}`,
		`{"a":1e-100000}`, `{"a":` + strings.Repeat("9", 400) + `}`, "{\"a\":\"\xff\"}",
		`{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`,
		`{"a":"` + strings.Repeat("x", user.MaxAttributesBytes) + `"}`,
	} {
		_, err := user.ParseAttributes("attributes", json.RawMessage(bad))
		require.True(t, fault.Is(err, fault.Invalid), "%.40s", bad)
		require.Contains(t, err.Error(), "attributes")
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	a := user.Attributes{"a": map[string]any{"b": "x", "n": nil}, "list": []any{"x"}, "a.b": "flat"}
	value, ok := a.Lookup("a", "b")
	require.True(t, ok)
	require.Equal(t, "x", value)
	for _, path := range [][]string{{}, {"missing"}, {"a", "n"}, {"a", "b", "c"}, {"list", "0"}, {"a", "missing", "x"}} {
		_, ok := a.Lookup(path...)
		require.False(t, ok, path)
	}
	_, ok = user.Attributes(nil).Lookup("a")
	require.False(t, ok)
}
