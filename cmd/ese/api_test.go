package main

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func listeners(t *testing.T) []net.Listener {
	t.Helper()
	both := make([]net.Listener, 2)
	for i := range both {
		l, err := listen(t.Context(), "127.0.0.1:0")
		require.NoError(t, err)
		both[i] = l[0]
	}
	return both
}

// returned gives what serve returns, which it must do soon.
func returned(t *testing.T, result <-chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(10 * time.Second):
		require.FailNow(t, "serve does not return")
		return nil
	}
}

func TestServeEndsWithItsFirstListener(t *testing.T) {
	t.Parallel()
	both, result := listeners(t), make(chan error, 1)
	go func() { result <- serve(t.Context(), both, http.NotFoundHandler(), time.Second) }()
	require.NoError(t, both[0].Close())
	require.ErrorIs(t, returned(t, result), net.ErrClosed)
	_, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", both[1].Addr().String())
	require.Error(t, err, "half a server is none")
}

func TestServeEndsRequestsThatOutliveTheGrace(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	})
	ctx, stop := context.WithCancel(t.Context())
	both, result := listeners(t), make(chan error, 1)
	go func() { result <- serve(ctx, both, handler, 10*time.Millisecond) }()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", both[0].Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	require.NoError(t, err)
	<-begun
	stop()
	require.ErrorIs(t, returned(t, result), context.DeadlineExceeded)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		require.FailNow(t, "the request goes on")
	}
}
