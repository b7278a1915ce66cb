package stack

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/event-stream-engine/ese/devstack/postgres"
)

// Ports of the stack, all on loopback. Zero means a free one.
type Ports struct {
	API        int // of the load balancer, where several APIs run on ports of their own
	TemporalUI int
	Temporal   int
	Simulator  int
	Postgres   int
}

// portSetting is one port with the name a reader knows it by and the variable
// that moves it.
type portSetting struct {
	name     string
	variable string
	standard int
	of       func(*Ports) *int
}

var portSettings = []portSetting{
	{"the app", "APP_PORT", 8000, func(p *Ports) *int { return &p.API }},
	{"Temporal's Web UI", "TEMPORAL_UI_PORT", 8233, func(p *Ports) *int { return &p.TemporalUI }},
	{"Temporal", "TEMPORAL_PORT", 7233, func(p *Ports) *int { return &p.Temporal }},
	{"the simulator", "SIMULATOR_PORT", 8010, func(p *Ports) *int { return &p.Simulator }},
	{"PostgreSQL", "POSTGRES_PORT", 15432, func(p *Ports) *int { return &p.Postgres }},
}

// PortsFromEnv returns the standard ports, moved by the variables that are
// set.
func PortsFromEnv(getenv func(string) string) (Ports, error) {
	var ports Ports
	for _, s := range portSettings {
		*s.of(&ports) = s.standard
		value := getenv(s.variable)
		if value == "" {
			continue
		}
		port, err := strconv.Atoi(value)
		if err != nil || port < 1 || port > 65535 {
			return Ports{}, fmt.Errorf("%s=%q is not a port", s.variable, value)
		}
		*s.of(&ports) = port
	}
	return ports, nil
}

// Check tells early, before minutes of compiling, that a port is in use. A
// stack in dir, running or left over, may hold them: that is for Start to say
// or to clear.
func (p Ports) Check(dir string) error {
	if len(left(dir)) > 0 {
		return nil
	}
	return p.settle()
}

// settle fills in free ports for those that are zero and refuses one that
// another program listens on.
func (p *Ports) settle() error {
	for _, s := range portSettings {
		port := s.of(p)
		if *port == 0 {
			free, err := postgres.FreePort()
			if err != nil {
				return err
			}
			*port = free
			continue
		}
		if inUse(*port) {
			return fmt.Errorf("port %d, which %s needs, is in use by another program: stop that one, or choose another port with %s=…", *port, s.name, s.variable)
		}
	}
	return nil
}

// inUse reports whether the port cannot be listened on, or is answered by a
// program that listens on all addresses.
func inUse(port int) bool {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return true
	}
	l.Close()
	conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
