package db_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/throttle"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestJurisdiction(t *testing.T) {
	t.Parallel()
	b := open(t)
	for i, tt := range []struct{ region, state, want string }{
		{"US", `null`, "US"}, {"US", `"FL"`, "US-FL"}, {"US", `" fl "`, "US-FL"}, {"US", `"Florida"`, "US-FL"}, {"US", `"us-tx"`, "US-TX"},
		{"US", `"rhode island"`, "US-RI"}, {"US", `"District of Columbia"`, "US-DC"}, {"US", `"Ontario"`, "US"}, {"US", `"CA-ON"`, "US"}, {"US", `7`, "US"},
		{"US", `["FL"]`, "US"}, {"CA", `"CA-ON"`, "CA-ON"}, {"CA", `"FL"`, "CA"}, {"AU", `"Victoria"`, "AU"}, {"PR", `"PR"`, "PR"}, {"", `"FL"`, ""},
	} {
		id := b.user(t, fmt.Sprintf("+1212555%04d", i), tt.region, `{"state":`+tt.state+`}`, "OPT_IN")
		require.Equal(t, tt.want, get[string](t, b, `SELECT jurisdiction FROM users WHERE id = $1`, id), tt)
	}
	_, err := b.UpdateUser(t.Context(), "+12125550000", user.Attributes{"state": "Texas"}, user.Change{}, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, "US-TX", get[string](t, b, `SELECT jurisdiction FROM users WHERE phone_number = '+12125550000'`), "it follows the attribute")
}

// TestFreezeByLaw groups people by the law that they are under, and not by states that have none of their own.
func TestFreezeByLaw(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	for i, state := range []string{"FL", "NY", "TX", "CA", "FL", ""} {
		b.user(t, fmt.Sprintf("+1212555%04d", i), "US", `{"city":"X","state":"`+state+`"}`, "OPT_IN")
	}
	b.user(t, "+14165550100", "CA", `{"city":"X","state":"CA-ON"}`, "OPT_IN")
	run := b.triggered(t)
	b.exec(t, `UPDATE template_versions SET category = 'utility'`) // nothing else reaches the United States
	require.NoError(t, b.Freeze(ctx, run, noon))
	cohorts, err := b.RemainingCohorts(ctx, run.ID)
	require.NoError(t, err)
	sizes := map[string]int{}
	for _, c := range cohorts {
		sizes[c.Law.String()] += c.LastSeq - c.NextSeq + 1
		require.Equal(t, c.Law, run.Hours(c).Legal)
	}
	require.Equal(t, map[string]int{"US-FL": 2, "US-TX": 1, "US": 3, "none": 1}, sizes)
	for seq := 1; seq <= 7; seq++ {
		d := b.delivery(t, run, seq)
		i := slices.IndexFunc(cohorts, func(c ledger.Cohort) bool { return c.NextSeq <= seq && seq <= c.LastSeq })
		require.Equal(t, cohorts[i].Law, d.Law, "the message is judged by the law of its cohort")
	}

	b.exec(t, `UPDATE campaigns SET priority = 'transactional'`)
	run = b.load(t, run.ID)
	require.True(t, run.Hours(cohorts[0]).IsZero(), "nobody is solicited")
	night := time.Date(2026, 3, 2, 3, 0, 0, 0, time.UTC)
	verdict, _ := b.delivery(t, run, 7).Check(night)
	require.Equal(t, compliance.Proceed, verdict.Action)

	b.Obey(compliance.Law{})
	b.exec(t, `UPDATE campaigns SET priority = 'bulk'`)
	require.True(t, b.delivery(t, run, 7).Law.IsZero(), "another law holds at once")
}

// TestLegalWaitsAreReleased has whoever waits for the law judged anew when it holds no more for the campaign.
func TestLegalWaitsAreReleased(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 3)
	b.waits(t, run, 1, "legal_window", noon.Add(9*time.Hour))
	b.waits(t, run, 2, "quiet_hours", noon.Add(9*time.Hour))
	b.waits(t, run, 3, "rate_limit", noon.Add(time.Hour))
	_, err := b.UpdateCampaign(ctx, run.CampaignID, "tester", func(c campaign.Campaign) (campaign.Campaign, error) {
		to := c
		to.Priority = campaign.Transactional
		return c.Edit(to, noon)
	}, noon)
	require.NoError(t, err)
	require.Equal(t, []string{"pending", "pending", "pending rate_limit"}, []string{b.stands(t, run, 1), b.stands(t, run, 2), b.stands(t, run, 3)})

	d := b.delivery(t, run, 1)
	d.Priority = campaign.Bulk
	noted, err := b.Wait(ctx, d, "legal_window", noon.Add(time.Hour), nil, noon)
	require.NoError(t, err)
	require.False(t, noted, "it was judged by what does not hold any more")
}

// again is a run of another campaign to everybody; change may alter its plan.
func (b books) again(t *testing.T, change func(*campaign.Campaign)) ledger.Run {
	t.Helper()
	plan := b.plan(t)
	if change != nil {
		change(&plan)
	}
	c, err := b.CreateCampaign(t.Context(), plan, noon)
	require.NoError(t, err)
	started, err := b.StartRun(t.Context(), c.ID, "tester", noon)
	require.NoError(t, err)
	require.NoError(t, b.Freeze(t.Context(), b.load(t, started.ID), noon))
	return b.load(t, started.ID)
}

// try judges a message and begins an attempt at it when it may be sent. It returns "sent" for one that was accepted, else
// the reason, or what Begin said.
func (b books) try(t *testing.T, run ledger.Run, seq int, at time.Time) string {
	t.Helper()
	d := b.delivery(t, run, seq)
	if verdict, _ := d.Check(at); verdict.Action != compliance.Proceed {
		return string(verdict.Reason)
	}
	a := attemptAt(at, 10*time.Second)
	begun, err := b.Begin(t.Context(), d, a, nil)
	require.NoError(t, err)
	if begun != ledger.BegunNow {
		return string(begun)
	}
	require.NoError(t, b.Accept(t.Context(), a.ID, "SM"+a.ID.String(), 201, at))
	return "sent"
}

func TestPairRate(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	one := b.frozen(t, 1)
	two, three := b.again(t, nil), b.again(t, func(c *campaign.Campaign) { c.Priority = campaign.Transactional })

	seen := b.delivery(t, two, 1) // before the first one began
	require.Equal(t, "sent", b.try(t, one, 1, noon))
	begun, err := b.Begin(ctx, seen, attemptAt(noon.Add(5*time.Second), time.Second), nil)
	require.NoError(t, err)
	require.Equal(t, ledger.NotNow, begun, "the person got another message since it was judged")
	require.Equal(t, "pending", b.stands(t, two, 1))
	for _, run := range []ledger.Run{two, three} {
		require.Equal(t, "pair_rate", b.try(t, run, 1, noon.Add(6*time.Second-time.Microsecond)), "whatever its priority")
	}
	verdict, _ := b.delivery(t, two, 1).Check(noon)
	require.Equal(t, noon.Add(6*time.Second), verdict.Until.UTC())
	require.Equal(t, "sent", b.try(t, two, 1, noon.Add(6*time.Second)))

	b.exec(t, `UPDATE messages SET state = 'failed', reason = 'provider_error', ended_at = $1 WHERE run_id = $2`, noon, two.ID)
	require.Equal(t, "sent", b.try(t, three, 1, noon.Add(7*time.Second)), "what failed was no message")

	four := b.again(t, nil)
	require.Equal(t, "pair_rate", b.try(t, four, 1, noon.Add(8*time.Second)))
	b.exec(t, `UPDATE account_limits SET pair_interval_seconds = 0`)
	require.Equal(t, "sent", b.try(t, four, 1, noon.Add(8*time.Second)))
}

// TestPairRateOfWhatIsSent: a message whose outcome is not known yet counts from its attempt on.
func TestPairRateOfWhatIsSent(t *testing.T) {
	t.Parallel()
	b := open(t)
	one := b.frozen(t, 1)
	two := b.again(t, nil)
	_, a, begun := b.begin(t, one, 1, noon, 10*time.Second)
	require.Equal(t, ledger.BegunNow, begun)
	require.Equal(t, "pair_rate", b.try(t, two, 1, noon.Add(5*time.Second)))
	again := ledger.Then{State: message.Pending, Reason: message.ReasonConcurrency}
	require.NoError(t, b.Refuse(t.Context(), a.ID, ledger.Refused, message.Outcome{Code: 20429, HTTPStatus: 429}, again, noon))
	require.Equal(t, "sent", b.try(t, two, 1, noon.Add(5*time.Second)), "it was not sent after all")
	require.Equal(t, "pair_rate", b.try(t, one, 1, noon.Add(10*time.Second)))
}

func TestFrequencyCap(t *testing.T) {
	t.Parallel()
	const hour, day = time.Hour, 24 * time.Hour
	topic := func(id int64) func(*campaign.Campaign) {
		return func(c *campaign.Campaign) { c.SubscriptionTopicID = &id }
	}
	capped := func(count, days int) func(*campaign.Campaign) {
		return func(c *campaign.Campaign) { c.FrequencyCap = campaign.Cap{Count: count, Days: days} }
	}
	urgent := func(c *campaign.Campaign) { c.Priority = campaign.Transactional }
	for _, tt := range []struct {
		name    string
		account string // limits, as SQL sets them
		before  []func(*campaign.Campaign)
		every   time.Duration
		plan    func(*campaign.Campaign)
		after   time.Duration // the last one before
		want    string
	}{
		{"no cap", "", make([]func(*campaign.Campaign), 5), hour, nil, hour, "sent"},
		{"below the campaign's", "", make([]func(*campaign.Campaign), 1), hour, capped(2, 7), hour, "sent"},
		{"at the campaign's", "", make([]func(*campaign.Campaign), 2), hour, capped(2, 7), hour, "frequency_cap"},
		{"the window moves", "", make([]func(*campaign.Campaign), 2), hour, capped(2, 1), day - hour, "sent"},
		{"and not before", "", make([]func(*campaign.Campaign), 2), hour, capped(2, 1), day - hour - time.Second, "frequency_cap"},
		{"transactional ones do not count", "", []func(*campaign.Campaign){urgent, urgent}, hour, capped(1, 7), hour, "sent"},
		{"nor are they capped", "person_messages_per_day = 1", make([]func(*campaign.Campaign), 2), day, urgent, hour, "sent"},
		{"per day", "person_messages_per_day = 2", make([]func(*campaign.Campaign), 2), hour, nil, hour, "frequency_cap"},
		{"per day, the day after", "person_messages_per_day = 2", make([]func(*campaign.Campaign), 2), hour, nil, day, "sent"},
		{"per week", "person_messages_per_week = 3, person_messages_per_day = 2", make([]func(*campaign.Campaign), 3), day, nil, 4*day + hour, "frequency_cap"},
		{"per week, the week after", "person_messages_per_week = 3", make([]func(*campaign.Campaign), 3), day, nil, 5 * day, "sent"},
		{"per topic and day", "person_topic_messages_per_day = 1", []func(*campaign.Campaign){topic(1)}, hour, topic(1), hour, "frequency_cap"},
		{"another topic", "person_topic_messages_per_day = 1", []func(*campaign.Campaign){topic(2), nil}, hour, topic(1), hour, "sent"},
		{"no topic", "person_topic_messages_per_day = 1", []func(*campaign.Campaign){topic(1), nil}, hour, nil, hour, "sent"},
		{"per topic and week", "person_topic_messages_per_week = 2", []func(*campaign.Campaign){topic(1), topic(2), topic(1)}, hour, topic(1), 6 * day, "frequency_cap"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			b.sender(t)
			b.people(t, 1, "OPT_IN", "LK", "Asia/Colombo")
			b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1), ('Offers', $1)`, noon)
			b.exec(t, `INSERT INTO subscriptions (topic_id, user_id, created_at) SELECT t.id, u.id, $1 FROM topics t, users u`, noon)
			at := noon
			for _, change := range tt.before {
				at = at.Add(tt.every)
				require.Equal(t, "sent", b.try(t, b.withTopic(t, change), 1, at))
			}
			if tt.account != "" {
				b.exec(t, `UPDATE account_limits SET `+tt.account)
			}
			run := b.withTopic(t, tt.plan)
			require.Equal(t, tt.want, b.try(t, run, 1, at.Add(tt.after)))
			counts := b.verdicts(t, run.CampaignID, at.Add(tt.after))
			if tt.want != "sent" {
				require.Equal(t, []campaign.VerdictCount{{Action: "suppress", Reason: tt.want, Count: 1}}, counts, "a dry run says the same")
			}
		})
	}
}

// withTopic is again for a plan that may name a subscription topic.
func (b books) withTopic(t *testing.T, change func(*campaign.Campaign)) ledger.Run {
	t.Helper()
	var topic *int64
	run := b.again(t, func(c *campaign.Campaign) {
		if change != nil {
			change(c)
		}
		topic = c.SubscriptionTopicID
	})
	b.exec(t, `UPDATE campaigns SET subscription_topic_id = $1 WHERE id = $2`, topic, run.CampaignID)
	return run
}

// TestFrequencyCapAtOnce lets many campaigns begin to send to the same people at the same moment: as many get through as the
// caps allow.
func TestFrequencyCapAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const people, campaigns, most = 5, 12, 3
	b.exec(t, `UPDATE account_limits SET pair_interval_seconds = 0, person_messages_per_day = $1`, most)
	runs := []ledger.Run{b.frozen(t, people)}
	for range campaigns - 1 {
		runs = append(runs, b.again(t, nil))
	}
	var wg sync.WaitGroup
	begun := make([]ledger.Begun, people*campaigns)
	errs := make([]error, len(begun))
	for i, run := range runs {
		for seq := range people {
			d, n := b.delivery(t, run, seq+1), i*people+seq
			wg.Go(func() { begun[n], errs[n] = b.Begin(ctx, d, attemptAt(noon, time.Second), nil) })
		}
	}
	wg.Wait()
	count := map[ledger.Begun]int{}
	for i := range begun {
		require.NoError(t, errs[i])
		count[begun[i]]++
	}
	require.Equal(t, map[ledger.Begun]int{ledger.BegunNow: people * most, ledger.NotNow: people * (campaigns - most)}, count)
	require.EqualValues(t, most, get[int64](t, b, `SELECT max(n) FROM (SELECT count(*) AS n FROM messages WHERE state = 'sending' GROUP BY user_id) x`))
}

func (b books) tier(t *testing.T, limit *int, now time.Time) throttle.Sender {
	t.Helper()
	changed, err := b.ChangeSender(t.Context(), 1, "tester", func(s throttle.Sender) (throttle.Sender, error) {
		s.MessagingLimit = limit
		return s, nil
	}, now)
	require.NoError(t, err)
	return changed
}

func of[T any](v T) *T { return &v }

func TestMessagingTier(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const day = 24 * time.Hour
	run := b.frozen(t, 7)
	other := b.again(t, nil)
	require.Equal(t, "sent", b.try(t, run, 1, noon.Add(-time.Hour)))
	require.Equal(t, "default", b.tier(t, of(3), noon).Portfolio)
	require.Equal(t, 1, b.tier(t, of(3), noon).Reached, "who was reached before counts")

	at := noon.Add(time.Minute)
	require.Equal(t, "sent", b.try(t, other, 1, at), "the same person takes no other place")
	require.Equal(t, "sent", b.try(t, run, 2, at))
	seen := b.delivery(t, run, 5)
	require.Equal(t, "sent", b.try(t, run, 3, at.Add(time.Minute)))
	require.Equal(t, "messaging_tier", b.try(t, run, 4, at.Add(2*time.Minute)))
	begun, err := b.Begin(ctx, seen, attemptAt(at.Add(2*time.Minute), time.Second), nil)
	require.NoError(t, err)
	require.Equal(t, ledger.NotNow, begun, "the last place was taken since it was judged")
	require.Equal(t, "sent", b.try(t, other, 2, at.Add(2*time.Minute)), "whoever holds a place keeps it")

	b.exec(t, `UPDATE users SET last_inbound_at = $1 WHERE id = $2`, at, b.delivery(t, run, 6).UserID)
	require.Equal(t, "sent", b.try(t, run, 6, at.Add(3*time.Minute)), "whoever wrote to us takes none")
	require.Equal(t, 3, b.tier(t, of(3), at.Add(3*time.Minute)).Reached)

	free, frees, ok, err := b.PortfolioRoom(ctx, 1, at.Add(4*time.Minute))
	require.NoError(t, err)
	require.True(t, ok)
	require.Zero(t, free)
	require.Equal(t, at.Add(day), frees.UTC(), "a day after the first of them was reached last")
	verdict, _ := b.delivery(t, run, 4).Check(at.Add(4 * time.Minute))
	require.Equal(t, frees, verdict.Until)
	require.Equal(t, "messaging_tier", b.try(t, run, 4, at.Add(day-time.Second)))
	require.Equal(t, "sent", b.try(t, run, 4, at.Add(day)))
	require.Equal(t, "messaging_tier", b.try(t, run, 5, at.Add(day)))
	free, _, _, err = b.PortfolioRoom(ctx, 1, at.Add(3*day))
	require.NoError(t, err)
	require.Equal(t, 3, free)

	b.tier(t, of(1), at.Add(day)) // fewer than are taken
	require.Equal(t, "messaging_tier", b.try(t, run, 5, at.Add(day+time.Minute)), "more are taken than there are")
	b.tier(t, nil, at.Add(day+time.Minute))
	require.Equal(t, "sent", b.try(t, run, 5, at.Add(day+time.Minute)))
	_, _, ok, err = b.PortfolioRoom(ctx, 1, at)
	require.NoError(t, err)
	require.False(t, ok, "no limit")
	require.Zero(t, get[int64](t, b, `SELECT count(*) FROM portfolios p WHERE places_taken <> (SELECT count(*) FROM portfolio_places x WHERE x.portfolio_id = p.id)`))
}

// TestMessagingTierIsRaised has whoever waits for a place judged anew.
func TestMessagingTierIsRaised(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	run := b.frozen(t, 3)
	b.tier(t, of(1), noon)
	cohorts, err := b.RemainingCohorts(ctx, run.ID)
	require.NoError(t, err)
	_, err = b.CutBatch(ctx, run.ID, 1, cohorts[0], 2, noon)
	require.NoError(t, err)
	require.Equal(t, "sent", b.try(t, run, 1, noon))
	b.waits(t, run, 2, "messaging_tier", noon.Add(24*time.Hour))
	b.waits(t, run, 3, "messaging_tier", noon.Add(24*time.Hour))
	stale := b.delivery(t, run, 2)
	b.outbox(t)

	b.tier(t, of(2), noon)
	require.Equal(t, []string{"pending rate_limit", "pending"}, []string{b.stands(t, run, 2), b.stands(t, run, 3)})
	require.Equal(t, []string{"recipient.signal 2", "campaign.wake"}, b.outbox(t))
	noted, err := b.Wait(ctx, stale, "messaging_tier", noon.Add(24*time.Hour), nil, noon)
	require.NoError(t, err)
	require.False(t, noted, "it was judged by a limit that does not hold any more")
	require.Equal(t, "sent", b.try(t, run, 2, noon))

	changed, err := b.ChangeSender(ctx, 1, "tester", func(s throttle.Sender) (throttle.Sender, error) {
		s.Portfolio, s.MessagingLimit = "another", of(5)
		return s, nil
	}, noon)
	require.NoError(t, err)
	require.Equal(t, throttle.Sender{
		ID: 1, Channel: message.WhatsApp, Address: "+14155238886", Limit: throttle.Limit{PerSecond: 80}, CampaignsRunning: 1,
		Portfolio: "another", MessagingLimit: of(5), Reached: 2,
	}, changed)
	require.Equal(t, "sent", b.try(t, run, 3, noon))
	_, err = b.ChangeSender(ctx, 9, "tester", func(s throttle.Sender) (throttle.Sender, error) { return s, nil }, noon)
	require.True(t, fault.Is(err, fault.NotFound))
}

// TestMessagingTierAtOnce lets everybody begin at the same moment, in two campaigns of two senders of the portfolio.
func TestMessagingTierAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const people, most = 30, 11
	b.exec(t, `UPDATE account_limits SET pair_interval_seconds = 0`)
	runs := []ledger.Run{b.frozen(t, people)}
	require.NoError(t, b.EnsureSender(ctx, message.WhatsApp, "+14155238887", noon))
	runs = append(runs, b.again(t, nil))
	b.tier(t, of(most), noon)
	var wg sync.WaitGroup
	begun, errs := make([]ledger.Begun, 2*people), make([]error, 2*people)
	for i, run := range runs {
		for seq := range people {
			d, n := b.delivery(t, run, seq+1), i*people+seq
			wg.Go(func() { begun[n], errs[n] = b.Begin(ctx, d, attemptAt(noon, time.Second), nil) })
		}
	}
	wg.Wait()
	for i := range begun {
		require.NoError(t, errs[i])
	}
	require.EqualValues(t, most, get[int64](t, b, `SELECT count(DISTINCT user_id) FROM messages WHERE state = 'sending'`))
	require.EqualValues(t, most, get[int64](t, b, `SELECT places_taken FROM portfolios`))
}

// TestSendLookUps: what a send asks about the person is answered by an index.
func TestSendLookUps(t *testing.T) {
	t.Parallel()
	b := open(t)
	conn, err := b.pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	_, err = conn.Exec(t.Context(), `SET enable_seqscan = off; SET enable_sort = off`) // the table is empty: any plan is as good
	require.NoError(t, err)
	rows, err := conn.Query(t.Context(), `EXPLAIN SELECT reached_at(o.state, o.accepted_at, o.updated_at) FROM messages o
		WHERE o.user_id = 7 AND o.state IN ('sending', 'accepted', 'sent', 'delivered', 'read', 'unknown') ORDER BY 1 DESC LIMIT 1`)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(plan), "Scan Backward using messages_reached")
}

// judge is what the property test knows of the world by itself: who was sent what, when.
type judge struct {
	people []judged
	sends  []judgedSend
}

type judged struct {
	zones []*time.Location
	state string // of the United States; "" for one who is elsewhere
	us    bool
	wrote time.Time
}

type judgedSend struct {
	person, campaign int
	at               time.Time
	outside          bool // of their service window
}

// TestNothingIsSentBeyondItsBounds sends to random people in random campaigns by a random clock, several at a time, and
// judges by its own account: nobody is written to in quiet hours or outside the law's hours in any zone they may be in, over
// a cap, within the pair interval, or beyond the tier; and whoever was not sent to has the true reason.
func TestNothingIsSentBeyondItsBounds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			testBounds(t, rand.New(rand.NewPCG(seed, 20261124)))
		})
	}
}

// plans of the property test's campaigns.
type judgedPlan struct {
	quiet  *[2]int // hours
	count  int
	days   int
	topic  int64
	urgent bool
}

const (
	judgedDay       = 24 * time.Hour
	judgedTier      = 12
	judgedPerDay    = 2
	judgedPerWeek   = 5
	judgedTopicWeek = 3
)

func testBounds(t *testing.T, r *rand.Rand) {
	t.Helper()
	b, ctx := open(t), t.Context()
	b.sender(t)
	b.exec(t, `INSERT INTO topics (name, created_at) VALUES ('News', $1), ('Offers', $1)`, noon)
	b.exec(t, `UPDATE account_limits SET person_messages_per_day = $1, person_messages_per_week = $2, person_topic_messages_per_week = $3`,
		judgedPerDay, judgedPerWeek, judgedTopicWeek)
	var j judge
	places := [][]string{{"Asia/Colombo"}, {"Europe/London", "Europe/Lisbon"}, {"America/New_York"}, {"America/Boise", "America/Los_Angeles"}, {"America/Chicago"}}
	states := []string{"", "FL", "Texas", "US-RI", "CT", "New York", "WA"}
	byUser := map[int64]int{}
	for i := range 24 {
		p := judged{}
		names := places[r.IntN(len(places))]
		for _, name := range names {
			p.zones = append(p.zones, zoneOf(t, name))
		}
		region := "LK"
		attributes := map[string]any{"city": "Kandy"}
		if p.us = names[0] > "America" && names[0] < "Asia"; p.us {
			region, p.state = "US", states[r.IntN(len(states))]
			attributes["state"] = p.state
		}
		raw, err := json.Marshal(attributes)
		require.NoError(t, err)
		id := b.user(t, fmt.Sprintf("+1212555%04d", i), region, string(raw), "OPT_IN")
		slices.Sort(names)
		b.exec(t, `UPDATE users SET zones = $1 WHERE id = $2`, names, id)
		byUser[id] = i
		j.people = append(j.people, p)
	}
	b.exec(t, `INSERT INTO subscriptions (topic_id, user_id, created_at) SELECT t.id, u.id, $1 FROM topics t, users u`, noon)
	b.tier(t, of(judgedTier), noon)

	var plans []judgedPlan
	var runs []ledger.Run
	for i := range 14 {
		p := judgedPlan{topic: int64(r.IntN(3)), urgent: i%5 == 4}
		if r.IntN(2) == 0 {
			p.quiet = &[2]int{20 + r.IntN(4), 5 + r.IntN(6)}
		}
		if r.IntN(3) == 0 {
			p.count, p.days = 1+r.IntN(3), 1+r.IntN(3)
		}
		plans = append(plans, p)
		runs = append(runs, b.withTopic(t, func(c *campaign.Campaign) {
			if p.quiet != nil {
				c.QuietStart, c.QuietEnd = of(p.quiet[0]*60), of(p.quiet[1]*60)
			}
			c.FrequencyCap = campaign.Cap{Count: p.count, Days: p.days}
			if p.topic > 0 {
				c.SubscriptionTopicID = &p.topic
			}
			if p.urgent {
				c.Priority = campaign.Transactional
			}
		}))
	}
	b.exec(t, `UPDATE template_versions SET category = 'utility'`) // nothing else reaches the United States

	type choice struct{ run, seq int }
	var open []choice
	for i := range runs {
		for seq := range j.people {
			open = append(open, choice{i, seq + 1})
		}
	}
	reasons := map[string]int{}
	now := noon
	for range 140 {
		now = now.Add([]time.Duration{time.Second, 3 * time.Second, time.Minute, time.Hour, 5 * time.Hour}[r.IntN(5)])
		if r.IntN(6) == 0 {
			i := r.IntN(len(j.people))
			j.people[i].wrote = now
			for id, person := range byUser {
				if person == i {
					b.exec(t, `UPDATE users SET last_inbound_at = $1 WHERE id = $2`, now, id)
				}
			}
		}
		// Some are judged at the same moment, and those that may be sent begin at once.
		r.Shuffle(len(open), func(x, y int) { open[x], open[y] = open[y], open[x] })
		n := min(len(open), 1+r.IntN(8))
		deliveries, begun, errs := make([]ledger.Delivery, n), make([]ledger.Begun, n), make([]error, n)
		attempts := make([]ledger.Attempt, n)
		var fit []int
		var left []choice
		for i, c := range open[:n] {
			d := b.delivery(t, runs[c.run], c.seq)
			deliveries[i], attempts[i] = d, attemptAt(now, time.Second)
			verdict, _ := d.Check(now)
			if verdict.Action == compliance.Proceed {
				fit = append(fit, i)
				continue
			}
			reasons[string(verdict.Reason)]++
			person := byUser[d.UserID]
			truth := j.reasons(person, plans[c.run], plans, j.outside(person, now), now)
			if verdict.Until.After(now) { // what opens last decides, though it may not be closed yet
				truth = append(truth, j.hours(person, plans[c.run], verdict.Until.Add(-time.Second))...)
			}
			require.Contains(t, truth, string(verdict.Reason), "%v at %s", verdict, now)
			if verdict.Action == compliance.Suppress {
				require.NoError(t, b.Suppress(ctx, d.MessageID, string(verdict.Reason), verdict.Steps, now))
			} else {
				left = append(left, c)
			}
		}
		var wg sync.WaitGroup
		for _, i := range fit {
			wg.Go(func() { begun[i], errs[i] = b.Begin(ctx, deliveries[i], attempts[i], nil) })
		}
		wg.Wait()
		for i, c := range open[:n] {
			require.NoError(t, errs[i])
			person := byUser[deliveries[i].UserID]
			switch begun[i] {
			case ledger.BegunNow:
				require.NoError(t, b.Accept(ctx, attempts[i].ID, "SM"+attempts[i].ID.String(), 201, now))
				j.sends = append(j.sends, judgedSend{person, c.run, now, j.outside(person, now)})
				reasons["sent"]++
			case ledger.NotNow:
				left = append(left, c)
				reasons["came second"]++
			default:
				require.Empty(t, begun[i])
			}
		}
		open = append(left, open[n:]...)
	}
	j.check(t, plans)
	for _, reason := range []string{"sent", "came second", "quiet_hours", "legal_window", "pair_rate", "frequency_cap", "messaging_tier"} {
		require.Positive(t, reasons[reason], "%s: %v", reason, reasons)
	}
}

func zoneOf(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := user.LoadZone(name)
	require.NoError(t, err)
	return zone
}

// allowed says what the law allows, as it is written.
func (p judged) allowed(local time.Time) bool {
	from, to := 8, 21
	weekend := local.Weekday() == time.Saturday || local.Weekday() == time.Sunday
	switch {
	case !p.us:
		return true
	case p.state == "FL", p.state == "WA":
		to = 20
	case p.state == "CT":
		from, to = 9, 20
	case p.state == "Texas" && local.Weekday() == time.Sunday:
		from = 12
	case p.state == "Texas":
		from = 9
	case p.state == "US-RI" && weekend:
		from, to = 10, 17
	case p.state == "US-RI":
		from, to = 9, 18
	}
	return from <= local.Hour() && local.Hour() < to
}

// outside tells whether a person is outside their service window.
func (j *judge) outside(person int, now time.Time) bool {
	return !j.people[person].wrote.Add(judgedDay).After(now)
}

// hours lists what forbids a message at this hour.
func (j *judge) hours(person int, plan judgedPlan, now time.Time) (found []string) {
	p := j.people[person]
	for _, zone := range p.zones {
		local := now.In(zone)
		if plan.quiet != nil && (local.Hour() >= plan.quiet[0] || local.Hour() < plan.quiet[1]) {
			found = append(found, "quiet_hours")
		}
		if !plan.urgent && !p.allowed(local) {
			found = append(found, "legal_window")
		}
	}
	return found
}

// reasons lists everything that forbids a message now.
func (j *judge) reasons(person int, plan judgedPlan, plans []judgedPlan, outside bool, now time.Time) []string {
	found := j.hours(person, plan, now)
	count := func(within time.Duration, topic int64) (n int) {
		for _, s := range j.sends {
			if s.person == person && !plans[s.campaign].urgent && s.at.After(now.Add(-within)) && (topic == 0 || plans[s.campaign].topic == topic) {
				n++
			}
		}
		return n
	}
	if !plan.urgent && (count(judgedDay, 0) >= judgedPerDay || count(7*judgedDay, 0) >= judgedPerWeek ||
		plan.count > 0 && count(time.Duration(plan.days)*judgedDay, 0) >= plan.count ||
		plan.topic > 0 && count(7*judgedDay, plan.topic) >= judgedTopicWeek) {
		found = append(found, "frequency_cap")
	}
	reached := map[int]bool{}
	for _, s := range j.sends {
		if s.person == person && s.at.After(now.Add(-6*time.Second)) {
			found = append(found, "pair_rate")
		}
		if s.outside && s.at.After(now.Add(-judgedDay)) {
			reached[s.person] = true
		}
	}
	if outside && !reached[person] && len(reached) >= judgedTier {
		found = append(found, "messaging_tier")
	}
	return found
}

// check judges every send by those before it.
func (j *judge) check(t *testing.T, plans []judgedPlan) {
	t.Helper()
	all := j.sends
	for i, s := range all {
		j.sends = all[:i]
		require.Empty(t, j.reasons(s.person, plans[s.campaign], plans, s.outside, s.at), "send %d: %+v of %+v to %+v", i, s, plans[s.campaign], j.people[s.person])
	}
	j.sends = all
}
