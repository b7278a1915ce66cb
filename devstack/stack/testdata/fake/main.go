// Command fake stands in for the product and for Temporal in the tests of
// package stack: it is found alive where the real ones would be.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println("started", os.Args[1:])
	if len(os.Args) > 1 && os.Args[1] == os.Getenv("FAKE_BROKEN") {
		fmt.Println("cannot work")
		os.Exit(1)
	}
	ui := flag.String("ui-port", "", "")
	flag.String("database-url", "", "")
	flag.String("port", "", "")
	flag.Parse()
	switch flag.Arg(0) {
	case "migrate":
		return
	case "api":
		serve(ctx, os.Getenv("LISTEN_ADDR"))
	case "simulator":
		serve(ctx, os.Getenv("SIMULATOR_ADDR"))
	case "worker":
		fmt.Println("account", os.Getenv("TWILIO_ACCOUNT_SID"), "auth", os.Getenv("AUTH"))
		<-ctx.Done()
	default:
		serve(ctx, "127.0.0.1:"+*ui)
	}
	fmt.Println("stopped")
}

func serve(ctx context.Context, address string) {
	server := &http.Server{
		Addr:              address,
		ReadHeaderTimeout: time.Second,
		// Says who answers what.
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_ = json.NewEncoder(w).Encode(map[string]any{"listens": address, "host": r.Host, "headers": r.Header, "uri": r.RequestURI, "body": string(body)})
		}),
	}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Println(err)
		os.Exit(1)
	}
}
