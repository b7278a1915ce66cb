package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const loopback = "127.0.0.1"

// dynamicConfig lifts the limits that are meant for a cluster of many hosts:
// this one node carries everything. Database identifiers are varchar(255).
var dynamicConfig = dynamicconfig.StaticClient{
	dynamicconfig.MaxIDLengthLimit.Key():                                    255,
	dynamicconfig.FrontendRPS.Key():                                         20000,
	dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key():                  20000,
	dynamicconfig.FrontendMaxConcurrentLongRunningRequestsPerInstance.Key(): 5000,
	dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key():        100,
	dynamicconfig.FrontendPersistenceMaxQPS.Key():                           20000,
	dynamicconfig.HistoryRPS.Key():                                          30000,
	dynamicconfig.HistoryPersistenceMaxQPS.Key():                            50000,
	dynamicconfig.ShardIOConcurrency.Key():                                  2,
	// The default keeps 128,000 workflows in memory; most here are over in a
	// moment. Events are asked for again right after they were written.
	dynamicconfig.HistoryCacheHostLevelMaxSize.Key(): 10_000,
	dynamicconfig.EventsCacheMaxSizeBytes.Key():      16 << 20,
	dynamicconfig.MatchingRPS.Key():                  20000,
	dynamicconfig.MatchingPersistenceMaxQPS.Key():    20000,
	dynamicconfig.BatcherRPS.Key():                   500,
	dynamicconfig.BatcherConcurrency.Key():           20,
	// New search attributes and namespaces are seen at once.
	dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
	dynamicconfig.NamespaceCacheRefreshInterval.Key():           time.Second,
}

// serve runs the server until ctx ends, then stops it.
func serve(ctx context.Context, opts options, s stores) error {
	cfg, hosts, err := serverConfig(opts, s)
	if err != nil {
		return err
	}
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Stdout: true, Level: opts.logLevel, Format: "console"}))
	srv, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithDynamicConfigClient(dynamicConfig),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
	)
	if err != nil {
		return fmt.Errorf("build the server: %w", err)
	}
	if err := srv.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	defer srv.Stop() //nolint:errcheck // the process ends with it

	frontend := cfg.PublicClient.HostPort
	if err := registerNamespace(ctx, frontend, opts.namespace, opts.retention); err != nil {
		return err
	}
	if opts.uiPort != 0 {
		ui := server.NewServer(server_options.WithConfigProvider(&uiconfig.Config{
			TemporalGRPCAddress: frontend,
			Host:                loopback,
			Port:                opts.uiPort,
			EnableUI:            true,
			DefaultNamespace:    opts.namespace,
			DisableNewsFetch:    true,
			HideLogs:            true,
			CORS:                uiconfig.CORS{CookieInsecure: true},
		}))
		go func() { _ = ui.Start() }() // ends the process itself when it cannot listen
		defer ui.Stop()
	}
	fmt.Printf("Temporal %s is ready on %s\n", headers.ServerVersion, frontend)
	<-ctx.Done()
	return nil
}

// serverConfig describes one node whose services know each other by address.
// Membership is static: after a kill nothing waits for a dead predecessor to
// be forgotten. Only the frontend's port is a promise; the others are free
// ones.
func serverConfig(opts options, s stores) (*config.Config, map[primitives.ServiceName]static.Hosts, error) {
	services := map[string]config.Service{}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for _, name := range []primitives.ServiceName{
		primitives.FrontendService, primitives.HistoryService, primitives.MatchingService, primitives.WorkerService,
	} {
		port := opts.port
		if name != primitives.FrontendService {
			var err error
			if port, err = freePort(); err != nil {
				return nil, nil, err
			}
		}
		services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: loopback}}
		hosts[name] = static.SingleLocalHost(address(port))
	}
	frontend := address(opts.port)
	const clusterName = "active"
	return &config.Config{
		Global: config.Global{Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback}},
		Persistence: config.Persistence{
			DefaultStore:     "history",
			VisibilityStore:  "visibility",
			NumHistoryShards: int32(opts.shards),
			DataStores: map[string]config.DataStore{
				"history":    {SQL: &s.history},
				"visibility": {SQL: &s.visibility},
			},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            services,
		Archival: config.Archival{
			History:    config.HistoryArchival{State: config.ArchivalDisabled},
			Visibility: config.VisibilityArchival{State: config.ArchivalDisabled},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: config.ArchivalDisabled},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: config.ArchivalDisabled},
		}},
		PublicClient: config.PublicClient{HostPort: frontend},
	}, hosts, nil
}

// registerNamespace waits for the frontend and registers the namespace; one
// that is there already is left as it is.
func registerNamespace(ctx context.Context, frontend, name string, retention time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := grpc.NewClient(frontend, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	service := workflowservice.NewWorkflowServiceClient(conn)
	for {
		_, err := service.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
			Namespace:                        name,
			WorkflowExecutionRetentionPeriod: durationpb.New(retention),
		})
		var exists *serviceerror.NamespaceAlreadyExists
		if err == nil || errors.As(serviceerror.FromStatus(status.Convert(err)), &exists) {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("register namespace %s: %w", name, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	// Registered is not yet known everywhere: ready is when it can be used.
	for {
		_, err := service.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: name, PageSize: 1})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for namespace %s: %w", name, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

func freePort() (int, error) {
	l, err := net.Listen("tcp", address(0))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
