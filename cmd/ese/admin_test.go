package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db/dbtest"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	keys := func(args ...string) (string, error) {
		var out strings.Builder
		err := run(t.Context(), append([]string{"keys"}, args...), func(name string) string {
			return map[string]string{"DATABASE_URL": url}[name]
		}, &out)
		return out.String(), err
	}
	made, err := keys("create", "-name", "crm", "-scopes", "read, write")
	require.NoError(t, err)
	secret, _, _ := strings.Cut(made, "\n")
	require.True(t, strings.HasPrefix(secret, "ese_"))

	list, err := keys("list")
	require.NoError(t, err)
	require.Contains(t, list, "crm")
	require.Contains(t, list, "read,write")
	require.NotContains(t, list, secret)

	_, err = keys("revoke", "-name", "nobody")
	require.ErrorContains(t, err, "does not exist")
	_, err = keys("revoke", "-name", "crm")
	require.NoError(t, err)
	_, err = keys("revoke", "-name", "crm")
	require.Error(t, err, "it is revoked already")
	for _, args := range [][]string{{}, {"steal"}} {
		_, err = keys(args...)
		require.ErrorContains(t, err, "usage")
	}
}
