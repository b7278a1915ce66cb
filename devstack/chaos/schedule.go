package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// Config says how much chaos there is to be. The same Config makes the same Schedule.
type Config struct {
	Seed      uint64
	Kills     int           // processes killed
	Campaigns int           // that run at once
	Gap       time.Duration // between two kills, on average; the whole lasts Kills times as long
}

// The processes of a run: stack.Options follow from these.
const (
	apis    = 2
	workers = 2
)

// Kind is what an Action does.
type Kind string

// The kinds of actions. Kill and the four after it break something for a while, the others are what people do.
const (
	Kill      Kind = "kill"
	Delay     Kind = "delay"
	Reset     Kind = "reset"
	Partition Kind = "partition"
	Refuse    Kind = "refuse"
	Trigger   Kind = "trigger"
	Pause     Kind = "pause" // and resume after For
	SetRate   Kind = "rate"
	Cancel    Kind = "cancel"
	Stop      Kind = "stop" // somebody writes STOP
)

// Action is one thing that happens, at a moment of the run. Which fields count depends on its kind.
type Action struct {
	At       time.Duration // since the start
	Kind     Kind
	Role     stack.Role    // killed, or the worker whose network breaks
	Peer     stack.Role    // the other end of that network
	For      time.Duration // until what was broken or paused is undone
	Latency  time.Duration
	Campaign int // an index
	Rate     int // messages a second
	Person   int // an index of Schedule.People
}

func (a Action) String() string {
	lasts := a.For.Round(100 * time.Millisecond)
	switch a.Kind {
	case Kill:
		return fmt.Sprintf("kill %s, down for %s", a.Role, lasts)
	case Delay:
		return fmt.Sprintf("delay %s to %s by %s for %s", a.Role, a.Peer, a.Latency, lasts)
	case Reset, Partition, Refuse:
		return fmt.Sprintf("%s %s to %s for %s", a.Kind, a.Role, a.Peer, lasts)
	case Pause:
		return fmt.Sprintf("pause campaign %d for %s", a.Campaign+1, lasts)
	case SetRate:
		return fmt.Sprintf("rate of campaign %d becomes %d a second", a.Campaign+1, a.Rate)
	case Stop:
		return fmt.Sprintf("person %d says STOP", a.Person+1)
	default:
		return fmt.Sprintf("%s campaign %d", a.Kind, a.Campaign+1)
	}
}

// lane names what an action happens to: actions of one lane happen one after another.
func (a Action) lane() string {
	switch a.Kind {
	case Kill:
		return string(a.Role)
	case Delay, Reset, Partition, Refuse:
		return fmt.Sprintf("%s to %s", a.Role, a.Peer)
	case Stop:
		return fmt.Sprintf("person %d", a.Person)
	default:
		return fmt.Sprintf("campaign %d", a.Campaign)
	}
}

// Consent is how somebody stands to us before the start.
type Consent string

// The consents. Only who has opted in may get a message.
const (
	OptIn   Consent = "OPT_IN"
	Pending Consent = "PENDING"
	OptOut  Consent = "OPT_OUT"
	Stopped Consent = "STOP"
)

// Person is somebody of a campaign's audience. Each belongs to one campaign alone.
type Person struct {
	Number   string // E.164
	Campaign int
	Consent  Consent
	Fault    NumberFault
}

// NumberFault is how the simulated Twilio fails messages to a number; the zero value is not at all.
type NumberFault struct {
	Code  int  `json:"code"`
	Sync  bool `json:"sync,omitempty"`  // refuses the request
	Times int  `json:"times,omitempty"` // only the first so many; counted anew when the simulator starts again
}

// The provider's codes in use, and what the error table says about them.
var (
	retried       = NumberFault{Code: 63017, Times: 1} // accepted, fails, is tried again after seconds
	undeliverable = NumberFault{Code: 63024}           // accepted, fails for good
	refused       = NumberFault{Code: 21211, Sync: true}
)

// Schedule is all that happens in a run.
type Schedule struct {
	Config
	People  []Person
	Rates   []int    // of each campaign at its start
	Actions []Action // in the order of their moments
}

// NewSchedule makes the schedule of a Config, by chance drawn from the seed alone.
func NewSchedule(c Config) Schedule {
	b := builder{Schedule: Schedule{Config: c}, r: rand.New(rand.NewPCG(c.Seed, 0)), lasts: time.Duration(c.Kills) * c.Gap} //nolint:gosec // chance, no secret
	b.audience()
	b.kills()
	b.network()
	b.steering()
	b.stops()
	slices.SortStableFunc(b.Actions, func(x, y Action) int { return cmp.Compare(x.At, y.At) })
	return b.Schedule
}

type builder struct {
	Schedule
	r     *rand.Rand
	lasts time.Duration
}

func (b *builder) add(a Action) { b.Actions = append(b.Actions, a) }

// between draws a duration from low up to high.
func (b *builder) between(low, high time.Duration) time.Duration {
	return low + time.Duration(b.r.Int64N(int64(high-low)))
}

// audience invents the people. A campaign is to last about as long as the kills do.
func (b *builder) audience() {
	for c := range b.Campaigns {
		rate := 2 + b.r.IntN(2)
		b.Rates = append(b.Rates, rate)
		n := max(20, rate*int(b.lasts.Seconds()))
		for i := range n {
			p := Person{Number: fmt.Sprintf("+9477%d%06d", c, i), Campaign: c, Consent: OptIn}
			// One of each kind, and then by chance.
			switch x := b.r.IntN(100); {
			case i == 0 || x < 3:
				p.Consent = Pending
			case i == 1 || x < 6:
				p.Consent = OptOut
			case i == 2 || x < 9:
				p.Consent = Stopped
			case i == 3 || x < 12:
				p.Fault = retried
			case i == 4 || x < 14:
				p.Fault = undeliverable
			case i == 5 || x < 16:
				p.Fault = refused
			}
			b.People = append(b.People, p)
		}
	}
}

// kills takes the roles from a shuffled deck, so that even a few kills meet many of them.
func (b *builder) kills() {
	var deck []stack.Role
	for i := range b.Kills {
		if len(deck) == 0 {
			deck = []stack.Role{stack.Postgres, stack.Temporal, stack.Simulator}
			for n := range apis {
				deck = append(deck, stack.APIN(n+1))
			}
			for n := range workers {
				deck = append(deck, stack.WorkerN(n+1))
			}
			b.r.Shuffle(len(deck), func(i, k int) { deck[i], deck[k] = deck[k], deck[i] })
		}
		b.add(Action{At: time.Duration(i)*b.Gap + b.between(0, b.Gap), Kind: Kill, Role: deck[0], For: b.between(100*time.Millisecond, 3*time.Second)})
		deck = deck[1:]
	}
}

// network breaks a link about half as often as a process is killed.
func (b *builder) network() {
	kinds := []Kind{Delay, Reset, Partition, Refuse}
	for at := b.between(0, b.Gap); at < b.lasts; at += b.between(b.Gap, 3*b.Gap) {
		b.add(Action{
			At: at, Kind: kinds[b.r.IntN(len(kinds))], Role: stack.WorkerN(1 + b.r.IntN(workers)), Peer: stack.Peers[b.r.IntN(len(stack.Peers))],
			For: b.between(500*time.Millisecond, 6*time.Second), Latency: b.between(50*time.Millisecond, 800*time.Millisecond).Round(time.Millisecond),
		})
	}
}

// steering triggers every campaign early, pauses and changes each now and then, and cancels the last in the middle.
func (b *builder) steering() {
	for c := range b.Campaigns {
		b.add(Action{At: b.between(0, b.Gap), Kind: Trigger, Campaign: c})
		for at := b.Gap + b.between(0, b.lasts/3); at < b.lasts; at += b.between(30*time.Second, time.Minute) {
			b.add(Action{At: at, Kind: Pause, Campaign: c, For: b.between(2*time.Second, 6*time.Second)})
		}
		for at := b.Gap + b.between(0, b.lasts/3); at < b.lasts; at += b.between(20*time.Second, time.Minute) {
			b.add(Action{At: at, Kind: SetRate, Campaign: c, Rate: 1 + b.r.IntN(5)})
		}
	}
	if b.Campaigns > 1 {
		b.add(Action{At: b.between(b.lasts/3, 2*b.lasts/3), Kind: Cancel, Campaign: b.Campaigns - 1})
	}
}

// stops lets some of those who would get a message say STOP.
func (b *builder) stops() {
	for i, p := range b.People {
		if p.Consent == OptIn && p.Fault == (NumberFault{}) && b.r.IntN(100) < 6 {
			b.add(Action{At: b.between(0, b.lasts), Kind: Stop, Person: i})
		}
	}
}

type object = map[string]any

// faults is what the simulated Twilio is told to do wrong.
func (s Schedule) faults() object {
	numbers := map[string]NumberFault{}
	for _, p := range s.People {
		if p.Fault != (NumberFault{}) {
			numbers[p.Number] = p.Fault
		}
	}
	return object{
		"seed": s.Seed,
		"requests": []object{
			{"fault": "hang_after", "every": 101, "hang_ms": 12000},
			{"fault": "hang_before", "every": 97, "hang_ms": 12000},
			{"fault": "reset_after", "every": 53},
			{"fault": "reset_before", "every": 47},
			{"fault": "truncate", "every": 43},
			{"fault": "error_before", "every": 37},
			{"fault": "error_after", "every": 17},
			{"fault": "throttle", "every": 11, "retry_after_seconds": 1},
			{"fault": "throttle", "on": "list", "every": 29},
		},
		"numbers":     numbers,
		"receipts":    object{"drop": 0.1, "double": 0.1, "reorder": 0.1},
		"latency_ms":  20,
		"list_lag_ms": 700,
	}
}
