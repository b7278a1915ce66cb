package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/throttle"
	"github.com/event-stream-engine/ese/internal/twilio"
	"github.com/event-stream-engine/ese/internal/twiliosim"
	"github.com/event-stream-engine/ese/internal/user"
)

// TestRules sends random campaigns to random people, over HTTP to a Twilio that accepts whatever it is asked to, while these
// people write, stop, and are barred. Then it judges by its own account, which knows nothing but what is written below:
// whoever was sent to might be sent to at that moment, and whoever was not has the reason that is true.
//
// It goes on for 20 seconds, or for RULES_FOR (a duration), from the seed RULES_SEED on; a failure names the seed.
func TestRules(t *testing.T) {
	t.Parallel()
	const leastWorlds = 4
	seed, span := uint64(1), 20*time.Second
	var err error
	if text := os.Getenv("RULES_SEED"); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "RULES_SEED")
	}
	if text := os.Getenv("RULES_FOR"); text != "" {
		span, err = time.ParseDuration(text)
		require.NoError(t, err, "RULES_FOR")
	}
	seen := map[string]int{}
	end, worlds := time.Now().Add(span), 0
	for ; !t.Failed() && (worlds < leastWorlds || time.Now().Before(end)); worlds++ {
		t.Run(fmt.Sprintf("RULES_SEED=%d", seed), func(t *testing.T) { newTrial(t, seed).judge(seen) })
		seed++
	}
	t.Logf("%d worlds: %v", worlds, seen)
	if os.Getenv("RULES_SEED") != "" || t.Failed() {
		return
	}
	for _, what := range []string{
		"template", "free text", "no_consent", "opted_out", "stopped", "suppressed", "not_subscribed", "excluded", "frequency_cap",
		"missing_variable", "outside_window", "us_marketing", "no_sending_window",
	} {
		require.Positive(t, seen[what], "nobody had %q: the test has lost its teeth", what)
	}
}

// person is what is true of somebody.
type person struct {
	number     string
	zones      []*time.Location // all that they may be in
	us         bool             // the number is of the United States
	state      string           // there
	language   string
	named      bool // the variable has a value
	guest      bool // in the segment that some campaigns leave out
	consent    user.ConsentState
	barred     map[suppression.Scope]bool
	subscribed [3]bool   // by topic, from 1
	wrote      time.Time // last
}

// news is something that becomes true of somebody while campaigns run.
type news struct {
	at     time.Time
	number string
	apply  func(*person)
}

// notice is a campaign, as it was planned.
type notice struct {
	id        int64
	quiet     *[2]int // hours of the day
	most      int     // within days; 0 is no cap
	days      int
	topic     int64 // 0 for none
	urgent    bool
	marketing bool
	policy    campaign.WindowPolicy
	excludes  bool
	locales   []string
}

// sent is a request that the simulator accepted.
type sent struct {
	at     time.Time
	to     string
	notice *notice
	locale string
	free   bool // free text
}

// trial is one world, with all that is true in it.
type trial struct {
	*world
	r       *rand.Rand
	client  *twilio.Client
	address string // of the simulator
	people  []*person
	news    []news
	notices []*notice
	account throttle.Account
	tier    int // 0 for none

	mu       sync.Mutex
	accepted []string             // SIDs, in order
	moments  map[string]time.Time // by SID
	sent     []sent
}

// places are where people are: the first digits of their numbers, and each zone that such a number may be in.
var places = []struct {
	prefix string
	us     bool
	zones  []string
}{
	{colombo, false, []string{"Asia/Colombo"}},
	{kathmandu, false, []string{"Asia/Kathmandu"}},
	{paris, false, []string{"Europe/Paris"}},
	{london, false, []string{"Europe/London"}},
	{newYork, true, []string{"America/New_York"}},
	{"+1208555", true, []string{"America/Boise", "America/Los_Angeles"}},
	{"+7701123", false, []string{"Asia/Almaty", "Asia/Aqtobe"}},
}

// lawful are the hours in which the United States let somebody be solicited, on weekdays, Saturdays and Sundays.
var lawful = map[string][3][2]int{
	"": {{8, 21}, {8, 21}, {8, 21}}, "FL": {{8, 20}, {8, 20}, {8, 20}}, "CT": {{9, 20}, {9, 20}, {9, 20}},
	"TX": {{9, 21}, {9, 21}, {12, 21}}, "RI": {{9, 18}, {10, 17}, {10, 17}},
}

func (p person) at(when time.Time, all []news) person {
	p.barred = map[suppression.Scope]bool{}
	for _, n := range all {
		if n.number == p.number && !n.at.After(when) {
			n.apply(&p)
		}
	}
	return p
}

// awake tells whether quiet hours and law let the person be written to at that moment, wherever they may be.
func (n *notice) awake(p person, when time.Time) bool {
	for _, zone := range p.zones {
		local := when.In(zone)
		hour := local.Hour()
		if q := n.quiet; q != nil {
			if q[0] < q[1] && hour >= q[0] && hour < q[1] || q[0] > q[1] && (hour >= q[0] || hour < q[1]) {
				return false
			}
		}
		if p.us && !n.urgent {
			day := map[time.Weekday]int{time.Saturday: 1, time.Sunday: 2}[local.Weekday()]
			if hours := lawful[p.state][day]; hour < hours[0] || hour >= hours[1] {
				return false
			}
		}
	}
	return true
}

// ever tells whether there is an hour within a week at which the person may be written to.
func (n *notice) ever(p person, from time.Time) bool {
	for minutes := 0; minutes <= 8*24*60; minutes += 15 {
		if n.awake(p, from.Add(time.Duration(minutes)*time.Minute)) {
			return true
		}
	}
	return false
}

// barredReason says why the person is not sent to whatever the hour; "" when nothing speaks against it.
func (n *notice) barredReason(p person) string {
	switch {
	case p.consent == user.Pending:
		return "no_consent"
	case p.consent == user.OptOut:
		return "opted_out"
	case p.consent == user.Stop:
		return "stopped"
	case p.barred[suppression.Global], p.barred[suppression.OnChannel(message.WhatsApp)], n.topic != 0 && p.barred[suppression.OnTopic(n.topic)]:
		return "suppressed"
	case n.topic != 0 && !p.subscribed[n.topic]:
		return "not_subscribed"
	case n.excludes && p.guest:
		return "excluded"
	default:
		return ""
	}
}

// capped tells whether the person had as many of the bulk messages in earlier as a cap allows within a time before a moment.
func (t *trial) capped(n *notice, p person, when time.Time, earlier []sent) bool {
	had := func(within time.Duration, of func(*notice) bool) (count int) {
		for _, s := range earlier {
			if s.to == p.number && !s.notice.urgent && of(s.notice) && s.at.After(when.Add(-within)) && !s.at.After(when) {
				count++
			}
		}
		return count
	}
	const day, week = 24 * time.Hour, 7 * 24 * time.Hour
	over := func(most *int, within time.Duration, of func(*notice) bool) bool {
		return most != nil && had(within, of) >= *most
	}
	all := func(*notice) bool { return true }
	same := func(o *notice) bool { return o.topic == n.topic }
	switch {
	case n.urgent:
		return false
	case n.most > 0 && over(&n.most, time.Duration(n.days)*day, all):
		return true
	case over(t.account.PersonDay, day, all), over(t.account.PersonWeek, week, all):
		return true
	default:
		return n.topic != 0 && (over(t.account.PersonTopicDay, day, same) || over(t.account.PersonTopicWeek, week, same))
	}
}

// crowded tells whether the portfolio had reached as many other people as it may.
func (t *trial) crowded(p person, when time.Time, earlier []sent) bool {
	const day = 24 * time.Hour
	if t.tier == 0 || p.wrote.After(when.Add(-day)) {
		return false
	}
	reached := map[string]bool{}
	for _, s := range earlier {
		if !s.at.After(when.Add(-day)) || s.at.After(when) {
			continue
		}
		if then := t.person(s.to).at(s.at, t.news); !then.wrote.After(s.at.Add(-day)) {
			reached[s.to] = true
		}
	}
	return !reached[p.number] && len(reached) >= t.tier
}

const (
	template = "template"
	freeText = "free text"
)

// verdict is what is to become of the notice for the person at that moment: a template, free text, waiting, or the reason for
// which they get nothing.
func (t *trial) verdict(n *notice, p person, when time.Time, earlier []sent) string {
	const window = 24*time.Hour - time.Minute
	talks := !p.wrote.IsZero() && when.Sub(p.wrote) < window
	if reason := n.barredReason(p); reason != "" {
		return reason
	}
	switch {
	case !n.ever(p, when):
		return "no_sending_window"
	case !n.awake(p, when):
		return "wait for the hours"
	case t.tooSoon(p, when, earlier):
		return "wait for the pair rate"
	case t.capped(n, p, when, earlier):
		return "frequency_cap"
	case t.crowded(p, when, earlier):
		return "wait for a place"
	case !p.named:
		return "missing_variable"
	}
	american := n.marketing && p.us
	switch {
	case talks && (n.policy != campaign.ByTemplate || american):
		return freeText
	case n.policy == campaign.InWindow:
		return "outside_window"
	case american:
		return "us_marketing"
	default:
		return template
	}
}

// tooSoon tells whether the person got another message less than six seconds before.
func (t *trial) tooSoon(p person, when time.Time, earlier []sent) bool {
	return slices.ContainsFunc(earlier, func(s sent) bool {
		return s.to == p.number && !s.at.After(when) && when.Sub(s.at) < 6*time.Second
	})
}

// locale is in which of the notice's languages the person is addressed.
func (n *notice) locale(p person) string {
	for _, fits := range []func(string) bool{
		func(l string) bool { return l == p.language },
		func(l string) bool { return l[:2] == p.language },
		func(l string) bool { return p.language != "" && l[:2] == p.language[:2] },
	} {
		if i := slices.IndexFunc(n.locales, fits); i >= 0 {
			return n.locales[i]
		}
	}
	return n.locales[0]
}

func (t *trial) person(number string) *person {
	return t.people[slices.IndexFunc(t.people, func(p *person) bool { return p.number == number })]
}

// judge lets the campaigns run, and counts in seen what became of whom.
func (t *trial) judge(seen map[string]int) {
	t.world.t.Helper()
	t.live()
	t.readSimulator()
	for i, s := range t.sent {
		p := t.person(s.to).at(s.at, t.news)
		want := template
		if s.free {
			want = freeText
		}
		where := fmt.Sprintf("campaign %d %+v, person %+v, at %s", s.notice.id, *s.notice, p, s.at)
		require.Equal(t.world.t, want, t.verdict(s.notice, p, s.at, t.sent[:i]), where)
		require.Equal(t.world.t, s.notice.locale(p), s.locale, where)
		seen[want]++
	}
	for _, n := range t.notices {
		rows := t.ledgerOf(n.id)
		require.Len(t.world.t, rows, len(t.people), "campaign %d", n.id)
		for _, p := range t.people {
			m, where := rows[p.number], fmt.Sprintf("campaign %d %+v, person %+v", n.id, *n, *p)
			got := 0
			for _, s := range t.sent {
				if s.to == p.number && s.notice == n {
					got++
				}
			}
			if m.State == message.Delivered {
				require.Equal(t.world.t, 1, got, where)
				continue
			}
			require.Equal(t.world.t, message.Suppressed, m.State, where)
			require.Zero(t.world.t, got, where)
			require.NotNil(t.world.t, m.EndedAt, where)
			// What else was sent at that very moment may have been before or after.
			end := *m.EndedAt
			before := slices.DeleteFunc(slices.Clone(t.sent), func(s sent) bool { return !s.at.Before(end) })
			require.Contains(t.world.t, []string{t.verdict(n, p.at(end, t.news), end, t.sent), t.verdict(n, p.at(end, t.news), end, before)}, m.Reason, "%s, at %s", where, end)
			seen[m.Reason]++
		}
	}
}

// readSimulator asks the simulator what it accepted.
func (t *trial) readSimulator() {
	t.world.t.Helper()
	var messages []twiliosim.Message
	t.call(http.MethodGet, "/sim/messages?direction=outbound-api", "", &messages)
	bySID := map[string]twiliosim.Message{}
	for _, m := range messages {
		bySID[m.SID] = m
	}
	require.Len(t.world.t, t.accepted, len(messages))
	for _, sid := range t.accepted {
		m, ok := bySID[sid]
		require.True(t.world.t, ok, "the simulator does not know what it is said to have accepted")
		var number int
		var locale string
		_, err := fmt.Sscanf(m.Body, "Notice %d %s", &number, &locale)
		require.NoError(t.world.t, err, m.Body)
		t.sent = append(t.sent, sent{
			at: t.moments[sid], to: strings.TrimPrefix(m.To, "whatsapp:"), notice: t.notices[number], locale: locale, free: m.ContentSID == "",
		})
	}
}

// call asks the simulator's own interface.
func (t *trial) call(method, path, body string, into any) {
	t.world.t.Helper()
	req, err := http.NewRequestWithContext(t.world.t.Context(), method, t.address+path, strings.NewReader(body))
	require.NoError(t.world.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t.world.t, err)
	raw, err := io.ReadAll(res.Body)
	require.NoError(t.world.t, err)
	require.NoError(t.world.t, res.Body.Close())
	require.Equal(t.world.t, http.StatusOK, res.StatusCode, "%s", raw)
	if into != nil {
		require.NoError(t.world.t, json.Unmarshal(raw, into))
	}
}

// Send passes a request on to the simulator, and remembers the moment of what was accepted. Its receipt comes a little later.
func (t *trial) Send(ctx context.Context, m message.Outbound) message.Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()                           // one after the other, as the simulator's list is
	now := t.env.Now().Truncate(time.Microsecond) // as the database keeps it
	m.Lease = time.Now().Add(10 * time.Second)    // by the clock of the network
	o := t.client.Send(ctx, m)
	if o.Result == message.ResultAccepted {
		t.accepted = append(t.accepted, o.SID)
		t.moments[o.SID] = now
		t.at(receiptDelay, func() { t.receipt(request{Outbound: m}, o.SID) })
	}
	return o
}

func (t *trial) Fetch(ctx context.Context, sid string) (message.Remote, error) {
	return t.client.Fetch(ctx, sid)
}

func (t *trial) List(ctx context.Context, channel message.Channel, from, to string, since time.Time) ([]message.Remote, error) {
	return t.client.List(ctx, channel, from, to, since)
}

// newTrial makes people and campaigns, and settles what is to happen to whom, and when.
func newTrial(t *testing.T, seed uint64) *trial {
	t.Helper()
	w := &trial{r: rand.New(rand.NewPCG(seed, 4)), moments: map[string]time.Time{}}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(w.r.IntN(365*24*60)) * time.Minute)
	w.world = newWorld(t, begin, db.SuppressionKeys(suppression.NewKeys("0123456789abcdef0123456789abcdef")))
	w.simulate()
	w.limit()
	ctx := t.Context()
	for _, name := range []string{"News", "Offers"} {
		_, err := w.store.CreateTopic(ctx, user.Topic{Name: name}, "test", begin)
		require.NoError(t, err)
	}
	guests, err := w.store.CreateSegment(ctx, "Guests", []byte(`{"attribute": "guest", "operator": "equals", "value": true}`), begin)
	require.NoError(t, err)
	for i := range 24 {
		w.settle(i)
	}
	for range 4 {
		w.announce(guests.ID)
	}
	for range 30 {
		w.befall(w.people[w.r.IntN(len(w.people))], w.within(60*time.Hour))
	}
	return w
}

// within is some time up to that, as exact as the database keeps it.
func (t *trial) within(most time.Duration) time.Duration {
	return time.Duration(t.r.Int64N(int64(most))).Truncate(time.Millisecond)
}

// simulate has a Twilio take the messages that judges nothing by itself.
func (t *trial) simulate() {
	const account, token = "AC00000000000000000000000000000000", "localstack"
	sim, err := twiliosim.New(twiliosim.Config{AccountSID: account, AuthToken: token, DataDir: t.world.t.TempDir(), Now: t.env.Now})
	require.NoError(t.world.t, err)
	server := httptest.NewServer(sim.Handler())
	t.client, err = twilio.New(twilio.Config{
		AccountSID: account, AuthToken: token, BaseURL: server.URL, StatusCallback: server.URL, Timeout: 10 * time.Second, MaxConns: 8,
	})
	require.NoError(t.world.t, err)
	t.world.t.Cleanup(func() {
		t.client.Close()
		require.NoError(t.world.t, sim.Close())
		server.Close()
	})
	t.address, t.delivery.Sender = server.URL, t
	t.call(http.MethodPut, "/sim/faults", `{"no_window": true}`, nil)
}

// limit bounds how often a person is written to, and how many people are, more or less.
func (t *trial) limit() {
	maybe := func(most int) *int {
		if t.r.IntN(2) == 0 {
			return nil
		}
		n := 1 + t.r.IntN(most)
		return &n
	}
	_, err := t.store.ChangeAccount(t.world.t.Context(), "test", func(a throttle.Account) (throttle.Account, error) {
		a.PersonDay, a.PersonWeek, a.PersonTopicDay, a.PersonTopicWeek = maybe(2), maybe(4), maybe(2), maybe(3)
		t.account = a
		return a, nil
	}, t.begin)
	require.NoError(t.world.t, err)
	if most := maybe(24); most != nil && t.r.IntN(2) == 0 {
		t.tier = max(8, *most)
		_, err := t.store.ChangeSender(t.world.t.Context(), 1, "test", func(s throttle.Sender) (throttle.Sender, error) {
			s.MessagingLimit = &t.tier
			return s, nil
		}, t.begin)
		require.NoError(t.world.t, err)
	}
}

// settle makes somebody known.
func (t *trial) settle(i int) {
	ctx, r := t.world.t.Context(), t.r
	place := places[r.IntN(len(places))]
	p := &person{
		number: fmt.Sprintf("%s%04d", place.prefix, 1000+i), us: place.us, language: []string{"", "en", "es", "pt_PT", "pt_BR", "de"}[r.IntN(6)],
		named: r.IntN(8) > 0, guest: r.IntN(5) == 0,
		consent: []user.ConsentState{user.OptIn, user.OptIn, user.OptIn, user.OptIn, user.OptIn, user.OptIn, user.Pending, user.OptOut, user.Stop}[r.IntN(9)],
	}
	attributes := user.Attributes{"audience": "test", "guest": p.guest}
	names := place.zones
	if r.IntN(5) == 0 {
		names = []string{[]string{"Pacific/Auckland", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Casablanca"}[r.IntN(4)]}
		attributes["timezone"] = names[0]
	}
	for _, name := range names {
		p.zones = append(p.zones, zone(t.world.t, name))
	}
	if p.us {
		p.state = []string{"", "FL", "CT", "TX", "RI"}[r.IntN(5)]
	}
	for name, value := range map[string]string{"state": p.state, "language": p.language, "name": map[bool]string{true: "Ann"}[p.named]} {
		if value != "" {
			attributes[name] = value
		}
	}
	change := user.Change{Source: user.SourceOperator, Evidence: "test"}
	if p.consent != user.Pending {
		change.State = p.consent
	}
	known := t.begin.Add(-72 * time.Hour)
	_, err := t.store.CreateUser(ctx, phone.Number(p.number), attributes, change, "test", known)
	require.NoError(t.world.t, err)
	t.people = append(t.people, p)
	for topic := int64(1); topic <= 2; topic++ {
		if p.subscribed[topic] = r.IntN(3) > 0; p.subscribed[topic] {
			_, err := t.store.SetSubscription(ctx, phone.Number(p.number), topic, true, user.Change{Source: user.SourceOperator, Evidence: "test"}, "test", known)
			require.NoError(t.world.t, err)
		}
	}
	if r.IntN(3) == 0 {
		p.wrote = t.begin.Add(-t.within(30 * time.Hour))
		t.write(p, "good morning", p.wrote)
	}
	if r.IntN(8) == 0 {
		t.bar(p, t.begin)
	}
}

// announce plans a campaign and triggers it.
func (t *trial) announce(guests int64) {
	ctx, r := t.world.t.Context(), t.r
	n := &notice{
		urgent: r.IntN(4) == 0, marketing: r.IntN(2) == 0, topic: int64(r.IntN(3)), excludes: r.IntN(2) == 0,
		policy:  []campaign.WindowPolicy{campaign.ByTemplate, campaign.ByFreeText, campaign.InWindow}[r.IntN(3)],
		locales: []string{"en", "es", "pt_BR"},
	}
	plan := campaign.Campaign{
		Topic: "Test", Timezone: "UTC", RatePerSecond: 1 + r.IntN(10), WindowPolicy: n.policy, SegmentQuery: []byte(`{"attribute": "audience", "operator": "exists"}`),
	}
	switch r.IntN(4) {
	case 0, 1:
		n.quiet = &[2]int{20 + r.IntN(4), 5 + r.IntN(6)}
	case 2:
		n.quiet = &[2]int{6 + r.IntN(3), 18 + r.IntN(4)}
	}
	if n.quiet != nil {
		plan.QuietStart, plan.QuietEnd = ptr(n.quiet[0]*60), ptr(n.quiet[1]*60)
	}
	if r.IntN(3) == 0 {
		n.most, n.days = 1+r.IntN(2), 1+r.IntN(3)
		plan.FrequencyCap = campaign.Cap{Count: n.most, Days: n.days}
	}
	if n.topic != 0 {
		plan.SubscriptionTopicID = &n.topic
	}
	if n.urgent {
		plan.Priority = campaign.Transactional
	}
	if n.excludes {
		plan.ExcludeSegmentIDs = []int64{guests}
	}
	if r.IntN(3) > 0 {
		plan.ScheduleTime = ptr(t.begin.Add(time.Minute + t.within(36*time.Hour)))
	}
	plan.TemplateID = t.text(len(t.notices), n)
	c, err := t.store.CreateCampaign(ctx, plan, t.begin)
	require.NoError(t.world.t, err)
	_, err = t.store.StartRun(ctx, c.ID, "test", t.begin)
	require.NoError(t.world.t, err)
	n.id = c.ID
	t.notices = append(t.notices, n)
}

// text makes a template that says which notice it is, and in which language, and has the simulator approve it.
func (t *trial) text(number int, n *notice) int64 {
	ctx := t.world.t.Context()
	category := render.Utility
	if n.marketing {
		category = render.Marketing
	}
	content := func(locale string) string {
		return fmt.Sprintf("Notice %d %s for {name}. Reply STOP to opt out.", number, locale)
	}
	saved := render.Saved{Name: fmt.Sprint("Notice ", number), Content: content(n.locales[0]), Channel: message.WhatsApp, Locale: n.locales[0], Category: category}
	for _, locale := range n.locales {
		saved.Variants = append(saved.Variants, render.Variant{Locale: locale, Content: content(locale)})
	}
	saved, err := t.store.CreateTemplate(ctx, saved, t.begin)
	require.NoError(t.world.t, err)
	for _, v := range saved.Variants {
		submission, err := v.Submission(saved.ID, saved.Version, category)
		require.NoError(t.world.t, err)
		sid, err := t.client.CreateContent(ctx, submission)
		require.NoError(t.world.t, err)
		require.NoError(t.world.t, t.client.SubmitContent(ctx, sid, submission.Name, category))
		in := outbox.Template{TemplateID: saved.ID, Version: saved.Version, Locale: v.Locale}
		require.NoError(t.world.t, t.store.NoteSubmission(ctx, in, sid, t.begin))
		require.NoError(t.world.t, t.store.RecordApproval(ctx, in, render.Approved, "", t.begin))
	}
	return saved.ID
}

// befall has something happen to somebody that much later.
func (t *trial) befall(p *person, later time.Duration) {
	event := t.r.IntN(6)
	topic := int64(1 + t.r.IntN(2))
	t.at(later, func() {
		now := t.env.Now()
		switch event {
		case 0, 1:
			t.write(p, "STOP", now)
			t.news = append(t.news, news{now, p.number, func(p *person) { p.consent, p.wrote = user.Stop, now }})
		case 2:
			t.write(p, "START", now)
			t.news = append(t.news, news{now, p.number, func(p *person) { p.consent, p.wrote = user.OptIn, now }})
		case 3:
			t.write(p, "thank you", now)
			t.news = append(t.news, news{now, p.number, func(p *person) { p.wrote = now }})
		case 4:
			t.bar(p, now)
		default:
			_, err := t.store.SetSubscription(t.world.t.Context(), phone.Number(p.number), topic, false, user.Change{Source: user.SourceOperator, Evidence: "test"}, "test", now)
			require.NoError(t.world.t, err)
			t.news = append(t.news, news{now, p.number, func(p *person) { p.subscribed[topic] = false }})
		}
		t.relay()
	})
}

func (t *trial) write(p *person, text string, now time.Time) {
	_, err := t.store.Receive(t.world.t.Context(), inbound.Message{
		SID: fmt.Sprintf("SM-%s-%d", p.number, now.UnixNano()), Channel: message.WhatsApp, From: phone.Number(p.number), Body: text, Payload: []byte(`{}`),
	}, now)
	require.NoError(t.world.t, err)
}

// bar puts a number on the list of suppressions, for everything or for something.
func (t *trial) bar(p *person, now time.Time) {
	scope := []suppression.Scope{
		suppression.Global, suppression.OnChannel(message.WhatsApp), suppression.OnChannel(message.SMS), suppression.OnTopic(1), suppression.OnTopic(2),
	}[t.r.IntN(5)]
	_, err := t.store.AddSuppressions(t.world.t.Context(), []suppression.New{{Phone: phone.Number(p.number), Scope: scope, Reason: suppression.Complaint}},
		suppression.FromAPI, "test", now)
	require.NoError(t.world.t, err)
	t.news = append(t.news, news{now, p.number, func(p *person) { p.barred[scope] = true }})
}
