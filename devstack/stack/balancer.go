package stack

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"
)

// balancer gives requests to several APIs in turn, as a load balancer in front
// of the product does. It passes a request on as it came, Host included, and
// adds no Forwarded or X-Forwarded header: the APIs trust a loopback peer only
// without one.
type balancer struct {
	apis   []string // host:port
	turn   atomic.Uint64
	server *http.Server
}

// startBalancer listens on listen, host:port, for the APIs on these ports. ctx
// bounds the start alone.
func startBalancer(ctx context.Context, listen string, apiPorts []int) (*balancer, error) {
	b := &balancer{}
	for _, port := range apiPorts {
		b.apis = append(b.apis, address(port))
	}
	quiet := log.New(io.Discard, "", 0) // that an API is down is told by the one who killed it
	b.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          quiet,
		Handler: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.Out.URL.Scheme, r.Out.URL.Host = "http", "api" // dial knows which
			},
			// A connection for each request: its turn is taken when it is dialled, and none is left over from an API
			// that was killed meanwhile.
			Transport: &http.Transport{DialContext: b.dial, DisableKeepAlives: true},
			ErrorLog:  quiet,
		},
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, err
	}
	go func() { _ = b.server.Serve(l) }() // ends with close
	return b, nil
}

// dial connects to the API whose turn it is, or to the next that can be
// reached. Nothing of the request has been sent before, so that it can go to
// another safely.
func (b *balancer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	first := b.turn.Add(1)
	var errs []error
	for i := range b.apis {
		conn, err := new(net.Dialer).DialContext(ctx, network, b.apis[(first+uint64(i))%uint64(len(b.apis))])
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (b *balancer) close() error { return b.server.Close() }
