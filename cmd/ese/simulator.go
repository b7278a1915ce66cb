package main

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/event-stream-engine/ese/internal/config"
	"github.com/event-stream-engine/ese/internal/twiliosim"
)

// runSimulator is a local Twilio until ctx ends.
func runSimulator(ctx context.Context, getenv func(string) string) error {
	cfg, err := config.Load(config.Simulator, getenv)
	if err != nil {
		return err
	}
	log := newLogger(cfg.LogLevel, "simulator")
	sim, err := twiliosim.New(twiliosim.Config{
		AccountSID: cfg.Twilio.AccountSID, AuthToken: cfg.Twilio.AuthToken, DataDir: cfg.SimulatorData,
		InboundURL: cfg.SimulatorInboundURL, Logger: log,
		Delays: twiliosim.Delays{Sent: cfg.SimulatorDelays[0], Delivered: cfg.SimulatorDelays[1], Read: cfg.SimulatorDelays[2]},
	})
	if err != nil {
		return err
	}
	listeners, err := listen(ctx, cfg.SimulatorAddr)
	if err != nil {
		return errors.Join(err, sim.Close())
	}
	log.InfoContext(ctx, "listening", "address", cfg.SimulatorAddr)
	var g errgroup.Group
	running, stop := context.WithCancel(ctx)
	defer stop()
	g.Go(func() error { return sim.Run(running) })
	err = serve(ctx, listeners, sim.Handler(), cfg.ShutdownGrace)
	stop() // when it serves no more, for whatever reason
	return errors.Join(err, g.Wait(), sim.Close())
}
