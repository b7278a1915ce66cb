package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/access"
)

func TestAccounts(t *testing.T) {
	t.Parallel()
	url := dbtest.URL(t)
	store, err := db.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(store.Close)

	var console strings.Builder
	require.NoError(t, offerSetup(t.Context(), store, "https://pages.example", &console))
	_, link, found := strings.Cut(console.String(), "https://pages.example/link/")
	require.True(t, found, console.String())
	link, _, _ = strings.Cut(link, "\n")
	now := time.Now()
	_, err = store.TakeLink(t.Context(), link, "root@example.com", "Root", "hash", now)
	require.NoError(t, err)
	console.Reset()
	require.NoError(t, offerSetup(t.Context(), store, "https://pages.example", &console))
	require.Empty(t, console.String(), "there is an admin")

	accounts := func(args ...string) (string, error) {
		var out strings.Builder
		err := run(t.Context(), append([]string{"accounts"}, args...), func(name string) string {
			return map[string]string{"DATABASE_URL": url}[name]
		}, &out)
		return out.String(), err
	}
	list, err := accounts("list")
	require.NoError(t, err)
	require.Contains(t, list, "root@example.com")
	reset, err := accounts("reset", "-id", "1")
	require.NoError(t, err)
	token, _, _ := strings.Cut(strings.TrimPrefix(reset, "/link/"), "\n")
	made, err := store.Link(t.Context(), token, now)
	require.NoError(t, err)
	require.Equal(t, access.Reset, made.Kind)
	_, err = accounts("reset", "-id", "9")
	require.ErrorContains(t, err, "does not exist")
	_, err = accounts("steal")
	require.ErrorContains(t, err, "usage")
}
