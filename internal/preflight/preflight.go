// Package preflight foretells what a campaign would do, by the rules that decide when it does it. Pure: whoever reads
// the audience hands the people over one by one, and nothing of them is kept but counts and a few samples.
package preflight

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
)

const (
	// MaxSamples is how many rendered messages a forecast shows at most.
	MaxSamples = 20
	// maxWaits bounds the waits of one person that are followed; who waits more often is foretold to wait.
	maxWaits = 16
)

// Forecast is what a campaign would do, were it triggered now.
type Forecast struct {
	AsOf     time.Time
	StartsAt time.Time // when the first message may leave, hours and rates aside
	Audience int
	// Verdicts counts the people, the most first. Proceed is sent to as soon as the rate lets it; Wait is sent to later,
	// Reason says why; Suppress is never sent to, be it that this shows after a wait only.
	Verdicts []campaign.VerdictCount
	Groups   []Group // by country, candidate zones and law, the largest first
	ToSend   int     // people who would be sent to, at once or later

	Channel       message.Channel
	Units         map[string]int // what is paid for, by country: messages, or segments of SMS
	RatePerSecond float64        // the smallest of those of the campaign, the sender and the account
	CampaignRate  int
	SenderRate    float64 // in force: lower than configured while the provider asks for less
	AccountRate   int
	Sending       time.Duration // at that rate, waits aside

	FirstSend time.Time // zero when nobody is sent to
	LastSend  time.Time
	// FirstLocal and LastLocal are the earliest and the latest wall clock, as 2026-12-01T10:00, that anybody has when they
	// are sent to, in any zone that they may be in; "" when nobody is.
	FirstLocal string
	LastLocal  string

	Samples []Sample
}

// Group is the people who share their country, candidate zones and law: they wait and wake together.
type Group struct {
	Region   string          // ISO 3166; "" when unknown
	Zones    []string        // those to judge by: the people's own, else the campaign's
	Law      compliance.Week // that bounds their hours
	Proceed  int
	Wait     int
	Suppress int

	FirstSend  time.Time // zero when nobody of it is sent to
	LastSend   time.Time
	FirstLocal string // the earliest and the latest wall clock in any of the zones
	LastLocal  string
}

// Sample is one message as it would be sent.
type Sample struct {
	Phone  string // masked
	Region string
	Action compliance.Action // Proceed or Wait
	Reason compliance.Reason // with Wait
	Body   string
}

// Rates are the limits that bound the sends together.
type Rates struct {
	Campaign int
	Sender   float64 // in force
	Account  int
}

// Tally adds up an audience. Make one with New.
type Tally struct {
	asOf     time.Time
	starts   time.Time
	run      ledger.Run
	rates    Rates
	samples  int
	forecast Forecast
	verdicts map[campaign.VerdictCount]int
	groups   map[string]*Group
}

// New begins the tally of a run that a trigger at asOf would start.
func New(run ledger.Run, channel message.Channel, rates Rates, samples int, asOf time.Time) *Tally {
	return &Tally{
		asOf: asOf, starts: run.Planned(), run: run, rates: rates, samples: min(samples, MaxSamples),
		forecast: Forecast{Channel: channel, Units: map[string]int{}},
		verdicts: map[campaign.VerdictCount]int{}, groups: map[string]*Group{},
	}
}

// Starts is when the run would have its audience taken, and when everybody is judged for the first time.
func (t *Tally) Starts() time.Time { return t.starts }

// Exclude counts somebody whom the freeze of the audience would suppress.
func (t *Tally) Exclude(region string, zones []string, law compliance.Week, reason string) {
	t.count(region, zones, law, compliance.Suppress, compliance.Reason(reason))
}

// Judge counts somebody whom the freeze would leave pending. Whoever has to wait is judged again at the end of the wait,
// as their message would be.
func (t *Tally) Judge(d ledger.Delivery) {
	at := t.starts
	verdict, body := d.Check(at)
	action, reason := verdict.Action, verdict.Reason
	for range maxWaits {
		if verdict.Action != compliance.Wait || !verdict.Until.After(at) {
			break
		}
		at = verdict.Until
		if verdict, body = d.Check(at); verdict.Action == compliance.Suppress {
			action, reason = verdict.Action, verdict.Reason
		}
	}
	t.count(d.Region, d.Zones, d.Law, action, reason)
	if action == compliance.Suppress {
		return
	}
	units := 1
	if d.Channel == message.SMS {
		units = render.Segments(body)
	}
	t.forecast.Units[d.Region] += units
	if len(t.forecast.Samples) < t.samples {
		t.forecast.Samples = append(t.forecast.Samples, Sample{Phone: d.Phone.Masked(), Region: d.Region, Action: action, Reason: reason, Body: body})
	}
}

func (t *Tally) count(region string, zones []string, law compliance.Week, action compliance.Action, reason compliance.Reason) {
	t.verdicts[campaign.VerdictCount{Action: string(action), Reason: string(reason)}]++
	law = t.run.Hours(ledger.Cohort{Law: law}).Legal
	key := region + " " + law.String() + " " + strings.Join(zones, " ")
	g := t.groups[key]
	if g == nil {
		g = &Group{Region: region, Law: law}
		for _, zone := range compliance.Zones(zones, t.run.Timezone) {
			g.Zones = append(g.Zones, zone.String())
		}
		t.groups[key] = g
	}
	switch action {
	case compliance.Proceed:
		g.Proceed++
	case compliance.Wait:
		g.Wait++
	case compliance.Suppress:
		g.Suppress++
	}
}

// Forecast says what the people counted so far add up to.
func (t *Tally) Forecast() Forecast {
	f := t.forecast
	f.AsOf, f.StartsAt = t.asOf, t.starts
	for v, n := range t.verdicts {
		v.Count = n
		f.Audience += n
		f.Verdicts = append(f.Verdicts, v)
	}
	slices.SortFunc(f.Verdicts, func(a, b campaign.VerdictCount) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Reason, b.Reason)) })

	groups := slices.SortedFunc(maps.Values(t.groups), func(a, b *Group) int {
		return cmp.Or(b.size()-a.size(), cmp.Compare(a.Region, b.Region), slices.Compare(a.Zones, b.Zones), cmp.Compare(a.Law.String(), b.Law.String()))
	})
	f.CampaignRate, f.SenderRate, f.AccountRate = t.rates.Campaign, t.rates.Sender, t.rates.Account
	f.RatePerSecond = min(float64(t.rates.Campaign), t.rates.Sender, float64(t.rates.Account))
	window := func(g *Group, now time.Time) compliance.Window {
		return t.run.Window(ledger.Cohort{Zones: g.Zones, Law: g.Law}, now)
	}
	dispatch(groups, window, t.starts, f.RatePerSecond)
	for _, g := range groups {
		f.ToSend += g.Proceed + g.Wait
		if !g.FirstSend.IsZero() {
			f.FirstSend, f.LastSend = earlier(f.FirstSend, g.FirstSend), later(f.LastSend, g.LastSend)
			g.FirstLocal, g.LastLocal = localSpan(g.Zones, g.FirstSend, g.LastSend)
			if f.FirstLocal == "" || g.FirstLocal < f.FirstLocal {
				f.FirstLocal = g.FirstLocal
			}
			f.LastLocal = max(f.LastLocal, g.LastLocal)
		}
		f.Groups = append(f.Groups, *g)
	}
	f.Sending = time.Duration(float64(f.ToSend) / f.RatePerSecond * float64(time.Second))
	return f
}

func (g *Group) size() int { return g.Proceed + g.Wait + g.Suppress }

// localLayout is how a wall clock is written: without a zone, because it may be of several.
const localLayout = "2006-01-02T15:04"

// localSpan returns the earliest wall clock of first and the latest of last in any of the zones.
func localSpan(zones []string, first, last time.Time) (from, to string) {
	for _, zone := range compliance.Zones(zones, "") {
		if local := first.In(zone).Format(localLayout); from == "" || local < from {
			from = local
		}
		to = max(to, last.In(zone).Format(localLayout))
	}
	return from, to
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
