package ui

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReasonsAreInWords: every reason that is ever stored with a message has its words.
func TestReasonsAreInWords(t *testing.T) {
	t.Parallel()
	found := 0
	for file, constant := range map[string]string{
		"../../internal/compliance/compliance.go": `(?m)^\t\w+ +Reason = "(\w+)"`,
		"../../internal/message/state.go":         `(?m)^\tReason\w+ += "(\w+)"`,
	} {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, reason := range regexp.MustCompile(constant).FindAllStringSubmatch(string(source), -1) {
			require.Contains(t, reasons, reason[1])
			found++
		}
	}
	require.Greater(t, found, 35)
}
