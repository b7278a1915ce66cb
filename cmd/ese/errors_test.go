package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"errors"}, func(string) string { return "" }, &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Greater(t, len(lines), 50)
	require.Contains(t, lines, `{"code":63007,"class":"stop","scope":"sender","meaning":"The account has no such sender on this channel"}`)
	require.Contains(t, lines, `{"code":30003,"class":"retry","delay_seconds":7200,"retries":2,"meaning":"The handset is switched off or out of reach"}`)
}
