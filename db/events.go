package db

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
)

// variablesOf writes the variables of an event; none are an empty object.
func variablesOf(e ledger.Enlistment) (json.RawMessage, error) {
	if len(e.Variables) == 0 {
		return json.RawMessage(`{}`), nil
	}
	variables, err := json.Marshal(e.Variables)
	if err != nil {
		return nil, fmt.Errorf("variables: %w", err)
	}
	return variables, nil
}

// Enlist adds messages to a run that is open, each for one person, and has their workflows started, at the campaign's
// rate. Whoever may not be sent to at all, or is in a segment that the campaign leaves out, is suppressed there and then. It
// answers in the order of the list; asked for again, a message is as it stands. A run that takes no messages gives a Conflict.
//
// It takes part in the caller's transaction, which commits the messages together with what they are about. It holds the
// people, then the run, until that ends: a caller who enlists in several runs does so in the order of their ids, and locks
// the people of all of them before (LockPeople).
func (s *Store) Enlist(ctx context.Context, runID int64, list []ledger.Enlistment, now time.Time) ([]ledger.Enlisted, error) {
	p := dbsqlc.MessagesEnlistParams{
		RunID: runID, RateLimit: message.ReasonRateLimit, StartAt: now, Now: now,
	}
	for _, e := range list {
		variables, err := variablesOf(e)
		if err != nil {
			return nil, err
		}
		p.UserIds, p.DedupeKeys, p.Variables = append(p.UserIds, e.UserID), append(p.DedupeKeys, e.DedupeKey), append(p.Variables, variables)
		p.Replies, p.Steps = append(p.Replies, e.Reply), append(p.Steps, int16(e.Step))
	}
	steps := !slices.ContainsFunc(list, func(e ledger.Enlistment) bool { return e.Step == 0 })
	enlisted := make([]ledger.Enlisted, len(list))
	err := s.InTx(ctx, func(ctx context.Context) error {
		if err := s.LockPeople(ctx, p.UserIds); err != nil {
			return err
		}
		r, open, err := s.lockOpenRun(ctx, runID)
		if err != nil {
			return err
		}
		if open = open || steps && r.FinishedAt == nil && campaign.Status(r.Status).Active(); !open {
			return fault.New(fault.Conflict, "run %d of campaign %d takes no messages", r.Number, r.CampaignID)
		}
		p.CampaignID, p.RunNumber, p.LastSeq, p.Channel, p.TopicID = r.CampaignID, r.Number, r.AudienceSize, r.Channel, r.SubscriptionTopicID
		p.Inviting = campaign.Trigger(r.Trigger) == campaign.OnInvitation && campaign.Kind(r.Kind) != campaign.ByTest
		p.SpacingSeconds = 1 / float64(r.RateLimitPerSecond)
		if campaign.Kind(r.Kind) != campaign.ByTest { // whoever tries a message out was named, whatever its audience is
			if p.ExcludedIds, err = s.excludedOf(ctx, p.UserIds, r.ExcludeSegmentIds, now); err != nil {
				return err
			}
		}
		if r.NextStartAt != nil && r.NextStartAt.After(now) {
			p.StartAt = *r.NextStartAt
		}
		rows, err := s.q(ctx).MessagesEnlist(ctx, p)
		if err != nil {
			return translate(err, "enlisted messages")
		}
		for _, row := range rows {
			enlisted[row.Place-1] = ledger.Enlisted{
				MessageID: row.ID, Seq: int(row.Seq), State: message.State(row.State), Reason: row.Reason, Repeated: row.Repeated,
			}
		}
		return nil
	})
	return enlisted, err
}

// respace has the recipients of an event run that are still to be started start at the campaign's new rate.
func (s *Store) respace(ctx context.Context, runID int64, from, to int, now time.Time) error {
	if err := s.unbounded(ctx); err != nil {
		return err
	}
	return translate(s.q(ctx).RunRespace(ctx, dbsqlc.RunRespaceParams{
		RunID: runID, Factor: float64(from) / float64(to), RateLimit: message.ReasonRateLimit, Now: now,
	}), "starts of recipients")
}

// lockOpenRun locks a run and tells whether it takes messages. Nobody else adds any until the transaction ends.
func (s *Store) lockOpenRun(ctx context.Context, runID int64) (r dbsqlc.EnlistRunRow, open bool, err error) {
	r, err = s.q(ctx).EnlistRun(ctx, runID)
	run := campaign.Run{Kind: campaign.Kind(r.Kind), ClosedAt: r.ClosedAt, FinishedAt: r.FinishedAt}
	open = run.Open() && campaign.Status(r.Status).Active() || run.Kind == campaign.ByTest && run.FinishedAt == nil
	return r, open, translate(err, fmt.Sprintf("run %d", runID))
}

// LockPeople holds off changes of these people's consent, and their erasure, until the caller's transaction ends.
func (s *Store) LockPeople(ctx context.Context, userIDs []int64) error {
	_, err := s.q(ctx).EnlistPeople(ctx, userIDs)
	return translate(err, "people")
}

// CloseRun ends a triggered campaign in good order: its run takes no more messages and is over, and the campaign
// COMPLETED, once what it took is sent. Asked for again it changes nothing. A campaign that ends by itself, or is over,
// gives a Conflict.
func (s *Store) CloseRun(ctx context.Context, campaignID int64, by string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		c, err := s.q(ctx).CampaignLock(ctx, int32(campaignID))
		if err != nil {
			return translate(err, fmt.Sprintf("campaign %d", campaignID))
		}
		return s.closeRun(ctx, c, by, now)
	})
}

func (s *Store) closeRun(ctx context.Context, c dbsqlc.CampaignLockRow, by string, now time.Time) error {
	if c.ReplySenderID != nil {
		return campaign.IsBuiltIn()
	}
	if !campaign.Trigger(c.Trigger).PerPerson() {
		return fault.New(fault.Conflict, "the campaign is completed by itself once its audience is sent to; cancel it to end it before")
	}
	if !campaign.Status(c.Status).Active() {
		return fault.New(fault.Conflict, "a campaign that is %s cannot be completed", c.Status)
	}
	run, err := s.q(ctx).RunActive(ctx, c.ID)
	if err != nil {
		return translate(err, "active run")
	}
	closed, err := s.q(ctx).EventRunClose(ctx, dbsqlc.EventRunCloseParams{ID: run.ID, Now: &now})
	if err != nil || closed == 0 {
		return translate(err, "event run")
	}
	if err := s.audit(ctx, by, "campaign.complete", fmt.Sprintf("campaign/%d", c.ID), nil, now); err != nil {
		return err
	}
	return s.enqueue(ctx, outbox.WakeCampaign, outbox.Run{RunID: run.ID, CampaignID: int64(c.ID), Number: int(run.Number)}, now)
}

// TakeEvents adds a message for each event to each campaign that it triggers, in one transaction, and tells of each event
// what became of it. An event leads to one message of a campaign for ever: told of again, whatever else it says then, it
// is answered with that. Nobody is made known by an event.
func (s *Store) TakeEvents(ctx context.Context, events []ledger.Event, now time.Time) ([]ledger.Taken, error) {
	taken := make([]ledger.Taken, len(events))
	err := s.InTx(ctx, func(ctx context.Context) error {
		clear(taken)
		var names, numbers []string
		for _, e := range events {
			names, numbers = append(names, e.Name), append(numbers, e.Phone.String())
		}
		rows, err := s.q(ctx).EventPeople(ctx, numbers)
		if err != nil {
			return translate(err, "people")
		}
		people := make(map[phone.Number]int64, len(rows))
		for _, row := range rows {
			people[phone.Number(row.PhoneNumber)] = row.ID
		}
		runs, err := s.q(ctx).TriggeredRuns(ctx, dbsqlc.TriggeredRunsParams{Trigger: string(campaign.OnEvent), Names: names})
		if err != nil {
			return translate(err, "triggered campaigns")
		}
		for _, run := range runs {
			if err := s.takeInRun(ctx, run, events, people, taken, now); err != nil {
				return err
			}
		}
		for i, e := range events {
			if taken[i].Messages == nil {
				taken[i].Refused = refusal(e, people, runs)
			}
		}
		return nil
	})
	return taken, err
}

// takeInRun adds what the events say to one run, and to taken what became of them there.
func (s *Store) takeInRun(ctx context.Context, run dbsqlc.TriggeredRunsRow, events []ledger.Event, people map[phone.Number]int64,
	taken []ledger.Taken, now time.Time,
) error {
	_, open, err := s.lockOpenRun(ctx, run.ID)
	if err != nil || !open { // it was ended in the meantime
		return err
	}
	meant := map[string]int{} // the first event of each key
	var keys []string
	for i, e := range events {
		if !triggers(e, run) {
			continue
		}
		if key := eventKey(e); meant[key] == 0 {
			meant[key] = i + 1
			keys = append(keys, key)
		}
	}
	became, err := s.eventsKnown(ctx, run, keys)
	if err != nil {
		return err
	}
	var list []ledger.Enlistment
	for _, key := range keys {
		e := events[meant[key]-1]
		if _, told := became[key]; !told && people[e.Phone] != 0 {
			list = append(list, ledger.Enlistment{UserID: people[e.Phone], DedupeKey: key, Variables: e.Variables})
		}
	}
	enlisted, err := s.take(ctx, run, list, now)
	if err != nil {
		return err
	}
	for i, m := range enlisted {
		became[list[i].DedupeKey] = m
	}
	for i, e := range events {
		m, ok := became[eventKey(e)]
		if !ok || !triggers(e, run) {
			continue
		}
		m.Repeated = m.Repeated || meant[eventKey(e)] != i+1
		taken[i].Messages = append(taken[i].Messages, ledger.EventMessage{CampaignID: int64(run.CampaignID), Enlisted: m})
	}
	return nil
}

// eventsKnown says of those of the events that the run was told of before what became of them.
func (s *Store) eventsKnown(ctx context.Context, run dbsqlc.TriggeredRunsRow, keys []string) (map[string]ledger.Enlisted, error) {
	became := make(map[string]ledger.Enlisted, len(keys))
	if run.Drip {
		known, err := s.q(ctx).EnrolmentsKnown(ctx, dbsqlc.EnrolmentsKnownParams{RunID: run.ID, DedupeKeys: keys})
		for _, e := range known {
			became[e.DedupeKey] = ledger.Enlisted{EnrolmentID: e.ID, Repeated: true}
		}
		return became, translate(err, "known events")
	}
	known, err := s.q(ctx).EventsKnown(ctx, dbsqlc.EventsKnownParams{RunID: run.ID, DedupeKeys: keys})
	for _, m := range known {
		became[m.DedupeKey] = ledger.Enlisted{MessageID: m.ID, Seq: int(m.Seq), State: message.State(m.State), Reason: m.Reason, Repeated: true}
	}
	return became, translate(err, "known events")
}

// take adds a message for each of those who trigger a campaign, or enrols them when it has steps.
func (s *Store) take(ctx context.Context, run dbsqlc.TriggeredRunsRow, list []ledger.Enlistment, now time.Time) ([]ledger.Enlisted, error) {
	if run.Drip {
		return s.enrol(ctx, run.ID, list, now)
	}
	return s.Enlist(ctx, run.ID, list, now)
}

// eventKey is what messages about an event have for their key; messages_event holds it unique within a run.
func eventKey(e ledger.Event) string { return "event/" + e.ID }

func triggers(e ledger.Event, run dbsqlc.TriggeredRunsRow) bool {
	return run.TriggerName == e.Name && (e.CampaignID == 0 || e.CampaignID == int64(run.CampaignID))
}

// refusal says why an event led to nothing.
func refusal(e ledger.Event, people map[phone.Number]int64, runs []dbsqlc.TriggeredRunsRow) error {
	heard := slices.ContainsFunc(runs, func(run dbsqlc.TriggeredRunsRow) bool { return triggers(e, run) })
	switch {
	case !heard && e.CampaignID != 0:
		return unknown("campaign_id", "campaign %d is not live, or this event does not trigger it", e.CampaignID)
	case !heard:
		return unknown("event", "triggers no campaign that is live")
	case people[e.Phone] == 0:
		return unknown("phone_number", "is nobody's whom the engine knows: create the user first")
	default:
		return unknown("event", "the campaign that it triggers has just ended")
	}
}

func unknown(field, format string, args ...any) error {
	f := fault.Refuse(field, format, args...)
	f.Kind = fault.NotFound
	return f
}

// enlistByKeyword adds a message to every campaign whose keyword the text of an inbound message is. The caller holds the
// sender.
func (s *Store) enlistByKeyword(ctx context.Context, userID int64, keyword, sid string, now time.Time) error {
	if keyword == "" {
		return nil
	}
	return s.enlistTriggered(ctx, campaign.OnKeyword, keyword, []ledger.Enlistment{{UserID: userID, DedupeKey: "inbound/" + sid}}, now)
}

// enlistCreated adds a message for each of the people, who were just added, to every campaign that this triggers.
func (s *Store) enlistCreated(ctx context.Context, userIDs []int64, now time.Time) error {
	list := make([]ledger.Enlistment, len(userIDs))
	for i, id := range userIDs {
		list[i].UserID = id
	}
	return s.enlistTriggered(ctx, campaign.OnUserCreated, "", list, now)
}

func (s *Store) enlistTriggered(ctx context.Context, trigger campaign.Trigger, name string, list []ledger.Enlistment, now time.Time) error {
	if len(list) == 0 {
		return nil
	}
	runs, err := s.q(ctx).TriggeredRuns(ctx, dbsqlc.TriggeredRunsParams{Trigger: string(trigger), Names: []string{name}})
	if err != nil {
		return translate(err, "triggered campaigns")
	}
	for _, run := range runs {
		if _, err := s.take(ctx, run, list, now); err != nil && !fault.Is(err, fault.Conflict) { // it was ended in the meantime
			return err
		}
	}
	return nil
}
