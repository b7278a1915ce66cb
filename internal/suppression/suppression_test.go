package suppression_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/suppression"
)

func TestScopes(t *testing.T) {
	t.Parallel()
	for text, topic := range map[string]int64{
		"": 0, "global": 0, string(suppression.OnChannel(message.SMS)): 0, string(suppression.OnChannel(message.WhatsApp)): 0,
		string(suppression.OnTopic(2147483647)): 2147483647, "topic:3": 3,
	} {
		scope, err := suppression.ParseScope("scope", text)
		require.NoError(t, err, text)
		require.Equal(t, topic, scope.Topic(), text)
	}
	for _, text := range []string{"Global", "channel:", "channel:fax", "topic:", "topic:0", "topic:03", "topic:-1", "topic:99999999999", "global "} {
		_, err := suppression.ParseScope("scope", text)
		require.True(t, fault.Is(err, fault.Invalid), text)
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	reason, err := suppression.ParseReason("reason", "")
	require.NoError(t, err)
	require.Equal(t, suppression.Other, reason)
	_, err = suppression.ParseReason("reason", "erased")
	require.True(t, fault.Is(err, fault.Invalid), "the engine's own")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	first, second := strings.Repeat("a", suppression.MinKeyBytes), strings.Repeat("b", suppression.MinKeyBytes)
	old, rotated := suppression.NewKeys(first), suppression.NewKeys(second, first)
	const number = "+94771234576"
	// printf +94771234576 | openssl dgst -sha256 -hmac aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
	require.Equal(t, "6ddea498c31e7f2315795a0a0b9456bd34b4b487a14e12843dd1713d4c819b7d", hex.EncodeToString(old.Hash(number)))
	require.NotEqual(t, old.Hash(number), rotated.Hash(number))
	require.Equal(t, [][]byte{old.Hash(number)}, rotated.Earlier(number))
	require.Empty(t, old.Earlier(number))
	require.True(t, rotated.Knows(old.ID()))
	require.True(t, rotated.Knows(rotated.ID()))
	require.False(t, old.Knows(rotated.ID()))
}
