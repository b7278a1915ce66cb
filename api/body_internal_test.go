package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// listenPaced connects to a server whose requests have bodies that must come within grace, then at 100 bytes a second.
func listenPaced(t *testing.T, grace time.Duration, handle http.HandlerFunc) net.Conn {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paceBody(w, r, grace, 100)
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn
}

func answer(t *testing.T, conn net.Conn) (status int, text string) {
	t.Helper()
	w, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Body.Close()) }()
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return w.StatusCode, string(body)
}

func readAll(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if refused, ok := errors.AsType[*refusal](err); ok {
		http.Error(w, refused.detail, refused.status)
		return
	}
	_, _ = fmt.Fprintf(w, "%d bytes, %v", len(body), err)
}

const post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "

func TestSlowBodies(t *testing.T) {
	t.Parallel()
	t.Run("stalled", func(t *testing.T) {
		t.Parallel()
		conn := listenPaced(t, 50*time.Millisecond, readAll)
		_, err := io.WriteString(conn, post+"50\r\n\r\nbeginning")
		require.NoError(t, err)
		status, text := answer(t, conn)
		require.Equal(t, http.StatusRequestTimeout, status, text)
	})
	t.Run("stalled and unread", func(t *testing.T) {
		t.Parallel()
		conn := listenPaced(t, 50*time.Millisecond, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		_, err := io.WriteString(conn, post+"50\r\n\r\nbeginning")
		require.NoError(t, err)
		status, _ := answer(t, conn)
		require.Equal(t, http.StatusUnauthorized, status)
	})
	t.Run("earned", func(t *testing.T) { // the first bytes are worth 40 s
		t.Parallel()
		conn := listenPaced(t, 200*time.Millisecond, readAll)
		_, err := io.WriteString(conn, post+"4001\r\n\r\n"+strings.Repeat("x", 4000))
		require.NoError(t, err)
		<-time.After(400 * time.Millisecond) // longer than the grace
		_, err = io.WriteString(conn, "x")
		require.NoError(t, err)
		status, text := answer(t, conn)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "4001 bytes, <nil>", text)
	})
	t.Run("cut off", func(t *testing.T) {
		t.Parallel()
		conn := listenPaced(t, 5*time.Second, readAll)
		_, err := io.WriteString(conn, post+"50\r\n\r\nbeginning")
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		status, text := answer(t, conn)
		require.Equal(t, http.StatusBadRequest, status, text)
		require.Contains(t, text, "ends early")
	})
	t.Run("work after the body", func(t *testing.T) {
		t.Parallel()
		const grace = 100 * time.Millisecond
		conn := listenPaced(t, grace, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			ctx, cancel := context.WithTimeout(r.Context(), 4*grace)
			defer cancel()
			<-ctx.Done()
			_, _ = fmt.Fprint(w, r.Context().Err())
		})
		_, err := io.WriteString(conn, post+"4\r\n\r\nbody")
		require.NoError(t, err)
		_, text := answer(t, conn)
		require.Equal(t, "<nil>", text, "the request is not taken for abandoned")
	})
}
