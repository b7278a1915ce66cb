package measure

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// people writes persons with consent as an import of a list with their numbers would, less the history of the consent.
const people = `
INSERT INTO users (phone_number, attributes, consent_state, region, zones, zone_source, created_at, updated_at)
SELECT $1 || lpad(i::text, 12 - length($1), '0'), jsonb_build_object('name', 'Person ' || i, 'city', $2::text), 'OPT_IN',
       'LK', '{Asia/Colombo}', 'number', now(), now()
FROM generate_series(0, $3 - 1) i`

// Number is that of the ith person, from 0, whom People writes.
func Number(prefix string, i int) string { return fmt.Sprintf("%s%0*d", prefix, 12-len(prefix), i) }

// People writes n persons of a city straight into the database, numbered from the prefix on, such as +9477.
func (s *Stack) People(ctx context.Context, prefix, city string, n int) error {
	if _, err := s.DB.Exec(ctx, people, prefix, city, n); err != nil {
		return err
	}
	// An import takes long enough for autovacuum to have done it.
	_, err := s.DB.Exec(ctx, `ANALYZE users`)
	return err
}

// SetSenderRate sets what every sender may send a second.
func (s *Stack) SetSenderRate(ctx context.Context, perSecond int) error {
	_, err := s.DB.Exec(ctx, `UPDATE senders SET messages_per_second = $1`, perSecond)
	return err
}

// Campaign makes a campaign to everybody of a city, at so many messages a second, and returns its id once its template is
// approved.
func (s *Stack) Campaign(ctx context.Context, city string, rate int) (int, error) {
	var segment, template, campaign struct{ ID int }
	for _, step := range []struct {
		path string
		body func() Object
		made any
	}{
		{"/api/v1/segments", func() Object { return Object{"name": city, "definition_json": Object{"city": city}} }, &segment},
		{"/api/v1/templates", func() Object {
			return Object{"name": city, "content": "Hello {name} of {city}. Reply STOP to opt out."}
		}, &template},
		{"/api/v1/campaigns", func() Object {
			return Object{"topic": city, "template_id": template.ID, "segment_id": segment.ID, "rate_limit_per_second": rate}
		}, &campaign},
	} {
		if err := Call(ctx, http.MethodPost, s.URL()+step.path, step.body(), step.made); err != nil {
			return 0, err
		}
	}
	return campaign.ID, s.approved(ctx, template.ID)
}

// approved returns once WhatsApp has approved a template.
func (s *Stack) approved(ctx context.Context, template int) error {
	return Until(ctx, 200*time.Millisecond, func() (bool, error) {
		var t struct{ Approval string }
		err := Call(ctx, http.MethodGet, fmt.Sprintf("%s/api/v1/templates/%d", s.URL(), template), nil, &t)
		return t.Approval == "approved", err
	})
}

// Run is a campaign that was triggered.
type Run struct {
	Campaign    int
	ID          int64
	TriggeredAt time.Time // before the request
}

// Trigger starts a campaign.
func (s *Stack) Trigger(ctx context.Context, campaign int) (Run, error) {
	run := Run{Campaign: campaign, TriggeredAt: time.Now()}
	if err := Call(ctx, http.MethodPost, fmt.Sprintf("%s/api/v1/campaigns/%d/trigger", s.URL(), campaign), Object{}, nil); err != nil {
		return Run{}, err
	}
	err := s.DB.QueryRow(ctx, `SELECT max(id) FROM campaign_runs WHERE campaign_id = $1`, campaign).Scan(&run.ID)
	return run, err
}

// decided looks into two partial indexes and stops at the first row: asking often costs nothing.
const decided = `
SELECT frozen_at IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM messages WHERE run_id = r.id AND state IN ('pending', 'sending'))
   AND NOT EXISTS (SELECT 1 FROM messages WHERE run_id = r.id AND state IN ('accepted', 'sent'))
FROM campaign_runs r WHERE id = $1`

// AwaitReceipts returns once every message of the run is decided and the simulator owes no callback any more.
func (s *Stack) AwaitReceipts(ctx context.Context, run Run) error {
	err := Until(ctx, 500*time.Millisecond, func() (done bool, err error) {
		err = s.DB.QueryRow(ctx, decided, run.ID).Scan(&done)
		return done, err
	})
	if err != nil {
		return err
	}
	return Until(ctx, 200*time.Millisecond, func() (bool, error) {
		stats, err := s.Simulated(ctx, "by_recipient=false")
		return stats.Callbacks.Owed == 0, err
	})
}

// Outcome is how a run went, by the ledger.
type Outcome struct {
	StartedAt, FrozenAt time.Time
	LastReceiptAt       time.Time // zero when there was none
	States              map[string]int
	Audience            int
}

// Took is the time from the trigger to the last receipt.
func (o Outcome) Took(run Run) time.Duration { return o.LastReceiptAt.Sub(run.TriggeredAt) }

// Outcome reads how a run went.
func (s *Stack) Outcome(ctx context.Context, run Run) (o Outcome, err error) {
	var last *time.Time
	err = s.DB.QueryRow(ctx, `
SELECT r.started_at, r.frozen_at, r.audience_size,
       (SELECT max(c.received_at) FROM messages m JOIN attempts a ON a.message_id = m.id JOIN receipts c ON c.attempt_id = a.id WHERE m.run_id = r.id),
       (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM (SELECT state, count(*) AS n FROM messages WHERE run_id = r.id GROUP BY state) s)
FROM campaign_runs r WHERE r.id = $1`, run.ID).Scan(&o.StartedAt, &o.FrozenAt, &o.Audience, &last, &o.States)
	if last != nil {
		o.LastReceiptAt = *last
	}
	return o, err
}
