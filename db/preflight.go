package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/preflight"
	"github.com/event-stream-engine/ese/internal/throttle"
)

// preflightChunk is how many people of an audience are in memory at once.
const preflightChunk = 2000

// planned is one person of an audience, as the freeze would see them.
type planned struct {
	ID     int64
	Zones  []string
	Region string
	Law    string // the place whose law bounds their hours; "" for none
	Reason string // why the freeze suppresses the message; "" when it does not
}

// declareAudience opens the cursor of a forecast. The freeze writes with the first three arguments; here they are named lest
// their types be unknown.
const declareAudience = `DECLARE audience NO SCROLL CURSOR FOR
    SELECT u.id, u.zones, u.region, j.law, v.reason, $1::bigint, $2::timestamptz, $3::text` + judgedPeople

// Preflight foretells what the campaign would do, were it triggered now, and shows up to samples of its messages. It
// reads one moment of the database, in chunks, and writes nothing. A triggered campaign has no audience to judge.
func (s *Store) Preflight(ctx context.Context, campaignID int64, samples int, now time.Time) (f preflight.Forecast, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		// A plan for the first rows would be the wrong one: all are read.
		if _, err := s.conn(ctx).Exec(ctx, `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL cursor_tuple_fraction = 1`); err != nil {
			return translate(err, "snapshot")
		}
		c, err := s.Campaign(ctx, campaignID)
		if err != nil {
			return err
		}
		tally, err := s.newTally(ctx, c, samples, now)
		if err != nil {
			return err
		}
		if c.Trigger.PerPerson() { // nobody is known before it happens
			f = tally.Forecast()
			return nil
		}
		declare, args, err := s.audience(ctx, declareAudience, dbsqlc.CampaignRun{CampaignID: int32(campaignID), Kind: string(campaign.ByTrigger)}, now)
		if err != nil {
			return err
		}
		if err := s.planWithArguments(ctx); err != nil {
			return err
		}
		if _, err := s.conn(ctx).Exec(ctx, declare, args...); err != nil {
			return translate(err, "audience")
		}
		for {
			rows, err := s.conn(ctx).Query(ctx, fmt.Sprintf(`FETCH %d FROM audience`, preflightChunk))
			if err != nil {
				return translate(err, "audience")
			}
			people, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p planned, err error) {
				return p, row.Scan(&p.ID, &p.Zones, &p.Region, &p.Law, &p.Reason, nil, nil, nil)
			})
			if err != nil {
				return translate(err, "audience")
			}
			if len(people) == 0 {
				f = tally.Forecast()
				return nil
			}
			if err := s.tally(ctx, tally, campaignID, people); err != nil {
				return err
			}
		}
	})
	return f, err
}

// newTally begins the forecast of the run that a trigger would start now.
func (s *Store) newTally(ctx context.Context, c campaign.Overview, samples int, now time.Time) (*preflight.Tally, error) {
	senders, err := s.Senders(ctx, now)
	if err != nil {
		return nil, err
	}
	rates := preflight.Rates{Campaign: c.RatePerSecond, Sender: float64(throttle.DefaultRate(c.Template.Channel))} // until there is one
	for _, sender := range senders {                                                                               // newest first, and the newest sends
		if sender.Channel == c.Template.Channel {
			rates.Sender = sender.Limit.Rate(now)
			break
		}
	}
	account, err := s.Account(ctx)
	if err != nil {
		return nil, err
	}
	rates.Account = account.PerSecond
	run := ledger.Run{
		Run: campaign.Run{CampaignID: c.ID, Kind: campaign.ByTrigger, NotBefore: c.NotBefore(), StartedAt: now}, Status: c.Status,
		RatePerSecond: c.RatePerSecond, Priority: c.Priority, Quiet: quietHours(cast[int16](c.QuietStart), cast[int16](c.QuietEnd)), Timezone: c.Timezone,
	}
	run.Schedule = ledger.Schedule{Local: c.LocalTime, Within: c.StartWithin, Began: run.Planned()}
	return preflight.New(run, c.Template.Channel, rates, samples, now), nil
}

// tally counts a chunk of the audience: whom the freeze leaves pending is judged by what their send would read.
func (s *Store) tally(ctx context.Context, t *preflight.Tally, campaignID int64, people []planned) error {
	var ids []int64
	for _, p := range people {
		if p.Reason != "" {
			t.Exclude(p.Region, p.Zones, s.law.Of(p.Law), p.Reason)
			continue
		}
		ids = append(ids, p.ID)
	}
	rows, err := s.q(ctx).DeliveriesPlanned(ctx, dbsqlc.DeliveriesPlannedParams{CampaignID: int32(campaignID), UserIds: ids, BeganAt: t.Starts()})
	if err != nil {
		return translate(err, "planned messages")
	}
	for _, r := range rows {
		d, err := s.toDelivery(dbsqlc.DeliveryGetRow(r)) // does not compile when one of the two statements reads more
		if err != nil {
			return err
		}
		t.Judge(d)
	}
	return nil
}
