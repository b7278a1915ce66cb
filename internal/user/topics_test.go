package user_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestTopicCheck(t *testing.T) {
	t.Parallel()
	for _, good := range []user.Topic{
		{Name: "News"}, {Name: "News", Keyword: "news"}, {Name: "News", Keyword: "daily-offers-2"}, {Name: "Neuigkeiten", Keyword: "für-alle"},
		{Name: "हिन्दी", Keyword: "समाचार"}, {Name: "Stop smoking", Keyword: "stop-smoking", Description: strings.Repeat("é", 500)},
	} {
		require.NoError(t, good.Check(), good)
	}
	for field, bad := range map[string][]user.Topic{
		"name":        {{}, {Name: " \t"}, {Name: strings.Repeat("x", 101)}, {Name: "a\x00"}},
		"description": {{Name: "x", Description: strings.Repeat("x", 501)}, {Name: "x", Description: "\x00"}},
		"keyword": {
			{Name: "x", Keyword: "News"}, {Name: "x", Keyword: "daily offers"}, {Name: "x", Keyword: "-news"}, {Name: "x", Keyword: "a--b"},
			{Name: "x", Keyword: "a_b"}, {Name: "x", Keyword: "!"}, {Name: "x", Keyword: strings.Repeat("x", 51)},
			{Name: "x", Keyword: "all"}, {Name: "x", Keyword: "me"}, {Name: "x", Keyword: "please"}, {Name: "x", Keyword: "from-everything"},
		},
	} {
		for _, topic := range bad {
			err := topic.Check()
			require.True(t, fault.Is(err, fault.Invalid), "%+v", topic)
			require.Contains(t, err.Error(), field)
		}
	}
}
