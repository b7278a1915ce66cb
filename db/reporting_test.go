package db_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/db"
	"github.com/event-stream-engine/ese/db/dbtest"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// books is a store together with plain access to its database, which sets up states of affairs.
type books struct {
	*db.Store
	pool *pgxpool.Pool
}

func open(t *testing.T) books {
	t.Helper()
	url := dbtest.URL(t)
	store, err := db.Open(t.Context(), url, db.SuppressionKeys(dbtest.Keys))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return books{Store: store, pool: pool}
}

func (b books) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func get[T any](t *testing.T, b books, sql string, args ...any) T {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return v
}

// plan is a campaign of template 1 to segment 1, both of which it makes sure of.
func (b books) plan(t *testing.T) campaign.Campaign {
	t.Helper()
	b.exec(t, `INSERT INTO templates (name, channel, locale, created_at, updated_at) VALUES ('Welcome', 'whatsapp', 'en_US', $1, $1) ON CONFLICT DO NOTHING`, noon)
	b.exec(t, `INSERT INTO template_versions (template_id, version, content, variables, created_at) VALUES (1, 1, 'Hi', '{}', $1) ON CONFLICT DO NOTHING`, noon)
	b.exec(t, `INSERT INTO template_variants (template_id, version, position, locale, content, variables, mapping, content_sid, approval)
		VALUES (1, 1, 0, 'en_US', 'Hi', '{}', '{}', 'HX00000000000000000000000000000000', 'approved') ON CONFLICT DO NOTHING`)
	b.exec(t, `INSERT INTO segments (name, definition, created_at, updated_at) VALUES ('All', '{"attribute":"city","operator":"exists"}', $1, $1) ON CONFLICT DO NOTHING`, noon)
	segment := int64(1)
	return campaign.Campaign{Topic: "Spring", TemplateID: 1, SegmentID: &segment, RatePerSecond: 10, Timezone: "UTC", FailureThreshold: 20}
}

func (b books) campaign(t *testing.T) int64 {
	t.Helper()
	c, err := b.CreateCampaign(t.Context(), b.plan(t), noon)
	require.NoError(t, err)
	return c.ID
}

// run starts a run of the campaign at noon and returns its id.
func (b books) run(t *testing.T, campaignID int64) int64 {
	t.Helper()
	b.exec(t, `INSERT INTO senders (channel, address, created_at) VALUES ('whatsapp', '+14155238886', $1) ON CONFLICT DO NOTHING`, noon)
	b.exec(t, `UPDATE campaigns SET status = 'RUNNING' WHERE id = $1`, campaignID)
	return get[int64](t, b, `INSERT INTO campaign_runs (campaign_id, number, kind, template_id, template_version, sender_id, started_by, started_at, frozen_at)
		SELECT $1, coalesce(max(number), 0) + 1, 'trigger', 1, 1, 1, 'local', $2, $2 FROM campaign_runs WHERE campaign_id = $1 RETURNING id`, campaignID, noon)
}

func (b books) user(t *testing.T, number, region, attributes, consent string) int64 {
	t.Helper()
	return get[int64](t, b, `INSERT INTO users (phone_number, region, attributes, consent_state, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $5) RETURNING id`, number, region, attributes, consent, noon)
}

// row is a message to be written into the ledger, at noon unless at says otherwise.
type row struct {
	user      int64
	state     message.State
	reason    string
	code      int
	delivered time.Duration // after acceptance
	at        time.Time
}

func (b books) message(t *testing.T, runID int64, seq int, r row) uuid.UUID {
	t.Helper()
	if r.at.IsZero() {
		r.at = noon
	}
	var accepted, sent, delivered, read, ended *time.Time
	deliveredAt := r.at.Add(r.delivered)
	switch r.state {
	case message.Read:
		accepted, sent, delivered, read = &r.at, &r.at, &deliveredAt, &deliveredAt
	case message.Delivered:
		accepted, sent, delivered = &r.at, &r.at, &deliveredAt
	case message.Sent:
		accepted, sent = &r.at, &r.at
	case message.Undelivered:
		accepted, sent, ended = &r.at, &r.at, &r.at
	case message.Accepted:
		accepted = &r.at
	case message.Failed, message.Suppressed, message.Cancelled, message.Unknown:
		ended = &r.at
	}
	return get[uuid.UUID](t, b, `INSERT INTO messages (id, run_id, user_id, seq, channel, state, reason, error_code, created_at, accepted_at, sent_at, delivered_at, read_at, ended_at, updated_at)
		VALUES (uuid_v7($1), $2, nullif($3, 0), $4, 'whatsapp', $5, $6, nullif($7, 0), $1, $8, $9, $10, $11, $12, greatest($1, $10)) RETURNING id`,
		r.at, runID, r.user, seq, string(r.state), r.reason, r.code, accepted, sent, delivered, read, ended)
}

func TestCampaigns(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()

	plan := b.plan(t)
	start, end := 1320, 480
	plan.QuietStart, plan.QuietEnd, plan.Timezone = &start, &end, "Asia/Colombo"
	created, err := b.CreateCampaign(ctx, plan, noon)
	require.NoError(t, err)
	require.Equal(t, campaign.Draft, created.Status)
	require.Equal(t, campaign.Template{ID: 1, Name: "Welcome", Channel: message.WhatsApp, Version: 1}, created.Template)
	require.Equal(t, 480, *created.QuietEnd)
	require.Nil(t, created.Run)

	plan.TemplateID = 99
	missing := int64(77)
	plan.SegmentID = &missing
	var f *fault.Fault
	_, err = b.CreateCampaign(ctx, plan, noon)
	require.ErrorAs(t, err, &f)
	require.Equal(t, []fault.Field{{Name: "template_id", Detail: "there is no template 99"}, {Name: "segment_id", Detail: "there is no segment 77"}}, f.Fields)

	plan = b.plan(t)
	plan.ID, plan.SegmentID, plan.SegmentQuery = created.ID, nil, []byte(`{"phone_verified": true}`)
	replace := func(now time.Time) (campaign.Overview, error) {
		return b.UpdateCampaign(ctx, created.ID, "tester", func(c campaign.Campaign) (campaign.Campaign, error) { return c.Replace(plan, now) }, now)
	}
	updated, err := replace(noon.Add(time.Hour))
	require.NoError(t, err)
	require.JSONEq(t, `{"phone_verified": true}`, string(updated.SegmentQuery))
	require.Nil(t, updated.QuietStart, "what is left out is cleared")

	for range 3 {
		b.campaign(t)
	}
	page, total, err := b.Campaigns(ctx, "", nil, 2)
	require.NoError(t, err)
	require.Equal(t, 4, total)
	require.Equal(t, []int64{4, 3}, []int64{page[0].ID, page[1].ID}, "newest first")
	page, _, err = b.Campaigns(ctx, "", &page[1].ID, 9)
	require.NoError(t, err)
	require.Len(t, page, 2)
	page, total, err = b.Campaigns(ctx, campaign.Running, nil, 9)
	require.NoError(t, err)
	require.Empty(t, page)
	require.Zero(t, total)

	require.NoError(t, b.DeleteCampaign(ctx, 4, noon))
	require.True(t, fault.Is(b.DeleteCampaign(ctx, 4, noon), fault.NotFound))
	_, err = b.Campaign(ctx, 4)
	require.True(t, fault.Is(err, fault.NotFound))

	b.run(t, created.ID)
	require.True(t, fault.Is(b.DeleteCampaign(ctx, created.ID, noon), fault.Conflict))
	plan.RatePerSecond = 3
	updated, err = replace(noon)
	require.NoError(t, err, "the rate may change while it runs")
	require.Equal(t, 3, updated.RatePerSecond)
	require.Equal(t, 1, updated.Run.Number)
	require.Equal(t, "campaign.wake", get[string](t, b, "SELECT kind FROM outbox"), "and the workflow is told")
	plan.Topic = "Other"
	_, err = replace(noon)
	require.True(t, fault.Is(err, fault.Conflict))
}

func TestCampaignSummary(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	id := b.campaign(t)

	before, err := b.CampaignSummary(ctx, id, 0, noon)
	require.NoError(t, err)
	require.Nil(t, before.Campaign.Run)
	require.Zero(t, before.States.Total())

	old := b.run(t, id) // an earlier run is not counted
	b.message(t, old, 1, row{state: message.Failed, reason: "provider_error", code: 30003})
	b.exec(t, `UPDATE campaign_runs SET finished_at = $1`, noon)
	run := b.run(t, id)
	colombo, matara := `{"city":"Colombo"}`, `{"city":"Matara"}`
	rows := []row{
		{user: b.user(t, "+94770000001", "LK", colombo, "OPT_IN"), state: message.Read, delivered: 2 * time.Second},
		{user: b.user(t, "+94770000002", "LK", colombo, "STOP"), state: message.Delivered, delivered: 4 * time.Second},
		{user: b.user(t, "+94770000003", "LK", matara, "OPT_IN"), state: message.Sent},
		{user: b.user(t, "+94770000004", "LK", matara, "OPT_IN"), state: message.Undelivered, reason: "provider_error", code: 30003},
		{user: b.user(t, "+94770000005", "LK", colombo, "OPT_IN"), state: message.Failed, reason: "provider_error", code: 63016},
		{user: b.user(t, "+94770000006", "LK", `{}`, "OPT_OUT"), state: message.Failed, reason: "provider_error", code: 30003},
		{user: b.user(t, "+447700900001", "GB", `{}`, "OPT_IN"), state: message.Pending, reason: "quiet_hours"},
		{user: b.user(t, "+447700900002", "GB", `{}`, "OPT_IN"), state: message.Pending},
		{user: b.user(t, "+447700900003", "GB", `{}`, "PENDING"), state: message.Suppressed, reason: "no_consent"},
		{user: b.user(t, "+447700900004", "GB", `{}`, "OPT_IN"), state: message.Suppressed, reason: "missing_variable"},
		{state: message.Cancelled, reason: "user_erased"},
		{user: b.user(t, "+447700900005", "GB", `{}`, "OPT_IN"), state: message.Accepted},
		{user: b.user(t, "+447700900006", "GB", `{}`, "OPT_IN"), state: message.Sending},
		{user: b.user(t, "+447700900007", "GB", `{}`, "OPT_IN"), state: message.Unknown, reason: "unresolved"},
	}
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = b.message(t, run, i+1, r)
	}
	outsider := b.user(t, "+15005550006", "US", `{}`, "STOP")
	event := `INSERT INTO consent_events (user_id, state, source, actor, created_at) VALUES ($1, $2, 'keyword', 'user', $3)`
	b.exec(t, event, rows[1].user, "STOP", noon.Add(time.Minute))
	b.exec(t, event, rows[1].user, "STOP", noon.Add(2*time.Minute)) // one person
	b.exec(t, event, rows[5].user, "OPT_OUT", noon.Add(-time.Minute))
	b.exec(t, event, rows[0].user, "OPT_IN", noon.Add(time.Minute))
	b.exec(t, event, outsider, "STOP", noon.Add(time.Minute))
	wait := `INSERT INTO compliance_checks (message_id, action, reason, steps, created_at) VALUES ($1, $2, $3, '[]', $4)`
	b.exec(t, wait, ids[0], "wait", "quiet_hours", noon)
	b.exec(t, wait, ids[0], "wait", "quiet_hours", noon)
	b.exec(t, wait, ids[6], "wait", "quiet_hours", noon)
	b.exec(t, wait, ids[0], "wait", "rate_limit", noon)
	b.exec(t, wait, ids[0], "wait", "rate_limit", noon)
	b.exec(t, wait, ids[8], "suppress", "no_consent", noon)

	s, err := b.CampaignSummary(ctx, id, 0, noon.Add(10*time.Minute))
	require.NoError(t, err)
	require.Equal(t, 2, s.Campaign.Run.Number)
	require.Equal(t, len(rows), s.States.Total(), "the states add up to the audience")
	require.Equal(t, 4, s.States.Sent(), "cumulative: undelivered, delivered and read were sent")
	require.Equal(t, 2, s.States.Delivered())
	require.InDelta(t, 50, s.DeliveryRate, 1e-9)
	require.InDelta(t, 50, s.ReadRate, 1e-9)
	require.InDelta(t, 100*3.0/14, s.SuccessRate, 1e-9)
	require.InDelta(t, 100*3.0/14, s.FailureRate, 1e-9)
	require.Equal(t, 10*time.Minute, *s.Duration)
	require.InDelta(t, 0.4, s.PerMinute, 1e-9)
	require.Equal(t, 3*time.Second, *s.AverageDelivery)
	require.Equal(t, 1, s.QuietHoursWaiting)
	require.Equal(t, 2, s.QuietHoursDeferred, "people, not waits")
	require.Equal(t, 2, s.RateLimitWaits)
	require.Equal(t, 1, s.OptOuts, "of this audience, during the run, each person once")
	require.Equal(t, 1, s.TemplateErrors)
	require.Equal(t, []report.CodeCount{{Code: 30003, Count: 2, Percentage: 200.0 / 3}, {Code: 63016, Count: 1, Percentage: 100.0 / 3}}, s.Errors)
	require.Equal(t, []report.ReasonCount{{Reason: "missing_variable", Count: 1}, {Reason: "no_consent", Count: 1}}, s.Suppressed)
	places := 0
	for _, p := range s.Places {
		places += p.Count
	}
	require.Equal(t, len(rows), places)
	require.Equal(t, report.Place{Region: "LK", City: "Colombo", Count: 3, Delivered: 2, Percentage: 300.0 / 14}, s.Places[1])
	require.Equal(t, "GB", s.Places[0].Region)

	b.exec(t, `UPDATE campaign_runs SET finished_at = $2 WHERE id = $1`, run, noon.Add(30*time.Second))
	s, err = b.CampaignSummary(ctx, id, 0, noon.Add(10*time.Minute))
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, *s.Duration, "up to the end, not until now")
	require.Zero(t, s.OptOuts, "after the end")

	_, err = b.CampaignSummary(ctx, 999, 0, noon)
	require.True(t, fault.Is(err, fault.NotFound))
}

func TestMessages(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	first, second := b.campaign(t), b.campaign(t)
	run := b.run(t, first)
	person := b.user(t, "+94770000001", "LK", `{}`, "OPT_IN")
	read := b.message(t, run, 1, row{user: person, state: message.Read, at: noon.Add(-time.Hour)})
	b.message(t, run, 2, row{state: message.Cancelled, reason: "user_erased", at: noon})
	b.message(t, run, 3, row{state: message.Pending, reason: "quiet_hours", at: noon.Add(time.Millisecond)})
	b.message(t, b.run(t, second), 1, row{user: person, state: message.Failed, reason: "provider_error", code: 63016, at: noon.Add(time.Hour)})

	all, states, err := b.Messages(ctx, report.MessageFilter{}, nil, 3)
	require.NoError(t, err)
	require.Equal(t, report.States{message.Read: 1, message.Cancelled: 1, message.Pending: 1, message.Failed: 1}, states)
	require.Len(t, all, 3)
	require.Equal(t, message.Failed, all[0].State, "newest first")
	require.Equal(t, 63016, all[0].ErrorCode)
	require.Equal(t, second, all[0].CampaignID)
	require.Empty(t, all[2].Phone, "erased")
	rest, _, err := b.Messages(ctx, report.MessageFilter{}, &all[2].ID, 3)
	require.NoError(t, err)
	require.Len(t, rest, 1)
	require.Equal(t, read, rest[0].ID)

	for want, f := range map[int]report.MessageFilter{
		3: {CampaignID: first},
		1: {State: message.Pending},
		2: {Since: noon.Add(time.Microsecond)},
		0: {CampaignID: second, State: message.Read},
	} {
		found, states, err := b.Messages(ctx, f, nil, 10)
		require.NoError(t, err)
		require.Len(t, found, want, "%+v", f)
		require.Equal(t, want, states.Total())
	}
	for _, fraction := range []time.Duration{400 * time.Microsecond, 600 * time.Microsecond, 999 * time.Microsecond} {
		at := noon.Add(2*time.Hour + fraction)
		b.exec(t, `UPDATE messages SET created_at = $1, id = uuid_v7($1) WHERE state = 'pending'`, at)
		found, states, err := b.Messages(ctx, report.MessageFilter{Since: at, Until: at.Add(time.Microsecond)}, nil, 10)
		require.NoError(t, err)
		require.Len(t, found, 1, "a message's own time finds it, whatever its id was rounded to")
		require.Equal(t, 1, states.Total())
	}
	between, _, err := b.Messages(ctx, report.MessageFilter{Since: noon, Until: noon.Add(time.Hour)}, nil, 10)
	require.NoError(t, err)
	require.Len(t, between, 1, "from, and up to but not including")

	recipients, total, err := b.Recipients(ctx, first, report.RecipientFilter{}, 1, 10)
	require.NoError(t, err)
	require.Equal(t, 3, total)
	require.Equal(t, []int{2, 3}, []int{recipients[0].Seq, recipients[1].Seq})
	recipients, total, err = b.Recipients(ctx, first, report.RecipientFilter{State: message.Pending, Reason: "quiet_hours"}, 0, 10)
	require.NoError(t, err)
	require.Len(t, recipients, 1)
	require.Equal(t, 1, total)
	recipients, _, err = b.Recipients(ctx, b.campaign(t), report.RecipientFilter{}, 0, 10)
	require.NoError(t, err)
	require.Empty(t, recipients)

	attempt := uuid.New()
	b.exec(t, `INSERT INTO attempts (id, message_id, number, state, carrier, lease_until, started_at, provider_sid, http_status, body_sha256)
		VALUES ($1, $2, 1, 'accepted', 'read', $3, $3, 'SM1', 201, '')`, attempt, read, noon)
	b.exec(t, `INSERT INTO receipts (provider_sid, attempt_id, status, payload, repeats, received_at) VALUES ('SM1', $1, 'sent', '{}', 2, $2), ('SM1', $1, 'read', '{}', 0, $2)`, attempt, noon)
	b.exec(t, `INSERT INTO compliance_checks (message_id, attempt_id, action, reason, steps, created_at) VALUES ($1, NULL, 'wait', 'quiet_hours', '[]', $3), ($1, $2, 'proceed', '', '[]', $3)`, read, attempt, noon)
	detail, err := b.Message(ctx, read)
	require.NoError(t, err)
	require.EqualValues(t, "+94770000001", detail.Phone)
	require.Equal(t, "SM1", detail.Attempts[0].SID)
	require.Equal(t, message.Read, detail.Attempts[0].Carrier)
	require.Equal(t, []string{"sent", "read"}, []string{detail.Receipts[0].Status, detail.Receipts[1].Status})
	require.Equal(t, 2, detail.Receipts[0].Repeats)
	require.Equal(t, []string{"wait", "proceed"}, []string{detail.Checks[0].Action, detail.Checks[1].Action})
	require.Equal(t, attempt, *detail.Checks[1].AttemptID)
	_, err = b.Message(ctx, uuid.New())
	require.True(t, fault.Is(err, fault.NotFound))
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()

	empty, err := b.Dashboard(ctx, noon)
	require.NoError(t, err)
	require.Nil(t, empty.AverageExecution)
	require.Zero(t, empty.DeliveryRate)

	id := b.campaign(t)
	b.campaign(t) // a draft is not active
	run := b.run(t, id)
	people := []int64{b.user(t, "+94770000001", "LK", `{}`, "OPT_IN"), b.user(t, "+94770000002", "LK", `{}`, "STOP"), b.user(t, "+94770000003", "LK", `{}`, "PENDING"), b.user(t, "+94770000004", "LK", `{}`, "OPT_OUT")}
	yesterday := noon.Add(-25 * time.Hour)
	b.message(t, run, 1, row{user: people[0], state: message.Delivered, at: yesterday})
	b.message(t, run, 2, row{user: people[1], state: message.Delivered})
	b.message(t, run, 3, row{user: people[2], state: message.Sent})
	failed := b.message(t, run, 4, row{user: people[3], state: message.Failed, reason: "provider_error", code: 30003})
	late := b.message(t, run, 5, row{state: message.Sent, at: yesterday})
	b.exec(t, `UPDATE messages SET state = 'read', read_at = $2, delivered_at = $2, updated_at = $2 WHERE id = $1`, late, noon)
	b.exec(t, `INSERT INTO inbound_messages (provider_sid, user_id, channel, intent, body, media_count, payload, received_at)
		VALUES ('SM1', $1, 'whatsapp', 'none', '', 1, '{}', $2), ('SM2', NULL, 'sms', 'stop', 'STOP', 0, '{}', $3)`, people[0], noon, yesterday)

	d, err := b.Dashboard(ctx, noon)
	require.NoError(t, err)
	require.Equal(t, 1, d.ActiveCampaigns)
	require.Equal(t, report.Consents{user.OptIn: 1, user.Stop: 1, user.Pending: 1, user.OptOut: 1}, d.Users)
	require.Equal(t, report.Recent{Sent: 2, Delivered: 1, Failed: 1, Inbound: 1}, d.Recent, "what was sent before the window does not count, though it was read within")
	require.InDelta(t, 75, d.DeliveryRate, 1e-9)
	require.Len(t, d.Errors, 1)
	require.Equal(t, failed, d.Errors[0].MessageID)
	require.Equal(t, 30003, d.Errors[0].Code)

	b.exec(t, `UPDATE campaigns SET status = 'COMPLETED' WHERE id = $1`, id)
	b.exec(t, `UPDATE campaign_runs SET finished_at = $1`, noon.Add(time.Minute))
	d, err = b.Dashboard(ctx, noon)
	require.NoError(t, err)
	require.Equal(t, time.Minute, *d.AverageExecution)
	require.Zero(t, d.ActiveCampaigns)

	events, total, err := b.InboundMessages(ctx, noon.Add(-24*time.Hour), nil, 10)
	require.NoError(t, err)
	require.Equal(t, 1, total)
	require.EqualValues(t, "media", events[0].Kind)
	require.EqualValues(t, "+94770000001", events[0].Phone)
	events, _, err = b.InboundMessages(ctx, noon.Add(-48*time.Hour), nil, 10)
	require.NoError(t, err)
	require.EqualValues(t, "stop", events[0].Kind)
	events, total, err = b.InboundMessages(ctx, noon.Add(-48*time.Hour), &events[0].ID, 10)
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, 2, total)
}
