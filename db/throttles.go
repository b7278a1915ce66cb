package db

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/throttle"
)

const accountKey = "account"

func senderKey(id int64) string   { return fmt.Sprintf("sender/%d", id) }
func campaignKey(id int64) string { return fmt.Sprintf("campaign/%d", id) }

// Grant hands out moments to send through a sender: up to wanted of them to each campaign, by id. Moments are within a
// fraction of a second from now, or there are none yet; again tells when to ask for more. Whoever asks, in whatever
// process, no second holds more of them than the campaign, the sender and the account may send.
func (s *Store) Grant(ctx context.Context, senderID int64, wanted map[int64]int, now time.Time) (given map[int64][]time.Time, again time.Time, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.lockThrottles(ctx, senderID, wanted, now)
		if err != nil {
			return err
		}
		var shared, limits []*throttle.Limit
		var demands []*throttle.Demand
		var campaigns []int64
		save := dbsqlc.ThrottlesSaveParams{}
		for _, r := range rows {
			l := limit(r)
			limits, save.Keys = append(limits, l), append(save.Keys, r.Key)
			if id := int64(r.CampaignID); id != 0 {
				campaigns = append(campaigns, id)
				demands = append(demands, &throttle.Demand{Limit: l, Wanted: wanted[id], Urgent: r.Urgent})
			} else {
				shared = append(shared, l)
			}
		}
		again = throttle.Allot(now, shared, demands)
		given = map[int64][]time.Time{}
		for i, d := range demands {
			if len(d.Given) > 0 {
				given[campaigns[i]] = d.Given
			}
		}
		if len(given) == 0 {
			return nil
		}
		for _, l := range limits {
			save.NextGrantsAt = append(save.NextGrantsAt, l.Next)
		}
		return translate(s.q(ctx).ThrottlesSave(ctx, save), "rate limits")
	})
	return given, again, err
}

// lockThrottles locks and reads the limits of a sender, its account and campaigns, in one order for everybody.
func (s *Store) lockThrottles(ctx context.Context, senderID int64, campaigns map[int64]int, now time.Time) ([]dbsqlc.ThrottlesLockRow, error) {
	p := dbsqlc.ThrottlesLockParams{SenderID: int32(senderID)}
	keys := []string{accountKey, senderKey(senderID)}
	for _, id := range slices.Sorted(maps.Keys(campaigns)) {
		p.CampaignIds, keys = append(p.CampaignIds, int32(id)), append(keys, campaignKey(id))
	}
	rows, err := s.q(ctx).ThrottlesLock(ctx, p)
	if err != nil || len(rows) == len(keys) {
		return rows, translate(err, "rate limits")
	}
	slices.Sort(keys) // so that two that make the same rows cannot wait for each other
	if err := s.q(ctx).ThrottlesEnsure(ctx, dbsqlc.ThrottlesEnsureParams{Keys: keys, Now: now}); err != nil {
		return nil, translate(err, "rate limits")
	}
	rows, err = s.q(ctx).ThrottlesLock(ctx, p)
	return rows, translate(err, "rate limits")
}

func limit(r dbsqlc.ThrottlesLockRow) *throttle.Limit {
	l := toLimit(r.Rate, r.SlowedAt, r.SlowedRate)
	l.Next = r.NextGrantAt
	return &l
}

// toLimit is a limit whose Next does not matter.
func toLimit(rate int32, slowedAt *time.Time, slowedRate *float32) throttle.Limit {
	l := throttle.Limit{PerSecond: float64(rate)}
	if slowedAt != nil && slowedRate != nil {
		l.SlowedAt, l.SlowedTo = *slowedAt, float64(*slowedRate)
	}
	return l
}

// SlowSender has everybody send more slowly through a sender for a while, and not at all before retryAfter is over,
// because the provider asked for fewer requests. It returns the rate that is in force now.
func (s *Store) SlowSender(ctx context.Context, senderID int64, retryAfter time.Duration, now time.Time) (perSecond float64, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.lockThrottles(ctx, senderID, nil, now)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.Key != senderKey(senderID) {
				continue
			}
			l := limit(r)
			l.Slow(now, retryAfter)
			perSecond = l.Rate(now)
			slowed := float32(l.SlowedTo)
			err := s.q(ctx).ThrottleSlow(ctx, dbsqlc.ThrottleSlowParams{Key: r.Key, NextGrantAt: l.Next, SlowedAt: &l.SlowedAt, SlowedRate: &slowed})
			return translate(err, "rate limit")
		}
		return nil
	})
	return perSecond, err
}
