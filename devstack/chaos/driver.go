package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/event-stream-engine/ese/devstack/stack"
)

const (
	// lease is how long a request to the provider may take: after a pause or a cancel whose answer was lost nothing is
	// under way any more once it is over.
	lease = 10 * time.Second
	// finalRate lets what is left when the chaos is over be sent soon.
	finalRate = 50
	poll      = 250 * time.Millisecond
)

// driver makes a schedule happen and notes what it was told.
type driver struct {
	*stack.Stack
	schedule Schedule
	log      io.Writer
	http     *http.Client
	start    time.Time
	plans    []plan // by campaign

	mu       sync.Mutex
	quiet    [][]Quiet // by campaign
	stops    []StopFact
	answered []string // SIDs of people's messages
	killed   int
}

// plan is what a campaign was made of.
type plan struct {
	id   int
	body object
}

func newDriver(s *stack.Stack, schedule Schedule, log io.Writer) *driver {
	return &driver{
		Stack: s, schedule: schedule, log: log, start: time.Now(), quiet: make([][]Quiet, schedule.Campaigns),
		// A pause waits for requests under way before it answers. Each call on a connection of its own: none is left over
		// from a process that was killed.
		http: &http.Client{Timeout: 3 * lease, Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

func (d *driver) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.log, "  %7.1fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// wait returns false when ctx ends first.
func wait(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// answer is what a call came to.
type answer struct {
	asked, at time.Time // when it was first asked for, and when it was answered
	tries     int
	status    int
	body      []byte
}

// call sends a request with a JSON body (nil for none) until it is answered: an answer is what the product itself says,
// not that nobody is there or that it cannot do its work just now.
func (d *driver) call(ctx context.Context, method, url string, body any) (answer, error) {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return answer{}, err
		}
	}
	a := answer{asked: time.Now()}
	for {
		a.tries++
		var err error
		a.status, a.body, err = d.try(ctx, method, url, raw)
		a.at = time.Now()
		if err == nil && a.status < http.StatusInternalServerError && a.status != http.StatusTooManyRequests {
			return a, nil
		}
		if !wait(ctx, poll) {
			return a, errors.Join(ctx.Err(), err)
		}
	}
}

func (d *driver) try(ctx context.Context, method, url string, raw []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(raw))
	if err != nil {
		return 0, nil, err
	}
	if raw != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// ask is call for what has to succeed; it decodes the answer into out (nil to ignore it).
func (d *driver) ask(ctx context.Context, method, url string, body, out any) error {
	a, err := d.call(ctx, method, url, body)
	if err != nil {
		return err
	}
	if a.status >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %d: %s", method, url, a.status, a.body)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(a.body, out)
}

// campaign is the address of a campaign, or of something about it.
func (d *driver) campaign(i int, more string) string {
	return fmt.Sprintf("%s/api/v1/campaigns/%d%s", d.URL(), d.plans[i].id, more)
}

// prepare brings in the people, makes the campaigns and tells the simulated Twilio what to do wrong.
func (d *driver) prepare(ctx context.Context) error {
	rows := make([]object, len(d.schedule.People))
	for i, p := range d.schedule.People {
		rows[i] = object{"phone_number": p.Number, "name": fmt.Sprintf("Person %d", i+1), "city": city(p.Campaign)}
		switch p.Consent {
		case OptIn, OptOut:
			rows[i]["consent_state"] = p.Consent
		case Stopped:
			rows[i]["consent_state"] = OptIn // until it is said
		case Pending:
		}
	}
	var task struct {
		ID string `json:"task_id"`
	}
	if err := d.ask(ctx, http.MethodPost, d.URL()+"/api/v1/users/bulk", rows, &task); err != nil {
		return err
	}
	var progress struct{ Status string }
	for progress.Status != "COMPLETED" {
		if !wait(ctx, poll) {
			return ctx.Err()
		}
		if err := d.ask(ctx, http.MethodGet, d.URL()+"/api/v1/ingest/status/"+task.ID, nil, &progress); err != nil {
			return err
		}
	}
	// The judge counts every message to a person as the campaign's.
	silent := object{"replies": []object{{"kind": "stop", "locale": "en", "text": ""}}}
	if err := d.ask(ctx, http.MethodPut, d.URL()+"/api/v1/replies", silent, nil); err != nil {
		return err
	}
	for i, p := range d.schedule.People {
		if p.Consent == Stopped {
			if _, err := d.writeSTOP(ctx, i); err != nil {
				return err
			}
		}
	}
	for c := range d.schedule.Campaigns {
		if err := d.plan(ctx, c); err != nil {
			return err
		}
	}
	return d.ask(ctx, http.MethodPut, d.SimulatorURL()+"/sim/faults", d.schedule.faults(), nil)
}

func city(campaign int) string { return fmt.Sprintf("Chaosville %d", campaign+1) }

func (d *driver) plan(ctx context.Context, c int) error {
	var segment, template, made struct{ ID int }
	err := errors.Join(
		d.ask(ctx, http.MethodPost, d.URL()+"/api/v1/segments", object{"name": city(c), "definition_json": object{"city": city(c)}}, &segment),
		d.ask(ctx, http.MethodPost, d.URL()+"/api/v1/templates", object{"name": city(c), "content": "Hello {name} of {city}. Reply STOP to opt out."}, &template),
	)
	if err != nil {
		return err
	}
	body := object{"topic": city(c), "template_id": template.ID, "segment_id": segment.ID, "rate_limit_per_second": d.schedule.Rates[c]}
	if err := d.ask(ctx, http.MethodPost, d.URL()+"/api/v1/campaigns", body, &made); err != nil {
		return err
	}
	d.plans = append(d.plans, plan{id: made.ID, body: body})
	return nil
}

// play lets every action happen, each lane by itself.
func (d *driver) play(ctx context.Context) error {
	lanes := map[string][]Action{}
	for _, a := range d.schedule.Actions {
		lanes[a.lane()] = append(lanes[a.lane()], a)
	}
	d.start = time.Now()
	var running sync.WaitGroup
	var failed []error
	for _, lane := range lanes {
		running.Go(func() {
			for _, a := range lane {
				if !wait(ctx, time.Until(d.start.Add(a.At))) {
					return
				}
				if err := d.do(ctx, a); err != nil {
					d.mu.Lock()
					failed = append(failed, fmt.Errorf("%s: %w", a, err))
					d.mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	return errors.Join(append(failed, ctx.Err())...)
}

func (d *driver) do(ctx context.Context, a Action) error {
	switch a.Kind {
	case Kill:
		return d.kill(ctx, a)
	case Delay, Reset, Partition, Refuse:
		return d.disturb(ctx, a)
	case Trigger:
		return d.note(ctx, a, http.MethodPost, d.campaign(a.Campaign, "/trigger"), object{})
	case SetRate:
		return d.setRate(ctx, a)
	case Pause, Cancel:
		return d.halt(ctx, a)
	case Stop:
		return d.stop(ctx, a)
	}
	return fmt.Errorf("unknown action %s", a.Kind)
}

// kill waits for the role to run, so that every kill ends something.
func (d *driver) kill(ctx context.Context, a Action) error {
	for d.PID(a.Role) == 0 {
		if !wait(ctx, poll/10) {
			return ctx.Err()
		}
	}
	if err := d.Kill(a.Role); err != nil {
		return err
	}
	d.mu.Lock()
	d.killed++
	d.mu.Unlock()
	d.say("%s", a)
	if !wait(ctx, a.For) {
		return ctx.Err()
	}
	d.revive(ctx, a.Role)
	d.say("%s runs again", a.Role)
	return nil
}

// revive starts a role and waits for it to be ready. One that ends because another is down is started again by the
// stack, which is as good.
func (d *driver) revive(ctx context.Context, role stack.Role) {
	for d.PID(role) == 0 {
		if err := d.Start(ctx, role); err == nil || !wait(ctx, poll) {
			return
		}
	}
}

func (d *driver) disturb(ctx context.Context, a Action) error {
	link := d.Link(a.Role, a.Peer)
	var err error
	switch a.Kind {
	case Delay:
		err = link.Delay(ctx, a.Latency, a.Latency/2)
	case Reset:
		err = link.Reset(ctx)
	case Partition:
		err = link.Partition(ctx)
	default:
		err = link.Refuse()
	}
	d.say("%s", a)
	wait(ctx, a.For)
	return errors.Join(err, link.Heal(ctx))
}

// note makes a call and tells what came of it. A refusal is an answer: the campaign may be over, or a lost answer's
// change done.
func (d *driver) note(ctx context.Context, a Action, method, url string, body any) error {
	got, err := d.call(ctx, method, url, body)
	if err != nil {
		return err
	}
	d.tell(a, got)
	return nil
}

func (d *driver) tell(a Action, got answer) {
	retried := ""
	if got.tries > 1 {
		retried = fmt.Sprintf(" at the %d. try, after %s", got.tries, got.at.Sub(got.asked).Round(100*time.Millisecond))
	}
	d.say("%s: %d%s", a, got.status, retried)
}

// setRate changes the rate of a campaign that may be running.
func (d *driver) setRate(ctx context.Context, a Action) error {
	body := object{}
	for k, v := range d.plans[a.Campaign].body {
		body[k] = v
	}
	body["rate_limit_per_second"] = a.Rate
	return d.note(ctx, a, http.MethodPut, d.campaign(a.Campaign, ""), body)
}

// halt pauses or cancels a campaign and notes from when on it may not send. A pause ends after a while.
func (d *driver) halt(ctx context.Context, a Action) error {
	got, err := d.call(ctx, http.MethodPost, d.campaign(a.Campaign, "/"+string(a.Kind)), object{})
	if err != nil {
		return err
	}
	d.tell(a, got)
	want := map[Kind]string{Pause: "PAUSED", Cancel: "CANCELLED"}[a.Kind]
	from := got.at
	if got.status == http.StatusConflict { // over already, or an answer was lost
		if from = time.Now().Add(lease); !d.is(ctx, a.Campaign, want) {
			return nil
		}
	} else if got.status != http.StatusOK {
		return fmt.Errorf("%d: %s", got.status, got.body)
	}
	quiet := Quiet{Why: a.Kind, From: from}
	if a.Kind == Pause {
		if !wait(ctx, a.For) {
			return ctx.Err()
		}
		quiet.To = time.Now()
	}
	if quiet.To.IsZero() || quiet.To.After(quiet.From) {
		d.mu.Lock()
		d.quiet[a.Campaign] = append(d.quiet[a.Campaign], quiet)
		d.mu.Unlock()
	}
	if a.Kind == Pause {
		return d.resume(ctx, a.Campaign)
	}
	return nil
}

func (d *driver) is(ctx context.Context, campaign int, status string) bool {
	var c struct{ Status string }
	return d.ask(ctx, http.MethodGet, d.campaign(campaign, ""), nil, &c) == nil && c.Status == status
}

func (d *driver) resume(ctx context.Context, campaign int) error {
	got, err := d.call(ctx, http.MethodPost, d.campaign(campaign, "/resume"), object{})
	if err != nil {
		return err
	}
	d.say("resume campaign %d: %d", campaign+1, got.status)
	return nil
}

func (d *driver) stop(ctx context.Context, a Action) error {
	at, err := d.writeSTOP(ctx, a.Person)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.stops = append(d.stops, StopFact{Person: a.Person, At: at})
	d.mu.Unlock()
	d.say("%s", a)
	return nil
}

// writeSTOP lets somebody say STOP until the product has answered, and returns when that was.
func (d *driver) writeSTOP(ctx context.Context, person int) (time.Time, error) {
	sid := fmt.Sprintf("SM%016x%016x", d.schedule.Seed, person+1)
	for {
		var said struct{ Status int }
		body := object{"from": d.schedule.People[person].Number, "to": "+14155238886", "body": "STOP", "sid": sid}
		if err := d.ask(ctx, http.MethodPost, d.SimulatorURL()+"/sim/inbound", body, &said); err != nil {
			return time.Time{}, err
		}
		if at := time.Now(); said.Status == http.StatusOK {
			d.mu.Lock()
			d.answered = append(d.answered, sid)
			d.mu.Unlock()
			return at, nil
		}
		if !wait(ctx, poll) {
			return time.Time{}, ctx.Err()
		}
	}
}

// settle puts everything right and waits until the campaigns are over, every receipt included. What is not over when
// its patience ends is for the judge.
func (d *driver) settle(ctx context.Context, patience time.Duration) error {
	d.say("healing the network and starting everything")
	if err := d.Heal(ctx); err != nil {
		return err
	}
	for _, role := range d.Roles() {
		d.revive(ctx, role)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for c := range d.plans {
		if err := d.setRate(limited, Action{Kind: SetRate, Campaign: c, Rate: finalRate}); err != nil {
			return err
		}
	}
	for {
		open, err := d.open(limited)
		switch {
		case err == nil && open == "":
			d.say("everything is over")
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case limited.Err() != nil:
			d.say("out of patience: %s (%v)", open, err)
			return nil
		}
		wait(limited, time.Second)
	}
}

// unsettled counts what has still to happen.
const unsettled = `SELECT
	(SELECT count(*) FROM messages WHERE state IN ('pending', 'sending')),
	(SELECT count(*) FROM campaign_runs WHERE settled_at IS NULL)`

// open says what is not over yet; "" when everything is. It resumes what is paused, by whomever.
func (d *driver) open(ctx context.Context) (string, error) {
	for c := range d.plans {
		if d.is(ctx, c, "PAUSED") {
			if err := d.resume(ctx, c); err != nil {
				return "", err
			}
		}
	}
	conn, err := pgx.Connect(ctx, d.DatabaseURL())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var messages, runs int
	if err := conn.QueryRow(ctx, unsettled).Scan(&messages, &runs); err != nil {
		return "", err
	}
	var stats struct{ Callbacks struct{ Owed int } }
	if err := d.ask(ctx, http.MethodGet, d.SimulatorURL()+"/sim/stats", nil, &stats); err != nil {
		return "", err
	}
	if messages+runs+stats.Callbacks.Owed == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d messages to send, %d runs to settle, %d callbacks owed", messages, runs, stats.Callbacks.Owed), nil
}
