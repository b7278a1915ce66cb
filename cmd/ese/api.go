package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/event-stream-engine/ese/api"
	"github.com/event-stream-engine/ese/api/ui"
	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/config"
	"github.com/event-stream-engine/ese/internal/handset"
	"github.com/event-stream-engine/ese/internal/oidc"
	"github.com/event-stream-engine/ese/internal/price"
	"github.com/event-stream-engine/ese/internal/relay"
	"github.com/event-stream-engine/ese/internal/twilio"
)

// statementTimeout keeps a caller's expensive question from holding the database.
const statementTimeout = time.Minute

// runAPI serves HTTP until ctx ends, then lets requests under way finish.
func runAPI(ctx context.Context, getenv func(string) string) error {
	cfg, err := config.Load(config.API, getenv)
	if err != nil {
		return err
	}
	log := newLogger(cfg.LogLevel, "api")
	prices, err := readPrices(cfg.PriceTable)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, cfg.DatabaseURL, db.StatementTimeout(statementTimeout), db.SuppressionKeys(cfg.SuppressionKeys))
	if err != nil {
		return err
	}
	defer store.Close()
	store.ApprovalsRequired = cfg.ApprovalsRequired
	if err := store.CheckSuppressionKeys(ctx); err != nil {
		return err
	}
	if err := obeyLaw(store, cfg.LegalWindowsFile); err != nil {
		return err
	}
	if err := ensureSenders(ctx, store, cfg); err != nil {
		return err
	}
	temporal, namespace, err := temporalClient(log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	outbox := relay.New(store, temporal, time.Now, log, 0)

	var provider ui.OIDC
	if cfg.OIDC.Issuer != "" {
		provider = oidc.New(oidc.Config{
			Issuer: cfg.OIDC.Issuer, ClientID: cfg.OIDC.ClientID, ClientSecret: cfg.OIDC.ClientSecret,
			RedirectURL: cfg.PagesURL + "/sign-in/oidc/callback", Now: time.Now,
		})
	}
	handler, err := api.New(api.Deps{
		PagesURL: cfg.PagesURL, TrustedProxies: cfg.TrustedProxies,
		OIDC: provider, OIDCName: cfg.OIDC.Name,
		Admission: access.Admission{Domains: cfg.OIDC.Domains, Role: access.Role(cfg.OIDC.Role)},
		Store:     store, Now: time.Now, Log: log, Wake: outbox.Wake,
		Stopping: ctx.Done(),
		TemporalHealth: func(ctx context.Context) error {
			_, err := temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
			return err
		},
		Queues:        taskQueues(temporal, namespace),
		TemporalUIURL: cfg.TemporalUIURL, Namespace: namespace, PublicURL: cfg.PublicURL,
		LocalAuth: cfg.LocalAuth, ListenAddr: cfg.ListenAddr, MaxUploadBytes: cfg.MaxUploadBytes, Version: version,
		Phones:        phones(cfg.SimulatorURL),
		PayloadDays:   cfg.PayloadDays,
		BodyDays:      cfg.BodyDays,
		ImportDays:    cfg.ImportDays,
		Prices:        prices,
		RequireOptOut: cfg.RequireOptOut,
		DefaultRegion: cfg.DefaultRegion, AccountSID: cfg.Twilio.AccountSID,
		TwilioTokens: append([]string{cfg.Twilio.AuthToken}, cfg.Twilio.NextAuthTokens...),
		ErrorMeaning: func(code int) string { return twilio.PolicyOf(code).Meaning },
		ErrorAdvice:  func(code int) string { return twilio.PolicyOf(code).Advice() },
	})
	if err != nil {
		return err
	}

	listeners, err := listen(ctx, cfg.ListenAddr)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "listening", "address", cfg.ListenAddr)
	if !cfg.LocalAuth {
		if err := offerSetup(ctx, store, cfg.PagesURL, os.Stderr); err != nil {
			return err
		}
	}
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var g errgroup.Group
	g.Go(func() error {
		outbox.Run(background)
		return nil
	})
	err = serve(ctx, listeners, handler, cfg.ShutdownGrace)
	stopBackground() // only now: the last requests may have left something to relay
	return errors.Join(err, g.Wait())
}

// phoneTimeout is how long the simulator may take; it waits for our webhook meanwhile.
const phoneTimeout = 20 * time.Second

// phones are those of the simulator; nil without one.
func phones(simulator string) ui.Phones {
	if simulator == "" {
		return nil
	}
	return handset.Client{BaseURL: simulator, HTTP: &http.Client{Timeout: phoneTimeout}}
}

// offerSetup prints a link to make the first admin's account, while there is none. It is a secret, so that it goes to the console and not
// into a log record.
func offerSetup(ctx context.Context, store *db.Store, pagesURL string, console io.Writer) error {
	token, needed, err := store.SetupLink(ctx, time.Now())
	if err != nil || !needed {
		return err
	}
	_, err = fmt.Fprintf(console, "\nThere is no admin yet. Make the account of the first one within %d hours at\n\n  %s/link/%s\n\nThe link works once.\n\n",
		int(access.Setup.Life().Hours()), pagesURL, token)
	return err
}

// readPrices reads the table of prices; without a file there are none.
func readPrices(file string) (price.Table, error) {
	if file == "" {
		return price.Table{}, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return price.Table{}, fmt.Errorf("PRICE_TABLE: %w", err)
	}
	table, err := price.Parse(raw)
	if err != nil {
		return price.Table{}, fmt.Errorf("PRICE_TABLE: %w", err)
	}
	return table, nil
}

// listen opens addr, and with a name that stands for several addresses, such as localhost, each of them.
func listen(ctx context.Context, addr string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	hosts := []string{host}
	if host != "" && net.ParseIP(host) == nil {
		if hosts, err = net.DefaultResolver.LookupHost(ctx, host); err != nil {
			return nil, fmt.Errorf("LISTEN_ADDR: %w", err)
		}
	}
	var listeners []net.Listener
	var failed error
	for _, h := range hosts {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(h, port))
		if err != nil {
			failed = err // a name may stand for an address that this machine lacks
			continue
		}
		listeners = append(listeners, l)
	}
	if len(listeners) == 0 {
		return nil, failed
	}
	return listeners, nil
}

// serve answers on the listeners until ctx ends, then gives requests under way grace to finish.
func serve(ctx context.Context, listeners []net.Listener, handler http.Handler, grace time.Duration) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- server.Serve(l) }()
	}
	select {
	case err := <-failed:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return errors.Join(err, server.Close()) // ends what is still under way, so that nobody waits for it
	}
	return nil
}
